//! What proves an app to Honor.

use thiserror::Error;
use tidings_model::Secret;

/// Of a client's id and secret, at most.
const LEN_MAX: usize = 256;

/// Honor's developer console, the app's page: an id of the app, and another of the client that speaks for it.
#[derive(Clone, Debug)]
pub struct Credential {
    app_id: String,
    client_id: String,
    client_secret: Secret,
}

/// What cannot be a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CredentialError {
    /// Ids of apps are numbers.
    #[error(
        "app_id: expected the digits of the APP ID, at most 32; the Client ID and the APP Secret are others"
    )]
    AppId,
    /// Empty, too long, or not printable.
    #[error("client_id: expected the Client ID, 1 to 256 printable ASCII characters")]
    ClientId,
    /// Empty, too long, or not printable.
    #[error("client_secret: expected the Client Secret, 1 to 256 printable ASCII characters")]
    ClientSecret,
}

impl Credential {
    /// Checks the form, and nothing else.
    pub fn new(
        app_id: &str,
        client_id: &str,
        client_secret: &str,
    ) -> Result<Self, CredentialError> {
        if !(1..=32).contains(&app_id.len()) || !app_id.bytes().all(|b| b.is_ascii_digit()) {
            return Err(CredentialError::AppId);
        }
        let is_text = |text: &str| {
            (1..=LEN_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
        };
        if !is_text(client_id) {
            return Err(CredentialError::ClientId);
        }
        if !is_text(client_secret) {
            return Err(CredentialError::ClientSecret);
        }
        Ok(Self {
            app_id: app_id.to_owned(),
            client_id: client_id.to_owned(),
            client_secret: Secret::new(client_secret),
        })
    }

    /// The app it is for.
    pub fn app_id(&self) -> &str {
        &self.app_id
    }

    pub(super) fn client_id(&self) -> &str {
        &self.client_id
    }

    pub(super) fn client_secret(&self) -> &Secret {
        &self.client_secret
    }
}
