//! The control API.

use axum::Router;
use axum::body::{Body, to_bytes};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use p12_keystore::{KeyStore, Pkcs12ImportPolicy};
use serde_json::{Value, json};
use tidings_sandbox::{Sandbox, SandboxConfig, control_router};
use tower::ServiceExt;

use crate::client::{
    Client, PAYLOAD, Reply, Signer, authorized, now_secs, request_to, sandbox, sandbox_with, token,
};

/// A sandbox, its control API, and a connection to it.
struct Scene {
    router: Router,
    client: Client,
    provider_token: String,
    sandbox: Sandbox,
}

impl Scene {
    async fn new() -> Self {
        Self::of(sandbox().await).await
    }

    async fn of(sandbox: Sandbox) -> Self {
        Self {
            router: control_router(&sandbox),
            client: Client::connect(&sandbox).await,
            provider_token: Signer::registered(&sandbox).token(0),
            sandbox,
        }
    }

    async fn reply(&self, to: u8) -> Reply {
        let request = authorized(request_to(&token(to)), &self.provider_token);
        self.client.send(request, PAYLOAD).await.unwrap()
    }

    async fn push(&self, to: u8) -> u16 {
        self.reply(to).await.status.as_u16()
    }
}

async fn call(router: &Router, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let mut request = Request::builder().method(method).uri(path);
    let mut bytes = Vec::new();
    if !body.is_null() {
        request = request.header("content-type", "application/json");
        bytes = body.to_string().into_bytes();
    }
    let request = request.body(Body::from(bytes)).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn deliveries_are_listed_as_json() {
    let scene = Scene::new().await;
    let reply = scene.reply(1).await;
    let path = "/v1/sandbox/deliveries?provider=apns";
    let (status, body) = call(&scene.router, "GET", path, &Value::Null).await;
    assert_eq!(status, 200);
    let delivery = &body["deliveries"][0];
    assert!((delivery["at"].as_i64().unwrap() / 1000 - now_secs()).abs() < 60);
    assert_eq!(delivery["id"], reply.headers["apns-id"].to_str().unwrap());
    assert_eq!(delivery["payload"], json!({"aps": {"alert": "hello"}}));
    assert_eq!(
        (&delivery["token"], &delivery["provider"]),
        (&json!(token(1)), &json!("apns"))
    );
    assert_eq!((&body["next"], &body["dropped"]), (&json!(1), &Value::Null));
}

#[tokio::test]
async fn deliveries_are_paged_and_filtered() {
    let scene = Scene::new().await;
    for byte in [1, 2, 1, 2, 1] {
        assert_eq!(scene.push(byte).await, 200);
    }
    let seqs = async |query: &str| {
        let path = format!("/v1/sandbox/deliveries?{query}");
        let (status, body) = call(&scene.router, "GET", &path, &Value::Null).await;
        assert_eq!(status, 200);
        let deliveries = body["deliveries"].as_array().unwrap();
        let seqs: Vec<u64> = deliveries
            .iter()
            .map(|d| d["seq"].as_u64().unwrap())
            .collect();
        (seqs, body["next"].as_u64().unwrap())
    };
    assert_eq!(seqs("").await, (vec![1, 2, 3, 4, 5], 5));
    assert_eq!(seqs("limit=2").await, (vec![1, 2], 2));
    assert_eq!(seqs("after=2&limit=2").await, (vec![3, 4], 4));
    assert_eq!(seqs("after=5").await, (vec![], 5));
    assert_eq!(seqs(&format!("token={}", token(2))).await, (vec![2, 4], 5));
}

#[tokio::test]
async fn what_is_no_longer_kept_is_counted() {
    let config = SandboxConfig {
        deliveries_kept: 2,
        ..SandboxConfig::default()
    };
    let scene = Scene::of(sandbox_with(config).await).await;
    for _ in 0..5 {
        scene.push(1).await;
    }
    let (_, body) = call(&scene.router, "GET", "/v1/sandbox/deliveries", &Value::Null).await;
    assert_eq!((&body["dropped"], &body["next"]), (&json!(3), &json!(5)));
}

#[tokio::test]
async fn a_fault_is_set_met_and_ended() {
    let scene = Scene::new().await;
    let fault = json!({"provider": "apns", "status": 503, "token": token(1)});
    let (status, body) = call(&scene.router, "POST", "/v1/sandbox/faults", &fault).await;
    assert_eq!(status, 201);
    assert_eq!((scene.push(1).await, scene.push(2).await), (503, 200));
    let path = format!("/v1/sandbox/faults/{}", body["id"].as_str().unwrap());
    assert_eq!(
        call(&scene.router, "DELETE", &path, &Value::Null).await,
        (200, json!({}))
    );
    assert_eq!(scene.push(1).await, 200);
    let (status, body) = call(&scene.router, "DELETE", &path, &Value::Null).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (404, &json!("fault_not_found"))
    );
    call(&scene.router, "POST", "/v1/sandbox/faults", &fault).await;
    let all = call(&scene.router, "DELETE", "/v1/sandbox/faults", &Value::Null).await;
    assert_eq!(all, (200, json!({})));
    assert_eq!(scene.push(1).await, 200);
}

