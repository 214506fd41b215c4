//! PKCS#12 (RFC 7292), as macOS Keychain Access and OpenSSL write it.

use p12_keystore::{Pkcs12Archive, error::Error};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::CredentialError;
use super::credential::FILE_LEN_MAX;
use super::der::{self, Reader};
use super::lock;

/// Keys and certificates as they stand in the file.
pub(super) struct Contents {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) keys: Vec<PrivateKeyDer<'static>>,
}

/// Opens a .p12. An empty password also opens a file that was written without one, which is not the same.
pub(super) fn open(file: &[u8], password: &str) -> Result<Contents, CredentialError> {
    let pfx = recognise(file)?;
    let archive = Pkcs12Archive::from_pkcs12(pfx, password);
    let archive = match (archive, lock::unsayable(password)) {
        (Ok(archive), _) => archive,
        (Err(error), None) => return Err(refusal(&error, pfx)),
        (Err(error), Some(unsayable)) => {
            let clear = lock::unlock(pfx, &unsayable).ok_or_else(|| match unsayable[..] {
                [] => refusal(&error, pfx),
                // The first attempt failed at the password's characters, whatever else is wrong.
                _ => CredentialError::WrongPassword,
            })?;
            Pkcs12Archive::from_pkcs12(&clear, password).map_err(|error| refusal(&error, pfx))?
        }
    };
    let certificate = |der: &[u8]| CertificateDer::from(der.to_vec());
    let key = |der: &[u8]| PrivatePkcs8KeyDer::from(der.to_vec()).into();
    Ok(Contents {
        certificates: archive
            .certs
            .iter()
            .map(|bag| certificate(bag.cert.as_der()))
            .collect(),
        keys: archive
            .keys
            .iter()
            .map(|bag| key(bag.key.as_der()))
            .collect(),
    })
}

/// The file without what may stand behind it, if it looks like PKCS#12; else what it looks like.
fn recognise(file: &[u8]) -> Result<&[u8], CredentialError> {
    let not = |found| Err(CredentialError::NotPkcs12 { found });
    match file {
        [] => return not("is empty"),
        _ if file.len() > FILE_LEN_MAX => return not("is larger than any .p12"),
        [0x30, 0x80, ..] => {
            let algorithm = "BER with indefinite lengths";
            return Err(CredentialError::UnsupportedAlgorithm { algorithm });
        }
        [0x30, ..] => {}
        _ => return not(text(file)),
    }
    let Some(whole) = Reader::new(file).next() else {
        let found = "it is shorter than it says itself";
        return Err(CredentialError::Damaged { found });
    };
    let mut parts = whole.children();
    match (parts.next(), parts.next()) {
        (Some(version), Some(safe)) if version.tag == der::INTEGER => match version.content {
            [3] if safe.tag == der::SEQUENCE => Ok(whole.raw),
            _ => not("is a private key alone"),
        },
        (Some(kind), _) if kind.tag == der::OID => {
            not("is a signed message, such as a .mobileprovision")
        }
        (Some(first), _) if first.tag == der::SEQUENCE => match first.children().next() {
            Some(version) if version.tag == der::CONTEXT_0 => {
                not("is a certificate (.cer) without its private key")
            }
            Some(version) if version.tag == der::INTEGER => not("is a certificate signing request"),
            _ => not("is a DER file of another kind"),
        },
        _ => not("is a DER file of another kind"),
    }
}

/// What a file that is no DER looks like.
fn text(file: &[u8]) -> &'static str {
    let file = file
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(file)
        .trim_ascii();
    let has = |needle: &[u8]| file.windows(needle.len()).any(|part| part == needle);
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=-_\r\n".contains(byte);
    if has(b"PRIVATE KEY-----") {
        "is a PEM private key (a .p8 goes into the field p8)"
    } else if has(b"-----BEGIN CERTIFICATE-----") {
        "is a PEM certificate without its private key"
    } else if has(b"-----BEGIN") {
        "is a PEM file of another kind"
    } else if file.starts_with(b"\xfe\xed\xfe\xed") {
        "is a Java key store (JKS)"
    } else if file.starts_with(b"PK\x03\x04") {
        "is a ZIP archive"
    } else if !file.is_empty() && file.iter().all(is_base64) {
        "is base64 text where the file itself is expected (encoded twice?)"
    } else {
        "is no DER file"
    }
}

/// Why a file that looks like PKCS#12 did not open.
fn refusal(error: &Error, pfx: &[u8]) -> CredentialError {
    if let Error::MacError(_) = error {
        return CredentialError::WrongPassword;
    }
    if let Some(algorithm) = unsupported(pfx) {
        return CredentialError::UnsupportedAlgorithm { algorithm };
    }
    match error {
        // Without a MAC, nonsense is all that a wrong password shows.
        Error::Pkcs5Error(_) | Error::UnpadError if !has_mac(pfx) => CredentialError::WrongPassword,
        Error::InvalidParameters
        | Error::UnsupportedCertificateType
        | Error::UnsupportedContentType
        | Error::UnsupportedEncryptionScheme
        | Error::UnsupportedMacAlgorithm => CredentialError::UnsupportedAlgorithm {
            algorithm: "an unusual algorithm",
        },
        _ => CredentialError::Damaged {
            found: "what is in it is not in order",
        },
    }
}

fn has_mac(pfx: &[u8]) -> bool {
    let whole = Reader::new(pfx).next();
    whole.is_some_and(|whole| whole.children().count() > 2)
}

/// The name of an algorithm that is not supported. The identifiers stand in the clear, so it is enough to look for
/// them.
fn unsupported(pfx: &[u8]) -> Option<&'static str> {
    // RFC 7292 (appendix C), RFC 8018 (appendix B.2), RFC 3657, RFC 5794, RFC 9579.
    const ALGORITHMS: [(&[u8], &str); 9] = [
        (
            b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x01",
            "RC4 (128 bits)",
        ),
        (b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x02", "RC4 (40 bits)"),
        (
            b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x04",
            "triple DES with two keys",
        ),
        (
            b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x05",
            "RC2 (128 bits)",
        ),
        (b"\x2b\x0e\x03\x02\x07", "DES in PBES2"),
        (b"\x2a\x86\x48\x86\xf7\x0d\x03\x07", "triple DES in PBES2"),
        (b"\x2a\x83\x08\x8c\x9a\x4b\x3d\x01\x01\x01", "Camellia"),
        (b"\x2a\x83\x1a\x8c\x9a\x6e\x01\x01", "ARIA"),
        (b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0e", "PBMAC1"),
    ];
    let has = |oid: &[u8]| pfx.windows(oid.len()).any(|part| part == oid);
    let known = ALGORITHMS.iter().find(|(oid, _)| has(oid));
    known.map(|(_, name)| *name)
}
