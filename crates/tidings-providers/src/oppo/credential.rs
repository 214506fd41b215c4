//! What proves an app to OPPO.

use aws_lc_rs::digest::{SHA256, digest};
use thiserror::Error;
use tidings_model::{Secret, UnixMillis};

/// Characters of *AppKey* and *MasterSecret*, at most.
const LEN_MAX: usize = 256;

/// OPPO's open platform, *Push*, the app, *App configuration*.
#[derive(Clone, Debug)]
pub struct Credential {
    app_key: String,
    master_secret: Secret,
}

/// What cannot be a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CredentialError {
    /// Empty, too long, or not printable.
    #[error("{0}: expected 1 to 256 printable ASCII characters")]
    Text(&'static str),
}

impl Credential {
    /// Checks the form, and nothing else.
    pub fn new(app_key: &str, master_secret: &str) -> Result<Self, CredentialError> {
        let is_text = |text: &str| {
            (1..=LEN_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
        };
        for (field, text) in [("app_key", app_key), ("master_secret", master_secret)] {
            if !is_text(text) {
                return Err(CredentialError::Text(field));
            }
        }
        Ok(Self {
            app_key: app_key.to_owned(),
            master_secret: Secret::new(master_secret),
        })
    }

    /// The form that asks for an access token at `now`.
    pub(super) fn token_request(&self, now: UnixMillis) -> String {
        let timestamp = now.0.to_string();
        let signed = format!("{}{timestamp}{}", self.app_key, self.master_secret.expose());
        let sign: String = (digest(&SHA256, signed.as_bytes()).as_ref().iter())
            .map(|byte| format!("{byte:02x}"))
            .collect();
        form_urlencoded::Serializer::new(String::new())
            .append_pair("app_key", &self.app_key)
            .append_pair("sign", &sign)
            .append_pair("timestamp", &timestamp)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_of_its_form() {
        assert!(Credential::new("key", "secret").is_ok());
        let error = Credential::new("", "secret").err();
        assert_eq!(error, Some(CredentialError::Text("app_key")));
        let error = Credential::new("key", "a b").err();
        assert_eq!(error, Some(CredentialError::Text("master_secret")));
    }

    /// As `printf %s key1526366926568secret | sha256sum` says.
    #[test]
    fn a_request_is_signed_as_oppo_says() {
        let credential = Credential::new("key", "secret").expect("a credential");
        let form = credential.token_request(UnixMillis(1_526_366_926_568));
        assert_eq!(
            form,
            "app_key=key&sign=76fa6a83a609f69da6f7ac83b1d38260b5a79dadda32e5cf53189e52892e21b1&timestamp=1526366926568"
        );
    }
}
