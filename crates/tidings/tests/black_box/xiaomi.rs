//! What a push becomes at Xiaomi, through the whole server, to a simulated Xiaomi.

use serde_json::{Value, json};

use crate::makers::xiaomi::MAKER;
use crate::support::maker::MakerStage;

#[test]
fn a_phone_gets_what_the_push_says_of_it() {
    let stage = MakerStage::new(&MAKER);
    let phone = stage.server.register(&stage.phone(1));
    let message = stage.push(&json!({
        "audience": {"registration_id": [phone.id]},
        "notification": {"alert": "for all", "android": {
            "alert": "body", "title": "title", "alert_type": 0, "display_foreground": "0", "sound": "bell",
            "uri_activity": "com.example.app.Order", "extras": {"order": 7, "text": "a&b=c%d"},
        }},
        "options": {"time_to_live": 600, "third_party_channel": {"xiaomi": {
            "distribution": "first_ospush", "channel_id": "public-1",
        }}},
    }));
    stage.wait_for_counts(&message, &[("accepted", 1), ("targeted", 1)]);
    let got = stage.got_one();
    for (name, value) in [
        ("title", "title"),
        ("description", "body"),
        ("pass_through", "0"),
        ("restricted_package_name", "com.example.app"),
        ("notify_type", "0"),
        ("extra.notify_foreground", "0"),
        ("extra.channel_id", "public-1"),
        ("extra.notify_effect", "2"),
        (
            "extra.sound_uri",
            "android.resource://com.example.app/raw/bell",
        ),
        ("extra.jobkey", &message),
    ] {
        assert_eq!(got[name], value, "{name}");
    }
    let ttl: u64 = got["time_to_live"]
        .as_str()
        .expect("a text")
        .parse()
        .expect("ms");
    assert!((500_000..=600_000).contains(&ttl), "{ttl}");
    let payload: Value =
        serde_json::from_str(got["payload"].as_str().expect("a text")).expect("JSON");
    assert_eq!(
        (&payload["order"], &payload["text"]),
        (&json!(7), &json!("a&b=c%d"))
    );
    assert_eq!(payload["_j_msgid"].to_string(), message);
    let journey = stage.journey(&message, &phone.id);
    assert_eq!(journey["ways"][0]["provider"], "xiaomi", "{journey}");
}

#[test]
fn a_private_message_goes_by_its_template_and_without_one_it_ends_with_a_reason() {
    let stage = MakerStage::new(&MAKER);
    stage.register(1);
    let push = |xiaomi: Value| {
        let long = "\u{6c49}".repeat(200);
        stage.push(&json!({
            "notification": {"android": {"alert": long, "title": long}},
            "options": {"third_party_channel": {"xiaomi": xiaomi}},
        }))
    };
    let message = push(json!({
        "channel_id": "private-1", "mi_template_id": "sandbox_template",
        "mi_template_param": "{\"number\":\"7\",\"state\":\"sent\"}",
    }));
    stage.wait_for_counts(&message, &[("accepted", 1)]);
    let message = push(json!({"channel_id": "private-1"}));
    stage.wait_for_counts(&message, &[("failed", 1), ("targeted", 1)]);
}

#[test]
fn a_package_of_another_app_is_told_with_where_to_mend_it() {
    let stage = MakerStage::new(&MAKER);
    stage.set_credential(&json!({"package_name": "com.example.other"}));
    let checked = stage.check();
    assert_eq!(
        (&checked["result"], &checked["reason"]),
        (&json!("rejected"), &json!("22022"))
    );
    let text = checked["text"].as_str().expect("a text");
    assert!(
        text.contains("package name") && text.contains("dev.mi.com"),
        "{text}"
    );
}
