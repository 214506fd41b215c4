//! What the makers' channels show in the place of a custom message: `notification_3rd`.

use serde_json::{Value, json};

use crate::support::line::Line;
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

fn got(stage: &Stage, provider: &str) -> Vec<Value> {
    let path = format!("deliveries?provider={provider}");
    let page = stage.sandbox.call("GET", &path, None);
    page["deliveries"].as_array().expect("a list").clone()
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
fn a_phone_that_is_not_on_the_link_is_shown_something_in_the_place_of_a_message() {
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
    stage.wait_for_counts(&message, &[("accepted", 2), ("targeted", 3)]);
    let got = got(&stage, "huawei");
    assert_eq!(got.len(), 2, "{got:?}");
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
    assert_eq!(ways(&stage, &message, &both), way("huawei", "accepted"));
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

#[test]
fn who_is_on_the_link_has_the_message_itself_and_is_shown_something_only_if_it_says_nothing_of_it()
{
    let stage = Stage::wired();
    let patch = format!("/v1/apps/{}", stage.app.key);
    let body = json!({"fallback_after": "2s"});
    stage.server.admin("PATCH", &patch, Some(&body)).good();
    let link = json!({"provider": "link"});
    let [good, silent] =
        [1, 2].map(|number| device(&stage, "android", &json!([huawei(number), link])));
    let connect = |device| Line::connect(&stage.server.link, &stage.app, device, None);
    let (mut line, mut other) = (connect(&good), connect(&silent));
    let message = stage.push(&json!({
        "notification": null, "message": {"msg_content": "m"}, "notification_3rd": {"content": "c"},
    }));
    let came = line.next();
    assert_eq!(came.payload["message"]["msg_content"], "m");
    line.answer(&came, 0);
    assert_eq!(other.next().payload["message"]["msg_content"], "m");
    stage.wait_for_counts(
        &message,
        &[("accepted", 1), ("delivered", 1), ("targeted", 2)],
    );
    let shown = got(&stage, "huawei");
    assert_eq!(shown.len(), 1, "{shown:?}");
    assert_eq!(shown[0]["token"], "huawei2");
    assert_eq!(shown[0]["payload"]["android"]["notification"]["body"], "c");
    let way = |provider: &str, outcome: &str| (json!("message"), json!(provider), json!(outcome));
    assert_eq!(ways(&stage, &message, &good), [way("link", "delivered")]);
    assert_eq!(
        ways(&stage, &message, &silent),
        [way("link", "handed_on"), way("huawei", "accepted")]
    );
}

#[test]
fn what_the_maker_cannot_show_in_the_place_of_a_message_goes_over_the_link() {
    let stage = Stage::wired();
    let link = json!({"provider": "link"});
    let phone = device(&stage, "android", &json!([huawei(1), link]));
    let gone = json!({"state": "uninstalled"});
    stage
        .sandbox
        .call("PUT", "phones/huawei/huawei1", Some(&gone));
    let message = stage.push(&json!({
        "notification": null, "message": {"msg_content": "m"}, "notification_3rd": {"content": "c"},
    }));
    let mut line = Line::connect(&stage.server.link, &stage.app, &phone, None);
    let came = line.next();
    assert_eq!(came.payload["message"]["msg_content"], "m");
    assert_eq!(came.payload["id"], message.as_str());
    line.answer(&came, 0);
    stage.wait_for_counts(&message, &[("delivered", 1), ("targeted", 1)]);
}

#[test]
fn a_custom_message_is_handed_over_by_a_maker_where_the_push_says_so() {
    let stage = Stage::wired();
    let link = json!({"provider": "link"});
    let honor = json!({"provider": "honor", "token": "honor1"});
    let xiaomi = json!({"provider": "xiaomi", "token": "xiaomi1"});
    let [one, two, three] =
        [huawei(1), honor, xiaomi].map(|maker| device(&stage, "android", &json!([maker, link])));
    let push = |word: &str| {
        stage.push(&json!({
            "notification": null,
            "message": {"msg_content": "m", "title": "t", "extras": {"order": 7}},
            "options": {"third_party_channel": {
                "huawei": {"distribution_customize": word}, "honor": {"distribution_customize": word},
                "xiaomi": {"distribution_customize": word},
            }},
        }))
    };
    for word in ["first_ospush", "secondary_push"] {
        let message = push(word);
        stage.wait_for_counts(&message, &[("accepted", 2), ("targeted", 3)]);
        let given = json!({
            "id": message, "message": {"msg_content": "m", "title": "t", "extras": {"order": 7}},
        });
        for (provider, place) in [("huawei", "/android/data"), ("honor", "/data")] {
            let got = got(&stage, provider);
            let payload = &got.last().expect("one")["payload"];
            assert_eq!(payload.pointer("/android/notification"), None, "{payload}");
            let data = payload.pointer(place).and_then(Value::as_str);
            let data: Value = serde_json::from_str(data.expect("a text")).expect("JSON");
            assert_eq!(data, given);
        }
        let way = |provider: &str, outcome: &str| {
            vec![(json!("message"), json!(provider), json!(outcome))]
        };
        assert_eq!(ways(&stage, &message, &one), way("huawei", "accepted"));
        assert_eq!(ways(&stage, &message, &two), way("honor", "accepted"));
        assert_eq!(ways(&stage, &message, &three), way("link", "waiting"));
        let told = stage
            .server
            .admin("GET", &format!("/v1/messages/{message}"), None)
            .good();
        let path = "options.third_party_channel.xiaomi.distribution_customize";
        assert_eq!(told["ignored"], json!([path]), "Xiaomi hands nothing over");
    }
    // As it is where nothing is said.
    let message = push("jpush");
    stage.wait_for_counts(&message, &[("accepted", 0), ("targeted", 3)]);
    for phone in [&one, &two, &three] {
        let way = vec![(json!("message"), json!("link"), json!("waiting"))];
        assert_eq!(ways(&stage, &message, phone), way);
    }
    // Beside a notification a maker has that.
    let path = "options.third_party_channel.huawei.distribution_customize";
    let message = stage.push(&json!({
        "message": {"msg_content": "m"},
        "options": {"third_party_channel": {"huawei": {"distribution_customize": "first_ospush"}}},
    }));
    let told = stage
        .server
        .admin("GET", &format!("/v1/messages/{message}"), None)
        .good();
    assert_eq!(told["ignored"], json!([path]));
}
