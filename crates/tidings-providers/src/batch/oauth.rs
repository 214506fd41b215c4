//! Access tokens for a client's id and secret (RFC 6749, section 4.4), as some makers give them.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use tidings_model::{Outcome, Reason, Secret};

use crate::batch::meaning::number;
use crate::batch::{Access, Request, Response};

/// The request at `path`.
pub(crate) fn request(path: &str, client_id: &str, client_secret: &Secret) -> Request {
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "client_credentials")
        .append_pair("client_id", client_id)
        .append_pair("client_secret", client_secret.expose())
        .finish();
    Request {
        path: path.to_owned(),
        headers: vec![("content-type", FORM.to_owned())],
        body: Bytes::from(form),
    }
}

/// The type of a form.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default)]
    expires_in: Value,
}

/// What makers say of every token: an hour.
const EXPIRES_IN: u64 = 3600;

#[derive(Deserialize)]
struct Refused {
    error: Value,
}

/// What the answer says (RFC 6749, section 5).
pub(crate) fn access(response: &Response) -> Result<Access, Outcome> {
    if response.status == 200
        && let Ok(granted) = serde_json::from_slice::<Granted>(&response.body)
        && !granted.access_token.is_empty()
        && granted
            .access_token
            .bytes()
            .all(|byte| byte.is_ascii_graphic())
    {
        let secs = number(&granted.expires_in).and_then(|secs| u64::try_from(secs).ok());
        return Ok(Access {
            token: granted.access_token,
            lives: Duration::from_secs(secs.unwrap_or(EXPIRES_IN)),
        });
    }
    let told = serde_json::from_slice::<Refused>(&response.body).ok();
    let word = told.map(|refused| match refused.error {
        Value::String(word) => word,
        other => other.to_string(),
    });
    let is_ours =
        matches!(response.status, 200 | 400..=499) && !matches!(response.status, 408 | 425 | 429);
    let reason = match &word {
        Some(word) => Reason::heard(word),
        None => Reason::heard(&format!("HTTP{}", response.status)),
    };
    Err(if is_ours && (word.is_some() || response.status != 200) {
        Outcome::CredentialRejected { reason }
    } else {
        Outcome::Retry {
            reason,
            after: response.retry_after,
        }
    })
}
