//! The signature that Huawei puts on its receipts, where a user name and a secret are set in its console.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName};
use tidings_model::Secret;

/// `timestamp=<ms>; nonce=<uuid>; value=<Base64 of HMAC-SHA256 over timestamp, nonce and user name>`.
pub(crate) const SIGNATURE: HeaderName = HeaderName::from_static("x-huawei-callback-id");

/// Bytes of the header that are looked at.
const HEADER_BYTES_MAX: usize = 512;

/// Whether the signature is that of this user name and secret. One that is old is as good as a new one: what it signs is no
/// body, and a receipt that comes twice is one.
pub(crate) fn is_signed(headers: &HeaderMap, user: &str, secret: &Secret) -> bool {
    let Some(header) = headers.get(SIGNATURE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    if header.len() > HEADER_BYTES_MAX {
        return false;
    }
    let part = |name: &str| {
        let mut parts = header
            .split(';')
            .filter_map(|part| part.trim().split_once('='));
        parts.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let (Some(timestamp), Some(nonce), Some(value)) =
        (part("timestamp"), part("nonce"), part("value"))
    else {
        return false;
    };
    let Ok(tag) = STANDARD.decode(value) else {
        return false;
    };
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    hmac::verify(&key, format!("{timestamp}{nonce}{user}").as_bytes(), &tag).is_ok()
}
