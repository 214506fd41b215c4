//! Certificate authentication: what an Apple push certificate says about itself.

use x509_parser::der_parser::asn1_rs::{Any, FromDer, Oid, Sequence, Tag};
use x509_parser::oid_registry::asn1_rs::oid;
use x509_parser::parse_x509_certificate;

use crate::apns::reason::Reason;

/// Extension of a certificate for the development environment.
const DEVELOPMENT: Oid<'static> = oid!(1.2.840.113635.100.6.3.1);
/// Extension of a certificate for the production environment.
const PRODUCTION: Oid<'static> = oid!(1.2.840.113635.100.6.3.2);
/// Extension that holds a VoIP topic.
const VOIP_TOPIC: Oid<'static> = oid!(1.2.840.113635.100.6.3.4);
/// Extension that lists topics: `SEQUENCE { UTF8String topic, SEQUENCE { UTF8String kind }, … }`.
const TOPICS: Oid<'static> = oid!(1.2.840.113635.100.6.3.6);
/// Subject attribute UID, which holds the bundle id.
const USER_ID: Oid<'static> = oid!(0.9.2342.19200300.100.1.1);

/// A client certificate as APNs reads it. Who signed it is not asked, as Apple's authority is not here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PushCertificate {
    topics: Vec<String>,
    valid_from_ms: i64,
    valid_until_ms: i64,
    production_only: bool,
}

impl PushCertificate {
    /// Reads a certificate; one that cannot be read or names no topic is good for nothing.
    pub(crate) fn from_der(der: &[u8]) -> Self {
        let Ok((_, certificate)) = parse_x509_certificate(der) else {
            return Self::default();
        };
        let extension = |oid: &Oid<'_>| {
            certificate
                .extensions()
                .iter()
                .find(|extension| extension.oid == *oid)
                .map(|extension| extension.value)
        };
        let mut topics: Vec<String> = certificate
            .subject()
            .iter_by_oid(&USER_ID)
            .filter_map(|attribute| attribute.as_str().ok())
            .map(str::to_owned)
            .collect();
        for value in [TOPICS, VOIP_TOPIC].iter().filter_map(extension) {
            for topic in listed_topics(value) {
                if !topics.contains(&topic) {
                    topics.push(topic);
                }
            }
        }
        Self {
            topics,
            valid_from_ms: certificate
                .validity()
                .not_before
                .timestamp()
                .saturating_mul(1000),
            valid_until_ms: certificate
                .validity()
                .not_after
                .timestamp()
                .saturating_mul(1000),
            production_only: extension(&PRODUCTION).is_some() && extension(&DEVELOPMENT).is_none(),
        }
    }

    /// Whether the connection is one to the production environment.
    pub(crate) fn is_production_only(&self) -> bool {
        self.production_only
    }

    /// The topic of a request that names none: that of a certificate with just one.
    pub(crate) fn only_topic(&self) -> Option<&str> {
        match self.topics.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Whether the certificate is one for push, valid now, and good for the topic.
    pub(crate) fn check(&self, topic: &str, now_ms: i64) -> Result<(), Reason> {
        if self.topics.is_empty() || !(self.valid_from_ms..=self.valid_until_ms).contains(&now_ms) {
            return Err(Reason::BadCertificate);
        }
        if !self.topics.iter().any(|known| known == topic) {
            return Err(Reason::TopicDisallowed);
        }
        Ok(())
    }
}

/// The texts at the top level of a topic extension, or the one text that it is.
fn listed_topics(value: &[u8]) -> Vec<String> {
    let Ok((_, any)) = Any::from_der(value) else {
        return Vec::new();
    };
    let text = |any: &Any<'_>| {
        (any.tag() == Tag::Utf8String)
            .then(|| str::from_utf8(any.data).ok())
            .flatten()
            .map(str::to_owned)
    };
    if any.tag() != Tag::Sequence {
        return text(&any).into_iter().collect();
    }
    Sequence::new(any.data.into())
        .der_iter::<Any<'_>, x509_parser::der_parser::error::Error>()
        .map_while(Result::ok)
        .filter_map(|item| text(&item))
        .collect()
}
