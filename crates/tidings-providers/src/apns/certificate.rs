//! An APNs certificate: what it may push to, where, and until when.
//!
//! Source: Apple, "Establishing a certificate-based connection to APNs" and "Sending notification requests to APNs"
//! for the extensions; RFC 5280 for the rest.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use tidings_model::{Environment, UnixMillis};
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::Oid;
use x509_parser::der_parser::oid;

use super::CredentialError;
use super::der::{self, Reader};

/// May push to the sandbox.
const SANDBOX: Oid<'static> = oid!(1.2.840.113635.100.6.3.1);
/// May push to production.
const PRODUCTION: Oid<'static> = oid!(1.2.840.113635.100.6.3.2);
/// The VoIP topic.
const VOIP_TOPIC: Oid<'static> = oid!(1.2.840.113635.100.6.3.4);
/// All topics, each followed by its kind.
const TOPICS: Oid<'static> = oid!(1.2.840.113635.100.6.3.6);
/// In the subject: the bundle id, or the topic of device management (RFC 4519, `uid`).
const USER_ID: Oid<'static> = oid!(0.9.2342.19200300.100.1.1);

/// Certificates that are sent behind the leaf, at most.
const INTERMEDIATES_MAX: usize = 4;

/// A certificate, its key, and what it is good for.
#[derive(Clone)]
pub(super) struct Certificate {
    pub(super) client_auth: CertifiedKey,
    /// Both when the certificate does not say.
    pub(super) environments: Vec<Environment>,
    /// Whether it may be shown in a TLS handshake at all; one for signing apps may not.
    is_for_clients: bool,
    /// The subject's common name.
    name: String,
    pub(super) not_after: UnixMillis,
    pub(super) not_before: UnixMillis,
    /// The bundle id first, if the subject names it.
    pub(super) topics: Vec<String>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("environments", &self.environments)
            .field("name", &self.name)
            .field("not_after", &self.not_after)
            .field("topics", &self.topics)
            .finish_non_exhaustive()
    }
}

impl Certificate {
    /// Finds, among keys and certificates in any order, the pair that belongs together: of several, one that is for
    /// APNs and among those the one that lasts longest. The other certificates become its chain where they fit.
    pub(super) fn choose(
        keys: Vec<PrivateKeyDer<'static>>,
        certificates: Vec<CertificateDer<'static>>,
    ) -> Result<Self, CredentialError> {
        if keys.is_empty() {
            return Err(CredentialError::NoPrivateKey);
        }
        if certificates.is_empty() {
            return Err(CredentialError::NoCertificate);
        }
        let keys: Vec<Arc<dyn SigningKey>> = keys
            .iter()
            .filter_map(|key| any_supported_type(key).ok())
            .collect();
        if keys.is_empty() {
            return Err(CredentialError::UnsupportedKey);
        }
        let chosen = certificates
            .iter()
            .filter_map(|leaf| {
                let (_, parsed) = x509_parser::parse_x509_certificate(leaf).ok()?;
                let key = keys.iter().find(|key| belong_together(&parsed, key))?;
                let chain = chain(leaf, &parsed, &certificates);
                Some(Self::new(
                    &parsed,
                    CertifiedKey::new(chain, Arc::clone(key)),
                ))
            })
            .max_by_key(|found| {
                let named = !found.topics.is_empty();
                (found.is_for_clients, named, found.not_after)
            })
            .ok_or(CredentialError::KeyDoesNotMatch)?;
        if !chosen.is_for_clients {
            let name = chosen.name;
            return Err(CredentialError::NotForPush { name });
        }
        Ok(chosen)
    }

    fn new(leaf: &X509Certificate<'_>, client_auth: CertifiedKey) -> Self {
        let time = |secs: i64| UnixMillis(secs.saturating_mul(1000));
        Self {
            client_auth,
            environments: environments(leaf),
            is_for_clients: is_for_clients(leaf),
            name: common_name(leaf),
            not_after: time(leaf.validity().not_after.timestamp()),
            not_before: time(leaf.validity().not_before.timestamp()),
            topics: topics(leaf),
        }
    }
}

