//! Provider tokens: the signed word by which a key speaks for its team.
//!
//! Source: Apple, [Establishing a token-based connection to APNs](https://developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns);
//! form: RFC 7515 (JWS), RFC 7518 section 3.4 (ES256).

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::HeaderValue;
use serde_json::json;
use tidings_model::UnixMillis;
use tokio::time::Instant;

/// A token of this age, 45 minutes, is replaced. Apple refuses one of an hour, and one that replaces another within 20
/// minutes.
/// Apple: [Establishing a token-based connection to APNs](https://developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns).
pub const RENEWAL_AGE: Duration = Duration::from_secs(45 * 60);
/// A token younger than this, 20 minutes, is not replaced for being refused: a new one would be refused as an update
/// too many.
/// Apple: [Establishing a token-based connection to APNs](https://developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns).
pub const AGE_MIN: Duration = Duration::from_secs(20 * 60);
/// A token of this age, 58 minutes, is replaced even though Apple has complained of too many.
/// Apple: [Establishing a token-based connection to APNs](https://developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns).
pub const AGE_MAX: Duration = Duration::from_secs(58 * 60);

/// For so long, an acceptance shows that a token is good.
const LATELY: Duration = Duration::from_secs(60);

/// Signs provider tokens: a P-256 key, its id, and the team that it belongs to.
pub(super) struct ProviderKey {
    key: EcdsaKeyPair,
    key_id: String,
    random: SystemRandom,
    team_id: String,
}

impl ProviderKey {
    /// `pkcs8` is the DER of the key; none when it is not a P-256 key.
    pub(super) fn new(pkcs8: &[u8], key_id: String, team_id: String) -> Option<Self> {
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).ok()?;
        Some(Self {
            key,
            key_id,
            random: SystemRandom::new(),
            team_id,
        })
    }

    fn identity(&self) -> Identity {
        Identity {
            key_id: self.key_id.clone(),
            public_key: self.key.public_key().as_ref().into(),
            team_id: self.team_id.clone(),
        }
    }

    /// The value of `authorization` from `now` on. About 12 µs.
    fn sign(&self, now: UnixMillis) -> HeaderValue {
        let header = json!({"alg": "ES256", "kid": self.key_id}).to_string();
        let claims = json!({"iss": self.team_id, "iat": now.secs()}).to_string();
        let mut token = String::from("bearer ");
        let start = token.len();
        BASE64_URL_SAFE_NO_PAD.encode_string(header, &mut token);
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self
            .key
            .sign(&self.random, &token.as_bytes()[start..])
            .expect("a key that was accepted signs");
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        let mut value = HeaderValue::try_from(token).expect("base64 and dots fit into a header");
        value.set_sensitive(true);
        value
    }
}

impl fmt::Debug for ProviderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderKey")
            .field("key_id", &self.key_id)
            .field("team_id", &self.team_id)
            .finish_non_exhaustive()
    }
}

/// What makes two keys the same one to Apple.
#[derive(PartialEq, Eq, Hash)]
struct Identity {
    key_id: String,
    public_key: Box<[u8]>,
    team_id: String,
}

/// The sources that are in use: a key that is opened again, for another app, environment or check, signs with the token
/// that is there.
static SOURCES: LazyLock<Mutex<HashMap<Identity, Weak<TokenSource>>>> =
    LazyLock::new(Mutex::default);

/// The one current token of a key, shared by all of this process that use it
/// ([`Credential::token_source`](super::Credential::token_source)). Apple counts how often a token changes, so nobody
/// else may sign: two processes with one key are two sources, which Apple takes as long as they do not share a
/// connection. Signing happens under the lock, so there is never more than one new token at a time.
/// Apple: [Establishing a token-based connection to APNs](https://developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns).
#[derive(Debug)]
pub struct TokenSource {
    current: Mutex<Option<Current>>,
    key: ProviderKey,
}

struct Current {
    /// When APNs last accepted something with it.
    accepted_at: Option<Instant>,
    /// Not to be replaced before this, unless it gets too old.
    kept_until: Option<UnixMillis>,
    made_at: UnixMillis,
    value: HeaderValue,
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current")
            .field("made_at", &self.made_at)
            .finish_non_exhaustive()
    }
}

impl Current {
    /// Its age; a clock that stepped back counts the same way, since Apple refuses a token of the future too.
    fn age(&self, now: UnixMillis) -> Duration {
        now.since(self.made_at).max(self.made_at.since(now))
    }

    fn is_due(&self, now: UnixMillis) -> bool {
        let age = self.age(now);
        age >= AGE_MAX || (age >= RENEWAL_AGE && self.kept_until.is_none_or(|until| now >= until))
    }
}

impl TokenSource {
    /// The source of a key: the one that is in use, or a new one.
    pub(super) fn of(key: ProviderKey) -> Arc<Self> {
        let mut sources = SOURCES.lock().unwrap_or_else(PoisonError::into_inner);
        let place = sources.entry(key.identity()).or_default();
        place.upgrade().unwrap_or_else(|| {
            let current = Mutex::new(None);
            let source = Arc::new(Self { current, key });
            *place = Arc::downgrade(&source);
            source
        })
    }

    /// The value of the `authorization` header at `now`, `bearer` and a JWT (ES256, with `kid`, `iss` and `iat`): the
    /// same for 45 minutes, marked as sensitive. A clock that was set back by more than that makes a new one, too.
    /// Apple: [Establishing a token-based connection to APNs](https://developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns).
    pub fn bearer(&self, now: UnixMillis) -> HeaderValue {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match &*current {
            Some(token) if !token.is_due(now) => token.value.clone(),
            _ => current.insert(self.mint(now)).value.clone(),
        }
    }

    /// APNs answered `ExpiredProviderToken`. The next [`bearer`](Self::bearer) is a new one, if the current one is at
    /// least 20 minutes old; a younger one was refused because a clock is wrong, and another would fare no better.
    /// Apple: [Handling notification responses from APNs](https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns).
    pub fn rejected_expired(&self, now: UnixMillis) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current
            .as_ref()
            .is_some_and(|token| token.age(now) >= AGE_MIN)
        {
            *current = Some(self.mint(now));
        }
    }

    /// APNs answered `TooManyProviderTokenUpdates`: the current token stays for another 20 minutes, as far as its age
    /// allows (58 minutes).
    /// Apple: [Handling notification responses from APNs](https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns).
    pub fn too_many_updates(&self, now: UnixMillis) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = &mut *current {
            token.kept_until = Some(now.plus(AGE_MIN));
        }
    }

    /// APNs accepted something with the current token.
    pub(super) fn accepted(&self, now: Instant) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = &mut *current {
            token.accepted_at = Some(now);
        }
    }

    /// Whether the current token has been accepted lately, on any connection: then it is not expired, whatever else is said.
    pub(super) fn was_accepted_lately(&self, now: Instant) -> bool {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let accepted_at = current.as_ref().and_then(|token| token.accepted_at);
        accepted_at.is_some_and(|at| now.saturating_duration_since(at) < LATELY)
    }

    fn mint(&self, now: UnixMillis) -> Current {
        Current {
            accepted_at: None,
            kept_until: None,
            made_at: now,
            value: self.key.sign(now),
        }
    }
}

impl Drop for TokenSource {
    fn drop(&mut self) {
        let mut sources = SOURCES.lock().unwrap_or_else(PoisonError::into_inner);
        let identity = self.key.identity();
        // Another may have taken its place since nobody held this one.
        if sources
            .get(&identity)
            .is_some_and(|source| source.strong_count() == 0)
        {
            sources.remove(&identity);
        }
    }
}