#[tokio::test]
async fn a_phone_is_uninstalled_and_installed_again() {
    let scene = Scene::new().await;
    let path = format!("/v1/sandbox/phones/apns/{}", token(1));
    let put = async |body: Value| call(&scene.router, "PUT", &path, &body).await.0;
    assert_eq!(
        put(json!({"state": "uninstalled", "since": 1_767_225_600_123_i64})).await,
        200
    );
    let reply = scene.reply(1).await;
    assert_eq!(
        reply.json(),
        json!({"reason": "Unregistered", "timestamp": 1_767_225_600_123_i64})
    );
    assert_eq!(put(json!({"state": "uninstalled"})).await, 200);
    let since = scene.reply(1).await.json()["timestamp"].as_i64().unwrap();
    assert!((since / 1000 - now_secs()).abs() < 60);
    assert_eq!(put(json!({"state": "installed"})).await, 200);
    assert_eq!(scene.push(1).await, 200);
    assert_eq!(
        put(json!({"state": "installed", "topic": "com.example.other"})).await,
        200
    );
    assert_eq!(
        scene.reply(1).await.verdict(),
        (400, "DeviceTokenNotForTopic".to_owned())
    );
}

#[tokio::test]
async fn credentials_are_enough_to_be_let_in() {
    let scene = Scene::new().await;
    let (status, body) = call(
        &scene.router,
        "GET",
        "/v1/sandbox/credentials",
        &Value::Null,
    )
    .await;
    let own = scene.sandbox.credentials();
    assert_eq!((status, &body["ca"]), (200, &json!(own.ca)));
    let apns = &body["apns"];
    assert_eq!(apns["url"], format!("https://{}", scene.sandbox.addr()));
    assert_eq!(
        (&apns["p8"], &apns["key_id"]),
        (&json!(own.apns.p8), &json!(own.apns.key_id))
    );
    assert_eq!(
        (&apns["team_id"], &apns["topic"]),
        (&json!(own.apns.team_id), &json!("com.example.app"))
    );
    let p12 = STANDARD.decode(apns["p12"].as_str().unwrap()).unwrap();
    let password = apns["password"].as_str().unwrap();
    let store = KeyStore::from_pkcs12(&p12, password, Pkcs12ImportPolicy::Strict).unwrap();
    assert!(store.private_key_chain().is_some());
}

#[tokio::test]
async fn an_error_names_the_field() {
    let scene = Scene::new().await;
    let check = async |method: &str, path: &str, body: Value, status: u16, words: &[&str]| {
        let (answered, error) = call(&scene.router, method, path, &body).await;
        assert_eq!(answered, status, "{path} {body}");
        let message = error["error"]["message"].as_str().unwrap();
        for word in words {
            assert!(message.contains(word), "{word} is not in: {message}");
        }
    };
    let none = Value::Null;
    let deliveries = "/v1/sandbox/deliveries";
    check(
        "GET",
        &format!("{deliveries}?limit=0"),
        none.clone(),
        400,
        &["limit", "10000"],
    )
    .await;
    check(
        "GET",
        &format!("{deliveries}?limit=10001"),
        none.clone(),
        400,
        &["limit"],
    )
    .await;
    check(
        "GET",
        &format!("{deliveries}?after=x"),
        none.clone(),
        400,
        &["after"],
    )
    .await;
    check(
        "GET",
        &format!("{deliveries}?provider=link"),
        none.clone(),
        400,
        &["provider", "apns"],
    )
    .await;
    check(
        "GET",
        &format!("{deliveries}?provider=apns&token=xyz"),
        none.clone(),
        400,
        &["token", "64"],
    )
    .await;
    check(
        "GET",
        &format!("{deliveries}?tokn=xyz"),
        none.clone(),
        400,
        &["tokn"],
    )
    .await;
    let faults = "/v1/sandbox/faults";
    check("POST", faults, none.clone(), 400, &["JSON"]).await;
    check("POST", faults, json!({"status": 500}), 400, &["provider"]).await;
    check(
        "POST",
        faults,
        json!({"provider": "apns", "status": "x"}),
        400,
        &["status"],
    )
    .await;
    check(
        "POST",
        faults,
        json!({"provider": "apns", "action": "explode"}),
        400,
        &["action", "refuse_stream"],
    )
    .await;
    check(
        "POST",
        faults,
        json!({"provider": "apns", "stauts": 500}),
        400,
        &["stauts"],
    )
    .await;
    check(
        "POST",
        faults,
        json!({"provider": "apns", "status": 200}),
        400,
        &["status", "400"],
    )
    .await;
    check("DELETE", "/v1/sandbox/faults/x", none, 404, &["id"]).await;
    let phone = format!("/v1/sandbox/phones/apns/{}", token(1));
    check("PUT", &phone, json!({}), 400, &["state"]).await;
    check(
        "PUT",
        &phone,
        json!({"state": "lost"}),
        400,
        &["state", "uninstalled"],
    )
    .await;
    check(
        "PUT",
        &phone,
        json!({"state": "installed", "since": 1}),
        400,
        &["since"],
    )
    .await;
    check(
        "PUT",
        &phone,
        json!({"state": "uninstalled", "since": -1}),
        400,
        &["since"],
    )
    .await;
    let installed = json!({"state": "installed"});
    check(
        "PUT",
        "/v1/sandbox/phones/apns/xyz",
        installed.clone(),
        400,
        &["token"],
    )
    .await;
    let other = format!("/v1/sandbox/phones/link/{}", token(1));
    check("PUT", &other, installed, 400, &["provider"]).await;
}

#[tokio::test]
async fn a_body_is_json_whatever_its_content_type_says() {
    let scene = Scene::new().await;
    for content_type in [None, Some("application/x-www-form-urlencoded")] {
        let mut request = Request::builder().method("POST").uri("/v1/sandbox/faults");
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let body = Body::from(r#"{"provider":"apns","status":503,"count":1}"#);
        let request = request.body(body).unwrap();
        let response = scene.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 201, "{content_type:?}");
        assert_eq!(scene.push(1).await, 503, "{content_type:?}");
    }
    let large = Value::String("x".repeat(3 << 20));
    let (status, _) = call(&scene.router, "POST", "/v1/sandbox/faults", &large).await;
    assert_eq!(status, 413);
}
