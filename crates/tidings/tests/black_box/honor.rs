//! What a push becomes at Honor, through the whole server, to a simulated Honor.

use serde_json::{Value, json};

use crate::makers::honor::MAKER;
use crate::support::maker::MakerStage;

#[test]
fn a_phone_gets_what_the_push_says_of_it() {
    let stage = MakerStage::new(&MAKER);
    let phone = stage.server.register(&stage.phone(1));
    let message = stage.push(&json!({
        "audience": {"registration_id": [phone.id]},
        "notification": {"alert": "for all", "android": {
            "alert": "body", "title": "title", "style": 1, "big_text": "much more", "badge_set_num": 0,
            "badge_class": "com.example.Main", "large_icon": "https://example.com/i.png",
            "intent": {"url": "intent:#Intent;component=com.example/.Order;end"}, "extras": {"order": 7},
        }},
        "options": {"time_to_live": 600, "third_party_channel": {"honor": {
            "distribution": "first_ospush", "importance": "NORMAL",
        }}},
    }));
    stage.wait_for_counts(&message, &[("accepted", 1), ("targeted", 1)]);
    let got = stage.got_one();
    let shown = json!({
        "title": "title", "body": "much more", "style": 1, "bigTitle": "title", "bigBody": "much more",
        "badge": {"setNum": 0, "badgeClass": "com.example.Main"}, "image": "https://example.com/i.png",
        "clickAction": {"type": 1, "intent": "intent:#Intent;component=com.example/.Order;end"},
        "importance": "NORMAL", "tag": message,
    });
    assert_eq!(got["android"]["notification"], shown);
    let ttl = got["android"]["ttl"].as_str().expect("a text");
    let secs: u64 = ttl.trim_end_matches('s').parse().expect("seconds");
    assert!((500..=600).contains(&secs), "{ttl}");
    let data: Value = serde_json::from_str(got["data"].as_str().expect("a text")).expect("JSON");
    assert_eq!(data["order"], 7);
    assert_eq!(data["_j_msgid"].to_string(), message);
    let journey = stage.journey(&message, &phone.id);
    assert_eq!(journey["ways"][0]["provider"], "honor", "{journey}");
}

#[test]
fn tokens_named_in_a_success_are_dead_or_tried_again_and_the_others_are_not() {
    let stage = MakerStage::new(&MAKER);
    let phones = stage.register(20);
    let strike = |number: usize, reason: &str| {
        let token = MakerStage::token(number);
        stage.meet(json!({"token": token, "reason": reason, "count": 1}));
    };
    strike(4, "expireTokens");
    strike(9, "failTokens");
    let message = stage.push(&json!({}));
    stage.wait_for_counts(&message, &[("accepted", 19), ("dropped", 1)]);
    assert_eq!(stage.got().len(), 19);
    stage.wait_for_dead(&message, &phones[4]);
    assert!(stage.has_token(&message, &phones[9]));
}

#[test]
fn an_id_in_the_place_of_another_is_told_with_where_to_mend_it() {
    let stage = MakerStage::new(&MAKER);
    stage.set_credential(&json!({"app_id": "999"}));
    let checked = stage.check();
    assert_eq!(
        (&checked["result"], &checked["reason"]),
        (&json!("rejected"), &json!("10205"))
    );
    let text = checked["text"].as_str().expect("a text");
    assert!(
        text.contains("not the Client ID") && text.contains(MAKER.console),
        "{text}"
    );
}
