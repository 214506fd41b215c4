//! What Apple's answers mean.
//!
//! Sources: Apple, [Handling notification responses from APNs](https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns)
//! for devices and [Handling error responses from Apple Push Notification service](https://developer.apple.com/documentation/usernotifications/handling-error-responses-from-apns)
//! for channels and broadcasts.

use serde_json::Value;
use tidings_model::{Outcome, Reason, UnixMillis};

pub use crate::retry_after::RETRY_AFTER_MAX;
use crate::retry_after::in_seconds;

/// The provider token is older than an hour, or the clock that made it is wrong. [`outcome`] makes it a
/// [`Outcome::Retry`]: tell the [`TokenSource`](super::TokenSource), leave the connection, send once more; if it
/// repeats, the clock is wrong. A [`Client`](super::Client) does that by itself and calls the second one
/// [`Outcome::CredentialRejected`], unless the same token was accepted within the last minute.
/// Apple: [Handling notification responses from APNs](https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns).
pub const EXPIRED_PROVIDER_TOKEN: Reason = Reason::known("ExpiredProviderToken");
/// This connection was idle; go on with another, as a [`Client`](super::Client) does. The delivery is
/// [`Outcome::Retry`].
/// Apple: [Handling notification responses from APNs](https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns).
pub const IDLE_TIMEOUT: Reason = Reason::known("IdleTimeout");
/// This server goes down; go on with another connection at once, as a [`Client`](super::Client) does. The delivery is
/// [`Outcome::Retry`].
/// Apple: [Handling notification responses from APNs](https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns).
pub const SHUTDOWN: Reason = Reason::known("Shutdown");
/// The credential may not push to the notification's topic. [`outcome`] makes it [`Outcome::CredentialRejected`]; a
/// [`Client`](super::Client) leaves that only for a topic that the credential was checked for, and calls it
/// [`Outcome::PayloadRejected`] for another, so that one wrong notification stops no others.
/// Apple: [Handling notification responses from APNs](https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns).
pub const TOPIC_DISALLOWED: Reason = Reason::known("TopicDisallowed");
/// The connection saw too many provider tokens: tell the [`TokenSource`](super::TokenSource) and go on with the one it
/// has, as a [`Client`](super::Client) does. The delivery is [`Outcome::Retry`].
/// Apple: [Handling notification responses from APNs](https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns).
pub const TOO_MANY_PROVIDER_TOKEN_UPDATES: Reason = Reason::known("TooManyProviderTokenUpdates");
/// The connection belongs to another key; each key needs connections of its own. A [`Client`](super::Client) treats it
/// as [`EXPIRED_PROVIDER_TOKEN`].
/// Apple: [Handling notification responses from APNs](https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns).
pub const UNRELATED_KEY_ID_IN_TOKEN: Reason = Reason::known("UnrelatedKeyIdInToken");

/// Which outcome a reason leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Credential,
    Payload,
    Retry,
    Throttled,
    /// The token is not good with this credential, whichever of the two is wrong.
    Unfit,
    Unregistered,
}

