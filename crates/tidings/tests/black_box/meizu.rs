//! What a push becomes at Meizu, through the whole server, to a simulated Meizu.

use serde_json::json;

use crate::makers::meizu::MAKER;
use crate::support::maker::MakerStage;
use crate::support::wait_for;

#[test]
fn a_phone_gets_what_the_push_says_of_it() {
    let stage = MakerStage::new(&MAKER);
    let phone = stage.server.register(&stage.phone(1));
    let message = stage.push(&json!({
        "audience": {"registration_id": [phone.id]},
        "notification": {"alert": "for all", "android": {
            "alert": "body & more", "title": "title", "style": 1, "big_text": "much more", "alert_type": 1,
            "uri_activity": "com.example.Order", "extras": {"order": 7},
        }},
        "options": {"time_to_live": 7200, "third_party_channel": {"meizu": {"classification": 0}}},
    }));
    stage.wait_for_counts(&message, &[("accepted", 1), ("targeted", 1)]);
    let got = stage.got_one();
    let bar =
        json!({"noticeBarType": 0, "noticeMsgType": 0, "title": "title", "content": "body & more"});
    assert_eq!(got["noticeBarInfo"], bar);
    let expand = json!({"noticeExpandType": 1, "noticeExpandContent": "much more"});
    assert_eq!(got["noticeExpandInfo"], expand);
    let click = &got["clickTypeInfo"];
    assert_eq!(
        (&click["clickType"], &click["activity"]),
        (&json!(1), &json!("com.example.Order"))
    );
    assert_eq!(click["parameters"]["order"], 7);
    assert_eq!(click["parameters"]["_j_msgid"].to_string(), message);
    assert_eq!(got["pushTimeInfo"], json!({"offLine": 1, "validTime": 1}));
    assert_eq!(
        got["advanceInfo"]["notificationType"],
        json!({"vibrate": 0, "lights": 0, "sound": 1})
    );
    let journey = stage.journey(&message, &phone.id);
    assert_eq!(journey["ways"][0]["provider"], "meizu", "{journey}");
}

#[test]
fn who_has_switched_messages_off_gets_none_and_keeps_the_token() {
    let stage = MakerStage::new(&MAKER);
    let phones = stage.register(20);
    let strike = |number: usize, reason: &str| {
        let token = MakerStage::token(number);
        stage.meet(json!({"token": token, "reason": reason, "count": 1}));
    };
    // Switched off; the database failed; folded with others.
    strike(4, "110010");
    strike(9, "501");
    strike(13, "520");
    let message = stage.push(&json!({}));
    stage.wait_for_counts(&message, &[("accepted", 19), ("failed", 1)]);
    assert_eq!(stage.got().len(), 18);
    assert!(phones.iter().all(|phone| stage.has_token(&message, phone)));
    let journey = wait_for("the reason", || {
        let journey = stage.journey(&message, &phones[4].id);
        (journey["reason"] == "110010").then_some(journey)
    });
    assert_eq!(journey["state"], "failed", "{journey}");
}

#[test]
fn an_unknown_app_is_told_with_where_to_mend_it() {
    let stage = MakerStage::new(&MAKER);
    stage.set_credential(&json!({"app_id": "999"}));
    let checked = stage.check();
    assert_eq!(
        (&checked["result"], &checked["reason"]),
        (&json!("rejected"), &json!("110000"))
    );
    let text = checked["text"].as_str().expect("a text");
    assert!(
        text.contains("App ID") && text.contains(MAKER.console),
        "{text}"
    );
}
