//! JWTs that a service account signs with PS256 (RFC 7518, section 3.5), as Huawei takes them: sent as they are, never
//! exchanged for an access token.

use std::io;

use aws_lc_rs::signature::{KeyPair as _, RSA_PSS_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::limits::JWT_MAX;

const KEY: &str = include_str!("../identity/service.pem");
pub(crate) const PROJECT_ID: &str = "736430079244623079";
const KEY_ID: &str = "sandbox-key-0001";
const SUB_ACCOUNT: &str = "104000002";

/// What `aud` must say, wherever the sandbox is.
const AUDIENCE: &str = "https://oauth-login.cloud.huawei.com/oauth2/v3/token";

/// Longest life, in seconds.
const LIFE_SECS_MAX: i64 = 24 * 60 * 60;

/// Seconds that `iat` may be ahead.
const AHEAD_SECS_MAX: i64 = 5 * 60;

/// The account's public key.
#[derive(Debug)]
pub(crate) struct ServiceAccount {
    public_key: Vec<u8>,
}

/// Why a JWT lets nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadJwt {
    Expired,
    LivesTooLong,
    /// Of another form, account or key.
    Unknown,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    iat: i64,
    exp: i64,
}

impl ServiceAccount {
    pub(crate) fn new() -> io::Result<Self> {
        let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).map_err(io::Error::other)?;
        let key = RsaKeyPair::from_pkcs8(key.secret_der()).map_err(io::Error::other)?;
        Ok(Self {
            public_key: key.public_key().as_ref().to_vec(),
        })
    }

    /// The key file, as Huawei's console gives it.
    pub(crate) fn file() -> Value {
        json!({
            "project_id": PROJECT_ID,
            "key_id": KEY_ID,
            "private_key": KEY,
            "sub_account": SUB_ACCOUNT,
            "auth_uri": "https://oauth-login.cloud.huawei.com/oauth2/v3/authorize",
            "token_uri": AUDIENCE,
        })
    }

    /// Whether a text has a JWT's form at all.
    pub(crate) fn is_jwt(text: &str) -> bool {
        text.split('.').count() == 3
    }

    pub(crate) fn check(&self, text: &str, now_ms: i64) -> Result<(), BadJwt> {
        let claims = self.claims(text).ok_or(BadJwt::Unknown)?;
        let now = now_ms / 1_000;
        if claims.exp.saturating_sub(claims.iat) > LIFE_SECS_MAX {
            return Err(BadJwt::LivesTooLong);
        }
        if claims.exp <= now {
            return Err(BadJwt::Expired);
        }
        if claims.iat > now.saturating_add(AHEAD_SECS_MAX) {
            return Err(BadJwt::Unknown);
        }
        Ok(())
    }

    /// The claims, when key, account, audience and signature are right.
    fn claims(&self, text: &str) -> Option<Claims> {
        if text.len() > JWT_MAX {
            return None;
        }
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header: Header = part(header)?;
        let claims: Claims = part(claims)?;
        let is_own = header.alg == "PS256"
            && header.kid == KEY_ID
            && claims.iss == SUB_ACCOUNT
            && claims.aud == AUDIENCE;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let key = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, &self.public_key);
        (is_own && key.verify(signed.as_bytes(), &signature).is_ok()).then_some(claims)
    }
}

fn part<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}
