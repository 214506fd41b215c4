//! What an app needs to push through Apple: a certificate (.p12) or a signing key (.p8).
//!
//! Sources: Apple, [Establishing a certificate-based connection to APNs](https://developer.apple.com/documentation/usernotifications/establishing-a-certificate-based-connection-to-apns),
//! [Establishing a token-based connection to APNs](https://developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns).

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use tidings_model::{Environment, UnixMillis};

use super::certificate::Certificate;
use super::notification::{TOPIC_LEN_MAX, is_topic};
use super::p12;
use super::token::{ProviderKey, TokenSource};

/// Bytes of a .p12 or .p8, at most: 65,536. A .p12 has about 3 KB, with a long chain 10; a .p8 has
/// about 250 bytes. Our own bound.
pub const FILE_LEN_MAX: usize = 64 * 1024;

/// Characters of a key id and of a team id.
const ID_LEN: usize = 10;

/// Why a file is no credential, or not for what is wanted of it.
///
/// The text says what is wrong and what would be right; [`field`](Self::field) and [`code`](Self::code) are stable.
/// Sources: Apple, [Establishing a certificate-based connection to APNs](https://developer.apple.com/documentation/usernotifications/establishing-a-certificate-based-connection-to-apns),
/// [Establishing a token-based connection to APNs](https://developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CredentialError {
    /// The key id is not 10 characters of A-Z and 0-9.
    #[error(
        "key_id: is {found:?}; a key id has 10 characters, A-Z and 0-9, and stands in the file's name: AuthKey_<key id>.p8"
    )]
    BadKeyId {
        /// The first 20 characters of what it is.
        found: String,
    },
    /// The team id is not 10 characters of A-Z and 0-9.
    #[error(
        "team_id: is {found:?}; a team id has 10 characters, A-Z and 0-9, and stands under Membership in the developer account"
    )]
    BadTeamId {
        /// The first 20 characters of what it is.
        found: String,
    },
    /// The topic has something else than letters, digits, `.`, `-` and `_`, or more than 255 bytes.
    #[error(
        "topic: is {found:?}; use the app's bundle id, such as com.example.app: letters, digits, '.', '-' and '_', at most {TOPIC_LEN_MAX} bytes"
    )]
    BadTopic {
        /// The first 20 characters of what it is.
        found: String,
    },
    /// It looks like PKCS#12, but is cut short or does not decode.
    #[error(
        "p12: is damaged: {found}; export it again, or upload the file itself and not a copied text"
    )]
    Damaged {
        /// What is wrong with it.
        found: &'static str,
    },
    /// The certificate's time is over.
    #[error("p12: expired on {}; create a new push certificate in the developer account and export it with its key", date(*.not_after))]
    Expired {
        /// When it was over.
        not_after: UnixMillis,
    },
    /// The file has keys and certificates, but no certificate is for one of the keys.
    #[error(
        "p12: has a key and a certificate that do not belong together; export the certificate that was made from this key's signing request"
    )]
    KeyDoesNotMatch,
    /// The file has a key only.
    #[error(
        "p12: has no certificate; in Keychain Access export the push certificate under My Certificates, not the key alone"
    )]
    NoCertificate,
    /// The file has certificates only.
    #[error(
        "p12: has no private key; in Keychain Access open the triangle before the push certificate, select certificate and key, and export both"
    )]
    NoPrivateKey,
    /// The certificate has an extended key usage without TLS client authentication: one for signing apps.
    #[error(
        "p12: holds the certificate {name:?}, which is not for push; export the one that is called Apple Push Services"
    )]
    NotForPush {
        /// Its subject's common name.
        name: String,
    },
    /// It is no .p8: not PEM, another kind of key than PKCS#8 on P-256, locked with a password, or larger than
    /// [`FILE_LEN_MAX`].
    #[error(
        "p8: {found}; upload the AuthKey_<key id>.p8 as downloaded: a PKCS#8 \"PRIVATE KEY\" for the curve P-256"
    )]
    NotP8 {
        /// What it looks like.
        found: &'static str,
    },
    /// It is another kind of file, empty, or larger than [`FILE_LEN_MAX`].
    #[error(
        "p12: {found}; upload a PKCS#12 file with certificate and private key, as Keychain Access exports it"
    )]
    NotPkcs12 {
        /// What it looks like.
        found: &'static str,
    },
    /// The certificate's time has not begun: mostly the clock here is wrong.
    #[error("p12: is not valid before {}; check the server's clock", date(*.not_before))]
    NotYetValid {
        /// When it begins.
        not_before: UnixMillis,
    },
    /// No topic was named, and the credential is a key or a certificate that names none.
    #[error("topic: is missing; name the app's bundle id, such as com.example.app")]
    TopicMissing,
    /// The certificate is for other topics.
    #[error("topic: {topic:?} is not among those of the certificate: {}", .covered.join(", "))]
    TopicNotCovered {
        /// Those that it is for.
        covered: Vec<String>,
        /// The one that was asked for.
        topic: String,
    },
    /// The .p12 is locked with RC4, 128-bit RC2, two-key 3DES, DES or 3DES in PBES2, Camellia, ARIA or PBMAC1, or
    /// written in BER.
    #[error(
        "p12: uses {algorithm}, which cannot be read here; convert it: openssl pkcs12 -legacy -in old.p12 -nodes -out both.pem && openssl pkcs12 -export -in both.pem -out new.p12"
    )]
    UnsupportedAlgorithm {
        /// Its name.
        algorithm: &'static str,
    },
    /// The key is neither RSA of 2048 bits or more nor ECDSA on P-256, P-384 or P-521, nor Ed25519.
    #[error(
        "p12: has a key of a kind that TLS does not use here; use RSA of 2048 bits or more, or ECDSA on P-256 or P-384"
    )]
    UnsupportedKey,
    /// The certificate is for the other environment only.
    #[error("environment: is {wanted}; the certificate is for {certificate} only")]
    WrongEnvironment {
        /// The one that it is for.
        certificate: Environment,
        /// The one that was asked for.
        wanted: Environment,
    },
    /// The MAC does not fit the password, or, in a file without a MAC, what comes out is nonsense.
    #[error(
        "password: does not open the .p12; use the one that was set when it was exported (leave it empty if none was)"
    )]
    WrongPassword,
}

