//! What the examples of JPush's Java SDKs write, as they write it (`jpush-client` 3.7.8: PushExample, OptionsTest;
//! `jiguang-sdk` 5.3.0: PushApiTest), reaches the makers' channels.

use serde_json::{Value, json};

use crate::support::server::Device;
use crate::support::stage::Stage;

fn phone(stage: &Stage, provider: &str) -> Device {
    stage.server.register(&json!({
        "app_key": stage.app.key, "platform": "android",
        "channels": [{"provider": provider, "token": "v12345678901234567890ab"}],
    }))
}

/// Pushes a body and returns what the maker's phone got, and what had no effect.
fn pushed(stage: &Stage, provider: &str, body: &Value) -> (Value, Value) {
    let reply = stage
        .server
        .call("POST", "/v3/push", &stage.app.basic(), Some(body));
    let reply = reply.good();
    let message = reply["msg_id"].as_str().expect("an id");
    stage.wait_for_counts(message, &[("accepted", 1)]);
    let path = format!("deliveries?provider={provider}");
    let got = stage.sandbox.call("GET", &path, None);
    let deliveries = got["deliveries"].as_array().expect("a list");
    assert_eq!(deliveries.len(), 1, "{got}");
    let path = format!("/v1/messages/{message}");
    let told = stage.server.admin("GET", &path, None).good();
    (deliveries[0]["payload"].clone(), told["ignored"].clone())
}

#[test]
fn the_old_java_sdks_notification_3rd_is_shown_by_huawei() {
    let stage = Stage::wired();
    phone(&stage, "huawei");
    // The parts of PushExample that are to be taken into use: a message, and what is shown in its place.
    let body = json!({
        "platform": ["android", "ios"], "audience": "all",
        "message": {"msg_content": "Hi, JPush"},
        "notification_3rd": {"title": "msg testing", "content": "Hi, JPush", "channel_id": "channel1001",
            "uri_activity": "cn.jpush.android.ui.OpenClickActivity", "uri_action": "cn.jpush.android.intent.CONNECTION",
            "badge_add_num": 1, "badge_class": "com.test.badge.MainActivity", "sound": "sound",
            "extras": {"news_id": 124, "my_key": "a value"}},
        "options": {"sendno": 1, "time_to_live": 43200, "apns_production": false},
    });
    let (payload, ignored) = pushed(&stage, "huawei", &body);
    let shown = &payload["android"]["notification"];
    assert_eq!(
        (
            &shown["title"],
            &shown["body"],
            &shown["channel_id"],
            &shown["sound"]
        ),
        (
            &json!("msg testing"),
            &json!("Hi, JPush"),
            &json!("channel1001"),
            &json!("/raw/sound")
        )
    );
    assert_eq!(
        shown["badge"],
        json!({"add_num": 1, "class": "com.test.badge.MainActivity"})
    );
    let data: Value =
        serde_json::from_str(payload["android"]["data"].as_str().expect("a text")).expect("JSON");
    assert_eq!(
        (&data["news_id"], &data["my_key"]),
        (&json!(124), &json!("a value"))
    );
    assert_eq!(ignored, json!([]));
}

#[test]
fn the_old_java_sdks_options_for_vivo_reach_it() {
    let stage = Stage::wired();
    phone(&stage, "vivo");
    let body = json!({
        "platform": "all", "audience": "all",
        "notification": {"alert": "alert", "ai_opportunity": false, "android": {"alert": "alert"}},
        "options": {"sendno": 1, "apns_production": false, "classification": 1,
            "third_party_channel": {"vivo": {"distribution": "ospush", "classification": 1}}},
    });
    let (payload, ignored) = pushed(&stage, "vivo", &body);
    assert_eq!(payload["classification"], 1, "{payload}");
    assert_eq!(ignored, json!([]));
}

#[test]
fn the_new_java_sdks_options_for_huawei_reach_it() {
    let stage = Stage::wired();
    phone(&stage, "huawei");
    let extras = json!({"params": {"key1": "value1", "key2": "value2"}});
    let body = json!({
        "platform": ["android", "ios"], "audience": "all",
        "notification": {"alert": "this is alert",
            "android": {"alert": "this is android alert", "title": "this is android title", "extras": extras},
            "ios": {"alert": {"title": "this is iOS title", "subtitle": "this is iOS subtitle"}, "extras": extras}},
        "options": {"third_party_channel": {"huawei": {"distribution": "first_ospush", "importance": "NORMAL", "category": "MARKETING"}}},
        "callback": {"params": {"callbackKey": "callbackValue"}},
    });
    let (payload, ignored) = pushed(&stage, "huawei", &body);
    let android = &payload["android"];
    assert_eq!(
        (
            &android["category"],
            &android["notification"]["importance"],
            &android["notification"]["title"]
        ),
        (
            &json!("MARKETING"),
            &json!("NORMAL"),
            &json!("this is android title")
        )
    );
    assert_eq!(ignored, json!(["callback"]));
}

#[test]
fn the_new_java_sdks_notification_3rd_is_shown_by_huawei() {
    let stage = Stage::wired();
    phone(&stage, "huawei");
    let body = json!({
        "platform": ["android", "ios"], "audience": "all",
        "message": {"msg_content": "this is custom message content"},
        "notification_3rd": {"android": {"alert": "this is android alert", "title": "this is android title"},
            "ios": {"alert": {"title": "this is iOS title", "subtitle": "this is iOS subtitle"}}, "hmos": {"alert": "this is hmos alert"}},
        "options": {"notification_3rd_ver": "v2"},
    });
    let (payload, ignored) = pushed(&stage, "huawei", &body);
    let shown = &payload["android"]["notification"];
    assert_eq!(
        (&shown["title"], &shown["body"]),
        (
            &json!("this is android title"),
            &json!("this is android alert")
        )
    );
    assert_eq!(ignored, json!([]));
}
