//! Whether Apple takes a credential: one question that can deliver nothing, over a connection of its own.
//!
//! The question is a background notification to a device token of zeros, which is no device's, for one try only. Apple's
//! pages do not say in which order a request is judged; that a credential is judged before the device token is what
//! senders see, and [`Finding::Good`] rests on it. Reasons: Apple, "Handling notification responses from APNs".

use std::net::SocketAddr;
use std::time::Duration;

use http::Method;
use http::uri::PathAndQuery;
use tidings_model::{Outcome, Reason, UnixMillis};
use tokio::time::{Instant, timeout_at};

use super::caller::{Call, Caller};
use super::config::{Config, ConfigError};
use super::connect::{ConnectError, Service};
use super::credential::CredentialKind;
use super::{Expiration, Notification, NotificationError, Priority, PushType};
use crate::attempt::{Attempt, Cause};

pub use crate::net::Obstacle;

/// For the whole check, whatever the configuration allows for each of its steps.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(15);

/// The device token of nobody.
const PATH: &str = "/3/device/0000000000000000000000000000000000000000000000000000000000000000";
const PAYLOAD: &[u8] = br#"{"aps":{"content-available":1}}"#;
/// Of topics that no bundle id has: those of device management.
const MDM_TOPIC: &str = "com.apple.mgmt.";

/// Refusals for the topic that are the credential's fault here, since its own topic was named.
const TOPIC_REASONS: [&str; 2] = ["BadTopic", "MissingTopic"];

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Where the connection led: Apple, or the proxy in between. None when there was none.
    pub address: Option<SocketAddr>,
    /// DNS, TCP, TLS and HTTP/2 together; none when there was no connection.
    pub connecting: Option<Duration>,
    /// `HOST` or `HOST:PORT` that was asked.
    pub endpoint: String,
    /// Whether the credential is good, and if not, why.
    pub finding: Finding,
    /// Streams that the peer allows at once, when it answered. Apple begins with one and allows more later.
    pub streams_max: Option<usize>,
    /// The topic that was asked about.
    pub topic: Option<String>,
}

/// What the check says of the credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The only fault that Apple found was with the device token, or it found none, as a simulator may.
    Good,
    /// Nothing sent with this credential will do better until it is replaced. The reason is Apple's, or the name of the
    /// TLS alert that refused the certificate.
    Rejected(Reason),
    /// Apple has said nothing of the credential.
    Undecided(Doubt),
    /// There was no connection, or it was lost before the answer.
    Unreachable {
        /// As a delivery would have met it.
        cause: Cause,
        /// What kind of trouble that is, for advice.
        obstacle: Obstacle,
    },
}

/// Why a check does not say whether the credential is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// An answer about something else (429, 500, 503, or of a server that is not APNs), or none in time.
    Attempt(Attempt),
    /// The configuration names no topic, and a token credential has none of its own: so it was only connected, and
    /// nothing was asked.
    NoTopic,
}

/// Opens a connection and asks whether the credential may send for its topic. Takes [`CHECK_TIMEOUT`] at most, and
/// within it what `config` allows for connecting and for the answer.
pub async fn check(config: Config) -> Result<Report, ConfigError> {
    let deadline = Instant::now() + CHECK_TIMEOUT;
    let topic = topic(&config)?;
    let caller = Caller::new(config, Service::Devices)?;
    let mut report = Report {
        address: None,
        connecting: None,
        endpoint: caller.authority().to_owned(),
        finding: Finding::Undecided(Doubt::NoTopic),
        streams_max: None,
        topic,
    };
    let start = Instant::now();
    let connected = timeout_at(deadline, caller.connect()).await;
    match connected {
        Ok(Ok(address)) => report.address = Some(address),
        Ok(Err(ConnectError::Rejected(reason))) => {
            report.finding = Finding::Rejected(reason);
            return Ok(report);
        }
        Ok(Err(ConnectError::Failed { cause, obstacle })) => {
            report.finding = Finding::Unreachable { cause, obstacle };
            return Ok(report);
        }
        Err(_) => {
            let text = format!("no connection within {CHECK_TIMEOUT:?}");
            report.finding = Finding::Unreachable {
                cause: Cause::ConnectFailed(text.into()),
                obstacle: Obstacle::Silence,
            };
            return Ok(report);
        }
    }
    report.connecting = Some(start.elapsed());
    let question = match report.topic.as_deref().map(question) {
        Some(Ok(question)) => question,
        // Nothing that is sent can have this topic.
        Some(Err(_)) => {
            report.finding = Finding::Rejected(Reason::known(TOPIC_REASONS[0]));
            return Ok(report);
        }
        None => return Ok(report),
    };
    let attempt = match timeout_at(deadline, caller.call(&question)).await {
        Ok(Ok(_)) => Attempt::Answered(Outcome::Accepted { id: None }),
        Ok(Err(attempt)) => attempt,
        Err(_) => Attempt::Unanswered(Cause::TimedOut),
    };
    if let Attempt::Answered(_) = attempt {
        report.streams_max = caller.streams_max().await;
    }
    report.finding = finding(attempt);
    Ok(report)
}

