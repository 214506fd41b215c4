//! What a push becomes at OPPO, through the whole server, to a simulated OPPO.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::makers::oppo::MAKER;
use crate::support::maker::MakerStage;
use crate::support::wait_for;

#[test]
fn a_phone_gets_what_the_push_says_of_it() {
    let stage = MakerStage::new(&MAKER);
    let phone = stage.server.register(&stage.phone(1));
    let message = stage.push(&json!({
        "audience": {"registration_id": [phone.id]},
        "notification": {"alert": "for all", "android": {
            "alert": "body", "title": "title", "channel_id": "orders", "badge_set_num": 0,
            "uri_action": "com.example.OPEN", "extras": {"order": 7, "text": "a&b=c%d"},
        }},
        "options": {"time_to_live": 600, "third_party_channel": {"oppo": {
            "distribution": "first_ospush", "category": "ORDER", "notify_level": 2,
        }}},
    }));
    stage.wait_for_counts(&message, &[("accepted", 1), ("targeted", 1)]);
    let got = stage.got_one();
    let sent = &got["notification"];
    for (name, expected) in [
        ("title", json!("title")),
        ("content", json!("body")),
        ("style", json!(1)),
        ("off_line", json!(true)),
        ("channel_id", json!("orders")),
        ("category", json!("ORDER")),
        ("notify_level", json!(2)),
        ("badge_operation_type", json!(0)),
        ("badge_message_count", json!(0)),
        ("click_action_type", json!(1)),
        ("click_action_activity", json!("com.example.OPEN")),
        ("app_message_id", json!(message)),
    ] {
        assert_eq!(sent[name], expected, "{name}");
    }
    let text = sent["action_parameters"].as_str().expect("a text");
    let parameters: Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(
        (&parameters["order"], &parameters["text"]),
        (&json!(7), &json!("a&b=c%d"))
    );
    let secs = sent["off_line_ttl"].as_u64().expect("seconds");
    assert!((500..=600).contains(&secs), "{secs}");
    let journey = stage.journey(&message, &phone.id);
    assert_eq!(journey["ways"][0]["provider"], "oppo", "{journey}");
}

#[test]
fn a_message_for_many_is_saved_and_broadcast_with_all_that_it_says() {
    let stage = MakerStage::new(&MAKER);
    stage.register(150);
    stage.uninstall(11);
    // The saved message is not known any more: it is saved again.
    stage.meet(json!({"token": MakerStage::token(3), "reason": "31", "count": 1}));
    let message = stage.push(&json!({
        "notification": {"android": {"alert": "body", "title": "title", "badge_set_num": 0, "extras": {"order": 7}}},
        "options": {"time_to_live": 600, "third_party_channel": {"oppo": {
            "category": "ORDER", "channel_id": "private-1", "private_msg_template_id": "T1",
            "private_title_parameters": {"number": "7"},
        }}},
    }));
    stage.wait_for_counts(&message, &[("accepted", 149), ("dropped", 1)]);
    let got = stage.got();
    assert_eq!(got.len(), 149, "nobody got it twice");
    let sent = &got[0].payload["notification"];
    for (name, expected) in [
        ("title", json!("title")),
        ("off_line", json!(true)),
        ("badge_message_count", json!(0)),
        ("private_msg_template_id", json!("T1")),
        ("private_title_parameters", json!("{\"number\":\"7\"}")),
    ] {
        assert_eq!(sent[name], expected, "{name}");
    }
    let secs = sent["off_line_ttl"].as_u64().expect("seconds");
    assert!((450..=525).contains(&secs), "an eighth less: {secs}");
}

#[test]
fn what_cannot_be_saved_today_goes_in_smaller_requests() {
    let stage = MakerStage::new(&MAKER);
    stage.register(250);
    stage.meet(json!({"reason": "42", "count": 1}));
    let message = stage.push(&json!({}));
    stage.wait_for_counts(&message, &[("accepted", 250), ("targeted", 250)]);
    let got = stage.got();
    let requests: HashSet<_> = got.iter().map(|got| got.request).collect();
    assert_eq!(got.len(), 250);
    assert!(requests.len() >= 3, "{}", requests.len());
}

#[test]
fn messages_of_service_do_not_wait_for_the_quota_of_the_others() {
    let stage = MakerStage::new(&MAKER);
    stage.set_credential(&json!({}));
    let phones = stage.register(3);
    stage.meet(json!({"reason": "33", "count": 1}));
    let public = stage.push(&json!({}));
    let way = wait_for("the trace", || {
        let way = stage.journey(&public, &phones[0].id)["ways"][0].clone();
        way["until"].is_string().then_some(way)
    });
    assert_eq!(way["reason"], "33", "{way}");
    let health = wait_for("the health", || {
        let credential = stage.credential();
        (credential["health"] == "throttled").then_some(credential)
    });
    assert_eq!(health["spent"][0]["class"], "public", "{health}");
    let service = json!({"options": {"third_party_channel": {"oppo": {"category": "IM"}}}});
    let service = stage.push(&service);
    stage.wait_for_counts(&service, &[("accepted", 3), ("targeted", 3)]);
    assert_eq!(stage.got().len(), 3);
}
