//! Huawei's channel through the whole server, to a simulated Huawei.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use crate::support::server::Device;
use crate::support::stage::Stage;
use crate::support::wait_for;

/// What a simulated phone got.
#[derive(Debug)]
struct Got {
    payload: Value,
    request: u64,
    token: String,
}

fn register(stage: &Stage, count: usize) -> Vec<Device> {
    stage
        .server
        .register_many(count, |number| phone(stage, number))
}

fn phone(stage: &Stage, number: usize) -> Value {
    json!({
        "app_key": stage.app.key,
        "platform": "android",
        "channels": [{"provider": "huawei", "token": token(number)}],
    })
}

fn got(stage: &Stage) -> Vec<Got> {
    let path = "deliveries?provider=huawei&limit=10000";
    let page = stage.sandbox.call("GET", path, None);
    let deliveries = page["deliveries"].as_array().expect("a list");
    let got = deliveries.iter().map(|delivery| Got {
        payload: delivery["payload"].clone(),
        request: delivery["request"].as_u64().expect("a number"),
        token: delivery["token"].as_str().expect("a token").to_owned(),
    });
    got.collect()
}

fn meet(stage: &Stage, mut fault: Value) {
    fault["provider"] = "huawei".into();
    stage.sandbox.call("POST", "faults", Some(&fault));
}

fn access_tokens(stage: &Stage) -> u64 {
    let told = stage.sandbox.call("GET", "tokens/huawei", None);
    told["issued"].as_u64().expect("a number")
}

/// Sets the credential that the sandbox tells, changed.
fn set_credential(stage: &Stage, changed: &Value) -> Value {
    let told = stage.sandbox.call("GET", "credentials", None);
    let mut body = told["huawei"].clone();
    body["ca"] = told["ca"].clone();
    for (name, value) in changed.as_object().expect("an object") {
        body[name] = value.clone();
    }
    let path = format!("/v1/apps/{}/credentials/huawei", stage.app.key);
    stage.server.admin("PUT", &path, Some(&body)).good()
}

fn check(stage: &Stage) -> Value {
    let path = format!("/v1/apps/{}/credentials/huawei/check", stage.app.key);
    stage.server.admin("POST", &path, None).good()["checks"][0].clone()
}

fn rejected(stage: &Stage) -> Value {
    wait_for("the health", || {
        let credential = stage.credential();
        (credential["health"] == "rejected").then_some(credential)
    })
}

fn has_token(stage: &Stage, message: &str, device: &Device) -> bool {
    stage.journey(message, &device.id)["channels"] != json!([])
}

fn token(number: usize) -> String {
    format!("IQAAAACy0{number:08}-huawei_Token")
}

