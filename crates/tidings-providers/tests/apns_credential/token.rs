//! Provider tokens in simulated time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use tidings_model::UnixMillis;
use tidings_providers::apns::{Credential, TokenSource};

use crate::fixture;

const START: UnixMillis = UnixMillis(1_800_000_000_999);

fn opened(key_id: &str) -> Arc<TokenSource> {
    let pem = fixture("AuthKey_ABC123DEFG.p8");
    let credential = Credential::from_p8(&pem, key_id, "TEAM123456").expect("a key");
    Arc::clone(credential.token_source().expect("a key"))
}

/// Of a key of its own: one key has one source.
fn source() -> Arc<TokenSource> {
    static KEYS: AtomicU32 = AtomicU32::new(0);
    opened(&format!("KEY{:07}", KEYS.fetch_add(1, Ordering::Relaxed)))
}

fn at(minutes: u64) -> UnixMillis {
    START.plus(Duration::from_secs(60 * minutes))
}

/// When the token that is current at `now` was made, in minutes after the start.
fn made(source: &TokenSource, now: UnixMillis) -> i64 {
    let value = source.bearer(now);
    let claims = parts(value.to_str().expect("ASCII")).1;
    (claims["iat"].as_i64().expect("seconds") - START.secs()) / 60
}

fn parts(bearer: &str) -> (Value, Value, Vec<u8>) {
    let token = bearer.strip_prefix("bearer ").expect("a bearer token");
    let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else {
        panic!("{token} has no three parts")
    };
    let decode = |part| {
        BASE64_URL_SAFE_NO_PAD
            .decode(part)
            .expect("URL-safe base64")
    };
    let json = |part| serde_json::from_slice(&decode(part)).expect("JSON");
    (json(header), json(claims), decode(signature))
}

#[test]
fn a_token_is_what_apple_asks_for_and_verifies() {
    let value = opened("ABC123DEFG").bearer(START);
    assert!(value.is_sensitive());
    let bearer = value.to_str().expect("ASCII");
    let (header, claims, signature) = parts(bearer);
    assert_eq!(header, json!({"alg": "ES256", "kid": "ABC123DEFG"}));
    assert_eq!(claims, json!({"iss": "TEAM123456", "iat": 1_800_000_000}));
    assert_eq!(signature.len(), 64, "r and s, not DER");

    let public = fixture("public.pem");
    let public = SubjectPublicKeyInfoDer::from_pem_slice(&public).expect("the public key");
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public);
    let (signed, _) = bearer["bearer ".len()..]
        .rsplit_once('.')
        .expect("three parts");
    public
        .verify(signed.as_bytes(), &signature)
        .expect("the key's own signature");
    let changed = signed.replace("ey", "ez");
    assert!(public.verify(changed.as_bytes(), &signature).is_err());
}

#[test]
fn a_token_lasts_45_minutes() {
    let source = source();
    let times = [0, 1, 44, 45, 46, 89, 90].map(|minutes| made(&source, at(minutes)));
    assert_eq!(times, [0, 0, 0, 45, 45, 45, 90]);
}

#[test]
fn an_expired_token_is_replaced_unless_it_is_young() {
    let source = source();
    source.rejected_expired(at(0));
    assert_eq!(made(&source, at(0)), 0, "nothing was current");
    source.rejected_expired(at(19));
    assert_eq!(
        made(&source, at(19)),
        0,
        "the clock is wrong, not the token"
    );
    source.rejected_expired(at(20));
    assert_eq!(made(&source, at(20)), 20);
    for _ in 0..1000 {
        source.rejected_expired(at(21));
    }
    assert_eq!(
        made(&source, at(21)),
        20,
        "a thousand streams are told, one token is made"
    );
}

#[test]
fn after_too_many_updates_the_token_stays_as_long_as_it_may() {
    let source = source();
    made(&source, at(0));
    source.too_many_updates(at(30));
    let times = [45, 49, 50].map(|minutes| made(&source, at(minutes)));
    assert_eq!(times, [0, 0, 50], "20 minutes");

    source.too_many_updates(at(50 + 44));
    let times = [50 + 57, 50 + 58].map(|minutes| made(&source, at(minutes)));
    assert_eq!(times, [50, 108], "not into its last two minutes");
}

#[test]
fn a_clock_that_steps_back_gets_a_token_of_its_own_time() {
    let source = source();
    assert_eq!(made(&source, at(60)), 60);
    assert_eq!(
        made(&source, at(16)),
        60,
        "Apple takes a token from the near future"
    );
    assert_eq!(made(&source, at(15)), 15);
}

#[test]
fn all_connections_share_one_token() {
    let source = source();
    let bearers: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| source.bearer(START)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a token"))
            .collect()
    });
    assert!(
        bearers.windows(2).all(|pair| pair[0] == pair[1]),
        "signatures differ when made twice"
    );
}

#[test]
fn a_key_that_is_opened_again_goes_on_with_its_token_while_that_is_in_use() {
    let first = opened("OPENEDTWCE");
    let again = opened("OPENEDTWCE");
    assert!(Arc::ptr_eq(&first, &again));
    assert!(!Arc::ptr_eq(&first, &opened("ANOTHERKEY")));
    let bearer = first.bearer(START);
    drop((first, again));
    assert_eq!(
        made(&opened("OPENEDTWCE"), at(1)),
        1,
        "nobody used the old one"
    );
    assert_ne!(opened("OPENEDTWCE").bearer(START), bearer);
}
