//! What proves an app to Huawei.

use thiserror::Error;
use tidings_model::Secret;

/// Of *App ID* and *App secret* (or *Client ID* and *Client secret* of the OAuth 2.0 client), at most.
const LEN_MAX: usize = 256;

/// AppGallery Connect, *Project settings*, *General information*, *App information*.
#[derive(Clone, Debug)]
pub struct Credential {
    app_id: String,
    app_secret: Secret,
}

/// What cannot be a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CredentialError {
    /// Ids are numbers.
    #[error("app_id: expected the digits of the App ID in AppGallery Connect, at most 32")]
    AppId,
    /// Empty, too long, or not printable.
    #[error(
        "app_secret: expected the App secret of AppGallery Connect, 1 to 256 printable ASCII characters"
    )]
    AppSecret,
}

impl Credential {
    /// Checks the form, and nothing else.
    pub fn new(app_id: &str, app_secret: &str) -> Result<Self, CredentialError> {
        let is_id = (1..=32).contains(&app_id.len()) && app_id.bytes().all(|b| b.is_ascii_digit());
        if !is_id {
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

    /// Shows to whom it speaks that it is the app's.
    pub(super) fn app_secret(&self) -> &Secret {
        &self.app_secret
    }
}
