//! Every reason that Apple documents, one by one: what it leads to, and what it does to the connection.
//!
//! Apple, "Handling notification responses from APNs" and "Handling error responses from Apple Push Notification service".

use rcgen::KeyPair;
use tidings_model::{Environment, Outcome, UnixMillis};
use tidings_providers::apns::{
    Broadcast, Broadcaster, ChannelError, Channels, Credential, LiveActivity, token::AGE_MIN,
};
use tidings_providers::{Attempt, apns::Config};
use tidings_sandbox::{Phone, Provider};
use uuid::Uuid;

use crate::stage::{BUNDLE, Sender, Stage, hello, said, token};

/// Status, reason, and what is to be done with a delivery that is refused so.
const DEVICE: [(u16, &str, &str); 33] = [
    (400, "BadCollapseId", "payload"),
    (400, "BadDeviceToken", "unregistered"),
    (400, "BadExpirationDate", "payload"),
    (400, "BadMessageId", "payload"),
    (400, "BadPriority", "payload"),
    (400, "BadTopic", "payload"),
    (400, "DeviceTokenNotForTopic", "unregistered"),
    (400, "DuplicateHeaders", "payload"),
    (400, "IdleTimeout", "retry"),
    (400, "InvalidPushType", "payload"),
    (400, "MissingDeviceToken", "payload"),
    (400, "MissingTopic", "payload"),
    (400, "PayloadEmpty", "payload"),
    // Nobody has checked the credential for this topic.
    (400, "TopicDisallowed", "payload"),
    (403, "BadCertificate", "credential"),
    (403, "BadCertificateEnvironment", "credential"),
    (403, "BadEnvironmentKeyIdInToken", "credential"),
    (403, "ExpiredProviderToken", "again"),
    (403, "Forbidden", "credential"),
    (403, "InvalidProviderToken", "credential"),
    (403, "MissingProviderToken", "credential"),
    (403, "UnrelatedKeyIdInToken", "again"),
    (404, "BadPath", "payload"),
    (405, "MethodNotAllowed", "payload"),
    (410, "ExpiredToken", "unregistered"),
    (410, "Unregistered", "unregistered"),
    (413, "PayloadTooLarge", "payload"),
    (429, "TooManyProviderTokenUpdates", "retry"),
    (429, "TooManyRequests", "throttled"),
    (500, "InternalServerError", "retry"),
    (503, "ServiceUnavailable", "retry"),
    (503, "Shutdown", "retry"),
    // Not Apple's: a word of the future is judged by its status.
    (403, "SomethingNew", "credential"),
];

/// After these the connection is left: it is idle, going down, or bound to a token or key that is not good.
const CONNECTION_LEFT: [&str; 4] = [
    "ExpiredProviderToken",
    "IdleTimeout",
    "Shutdown",
    "UnrelatedKeyIdInToken",
];

/// The same for broadcasts and the management of channels.
const CHANNEL: [(u16, &str, &str); 29] = [
    (400, "BadChannelId", "payload"),
    (400, "BadExpirationDate", "payload"),
    (400, "BadMessageId", "payload"),
    (400, "BadPriority", "payload"),
    (400, "BadRequestParams", "payload"),
    (400, "BadRequestPayload", "payload"),
    (400, "CannotCreateChannelConfig", "payload"),
    (400, "ChannelNotRegistered", "unregistered"),
    (400, "FeatureNotEnabled", "credential"),
    (400, "InvalidPushType", "payload"),
    (400, "MissingChannelId", "payload"),
    (400, "MissingChannelQueueSize", "payload"),
    (400, "MissingPushType", "payload"),
    (400, "PayloadEmpty", "payload"),
    (400, "TopicDisallowed", "credential"),
    (403, "BadCertificate", "credential"),
    (403, "BadCertificateEnvironment", "credential"),
    (403, "ExpiredProviderToken", "again"),
    (403, "InvalidProviderToken", "credential"),
    (403, "MissingProviderToken", "credential"),
    (403, "TopicMismatch", "credential"),
    (404, "BadPath", "payload"),
    (405, "MethodNotAllowed", "payload"),
    (413, "PayloadTooLarge", "payload"),
    (429, "TooManyProviderTokenUpdates", "retry"),
    (429, "TooManyRequests", "throttled"),
    (500, "InternalServerError", "retry"),
    (503, "ServiceUnavailable", "retry"),
    (503, "Shutdown", "retry"),
];

