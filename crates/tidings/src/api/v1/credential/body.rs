//! `PUT /v1/apps/{app_key}/credentials/apns`: what an app needs to use APNs.

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use http::Uri;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use tidings_model::{Environment, Secret};

use super::required;
use crate::api::error::{ApiError, Fault, shown};
use crate::api::fields::Fields;

/// Certificates in `ca`; a bundle of one's own has one or two.
const CA_CERTIFICATES_MAX: usize = 16;
/// Characters of a bundle id; Apple allows 155, plus what a topic's kind adds (`.voip`, `.push-type.liveactivity`).
const TOPIC_CHARS_MAX: usize = 200;
/// Characters of a base URL.
const ENDPOINT_CHARS_MAX: usize = 512;
/// Characters of Apple's key ids and team ids.
const APPLE_ID_CHARS: usize = 10;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A credential for APNs as it came; whether a `.p12` opens is for the provider to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApnsCredentialBody {
    /// Certificates that the provider's own is checked against in place of the public ones.
    pub(crate) ca: Vec<CertificateDer<'static>>,
    /// Base URL without a slash at its end, in place of Apple's.
    pub(crate) endpoint: Option<String>,
    pub(crate) key: ApnsKey,
    /// The bundle id. A certificate names its own, so it may be absent there.
    pub(crate) topic: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ApnsKey {
    /// Certificate and key, as PKCS #12.
    P12 {
        archive: SecretBytes,
        environment: Environment,
        password: Secret,
    },
    /// A signing key for provider tokens, as the DER of PKCS #8; a P-256 key for certain.
    P8 {
        /// Absent: both, as such a key works in both.
        environment: Option<Environment>,
        key: SecretBytes,
        key_id: String,
        team_id: String,
    },
}

/// Bytes that must not be seen.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SecretBytes(pub(crate) Vec<u8>);

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl ApnsCredentialBody {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = Fields::parse(body)?;
        let environment = environment(&mut fields)?;
        let p12 = file(&mut fields, "p12")?;
        let p8 = file(&mut fields, "p8")?;
        let topic = topic(&mut fields)?;
        let password = fields.secret("password")?;
        let key_id = apple_id(&mut fields, "key_id")?;
        let team_id = apple_id(&mut fields, "team_id")?;
        let key = match (p12, p8) {
            (Some(p12), None) => {
                for (key, is_there) in
                    [("key_id", key_id.is_some()), ("team_id", team_id.is_some())]
                {
                    if is_there {
                        return Err(ApiError::invalid(key, "belongs to a p8, not to a p12"));
                    }
                }
                ApnsKey::P12 {
                    archive: SecretBytes(base64(&fields, "p12", &p12)?),
                    environment: required(
                        &fields,
                        "environment",
                        environment,
                        "sandbox or production",
                    )?,
                    password: password.unwrap_or_else(|| Secret::new("")),
                }
            }
            (None, Some(p8)) => {
                if password.is_some() {
                    return Err(ApiError::invalid(
                        "password",
                        "belongs to a p12, not to a p8",
                    ));
                }
                if topic.is_none() {
                    return Err(ApiError::missing("topic", "the bundle id of the app"));
                }
                ApnsKey::P8 {
                    environment,
                    key: signing_key(&fields, &p8)?,
                    key_id: required(
                        &fields,
                        "key_id",
                        key_id,
                        "the ten characters in the name of the .p8 file",
                    )?,
                    team_id: required(
                        &fields,
                        "team_id",
                        team_id,
                        "the ten characters of the developer team",
                    )?,
                }
            }
            (Some(_), Some(_)) => {
                return Err(ApiError::invalid(
                    "p8",
                    "and p12 exclude each other: give one",
                ));
            }
            (None, None) => {
                return Err(ApiError::missing(
                    "p12",
                    "give a p12 with its password and environment, or a p8 with key_id and team_id",
                ));
            }
        };
        let credential = Self {
            ca: ca(&mut fields)?,
            endpoint: endpoint(&mut fields)?,
            key,
            topic,
        };
        fields.finish_strictly()?;
        Ok(credential)
    }
}

fn environment(fields: &mut Fields) -> Result<Option<Environment>, ApiError> {
    match fields.text("environment")? {
        Some(name) => match name.parse() {
            Ok(environment) => Ok(Some(environment)),
            Err(_) => {
                Err(fields.wrong("environment", "sandbox or production", &Value::String(name)))
            }
        },
        None => Ok(None),
    }
}

/// The text of a file; `""` is absent.
fn file(fields: &mut Fields, key: &'static str) -> Result<Option<String>, ApiError> {
    Ok(fields.text(key)?.filter(|text| !text.trim().is_empty()))
}

/// Base64 as files are pasted: with or without line breaks and padding.
fn base64(fields: &Fields, key: &str, text: &str) -> Result<Vec<u8>, ApiError> {
    let text: String = text.split_ascii_whitespace().collect();
    BASE64.decode(text).map_err(|error| {
        let why = format!("is not base64 of the file: {error}");
        ApiError::at(Fault::CredentialUnreadable, fields.at(key), why)
    })
}

