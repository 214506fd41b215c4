//! What holds for every maker: both HTTP versions on one port, faults, bounds, the control API.

use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use http::Request;
use serde_json::{Value, json};
use tidings_sandbox::{Provider, control_router};
use tower::ServiceExt;

use crate::client::{Scene, Unanswered, post, send_http1, send_http2};
use crate::huawei::{Huawei, message};

#[tokio::test]
async fn a_maker_is_reached_over_http_1_and_2_with_and_without_alpn() {
    let huawei = Huawei::new().await;
    let body = message(&["a"]).to_string();
    let request = || huawei.request();
    let scene = &huawei.scene;
    let replies = [
        scene.send(request(), &body).await.unwrap(),
        scene.send_h2(request(), &body).await.unwrap(),
        send_http1(scene.connect(&[]).await, request(), &body)
            .await
            .unwrap(),
        send_http2(scene.connect(&[]).await, request(), &body)
            .await
            .unwrap(),
    ];
    for reply in replies {
        assert_eq!(reply.json()["code"], "80000000");
    }
    let requests: Vec<u64> = scene.deliveries().iter().map(|d| d.request).collect();
    assert_eq!(requests, [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_path_that_nobody_has_is_not_found_over_http_1() {
    let scene = Scene::of(Provider::Huawei).await;
    for path in [
        "/",
        "/3/device/ab",
        "/v1/1/messages:send/x",
        "/v1//messages:send",
    ] {
        assert_eq!(
            scene.send(post(path), "{}").await.unwrap().status,
            404,
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_body_beyond_the_bound_is_refused_unread() {
    let huawei = Huawei::new().await;
    let large = "x".repeat((1 << 20) + 1);
    for reply in [
        huawei.scene.send(huawei.request(), &large).await,
        huawei.scene.send_h2(huawei.request(), &large).await,
    ] {
        // Over HTTP/1.1 the connection may end while the client is still writing.
        assert!(reply.is_err() || reply.is_ok_and(|reply| reply.status == 413));
    }
    assert_eq!(huawei.code(&message(&["a"])).await, "80000000");
}

#[tokio::test]
async fn a_fault_may_delay_close_refuse_or_hang() {
    let huawei = Huawei::new().await;
    let body = message(&["a"]);
    huawei.scene.fault(json!({"delay_ms": 200, "count": 1}));
    let start = Instant::now();
    assert_eq!(huawei.code(&body).await, "80000000");
    assert!(start.elapsed() >= Duration::from_millis(200));
    let text = body.to_string();
    for action in ["close", "refuse_stream", "goaway"] {
        for over_h2 in [false, true] {
            huawei.scene.fault(json!({"action": action, "count": 1}));
            let sent = if over_h2 {
                huawei.scene.send_h2(huawei.request(), &text).await
            } else {
                huawei.scene.send(huawei.request(), &text).await
            };
            assert!(matches!(sent, Err(Unanswered)), "{action}");
        }
    }
    huawei.scene.fault(json!({"action": "hang", "count": 1}));
    let hung = huawei.scene.send(huawei.request(), &text);
    let waited = tokio::time::timeout(Duration::from_millis(200), hung).await;
    assert!(waited.is_err());
    assert_eq!(huawei.scene.deliveries().len(), 1);
}

#[tokio::test]
async fn a_fault_strikes_its_share_and_so_many_times() {
    let huawei = Huawei::new().await;
    huawei
        .scene
        .fault(json!({"status": 503, "percent": 50, "count": 2}));
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(huawei.send(&message(&["a"])).await.status);
    }
    assert_eq!(statuses, [503, 200, 503, 200, 200]);
}

#[tokio::test]
async fn the_control_api_tells_how_to_be_let_in_and_what_arrived() {
    let huawei = Huawei::new().await;
    let router = control_router(&huawei.scene.sandbox);
    let call = async |method: &str, path: &str, body: Value| {
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Body::from(body.to_string())).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        (status, body)
    };
    let (_, told) = call("GET", "/v1/sandbox/credentials", Value::Null).await;
    let url = huawei.scene.sandbox.url();
    assert_eq!(told["huawei"]["endpoint"], url);
    assert_eq!(
        told["huawei"]["token_endpoint"],
        format!("{url}/oauth2/v3/token")
    );
    assert_eq!(told["huawei"]["app_id"], huawei.scene.credential("app_id"));
    assert!(told["ca"].as_str().unwrap().starts_with("-----BEGIN CERT"));

    let gone = json!({"state": "uninstalled"});
    let (status, _) = call("PUT", "/v1/sandbox/phones/huawei/a%2Fb%3D", gone).await;
    assert_eq!(status, 200);
    assert_eq!(huawei.code(&message(&["a/b=", "c"])).await, "80100000");
    let path = "/v1/sandbox/deliveries?provider=huawei&token=c";
    let (_, listed) = call("GET", path, Value::Null).await;
    let delivery = &listed["deliveries"][0];
    assert_eq!(
        (&delivery["token"], &delivery["request"]),
        (&json!("c"), &json!(1))
    );
    assert_eq!(
        delivery["payload"]["android"]["notification"]["title"],
        "Goal"
    );
    assert!(delivery["payload"].get("token").is_none());

    let (_, issued) = call("GET", "/v1/sandbox/tokens/huawei", Value::Null).await;
    assert_eq!(issued, json!({"issued": 1}));
    call("DELETE", "/v1/sandbox/tokens/huawei", Value::Null).await;
    assert_eq!(huawei.code(&message(&["c"])).await, "80200003");

    for (fault, field) in [
        (json!({"provider": "fcm9", "status": 503}), "huawei"),
        (
            json!({"provider": "apns", "call": "token", "status": 503}),
            "call",
        ),
        (
            json!({"provider": "xiaomi", "call": "token", "status": 503}),
            "xiaomi",
        ),
        (
            json!({"provider": "huawei", "call": "token", "token": "a", "status": 503}),
            "call",
        ),
        (
            json!({"provider": "huawei", "token": "two words", "status": 503}),
            "token",
        ),
        (
            json!({"provider": "huawei", "reason": "99999999"}),
            "status",
        ),
        (json!({"provider": "huawei", "status": 199}), "200"),
    ] {
        let (status, error) = call("POST", "/v1/sandbox/faults", fault).await;
        let message = error["error"]["message"].as_str().unwrap();
        assert!(status == 400 && message.contains(field), "{message}");
    }
}

#[tokio::test]
async fn whatever_is_sent_is_answered() {
    let scene = Scene::of(Provider::Huawei).await;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let bodies = [
        "",
        "{",
        "[]",
        "null",
        "7",
        r#""text""#,
        r#"{"message":[],"target":7,"token":{},"regIds":7,"regId":{}}"#,
        r#"{"message":{"token":[7]},"target":{"token":"a"},"token":[null],"regIds":[7,{}]}"#,
        r#"{"message":{},"message":{"token":[]},"target":[],"target":{"token":[]}}"#,
        "message=[]&messages={}&registration_id=%&pushIds=,,&target_value=;;&message_id=%ff",
        "message=7&messages=[7,null,[]]&messageJson=7&target_type=2&target_value=a",
        "&&==&=&%&",
        deep.as_str(),
    ];
    for path in [
        "/oauth2/v3/token",
        "/v1/7/messages:send",
        "/v2/7/messages:send",
        "/v3/7/messages:send",
        "/auth/token",
        "/api/v1/7/sendMessage",
        "/v2/message/regid",
        "/v2/multi_messages/regids",
        "/v1/feedback/fetch_invalid_regids",
        "/server/v1/auth",
        "/server/v1/message/notification/unicast",
        "/server/v1/message/notification/unicast_batch",
        "/server/v1/message/notification/save_message_content",
        "/server/v1/message/notification/broadcast",
        "/server/v1/feedback/fetch_invalid_regidList",
        "/message/auth",
        "/message/send",
        "/message/saveListPayload",
        "/message/pushToList",
        "/garcia/api/server/push/varnished/pushByPushId",
        "/garcia/api/server/push/pushTask/getTaskId",
        "/garcia/api/server/push/task/varnished/pushByPushId",
    ] {
        for body in bodies {
            let reply = scene.send_h2(post(path), body).await;
            let reply = reply.unwrap_or_else(|_| panic!("{path} does not answer {body:.60}"));
            assert_ne!(reply.status, 404, "{path}");
            assert!(
                serde_json::from_str::<Value>(&reply.body).is_ok(),
                "{path} {body:.60}"
            );
        }
        let get = Request::get(format!("https://localhost{path}"));
        assert!(scene.send(get, "").await.is_ok(), "{path}");
    }
    assert_eq!(scene.sandbox.deliveries().count(), 0);
}