/// Every reason that Apple documents, with its status. Both must agree for a row to count: a token is given up for
/// good on the strength of this table.
const REASONS: &[(u16, &str, Meaning)] = &[
    (400, "BadChannelId", Meaning::Payload),
    (400, "BadCollapseId", Meaning::Payload),
    (400, "BadDeviceToken", Meaning::Unfit),
    (400, "BadExpirationDate", Meaning::Payload),
    (400, "BadMessageId", Meaning::Payload),
    (400, "BadPriority", Meaning::Payload),
    (400, "BadRequestParams", Meaning::Payload),
    (400, "BadRequestPayload", Meaning::Payload),
    (400, "BadTopic", Meaning::Payload),
    (400, "CannotCreateChannelConfig", Meaning::Payload),
    (400, "ChannelNotRegistered", Meaning::Unregistered),
    (400, "DeviceTokenNotForTopic", Meaning::Unfit),
    (400, "DuplicateHeaders", Meaning::Payload),
    (400, "FeatureNotEnabled", Meaning::Credential),
    (400, "IdleTimeout", Meaning::Retry),
    (400, "InvalidPushType", Meaning::Payload),
    (400, "MissingChannelId", Meaning::Payload),
    (400, "MissingChannelQueueSize", Meaning::Payload),
    (400, "MissingDeviceToken", Meaning::Payload),
    (400, "MissingPushType", Meaning::Payload),
    (400, "MissingTopic", Meaning::Payload),
    (400, "PayloadEmpty", Meaning::Payload),
    (400, "TopicDisallowed", Meaning::Credential),
    (403, "BadCertificate", Meaning::Credential),
    (403, "BadCertificateEnvironment", Meaning::Credential),
    (403, "BadEnvironmentKeyIdInToken", Meaning::Credential),
    (403, "ExpiredProviderToken", Meaning::Retry),
    (403, "Forbidden", Meaning::Credential),
    (403, "InvalidProviderToken", Meaning::Credential),
    // Nothing that is sent without a token or a certificate arrives, whatever it says: so not the payload's fault.
    (403, "MissingProviderToken", Meaning::Credential),
    (403, "TopicMismatch", Meaning::Credential),
    (403, "UnrelatedKeyIdInToken", Meaning::Retry),
    (404, "BadPath", Meaning::Payload),
    (405, "MethodNotAllowed", Meaning::Payload),
    (410, "ExpiredToken", Meaning::Unregistered),
    (410, "Unregistered", Meaning::Unregistered),
    (413, "PayloadTooLarge", Meaning::Payload),
    (429, "TooManyProviderTokenUpdates", Meaning::Retry),
    (429, "TooManyRequests", Meaning::Throttled),
    (500, "InternalServerError", Meaning::Retry),
    (503, "ServiceUnavailable", Meaning::Retry),
    (503, "Shutdown", Meaning::Retry),
];

/// What Apple said of one delivery.
///
/// | outcome | status and reason |
/// |---|---|
/// | [`Accepted`](Outcome::Accepted) | 2xx; without an id, which is not in the body |
/// | [`CredentialRejected`](Outcome::CredentialRejected) | 400 `FeatureNotEnabled` `TopicDisallowed`, 403 `BadCertificate` `BadCertificateEnvironment` `BadEnvironmentKeyIdInToken` `Forbidden` `InvalidProviderToken` `MissingProviderToken` `TopicMismatch`; else 401, 403 |
/// | [`PayloadRejected`](Outcome::PayloadRejected) | 400 `BadChannelId` `BadCollapseId` `BadExpirationDate` `BadMessageId` `BadPriority` `BadRequestParams` `BadRequestPayload` `BadTopic` `CannotCreateChannelConfig` `DuplicateHeaders` `InvalidPushType` `MissingChannelId` `MissingChannelQueueSize` `MissingDeviceToken` `MissingPushType` `MissingTopic` `PayloadEmpty`, 404 `BadPath`, 405 `MethodNotAllowed`, 413 `PayloadTooLarge`; else 4xx |
/// | [`Retry`](Outcome::Retry) | 400 `IdleTimeout`, 403 `ExpiredProviderToken` `UnrelatedKeyIdInToken`, 429 `TooManyProviderTokenUpdates`, 500 `InternalServerError`, 503 `ServiceUnavailable` `Shutdown`; else 407, 408, 425, 429 and all that is not 2xx or 4xx |
/// | [`Throttled`](Outcome::Throttled) | 429 `TooManyRequests` |
/// | [`Unregistered`](Outcome::Unregistered) | 400 `BadDeviceToken` `ChannelNotRegistered` `DeviceTokenNotForTopic`, 410 `ExpiredToken` `Unregistered`; else 410 |
///
/// `body` is the whole body; anything but `{"reason":…,"timestamp":…}` is tolerated, and the status decides alone where
/// the reason is not one of these: one that is unknown is kept, none becomes `HTTP` and the status. `retry_after` is
/// that header, of which seconds are understood (a date is not: nothing here knows the time). `since` of
/// [`Outcome::Unregistered`] is the `timestamp` of a 410, in milliseconds: a token that was registered after it is
/// good. `BadDeviceToken` also comes for a token of the other environment, and `DeviceTokenNotForTopic` for a wrong topic:
/// so these two are not `certain`.
///
/// Apple asks for 15 minutes before what failed with 5xx is tried again.
/// Sources: [Handling notification responses from APNs](https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns), [Handling error responses from Apple Push Notification service](https://developer.apple.com/documentation/usernotifications/handling-error-responses-from-apns).
///
/// ```
/// use tidings_model::{Outcome, UnixMillis};
/// use tidings_providers::apns::answer::outcome;
///
/// let gone = br#"{"reason":"Unregistered","timestamp":1767225600123}"#;
/// let Outcome::Unregistered { certain: true, reason, since } = outcome(410, gone, None) else {
///     panic!("a token that is gone");
/// };
/// assert_eq!(reason.as_str(), "Unregistered");
/// assert_eq!(since, Some(UnixMillis(1_767_225_600_123)));
/// ```
pub fn outcome(status: u16, body: &[u8], retry_after: Option<&str>) -> Outcome {
    if (200..300).contains(&status) {
        return Outcome::Accepted { id: None };
    }
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let said = body.get("reason").and_then(Value::as_str);
    let row = said.and_then(|said| {
        REASONS
            .iter()
            .find(|(its_status, word, _)| *its_status == status && *word == said)
    });
    let (reason, meaning) = match (row, said.map(Reason::heard)) {
        (Some((_, word, meaning)), _) => (Reason::known(word), *meaning),
        (None, Some(heard)) if !heard.as_str().is_empty() => (heard, by_status(status)),
        (None, _) => (Reason::heard(&format!("HTTP{status}")), by_status(status)),
    };
    let after = retry_after.and_then(in_seconds);
    match meaning {
        Meaning::Credential => Outcome::CredentialRejected { reason },
        Meaning::Payload => Outcome::PayloadRejected { reason },
        Meaning::Retry => Outcome::Retry { reason, after },
        Meaning::Throttled => Outcome::Throttled { reason, after },
        Meaning::Unfit | Meaning::Unregistered => {
            let stamp = body.get("timestamp").filter(|_| status == 410);
            let since = stamp.and_then(Value::as_i64).map(UnixMillis);
            Outcome::Unregistered {
                certain: meaning == Meaning::Unregistered,
                reason,
                since,
            }
        }
    }
}