/// The key of a `.p8` file: its text, that in base64, or only the base64 between its first and last line.
fn signing_key(fields: &Fields, p8: &str) -> Result<SecretBytes, ApiError> {
    const PEM: &str = "-----BEGIN";
    let unreadable = |why: &str| ApiError::at(Fault::CredentialUnreadable, fields.at("p8"), why);
    let bytes = if p8.trim_start().starts_with(PEM) {
        p8.as_bytes().to_vec()
    } else {
        base64(fields, "p8", p8)?
    };
    let der = if bytes.trim_ascii_start().starts_with(PEM.as_bytes()) {
        let key = PrivatePkcs8KeyDer::from_pem_slice(&bytes)
            .map_err(|_| unreadable("holds no PRIVATE KEY: give the .p8 file as Apple gave it"))?;
        key.secret_pkcs8_der().to_vec()
    } else {
        bytes
    };
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).map_err(|_| {
        unreadable("is not a P-256 private key: give the .p8 file as Apple gave it")
    })?;
    Ok(SecretBytes(der))
}

fn apple_id(fields: &mut Fields, key: &'static str) -> Result<Option<String>, ApiError> {
    let Some(id) = fields.text(key)? else {
        return Ok(None);
    };
    let is_allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    if id.len() != APPLE_ID_CHARS || !id.bytes().all(is_allowed) {
        let wanted = format!("{APPLE_ID_CHARS} upper-case letters and digits");
        return Err(fields.wrong(key, &wanted, &Value::String(id)));
    }
    Ok(Some(id))
}

fn topic(fields: &mut Fields) -> Result<Option<String>, ApiError> {
    let Some(topic) = fields.text("topic")?.filter(|topic| !topic.is_empty()) else {
        return Ok(None);
    };
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    if topic.len() > TOPIC_CHARS_MAX || !topic.bytes().all(is_allowed) {
        return Err(fields.wrong(
            "topic",
            "a bundle id like com.example.app",
            &Value::String(topic),
        ));
    }
    Ok(Some(topic))
}

/// A base URL: scheme, host, perhaps a port and a path.
fn endpoint(fields: &mut Fields) -> Result<Option<String>, ApiError> {
    let Some(text) = fields.text("endpoint")?.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let uri = Some(&text)
        .filter(|text| text.len() <= ENDPOINT_CHARS_MAX && !text.contains('#'))
        .and_then(|text| text.parse::<Uri>().ok());
    let is_base = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.query().is_none()
            && uri
                .authority()
                .is_some_and(|authority| !authority.as_str().contains('@'))
    });
    if !is_base {
        let why = format!(
            "must be a base URL like https://host:443 without user, query or fragment, not {}",
            shown(&text)
        );
        return Err(ApiError::invalid(fields.at("endpoint"), why));
    }
    Ok(Some(text.trim_end_matches('/').to_owned()))
}

