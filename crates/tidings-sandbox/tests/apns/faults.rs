//! Trouble on request, as it looks on the wire.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use serde_json::{Value, json};
use tidings_sandbox::{Fault, FaultBody, Sandbox};

use crate::client::{Client, PAYLOAD, Reply, Signer, authorized, request_to, sandbox, token};

/// A sandbox with faults, and a connection to it.
struct Scene {
    sandbox: Sandbox,
    client: Client,
    provider_token: String,
}

impl Scene {
    async fn new() -> Self {
        let sandbox = sandbox().await;
        Self {
            client: Client::connect(&sandbox).await,
            provider_token: Signer::registered(&sandbox).token(0),
            sandbox,
        }
    }

    fn set(&self, fault: Value) -> u64 {
        let body: FaultBody = serde_json::from_value(fault).unwrap();
        self.sandbox
            .faults()
            .add(Fault::try_from(body).unwrap())
            .unwrap()
    }

    async fn send(&self, to: u8) -> Result<Reply, h2::Error> {
        let request = authorized(request_to(&token(to)), &self.provider_token);
        self.client.send(request, PAYLOAD).await
    }

    async fn status(&self, to: u8) -> u16 {
        self.send(to).await.unwrap().status.as_u16()
    }

    /// Opens a stream without waiting for its answer.
    async fn open(&self, to: u8) -> h2::client::ResponseFuture {
        let request = authorized(request_to(&token(to)), &self.provider_token);
        let mut send = self.client.ready().await;
        let (response, mut stream) = send.send_request(request.body(()).unwrap(), false).unwrap();
        stream.send_data(Bytes::from(PAYLOAD), true).unwrap();
        response
    }
}

#[tokio::test]
async fn a_status_comes_with_reason_and_headers_and_is_no_delivery() {
    let scene = Scene::new().await;
    scene.set(json!({"provider": "apns", "status": 429, "reason": "TooManyRequests", "headers": {"retry-after": "7"}}));
    let reply = scene.send(1).await.unwrap();
    assert_eq!(reply.verdict(), (429, "TooManyRequests".to_owned()));
    assert_eq!(reply.headers["retry-after"], "7");
    assert_eq!(reply.json(), json!({"reason": "TooManyRequests"}));
    assert_eq!(scene.sandbox.deliveries().count(), 0);
}

#[tokio::test]
async fn status_and_reason_fill_each_other_in() {
    let scene = Scene::new().await;
    for (fault, expected) in [
        (json!({"status": 503}), (503, "ServiceUnavailable")),
        (json!({"status": 502}), (502, "")),
        (json!({"reason": "IdleTimeout"}), (400, "IdleTimeout")),
        (
            json!({"status": 400, "reason": "NewWord"}),
            (400, "NewWord"),
        ),
    ] {
        let mut fault = fault;
        fault["provider"] = json!("apns");
        fault["count"] = json!(1);
        scene.set(fault);
        let (status, reason) = scene.send(1).await.unwrap().verdict();
        assert_eq!((status, reason.as_str()), expected);
    }
}

#[tokio::test]
async fn each_of_apples_reasons_has_its_status() {
    const REASONS: [(u16, &str); 9] = [
        (
            400,
            "BadChannelId BadCollapseId BadDeviceToken BadExpirationDate BadMessageId BadPriority BadRequestParams \
             BadRequestPayload BadTopic CannotCreateChannelConfig ChannelNotRegistered DeviceTokenNotForTopic \
             DuplicateHeaders FeatureNotEnabled IdleTimeout InvalidPushType MissingChannelId MissingChannelQueueSize \
             MissingDeviceToken MissingPushType MissingTopic PayloadEmpty TopicDisallowed",
        ),
        (
            403,
            "BadCertificate BadCertificateEnvironment BadEnvironmentKeyIdInToken ExpiredProviderToken Forbidden \
             InvalidProviderToken MissingProviderToken TopicMismatch UnrelatedKeyIdInToken",
        ),
        (404, "BadPath"),
        (405, "MethodNotAllowed"),
        (410, "ExpiredToken Unregistered"),
        (413, "PayloadTooLarge"),
        (429, "TooManyProviderTokenUpdates TooManyRequests"),
        (500, "InternalServerError"),
        (503, "ServiceUnavailable Shutdown"),
    ];
    let scene = Scene::new().await;
    for (status, reasons) in REASONS {
        for reason in reasons.split_whitespace() {
            scene.set(json!({"provider": "apns", "reason": reason, "count": 1}));
            let verdict = scene.send(1).await.unwrap().verdict();
            assert_eq!(verdict, (status, reason.to_owned()));
        }
    }
}

