//! Huawei v1 and v2.

use http::request::Builder;
use serde_json::{Value, json};
use tidings_sandbox::Provider;

use crate::client::{Reply, Scene, golden, post};

/// A sandbox and an access token of its Huawei.
pub(crate) struct Huawei {
    pub(crate) scene: Scene,
    access_token: String,
}

/// The smallest notification that is taken.
pub(crate) fn message(tokens: &[&str]) -> Value {
    json!({
        "validate_only": false,
        "message": {
            "android": {
                "notification": {"title": "Goal", "body": "Two to one", "click_action": {"type": 3}}
            },
            "token": tokens,
        },
    })
}

impl Huawei {
    pub(crate) async fn new() -> Self {
        let scene = Scene::of(Provider::Huawei).await;
        let id = scene.credential("app_id");
        let secret = scene.credential("app_secret");
        let reply = scene.fetch("/oauth2/v3/token", &id, &secret).await;
        let access_token = reply.json()["access_token"].as_str().unwrap().to_owned();
        Self {
            scene,
            access_token,
        }
    }

    fn to(&self, path: &str, access_token: &str) -> Builder {
        post(path)
            .header("content-type", "application/json; charset=UTF-8")
            .header("authorization", format!("Bearer {access_token}"))
    }

    /// An authorized request to v1.
    pub(crate) fn request(&self) -> Builder {
        let path = format!("/v1/{}/messages:send", self.scene.credential("app_id"));
        self.to(&path, &self.access_token)
    }

    pub(crate) async fn send(&self, body: &Value) -> Reply {
        let sent = self.scene.send(self.request(), &body.to_string()).await;
        sent.expect("an answer")
    }

    pub(crate) async fn code(&self, body: &Value) -> String {
        let reply = self.send(body).await.json();
        reply["code"].as_str().expect("a code as a text").to_owned()
    }
}

#[tokio::test]
async fn an_access_token_lasts_an_hour_and_escapes_its_slashes() {
    let scene = Scene::of(Provider::Huawei).await;
    let (id, secret) = (scene.credential("app_id"), scene.credential("app_secret"));
    for path in ["/oauth2/v3/token", "/oauth2/v2/token"] {
        let reply = scene.fetch(path, &id, &secret).await;
        assert_eq!(reply.status, 200);
        assert!(reply.body.contains(r"\/"), "{}", reply.body);
        let told = reply.json();
        assert_eq!(
            (&told["expires_in"], &told["token_type"]),
            (&json!(3600), &json!("Bearer"))
        );
        assert!(told["access_token"].as_str().unwrap().contains('/'));
    }
    assert_eq!(scene.sandbox.access_tokens().issued(Provider::Huawei), 2);
}

#[tokio::test]
async fn a_wrong_secret_gets_no_token_and_an_unknown_client_is_held_to_its_first() {
    let scene = Scene::of(Provider::Huawei).await;
    let id = scene.credential("app_id");
    let reply = scene.fetch("/oauth2/v3/token", &id, "wrong").await;
    assert_eq!(
        (reply.status, &reply.json()["error"]),
        (400, &json!("invalid_client"))
    );
    assert_eq!(
        scene.fetch("/oauth2/v3/token", "9", "first").await.status,
        200
    );
    assert_eq!(
        scene.fetch("/oauth2/v3/token", "9", "other").await.status,
        400
    );
    let request = post("/oauth2/v3/token");
    let refused = scene.send(request, "grant_type=password").await.unwrap();
    assert_eq!(refused.json()["error"], "unsupported_grant_type");
    // As a fault, with Huawei's numbers; sending is not struck.
    scene.fault(json!({"call": "token", "status": 400, "reason": "1101", "count": 1}));
    let secret = scene.credential("app_secret");
    let reply = scene.fetch("/oauth2/v3/token", &id, &secret).await;
    assert_eq!((reply.status, &reply.json()["error"]), (400, &json!(1101)));
}

#[tokio::test]
async fn the_access_token_is_checked() {
    let huawei = Huawei::new().await;
    let body = message(&["a"]).to_string();
    let id = huawei.scene.credential("app_id");
    let v1 = format!("/v1/{id}/messages:send");
    let check = async |request: Builder, status: u16, code: &str| {
        let reply = huawei.scene.send(request, &body).await.unwrap();
        assert_eq!(
            (reply.status, &reply.json()["code"]),
            (status, &json!(code))
        );
    };
    check(post(&v1), 401, "80200001").await;
    check(huawei.to(&v1, "made-up"), 401, "80200003").await;
    let other = "/v1/1/messages:send";
    check(huawei.to(other, &huawei.access_token), 401, "80200001").await;
    let v2 = "/v2/736430079244623079/messages:send";
    check(huawei.to(v2, &huawei.access_token), 200, "80000000").await;
    huawei
        .scene
        .sandbox
        .access_tokens()
        .expire(Provider::Huawei);
    check(huawei.request(), 401, "80200003").await;
    assert_eq!(huawei.scene.reached(), ["a"]);
}

