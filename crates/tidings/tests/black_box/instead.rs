//! What the makers' channels show in the place of a custom message: `notification_3rd`.

use serde_json::{Value, json};

use crate::support::server::Device;
use crate::support::stage::Stage;

fn device(stage: &Stage, platform: &str, channels: &Value) -> Device {
    stage.server.register(&json!({
        "app_key": stage.app.key, "platform": platform, "channels": channels,
    }))
}

fn huawei(number: u32) -> Value {
    json!({"provider": "huawei", "token": format!("huawei{number}")})
}

fn ways(stage: &Stage, message: &str, device: &Device) -> Vec<(Value, Value, Value)> {
    let journey = stage.journey(message, &device.id);
    let ways = journey["ways"].as_array().expect("a list").iter();
    ways.map(|way| {
        (
            way["part"].clone(),
            way["provider"].clone(),
            way["outcome"].clone(),
        )
    })
    .collect()
}

#[test]
fn a_phone_that_has_no_link_is_shown_something_in_the_place_of_a_message() {
    let stage = Stage::wired();
    let link = json!({"provider": "link"});
    let makers = device(&stage, "android", &json!([huawei(1)]));
    let links = device(&stage, "android", &json!([link]));
    let both = device(&stage, "android", &json!([huawei(2), link]));
    let message = stage.push(&json!({
        "notification": null, "message": {"msg_content": "m"},
        "notification_3rd": {"content": "c", "title": "t", "channel_id": "orders", "badge_add_num": 1, "badge_class": "com.example.Main",
            "intent": {"url": "intent:#Intent;component=com.example/.Order;end"}, "sound": "bell", "extras": {"order": 7}},
    }));
    stage.wait_for_counts(&message, &[("accepted", 1), ("targeted", 3)]);
    let got = stage
        .sandbox
        .call("GET", "deliveries?provider=huawei", None);
    let got = got["deliveries"].as_array().expect("a list").clone();
    assert_eq!(got.len(), 1, "{got:?}");
    assert_eq!(got[0]["token"], "huawei1");
    let android = &got[0]["payload"]["android"];
    let shown = &android["notification"];
    assert_eq!(
        (
            &shown["title"],
            &shown["body"],
            &shown["channel_id"],
            &shown["sound"]
        ),
        (
            &json!("t"),
            &json!("c"),
            &json!("orders"),
            &json!("/raw/bell")
        )
    );
    assert_eq!(
        shown["badge"],
        json!({"add_num": 1, "class": "com.example.Main"})
    );
    assert_eq!(shown["click_action"]["type"], 1);
    let data = android["data"].as_str().expect("a text");
    assert!(data.contains("\"order\":7"), "{data}");

    let way =
        |provider: &str, outcome: &str| vec![(json!("message"), json!(provider), json!(outcome))];
    assert_eq!(ways(&stage, &message, &makers), way("huawei", "accepted"));
    assert_eq!(ways(&stage, &message, &links), way("link", "waiting"));
    assert_eq!(ways(&stage, &message, &both), way("link", "waiting"));
    let path = format!("/v1/messages/{message}");
    let told = stage.server.admin("GET", &path, None).good();
    assert_eq!(told["ignored"], json!([]));
}

#[test]
fn each_platform_is_shown_its_own_in_the_place_of_a_message() {
    let stage = Stage::wired();
    let phone = device(&stage, "android", &json!([huawei(1)]));
    let iphone = device(
        &stage,
        "ios",
        &json!([{"provider": "apns", "token": format!("{:064x}", 1)}]),
    );
    let other = device(
        &stage,
        "ios",
        &json!([{"provider": "apns", "token": format!("{:064x}", 2)}]),
    );
    let to = |ids: &[&Device], shown: Value| {
        let ids: Vec<_> = ids.iter().map(|device| &device.id).collect();
        stage.push(&json!({
            "audience": {"registration_id": ids}, "notification": null, "message": {"msg_content": "m"},
            "notification_3rd": shown, "options": {"notification_3rd_ver": "v2"},
        }))
    };
    let message = to(
        &[&phone, &iphone],
        json!({"android": {"alert": "for Android"}, "ios": {"alert": "for iPhones"}}),
    );
    stage.wait_for_counts(&message, &[("accepted", 2), ("targeted", 2)]);
    let got = stage.sandbox.call("GET", "deliveries?provider=apns", None);
    assert_eq!(
        got["deliveries"][0]["payload"]["aps"]["alert"],
        "for iPhones"
    );
    let got = stage
        .sandbox
        .call("GET", "deliveries?provider=huawei", None);
    let shown = &got["deliveries"][0]["payload"]["android"]["notification"];
    assert_eq!(shown["body"], "for Android");
    // Who is shown nothing is no target.
    let message = to(
        &[&phone, &other],
        json!({"android": {"alert": "for Android"}}),
    );
    stage.wait_for_counts(&message, &[("accepted", 1), ("targeted", 1)]);
    assert_eq!(stage.journey(&message, &other.id)["state"], "not_targeted");
}
