//! What a push becomes on HarmonyOS NEXT, through the whole server, to a simulated Huawei.

use serde_json::json;

use crate::makers::hmos::MAKER;
use crate::support::maker::MakerStage;

#[test]
fn a_phone_gets_what_the_push_says_of_it() {
    let stage = MakerStage::new(&MAKER);
    let phone = stage.server.register(&stage.phone(1));
    let message = stage.push(&json!({
        "audience": {"registration_id": [phone.id]},
        "notification": {"alert": "for all", "hmos": {
            "alert": "body", "title": "title", "category": "WORK", "badge_set_num": 0, "display_foreground": "0",
            "style": 2, "inbox": {"1": "one", "2": "two"}, "intent": {"url": "app://order/7"}, "extras": {"order": 7},
            "large_icon": "https://example.com/i.png",
        }},
        "options": {"time_to_live": 600},
    }));
    stage.wait_for_counts(&message, &[("accepted", 1), ("targeted", 1)]);
    let got = stage.got_one();
    let mut shown = got["payload"]["notification"].clone();
    let data = shown["clickAction"]["data"].take();
    assert_eq!(
        (data["_j_msgid"].to_string(), &data["order"]),
        (message.clone(), &json!(7))
    );
    shown["clickAction"]
        .as_object_mut()
        .expect("an object")
        .remove("data");
    shown.as_object_mut().expect("an object").remove("notifyId");
    let expected = json!({
        "category": "WORK", "title": "title", "body": "body", "badge": {"setNum": 0}, "foregroundShow": false,
        "style": 3, "inboxContent": ["one", "two"], "image": "https://example.com/i.png",
        "clickAction": {"actionType": 1, "uri": "app://order/7"},
    });
    assert_eq!(shown, expected);
    assert_eq!(got["pushType"], 0);
    let ttl = got["pushOptions"]["ttl"].as_u64().expect("a number");
    assert!((500..=600).contains(&ttl), "{ttl}");
    let journey = stage.journey(&message, &phone.id);
    assert_eq!(journey["ways"][0]["provider"], "hmos", "{journey}");
}

#[test]
fn reasons_of_single_tokens_cost_a_token_only_where_it_is_dead() {
    let stage = MakerStage::new(&MAKER);
    let phones = stage.register(20);
    let strike = |number: usize, reason: &str| {
        let token = MakerStage::token(number);
        stage.meet(json!({"token": token, "reason": reason, "count": 1}));
    };
    strike(3, "tokenPlatformNotSupport");
    strike(4, "noRight");
    strike(5, "noPushTypeRight");
    strike(6, "appinfoError");
    let message = stage.push(&json!({}));
    stage.wait_for_counts(&message, &[("accepted", 17), ("dropped", 2), ("failed", 1)]);
    for (number, phone) in phones.iter().enumerate() {
        if matches!(number, 3 | 4) {
            stage.wait_for_dead(&message, phone);
        } else {
            assert!(stage.has_token(&message, phone), "{number}");
        }
    }
}

#[test]
fn a_project_of_another_service_account_is_refused_at_once() {
    let stage = MakerStage::new(&MAKER);
    let mut body = stage.told();
    body["project_id"] = "1".into();
    let path = format!("/v1/apps/{}/credentials/hmos", stage.app.key);
    let answer = stage.server.admin("PUT", &path, Some(&body));
    assert_eq!(answer.status, 400, "{}", answer.body);
    let text = answer.body.to_string();
    assert!(
        text.contains("project_id") && !text.contains("PRIVATE KEY"),
        "{text}"
    );
}
