//! Meizu.

use md5::{Digest, Md5};
use serde_json::{Value, json};
use tidings_sandbox::Provider;

use crate::client::{Reply, Scene, encoded, golden, post};

struct Meizu {
    scene: Scene,
}

const TO_IDS: &str = "varnished/pushByPushId";

/// The smallest message that is taken.
fn message() -> Value {
    json!({"noticeBarInfo": {"title": "Goal", "content": "Two to one"}})
}

impl Meizu {
    async fn new() -> Self {
        Self {
            scene: Scene::of(Provider::Meizu).await,
        }
    }

    /// A form with app id and signature.
    fn signed<'a>(&self, pairs: &[(&'a str, String)]) -> Vec<(&'a str, String)> {
        let mut pairs = pairs.to_vec();
        pairs.push(("appId", self.scene.credential("app_id")));
        pairs.sort();
        let mut text: String = pairs
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        text.push_str(&self.scene.credential("app_secret"));
        let digest = Md5::digest(text.as_bytes());
        pairs.push((
            "sign",
            digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        ));
        pairs
    }

    async fn call(&self, path: &str, pairs: &[(&str, String)]) -> Reply {
        let request = post(&format!("/garcia/api/server/push/{path}"));
        self.scene.send(request, &encoded(pairs)).await.unwrap()
    }

    async fn send(&self, ids: &str, message: &Value) -> Value {
        let pairs = [
            ("pushIds", ids.to_owned()),
            ("messageJson", message.to_string()),
        ];
        let reply = self.call(TO_IDS, &self.signed(&pairs)).await;
        assert_eq!(reply.status, 200);
        reply.json()
    }
}

#[tokio::test]
async fn the_golden_request_is_taken_whole() {
    let meizu = Meizu::new().await;
    let golden = golden(include_str!("golden/meizu.json"));
    let told = meizu.send("a,b", &golden).await;
    assert_eq!((&told["code"], &told["value"]), (&json!("200"), &json!({})));
    assert_eq!(meizu.scene.reached(), ["a", "b"]);
    for delivery in meizu.scene.deliveries() {
        let payload: Value = serde_json::from_str(&delivery.payload).unwrap();
        assert_eq!(payload, golden);
        assert_eq!(
            (told["msgId"].as_str(), delivery.request),
            (Some(delivery.id.to_string().as_str()), 1)
        );
    }
}

#[tokio::test]
async fn app_and_signature_are_checked() {
    let meizu = Meizu::new().await;
    let pairs = [
        ("pushIds", "a".to_owned()),
        ("messageJson", message().to_string()),
    ];
    let good = meizu.signed(&pairs);
    let check = async |name: &str, value: Option<&str>, code: &str| {
        let mut pairs = good.clone();
        pairs.retain(|(known, _)| *known != name);
        pairs.extend(value.map(|value| (name, value.to_owned())));
        assert_eq!(
            meizu.call(TO_IDS, &pairs).await.json()["code"],
            code,
            "{name}"
        );
    };
    check("appId", None, "110004").await;
    check("appId", Some("7"), "110000").await;
    check("sign", Some("wrong"), "1006").await;
    check("sign", None, "1006").await;
    // A parameter that was not signed.
    check("pushIds", Some("a,b"), "1006").await;
    check("extra", Some("x"), "1006").await;
    assert_eq!(meizu.call(TO_IDS, &good).await.json()["code"], "200");
}

#[tokio::test]
async fn value_holds_the_failed_ids_by_code() {
    let meizu = Meizu::new().await;
    meizu.scene.uninstall("gone");
    meizu.scene.put("foreign", None, Some("another app"));
    // Inside `value` 110010 is a user who has switched messages off.
    meizu
        .scene
        .fault(json!({"token": "muted", "reason": "110010"}));
    let told = meizu.send("a,gone,foreign,muted,b", &message()).await;
    assert_eq!(told["code"], "200");
    let failed = json!({"110002": ["gone"], "110003": ["foreign"], "110010": ["muted"]});
    assert_eq!(told["value"], failed);
    assert_eq!(meizu.scene.reached(), ["a", "b"]);
    assert_eq!(meizu.send("gone", &message()).await["code"], "200");
}