impl CredentialError {
    /// A name that programs may rely on, such as `wrong_password`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadKeyId { .. } => "bad_key_id",
            Self::BadTeamId { .. } => "bad_team_id",
            Self::BadTopic { .. } => "bad_topic",
            Self::Damaged { .. } => "damaged",
            Self::Expired { .. } => "expired",
            Self::KeyDoesNotMatch => "key_does_not_match",
            Self::NoCertificate => "no_certificate",
            Self::NoPrivateKey => "no_private_key",
            Self::NotForPush { .. } => "not_for_push",
            Self::NotP8 { .. } => "not_p8",
            Self::NotPkcs12 { .. } => "not_pkcs12",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::TopicMissing => "topic_missing",
            Self::TopicNotCovered { .. } => "topic_not_covered",
            Self::UnsupportedAlgorithm { .. } => "unsupported_algorithm",
            Self::UnsupportedKey => "unsupported_key",
            Self::WrongEnvironment { .. } => "wrong_environment",
            Self::WrongPassword => "wrong_password",
        }
    }

    /// The field of the upload that is wrong: `p12`, `password`, `p8`, `key_id`, `team_id`, `topic` or `environment`.
    pub fn field(&self) -> &'static str {
        match self {
            Self::BadKeyId { .. } => "key_id",
            Self::BadTeamId { .. } => "team_id",
            Self::NotP8 { .. } => "p8",
            Self::BadTopic { .. } | Self::TopicMissing | Self::TopicNotCovered { .. } => "topic",
            Self::WrongEnvironment { .. } => "environment",
            Self::WrongPassword => "password",
            Self::Damaged { .. }
            | Self::Expired { .. }
            | Self::KeyDoesNotMatch
            | Self::NoCertificate
            | Self::NoPrivateKey
            | Self::NotForPush { .. }
            | Self::NotPkcs12 { .. }
            | Self::NotYetValid { .. }
            | Self::UnsupportedAlgorithm { .. }
            | Self::UnsupportedKey => "p12",
        }
    }
}

/// The day of a time, in UTC: 2026-11-24.
fn date(time: UnixMillis) -> String {
    jiff::Timestamp::from_millisecond(time.0).map_or_else(
        |_| "a time out of range".to_owned(),
        |time| time.strftime("%Y-%m-%d").to_string(),
    )
}

/// How a credential proves itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialKind {
    /// A client certificate in the TLS handshake, good for about a year and for the topics that it lists.
    /// Apple: [Establishing a certificate-based connection to APNs](https://developer.apple.com/documentation/usernotifications/establishing-a-certificate-based-connection-to-apns).
    Certificate,
    /// A signed token with every request, good for every topic of its key's.
    /// Apple: [Establishing a token-based connection to APNs](https://developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns).
    Token,
}

impl CredentialKind {
    /// `certificate` or `token`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Token => "token",
        }
    }
}

