//! What proves an app to Xiaomi.

use thiserror::Error;
use tidings_model::Secret;

/// Of an `AppSecret`, at most.
const SECRET_LEN_MAX: usize = 256;
/// Of a package's name, at most.
const PACKAGE_LEN_MAX: usize = 255;

/// Xiaomi's developer console, the app's page.
#[derive(Clone, Debug)]
pub struct Credential {
    app_secret: Secret,
    package_name: String,
}

/// What cannot be a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CredentialError {
    /// Empty, too long, or not printable.
    #[error("app_secret: expected the AppSecret, 1 to 256 printable ASCII characters")]
    AppSecret,
    /// Not the name of a package.
    #[error(
        "package_name: expected the package's name, such as com.example.app: letters, digits, _ and at least one point"
    )]
    PackageName,
}

impl Credential {
    /// Checks the form, and nothing else.
    pub fn new(package_name: &str, app_secret: &str) -> Result<Self, CredentialError> {
        let is_name = |part: &str| {
            let mut bytes = part.bytes();
            bytes.next().is_some_and(|b| b.is_ascii_alphabetic())
                && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        let is_package = package_name.len() <= PACKAGE_LEN_MAX
            && package_name.contains('.')
            && package_name.split('.').all(is_name);
        if !is_package {
            return Err(CredentialError::PackageName);
        }
        let is_secret = (1..=SECRET_LEN_MAX).contains(&app_secret.len())
            && app_secret.bytes().all(|b| b.is_ascii_graphic());
        if !is_secret {
            return Err(CredentialError::AppSecret);
        }
        Ok(Self {
            app_secret: Secret::new(app_secret),
            package_name: package_name.to_owned(),
        })
    }

    /// The app it is for.
    pub fn package_name(&self) -> &str {
        &self.package_name
    }

    pub(super) fn app_secret(&self) -> &Secret {
        &self.app_secret
    }
}