#[tokio::test]
async fn each_reason_for_a_device_has_its_outcome_and_spares_the_connection_or_not() {
    let stage = Stage::new().await;
    let mut sender = stage.sender(stage.token_credential());
    let hello = hello(BUNDLE);
    let accepted = ("accepted", "");
    assert_eq!(said(&sender.send(&token(0), &hello).await), accepted);
    for (status, reason, kind) in DEVICE {
        let before = (stage.connections(), stage.sandbox.deliveries().count());
        stage.refuse(status, reason, 1);
        let attempt = sender.send(&token(1), &hello).await;
        let (expected, delivered) = match kind {
            "again" => (accepted, 1),
            kind => ((kind, reason), 0),
        };
        assert_eq!(said(&attempt), expected, "{status} {reason}");
        if let Attempt::Answered(Outcome::Unregistered { since, .. }) = attempt {
            let recent = |since: UnixMillis| UnixMillis::now().since(since).as_secs() < 60;
            assert_eq!(
                since.map(recent),
                (status == 410).then_some(true),
                "{reason}"
            );
        }
        // The next one is none the worse for it.
        assert_eq!(said(&sender.send(&token(2), &hello).await), accepted);
        let delivered = before.1 + delivered + 1;
        assert_eq!(stage.sandbox.deliveries().count(), delivered, "{reason}");
        let opened = stage.connections() - before.0;
        let left = CONNECTION_LEFT.contains(&reason);
        assert_eq!(opened, usize::from(left), "connections after {reason}");
    }
}

#[tokio::test]
async fn what_the_sandbox_finds_wrong_by_itself_has_the_same_outcomes() {
    let stage = Stage::new().await;
    let put = |byte: u8, uninstalled_since, topic: Option<&str>| {
        let topic = topic.map(str::to_owned);
        let phone = Phone {
            uninstalled_since,
            topic,
        };
        let token = token(byte).parse().expect("a token");
        let phones = stage.sandbox.phones();
        phones.put(Provider::Apns, token, phone).expect("room");
    };
    put(1, Some(1_767_225_600_123), None);
    put(2, None, Some("com.example.other"));
    let own = hello(BUNDLE);
    let mut sender = stage.sender(stage.token_credential());
    let gone = sender.send(&token(1), &own).await;
    assert_eq!(said(&gone), ("unregistered", "Unregistered"));
    let Attempt::Answered(Outcome::Unregistered { since, .. }) = gone else {
        unreachable!("it was seen to be unregistered");
    };
    assert_eq!(since, Some(UnixMillis(1_767_225_600_123)));
    for (device, expected) in [
        (&*token(2), ("unregistered", "DeviceTokenNotForTopic")),
        ("abcd", ("unregistered", "BadDeviceToken")),
    ] {
        assert_eq!(said(&sender.send(device, &own).await), expected);
    }
    let elsewhere = hello("com.example.elsewhere");
    let made = &stage.sandbox.credentials().apns;
    let certificate = Credential::from_p12(&made.p12, &made.password).expect("a certificate");
    let mut certified = stage.sender(certificate);
    let attempt = certified.send(&token(3), &elsewhere).await;
    assert_eq!(said(&attempt), ("payload", "TopicDisallowed"));
    assert_eq!(said(&certified.send(&token(3), &own).await).0, "accepted");
    // A certificate with no topic in it is none for push.
    let topicless = include_bytes!("../fixtures/apns/topicless.p12");
    let topicless = Credential::from_p12(topicless, "secret").expect("a certificate");
    let mut config = stage.config(topicless);
    config.topic = Some(BUNDLE.to_owned());
    config.environment = Environment::Production;
    let attempt = sent(config, &token(3)).await;
    assert_eq!(said(&attempt), ("credential", "BadCertificate"));
    // Somebody else's key under the name of one that is known.
    let key = KeyPair::generate().expect("a key").serialize_pem();
    let forged = Credential::from_p8(key.as_bytes(), &made.key_id, &made.team_id);
    let forged = forged.expect("a credential");
    let attempt = sent(stage.config(forged.clone()), &token(3)).await;
    assert_eq!(said(&attempt), ("credential", "InvalidProviderToken"));
    let channels = Channels::new(stage.config(forged)).expect("a configuration");
    let Err(ChannelError::Failed(attempt)) = channels.list(BUNDLE).await else {
        panic!("the list was given");
    };
    assert_eq!(said(&attempt), ("credential", "InvalidProviderToken"));
}

