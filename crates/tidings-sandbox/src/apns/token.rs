//! Token authentication (Apple, "Establishing a token-based connection to APNs").

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderValue;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tracing::warn;

use crate::apns::reason::Reason;
use crate::limits::{PROVIDER_TOKEN_MAX, TOKEN_KEYS_MAX, VERIFIED_TOKENS_MAX};

/// Oldest and furthest ahead that `iat` may be.
const AGE_MAX_MS: i64 = 60 * 60 * 1000;

/// A connection takes a new token not more often than this.
const RENEWAL_MIN_MS: i64 = 20 * 60 * 1000;

/// A key id or a team id: 10 characters.
type AppleId = [u8; 10];

/// Base64 as senders write it: either alphabet once `-_` are mapped, with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A provider token whose signature is right. Its age is judged at each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProviderToken {
    key_id: AppleId,
    issued_at_ms: i64,
}

/// The keys that sign provider tokens, and the tokens that have been checked.
///
/// A key id that was not registered is trusted on first use, as no developer account is here to ask: the signature
/// itself yields the few public keys that can have made it (SEC 1, section 4.1.6), and every later token of that key
/// id must come from one of them and name the same team.
#[derive(Debug, Default)]
pub(crate) struct TokenKeys {
    keys: Mutex<HashMap<AppleId, TokenKey>>,
    verified: Mutex<HashMap<Box<[u8]>, ProviderToken>>,
}

#[derive(Debug)]
struct TokenKey {
    team_id: AppleId,
    candidates: Vec<VerifyingKey>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    iat: i64,
}

/// A token taken apart.
struct Parsed {
    key_id: AppleId,
    team_id: AppleId,
    issued_at_ms: i64,
    prehash: [u8; 32],
    signature: Signature,
}

impl TokenKeys {
    /// Registers a key by its public point (SEC 1 form); the ids have 10 characters.
    pub(crate) fn register(
        &self,
        key_id: &str,
        team_id: &str,
        point: &[u8],
    ) -> Result<(), p256::ecdsa::Error> {
        let key_id = apple_id(key_id).ok_or_else(p256::ecdsa::Error::new)?;
        let team_id = apple_id(team_id).ok_or_else(p256::ecdsa::Error::new)?;
        let candidates = vec![VerifyingKey::from_sec1_bytes(point)?];
        let key = TokenKey {
            team_id,
            candidates,
        };
        lock(&self.keys).insert(key_id, key);
        Ok(())
    }

    /// Checks form, key, team and signature, but not the age.
    fn verify(&self, text: &[u8]) -> Option<ProviderToken> {
        if let Some(token) = lock(&self.verified).get(text) {
            return Some(*token);
        }
        let parsed = Parsed::from_text(text)?;
        if !self.explains(&parsed) {
            return None;
        }
        let token = ProviderToken {
            key_id: parsed.key_id,
            issued_at_ms: parsed.issued_at_ms,
        };
        let mut verified = lock(&self.verified);
        if verified.len() >= VERIFIED_TOKENS_MAX {
            verified.clear();
        }
        verified.insert(text.into(), token);
        Some(token)
    }

    /// Whether a known key made the signature; a new key id becomes known.
    fn explains(&self, parsed: &Parsed) -> bool {
        let mut keys = lock(&self.keys);
        if let Some(key) = keys.get_mut(&parsed.key_id) {
            let made_by = |candidate: &VerifyingKey| {
                candidate
                    .verify_prehash(&parsed.prehash, &parsed.signature)
                    .is_ok()
            };
            if key.team_id != parsed.team_id || !key.candidates.iter().any(made_by) {
                return false;
            }
            key.candidates.retain(made_by);
            return true;
        }
        let candidates: Vec<_> = (0..4)
            .filter_map(RecoveryId::from_byte)
            .filter_map(|id| {
                VerifyingKey::recover_from_prehash(&parsed.prehash, &parsed.signature, id).ok()
            })
            .collect();
        if candidates.is_empty() {
            return false;
        }
        if keys.len() >= TOKEN_KEYS_MAX {
            warn!(
                keys = keys.len(),
                "refused a new token key: the sandbox trusts no more"
            );
            return false;
        }
        let key = TokenKey {
            team_id: parsed.team_id,
            candidates,
        };
        keys.insert(parsed.key_id, key);
        true
    }
}