impl fmt::Display for CredentialKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What may be told of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The one that was asked about.
    pub environment: Environment,
    /// The end of the certificate. None for a token: a key does not expire.
    pub expires_at: Option<UnixMillis>,
    /// Certificate or token.
    pub kind: CredentialKind,
    /// The topic that was asked about; else the first of a certificate's, the bundle id.
    pub topic: String,
    /// All topics that are known to be allowed: of a certificate its subject's UID and those in the extensions
    /// 1.2.840.113635.100.6.3.6 and .4; of a token the one that was asked about.
    /// Apple: [Sending notification requests to APNs](https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns).
    pub topics: Vec<String>,
}

/// The right to push. Cheap to clone; all that open one key share its provider token. Prints nothing secret.
/// Sources: Apple, [Establishing a certificate-based connection to APNs](https://developer.apple.com/documentation/usernotifications/establishing-a-certificate-based-connection-to-apns),
/// [Establishing a token-based connection to APNs](https://developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns).
#[derive(Clone, Debug)]
pub struct Credential {
    proof: Proof,
}

#[derive(Clone, Debug)]
enum Proof {
    Certificate(Arc<Certificate>),
    Token(Arc<TokenSource>),
}

impl Credential {
    /// A certificate with its key, from a PKCS#12 file of at most [`FILE_LEN_MAX`] bytes, as Keychain Access (RC2-40
    /// and 3DES) or OpenSSL (AES) writes it. The password may be empty. Of several pairs it takes one that may be shown
    /// to a TLS server, that names topics, and that lasts longest, with up to 4 intermediates.
    ///
    /// Fails when the file does not open or has no usable pair ([`CredentialError`]). Whether it is valid now, and for
    /// what, is asked of [`check`](Self::check). Takes some milliseconds of CPU, and seconds for a file whose password
    /// was hardened with a million rounds (more are refused): not for a thread that must not block.
    /// Apple: [Establishing a certificate-based connection to APNs](https://developer.apple.com/documentation/usernotifications/establishing-a-certificate-based-connection-to-apns).
    pub fn from_p12(der: &[u8], password: &str) -> Result<Self, CredentialError> {
        let contents = p12::open(der, password)?;
        Self::from_parts(contents.keys, contents.certificates)
    }

    /// A signing key, from the .p8 that Apple lets one download once: PEM, PKCS#8, P-256, at most [`FILE_LEN_MAX`]
    /// bytes. Key id and team id have 10 characters, A-Z and 0-9. Fails with [`CredentialError`] `BadKeyId`, `BadTeamId` or `NotP8`. Which topics and
    /// which environment the key is good for stands in the developer account only: Apple says it when it is used.
    /// Apple: [Establishing a token-based connection to APNs](https://developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns).
    pub fn from_p8(pem: &[u8], key_id: &str, team_id: &str) -> Result<Self, CredentialError> {
        if !is_id(key_id) {
            let found = excerpt(key_id);
            return Err(CredentialError::BadKeyId { found });
        }
        if !is_id(team_id) {
            let found = excerpt(team_id);
            return Err(CredentialError::BadTeamId { found });
        }
        let not_p8 = |found| CredentialError::NotP8 { found };
        if pem.len() > FILE_LEN_MAX {
            return Err(not_p8("is larger than any .p8"));
        }
        let key =
            PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| not_p8(other_than_p8(pem)))?;
        let key = ProviderKey::new(
            key.secret_pkcs8_der(),
            key_id.to_owned(),
            team_id.to_owned(),
        )
        .ok_or_else(|| not_p8("is a private key, but not one for P-256"))?;
        Ok(Self {
            proof: Proof::Token(TokenSource::of(key)),
        })
    }

    fn from_parts(
        keys: Vec<PrivateKeyDer<'static>>,
        certificates: Vec<CertificateDer<'static>>,
    ) -> Result<Self, CredentialError> {
        let certificate = Certificate::choose(keys, certificates)?;
        Ok(Self {
            proof: Proof::Certificate(Arc::new(certificate)),
        })
    }

    /// Certificate or token.
    pub fn kind(&self) -> CredentialKind {
        match &self.proof {
            Proof::Certificate(_) => CredentialKind::Certificate,
            Proof::Token(_) => CredentialKind::Token,
        }
    }

    /// Whether it is good at `now`, in that environment, for that topic (the certificate's own when none is given or it
    /// is empty). Fails with [`CredentialError`] `BadTopic`, `Expired`, `NotYetValid`, `WrongEnvironment`,
    /// `TopicNotCovered` or `TopicMissing`, the first in this order. A certificate that names no environment is good
    /// for both, one that names no topic for any. Of a key only the topic's form is checked.
    /// Apple: [Establishing a certificate-based connection to APNs](https://developer.apple.com/documentation/usernotifications/establishing-a-certificate-based-connection-to-apns).
    pub fn check(
        &self,
        environment: Environment,
        topic: Option<&str>,
        now: UnixMillis,
    ) -> Result<Summary, CredentialError> {
        let topic = topic.filter(|topic| !topic.is_empty()).map(str::to_owned);
        if let Some(topic) = topic
            .as_deref()
            .filter(|topic| topic.len() > TOPIC_LEN_MAX || !is_topic(topic))
        {
            let found = excerpt(topic);
            return Err(CredentialError::BadTopic { found });
        }
        match &self.proof {
            Proof::Certificate(certificate) => check(certificate, environment, topic, now),
            Proof::Token(_) => {
                let topic = topic.ok_or(CredentialError::TopicMissing)?;
                Ok(Summary {
                    environment,
                    expires_at: None,
                    kind: CredentialKind::Token,
                    topics: vec![topic.clone()],
                    topic,
                })
            }
        }
    }

    /// What to present in the TLS handshake: chain and key of a certificate; none for a token.
    pub fn client_auth(&self) -> Option<&CertifiedKey> {
        match &self.proof {
            Proof::Certificate(certificate) => Some(&certificate.client_auth),
            Proof::Token(_) => None,
        }
    }

    /// What signs every request, shared by all clones of this credential; none for a certificate.
    pub fn token_source(&self) -> Option<&Arc<TokenSource>> {
        match &self.proof {
            Proof::Certificate(_) => None,
            Proof::Token(source) => Some(source),
        }
    }
}