/// Whether a refusal of a token for this reason can be the credential's fault: `BadDeviceToken` is also said of a token of
/// the other environment, `DeviceTokenNotForTopic` when the topic is wrong. [`outcome`] then says that it is not `certain`.
pub fn can_be_the_credentials(reason: &Reason) -> bool {
    let unfit = |(_, word, meaning): &(u16, &str, Meaning)| {
        *meaning == Meaning::Unfit && *word == reason.as_str()
    };
    REASONS.iter().any(unfit)
}

/// The meaning of a status whose reason is not known.
fn by_status(status: u16) -> Meaning {
    match status {
        401 | 403 => Meaning::Credential,
        410 => Meaning::Unregistered,
        // A proxy's own words, or a limit that is not about one device.
        407 | 408 | 425 | 429 => Meaning::Retry,
        400..500 => Meaning::Payload,
        _ => Meaning::Retry,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use proptest::prelude::*;

    fn body(reason: &str) -> Vec<u8> {
        format!(r#"{{"reason":"{reason}"}}"#).into_bytes()
    }

    fn kind(outcome: &Outcome) -> &'static str {
        match outcome {
            Outcome::Accepted { .. } => "accepted",
            Outcome::CredentialRejected { .. } => "credential",
            Outcome::PayloadRejected { .. } => "payload",
            Outcome::QuotaSpent(_) => "quota",
            Outcome::Retry { .. } => "retry",
            Outcome::Throttled { .. } => "throttled",
            Outcome::Unregistered { certain: true, .. } => "unregistered",
            Outcome::Unregistered { certain: false, .. } => "unfit",
        }
    }

    /// Written apart from the table above, by what has to happen next.
    #[test]
    fn every_documented_reason_has_its_outcome() {
        let expected = [
            (
                "credential",
                "400 FeatureNotEnabled|400 TopicDisallowed|403 BadCertificate|403 BadCertificateEnvironment|\
                 403 BadEnvironmentKeyIdInToken|403 Forbidden|403 InvalidProviderToken|403 MissingProviderToken|\
                 403 TopicMismatch",
            ),
            (
                "payload",
                "400 BadChannelId|400 BadCollapseId|400 BadExpirationDate|400 BadMessageId|400 BadPriority|\
                 400 BadRequestParams|400 BadRequestPayload|400 BadTopic|400 CannotCreateChannelConfig|\
                 400 DuplicateHeaders|400 InvalidPushType|400 MissingChannelId|400 MissingChannelQueueSize|\
                 400 MissingDeviceToken|400 MissingPushType|400 MissingTopic|400 PayloadEmpty|404 BadPath|\
                 405 MethodNotAllowed|413 PayloadTooLarge",
            ),
            (
                "retry",
                "400 IdleTimeout|403 ExpiredProviderToken|403 UnrelatedKeyIdInToken|\
                 429 TooManyProviderTokenUpdates|500 InternalServerError|503 ServiceUnavailable|503 Shutdown",
            ),
            ("throttled", "429 TooManyRequests"),
            ("unfit", "400 BadDeviceToken|400 DeviceTokenNotForTopic"),
            (
                "unregistered",
                "400 ChannelNotRegistered|410 ExpiredToken|410 Unregistered",
            ),
        ];
        let mut rows = 0;
        for (expected, answers) in expected {
            for answer in answers.split('|') {
                let (status, reason) = answer.split_once(' ').expect("status and reason");
                let outcome = outcome(status.parse().expect("a status"), &body(reason), None);
                assert_eq!(kind(&outcome), expected, "{answer}");
                assert_eq!(outcome.reason().map(Reason::as_str), Some(reason));
                let can_be = can_be_the_credentials(&Reason::heard(reason));
                assert_eq!(can_be, expected == "unfit", "{answer}");
                rows += 1;
            }
        }
        assert_eq!(rows, REASONS.len(), "every row of the table is tested");
    }

    #[test]
    fn an_unknown_answer_is_decided_by_its_status() {
        let cases: [(u16, &[u8], &str, &str); 13] = [
            (200, b"", "accepted", ""),
            (400, b"{\"reason\":\"NewInIOS30\"}", "payload", "NewInIOS30"),
            (400, b"<html>", "payload", "HTTP400"),
            (400, b"{\"reason\":7}", "payload", "HTTP400"),
            (400, b"{\"reason\":\"\\n\"}", "payload", "HTTP400"),
            (403, b"", "credential", "HTTP403"),
            (404, b"[]", "payload", "HTTP404"),
            (410, b"", "unregistered", "HTTP410"),
            (429, b"", "retry", "HTTP429"),
            (
                500,
                b"{\"reason\":\"BadDeviceToken\"}",
                "retry",
                "BadDeviceToken",
            ),
            (502, b"\xff\xfe", "retry", "HTTP502"),
            (503, b"{\"reason\"", "retry", "HTTP503"),
            (301, b"", "retry", "HTTP301"),
        ];
        for (status, body, expected, reason) in cases {
            let outcome = outcome(status, body, None);
            assert_eq!(kind(&outcome), expected, "{status} {body:?}");
            assert_eq!(outcome.reason().map_or("", Reason::as_str), reason);
        }
    }

    #[test]
    fn the_time_of_a_410_is_in_milliseconds() {
        let since = |status, text: &str| match outcome(status, text.as_bytes(), None) {
            Outcome::Unregistered { since, .. } => since,
            other => panic!("{other:?}"),
        };
        let gone = r#"{"reason":"Unregistered","timestamp":1767225600123}"#;
        assert_eq!(since(410, gone), Some(UnixMillis(1_767_225_600_123)));
        let text = r#"{"reason":"ExpiredToken","timestamp":"soon"}"#;
        assert_eq!(since(410, text), None);
        assert_eq!(since(410, r#"{"reason":"Unregistered"}"#), None);
        let bad = r#"{"reason":"BadDeviceToken","timestamp":1767225600123}"#;
        assert_eq!(since(400, bad), None);
    }

    #[test]
    fn retry_after_is_taken_in_seconds_and_bounded() {
        let after = |header| match outcome(503, &body("ServiceUnavailable"), header) {
            Outcome::Retry { after, .. } => after,
            other => panic!("{other:?}"),
        };
        assert_eq!(after(None), None);
        assert_eq!(after(Some(" 30 ")), Some(Duration::from_secs(30)));
        assert_eq!(after(Some("99999999999")), Some(RETRY_AFTER_MAX));
        assert_eq!(after(Some("Wed, 21 Oct 2026 07:28:00 GMT")), None);
        assert_eq!(after(Some("-1")), None);
    }

    proptest! {
        #[test]
        fn no_answer_panics(
            status in any::<u16>(),
            body in proptest::collection::vec(any::<u8>(), 0..200),
            retry_after in proptest::option::of(".*"),
        ) {
            let outcome = outcome(status, &body, retry_after.as_deref());
            prop_assert_eq!(outcome.is_accepted(), (200..300).contains(&status));
        }
    }
}
