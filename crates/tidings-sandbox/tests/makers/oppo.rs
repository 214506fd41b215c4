//! OPPO.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use http::Request;
use serde_json::{Value, json};
use tidings_sandbox::Provider;

use crate::client::{Reply, Scene, encoded, golden, post};

struct Oppo {
    scene: Scene,
    token: String,
}

const UNICAST: &str = "unicast";
const BATCH: &str = "unicast_batch";

fn now_ms() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis()
}

/// The smallest message that is taken.
fn message(id: &str) -> Value {
    json!({"target_type": 2, "target_value": id, "notification": {"title": "Goal", "content": "Two to one"}})
}

async fn auth(scene: &Scene, timestamp: &str, secret: &str) -> Value {
    let app_key = scene.credential("app_key");
    let text = format!("{app_key}{timestamp}{secret}");
    let sign: String = digest(&SHA256, text.as_bytes())
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let form = [
        ("app_key", app_key),
        ("sign", sign),
        ("timestamp", timestamp.to_owned()),
    ];
    let reply = scene
        .send(post("/server/v1/auth"), &encoded(&form))
        .await
        .unwrap();
    assert_eq!(reply.status, 200);
    reply.json()
}

impl Oppo {
    async fn new() -> Self {
        let scene = Scene::of(Provider::Oppo).await;
        let secret = scene.credential("master_secret");
        let told = auth(&scene, &now_ms().to_string(), &secret).await;
        let token = told["data"]["auth_token"].as_str().unwrap().to_owned();
        Self { scene, token }
    }

    async fn call(&self, name: &str, pairs: &[(&str, String)]) -> Reply {
        let request = post(&format!("/server/v1/message/notification/{name}"));
        let mut form = pairs.to_vec();
        form.push(("auth_token", self.token.clone()));
        self.scene.send(request, &encoded(&form)).await.unwrap()
    }

    async fn single(&self, message: &Value) -> Value {
        self.call(UNICAST, &[("message", message.to_string())])
            .await
            .json()
    }

    async fn batch(&self, messages: &[Value]) -> Value {
        self.call(BATCH, &[("messages", json!(messages).to_string())])
            .await
            .json()
    }
}

#[tokio::test]
async fn the_signature_and_the_time_are_checked() {
    let scene = Scene::of(Provider::Oppo).await;
    let secret = scene.credential("master_secret");
    let now = now_ms();
    assert_eq!(auth(&scene, &now.to_string(), &secret).await["code"], 0);
    assert_eq!(auth(&scene, &now.to_string(), "wrong").await["code"], 16);
    assert_eq!(
        auth(&scene, &(now / 1_000).to_string(), &secret).await["code"],
        19
    );
    assert_eq!(
        auth(&scene, &(now - 601_000).to_string(), &secret).await["code"],
        19
    );
    for (form, code) in [
        ("", 15),
        ("app_key=a", 18),
        ("app_key=a&timestamp=1", 17),
        ("app_key=a&timestamp=1&sign=b", 14),
    ] {
        let reply = scene.send(post("/server/v1/auth"), form).await.unwrap();
        assert_eq!(reply.json()["code"], code, "{form}");
    }
    scene.fault(json!({"call": "token", "reason": "13", "count": 1}));
    assert_eq!(auth(&scene, &now.to_string(), &secret).await["code"], 13);
}