fn check(
    certificate: &Certificate,
    environment: Environment,
    topic: Option<String>,
    now: UnixMillis,
) -> Result<Summary, CredentialError> {
    let Certificate {
        not_after,
        not_before,
        ..
    } = *certificate;
    if now > not_after {
        return Err(CredentialError::Expired { not_after });
    }
    if now < not_before {
        return Err(CredentialError::NotYetValid { not_before });
    }
    if let [only] = certificate.environments[..]
        && only != environment
    {
        return Err(CredentialError::WrongEnvironment {
            certificate: only,
            wanted: environment,
        });
    }
    let mut topics = certificate.topics.clone();
    let topic = match topic {
        Some(topic) if topics.is_empty() => {
            topics.push(topic.clone());
            topic
        }
        Some(topic) if !topics.contains(&topic) => {
            return Err(CredentialError::TopicNotCovered {
                covered: topics,
                topic,
            });
        }
        Some(topic) => topic,
        None => {
            let first = topics.iter().find(|topic| is_topic(topic)).cloned();
            first.ok_or(CredentialError::TopicMissing)?
        }
    };
    Ok(Summary {
        environment,
        expires_at: Some(not_after),
        kind: CredentialKind::Certificate,
        topic,
        topics,
    })
}

fn is_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    text.len() == ID_LEN && text.bytes().all(allowed)
}

/// What a file is that has no PKCS#8 key in it.
fn other_than_p8(file: &[u8]) -> &'static str {
    let has = |needle: &str| {
        let needle = needle.as_bytes();
        file.windows(needle.len()).any(|part| part == needle)
    };
    // The first that fits: a key is more telling than what stands around it.
    let known = [
        (
            "-----BEGIN PRIVATE KEY-----",
            "is a PEM private key that is damaged or cut short",
        ),
        (
            "-----BEGIN ENCRYPTED PRIVATE KEY-----",
            "is a private key that is locked with a password",
        ),
        (
            "-----BEGIN EC PRIVATE KEY-----",
            "is a private key in the older SEC 1 form (openssl pkcs8 -topk8 -nocrypt converts it)",
        ),
        ("-----BEGIN RSA PRIVATE KEY-----", "is an RSA private key"),
        (
            "-----BEGIN CERTIFICATE-----",
            "is a certificate (one with its key goes into the field p12)",
        ),
        ("-----BEGIN PUBLIC KEY-----", "is a public key"),
        ("-----BEGIN", "is a PEM file of another kind"),
    ];
    if file.trim_ascii().is_empty() {
        return "is empty";
    }
    if file.first() == Some(&0x30) {
        return "is a DER file, perhaps a .p12 (which goes into the field p12)";
    }
    known
        .iter()
        .find_map(|(begin, kind)| has(begin).then_some(*kind))
        .unwrap_or("has no line -----BEGIN PRIVATE KEY-----")
}

/// Enough of a wrong text to recognise it.
fn excerpt(text: &str) -> String {
    text.chars().take(2 * ID_LEN).collect()
}
