//! Credentials at rest: XChaCha20-Poly1305 under a 32-byte key that is not in the database.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::{hmac, rand};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use thiserror::Error;

const VERSION: u8 = 1;
const KEY_ID_LEN: usize = 4;
const NONCE_LEN: usize = 24;
const HEAD_LEN: usize = 1 + KEY_ID_LEN + NONCE_LEN;

#[derive(Debug, Error)]
pub enum SealError {
    #[error("the seal key must be 32 bytes, written as 64 hexadecimal characters")]
    KeyForm,
    #[error("it was sealed with another key than the present seal key")]
    OtherKey,
    #[error("it is damaged, or was moved here from another place")]
    Damaged,
}

/// The key under which credentials are sealed. Does not print.
pub struct SealKey {
    cipher: XChaCha20Poly1305,
    /// What other secrets are made from.
    derivation: hmac::Key,
    id: [u8; KEY_ID_LEN],
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey(***)")
    }
}

impl SealKey {
    /// A key from its text, 64 hexadecimal characters (blanks around it are ignored).
    pub fn parse(text: &str) -> Result<Self, SealError> {
        let text = text.trim();
        if text.len() != 64 || !text.is_ascii() {
            return Err(SealError::KeyForm);
        }
        let mut key = [0; 32];
        for (index, byte) in key.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16)
                .map_err(|_| SealError::KeyForm)?;
        }
        let mut id = [0; KEY_ID_LEN];
        id.copy_from_slice(&digest(&SHA256, &key).as_ref()[..KEY_ID_LEN]);
        // A key of its own, so that what is made from it says nothing of the cipher's.
        let root = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let derivation = hmac::sign(&root, b"tidings derived secrets");
        Ok(Self {
            derivation: hmac::Key::new(hmac::HMAC_SHA256, derivation.as_ref()),
            cipher: XChaCha20Poly1305::new(&key.into()),
            id,
        })
    }

    /// The text of a new random key.
    pub fn generate() -> String {
        let mut key = [0; 32];
        rand::fill(&mut key).expect("the system's random source works");
        key.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A secret that is always the same for one place: 128 bits, as 22 characters of base64 for URLs. It is not kept anywhere.
    pub(crate) fn derive(&self, place: &str) -> String {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let tag = hmac::sign(&self.derivation, place.as_bytes());
        let mut bits = tag.as_ref()[..16]
            .iter()
            .fold(0u128, |bits, byte| bits << 8 | u128::from(*byte));
        let mut text = String::with_capacity(22);
        for _ in 0..22 {
            text.push(char::from(ALPHABET[(bits & 63) as usize]));
            bits >>= 6;
        }
        text
    }

    /// Seals `plain` for one place: it opens only with the same `place`.
    pub(crate) fn seal(&self, place: &str, plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).expect("the system's random source works");
        let payload = Payload {
            msg: plain,
            aad: place.as_bytes(),
        };
        let sealed = self
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            .expect("a credential is far below the cipher's limit");
        [&[VERSION], self.id.as_slice(), &nonce, &sealed].concat()
    }

    pub(crate) fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (head, body) = sealed
            .split_at_checked(HEAD_LEN)
            .ok_or(SealError::Damaged)?;
        if head[0] != VERSION {
            return Err(SealError::Damaged);
        }
        if head[1..=KEY_ID_LEN] != self.id {
            return Err(SealError::OtherKey);
        }
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&head[1 + KEY_ID_LEN..]);
        let payload = Payload {
            msg: body,
            aad: place.as_bytes(),
        };
        self.cipher
            .decrypt(&XNonce::from(nonce), payload)
            .map_err(|_| SealError::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derived_secret_is_that_of_its_place_and_key() {
        let key = SealKey::parse(&"0a".repeat(32)).expect("a key");
        let again = SealKey::parse(&"0a".repeat(32)).expect("a key");
        let other = SealKey::parse(&"0b".repeat(32)).expect("a key");
        let secret = key.derive("app 1");
        assert_eq!((secret.len(), &secret), (22, &again.derive("app 1")));
        assert!(
            secret
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        );
        assert_ne!(secret, key.derive("app 2"));
        assert_ne!(secret, other.derive("app 1"));
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_and_with_its_key_only() {
        let key = SealKey::parse(&SealKey::generate()).expect("a key");
        let sealed = key.seal("app 1", b"secret");
        assert_eq!(key.open("app 1", &sealed).expect("opens"), b"secret");
        assert!(matches!(
            key.open("app 2", &sealed),
            Err(SealError::Damaged)
        ));
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        let other = SealKey::parse(&SealKey::generate()).expect("a key");
        assert!(matches!(
            other.open("app 1", &sealed),
            Err(SealError::OtherKey)
        ));
        assert!(matches!(
            key.open("app 1", &sealed[..20]),
            Err(SealError::Damaged)
        ));
    }

    #[test]
    fn a_key_has_64_hexadecimal_characters() {
        for text in ["", "abc", &"g".repeat(64), &"ü".repeat(32)] {
            assert!(
                matches!(SealKey::parse(text), Err(SealError::KeyForm)),
                "{text}"
            );
        }
    }
}
