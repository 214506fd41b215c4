//! vivo.

use std::time::{SystemTime, UNIX_EPOCH};

use md5::{Digest, Md5};
use serde_json::{Value, json};
use tidings_sandbox::Provider;

use crate::client::{Reply, Scene, golden, post};

struct Vivo {
    scene: Scene,
    token: String,
}

fn now_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since_epoch.as_millis().try_into().unwrap()
}

/// The smallest message that is taken.
fn message() -> Value {
    json!({"notifyType": 1, "title": "Goal", "content": "Two to one", "skipType": 1, "requestId": "7"})
}

fn to(id: &str) -> Value {
    let mut message = message();
    message["regId"] = json!(id);
    message
}

fn auth_body(scene: &Scene, timestamp: u64, secret: &str) -> Value {
    let (id, key) = (scene.credential("app_id"), scene.credential("app_key"));
    let digest = Md5::digest(format!("{id}{key}{timestamp}{secret}").as_bytes());
    let sign: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    // The docs have a number, several clients send a text.
    json!({"appId": id.parse::<u64>().unwrap(), "appKey": key, "timestamp": timestamp, "sign": sign})
}

async fn auth(scene: &Scene, body: &Value) -> Value {
    let reply = scene
        .send(post("/message/auth"), &body.to_string())
        .await
        .unwrap();
    assert_eq!(reply.status, 200);
    reply.json()
}

impl Vivo {
    async fn new() -> Self {
        let scene = Scene::of(Provider::Vivo).await;
        let secret = scene.credential("app_secret");
        let told = auth(&scene, &auth_body(&scene, now_ms(), &secret)).await;
        assert_eq!(told["result"], 0, "{told}");
        let token = told["authToken"].as_str().unwrap().to_owned();
        Self { scene, token }
    }

    async fn reply(&self, path: &str, body: &Value) -> Reply {
        let request = post(path).header("authToken", &self.token);
        self.scene.send(request, &body.to_string()).await.unwrap()
    }

    async fn single(&self, body: &Value) -> Value {
        self.reply("/message/send", body).await.json()
    }

    async fn list(&self, task: &str, ids: &[&str]) -> Value {
        let body = json!({"regIds": ids, "taskId": task, "requestId": "8"});
        self.reply("/message/pushToList", &body).await.json()
    }

    async fn save(&self) -> String {
        let told = self
            .reply("/message/saveListPayload", &message())
            .await
            .json();
        told["taskId"]
            .as_str()
            .expect("a task id as a text")
            .to_owned()
    }
}

#[tokio::test]
async fn the_signature_and_the_time_are_checked() {
    let scene = Scene::of(Provider::Vivo).await;
    let secret = scene.credential("app_secret");
    let good = auth_body(&scene, now_ms(), &secret);
    let check = async |change: (&str, Value), result: i64| {
        let mut body = good.clone();
        body[change.0] = change.1;
        assert_eq!(auth(&scene, &body).await["result"], result, "{body}");
    };
    check(("appId", json!(scene.credential("app_id"))), 0).await;
    check(("appId", Value::Null), 10_200).await;
    check(("appKey", json!("")), 10_201).await;
    check(("appKey", json!("wrong")), 10_202).await;
    check(("timestamp", Value::Null), 10_203).await;
    check(("sign", Value::Null), 10_204).await;
    check(("appId", json!(7)), 10_205).await;
    check(("sign", json!("wrong")), 10_206).await;
    check(("timestamp", json!(now_ms() / 1_000)), 10_207).await;
    let late = auth_body(&scene, now_ms() - 601_000, &secret);
    assert_eq!(auth(&scene, &late).await["result"], 10_207);
}

#[tokio::test]
async fn the_golden_request_is_taken_whole() {
    let vivo = Vivo::new().await;
    let golden = golden(include_str!("golden/vivo.json"));
    let told = vivo.single(&golden).await;
    assert_eq!(
        (&told["result"], &told["requestId"]),
        (&json!(0), &json!("7-a"))
    );
    let deliveries = vivo.scene.deliveries();
    let [delivery] = &deliveries[..] else {
        unreachable!("one was delivered");
    };
    assert_eq!(told["taskId"], delivery.id.to_string());
    let payload: Value = serde_json::from_str(&delivery.payload).unwrap();
    let mut seen = golden.clone();
    seen.as_object_mut().unwrap().remove("regId");
    assert_eq!(payload, seen);
}

#[tokio::test]
async fn a_token_of_the_same_app_is_needed_and_several_are_good_at_once() {
    let vivo = Vivo::new().await;
    let secret = vivo.scene.credential("app_secret");
    let body = auth_body(&vivo.scene, now_ms(), &secret);
    let second = auth(&vivo.scene, &body).await["authToken"].clone();
    for token in [vivo.token.as_str(), second.as_str().unwrap()] {
        let request = post("/message/send").header("authToken", token);
        let reply = vivo
            .scene
            .send(request, &to("a").to_string())
            .await
            .unwrap();
        assert_eq!(reply.json()["result"], 0);
    }
    let bare = vivo
        .scene
        .send(post("/message/send"), &to("a").to_string())
        .await
        .unwrap();
    assert_eq!(bare.json()["result"], 10_000);
    let mut other = to("a");
    other["appId"] = json!(7);
    assert_eq!(vivo.single(&other).await["result"], 10_094);
    vivo.scene.sandbox.access_tokens().expire(Provider::Vivo);
    assert_eq!(vivo.single(&to("a")).await["result"], 10_000);
}

