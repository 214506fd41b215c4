//! Huawei's channel through the whole server, to a simulated Huawei.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::sandbox::Sandbox;
use crate::support::server::{App, Device, Server};
use crate::support::wait_for;

struct Stage {
    app: App,
    _data: TempDir,
    sandbox: Sandbox,
    server: Server,
}

/// What a simulated phone got.
#[derive(Debug)]
struct Got {
    payload: Value,
    request: u64,
    token: String,
}

impl Stage {
    /// A server whose apps without a credential have the sandbox's.
    fn new() -> Self {
        let data = TempDir::new().expect("a directory");
        let sandbox = Sandbox::start();
        let server = Server::start(data.path(), Some(&sandbox.control));
        let app = server.app();
        Self {
            app,
            _data: data,
            sandbox,
            server,
        }
    }

    fn phone(&self, number: usize) -> Device {
        self.server.register(&self.body(number))
    }

    fn body(&self, number: usize) -> Value {
        json!({
            "app_key": self.app.key,
            "platform": "android",
            "channels": [{"provider": "huawei", "token": token(number)}],
        })
    }

    fn push(&self, more: &Value) -> String {
        let mut body =
            json!({"platform": "all", "audience": "all", "notification": {"alert": "hello"}});
        for (name, value) in more.as_object().expect("an object") {
            body[name] = value.clone();
        }
        let reply = self
            .server
            .call("POST", "/v3/push", &self.app.basic(), Some(&body));
        reply.good()["msg_id"].as_str().expect("an id").to_owned()
    }

    /// Waits until the message has these counts.
    fn counts(&self, message: &str, expected: &[(&str, u64)]) {
        let mut counts = Value::Null;
        wait_for(&format!("{expected:?}"), || {
            counts = self.server.counts(&self.app, message);
            let is_so = expected
                .iter()
                .all(|(name, count)| counts[*name].as_u64() == Some(*count));
            is_so.then_some(())
        });
    }

    fn got(&self) -> Vec<Got> {
        let path = "deliveries?provider=huawei&limit=10000";
        let page = self.sandbox.call("GET", path, None);
        let deliveries = page["deliveries"].as_array().expect("a list");
        let got = deliveries.iter().map(|delivery| Got {
            payload: delivery["payload"].clone(),
            request: delivery["request"].as_u64().expect("a number"),
            token: delivery["token"].as_str().expect("a token").to_owned(),
        });
        got.collect()
    }

    fn fault(&self, fault: Value) -> String {
        let mut fault = fault;
        fault["provider"] = "huawei".into();
        let id = self.sandbox.call("POST", "faults", Some(&fault))["id"].clone();
        id.to_string().trim_matches('"').to_owned()
    }

    fn end_faults(&self) {
        self.sandbox.call("DELETE", "faults", None);
    }

    fn access_tokens(&self) -> u64 {
        let told = self.sandbox.call("GET", "tokens/huawei", None);
        told["issued"].as_u64().expect("a number")
    }

    /// Sets the credential that the sandbox tells, changed.
    fn set_credential(&self, changed: &Value) -> Value {
        let told = self.sandbox.call("GET", "credentials", None);
        let mut body = told["huawei"].clone();
        body["ca"] = told["ca"].clone();
        for (name, value) in changed.as_object().expect("an object") {
            body[name] = value.clone();
        }
        let path = format!("/v1/apps/{}/credentials/huawei", self.app.key);
        self.server.admin("PUT", &path, Some(&body)).good()
    }

    fn check(&self) -> Value {
        let path = format!("/v1/apps/{}/credentials/huawei/check", self.app.key);
        self.server.admin("POST", &path, None).good()["checks"][0].clone()
    }

    fn health(&self) -> Value {
        let path = format!("/v1/apps/{}/credentials", self.app.key);
        self.server.admin("GET", &path, None).good()["credentials"][0].clone()
    }

    fn journey(&self, message: &str, device: &Device) -> Value {
        let path = format!("/v1/messages/{message}/devices/{}", device.id);
        self.server
            .call("GET", &path, &self.app.basic(), None)
            .good()
    }

    fn has_token(&self, message: &str, device: &Device) -> bool {
        self.journey(message, device)["channels"] != json!([])
    }
}

fn token(number: usize) -> String {
    format!("IQAAAACy0{number:08}-huawei_Token")
}

#[test]
fn a_phone_gets_what_the_push_says_of_it() {
    let stage = Stage::new();
    let phone = stage.phone(1);
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
    stage.counts(&message, &[("accepted", 1), ("targeted", 1)]);
    let got = stage.got();
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
    let journey = stage.journey(&message, &phone);
    assert_eq!(journey["state"], "accepted", "{journey}");
    assert_eq!(journey["ways"][0]["provider"], "huawei");
}

