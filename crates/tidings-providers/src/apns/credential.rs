//! What an app needs to push through Apple: a certificate (.p12) or a signing key (.p8).

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use tidings_model::{Environment, UnixMillis};

use super::certificate::Certificate;
use super::notification::TOPIC_LEN_MAX;
use super::p12;
use super::token::{ProviderKey, TokenSource};

/// Bytes of an uploaded file, at most. A .p12 has about 3 KB, with a long chain 10.
pub const FILE_LEN_MAX: usize = 64 * 1024;

/// Characters of a key id and of a team id.
const ID_LEN: usize = 10;

/// Why a file is no credential, or not for what is wanted of it.
///
/// The text says what is wrong and what would be right; [`field`](Self::field) and [`code`](Self::code) are stable.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CredentialError {
    #[error(
        "key_id: is {found:?}; a key id has 10 characters, A-Z and 0-9, and stands in the file's name: AuthKey_<key id>.p8"
    )]
    BadKeyId { found: String },
    #[error(
        "team_id: is {found:?}; a team id has 10 characters, A-Z and 0-9, and stands under Membership in the developer account"
    )]
    BadTeamId { found: String },
    #[error(
        "topic: is {found:?}; use the app's bundle id, such as com.example.app: ASCII, no spaces, at most {TOPIC_LEN_MAX} bytes"
    )]
    BadTopic { found: String },
    #[error(
        "p12: is damaged: {found}; export it again, or upload the file itself and not a copied text"
    )]
    Damaged { found: &'static str },
    #[error("p12: expired on {}; create a new push certificate in the developer account and export it with its key", date(*.not_after))]
    Expired { not_after: UnixMillis },
    #[error(
        "p12: has a key and a certificate that do not belong together; export the certificate that was made from this key's signing request"
    )]
    KeyDoesNotMatch,
    #[error(
        "p12: has no certificate; in Keychain Access export the push certificate under My Certificates, not the key alone"
    )]
    NoCertificate,
    #[error(
        "p12: has no private key; in Keychain Access open the triangle before the push certificate, select certificate and key, and export both"
    )]
    NoPrivateKey,
    #[error(
        "p12: holds the certificate {name:?}, which is not for push; export the one that is called Apple Push Services"
    )]
    NotForPush { name: String },
    #[error(
        "p8: {found}; upload the AuthKey_<key id>.p8 as downloaded: a PKCS#8 \"PRIVATE KEY\" for the curve P-256"
    )]
    NotP8 { found: &'static str },
    #[error(
        "p12: {found}; upload a PKCS#12 file with certificate and private key, as Keychain Access exports it"
    )]
    NotPkcs12 { found: &'static str },
    #[error("p12: is not valid before {}; check the server's clock", date(*.not_before))]
    NotYetValid { not_before: UnixMillis },
    #[error("topic: is missing; name the app's bundle id, such as com.example.app")]
    TopicMissing,
    #[error("topic: {topic:?} is not among those of the certificate: {}", .covered.join(", "))]
    TopicNotCovered { covered: Vec<String>, topic: String },
    #[error(
        "p12: uses {algorithm}, which cannot be read here; convert it: openssl pkcs12 -legacy -in old.p12 -nodes -out both.pem && openssl pkcs12 -export -in both.pem -out new.p12"
    )]
    UnsupportedAlgorithm { algorithm: &'static str },
    #[error(
        "p12: has a key of a kind that TLS does not use here; use RSA of 2048 bits or more, or ECDSA on P-256 or P-384"
    )]
    UnsupportedKey,
    #[error("environment: is {wanted}; the certificate is for {certificate} only")]
    WrongEnvironment {
        certificate: Environment,
        wanted: Environment,
    },
    #[error(
        "password: does not open the .p12; use the one that was set when it was exported (leave it empty if none was)"
    )]
    WrongPassword,
}

impl CredentialError {
    /// A name that programs may rely on.
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

    /// The field of the upload that is wrong.
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
    /// A client certificate in the TLS handshake.
    Certificate,
    /// A signed token with every request.
    Token,
}

impl CredentialKind {
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
    pub environment: Environment,
    /// None for a token: a key does not expire.
    pub expires_at: Option<UnixMillis>,
    pub kind: CredentialKind,
    /// The topic that pushes go to when they do not say.
    pub topic: String,
    /// All topics that are known to be allowed.
    pub topics: Vec<String>,
}

/// The right to push. Cheap to clone; prints nothing secret.
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
    /// A certificate with its key, from a PKCS#12 file. The password may be empty.
    ///
    /// Whether it is valid now, and for what, is asked of [`check`](Self::check). Takes some milliseconds of CPU, and
    /// seconds for a file whose password was hardened with a million rounds: not for a thread that must not block.
    pub fn from_p12(der: &[u8], password: &str) -> Result<Self, CredentialError> {
        let contents = p12::open(der, password)?;
        Self::from_parts(contents.keys, contents.certificates)
    }

    /// A signing key, from the .p8 that Apple lets one download once.
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
        let key =
            PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| not_p8(other_than_p8(pem)))?;
        let key = ProviderKey::new(
            key.secret_pkcs8_der(),
            key_id.to_owned(),
            team_id.to_owned(),
        )
        .ok_or_else(|| not_p8("is a private key, but not one for P-256"))?;
        Ok(Self {
            proof: Proof::Token(Arc::new(TokenSource::new(key))),
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

    pub fn kind(&self) -> CredentialKind {
        match &self.proof {
            Proof::Certificate(_) => CredentialKind::Certificate,
            Proof::Token(_) => CredentialKind::Token,
        }
    }

    /// Whether it is good at `now`, in that environment, for that topic (the certificate's own when none is given).
    pub fn check(
        &self,
        environment: Environment,
        topic: Option<&str>,
        now: UnixMillis,
    ) -> Result<Summary, CredentialError> {
        let topic = topic.filter(|topic| !topic.is_empty()).map(str::to_owned);
        if let Some(topic) = topic.as_deref().filter(|topic| !is_topic(topic)) {
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
            let first = topics.first().cloned();
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

fn is_topic(text: &str) -> bool {
    text.len() <= TOPIC_LEN_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
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