#[tokio::test]
async fn a_410_carries_a_timestamp() {
    let scene = Scene::new().await;
    scene.set(json!({"provider": "apns", "status": 410}));
    let reply = scene.send(1).await.unwrap();
    assert_eq!(reply.verdict(), (410, "Unregistered".to_owned()));
    assert!(reply.json()["timestamp"].as_i64().unwrap() > 1_700_000_000_000);
}

#[tokio::test]
async fn a_fault_may_be_for_one_token_and_ends_when_told() {
    let scene = Scene::new().await;
    let id = scene.set(json!({"provider": "apns", "token": token(2), "status": 500}));
    assert_eq!((scene.status(1).await, scene.status(2).await), (200, 500));
    assert!(scene.sandbox.faults().remove(id));
    assert!(!scene.sandbox.faults().remove(id));
    assert_eq!(scene.status(2).await, 200);
    scene.set(json!({"provider": "apns", "status": 500}));
    scene.sandbox.faults().clear();
    assert_eq!(scene.status(1).await, 200);
}

#[tokio::test]
async fn a_count_ends_a_fault() {
    let scene = Scene::new().await;
    scene.set(json!({"provider": "apns", "status": 503, "count": 2}));
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(scene.status(1).await);
    }
    assert_eq!(seen, [503, 503, 200]);
}

#[tokio::test]
async fn a_percentage_is_spread_evenly() {
    let scene = Scene::new().await;
    scene.set(json!({"provider": "apns", "status": 503, "percent": 25}));
    let mut failed = 0;
    for _ in 0..40 {
        failed += u32::from(scene.status(1).await == 503);
    }
    assert_eq!(failed, 10);
}

