//! What a push says without effect is told: in its answer, in its message, and to whoever scrapes.

use serde_json::{Value, json};

use crate::support::server::Device;
use crate::support::stage::Stage;

/// The answer's `X-Tidings-Ignored`, and the message's id.
fn pushed(stage: &Stage, path: &str, body: &Value) -> (Option<String>, String) {
    let url = format!("{}{path}", stage.server.api);
    let request = ureq::post(&url).header("authorization", &stage.app.basic());
    let mut response = request.send(&body.to_string()).expect("accepted");
    let ignored = response.headers().get("x-tidings-ignored");
    let ignored = ignored.map(|value| value.to_str().expect("ASCII").to_owned());
    let reply = response.body_mut().read_to_string().expect("a body");
    let reply: Value = serde_json::from_str(&reply).expect("JSON");
    let keys: Vec<_> = reply.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["msg_id", "sendno"], "SDKs take no other");
    (ignored, reply["msg_id"].as_str().expect("an id").to_owned())
}

fn phone(stage: &Stage) -> Device {
    stage.server.register(&json!({
        "app_key": stage.app.key, "platform": "android", "channels": [{"provider": "huawei", "token": "IQAAAACy0-huawei_Token"}],
    }))
}

#[test]
fn what_a_push_says_without_effect_is_told() {
    let stage = Stage::wired();
    phone(&stage);
    let body = json!({
        "platform": "all", "audience": "all", "cid": "once",
        "notification": {"alert": "a", "ai_opportunity": false, "quickapp": {"alert": "q"}},
        "sms_message": {"delay_time": 1, "temp_id": 7}, "callback": {"url": "https://example.com"},
        "options": {"own,\u{e9}": 1, "third_party_channel": {
            "huawei": {"importance": "HIGH", "skip_quota": true}, "nio": {"channel_id": "c"},
        }},
    });
    let expected = "notification.quickapp,options.third_party_channel.huawei.skip_quota,options.third_party_channel.nio,\
                    options.own%2C%C3%A9,callback,sms_message";
    let (validated, _) = pushed(&stage, "/v3/push/validate", &body);
    assert_eq!(validated.as_deref(), Some(expected));
    let (ignored, message) = pushed(&stage, "/v3/push", &body);
    assert_eq!(ignored.as_deref(), Some(expected));
    // A repeated push is answered as the first was.
    assert_eq!(
        pushed(&stage, "/v3/push", &body),
        (ignored, message.clone())
    );

    let path = format!("/v1/messages/{message}");
    let shown = stage.server.admin("GET", &path, None).good();
    let listed: Vec<_> = shown["ignored"]
        .as_array()
        .expect("a list")
        .iter()
        .collect();
    assert_eq!(listed.len(), 6, "{shown}");
    assert_eq!(listed[3], "options.own,\u{e9}");

    let metrics = stage.server.metrics();
    for field in [
        "sms_message",
        "options.third_party_channel.huawei.skip_quota",
        "other",
    ] {
        let line = format!("tidings_push_fields_ignored_total{{field=\"{field}\"}} 1\n");
        assert!(metrics.contains(&line), "{field}: {metrics}");
    }
    assert!(
        !metrics.contains("own"),
        "a caller's key is no label: {metrics}"
    );
}

#[test]
fn a_push_that_is_done_as_it_says_has_nothing_to_tell() {
    let stage = Stage::wired();
    phone(&stage);
    let body = json!({
        "platform": "all", "audience": "all", "notification": {"alert": "a", "android": {"alert": "b", "title": "t"}},
        "options": {"time_to_live": 60, "third_party_channel": {"huawei": {"category": "IM", "default_sound": true}}},
    });
    let (ignored, message) = pushed(&stage, "/v3/push", &body);
    assert_eq!(ignored, None);
    let path = format!("/v1/messages/{message}");
    assert_eq!(
        stage.server.admin("GET", &path, None).good()["ignored"],
        json!([])
    );
}

#[test]
fn a_list_of_a_callers_own_keys_is_bounded() {
    let stage = Stage::wired();
    phone(&stage);
    let long = "k".repeat(1000);
    let own = (0..500).map(|number| (format!("{long}{number}"), json!(1)));
    let body = json!({
        "platform": "all", "audience": "all", "notification": {"alert": "a"},
        "options": own.collect::<serde_json::Map<_, _>>(),
    });
    let (ignored, message) = pushed(&stage, "/v3/push", &body);
    assert!(ignored.is_some_and(|ignored| ignored.len() < 8000));
    let path = format!("/v1/messages/{message}");
    let shown = stage.server.admin("GET", &path, None).good();
    let listed = shown["ignored"].as_array().expect("a list");
    assert!(!listed.is_empty() && listed.len() <= 32, "{shown}");
    assert!(
        listed
            .iter()
            .all(|path| path.as_str().is_some_and(|path| path.len() <= 128))
    );
}
