//! What a check of a credential found, in plain words: what is wrong, and what to do. `docs/credentials.md` shows the
//! same sentences; a test compares them.

use tidings_model::{Outcome, Reason};
use tidings_providers::Attempt;
use tidings_providers::apns::check::{Doubt, Obstacle};

/// Why Apple refuses a credential: its own reasons, and the TLS alerts (RFC 8446, section 6.2) that refuse a
/// certificate. Source of the reasons: Apple, "Handling notification responses from APNs".
const REASONS: &[(&str, &str)] = &[
    (
        "AccessDenied",
        "the certificate was refused when the connection was made; make a new push certificate in the developer account and set it",
    ),
    (
        "BadCertificate",
        "Apple does not take this certificate, which may have been revoked or be none of Apple's; make a new push certificate in the developer account and set it",
    ),
    (
        "BadCertificateEnvironment",
        "the certificate is for the other environment; set it for that one, or make one that is good for both",
    ),
    (
        "BadDeviceToken",
        "Apple calls the tokens of the phones bad and has taken none since this credential was set, so none was removed; set it for the environment that the apps are signed for, or check `endpoint`",
    ),
    (
        "BadEnvironmentKeyIdInToken",
        "the signing key is for the other environment only; set it for that one, or make a key that is good for both",
    ),
    (
        "BadTopic",
        "the topic is no bundle id that Apple knows for this credential; compare it with the app's bundle id, and set the credential again",
    ),
    (
        "CertificateExpired",
        "the certificate has expired, or the clock of the other end is ahead; make a new push certificate in the developer account and set it",
    ),
    (
        "CertificateRequired",
        "the endpoint takes only clients with a certificate; set a .p12, or check `endpoint`",
    ),
    (
        "CertificateRevoked",
        "the certificate was revoked; make a new push certificate in the developer account and set it",
    ),
    (
        "CertificateUnknown",
        "the certificate was refused when the connection was made; make a new push certificate in the developer account and set it",
    ),
    (
        "DeviceTokenNotForTopic",
        "the tokens of the phones are not for this topic, and Apple has taken none since this credential was set, so none was removed; compare the topic with the app's bundle id, and set the credential again",
    ),
    (
        "ExpiredProviderToken",
        "Apple finds a token too old that was made within the hour, so the clock of this server is wrong; set it by NTP",
    ),
    (
        "Forbidden",
        "Apple forbids the push to this credential; see in the developer account whether the app may still use push, and the key or certificate is still there",
    ),
    (
        "InvalidProviderToken",
        "the key id, the team id or the key itself is wrong, or the key was revoked; compare all three with the developer account and set the credential again",
    ),
    (
        "MissingProviderToken",
        "Apple saw neither a certificate nor a token; if something between here and Apple opens TLS, go around it",
    ),
    (
        "MissingTopic",
        "the credential is good for several topics and names none; set it again with a topic",
    ),
    (
        "TopicDisallowed",
        "the credential may not push to its topic; set the topic to the bundle id of an app of the same team, or take that app's credential",
    ),
    (
        "TopicMismatch",
        "the topic is not the one that the credential is for; set the credential again with the app's bundle id",
    ),
    (
        "UnknownCA",
        "the certificate is from an authority that the endpoint does not know; take one that Apple issued",
    ),
    (
        "UnrelatedKeyIdInToken",
        "Apple ties the connection to another signing key; connect without a proxy that shares connections",
    ),
    (
        "UnsupportedCertificate",
        "the endpoint cannot read the certificate; make a new push certificate in the developer account and set it",
    ),
];

/// The words for a refusal.
pub(crate) fn rejected(reason: &Reason) -> String {
    let known = REASONS.iter().find(|(word, _)| *word == reason.as_str());
    match known {
        Some((_, sentence)) => sentence_of(sentence),
        None => format!(
            "Apple refuses the credential with {reason}, a reason that Tidings does not know; look it up in Apple's documentation."
        ),
    }
}

/// The words for a credential that nothing is wrong with.
pub(crate) fn good(topic: Option<&str>) -> String {
    match topic {
        Some(topic) => format!("Apple takes the credential for {topic}."),
        None => "Apple takes the credential.".to_owned(),
    }
}

/// Of a credential that is not even shown to the provider, for nobody can read it.
pub(crate) const SEALED: &str =
    "The stored credential does not open with this server's seal key; set it again.";

/// Who was to be reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whom {
    pub(crate) name: &'static str,
    /// Where else it can be reached, if it can.
    other_port: &'static str,
    speaks: &'static str,
}

impl Whom {
    pub(crate) const APPLE: Self = Self {
        name: "Apple",
        other_port: " take Apple's port 2197,",
        speaks: "TLS and HTTP/2",
    };

    pub(crate) const fn maker(name: &'static str) -> Self {
        Self {
            name,
            other_port: "",
            speaks: "TLS",
        }
    }
}

/// The words for a connection that did not come about; `details` is what the system said.
pub(crate) fn unreachable(whom: Whom, obstacle: Obstacle, details: &str) -> String {
    sentence_of(&format!("{} ({details})", in_the_way(whom, obstacle)))
}