#[tokio::test]
async fn the_golden_request_is_taken_whole() {
    let oppo = Oppo::new().await;
    let golden = golden(include_str!("golden/oppo.json"));
    let told = oppo.single(&golden).await;
    assert_eq!(told["code"], 0, "{told}");
    let deliveries = oppo.scene.deliveries();
    let [delivery] = &deliveries[..] else {
        unreachable!("one was delivered");
    };
    assert_eq!(told["data"]["messageId"], delivery.id.to_string());
    assert_eq!(delivery.token.to_string(), "CN_a1b2");
    let payload: Value = serde_json::from_str(&delivery.payload).unwrap();
    assert_eq!(payload["notification"], golden["notification"]);
    // The same app_message_id to the same id is known; to another it is new.
    assert_eq!(oppo.single(&golden).await["code"], 32);
    let mut other = golden.clone();
    other["target_value"] = json!("CN_other");
    assert_eq!(oppo.single(&other).await["code"], 0);
    // OPPO's own sample writes camel case.
    let mut camel = message("a");
    camel["notification"]["clickActionType"] = json!(2);
    assert_eq!(oppo.single(&camel).await["code"], 41);
    camel["notification"]["clickActionUrl"] = json!("https://example.com");
    assert_eq!(oppo.single(&camel).await["code"], 0);
}

#[tokio::test]
async fn the_token_may_come_in_the_body_or_a_header_and_lasts_until_it_expires() {
    let oppo = Oppo::new().await;
    let path = "/server/v1/message/notification/unicast";
    let body = encoded(&[("message", message("a").to_string())]);
    let code = async |token: Option<&str>| {
        let mut request = post(path);
        if let Some(token) = token {
            request = request.header("auth_token", token);
        }
        oppo.scene.send(request, &body).await.unwrap().json()["code"].clone()
    };
    assert_eq!(code(None).await, 29);
    assert_eq!(code(Some("made-up")).await, 11);
    assert_eq!(code(Some(&oppo.token)).await, 0);
    assert_eq!(oppo.single(&message("a")).await["code"], 0);
    oppo.scene.sandbox.access_tokens().expire(Provider::Oppo);
    assert_eq!(oppo.single(&message("a")).await["code"], 11);
    let get = Request::get(format!("https://localhost{path}"));
    assert_eq!(oppo.scene.send(get, "").await.unwrap().json()["code"], 12);
}

#[tokio::test]
async fn a_batch_hides_its_failures_under_code_0() {
    let oppo = Oppo::new().await;
    oppo.scene.uninstall("gone");
    oppo.scene
        .fault(json!({"token": "struck", "reason": "10001"}));
    let ids = ["a", "gone", "b", "struck"];
    let mut messages = ids.map(message);
    messages[2]["notification"]["title"] = json!("Other");
    let told = oppo.batch(&messages).await;
    assert_eq!(told["code"], 0);
    let told = told["data"].as_array().unwrap();
    let codes: Vec<&Value> = told.iter().map(|one| &one["errorCode"]).collect();
    assert_eq!(
        codes,
        [&Value::Null, &json!(10_000), &Value::Null, &json!(10_001)]
    );
    for (one, id) in told.iter().zip(ids) {
        assert_eq!(one["registrationId"], id);
    }
    let deliveries = oppo.scene.deliveries();
    let seen: Vec<(String, Value, u64)> = deliveries
        .iter()
        .map(|delivery| {
            let payload: Value = serde_json::from_str(&delivery.payload).unwrap();
            let title = payload["notification"]["title"].clone();
            (delivery.token.to_string(), title, delivery.request)
        })
        .collect();
    let expected = [
        ("a".to_owned(), json!("Goal"), 1),
        ("b".to_owned(), json!("Other"), 1),
    ];
    assert_eq!(seen, expected);
    assert_eq!(told[0]["messageId"], deliveries[0].id.to_string());
    assert_eq!(oppo.single(&message("gone")).await["code"], 10_000);
    // Dead ids can be fetched, each time once.
    let get = || {
        let token = encoded(&[("auth_token", oppo.token.clone())]);
        let path = "/server/v1/feedback/fetch_invalid_regidList";
        Request::get(format!("https://localhost{path}?{token}"))
    };
    let told = oppo.scene.send(get(), "").await.unwrap().json();
    assert_eq!(told["data"]["registration_ids"], json!(["gone", "gone"]));
    let told = oppo.scene.send(get(), "").await.unwrap().json();
    assert_eq!(
        told["data"],
        json!({"registration_ids": [], "totalCount": 0})
    );
}

