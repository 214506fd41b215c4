//! What proves an app to Meizu.

use std::fmt::Write as _;

use md5::{Digest, Md5};
use thiserror::Error;
use tidings_model::Secret;

/// Of an `AppSecret`, at most.
const LEN_MAX: usize = 256;

/// Meizu's push console, the app's page.
#[derive(Clone, Debug)]
pub struct Credential {
    app_id: String,
    app_secret: Secret,
}

/// What cannot be a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CredentialError {
    /// Ids are numbers.
    #[error("app_id: expected the digits of the App ID, at most 32")]
    AppId,
    /// Empty, too long, or not printable.
    #[error("app_secret: expected the App Secret, 1 to 256 printable ASCII characters")]
    AppSecret,
}

impl Credential {
    /// Checks the form, and nothing else.
    pub fn new(app_id: &str, app_secret: &str) -> Result<Self, CredentialError> {
        if !(1..=32).contains(&app_id.len()) || !app_id.bytes().all(|b| b.is_ascii_digit()) {
            return Err(CredentialError::AppId);
        }
        let is_secret = (1..=LEN_MAX).contains(&app_secret.len())
            && app_secret.bytes().all(|b| b.is_ascii_graphic());
        if !is_secret {
            return Err(CredentialError::AppSecret);
        }
        Ok(Self {
            app_id: app_id.to_owned(),
            app_secret: Secret::new(app_secret),
        })
    }

    /// The app it is for.
    pub fn app_id(&self) -> &str {
        &self.app_id
    }

    /// Signs parameters, which are in the order of their names: `name=value` of each without anything between, then the
    /// secret; MD5, in lower case.
    pub(super) fn sign(&self, parameters: &[(&str, &str)]) -> String {
        debug_assert!(parameters.is_sorted());
        let mut digest = Md5::new();
        for (name, value) in parameters {
            digest.update(name);
            digest.update("=");
            digest.update(value);
        }
        digest.update(self.app_secret.expose());
        let digest = digest.finalize();
        digest.iter().fold(String::new(), |mut hex, byte| {
            _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_the_parameters_in_order_and_the_secret() {
        let credential = Credential::new("100", "secret").expect("a credential");
        // printf 'appId=100messageJson={}pushIds=a,bsecret' | md5sum
        let parameters = [("appId", "100"), ("messageJson", "{}"), ("pushIds", "a,b")];
        assert_eq!(
            credential.sign(&parameters),
            "72c851b6f81577eb0464718d1a621c17"
        );
    }
}