#[tokio::test]
async fn a_saved_message_is_sent_to_a_list_and_dead_ids_are_told_beside_result_0() {
    let vivo = Vivo::new().await;
    vivo.scene.uninstall("gone");
    vivo.scene.put("foreign", None, Some("another app"));
    vivo.scene
        .fault(json!({"token": "quiet", "reason": "10311"}));
    let task = vivo.save().await;
    let told = vivo
        .list(&task, &["a", "gone", "foreign", "b", "quiet"])
        .await;
    assert_eq!(told["result"], 0);
    assert_eq!(
        told["invalidUsers"],
        json!([{"status": 2, "userid": "gone"}, {"status": 1, "userid": "foreign"}, {"status": 3, "userid": "quiet"}])
    );
    assert_eq!(vivo.scene.reached(), ["a", "b"]);
    let deliveries = vivo.scene.deliveries();
    assert_eq!(deliveries[0].id.to_string(), task);
    assert_eq!(deliveries[0].request, deliveries[1].request);
    let payload: Value = serde_json::from_str(&deliveries[0].payload).unwrap();
    assert_eq!(payload["title"], "Goal");
    // A list of dead ids only is taken, too.
    let told = vivo.list(&task, &["gone", "gone"]).await;
    assert_eq!(
        (
            &told["result"],
            told["invalidUsers"].as_array().unwrap().len()
        ),
        (&json!(0), 2)
    );
    let told = vivo.single(&to("gone")).await;
    assert_eq!(told["result"], 10_302);
    assert_eq!(told["invalidUser"], json!({"status": 2, "userid": "gone"}));
    assert_eq!(vivo.single(&to("quiet")).await["result"], 10_311);
}

#[tokio::test]
async fn a_list_has_2_to_1000_ids_and_a_task() {
    let vivo = Vivo::new().await;
    let task = vivo.save().await;
    let ids: Vec<String> = (0..1_001).map(|n| format!("{n:0>23}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    assert_eq!(vivo.list(&task, &ids[..1_000]).await["result"], 0);
    assert_eq!(vivo.scene.deliveries().len(), 1_000);
    assert_eq!(vivo.list(&task, &ids).await["result"], 10_153);
    assert_eq!(vivo.list(&task, &ids[..1]).await["result"], 10_153);
    assert_eq!(vivo.list(&task, &[]).await["result"], 10_150);
    assert_eq!(vivo.list("", &ids[..2]).await["result"], 10_151);
    assert_eq!(vivo.list("7", &ids[..2]).await["result"], 10_155);
}

#[tokio::test]
async fn each_code_is_met_as_a_fault() {
    let vivo = Vivo::new().await;
    for code in [
        10_000, 10_040, 10_043, 10_045, 10_050, 10_051, 10_054, 10_055, 10_056, 10_057, 10_058,
        10_059, 10_060, 10_065, 10_067, 10_070, 10_071, 10_072, 10_073, 10_082, 10_085, 10_089,
        10_094, 10_095, 10_096, 10_097, 10_103, 10_104, 10_150, 10_151, 10_152, 10_153, 10_155,
        10_252, 10_254, 10_302, 10_304, 10_305, 10_306, 10_311, 10_352, 10_353,
    ] {
        vivo.scene
            .fault(json!({"reason": code.to_string(), "count": 1}));
        assert_eq!(vivo.single(&to("a")).await["result"], code);
    }
    vivo.scene.fault(json!({"status": 500, "count": 1}));
    assert_eq!(vivo.reply("/message/send", &to("a")).await.status, 500);
    vivo.scene
        .fault(json!({"call": "token", "reason": "10040", "count": 1}));
    let secret = vivo.scene.credential("app_secret");
    let body = auth_body(&vivo.scene, now_ms(), &secret);
    assert_eq!(auth(&vivo.scene, &body).await["result"], 10_040);
    assert!(vivo.scene.deliveries().is_empty());
}

#[tokio::test]
async fn the_fields_are_checked() {
    let vivo = Vivo::new().await;
    let check = async |name: &str, value: Value, result: i64| {
        let mut body = to("a");
        body[name] = value.clone();
        let told = vivo.single(&body).await;
        assert_eq!(told["result"], result, "{name} {value}: {}", told["desc"]);
    };
    check("regId", Value::Null, 10_050).await;
    check("notifyType", json!(5), 10_054).await;
    check("title", json!(""), 10_055).await;
    check("title", json!("\u{8fdb}".repeat(40)), 0).await;
    check("title", json!("x".repeat(41)), 10_056).await;
    check("content", Value::Null, 10_057).await;
    check("content", json!("x".repeat(101)), 10_058).await;
    check("timeToLive", json!(59), 10_059).await;
    check("timeToLive", json!(604_800), 0).await;
    check("skipType", json!(3), 10_060).await;
    check("skipType", json!(2), 10_061).await;
    check("networkType", json!(0), 10_065).await;
    check("clientCustomMap", json!({"a": 1}), 10_067).await;
    check("clientCustomMap", json!({"a": "x".repeat(1_024)}), 10_067).await;
    check("classification", json!(2), 10_051).await;
    check("category", json!("SALE"), 10_096).await;
    check("category", json!("IM"), 0).await;
    check("notifyId", json!(0), 10_095).await;
    check("extra", json!({"other": "x"}), 10_304).await;
    check("extra", json!({"callback": "x".repeat(129)}), 10_305).await;
    check("extra", json!({"callback.param": "x".repeat(193)}), 10_306).await;
    check("requestId", Value::Null, 10_352).await;
    check("requestId", json!("x".repeat(65)), 10_353).await;
    check("foregroundShow", json!("false"), -1).await;
    let mut mismatch = to("a");
    mismatch["classification"] = json!(0);
    mismatch["category"] = json!("IM");
    assert_eq!(vivo.single(&mismatch).await["result"], 10_097);
}
