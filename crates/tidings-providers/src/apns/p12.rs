//! PKCS#12 (RFC 7292), as macOS Keychain Access and OpenSSL write it.

use p12_keystore::{Pkcs12Archive, error::Error};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::CredentialError;

/// Keys and certificates as they stand in the file.
pub(super) struct Contents {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) keys: Vec<PrivateKeyDer<'static>>,
}

/// Opens a .p12.
pub(super) fn open(der: &[u8], password: &str) -> Result<Contents, CredentialError> {
    let archive = Pkcs12Archive::from_pkcs12(der, password).map_err(|error| match error {
        Error::MacError(_) => CredentialError::WrongPassword,
        _ => CredentialError::NotPkcs12 {
            found: "something else",
        },
    })?;
    Ok(Contents {
        certificates: archive
            .certs
            .into_iter()
            .map(|bag| CertificateDer::from(bag.cert.as_der().to_vec()))
            .collect(),
        keys: archive
            .keys
            .into_iter()
            .map(|bag| PrivatePkcs8KeyDer::from(bag.key.as_der().to_vec()).into())
            .collect(),
    })
}
