//! What proves a project to Huawei's API v3: a service account, and JWTs that are signed with its key (RFC 7518, section 3.5).
//! Huawei: [JWT](https://developer.huawei.com/consumer/en/doc/harmonyos-guides/push-jwt-token).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PSS_SHA256, RsaKeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::json;
use thiserror::Error;
use tidings_model::UnixMillis;

/// How long a JWT is good: what Huawei advises. It refuses one of more than a day.
pub const LIFE: Duration = Duration::from_secs(60 * 60);
/// Of ids in the key file, at most.
const ID_LEN_MAX: usize = 256;
/// What `aud` says, wherever the endpoint is.
const AUDIENCE: &str = "https://oauth-login.cloud.huawei.com/oauth2/v3/token";

/// A key file of a service account, opened. `Debug` prints no secret.
#[derive(Clone)]
pub struct Credential {
    key: Arc<RsaKeyPair>,
    key_id: String,
    project_id: String,
    sub_account: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("key_id", &self.key_id)
            .field("project_id", &self.project_id)
            .field("sub_account", &self.sub_account)
            .finish_non_exhaustive()
    }
}

/// What cannot be a credential.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CredentialError {
    /// It is not the file that the console gives.
    #[error(
        "service_account: expected the JSON key file of the service account, with project_id, key_id, private_key and sub_account: {0}"
    )]
    File(String),
    /// The key is of another form, or cut.
    #[error(
        "service_account.private_key: expected the PEM of an RSA key of 2,048 bits or more: {0}"
    )]
    Key(String),
    /// One of the ids is empty, too long or not printable.
    #[error("service_account.{0}: expected 1 to 256 printable ASCII characters")]
    Id(&'static str),
}

/// The key file; what else is in it is not needed.
#[derive(Deserialize)]
struct File {
    key_id: String,
    private_key: String,
    project_id: String,
    sub_account: String,
}

impl Credential {
    /// Opens a key file, which is JSON. Whether Huawei knows the key is not known here.
    pub fn from_file(file: &str) -> Result<Self, CredentialError> {
        // The text of an error may quote the file, so only its kind and place are told.
        let file: File = serde_json::from_str(file).map_err(|error| {
            let why = match error.is_data() {
                true => "a field is missing or no text",
                false => "it is no JSON",
            };
            CredentialError::File(why.to_owned())
        })?;
        let ids = [
            ("key_id", &file.key_id),
            ("project_id", &file.project_id),
            ("sub_account", &file.sub_account),
        ];
        for (name, id) in ids {
            let is_id =
                (1..=ID_LEN_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
            // The project's id stands in a path.
            if !is_id || id.contains(['/', '?', '#', '%']) {
                return Err(CredentialError::Id(name));
            }
        }
        let unfit = |why: &str| CredentialError::Key(why.to_owned());
        let pem = PrivateKeyDer::from_pem_slice(file.private_key.as_bytes())
            .map_err(|_| unfit("it is no PEM of a private key"))?;
        let key = match &pem {
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            _ => return Err(unfit("it is of another kind")),
        };
        let key = key.map_err(|error| unfit(&error.to_string()))?;
        Ok(Self {
            key: Arc::new(key),
            key_id: file.key_id,
            project_id: file.project_id,
            sub_account: file.sub_account,
        })
    }

    /// The project it is for.
    pub fn project_id(&self) -> &str {
        &self.project_id
    }

    /// A JWT that is good from `now` on for [`LIFE`]. Takes about a millisecond.
    pub(super) fn jwt(&self, now: UnixMillis) -> String {
        let header = json!({"alg": "PS256", "kid": self.key_id, "typ": "JWT"});
        let issued = now.secs();
        let claims = json!({
            "iss": self.sub_account,
            "aud": AUDIENCE,
            "iat": issued,
            "exp": issued + i64::try_from(LIFE.as_secs()).unwrap_or_default(),
        });
        let mut jwt = BASE64_URL_SAFE_NO_PAD.encode(header.to_string());
        jwt.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(claims.to_string(), &mut jwt);
        let mut signature = vec![0; self.key.public_modulus_len()];
        let random = SystemRandom::new();
        // Only a system without randomness does not sign; then Huawei refuses what comes of it.
        let signed = self
            .key
            .sign(&RSA_PSS_SHA256, &random, jwt.as_bytes(), &mut signature);
        debug_assert!(signed.is_ok());
        jwt.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut jwt);
        jwt
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{KeyPair as _, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
    use rcgen::{KeyPair as Generated, PKCS_RSA_SHA256, RsaKeySize};
    use serde_json::Value;

    use super::*;

    fn file(changed: &Value) -> String {
        let key = Generated::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key");
        let mut file = json!({
            "project_id": "736430079", "key_id": "k1", "sub_account": "104",
            "private_key": key.serialize_pem(), "token_uri": AUDIENCE,
        });
        for (name, value) in changed.as_object().expect("an object") {
            file[name] = value.clone();
        }
        file.to_string()
    }

    #[test]
    fn a_jwt_is_signed_with_the_accounts_key_for_an_hour() {
        let credential = Credential::from_file(&file(&json!({}))).expect("a credential");
        let jwt = credential.jwt(UnixMillis(1_800_000_000_500));
        let (signed, signature) = jwt.rsplit_once('.').expect("a signature");
        let (header, claims) = signed.split_once('.').expect("claims");
        let part = |text: &str| -> Value {
            let text = BASE64_URL_SAFE_NO_PAD.decode(text).expect("base64");
            serde_json::from_slice(&text).expect("JSON")
        };
        assert_eq!(
            part(header),
            json!({"alg": "PS256", "kid": "k1", "typ": "JWT"})
        );
        let expected = json!({
            "iss": "104", "aud": AUDIENCE, "iat": 1_800_000_000, "exp": 1_800_003_600,
        });
        assert_eq!(part(claims), expected);
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).expect("base64");
        let public = credential.key.public_key().as_ref();
        let key = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, public);
        assert!(key.verify(signed.as_bytes(), &signature).is_ok());
    }

    #[test]
    fn what_cannot_be_a_key_file_is_told_and_not_shown() {
        let why = |file: &str| {
            Credential::from_file(file)
                .expect_err("refused")
                .to_string()
        };
        assert!(why("{").ends_with("it is no JSON"));
        assert!(why("{}").ends_with("a field is missing or no text"));
        let cases = [
            (json!({"key_id": ""}), "service_account.key_id"),
            (json!({"project_id": "a/b"}), "service_account.project_id"),
            (
                json!({"private_key": "hidden"}),
                "service_account.private_key",
            ),
        ];
        for (changed, begins) in cases {
            let why = why(&file(&changed));
            assert!(why.starts_with(begins) && !why.contains("hidden"), "{why}");
        }
    }
}
