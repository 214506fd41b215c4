//! The body of `PUT /v1/apps/{app_key}/credentials/apns`: what an app needs to use APNs.

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD};
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use serde_json::Value;
use tidings_model::{Environment, Secret};

use crate::api::error::{ApiError, Fault};
use crate::api::fields::Fields;
use crate::api::v1::required;
use crate::providers::access::{Access, text};
use crate::providers::apns::{ApnsCredential, ApnsFile};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A credential for APNs as it came. Whether its file opens, and for what it is good, is for the provider to say.
#[derive(Debug)]
pub(crate) struct ApnsCredentialBody {
    pub(crate) credential: ApnsCredential,
    /// None: both, as the same signing key works in both.
    pub(crate) environment: Option<Environment>,
}

impl ApnsCredentialBody {
    pub(crate) fn read(mut fields: Fields) -> Result<Self, ApiError> {
        let environment = environment(&mut fields)?;
        let p12 = text(&mut fields, "p12")?;
        let p8 = text(&mut fields, "p8")?;
        let topic = fields.text("topic")?.filter(|topic| !topic.is_empty());
        let password = fields.secret("password")?;
        let key_id = fields.text("key_id")?;
        let team_id = fields.text("team_id")?;
        let file = match (p12, p8) {
            (Some(p12), None) => {
                for (key, value) in [("key_id", &key_id), ("team_id", &team_id)] {
                    if value.is_some() {
                        return Err(ApiError::invalid(key, "belongs to a p8, not to a p12"));
                    }
                }
                required(&fields, "environment", environment, "sandbox or production")?;
                let archive = base64(&fields, "p12", &p12)?;
                ApnsFile::p12(&archive, &password.unwrap_or_else(|| Secret::new("")))
            }
            (None, Some(p8)) => {
                if password.is_some() {
                    let why = "belongs to a p12, not to a p8";
                    return Err(ApiError::invalid("password", why));
                }
                let wanted = "the ten characters in the name of the .p8 file";
                let key_id = required(&fields, "key_id", key_id, wanted)?;
                let wanted = "the ten characters of the developer team";
                let team_id = required(&fields, "team_id", team_id, wanted)?;
                let pem = signing_key(&fields, &p8)?;
                ApnsFile::P8 {
                    key_id,
                    pem,
                    team_id,
                }
            }
            (Some(_), Some(_)) => {
                let why = "and p12 exclude each other: give one";
                return Err(ApiError::invalid("p8", why));
            }
            (None, None) => {
                return Err(ApiError::missing(
                    "p12",
                    "give a p12 with its password and environment, or a p8 with key_id and team_id",
                ));
            }
        };
        let credential = ApnsCredential {
            access: Access::read(&mut fields)?,
            file,
            topic,
        };
        fields.finish_strictly()?;
        Ok(Self {
            credential,
            environment,
        })
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

/// Base64 as files are pasted: with or without line breaks and padding.
fn base64(fields: &Fields, key: &str, text: &str) -> Result<Vec<u8>, ApiError> {
    let text: String = text.split_ascii_whitespace().collect();
    BASE64.decode(text).map_err(|error| {
        let why = format!("is not base64 of the file: {error}");
        ApiError::at(Fault::Credential("unreadable"), fields.at(key), why)
    })
}

/// The text of a `.p8` file: as it is, in base64, or only the base64 between its first and last line.
fn signing_key(fields: &Fields, p8: &str) -> Result<String, ApiError> {
    const DER_SEQUENCE: u8 = 0x30;
    if p8.contains("-----BEGIN") {
        return Ok(p8.to_owned());
    }
    let bytes = base64(fields, "p8", p8)?;
    if bytes.first() == Some(&DER_SEQUENCE) {
        let key = STANDARD.encode(&bytes);
        return Ok(format!(
            "-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n"
        ));
    }
    String::from_utf8(bytes).map_err(|_| {
        let why = "is not a text: give the .p8 file as Apple gave it";
        ApiError::at(Fault::Credential("unreadable"), fields.at("p8"), why)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pem(label: &str, der: &[u8]) -> String {
        let body = STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    }

    fn parse(body: Value) -> Result<ApnsCredentialBody, ApiError> {
        ApnsCredentialBody::read(Fields::parse(body.to_string().as_bytes())?)
    }

    #[test]
    fn a_p8_is_read_in_every_form() {
        let der = [0x30, 3, 2, 1, 0];
        let text = pem("PRIVATE KEY", &der);
        let forms = [
            text.clone(),
            BASE64.encode(&text),
            BASE64.encode(der),
            BASE64.encode(der).trim_end_matches('=').to_owned(),
            BASE64
                .encode(&text)
                .as_bytes()
                .chunks(76)
                .map(|line| format!("{}\n", String::from_utf8_lossy(line)))
                .collect(),
        ];
        for p8 in forms {
            let body = json!({"p8": p8, "key_id": "ABC123DEFG", "team_id": "DEF123GHIJ"});
            let read = parse(body).expect("a credential");
            let ApnsFile::P8 { pem, key_id, .. } = read.credential.file else {
                panic!("not a p8: {p8}");
            };
            assert_eq!((pem, key_id.as_str()), (text.clone(), "ABC123DEFG"));
            assert_eq!(read.environment, None);
        }
    }

    #[test]
    fn a_p12_is_read_and_does_not_print() {
        let authority = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
        let ca = authority.expect("a certificate").cert.pem();
        let read = parse(json!({
            "environment": "sandbox", "p12": "MII\nBAA==", "password": "hush",
            "endpoint": "https://localhost:2197/", "ca": ca, "proxy": "http://u:quiet@proxy:3128",
        }));
        let read = read.expect("a credential");
        let printed = format!("{read:?}");
        assert!(
            !printed.contains("hush") && !printed.contains("quiet") && !printed.contains("MII"),
            "{printed}"
        );
        let endpoint = read.credential.access.endpoint.as_deref();
        assert_eq!(endpoint, Some("https://localhost:2197"));
        assert_eq!(read.credential.access.ca, Some(ca));
        let proxy = read.credential.access.proxy.as_deref();
        assert_eq!(proxy, Some("http://u:quiet@proxy:3128"));
        let ApnsFile::P12 { base64, password } = read.credential.file else {
            panic!("not a p12");
        };
        assert_eq!((base64.as_str(), password.as_str()), ("MIIBAA==", "hush"));
        assert_eq!(read.environment, Some(Environment::Sandbox));
    }

    #[test]
    fn a_wrong_credential_is_told_what_is_wrong() {
        const UNREADABLE: Fault = Fault::Credential("unreadable");
        let p12 = || json!({"environment": "sandbox", "p12": "MIIBAA==", "password": "x"});
        let p8 = || json!({"p8": "MIIBAA==", "key_id": "ABC123DEFG", "team_id": "DEF123GHIJ"});
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
            (p12(), json!({"p12": "%%"}), UNREADABLE, "p12"),
            (p12(), json!({"p12": 7}), Fault::Invalid, "p12"),
            (p12(), json!({"p8": "x"}), Fault::Invalid, "p8"),
            (
                p12(),
                json!({"key_id": "ABC123DEFG"}),
                Fault::Invalid,
                "key_id",
            ),
            (p12(), json!({"pasword": "x"}), Fault::UnknownKey, "pasword"),
            (
                p12(),
                json!({"endpoint": "localhost:1"}),
                Fault::Invalid,
                "endpoint",
            ),
            (
                p12(),
                json!({"endpoint": "http://x"}),
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
                json!({"endpoint": "https://x/y"}),
                Fault::Invalid,
                "endpoint",
            ),
            (
                p12(),
                json!({"endpoint": "https://x:0"}),
                Fault::Invalid,
                "endpoint",
            ),
            (
                p12(),
                json!({"endpoint": "https://x:65536"}),
                Fault::Invalid,
                "endpoint",
            ),
            (
                p12(),
                json!({"endpoint": "https://x:"}),
                Fault::Invalid,
                "endpoint",
            ),
            (
                p12(),
                json!({"endpoint": "https://x#y"}),
                Fault::Invalid,
                "endpoint",
            ),
            (
                p12(),
                json!({"proxy": "proxy:3128"}),
                Fault::Invalid,
                "proxy",
            ),
            (p12(), json!({"proxy": 7}), Fault::Invalid, "proxy"),
            (p12(), json!({"ca": "no PEM"}), UNREADABLE, "ca"),
            (p12(), json!({"ca": many}), UNREADABLE, "ca"),
            (
                p12(),
                json!({"ca": pem("CERTIFICATE", b"any")}),
                UNREADABLE,
                "ca",
            ),
            (p8(), json!({"key_id": null}), Fault::Missing, "key_id"),
            (p8(), json!({"team_id": null}), Fault::Missing, "team_id"),
            (p8(), json!({"password": "x"}), Fault::Invalid, "password"),
            (p8(), json!({"p8": "/////w=="}), UNREADABLE, "p8"),
        ];
        for (mut body, changes, fault, field) in cases {
            if let (Some(body), Value::Object(changes)) = (body.as_object_mut(), changes.clone()) {
                body.extend(changes);
            }
            let error = parse(body).expect_err("a refusal");
            let found = (error.fault(), error.field());
            assert_eq!(found, (fault, Some(field)), "{changes}");
        }
    }
}