fn in_the_way(whom: Whom, obstacle: Obstacle) -> String {
    let Whom {
        name,
        other_port,
        speaks,
    } = whom;
    let words = match obstacle {
        Obstacle::Lost => "the connection was lost before the answer; try again",
        Obstacle::Name => {
            "the name of the endpoint has no address; check `endpoint` and this machine's DNS"
        }
        Obstacle::Network => {
            "there is no way to the endpoint; check this machine's network and firewall"
        }
        Obstacle::Proxy => {
            "the proxy cannot be reached or does not connect further; check `proxy`, its user and password, and that it lets CONNECT to the endpoint through"
        }
        Obstacle::Refused => {
            "nothing listens at the endpoint; check `endpoint`, or the firewall that answers in its place"
        }
        Obstacle::Silence => {
            return format!(
                "the endpoint does not answer, as when a firewall swallows packets; let port 443 out,{other_port} or set a proxy"
            );
        }
        Obstacle::Tls => {
            return format!(
                "the endpoint does not speak {speaks} as {name} does; check `endpoint`"
            );
        }
        Obstacle::Untrusted => {
            return format!(
                "the certificate of the endpoint is not trusted; give its authority as `ca` if the endpoint is yours, and if it should be {name}, something in between opens TLS: go around it"
            );
        }
    };
    words.to_owned()
}

/// The words for a check that does not say whether the credential is good.
pub(crate) fn undecided(doubt: &Doubt) -> String {
    match doubt {
        Doubt::NoTopic => {
            "The credential names no topic, so it was only connected; set it again with a topic."
                .to_owned()
        }
        Doubt::Attempt(Attempt::Answered(Outcome::PayloadRejected { reason })) => format!(
            "The endpoint answers {reason}, which APNs does not say to this question; check `endpoint`."
        ),
        Doubt::Attempt(Attempt::Answered(outcome)) => {
            let reason = outcome.reason().map_or("nothing", Reason::as_str);
            format!("Apple answers {reason}, which is not about the credential; try again later.")
        }
        Doubt::Attempt(Attempt::NotSent(cause) | Attempt::Unanswered(cause)) => {
            format!(
                "Apple was connected and did not answer the question ({cause}); try again later."
            )
        }
    }
}

/// With a capital and a full stop.
pub(crate) fn sentence_of(text: &str) -> String {
    let mut rest = text.chars();
    let first = rest.next().into_iter().flat_map(char::to_uppercase);
    first.chain(rest).chain(['.']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_providers::Cause;
    use tidings_providers::apns::answer::outcome;

    const DOCS: &str = include_str!("../../../../docs/credentials.md");

    /// All that refuses a credential for good, or tokens for its sake, by Apple's table.
    const APPLES: [(u16, &str); 14] = [
        (400, "BadDeviceToken"),
        (400, "BadTopic"),
        (400, "DeviceTokenNotForTopic"),
        (400, "MissingTopic"),
        (400, "TopicDisallowed"),
        (403, "BadCertificate"),
        (403, "BadCertificateEnvironment"),
        (403, "BadEnvironmentKeyIdInToken"),
        (403, "ExpiredProviderToken"),
        (403, "Forbidden"),
        (403, "InvalidProviderToken"),
        (403, "MissingProviderToken"),
        (403, "TopicMismatch"),
        (403, "UnrelatedKeyIdInToken"),
    ];

    #[test]
    fn every_reason_of_apples_has_its_words() {
        for (status, word) in APPLES {
            let body = format!(r#"{{"reason":"{word}"}}"#);
            let outcome = outcome(status, body.as_bytes(), None);
            let words = rejected(outcome.reason().expect("a reason"));
            assert!(!words.contains("does not know"), "{words}");
        }
        let unknown = rejected(&Reason::known("NewInIOS30"));
        assert!(unknown.contains("NewInIOS30"), "{unknown}");
    }

    #[test]
    fn the_documentation_says_the_same() {
        for (word, sentence) in REASONS {
            let row = format!("| `{word}` | {sentence} |");
            assert!(DOCS.contains(&row), "docs/credentials.md lacks: {row}");
        }
        for obstacle in [
            Obstacle::Lost,
            Obstacle::Name,
            Obstacle::Network,
            Obstacle::Proxy,
            Obstacle::Refused,
            Obstacle::Silence,
            Obstacle::Tls,
            Obstacle::Untrusted,
        ] {
            let item = format!("- {}\n", in_the_way(Whom::APPLE, obstacle));
            assert!(DOCS.contains(&item), "docs/credentials.md lacks: {item}");
        }
    }

    #[test]
    fn words_are_sentences() {
        assert_eq!(
            unreachable(Whom::APPLE, Obstacle::Lost, "reset"),
            "The connection was lost before the answer; try again (reset)."
        );
        let late = Doubt::Attempt(Attempt::Unanswered(Cause::TimedOut));
        assert_eq!(
            undecided(&late),
            "Apple was connected and did not answer the question (no answer within the time allowed); try again later."
        );
    }
}
