//! Who calls: the `Authorization` header, and the extractors by which a handler says whom it serves.

use axum::extract::{FromRequestParts, RawPathParams};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use tidings_model::{AppId, AppKey, Secret};
use tidings_store::{App, Device};

use super::Api;
use super::error::{ApiError, Fault};

/// Bytes of a header's value that are looked at; ours take less than a hundred.
const HEADER_BYTES_MAX: usize = 512;

/// A back end's credentials (RFC 7617): the user is the app key, the password the master secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AppCredentials {
    pub(crate) app_key: AppKey,
    pub(crate) master_secret: Secret,
}

impl AppCredentials {
    /// Refuses what cannot be an app's credentials with the same text as credentials that are wrong.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Result<Self, ApiError> {
        let encoded = credentials(headers, "Basic", "Basic app_key:master_secret")?;
        let decoded = STANDARD.decode(encoded).map_err(|_| wrong_app())?;
        let decoded = String::from_utf8(decoded).map_err(|_| wrong_app())?;
        let (app_key, master_secret) = decoded.split_once(':').ok_or_else(wrong_app)?;
        if app_key.starts_with("group-") {
            return Err(ApiError::new(
                Fault::WrongCredentials,
                "Authen failed: group credentials are not supported yet, use those of one app.",
            ));
        }
        Ok(Self {
            app_key: app_key.parse().map_err(|_| wrong_app())?,
            master_secret: Secret::new(master_secret),
        })
    }
}

impl Api {
    /// The app whose back end calls.
    pub(crate) async fn authenticate(&self, headers: &HeaderMap) -> Result<App, ApiError> {
        let credentials = AppCredentials::from_headers(headers)?;
        let app = self.store.app(credentials.app_key).await?;
        app.filter(|app| {
            app.master_secret
                .matches(credentials.master_secret.expose())
        })
        .ok_or_else(wrong_app)
    }
}

/// An administrator.
pub(crate) struct Admin;

impl FromRequestParts<Api> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let token = bearer(&parts.headers)?;
        match api.admin.matches(token.expose()) {
            true => Ok(Self),
            false => Err(wrong_token()),
        }
    }
}

/// The device that the path names, proven by its secret. One that is unknown is refused as a wrong secret is.
pub(crate) struct AuthedDevice {
    pub(crate) app: AppId,
    pub(crate) device: Device,
}

impl FromRequestParts<Api> for AuthedDevice {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let secret = bearer(&parts.headers)?;
        let id = id_in_path(parts, api).await.and_then(|id| id.parse().ok());
        let id = id.ok_or_else(wrong_token)?;
        let known = api.store.device_secret(id).await?;
        let known = known.filter(|(_, its)| its.matches(secret.expose()));
        let (app, _) = known.ok_or_else(wrong_token)?;
        // Only now what it is: that may be some thousand rows.
        let device = api.store.device(app, id).await?;
        let device = device.ok_or_else(wrong_token)?;
        Ok(Self { app, device })
    }
}

/// The device that the path names, for the device itself, its app's back end, or an administrator.
pub(crate) struct ManagedDevice {
    pub(crate) app: AppId,
    pub(crate) device: Device,
}

impl FromRequestParts<Api> for ManagedDevice {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let caller = match Caller::from_request_parts(parts, api).await {
            Ok(caller) => caller,
            Err(_) if is_bearer(&parts.headers) => {
                let AuthedDevice { app, device } =
                    AuthedDevice::from_request_parts(parts, api).await?;
                return Ok(Self { app, device });
            }
            Err(error) => return Err(error),
        };
        let id = id_in_path(parts, api).await.unwrap_or_default();
        let (app, device) = api.device(&caller, &id).await?;
        Ok(Self { app, device })
    }
}

/// The `registration_id` of the path.
async fn id_in_path(parts: &mut Parts, api: &Api) -> Option<String> {
    let params = RawPathParams::from_request_parts(parts, api).await.ok()?;
    let mut params = params.iter();
    let (_, id) = params.find(|(name, _)| *name == "registration_id")?;
    Some(id.to_owned())
}

/// A back end or an administrator.
pub(crate) enum Caller {
    Admin,
    App(App),
}

impl Caller {
    /// Whether it may see what belongs to `app`.
    pub(crate) fn may_see(&self, app: AppId) -> bool {
        match self {
            Self::Admin => true,
            Self::App(own) => own.id == app,
        }
    }
}

impl FromRequestParts<Api> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        if is_bearer(&parts.headers) {
            Admin::from_request_parts(parts, api).await?;
            return Ok(Self::Admin);
        }
        api.authenticate(&parts.headers).await.map(Self::App)
    }
}

/// Whether the caller brings a token, rather than an app's credentials.
fn is_bearer(headers: &HeaderMap) -> bool {
    let scheme = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.as_bytes().get(..6));
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer"))
}