fn ca(fields: &mut Fields) -> Result<Vec<CertificateDer<'static>>, ApiError> {
    let Some(text) = file(fields, "ca")? else {
        return Ok(Vec::new());
    };
    let unreadable = |why: String| ApiError::at(Fault::CredentialUnreadable, fields.at("ca"), why);
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match certificates {
        Ok(list) if (1..=CA_CERTIFICATES_MAX).contains(&list.len()) => Ok(list),
        Ok(list) => Err(unreadable(format!(
            "must hold 1 to {CA_CERTIFICATES_MAX} certificates as PEM, not {}",
            list.len()
        ))),
        Err(error) => Err(unreadable(format!("is not PEM: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::ECDSA_P384_SHA384_FIXED_SIGNING;
    use serde_json::json;

    fn pkcs8() -> Vec<u8> {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
        key.expect("a key").as_ref().to_vec()
    }

    fn pem(label: &str, der: &[u8]) -> String {
        let body = BASE64.encode(der);
        let lines: Vec<&str> = body
            .as_bytes()
            .chunks(64)
            .filter_map(|line| str::from_utf8(line).ok())
            .collect();
        format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            lines.join("\n")
        )
    }

    fn parse(body: Value) -> Result<ApnsCredentialBody, ApiError> {
        ApnsCredentialBody::parse(body.to_string().as_bytes())
    }

    #[test]
    fn a_p8_is_read_in_every_form() {
        let der = pkcs8();
        let text = pem("PRIVATE KEY", &der);
        let forms = [
            text.clone(),
            format!("\r\n{}", text.replace('\n', "\r\n")),
            BASE64.encode(&text),
            BASE64.encode(&der),
            BASE64.encode(&der).trim_end_matches('=').to_owned(),
            BASE64
                .encode(&text)
                .as_bytes()
                .chunks(76)
                .map(|line| format!("{}\n", String::from_utf8_lossy(line)))
                .collect(),
        ];
        for p8 in forms {
            let read = parse(
                json!({"p8": p8, "key_id": "ABC123DEFG", "team_id": "DEF123GHIJ", "topic": "com.example.app"}),
            );
            let ApnsKey::P8 {
                key,
                key_id,
                environment,
                ..
            } = read.expect("a credential").key
            else {
                panic!("not a p8: {p8}");
            };
            assert_eq!(
                (key.0, key_id.as_str(), environment),
                (der.clone(), "ABC123DEFG", None)
            );
        }
    }

    #[test]
    fn a_p12_is_read_and_does_not_print() {
        let read = parse(json!({
            "environment": "sandbox", "p12": "MII\nBAA==", "password": "hush",
            "endpoint": "https://localhost:2197/base/", "ca": pem("CERTIFICATE", b"any"),
        }));
        let read = read.expect("a credential");
        assert_eq!(
            read.endpoint.as_deref(),
            Some("https://localhost:2197/base")
        );
        assert_eq!(read.ca.len(), 1);
        assert!(!format!("{read:?}").contains("hush"));
        let ApnsKey::P12 {
            archive,
            password,
            environment,
        } = read.key
        else {
            panic!("not a p12");
        };
        assert_eq!(archive.0, [0x30, 0x82, 0x01, 0x00]);
        assert_eq!(
            (password.expose(), environment),
            ("hush", Environment::Sandbox)
        );
    }

    #[test]
    fn a_wrong_credential_is_told_what_is_wrong() {
        let p12 = || json!({"environment": "sandbox", "p12": "MIIBAA==", "password": "x"});
        let p8 = || json!({"p8": pem("PRIVATE KEY", &pkcs8()), "key_id": "ABC123DEFG", "team_id": "DEF123GHIJ", "topic": "a.b"});
        let random = aws_lc_rs::rand::SystemRandom::new();
        let p384 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &random).expect("a key");
        let many = pem("CERTIFICATE", b"any").repeat(17);
        let cases = [
            (json!({}), json!({}), Fault::Missing, "p12"),
            (
                p12(),
                json!({"environment": null}),
                Fault::Missing,
                "environment",
            ),
            (
                p12(),
                json!({"environment": "dev"}),
                Fault::Invalid,
                "environment",
            ),
            (
                p12(),
                json!({"p12": "%%"}),
                Fault::CredentialUnreadable,
                "p12",
            ),
            (p12(), json!({"p12": 7}), Fault::Invalid, "p12"),
            (p12(), json!({"p8": "x"}), Fault::Invalid, "p8"),
            (
                p12(),
                json!({"key_id": "ABC123DEFG"}),
                Fault::Invalid,
                "key_id",
            ),
            (p12(), json!({"pasword": "x"}), Fault::UnknownKey, "pasword"),
            (p12(), json!({"topic": "a b"}), Fault::Invalid, "topic"),
            (
                p12(),
                json!({"endpoint": "localhost:1"}),
                Fault::Invalid,
                "endpoint",
            ),
            (
                p12(),
                json!({"endpoint": "ftp://x"}),
                Fault::Invalid,
                "endpoint",
            ),
            (
                p12(),
                json!({"endpoint": "https://u:p@x"}),
                Fault::Invalid,
                "endpoint",
            ),
            (
                p12(),
                json!({"endpoint": "https://x/?y"}),
                Fault::Invalid,
                "endpoint",
            ),
            (
                p12(),
                json!({"ca": "no PEM"}),
                Fault::CredentialUnreadable,
                "ca",
            ),
            (
                p12(),
                json!({"ca": many}),
                Fault::CredentialUnreadable,
                "ca",
            ),
            (p8(), json!({"topic": null}), Fault::Missing, "topic"),
            (p8(), json!({"key_id": null}), Fault::Missing, "key_id"),
            (p8(), json!({"team_id": "short"}), Fault::Invalid, "team_id"),
            (p8(), json!({"password": "x"}), Fault::Invalid, "password"),
            (
                p8(),
                json!({"p8": pem("CERTIFICATE", b"any")}),
                Fault::CredentialUnreadable,
                "p8",
            ),
            (
                p8(),
                json!({"p8": pem("PRIVATE KEY", b"any")}),
                Fault::CredentialUnreadable,
                "p8",
            ),
            (
                p8(),
                json!({"p8": pem("PRIVATE KEY", p384.as_ref())}),
                Fault::CredentialUnreadable,
                "p8",
            ),
        ];
        for (mut body, changes, fault, field) in cases {
            if let (Some(body), Value::Object(changes)) = (body.as_object_mut(), changes.clone()) {
                body.extend(changes);
            }
            let error = parse(body).expect_err("a refusal");
            assert_eq!(
                (error.fault(), error.field()),
                (fault, Some(field)),
                "{changes}"
            );
        }
    }
}