#[test]
fn a_phone_gets_what_the_push_says_of_it() {
    let stage = Stage::wired();
    let phone = stage.server.register(&phone(&stage, 1));
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
    let got = got(&stage);
    let [Got { payload, token, .. }] = &got[..] else {
        panic!("{got:?}");
    };
    assert_eq!(*token, self::token(1));
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
fn many_phones_share_requests_and_one_access_token() {
    let stage = Stage::wired();
    register(&stage, 2500);
    let message = stage.push(&json!({}));
    stage.wait_for_counts(&message, &[("accepted", 2500), ("targeted", 2500)]);
    let got = got(&stage);
    let tokens: HashSet<_> = got.iter().map(|got| got.token.clone()).collect();
    assert_eq!((got.len(), tokens.len()), (2500, 2500));
    let mut sizes: HashMap<u64, usize> = HashMap::new();
    for got in &got {
        *sizes.entry(got.request).or_default() += 1;
    }
    assert_eq!(sizes.len(), 3, "{sizes:?}");
    assert_eq!(access_tokens(&stage), 1);
}

#[test]
fn of_a_batch_only_the_dead_lose_their_tokens() {
    let stage = Stage::wired();
    let phones = register(&stage, 50);
    for gone in [3, 7] {
        let path = format!("phones/huawei/{}", token(gone));
        let state = json!({"state": "uninstalled"});
        stage.sandbox.call("PUT", &path, Some(&state));
    }
    let message = stage.push(&json!({}));
    stage.wait_for_counts(&message, &[("accepted", 48), ("dropped", 2)]);
    let got = got(&stage);
    assert_eq!(got.len(), 48, "nobody got it twice");
    for (number, phone) in phones.iter().enumerate() {
        let is_dead = number == 3 || number == 7;
        assert_eq!(has_token(&stage, &message, phone), !is_dead, "{number}");
    }
    let next = stage.push(&json!({}));
    stage.wait_for_counts(&next, &[("accepted", 48), ("targeted", 48)]);
}

#[test]
fn an_access_token_that_ends_is_renewed_and_costs_nothing() {
    let stage = Stage::wired();
    register(&stage, 20);
    let first = stage.push(&json!({}));
    stage.wait_for_counts(&first, &[("accepted", 20)]);
    stage.sandbox.call("DELETE", "tokens/huawei", None);
    let second = stage.push(&json!({}));
    stage.wait_for_counts(&second, &[("accepted", 20)]);
    assert_eq!(got(&stage).len(), 40);
    assert_eq!(access_tokens(&stage), 2);
}

#[test]
fn what_huawei_cannot_take_now_goes_when_it_can() {
    let stage = Stage::wired();
    register(&stage, 20);
    meet(&stage, json!({"status": 503, "count": 2}));
    let message = stage.push(&json!({}));
    stage.wait_for_counts(&message, &[("accepted", 20)]);
    assert_eq!(got(&stage).len(), 20);
    // Nothing answers at all: what was not sent costs no try.
    meet(&stage, json!({"status": 500}));
    let message = stage.push(&json!({}));
    wait_for("a try", || {
        let waits = stage.counts(&message);
        (waits["targeted"] == 20).then_some(())
    });
    stage.sandbox.call("DELETE", "faults", None);
    stage.wait_for_counts(&message, &[("accepted", 20)]);
}

#[test]
fn a_wrong_secret_costs_no_token_and_nothing_is_lost() {
    let stage = Stage::wired();
    let phones = register(&stage, 12);
    set_credential(&stage, &json!({"app_secret": "not-the-secret"}));
    let checked = check(&stage);
    assert_eq!(checked["result"], "rejected", "{checked}");
    let text = checked["text"].as_str().expect("a text");
    assert!(text.contains("AppGallery Connect"), "{text}");
    let message = stage.push(&json!({}));
    let health = rejected(&stage);
    assert!(health["app_id"].is_string(), "{health}");
    assert_eq!(health.get("app_secret"), None, "a secret is never shown");
    for phone in &phones {
        assert!(has_token(&stage, &message, phone));
    }
    set_credential(&stage, &json!({}));
    stage.wait_for_counts(&message, &[("accepted", 12)]);
    assert_eq!(got(&stage).len(), 12);
    assert_eq!(check(&stage)["result"], "good");
    assert_eq!(stage.credential()["health"], "good");
}

#[test]
fn tokens_of_another_app_are_kept() {
    let stage = Stage::wired();
    set_credential(&stage, &json!({}));
    let phones = register(&stage, 12);
    meet(&stage, json!({"reason": "80300007"}));
    let message = stage.push(&json!({}));
    stage.wait_for_counts(&message, &[("dropped", 12)]);
    for phone in &phones {
        assert!(has_token(&stage, &message, phone));
    }
    let health = rejected(&stage);
    assert_eq!(health["rejected"], "80300007");
}

#[test]
fn what_is_too_large_for_huawei_goes_over_the_link() {
    let stage = Stage::wired();
    let mut body = phone(&stage, 1);
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
    assert!(got(&stage).is_empty());
}