#[tokio::test]
async fn a_saved_message_is_sent_by_its_task() {
    let meizu = Meizu::new().await;
    let pairs = [
        ("pushType", "0".to_owned()),
        ("messageJson", message().to_string()),
    ];
    let told = meizu
        .call("pushTask/getTaskId", &meizu.signed(&pairs))
        .await
        .json();
    let task = told["value"]["taskId"].as_str().unwrap().to_owned();
    let send = async |task: &str| {
        let pairs = [("taskId", task.to_owned()), ("pushIds", "a,b".to_owned())];
        meizu
            .call("task/varnished/pushByPushId", &meizu.signed(&pairs))
            .await
            .json()
    };
    assert_eq!(send(&task).await["code"], "200");
    assert_eq!(meizu.scene.reached(), ["a", "b"]);
    assert_eq!(send("7").await["code"], "110032");
}

#[tokio::test]
async fn each_code_is_met_as_a_fault() {
    let meizu = Meizu::new().await;
    for code in [
        "300", "500", "1001", "1003", "1005", "1006", "110000", "110001", "110002", "110004",
        "110009", "110010", "110019", "110031", "110032", "110033", "110051", "110053",
    ] {
        meizu.scene.fault(json!({"reason": code, "count": 1}));
        assert_eq!(meizu.send("a", &message()).await["code"], code);
    }
    for code in [
        "201", "501", "513", "518", "519", "520", "110002", "110003", "110005", "110010", "110011",
    ] {
        meizu
            .scene
            .fault(json!({"token": "a", "reason": code, "count": 1}));
        let told = meizu.send("a", &message()).await;
        assert_eq!(
            (&told["code"], &told["value"][code]),
            (&json!("200"), &json!(["a"]))
        );
    }
    meizu.scene.fault(json!({"status": 502, "count": 1}));
    let pairs = [
        ("pushIds", "a".to_owned()),
        ("messageJson", message().to_string()),
    ];
    assert_eq!(meizu.call(TO_IDS, &meizu.signed(&pairs)).await.status, 502);
    assert!(meizu.scene.deliveries().is_empty());
}

#[tokio::test]
async fn ids_and_fields_are_checked() {
    let meizu = Meizu::new().await;
    let ids: Vec<String> = (0..101).map(|n| n.to_string()).collect();
    assert_eq!(
        meizu.send(&ids[..100].join(","), &message()).await["code"],
        "200"
    );
    assert_eq!(meizu.send(&ids.join(","), &message()).await["code"], "1005");
    assert_eq!(meizu.send("", &message()).await["code"], "110004");
    let check = async |path: &str, value: Value, code: &str| {
        let mut body = golden(include_str!("golden/meizu.json"));
        *body.pointer_mut(path).expect(path) = value.clone();
        let told = meizu.send("a", &body).await;
        assert_eq!(told["code"], code, "{path} {value}: {}", told["message"]);
    };
    check("/noticeBarInfo", Value::Null, "1005").await;
    check("/noticeBarInfo/title", json!("x".repeat(33)), "1005").await;
    check("/noticeBarInfo/content", json!("x".repeat(101)), "1005").await;
    check("/noticeBarInfo/noticeMsgType", json!(2), "1005").await;
    check("/noticeBarInfo/noticeBarType", json!(1), "1005").await;
    check("/noticeExpandInfo/noticeExpandContent", json!(""), "1005").await;
    check("/clickTypeInfo/clickType", json!(3), "1005").await;
    check("/clickTypeInfo/activity", json!(""), "1005").await;
    check("/clickTypeInfo/parameters", json!("{\"a\":1}"), "200").await;
    check("/clickTypeInfo/parameters", json!("a"), "1005").await;
    check("/pushTimeInfo/validTime", json!(73), "1005").await;
    check("/pushTimeInfo/validTime", json!(0), "1005").await;
    check("/advanceInfo/notifyKey", json!("too_long_"), "1005").await;
    check("/extra/callback", json!("x".repeat(129)), "1005").await;
    check("/extra/callback.param", json!("x".repeat(65)), "1005").await;
    check("/extra/callback.type", json!(4), "1005").await;
}
