//! What a push becomes at Huawei, through the whole server, to a simulated Huawei.

use serde_json::{Value, json};

use crate::makers::huawei::MAKER;
use crate::support::maker::MakerStage;
use crate::support::wait_for;

#[test]
fn a_phone_gets_what_the_push_says_of_it() {
    let stage = MakerStage::new(&MAKER);
    let phone = stage.server.register(&stage.phone(1));
    let message = stage.push(&json!({
        "audience": {"registration_id": [phone.id]},
        "notification": {"alert": "for all", "android": {
            "alert": "body", "title": "title", "style": 1, "big_text": "much more",
            "channel_id": "orders", "category": "WORK", "badge_set_num": 0, "badge_class": "com.example.Main",
            "display_foreground": "0", "sound": "bell", "intent": {"url": "intent:#Intent;component=com.example/.Order;end"},
            "extras": {"order": 7},
        }},
        "options": {"time_to_live": 600, "third_party_channel": {"huawei": {
            "distribution": "first_ospush", "importance": "HIGH", "category": "EXPRESS", "receipt_id": "R1", "default_sound": false,
        }}},
    }));
    stage.wait_for_counts(&message, &[("accepted", 1), ("targeted", 1)]);
    let payload = stage.got_one();
    let android = &payload["android"];
    let shown = &android["notification"];
    assert_eq!(shown["title"], "title");
    assert_eq!(shown["body"], "body");
    assert_eq!(
        (&shown["style"], &shown["big_title"], &shown["big_body"]),
        (&json!(1), &json!("title"), &json!("much more"))
    );
    assert_eq!(shown["channel_id"], "orders");
    assert_eq!(shown["importance"], "HIGH");
    assert_eq!(
        shown["badge"],
        json!({"set_num": 0, "class": "com.example.Main"})
    );
    assert_eq!(shown["foreground_show"], false);
    assert_eq!(
        (&shown["sound"], &shown["default_sound"]),
        (&json!("/raw/bell"), &json!(false))
    );
    assert_eq!(
        shown["click_action"],
        json!({"type": 1, "intent": "intent:#Intent;component=com.example/.Order;end"})
    );
    assert_eq!(shown["tag"], message);
    assert_eq!(
        (&android["category"], &android["receipt_id"]),
        (&json!("EXPRESS"), &json!("R1"))
    );
    let ttl = android["ttl"].as_str().expect("a text");
    let secs: u64 = ttl.trim_end_matches('s').parse().expect("seconds");
    assert!((500..=600).contains(&secs), "{ttl}");
    let data: Value =
        serde_json::from_str(android["data"].as_str().expect("a text")).expect("JSON");
    assert_eq!(data["order"], 7);
    assert_eq!(data["_j_msgid"].to_string(), message);
    let journey = stage.journey(&message, &phone.id);
    assert_eq!(journey["state"], "accepted", "{journey}");
    assert_eq!(journey["ways"][0]["provider"], "huawei");
}

#[test]
fn what_is_too_large_for_huawei_goes_over_the_link() {
    let stage = MakerStage::new(&MAKER);
    let mut body = stage.phone(1);
    body["channels"]
        .as_array_mut()
        .expect("a list")
        .push(json!({"provider": "link"}));
    let phone = stage.server.register(&body);
    let long = "\u{6c49}".repeat(600);
    let message = stage.push(&json!({
        "notification": {"android": {"alert": long, "style": 1, "big_text": long}},
    }));
    let journey = wait_for("the next way", || {
        let journey = stage.journey(&message, &phone.id);
        (journey["ways"]
            .as_array()
            .is_some_and(|ways| ways.len() == 2))
        .then_some(journey)
    });
    assert_eq!(journey["ways"][0]["outcome"], "handed_on", "{journey}");
    assert_eq!(journey["ways"][0]["reason"], "PayloadTooLarge", "{journey}");
    assert_eq!(journey["ways"][1]["provider"], "link", "{journey}");
    assert!(stage.got().is_empty());
}