#[tokio::test]
async fn a_message_is_saved_and_sent_by_its_id() {
    let oppo = Oppo::new().await;
    oppo.scene.uninstall("gone");
    let fields = [
        ("title", "Goal"),
        ("content", "Two to one"),
        ("style", "3"),
        ("off_line", "false"),
    ];
    let fields = fields.map(|(name, text)| (name, text.to_owned()));
    let told = oppo.call("save_message_content", &fields).await.json();
    let id = told["data"]["message_id"].as_str().unwrap().to_owned();
    let send = async |id: &str, ids: &str| {
        let pairs = [
            ("message_id", id),
            ("target_type", "2"),
            ("target_value", ids),
        ];
        let pairs = pairs.map(|(name, text)| (name, text.to_owned()));
        oppo.call("broadcast", &pairs).await.json()
    };
    let told = send(&id, "a;gone;b").await;
    assert_eq!(
        (&told["code"], &told["data"]["10000"]),
        (&json!(0), &json!(["gone"]))
    );
    assert_eq!(oppo.scene.reached(), ["a", "b"]);
    let payload: Value = serde_json::from_str(&oppo.scene.deliveries()[0].payload).unwrap();
    assert_eq!(payload["notification"]["off_line"], false);
    assert_eq!(send("7", "a").await["code"], 31);
    let many: Vec<String> = (0..1_001).map(|n| n.to_string()).collect();
    assert_eq!(send(&id, &many.join(";")).await["code"], 41);
}

#[tokio::test]
async fn each_code_is_met_as_a_fault() {
    let oppo = Oppo::new().await;
    for code in [
        -1, -2, 11, 13, 14, 16, 19, 26, 27, 28, 29, 30, 31, 32, 33, 34, 40, 41, 42, 51, 54, 55, 59,
        67, 69, 10_000, 10_001,
    ] {
        oppo.scene
            .fault(json!({"reason": code.to_string(), "count": 1}));
        assert_eq!(oppo.single(&message("a")).await["code"], code);
    }
    oppo.scene.fault(json!({"status": 502, "count": 1}));
    let reply = oppo
        .call(UNICAST, &[("message", message("a").to_string())])
        .await;
    assert_eq!((reply.status, reply.body.as_str()), (502, ""));
    assert!(oppo.scene.deliveries().is_empty());
}

#[tokio::test]
async fn counts_and_fields_are_checked() {
    let oppo = Oppo::new().await;
    let many: Vec<Value> = (0..1_001).map(|n| message(&n.to_string())).collect();
    assert_eq!(
        oppo.batch(&many[..1_000]).await["data"]
            .as_array()
            .unwrap()
            .len(),
        1_000
    );
    assert_eq!(oppo.batch(&many).await["code"], 41);
    assert_eq!(oppo.batch(&[]).await["code"], 41);
    let check = async |name: &str, value: Value, code: i64| {
        let mut body = message("a");
        body["notification"][name] = value.clone();
        let told = oppo.single(&body).await;
        assert_eq!(told["code"], code, "{name} {value}: {}", told["message"]);
    };
    check("title", json!("x".repeat(51)), 41).await;
    check("title", json!(""), 40).await;
    check("content", json!("x".repeat(51)), 41).await;
    check("style", json!(3), 41).await;
    check("click_action_type", json!(1), 41).await;
    check("click_action_type", json!(3), 41).await;
    check("action_parameters", json!({"a": 1}), 41).await;
    check("action_parameters", json!("{\"a\":1}"), 0).await;
    check("off_line", json!("false"), 41).await;
    check("category", json!("SALE"), 67).await;
    check("category", json!("IM"), 0).await;
    check("notify_level", json!(2), 67).await;
    check("channel_id", json!("private_order"), 54).await;
    check("private_title_parameters", json!({"a": "b"}), 54).await;
    check("call_back_url", json!("x".repeat(201)), 41).await;
    check("call_back_parameter", json!("x".repeat(101)), 41).await;
}
