//! What proves an app to vivo.

use md5::{Digest, Md5};
use thiserror::Error;
use tidings_model::{Secret, UnixMillis};

/// Characters of *AppKey* and *AppSecret*, at most.
const LEN_MAX: usize = 256;

/// vivo's developer platform, *Push*, the app, *App information*.
#[derive(Clone, Debug)]
pub struct Credential {
    app_id: u64,
    app_key: Secret,
    app_secret: Secret,
}

/// What cannot be a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CredentialError {
    /// Ids are numbers.
    #[error("app_id: expected the digits of the AppID, at most 18")]
    AppId,
    /// Empty, too long, or not printable.
    #[error("{0}: expected 1 to 256 printable ASCII characters")]
    Text(&'static str),
}

impl Credential {
    /// Checks the form, and nothing else.
    pub fn new(app_id: &str, app_key: &str, app_secret: &str) -> Result<Self, CredentialError> {
        let is_id = (1..=18).contains(&app_id.len()) && app_id.bytes().all(|b| b.is_ascii_digit());
        let app_id = app_id.parse().ok().filter(|_| is_id);
        let text = |field, text: &str| {
            let is_text =
                (1..=LEN_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
            match is_text {
                true => Ok(Secret::new(text)),
                false => Err(CredentialError::Text(field)),
            }
        };
        Ok(Self {
            app_id: app_id.ok_or(CredentialError::AppId)?,
            app_key: text("app_key", app_key)?,
            app_secret: text("app_secret", app_secret)?,
        })
    }

    /// The app it is for.
    pub fn app_id(&self) -> u64 {
        self.app_id
    }

    /// The body that asks for an access token at `now`.
    pub(super) fn token_request(&self, now: UnixMillis) -> Vec<u8> {
        let (app_id, app_key) = (self.app_id, self.app_key.expose());
        let timestamp = now.0;
        let signed = format!("{app_id}{app_key}{timestamp}{}", self.app_secret.expose());
        let sign: String = (Md5::digest(signed.as_bytes()).iter())
            .map(|byte| format!("{byte:02x}"))
            .collect();
        serde_json::json!({
            "appId": app_id,
            "appKey": app_key,
            "timestamp": timestamp,
            "sign": sign,
        })
        .to_string()
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_of_its_form() {
        assert!(Credential::new("100001", "key", "secret").is_ok());
        for app_id in ["", "x1", "+1", "1234567890123456789"] {
            let error = Credential::new(app_id, "key", "secret").err();
            assert_eq!(error, Some(CredentialError::AppId), "{app_id}");
        }
        let error = Credential::new("1", "", "secret").err();
        assert_eq!(error, Some(CredentialError::Text("app_key")));
        let error = Credential::new("1", "key", "a b").err();
        assert_eq!(error, Some(CredentialError::Text("app_secret")));
    }

    /// As `printf %s 10004389b1526366926568secret | md5sum` says.
    #[test]
    fn a_request_is_signed_as_vivo_says() {
        let credential = Credential::new("10004", "389b", "secret").expect("a credential");
        let request = credential.token_request(UnixMillis(1_526_366_926_568));
        let body: serde_json::Value = serde_json::from_slice(&request).expect("JSON");
        assert_eq!(body["timestamp"], 1_526_366_926_568_i64);
        assert_eq!(body["sign"], "d27a740505f21bac226838246ff310dc");
    }
}