#[test]
fn many_phones_share_requests_and_one_access_token() {
    let stage = Stage::new();
    stage
        .server
        .register_many(2500, |number| stage.body(number));
    let message = stage.push(&json!({}));
    stage.counts(&message, &[("accepted", 2500), ("targeted", 2500)]);
    let got = stage.got();
    let tokens: HashSet<_> = got.iter().map(|got| got.token.clone()).collect();
    assert_eq!((got.len(), tokens.len()), (2500, 2500));
    let mut sizes: HashMap<u64, usize> = HashMap::new();
    for got in &got {
        *sizes.entry(got.request).or_default() += 1;
    }
    assert_eq!(sizes.len(), 3, "{sizes:?}");
    assert_eq!(stage.access_tokens(), 1);
}

#[test]
fn of_a_batch_only_the_dead_lose_their_tokens() {
    let stage = Stage::new();
    let phones = stage.server.register_many(50, |number| stage.body(number));
    for gone in [3, 7] {
        let path = format!("phones/huawei/{}", token(gone));
        let state = json!({"state": "uninstalled"});
        stage.sandbox.call("PUT", &path, Some(&state));
    }
    let message = stage.push(&json!({}));
    stage.counts(&message, &[("accepted", 48), ("dropped", 2)]);
    let got = stage.got();
    assert_eq!(got.len(), 48, "nobody got it twice");
    for (number, phone) in phones.iter().enumerate() {
        let is_dead = number == 3 || number == 7;
        assert_eq!(stage.has_token(&message, phone), !is_dead, "{number}");
    }
    let next = stage.push(&json!({}));
    stage.counts(&next, &[("accepted", 48), ("targeted", 48)]);
}

#[test]
fn an_access_token_that_ends_is_renewed_and_costs_nothing() {
    let stage = Stage::new();
    stage.server.register_many(20, |number| stage.body(number));
    let first = stage.push(&json!({}));
    stage.counts(&first, &[("accepted", 20)]);
    stage.sandbox.call("DELETE", "tokens/huawei", None);
    let second = stage.push(&json!({}));
    stage.counts(&second, &[("accepted", 20)]);
    assert_eq!(stage.got().len(), 40);
    assert_eq!(stage.access_tokens(), 2);
}

#[test]
fn what_huawei_cannot_take_now_goes_when_it_can() {
    let stage = Stage::new();
    stage.server.register_many(20, |number| stage.body(number));
    stage.fault(json!({"status": 503, "count": 2}));
    let message = stage.push(&json!({}));
    stage.counts(&message, &[("accepted", 20)]);
    assert_eq!(stage.got().len(), 20);
    // Nothing answers at all: what was not sent costs no try.
    stage.fault(json!({"status": 500}));
    let message = stage.push(&json!({}));
    wait_for("a try", || {
        let waits = stage.server.counts(&stage.app, &message);
        (waits["targeted"] == 20).then_some(())
    });
    stage.end_faults();
    stage.counts(&message, &[("accepted", 20)]);
}

#[test]
fn a_wrong_secret_costs_no_token_and_nothing_is_lost() {
    let stage = Stage::new();
    let phones = stage.server.register_many(12, |number| stage.body(number));
    stage.set_credential(&json!({"app_secret": "not-the-secret"}));
    let check = stage.check();
    assert_eq!(check["result"], "rejected", "{check}");
    let text = check["text"].as_str().expect("a text");
    assert!(text.contains("AppGallery Connect"), "{text}");
    let message = stage.push(&json!({}));
    let health = wait_for("the health", || {
        let health = stage.health();
        (health["health"] == "rejected").then_some(health)
    });
    assert!(health["app_id"].is_string(), "{health}");
    assert_eq!(health.get("app_secret"), None, "a secret is never shown");
    for phone in &phones {
        assert!(stage.has_token(&message, phone));
    }
    stage.set_credential(&json!({}));
    stage.counts(&message, &[("accepted", 12)]);
    assert_eq!(stage.got().len(), 12);
    assert_eq!(stage.check()["result"], "good");
    assert_eq!(stage.health()["health"], "good");
}

#[test]
fn tokens_of_another_app_are_kept() {
    let stage = Stage::new();
    stage.set_credential(&json!({}));
    let phones = stage.server.register_many(12, |number| stage.body(number));
    stage.fault(json!({"reason": "80300007"}));
    let message = stage.push(&json!({}));
    stage.counts(&message, &[("dropped", 12)]);
    for phone in &phones {
        assert!(stage.has_token(&message, phone));
    }
    let health = wait_for("the health", || {
        let health = stage.health();
        (health["health"] == "rejected").then_some(health)
    });
    assert_eq!(health["rejected"], "80300007");
}

#[test]
fn what_is_too_large_for_huawei_goes_over_the_link() {
    let stage = Stage::new();
    let mut body = stage.body(1);
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
        let journey = stage.journey(&message, &phone);
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