impl Parsed {
    fn from_text(text: &[u8]) -> Option<Self> {
        if text.len() > PROVIDER_TOKEN_MAX {
            return None;
        }
        let signed_len = text.iter().rposition(|&byte| byte == b'.')?;
        let signed = &text[..signed_len];
        let header_len = signed.iter().position(|&byte| byte == b'.')?;
        let header: Header = part(&signed[..header_len])?;
        let claims: Claims = part(&signed[header_len + 1..])?;
        if header.alg != "ES256" {
            return None;
        }
        let signature = decode(&text[signed_len + 1..])?;
        // JOSE wants the two numbers side by side (RFC 7518, section 3.4); APNs in practice takes DER as well.
        let signature = Signature::from_slice(&signature)
            .or_else(|_| Signature::from_der(&signature))
            .ok()?;
        Some(Self {
            key_id: apple_id(&header.kid)?,
            team_id: apple_id(&claims.iss)?,
            issued_at_ms: claims.iat.checked_mul(1000)?,
            prehash: digest(&SHA256, signed).as_ref().try_into().ok()?,
            signature,
        })
    }
}

/// What a connection without a client certificate has shown so far.
#[derive(Debug, Default)]
pub(crate) struct TokenAuth {
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    text: Box<[u8]>,
    token: ProviderToken,
    since_ms: i64,
}

impl TokenAuth {
    /// Judges the `authorization` header of one request. A token that was seen before costs a comparison.
    pub(crate) fn check(
        &mut self,
        keys: &TokenKeys,
        authorization: Option<&HeaderValue>,
        now_ms: i64,
    ) -> Result<(), Reason> {
        let header = authorization.ok_or(Reason::MissingProviderToken)?;
        let text = bearer(header.as_bytes()).ok_or(Reason::InvalidProviderToken)?;
        if let Some(current) = self
            .current
            .as_ref()
            .filter(|current| *current.text == *text)
        {
            return current.token.check_age(now_ms);
        }
        let token = keys.verify(text).ok_or(Reason::InvalidProviderToken)?;
        token.check_age(now_ms)?;
        if let Some(current) = &self.current {
            if current.token.key_id != token.key_id {
                return Err(Reason::UnrelatedKeyIdInToken);
            }
            if now_ms.saturating_sub(current.since_ms) < RENEWAL_MIN_MS {
                return Err(Reason::TooManyProviderTokenUpdates);
            }
        }
        self.current = Some(Current {
            text: text.into(),
            token,
            since_ms: now_ms,
        });
        Ok(())
    }
}

impl ProviderToken {
    fn check_age(&self, now_ms: i64) -> Result<(), Reason> {
        let age = now_ms.saturating_sub(self.issued_at_ms);
        if age > AGE_MAX_MS {
            Err(Reason::ExpiredProviderToken)
        } else if age < -AGE_MAX_MS {
            Err(Reason::InvalidProviderToken)
        } else {
            Ok(())
        }
    }
}

fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, text) = header.split_at_checked(b"bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| text.trim_ascii())
}

fn part<T: DeserializeOwned>(text: &[u8]) -> Option<T> {
    serde_json::from_slice(&decode(text)?).ok()
}

fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let standard: Vec<u8> = text
        .iter()
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        })
        .collect();
    BASE64.decode(standard).ok()
}

fn apple_id(text: &str) -> Option<AppleId> {
    let id: AppleId = text.as_bytes().try_into().ok()?;
    id.iter().all(u8::is_ascii_alphanumeric).then_some(id)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use p256::ecdsa::SigningKey;
    use p256::ecdsa::signature::Signer;

    use super::*;

    const MINUTE_MS: i64 = 60 * 1000;

    /// A provider token issued at a minute of the test's own time.
    fn header_value(minute: i64) -> HeaderValue {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","kid":"ABC123DEFG"}"#);
        let claims = format!(r#"{{"iss":"TEAM567890","iat":{}}}"#, minute * 60);
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let key = SigningKey::from_slice(&[7; 32]).unwrap();
        let signature: Signature = key.sign(signed.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(signature.to_bytes());
        HeaderValue::from_str(&format!("bearer {signed}.{signature}")).unwrap()
    }

    #[test]
    fn a_connection_takes_a_new_token_every_20_minutes_and_each_for_an_hour() {
        let keys = TokenKeys::default();
        let mut auth = TokenAuth::default();
        let (first, second) = (header_value(0), header_value(19));
        let mut check = |token: &HeaderValue, minute: i64, expected: Result<(), Reason>| {
            let checked = auth.check(&keys, Some(token), minute * MINUTE_MS);
            assert_eq!(checked, expected, "minute {minute}");
        };
        check(&first, 0, Ok(()));
        check(&second, 19, Err(Reason::TooManyProviderTokenUpdates));
        check(&first, 19, Ok(()));
        check(&second, 20, Ok(()));
        check(&first, 21, Err(Reason::TooManyProviderTokenUpdates));
        check(&second, 79, Ok(()));
        check(&second, 80, Err(Reason::ExpiredProviderToken));
        check(&first, 80, Err(Reason::ExpiredProviderToken));
    }
}