/// Whether the certificate is for this key. Compares the keys themselves: rustls' own check first judges the whole
/// certificate, by what a server's has to be, and finds fault with an unknown critical extension.
fn belong_together(certificate: &X509Certificate<'_>, key: &Arc<dyn SigningKey>) -> bool {
    let Some(public) = key.public_key() else {
        return false;
    };
    let bits = Reader::new(&public).expect(der::SEQUENCE);
    let bits = bits.and_then(|info| info.children().find(|part| part.tag == der::BIT_STRING));
    // The first byte of a BIT STRING counts the bits that its last byte leaves unused: none here.
    bits.and_then(|bits| bits.content.split_first())
        .is_some_and(|(_, bits)| bits == &certificate.public_key().subject_public_key.data[..])
}

/// The leaf and the intermediates that lead on from it, without the root: the server has that.
fn chain(
    leaf: &CertificateDer<'static>,
    parsed: &X509Certificate<'_>,
    others: &[CertificateDer<'static>],
) -> Vec<CertificateDer<'static>> {
    let others: Vec<_> = others
        .iter()
        .filter_map(|der| Some((der, x509_parser::parse_x509_certificate(der).ok()?.1)))
        .filter(|(_, parsed)| parsed.subject().as_raw() != parsed.issuer().as_raw())
        .collect();
    let mut chain = vec![leaf.clone()];
    let mut issuer = parsed.issuer().as_raw();
    while chain.len() <= INTERMEDIATES_MAX {
        let next = others
            .iter()
            .find(|(der, parsed)| parsed.subject().as_raw() == issuer && !chain.contains(der));
        let Some((der, parsed)) = next else { break };
        chain.push((*der).clone());
        issuer = parsed.issuer().as_raw();
    }
    chain
}

fn common_name(certificate: &X509Certificate<'_>) -> String {
    let mut names = certificate.subject().iter_common_name();
    let name = names.next().and_then(|name| name.as_str().ok());
    name.unwrap_or_default().to_owned()
}

/// RFC 5280, section 4.2.1.12: a certificate without the extension may be used for everything.
fn is_for_clients(certificate: &X509Certificate<'_>) -> bool {
    match certificate.extended_key_usage() {
        Ok(Some(usage)) => usage.value.client_auth || usage.value.any,
        Ok(None) => true,
        Err(_) => false,
    }
}

fn environments(certificate: &X509Certificate<'_>) -> Vec<Environment> {
    let marks = [
        (PRODUCTION, Environment::Production),
        (SANDBOX, Environment::Sandbox),
    ];
    let has = |oid: &Oid<'_>| extension(certificate, oid).is_some();
    let marked: Vec<_> = marks
        .into_iter()
        .filter_map(|(oid, environment)| has(&oid).then_some(environment))
        .collect();
    if marked.is_empty() {
        vec![Environment::Production, Environment::Sandbox]
    } else {
        marked
    }
}

fn topics(certificate: &X509Certificate<'_>) -> Vec<String> {
    let user_ids = certificate
        .subject()
        .iter_by_oid(&USER_ID)
        .filter_map(|attribute| attribute.as_str().ok())
        .map(str::to_owned);
    let listed = [TOPICS, VOIP_TOPIC]
        .into_iter()
        .filter_map(|oid| extension(certificate, &oid))
        .flat_map(listed_topics);
    let mut topics = Vec::new();
    for topic in user_ids.chain(listed) {
        if !topic.is_empty() && !topics.contains(&topic) {
            topics.push(topic);
        }
    }
    topics
}

/// `SEQUENCE { UTF8String topic, SEQUENCE { UTF8String kind }, … }`, or a single text.
fn listed_topics(extension: &[u8]) -> Vec<String> {
    let text = |element: der::Element<'_>| {
        let text = (element.tag == der::UTF8_STRING).then_some(element.content)?;
        String::from_utf8(text.to_vec()).ok()
    };
    let Some(value) = Reader::new(extension).next() else {
        return Vec::new();
    };
    match value.tag {
        der::SEQUENCE => value.children().filter_map(text).collect(),
        _ => text(value).into_iter().collect(),
    }
}

/// The value of an extension; the first, should there be several (which RFC 5280 forbids).
fn extension<'a>(certificate: &'a X509Certificate<'_>, oid: &Oid<'_>) -> Option<&'a [u8]> {
    certificate
        .iter_extensions()
        .find(|extension| extension.oid == *oid)
        .map(|extension| extension.value)
}