/// The request of Huawei's own reference, with every presentation field that the sheet names.
#[tokio::test]
async fn the_golden_request_is_taken_whole() {
    let huawei = Huawei::new().await;
    let golden = golden(include_str!("golden/huawei.json"));
    let reply = huawei.send(&golden).await;
    assert_eq!(reply.status, 200);
    let told = reply.json();
    assert_eq!(
        (&told["code"], &told["msg"]),
        (&json!("80000000"), &json!("Success"))
    );
    let mut message = golden["message"].clone();
    message.as_object_mut().unwrap().remove("token");
    let deliveries = huawei.scene.deliveries();
    assert_eq!(huawei.scene.reached(), ["pushtoken1", "pushtoken2"]);
    for delivery in &deliveries {
        let payload: Value = serde_json::from_str(&delivery.payload).unwrap();
        assert_eq!(payload, message);
        assert_eq!(json!(delivery.id.to_string()), told["requestId"]);
        assert_eq!(delivery.request, 1);
    }
}

#[tokio::test]
async fn bad_tokens_are_listed_in_a_text_and_the_rest_is_sent_to() {
    let huawei = Huawei::new().await;
    huawei.scene.uninstall("gone");
    huawei.scene.put("foreign", None, Some("another app"));
    huawei
        .scene
        .fault(json!({"token": "struck", "reason": "80300007"}));
    let tokens = ["a", "gone", "no token", "foreign", "struck", "a"];
    let reply = huawei.send(&message(&tokens)).await;
    assert_eq!(
        (reply.status, &reply.json()["code"]),
        (200, &json!("80100000"))
    );
    let told: Value = serde_json::from_str(reply.json()["msg"].as_str().unwrap()).unwrap();
    assert_eq!(
        told,
        json!({"success": 2, "failure": 4, "illegal_tokens": ["gone", "no token", "foreign", "struck"]})
    );
    // Named twice, it gets it twice.
    assert_eq!(huawei.scene.reached(), ["a", "a"]);
    assert_eq!(huawei.code(&message(&["gone", "struck"])).await, "80300007");
}

#[tokio::test]
async fn each_code_is_met_as_a_fault() {
    let huawei = Huawei::new().await;
    for (code, status) in [
        ("80100000", 200),
        ("80100001", 400),
        ("80100002", 400),
        ("80100003", 400),
        ("80100004", 400),
        ("80100013", 400),
        ("80100016", 400),
        ("80100017", 400),
        ("80100018", 400),
        ("80200001", 401),
        ("80200003", 401),
        ("80200005", 401),
        ("80300002", 200),
        ("80300007", 200),
        ("80300008", 400),
        ("80300010", 400),
        ("80300011", 400),
        ("80300013", 400),
        ("80600003", 401),
        ("81000001", 500),
    ] {
        huawei.scene.fault(json!({"reason": code, "count": 1}));
        let reply = huawei.send(&message(&["a"])).await;
        assert_eq!(
            (reply.status, &reply.json()["code"]),
            (status, &json!(code))
        );
    }
    huawei
        .scene
        .fault(json!({"status": 503, "headers": {"retry-after": "3"}, "count": 1}));
    let reply = huawei.send(&message(&["a"])).await;
    assert_eq!((reply.status, reply.body.as_str()), (503, ""));
    assert_eq!(reply.headers["retry-after"], "3");
    // One token with a status of its own takes the whole request with it.
    huawei.scene.fault(json!({"token": "b", "status": 503}));
    assert_eq!(huawei.send(&message(&["a", "b"])).await.status, 503);
    assert_eq!(huawei.send(&message(&["a"])).await.status, 200);
    assert_eq!(huawei.scene.reached(), ["a"]);
}

#[tokio::test]
async fn validate_only_delivers_nothing() {
    let huawei = Huawei::new().await;
    let mut body = message(&["a"]);
    body["validate_only"] = json!(true);
    assert_eq!(huawei.code(&body).await, "80000000");
    assert!(huawei.scene.deliveries().is_empty());
}

