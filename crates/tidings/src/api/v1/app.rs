//! Apps, as administrators manage them: `/v1/apps`.

use axum::Json;
use axum::extract::{Path, Query, State};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidings_model::AppId;
use tidings_store::{App, AppChange};

use super::{Done, required, rfc3339, short_text};
use crate::api::Api;
use crate::api::error::{ApiError, Fault, shown};
use crate::api::fields::Fields;
use crate::api::http::RawBody;
use crate::api::v3::strategy;
use crate::dispatch::Command;

/// Apps in one answer.
const PAGE_MAX: u32 = 1000;

/// Characters of an app's name.
const NAME_CHARS_MAX: usize = 100;

/// What an administrator says of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AppBody {
    pub(crate) name: String,
}

impl AppBody {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = Fields::parse(body)?;
        let name = short_text(&mut fields, "name", NAME_CHARS_MAX)?;
        let name = required(&fields, "name", name, "give the app a name")?;
        fields.finish_strictly()?;
        Ok(Self { name })
    }
}

/// What an administrator changes of an app.
#[derive(Clone, Debug, Default)]
pub(crate) struct PatchBody(AppChange);

impl PatchBody {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = Fields::parse(body)?;
        let has_fallback = fields.has("fallback_after");
        let name = short_text(&mut fields, "name", NAME_CHARS_MAX)?;
        let fallback_after = strategy::after(&mut fields, "fallback_after")?;
        let change = AppChange {
            // Null is the default again.
            fallback_after: has_fallback.then_some(fallback_after),
            name,
            strategy: strategy::preference(&mut fields)?,
        };
        if change.name.is_none() && change.strategy.is_none() && !has_fallback {
            let why = "name what is to change: name, strategy or fallback_after";
            return Err(ApiError::missing("name", why));
        }
        fields.finish_strictly()?;
        Ok(Self(change))
    }
}

/// An app as it is shown; its secret only when it is new.
#[derive(Debug, Serialize)]
pub(crate) struct AppReply {
    app_key: String,
    created_at: String,
    fallback_after: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    master_secret: Option<String>,
    name: String,
    strategy: Value,
}

impl From<App> for AppReply {
    fn from(app: App) -> Self {
        Self {
            app_key: app.key.to_string(),
            created_at: rfc3339(app.created_at),
            fallback_after: strategy::time_shown(
                app.fallback_after.unwrap_or(strategy::DEFAULT_MILLIS),
            ),
            master_secret: None,
            name: app.name,
            strategy: strategy::shown(&app.strategy),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct ListQuery {
    /// The last app of the page before.
    #[serde(default)]
    after: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct ListReply {
    apps: Vec<AppReply>,
    /// What to give as `after` for the next page; null at the end.
    next: Option<String>,
}

impl Api {
    /// The app that a path or a body names.
    pub(crate) async fn app(&self, key: &str) -> Result<App, ApiError> {
        let app = match key.parse() {
            Ok(key) => self.store.app(key).await?,
            Err(_) => None,
        };
        app.ok_or_else(|| {
            let text = format!("app_key {} is that of no app", shown(key));
            ApiError::new(Fault::AppUnknown, text).with_field("app_key")
        })
    }
}

pub(crate) async fn create(
    State(api): State<Api>,
    RawBody(body): RawBody,
) -> Result<(StatusCode, Json<AppReply>), ApiError> {
    let AppBody { name } = AppBody::parse(&body)?;
    let (app, secret) = api.store.create_app(name).await?;
    let reply = AppReply {
        master_secret: Some(secret.expose().to_owned()),
        ..app.into()
    };
    Ok((StatusCode::CREATED, Json(reply)))
}

pub(crate) async fn list(
    State(api): State<Api>,
    Query(query): Query<ListQuery>,
) -> Result<Json<ListReply>, ApiError> {
    let after = match query.after.as_str() {
        "" => AppId(0),
        key => api.app(key).await?.id,
    };
    let apps = api.store.apps(after, PAGE_MAX).await?;
    let is_full = apps.len() == PAGE_MAX as usize;
    let next = apps
        .last()
        .filter(|_| is_full)
        .map(|app| app.key.to_string());
    let apps = apps.into_iter().map(AppReply::from).collect();
    Ok(Json(ListReply { apps, next }))
}

pub(crate) async fn show(
    State(api): State<Api>,
    Path(key): Path<String>,
) -> Result<Json<AppReply>, ApiError> {
    Ok(Json(api.app(&key).await?.into()))
}

pub(crate) async fn change(
    State(api): State<Api>,
    Path(key): Path<String>,
    RawBody(body): RawBody,
) -> Result<Json<AppReply>, ApiError> {
    let PatchBody(change) = PatchBody::parse(&body)?;
    let app = api.app(&key).await?;
    // It may have been deleted since.
    let changed = api.store.change_app(app.id, change).await?;
    Ok(Json(changed.unwrap_or(app).into()))
}

/// The old secret is void at once.
pub(crate) async fn rotate_secret(
    State(api): State<Api>,
    Path(key): Path<String>,
) -> Result<Json<AppReply>, ApiError> {
    let app = api.app(&key).await?;
    let secret = api.store.rotate_master_secret(app.id).await?;
    let master_secret = secret.map(|secret| secret.expose().to_owned());
    Ok(Json(AppReply {
        master_secret,
        ..app.into()
    }))
}

/// Forgets the app with its devices, messages and credentials.
pub(crate) async fn forget(
    State(api): State<Api>,
    Path(key): Path<String>,
) -> Result<Done, ApiError> {
    let app = api.app(&key).await?.id;
    api.store.delete_app(app).await?;
    api.tell(Command::AppForgotten(app)).await;
    Ok(Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_has_a_name() {
        let long = format!(r#"{{"name":"{}"}}"#, "é".repeat(101));
        let cases = [
            (r#"{"name":"Shop 商店"}"#, Ok("Shop 商店")),
            (r#"{}"#, Err("name is missing: give the app a name")),
            (
                r#"{"name":""}"#,
                Err("name is missing: give the app a name"),
            ),
            (r#"{"name":7}"#, Err("name must be a string, not 7")),
            (
                r#"{"name":" x"}"#,
                Err("name may not hold control characters, or blanks at its ends: \" x\""),
            ),
            (&long, Err("name may have at most 100 characters, not 101")),
            (
                r#"{"name":"x","colour":1}"#,
                Err("colour is not a known key: known are name"),
            ),
            ("[]", Err("The body must be a JSON object, not an array.")),
        ];
        for (body, expected) in cases {
            let parsed = AppBody::parse(body.as_bytes());
            let parsed = parsed.as_ref().map(|app| app.name.as_str());
            assert_eq!(parsed.map_err(ApiError::message), expected, "{body}");
        }
    }
}
