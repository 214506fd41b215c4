//! The sandbox's own certificate authority. Its key is the same at every start, so that a client goes on trusting a
//! sandbox that was started again; it is public, and good for nothing else.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Object identifiers of Apple's push certificates: development, production, list of topics.
const APPLE_DEVELOPMENT: &[u64] = &[1, 2, 840, 113_635, 100, 6, 3, 1];
const APPLE_PRODUCTION: &[u64] = &[1, 2, 840, 113_635, 100, 6, 3, 2];
const APPLE_TOPICS: &[u64] = &[1, 2, 840, 113_635, 100, 6, 3, 6];
const SUBJECT_USER_ID: &[u64] = &[0, 9, 2342, 19_200_300, 100, 1, 1];

const ASN1_NULL: &[u8] = &[0x05, 0x00];
const ASN1_UTF8_STRING: u8 = 0x0c;
const ASN1_SEQUENCE: u8 = 0x30;

const AUTHORITY_KEY: &str = include_str!("../identity/authority.pem");
const PUSH_KEY: &str = include_str!("../identity/push.pem");

/// A certificate authority that nobody outside needs to trust.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key (PKCS #8).
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Authority {
    pub(crate) fn new() -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name("Tidings sandbox authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::from_pem(AUTHORITY_KEY)?)?;
        Ok(Self { issuer })
    }

    /// The authority's certificate, for a client's trust store.
    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A server certificate for host names and IP addresses.
    pub(crate) fn server(&self, names: &[String]) -> Result<Identity, rcgen::Error> {
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = common_name("Tidings sandbox");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        self.sign(&params, &KeyPair::generate()?)
    }

    /// A push certificate as Apple gives one for both environments. The key is RSA, as Apple's are; common readers of
    /// `.p12` files take no other.
    pub(crate) fn push(&self, topic: &str) -> Result<Identity, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(&format!("Apple Push Services: {topic}"));
        params
            .distinguished_name
            .push(DnType::from_oid(SUBJECT_USER_ID), topic);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.custom_extensions = vec![
            CustomExtension::from_oid_content(APPLE_DEVELOPMENT, ASN1_NULL.to_vec()),
            CustomExtension::from_oid_content(APPLE_PRODUCTION, ASN1_NULL.to_vec()),
            CustomExtension::from_oid_content(APPLE_TOPICS, topic_list(topic)),
        ];
        self.sign(&params, &KeyPair::from_pem(PUSH_KEY)?)
    }

    fn sign(&self, params: &CertificateParams, key: &KeyPair) -> Result<Identity, rcgen::Error> {
        let certificate = params.signed_by(key, &self.issuer)?;
        Ok(Identity {
            certificate: certificate.der().clone(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        })
    }
}

fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// `SEQUENCE { UTF8String topic, SEQUENCE { UTF8String "app" } }`
fn topic_list(topic: &str) -> Vec<u8> {
    let kind = tagged(ASN1_SEQUENCE, &tagged(ASN1_UTF8_STRING, b"app"));
    let topic = tagged(ASN1_UTF8_STRING, topic.as_bytes());
    tagged(ASN1_SEQUENCE, &[topic, kind].concat())
}

/// DER: tag, length, content.
fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short @ ..0x80) => bytes.push(short),
        Ok(byte) => bytes.extend([0x81, byte]),
        Err(_) => {
            let length = content.len().to_be_bytes();
            let digits = &length[content.len().leading_zeros() as usize / 8..];
            bytes.push(0x80 | digits.len() as u8);
            bytes.extend(digits);
        }
    }
    bytes.extend(content);
    bytes
}