/// What comes of one delivery.
async fn sent(config: Config, device: &str) -> Attempt {
    Sender::start(config).send(device, &hello(BUNDLE)).await
}

#[tokio::test]
async fn a_connection_that_has_seen_too_many_tokens_is_a_reason_to_wait() {
    let stage = Stage::new().await;
    let credential = stage.token_credential();
    let mut sender = stage.sender(credential.clone());
    let hello = hello(BUNDLE);
    assert_eq!(said(&sender.send(&token(1), &hello).await).0, "accepted");
    // As if the clock had been wrong by 21 minutes: a second token on a connection that has just seen the first.
    let tokens = credential.token_source().expect("a key");
    tokens.rejected_expired(UnixMillis::now().plus(AGE_MIN + AGE_MIN / 20));
    let attempt = sender.send(&token(1), &hello).await;
    let Attempt::Answered(Outcome::Retry { reason, after }) = attempt else {
        panic!("{attempt:?}");
    };
    assert_eq!(
        (reason.as_str(), after),
        ("TooManyProviderTokenUpdates", None)
    );
    assert_eq!(stage.connections(), 1);
}

#[tokio::test]
async fn a_provider_token_that_is_refused_twice_is_the_credentials_fault_unless_it_is_accepted_elsewhere()
 {
    let hello = hello(BUNDLE);
    for reason in ["ExpiredProviderToken", "UnrelatedKeyIdInToken"] {
        let stage = Stage::new().await;
        let mut sender = stage.sender(stage.token_credential());
        for kind in ["credential", "retry"] {
            stage.refuse(403, reason, 2);
            let attempt = sender.send(&token(1), &hello).await;
            assert_eq!(said(&attempt), (kind, reason));
            assert!(sender.send(&token(1), &hello).await.is_accepted());
        }
        assert_eq!(stage.sandbox.deliveries().count(), 2);
    }
}

#[tokio::test]
async fn a_connection_that_refuses_its_token_again_and_again_is_left() {
    let stage = Stage::new().await;
    let mut sender = stage.sender(stage.token_credential());
    let hello = hello(BUNDLE);
    stage.refuse(429, "TooManyProviderTokenUpdates", 2);
    let again = ("retry", "TooManyProviderTokenUpdates");
    for (expected, connections) in [(again, 1), (again, 1), (("accepted", ""), 2)] {
        let attempt = sender.send(&token(1), &hello).await;
        assert_eq!(
            (said(&attempt), stage.connections()),
            (expected, connections)
        );
    }
}

#[tokio::test]
async fn each_reason_for_a_channel_has_its_outcome() {
    let stage = Stage::new().await;
    let config = || stage.config(stage.token_credential());
    let channels = Channels::new(config()).expect("a configuration");
    let broadcaster = Broadcaster::new(config()).expect("a configuration");
    let policy = tidings_providers::apns::StoragePolicy::Nothing;
    let id = channels.create(BUNDLE, policy).await.expect("a channel");
    let state = serde_json::Map::new();
    let update = Broadcast::new(&LiveActivity::update(UnixMillis::now(), state));
    let update = update.expect("a broadcast");
    let send = async || {
        let request = Uuid::new_v4();
        broadcaster.send(BUNDLE, &id, request, &update).await
    };
    let list = async || match channels.list(BUNDLE).await {
        Ok(ids) => {
            assert_eq!(ids, std::slice::from_ref(&id));
            Attempt::Answered(Outcome::Accepted { id: None })
        }
        Err(ChannelError::Failed(attempt)) => attempt,
        Err(unreadable) => panic!("{unreadable}"),
    };
    for (status, reason, kind) in CHANNEL {
        let expected = match kind {
            "again" => ("accepted", ""),
            kind => (kind, reason),
        };
        stage.refuse(status, reason, 1);
        assert_eq!(said(&send().await), expected, "{status} {reason}");
        stage.refuse(status, reason, 1);
        assert_eq!(said(&list().await), expected, "{status} {reason}");
        if kind == "again" {
            stage.refuse(status, reason, 2);
            assert_eq!(said(&send().await), ("credential", reason));
        }
        assert_eq!(said(&send().await).0, "accepted", "after {reason}");
    }
}