#[tokio::test]
async fn a_request_has_1000_tokens_and_4096_bytes_without_them() {
    let huawei = Huawei::new().await;
    let tokens: Vec<String> = (0..1_001).map(|n| format!("{n:0>130}")).collect();
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    assert_eq!(huawei.code(&message(&tokens[..1_000])).await, "80000000");
    assert_eq!(huawei.scene.deliveries().len(), 1_000);
    assert_eq!(huawei.code(&message(&tokens)).await, "80300010");
    assert_eq!(huawei.code(&message(&[])).await, "80300010");
    assert_eq!(huawei.code(&json!({"mesage": {}})).await, "80300010");
    let mut sized = message(&["a"]);
    let room = 4_096 - (sized.to_string().len() - r#"["a"]"#.len());
    let padded = |more: usize| format!("Goal{}", "x".repeat(more));
    sized["message"]["android"]["notification"]["title"] = json!(padded(room));
    assert_eq!(huawei.code(&sized).await, "80000000");
    sized["message"]["android"]["notification"]["title"] = json!(padded(room + 1));
    assert_eq!(huawei.code(&sized).await, "80300008");
}

#[tokio::test]
async fn the_fields_are_checked_and_the_wrong_one_is_named() {
    let huawei = Huawei::new().await;
    let check = async |path: &str, value: Value, code: &str| {
        let mut body = message(&["a"]);
        *body["message"].pointer_mut("/android").unwrap() = json!({
            "notification": {"title": "t", "body": "b", "click_action": {"type": 3}}
        });
        let (parent, name) = path.rsplit_once('/').unwrap();
        body["message"].pointer_mut(parent).expect(parent)[name] = value.clone();
        let reply = huawei.send(&body).await.json();
        assert_eq!(reply["code"], code, "{path} {value}: {}", reply["msg"]);
        if code == "80100001" {
            let message = reply["msg"].as_str().unwrap();
            assert!(message.contains(name), "{name} is not in: {message}");
        }
    };
    let good = "80000000";
    let bad = "80100001";
    let n = "/android/notification";
    check("/android/ttl", json!("86400s"), good).await;
    check("/android/ttl", json!("1.5s"), good).await;
    check("/android/ttl", json!("1296000s"), good).await;
    check("/android/ttl", json!("1296001s"), bad).await;
    check("/android/ttl", json!("0s"), bad).await;
    check("/android/ttl", json!("-1s"), bad).await;
    check("/android/ttl", json!(86_400), bad).await;
    check("/android/collapse_key", json!(100), good).await;
    check("/android/collapse_key", json!(101), "80100013").await;
    check("/android/collapse_key", json!("1"), "80100013").await;
    check("/android/urgency", json!("LOW"), bad).await;
    check("/android/category", json!("NEWS"), bad).await;
    check("/android/category", json!("PLAY_VOICE"), bad).await;
    check(&format!("{n}/click_action"), Value::Null, bad).await;
    check(&format!("{n}/click_action"), json!({"type": 3}), good).await;
    check(&format!("{n}/click_action/type"), json!("3"), bad).await;
    check(&format!("{n}/click_action/type"), json!(5), bad).await;
    check(&format!("{n}/title"), json!(""), bad).await;
    check(&format!("{n}/title"), json!(7), bad).await;
    check(
        &format!("{n}/badge"),
        json!({"set_num": 0, "class": "c"}),
        good,
    )
    .await;
    check(&format!("{n}/badge"), json!({"class": "c"}), good).await;
    for badge in [
        json!({"set_num": 0}),
        json!({"set_num": 100, "class": "c"}),
        json!({"add_num": 0, "class": "c"}),
    ] {
        let mut body = message(&["a"]);
        body["message"]["android"]["notification"]["badge"] = badge;
        assert_eq!(huawei.code(&body).await, bad);
    }
    check(&format!("{n}/importance"), json!("DEFAULT"), bad).await;
    check(&format!("{n}/style"), json!(2), bad).await;
    check(&format!("{n}/image"), json!("http://a/b.png"), bad).await;
    check(&format!("{n}/color"), json!("#abc"), bad).await;
    check(&format!("{n}/foreground_show"), json!("false"), bad).await;
    check(&format!("{n}/foreground_show"), json!(false), good).await;
    check(
        &format!("{n}/inbox_content"),
        json!(["1", "2", "3", "4", "5", "6"]),
        bad,
    )
    .await;
    check(&format!("{n}/buttons"), json!([{}, {}, {}, {}]), bad).await;
    check(&format!("{n}/profile_id"), json!("x".repeat(65)), bad).await;
    for (click, expected) in [
        (json!({"type": 1}), bad),
        (json!({"type": 1, "action": "com.example.A"}), good),
        (json!({"type": 2, "url": "http://a"}), bad),
        (json!({"type": 2, "url": "https://a"}), good),
    ] {
        let mut body = message(&["a"]);
        body["message"]["android"]["notification"]["click_action"] = click;
        assert_eq!(huawei.code(&body).await, expected);
    }
    for (style, expected) in [
        (json!({"style": 1}), bad),
        (json!({"style": 3}), bad),
        (json!({"style": 3, "inbox_content": ["a"]}), good),
        (json!({"default_sound": false}), bad),
    ] {
        let mut body = message(&["a"]);
        for (name, value) in style.as_object().unwrap() {
            body["message"]["android"]["notification"][name] = value.clone();
        }
        assert_eq!(huawei.code(&body).await, expected, "{style}");
    }
    let data =
        json!({"message": {"data": "{}", "android": {"category": "PLAY_VOICE"}, "token": ["a"]}});
    assert_eq!(huawei.code(&data).await, good);
    let nothing = json!({"message": {"android": {}, "token": ["a"]}});
    assert_eq!(huawei.code(&nothing).await, "80100003");
    let reply = huawei.scene.send(huawei.request(), "{").await.unwrap();
    assert_eq!(reply.json()["code"], "80100003");
}