/// The refusal of an app's credentials: the same whether the app is unknown or its secret wrong.
pub(crate) fn wrong_app() -> ApiError {
    ApiError::new(
        Fault::WrongCredentials,
        "Authen failed: no app has this app_key and master_secret.",
    )
}

/// The secret of an administrator or a device (RFC 6750 section 2.1).
pub(crate) fn bearer(headers: &HeaderMap) -> Result<Secret, ApiError> {
    let token = credentials(headers, "Bearer", "Bearer and the token")?;
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong_token());
    }
    Ok(Secret::new(token))
}

/// The refusal of a bearer token.
pub(crate) fn wrong_token() -> ApiError {
    ApiError::new(
        Fault::WrongCredentials,
        "The bearer token is not the right one.",
    )
}

/// What follows the scheme in the one `Authorization` header. Schemes are told apart without regard to case.
fn credentials<'a>(
    headers: &'a HeaderMap,
    scheme: &str,
    wanted: &str,
) -> Result<&'a str, ApiError> {
    let refused = |fault, what| {
        let message = format!("Authen failed: the Authorization header {what}; send {wanted}.");
        ApiError::new(fault, message)
    };
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Err(refused(Fault::Unauthenticated, "is missing"));
    };
    if values.next().is_some() {
        return Err(refused(Fault::WrongCredentials, "is there twice"));
    }
    if value.len() > HEADER_BYTES_MAX {
        return Err(refused(Fault::WrongCredentials, "is too long"));
    }
    let text = value
        .to_str()
        .map_err(|_| refused(Fault::WrongCredentials, "is not ASCII"))?;
    match text.trim().split_once(' ') {
        Some((found, rest)) if found.eq_ignore_ascii_case(scheme) => Ok(rest.trim()),
        _ if text.trim().is_empty() => Err(refused(Fault::Unauthenticated, "is empty")),
        _ => Err(refused(Fault::WrongCredentials, "has another scheme")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const KEY: &str = "0123456789abcdef01234567";

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_str(value).expect("a header's value");
            headers.append(AUTHORIZATION, value);
        }
        headers
    }

    #[test]
    fn basic_credentials_are_read() {
        let basic = |text: &str| STANDARD.encode(text);
        let good = basic(&format!("{KEY}:s3:cret"));
        let cases = [
            (vec![format!("Basic {good}")], None),
            (vec![format!("basic  {good} ")], None),
            (vec![], Some(Fault::Unauthenticated)),
            (vec![" ".to_owned()], Some(Fault::Unauthenticated)),
            (vec![good.clone()], Some(Fault::WrongCredentials)),
            (
                vec![format!("Bearer {good}")],
                Some(Fault::WrongCredentials),
            ),
            (vec!["Basic".to_owned()], Some(Fault::WrongCredentials)),
            (vec!["Basic %%%".to_owned()], Some(Fault::WrongCredentials)),
            (
                vec![format!("Basic {}", basic(KEY))],
                Some(Fault::WrongCredentials),
            ),
            (
                vec![format!("Basic {}", basic("x:y"))],
                Some(Fault::WrongCredentials),
            ),
            (
                vec![format!("Basic {}", basic(&format!("group-{KEY}:y")))],
                Some(Fault::WrongCredentials),
            ),
            (
                vec![format!("Basic {good}"), format!("Basic {good}")],
                Some(Fault::WrongCredentials),
            ),
            (
                vec![format!("Basic {}", "A".repeat(10_000))],
                Some(Fault::WrongCredentials),
            ),
        ];
        for (values, refused) in cases {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let read = AppCredentials::from_headers(&headers(&values));
            match (read, refused) {
                (Ok(app), None) => {
                    assert_eq!(app.app_key.to_string(), KEY);
                    assert_eq!(app.master_secret.expose(), "s3:cret");
                    assert!(!format!("{app:?}").contains("s3"));
                }
                (Err(error), Some(fault)) => assert_eq!(error.fault(), fault, "{values:?}"),
                (read, _) => panic!("{values:?} gave {read:?}"),
            }
        }
    }

    #[test]
    fn bearer_tokens_are_read() {
        let cases = [
            ("Bearer abc", Ok("abc")),
            ("bearer abc", Ok("abc")),
            ("Bearer  abc", Ok("abc")),
            ("Bearer a b", Err(Fault::WrongCredentials)),
            ("Bearer ", Err(Fault::WrongCredentials)),
            ("Basic abc", Err(Fault::WrongCredentials)),
            ("", Err(Fault::Unauthenticated)),
        ];
        for (value, expected) in cases {
            let read = bearer(&headers(&[value]));
            let read = read.as_ref().map(Secret::expose).map_err(ApiError::fault);
            assert_eq!(read, expected, "{value}");
        }
    }
}