#[tokio::test]
async fn a_delay_alone_delays_the_answer_and_not_the_delivery() {
    let scene = Scene::new().await;
    scene.set(json!({"provider": "apns", "token": token(1), "delay_ms": 200}));
    let start = Instant::now();
    let slow = scene.open(1).await;
    assert_eq!(scene.status(2).await, 200);
    assert_eq!(scene.sandbox.deliveries().count(), 2);
    assert_eq!(slow.await.unwrap().status(), 200);
    assert!(start.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_hanging_stream_is_never_answered_while_others_are() {
    let scene = Scene::new().await;
    scene.set(json!({"provider": "apns", "token": token(1), "action": "hang"}));
    let mut hung = scene.open(1).await;
    for _ in 0..3 {
        assert_eq!(scene.status(2).await, 200);
    }
    assert!((&mut hung).now_or_never().is_none());
    assert_eq!(scene.sandbox.deliveries().count(), 3);
}

#[tokio::test]
async fn a_refused_stream_says_so_and_the_connection_goes_on() {
    let scene = Scene::new().await;
    scene.set(json!({"provider": "apns", "action": "refuse_stream", "count": 1}));
    let error = scene.send(1).await.unwrap_err();
    assert_eq!(error.reason(), Some(h2::Reason::REFUSED_STREAM));
    assert!(error.is_reset() && error.is_remote());
    assert_eq!(scene.status(1).await, 200);
}

#[tokio::test]
async fn close_ends_the_connection_without_a_goodbye() {
    let mut scene = Scene::new().await;
    scene.set(json!({"provider": "apns", "action": "close", "count": 1}));
    let error = scene.send(1).await.unwrap_err();
    assert!(!error.is_go_away(), "{error:?}");
    scene.client.end().await;
    scene.client = Client::connect(&scene.sandbox).await;
    assert_eq!(scene.status(1).await, 200);
}

#[tokio::test]
async fn an_action_may_come_late() {
    let scene = Scene::new().await;
    scene.set(json!({"provider": "apns", "action": "refuse_stream", "delay_ms": 100}));
    let start = Instant::now();
    let error = scene.send(1).await.unwrap_err();
    assert_eq!(error.reason(), Some(h2::Reason::REFUSED_STREAM));
    assert!(start.elapsed() >= Duration::from_millis(100));
}

#[tokio::test]
async fn goaway_answers_the_streams_before_and_leaves_out_those_from_the_fault_on() {
    let mut scene = Scene::new().await;
    scene.set(json!({"provider": "apns", "token": token(1), "delay_ms": 200}));
    scene.set(json!({"provider": "apns", "token": token(2), "action": "goaway"}));
    let before = scene.open(1).await;
    let struck = scene.open(2).await;
    let after = scene.open(3).await;
    for left_out in [struck, after] {
        let error = left_out.await.unwrap_err();
        assert!(error.is_go_away() && error.is_remote(), "{error:?}");
        assert_eq!(error.reason(), Some(h2::Reason::NO_ERROR));
        assert!(
            format!("{error:?}").contains(r#"{\"reason\":\"Shutdown\"}"#),
            "{error:?}"
        );
    }
    assert_eq!(before.await.unwrap().status(), 200);
    scene.client.end().await;
    let page = scene.sandbox.deliveries().page(&Default::default());
    let tokens: Vec<String> = page
        .deliveries
        .iter()
        .map(|d| d.token.to_string())
        .collect();
    assert_eq!(tokens, [token(1)]);
}

#[test]
fn a_fault_that_makes_no_sense_names_the_field() {
    let check = |fault: Value, field: &str| {
        let mut whole = json!({"provider": "apns"});
        for (name, value) in fault.as_object().unwrap() {
            whole[name] = value.clone();
        }
        let body: FaultBody = serde_json::from_value(whole).unwrap();
        let error = Fault::try_from(body).unwrap_err();
        assert_eq!(error.field, field, "{error}");
    };
    check(json!({}), "status");
    check(json!({"provider": "gcm", "status": 500}), "provider");
    check(json!({"token": "abc", "status": 500}), "token");
    check(json!({"status": 200}), "status");
    check(json!({"status": 600}), "status");
    check(json!({"reason": "NewWord"}), "status");
    check(json!({"headers": {"a": "b"}}), "headers");
    check(json!({"status": 500, "headers": {"a b": "c"}}), "headers");
    check(json!({"status": 500, "headers": {"a": "b\n"}}), "headers");
    check(
        json!({"status": 500, "headers": {"connection": "close"}}),
        "headers",
    );
    check(
        json!({"status": 500, "headers": {"content-length": "1"}}),
        "headers",
    );
    check(json!({"status": 500, "action": "close"}), "action");
    check(json!({"delay_ms": 600_001}), "delay_ms");
    check(json!({"status": 500, "percent": 0}), "percent");
    check(json!({"status": 500, "percent": 101}), "percent");
    check(json!({"status": 500, "count": 0}), "count");
}

#[test]
fn faults_are_bounded() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sandbox = runtime.block_on(sandbox());
    let fault = || {
        let body = json!({"provider": "apns", "status": 500});
        Fault::try_from(serde_json::from_value::<FaultBody>(body).unwrap()).unwrap()
    };
    for _ in 0..1_000 {
        sandbox.faults().add(fault()).unwrap();
    }
    assert_eq!(sandbox.faults().add(fault()).unwrap_err().field, "fault");
}
