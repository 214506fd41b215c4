//! Broadcast channels against the simulated APNs.

use serde_json::{Map, Value, json};
use tidings_model::{Environment, Outcome, Reason, UnixMillis};
use tidings_providers::apns::{
    Broadcast, Broadcaster, ChannelError, Channels, Config, Credential, LiveActivity,
    LiveActivityEvent, StoragePolicy,
};
use tidings_providers::{Attempt, Cause};
use tidings_sandbox::{DeliveryId, DeliveryQuery, Fault, FaultBody, Sandbox, SandboxConfig};
use uuid::Uuid;

const APP: &str = "com.example.app";

async fn sandbox() -> Sandbox {
    let sandbox = Sandbox::start(SandboxConfig::default()).await;
    sandbox.expect("a sandbox")
}

fn config(sandbox: &Sandbox) -> Config {
    let credentials = sandbox.credentials();
    let made = &credentials.apns;
    let credential = Credential::from_p8(made.p8.as_bytes(), &made.key_id, &made.team_id);
    Config {
        endpoint: Some(format!("https://localhost:{}", sandbox.addr().port())),
        ca: Some(credentials.ca.as_bytes().into()),
        ..Config::new(credential.expect("a credential"), Environment::Sandbox)
    }
}

fn with_certificate(sandbox: &Sandbox) -> Config {
    let made = &sandbox.credentials().apns;
    let credential = Credential::from_p12(&made.p12, &made.password);
    Config {
        credential: credential.expect("a certificate"),
        ..config(sandbox)
    }
}

fn activity(state: Value) -> LiveActivity {
    let Value::Object(state) = state else {
        panic!("{state} is no object")
    };
    LiveActivity::update(UnixMillis::now(), state)
}

fn update() -> Broadcast {
    Broadcast::new(&activity(json!({"score": 3}))).expect("a broadcast")
}

fn fault(sandbox: &Sandbox, body: FaultBody) {
    let body = FaultBody {
        provider: "apns".to_owned(),
        ..body
    };
    let fault = Fault::try_from(body).expect("a fault");
    sandbox.faults().add(fault).expect("room for a fault");
}

