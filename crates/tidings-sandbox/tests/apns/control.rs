//! The control API.

use axum::Router;
use axum::body::{Body, to_bytes};
use http::Request;
use serde_json::{Value, json};
use tidings_sandbox::control_router;
use tower::ServiceExt;

use crate::client::{Client, PAYLOAD, Signer, good, sandbox, token};

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
    let sandbox = sandbox().await;
    let router = control_router(&sandbox);
    let client = Client::connect(&sandbox).await;
    let signer = Signer::registered(&sandbox);
    let reply = client.send(good(&signer), PAYLOAD).await.unwrap();
    let (status, body) = call(
        &router,
        "GET",
        "/v1/sandbox/deliveries?provider=apns",
        &Value::Null,
    )
    .await;
    assert_eq!(status, 200);
    assert!(body["deliveries"][0]["at"].is_i64());
    assert_eq!(
        body["deliveries"][0]["id"],
        reply.headers["apns-id"].to_str().unwrap()
    );
    assert_eq!(
        body["deliveries"][0]["payload"],
        json!({"aps": {"alert": "hello"}})
    );
    assert_eq!(body["deliveries"][0]["token"], token(1));
    assert_eq!((&body["next"], &body["dropped"]), (&json!(1), &Value::Null));
}
