//! Honor.

use std::time::{SystemTime, UNIX_EPOCH};

use http::request::Builder;
use serde_json::{Value, json};
use tidings_sandbox::Provider;

use crate::client::{Reply, Scene, golden, post};

struct Honor {
    scene: Scene,
    access_token: String,
}

/// The smallest notification that is taken.
fn message(tokens: &[&str]) -> Value {
    json!({
        "android": {"notification": {"title": "Goal", "body": "Two to one", "clickAction": {"type": 3}}},
        "token": tokens,
    })
}

impl Honor {
    async fn new() -> Self {
        let scene = Scene::of(Provider::Honor).await;
        let (id, secret) = (
            scene.credential("client_id"),
            scene.credential("client_secret"),
        );
        let reply = scene.fetch("/auth/token", &id, &secret).await;
        let access_token = reply.json()["access_token"].as_str().unwrap().to_owned();
        Self {
            scene,
            access_token,
        }
    }

    /// An authorized request without a timestamp.
    fn to(&self, app: &str) -> Builder {
        post(&format!("/api/v1/{app}/sendMessage"))
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", self.access_token))
    }

    fn request(&self) -> Builder {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let request = self.to(&self.scene.credential("app_id"));
        request.header("timestamp", now.as_millis().to_string())
    }

    async fn send(&self, body: &Value) -> Reply {
        let sent = self.scene.send(self.request(), &body.to_string()).await;
        sent.expect("an answer")
    }

    async fn code(&self, body: &Value) -> u64 {
        let reply = self.send(body).await.json();
        reply["code"].as_u64().expect("a code as a number")
    }
}

#[tokio::test]
async fn both_token_paths_give_a_token_to_who_has_the_secret() {
    let scene = Scene::of(Provider::Honor).await;
    let (id, secret) = (
        scene.credential("client_id"),
        scene.credential("client_secret"),
    );
    for path in [
        "/auth/token",
        "/auth/realms/developer/protocol/openid-connect/token",
    ] {
        let reply = scene.fetch(path, &id, &secret).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.json()["expires_in"], 3_600);
        let reply = scene.fetch(path, &id, "wrong").await;
        assert_eq!(
            (reply.status, &reply.json()["error"]),
            (401, &json!("invalid_client"))
        );
    }
}

#[tokio::test]
async fn the_golden_request_is_taken_whole() {
    let honor = Honor::new().await;
    let golden = golden(include_str!("golden/honor.json"));
    let reply = honor.send(&golden).await;
    let told = reply.json();
    assert_eq!((reply.status, &told["code"]), (200, &json!(200)));
    assert_eq!(told["data"]["sendResult"], true);
    let mut message = golden.clone();
    message.as_object_mut().unwrap().remove("token");
    assert_eq!(honor.scene.reached(), ["tokenA", "tokenB"]);
    for delivery in honor.scene.deliveries() {
        let payload: Value = serde_json::from_str(&delivery.payload).unwrap();
        assert_eq!(payload, message);
        assert_eq!(json!(delivery.id.to_string()), told["data"]["requestId"]);
    }
}

#[tokio::test]
async fn the_access_token_the_timestamp_and_the_app_are_checked() {
    let honor = Honor::new().await;
    let body = message(&["a"]).to_string();
    let app = honor.scene.credential("app_id");
    let check = async |request: Builder, status: u16, code: u64| {
        let reply = honor.scene.send(request, &body).await.unwrap();
        assert_eq!(
            (reply.status, &reply.json()["code"]),
            (status, &json!(code))
        );
    };
    let path = format!("/api/v1/{app}/sendMessage");
    check(post(&path).header("timestamp", "1767225600123"), 403, 403).await;
    check(honor.to(&app), 200, 10_001).await;
    check(
        honor.to(&app).header("timestamp", "1767225600"),
        200,
        10_207,
    )
    .await;
    check(honor.to(&app).header("timestamp", "now"), 200, 10_207).await;
    check(
        honor.to("7").header("timestamp", "1767225600123"),
        200,
        10_205,
    )
    .await;
    check(honor.request(), 200, 200).await;
    honor.scene.sandbox.access_tokens().expire(Provider::Honor);
    check(honor.request(), 403, 403).await;
}