/// The reason of a refusal, with the kind of outcome that it is.
fn said(attempt: &Attempt) -> (&'static str, &str) {
    let Attempt::Answered(outcome) = attempt else {
        panic!("no answer: {attempt:?}");
    };
    let kind = match outcome {
        Outcome::Accepted { .. } => "accepted",
        Outcome::CredentialRejected { .. } => "credential",
        Outcome::PayloadRejected { .. } => "payload",
        Outcome::QuotaSpent(_) => "quota",
        Outcome::Retry { .. } => "retry",
        Outcome::Throttled { .. } => "throttled",
        Outcome::Unregistered { .. } => "unregistered",
    };
    (kind, outcome.reason().map_or("", Reason::as_str))
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, ChannelError>) -> Attempt {
    match result {
        Err(ChannelError::Failed(attempt)) => attempt,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn channels_are_created_read_listed_and_deleted() {
    let sandbox = sandbox().await;
    for config in [config(&sandbox), with_certificate(&sandbox)] {
        let channels = Channels::new(config).expect("a configuration");
        assert_eq!(channels.list(APP).await, Ok(Vec::new()));
        let mut made = Vec::new();
        for policy in [StoragePolicy::Nothing, StoragePolicy::Newest] {
            let id = channels.create(APP, policy).await.expect("a channel");
            assert_eq!(channels.read(APP, &id).await, Ok(policy));
            made.push(id);
        }
        made.sort();
        let mut listed = channels.list(APP).await.expect("a list");
        listed.sort();
        assert_eq!(listed, made);
        for id in &made {
            assert_eq!(channels.delete(APP, id).await, Ok(()));
        }
        let gone = ("unregistered", "ChannelNotRegistered");
        assert_eq!(said(&refused(channels.read(APP, &made[0]).await)), gone);
        assert_eq!(said(&refused(channels.delete(APP, &made[0]).await)), gone);
    }
}

#[tokio::test]
async fn a_broadcast_reaches_the_channel_once() {
    let sandbox = sandbox().await;
    let channels = Channels::new(config(&sandbox)).expect("a configuration");
    let broadcaster = Broadcaster::new(config(&sandbox)).expect("a configuration");
    let id = channels.create(APP, StoragePolicy::Newest).await;
    let id = id.expect("a channel");
    let request = Uuid::from_u128(7);
    let kept = update().kept_until(UnixMillis(4_000_000_000_000));
    let attempt = broadcaster.send(APP, &id, request, &kept).await;
    assert_eq!(said(&attempt), ("accepted", ""));
    let page = sandbox.deliveries().page(&DeliveryQuery::default());
    assert_eq!(page.deliveries.len(), 1);
    assert_eq!(page.deliveries[0].id, DeliveryId::Uuid(request));
    let payload: Value = serde_json::from_str(&page.deliveries[0].payload).expect("JSON");
    assert_eq!(payload["aps"]["event"], "update");
    assert_eq!(payload["aps"]["content-state"], json!({"score": 3}));
}

#[tokio::test]
async fn what_apple_refuses_is_an_outcome() {
    let sandbox = sandbox().await;
    let channels = Channels::new(config(&sandbox)).expect("a configuration");
    let broadcaster = Broadcaster::new(config(&sandbox)).expect("a configuration");
    let id = channels.create(APP, StoragePolicy::Nothing).await;
    let id = id.expect("a channel");
    let send = async |app: &str, channel: &str, broadcast: &Broadcast| {
        broadcaster
            .send(app, channel, Uuid::new_v4(), broadcast)
            .await
    };
    let kept = update().kept_until(UnixMillis(4_000_000_000_000));
    let cases = [
        (
            send(APP, &id, &kept).await,
            ("payload", "BadExpirationDate"),
        ),
        (
            send(APP, "AAAA", &update()).await,
            ("unregistered", "ChannelNotRegistered"),
        ),
        (
            send("com.example.other", &id, &update()).await,
            ("unregistered", "ChannelNotRegistered"),
        ),
        (send(APP, "=", &update()).await, ("payload", "BadChannelId")),
        (send(APP, "", &update()).await, ("payload", "BadChannelId")),
        (
            send(APP, "a b", &update()).await,
            ("payload", "BadChannelId"),
        ),
        (send("a/b", &id, &update()).await, ("payload", "BadPath")),
    ];
    for (attempt, expected) in &cases {
        assert_eq!(said(attempt), *expected);
    }
    assert_eq!(sandbox.deliveries().count(), 0);
    let other = Channels::new(with_certificate(&sandbox)).expect("a configuration");
    let mismatch = refused(other.list("com.example.other").await);
    assert_eq!(said(&mismatch), ("credential", "TopicMismatch"));
    for (reason, kind) in [
        ("CannotCreateChannelConfig", "payload"),
        ("FeatureNotEnabled", "credential"),
        ("InternalServerError", "retry"),
        ("TooManyRequests", "throttled"),
    ] {
        fault(
            &sandbox,
            FaultBody {
                reason: Some(reason.to_owned()),
                count: Some(1),
                ..FaultBody::default()
            },
        );
        let refused = refused(channels.create(APP, StoragePolicy::Nothing).await);
        assert_eq!(said(&refused), (kind, reason));
    }
}

#[tokio::test]
async fn an_expired_token_is_tried_once_more_and_a_lost_connection_is_replaced() {
    let sandbox = sandbox().await;
    let channels = Channels::new(config(&sandbox)).expect("a configuration");
    let expired = |count| FaultBody {
        reason: Some("ExpiredProviderToken".to_owned()),
        count: Some(count),
        ..FaultBody::default()
    };
    fault(&sandbox, expired(1));
    assert_eq!(channels.list(APP).await, Ok(Vec::new()));
    fault(&sandbox, expired(2));
    let twice = refused(channels.list(APP).await);
    assert_eq!(said(&twice), ("credential", "ExpiredProviderToken"));
    let act = |action| FaultBody {
        action: Some(action),
        count: Some(1),
        ..FaultBody::default()
    };
    fault(&sandbox, act(tidings_sandbox::Action::Close));
    let lost = refused(channels.list(APP).await);
    assert!(
        matches!(lost, Attempt::Unanswered(Cause::ConnectionLost(_))),
        "{lost:?}"
    );
    fault(&sandbox, act(tidings_sandbox::Action::RefuseStream));
    let untouched = refused(channels.list(APP).await);
    assert_eq!(untouched, Attempt::NotSent(Cause::RefusedStream));
    fault(&sandbox, act(tidings_sandbox::Action::Goaway));
    let untouched = refused(channels.list(APP).await);
    assert_eq!(untouched, Attempt::NotSent(Cause::GoAway));
    assert_eq!(channels.list(APP).await, Ok(Vec::new()));
}

#[test]
fn what_a_channel_cannot_carry_is_no_broadcast() {
    let event = LiveActivityEvent::Start {
        attributes: Map::new(),
        attributes_type: "Game".to_owned(),
        input: None,
    };
    let start = LiveActivity {
        event,
        ..activity(json!({}))
    };
    let error = Broadcast::new(&start).expect_err("a start");
    assert_eq!(
        error.to_string(),
        "aps.event: is start; a broadcast can be update or end"
    );
    let sized = |len: usize| Broadcast::new(&activity(json!({"x": "y".repeat(len)})));
    assert!(sized(5000).is_ok());
    assert_eq!(sized(5120).expect_err("too large").field(), "payload");
    let json = |len: usize| Broadcast::from_json(format!("{{\"x\":\"{}\"}}", "y".repeat(len - 8)));
    assert!(json(5120).is_ok());
    assert_eq!(json(5121).expect_err("too large").field(), "payload");
    let array = Broadcast::from_json("[]").expect_err("an array");
    assert_eq!(array.field(), "payload");
}
