//! Secrets that do not print, and the hashes by which they are checked.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

/// A text that must not be seen: prints as `***`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that has to write it out.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is kept of this secret in order to recognise it.
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(self.0.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// SHA-256 of a secret that Tidings itself made at random (96 bits or more, so no slow hash is called for).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    fn of(secret: &[u8]) -> Self {
        let digest = digest::digest(&digest::SHA256, secret);
        let mut hash = [0; 32];
        hash.copy_from_slice(digest.as_ref());
        Self(hash)
    }

    pub fn from_bytes(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether `candidate` is the secret; takes the same time whatever the answer.
    pub fn matches(&self, candidate: &str) -> bool {
        verify_slices_are_equal(&self.0, &Self::of(candidate.as_bytes()).0).is_ok()
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print_and_is_recognised() {
        let secret = Secret::new("s3cret");
        assert_eq!(format!("{secret:?} {:?}", secret.hash()), "*** ***");
        assert!(secret.hash().matches("s3cret"));
        assert!(!secret.hash().matches("s3creT"));
    }
}