#[tokio::test]
async fn bad_tokens_are_listed_by_kind() {
    let honor = Honor::new().await;
    honor.scene.uninstall("gone");
    let reply = honor
        .send(&message(&["a", "gone", "no token"]))
        .await
        .json();
    assert_eq!(
        (&reply["code"], &reply["data"]["sendResult"]),
        (&json!(80_100_000), &json!(true))
    );
    assert_eq!(reply["data"]["expireTokens"], json!(["gone"]));
    assert_eq!(reply["data"]["failTokens"], json!(["no token"]));
    assert_eq!(honor.code(&message(&["gone"])).await, 80_300_007);
    // A fault can hide a refusal behind code 200, as has been seen.
    honor
        .scene
        .fault(json!({"token": "b", "reason": "failTokens", "count": 1}));
    let reply = honor.send(&message(&["b"])).await.json();
    assert_eq!(
        (&reply["code"], &reply["data"]["sendResult"]),
        (&json!(200), &json!(false))
    );
    assert_eq!(reply["data"]["failTokens"], json!(["b"]));
    honor
        .scene
        .fault(json!({"token": "b", "reason": "80300007"}));
    let reply = honor.send(&message(&["a", "b"])).await.json();
    assert_eq!(
        (&reply["code"], &reply["data"]["expireTokens"]),
        (&json!(80_100_000), &json!(["b"]))
    );
    assert_eq!(honor.scene.reached(), ["a", "a"]);
}

#[tokio::test]
async fn each_code_is_met_as_a_fault() {
    let honor = Honor::new().await;
    for code in [400, 403, 404, 500, 502, 503] {
        honor
            .scene
            .fault(json!({"reason": code.to_string(), "count": 1}));
        let reply = honor.send(&message(&["a"])).await;
        assert_eq!((reply.status, &reply.json()["code"]), (code, &json!(code)));
    }
    for code in [
        10_001, 10_205, 10_207, 10_300, 80_100_000, 80_100_003, 80_200_001, 80_200_003, 80_200_020,
        80_200_022, 80_200_047, 80_200_050, 80_200_056, 80_300_006, 80_300_007, 80_300_008,
        80_300_010, 81_000_001,
    ] {
        honor
            .scene
            .fault(json!({"reason": code.to_string(), "count": 1}));
        let reply = honor.send(&message(&["a"])).await;
        assert_eq!((reply.status, &reply.json()["code"]), (200, &json!(code)));
    }
    assert!(honor.scene.deliveries().is_empty());
}

#[tokio::test]
async fn tokens_size_and_fields_are_checked() {
    let honor = Honor::new().await;
    let tokens: Vec<String> = (0..1_001).map(|n| format!("{n:0>130}")).collect();
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    assert_eq!(honor.code(&message(&tokens[..1_000])).await, 200);
    assert_eq!(honor.code(&message(&tokens)).await, 80_300_010);
    assert_eq!(honor.code(&message(&[])).await, 10_300);
    assert_eq!(honor.code(&message(&["a", "b", "a"])).await, 80_300_006);
    assert_eq!(honor.code(&json!({"token": ["a"]})).await, 80_100_003);
    assert_eq!(
        honor.code(&json!({"data": "{}", "token": ["a"]})).await,
        200
    );
    let check = async |path: &str, value: Value, code: u64| {
        let mut body = message(&["a"]);
        let (parent, name) = path.rsplit_once('/').unwrap();
        body.pointer_mut(parent).expect(parent)[name] = value.clone();
        let reply = honor.send(&body).await.json();
        assert_eq!(reply["code"], code, "{path} {value}: {}", reply["message"]);
        if code == 400 {
            let message = reply["message"].as_str().unwrap();
            assert!(message.contains(name), "{name} is not in: {message}");
        }
    };
    let n = "/android/notification";
    check(
        "/android/notification/title",
        json!("x".repeat(4_096)),
        80_300_008,
    )
    .await;
    check("/data", json!({}), 400).await;
    check("/android/ttl", json!(86_400), 400).await;
    check("/android/ttl", json!("1296001s"), 400).await;
    check(&format!("{n}/clickAction"), Value::Null, 400).await;
    check(&format!("{n}/clickAction/type"), json!(4), 400).await;
    check(&format!("{n}/importance"), json!("HIGH"), 400).await;
    check(&format!("{n}/image"), json!("http://a"), 400).await;
    check(
        &format!("{n}/badge"),
        json!({"setNum": 0, "badgeClass": "c"}),
        200,
    )
    .await;
    check(&format!("{n}/notifyId"), json!("7"), 200).await;
    check(&format!("{n}/style"), json!(3), 400).await;
    let mut badge = message(&["a"]);
    badge["android"]["notification"]["badge"] = json!({"addNum": 1});
    assert_eq!(honor.code(&badge).await, 400);
    let mut marketing = message(&["a"]);
    marketing["android"]["notification"]["importance"] = json!("LOW");
    marketing["notification"] = json!({"image": "https://a"});
    assert_eq!(honor.code(&marketing).await, 80_200_050);
    let mut big = message(&["a"]);
    big["android"]["notification"]["style"] = json!(1);
    big["android"]["notification"]["bigTitle"] = json!("Goal");
    big["android"]["notification"]["bigBody"] = json!("other than the body");
    assert_eq!(honor.code(&big).await, 400);
}