/// The topic to ask about: what is configured, or what a certificate carries.
fn topic(config: &Config) -> Result<Option<String>, ConfigError> {
    let (credential, topic) = (&config.credential, config.topic.as_deref());
    if topic.is_none() && credential.kind() == CredentialKind::Token {
        return Ok(None);
    }
    let summary = credential.check(config.environment, topic, UnixMillis::now())?;
    Ok(Some(summary.topic))
}

/// A topic that is only for one push type is asked about with that type.
fn push_type(topic: &str) -> PushType {
    if topic.starts_with(MDM_TOPIC) {
        return PushType::Mdm;
    }
    PushType::by_suffix(topic)
        .filter(|push_type| topic.len() > push_type.topic_suffix().len())
        .unwrap_or(PushType::Background)
}

fn question(topic: &str) -> Result<Call, NotificationError> {
    let notification = Notification::builder(topic, PAYLOAD)
        .push_type(push_type(topic))
        .priority(Priority::PowerSaving)
        .expiration(Expiration::Once)
        .build()?;
    Ok(Call {
        method: Method::POST,
        path: PathAndQuery::from_static(PATH),
        headers: notification.headers().collect(),
        body: notification.payload().clone(),
    })
}

fn finding(attempt: Attempt) -> Finding {
    match attempt {
        // `Unregistered` is also what BadDeviceToken and DeviceTokenNotForTopic are.
        Attempt::Answered(Outcome::Accepted { .. } | Outcome::Unregistered { .. }) => Finding::Good,
        Attempt::Answered(Outcome::CredentialRejected { reason }) => Finding::Rejected(reason),
        Attempt::Answered(Outcome::PayloadRejected { reason })
            if TOPIC_REASONS.contains(&reason.as_str()) =>
        {
            Finding::Rejected(reason)
        }
        Attempt::NotSent(cause @ Cause::ConnectionLost(_))
        | Attempt::Unanswered(cause @ Cause::ConnectionLost(_)) => Finding::Unreachable {
            cause,
            obstacle: Obstacle::Lost,
        },
        Attempt::Answered(_) | Attempt::NotSent(_) | Attempt::Unanswered(_) => {
            Finding::Undecided(Doubt::Attempt(attempt))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apns::answer::outcome;

    #[test]
    fn the_question_can_deliver_nothing() {
        let call = question("com.example.app").expect("a topic");
        assert_eq!(call.method, Method::POST);
        let token = call.path.path().strip_prefix("/3/device/");
        assert_eq!(token, Some("0".repeat(64).as_str()));
        for (name, value) in [
            ("apns-topic", "com.example.app"),
            ("apns-push-type", "background"),
            ("apns-priority", "5"),
            ("apns-expiration", "0"),
        ] {
            assert_eq!(call.headers[name], value);
        }
        assert_eq!(call.body, PAYLOAD);
    }

    #[test]
    fn a_topic_that_nothing_can_be_sent_to_makes_no_question() {
        for topic in [".voip-ptt", "jdoe@corp.example"] {
            assert!(question(topic).is_err(), "{topic}");
        }
    }

    #[test]
    fn a_topic_is_asked_about_with_a_type_that_it_takes() {
        for (topic, expected) in [
            ("com.example.app", PushType::Background),
            ("com.example.app.voip", PushType::Voip),
            ("com.example.app.voip-ptt", PushType::PushToTalk),
            ("com.apple.mgmt.External.1234", PushType::Mdm),
            (".voip", PushType::Background),
        ] {
            assert_eq!(push_type(topic), expected, "{topic}");
        }
    }

    #[test]
    fn an_answer_is_about_the_credential_or_is_not() {
        let said = |status, reason: &str| {
            let body = format!(r#"{{"reason":"{reason}"}}"#);
            match finding(Attempt::Answered(outcome(status, body.as_bytes(), None))) {
                Finding::Good => "good",
                Finding::Rejected(_) => "rejected",
                Finding::Undecided(_) => "undecided",
                Finding::Unreachable { .. } => "unreachable",
            }
        };
        for (status, reason, expected) in [
            (200, "", "good"),
            (400, "BadDeviceToken", "good"),
            (400, "DeviceTokenNotForTopic", "good"),
            (410, "Unregistered", "good"),
            (400, "BadTopic", "rejected"),
            (400, "MissingTopic", "rejected"),
            (400, "TopicDisallowed", "rejected"),
            (403, "InvalidProviderToken", "rejected"),
            (403, "BadCertificateEnvironment", "rejected"),
            (403, "NewInIOS30", "rejected"),
            (400, "BadPriority", "undecided"),
            (404, "", "undecided"),
            (429, "TooManyProviderTokenUpdates", "undecided"),
            (500, "InternalServerError", "undecided"),
            (503, "ServiceUnavailable", "undecided"),
        ] {
            assert_eq!(said(status, reason), expected, "{status} {reason}");
        }
        let lost = Cause::ConnectionLost("reset".into());
        for attempt in [
            Attempt::NotSent(lost.clone()),
            Attempt::Unanswered(lost.clone()),
        ] {
            let expected = Finding::Unreachable {
                cause: lost.clone(),
                obstacle: Obstacle::Lost,
            };
            assert_eq!(finding(attempt), expected);
        }
        let late = Attempt::Unanswered(Cause::TimedOut);
        let expected = Finding::Undecided(Doubt::Attempt(late.clone()));
        assert_eq!(finding(late), expected);
    }
}
