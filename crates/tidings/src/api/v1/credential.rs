//! Credentials of an app: `/v1/apps/{app_key}/credentials`. They go in and are never shown again.

pub(crate) mod check;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidings_model::{AppId, Environment, Provider, UnixMillis};
use tidings_store::{CredentialRecord, CredentialSlot};
use tokio::task::spawn_blocking;

use super::{Done, rfc3339};
use crate::api::Api;
use crate::api::error::{ApiError, Fault, shown};
use crate::api::fields::Fields;
use crate::api::http::RawBody;
use crate::credentials::{Health, days_left, expires_at, spent};
use crate::dispatch::Command;
use crate::providers::{self, Adapter};

#[derive(Debug, Serialize)]
pub(crate) struct ListReply {
    credentials: Vec<Value>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct EnvironmentQuery {
    #[serde(default)]
    environment: String,
}

impl EnvironmentQuery {
    /// The one of the provider's worlds that is named, or all.
    fn worlds(&self, provider: Provider) -> Result<Vec<Option<Environment>>, ApiError> {
        match self.environment.as_str() {
            "" => Ok(provider.worlds().collect()),
            name if provider.nature().environments.is_empty() => {
                let why = format!("{} is none of {provider}: it has only one", shown(name));
                Err(ApiError::invalid("environment", why))
            }
            name => match name.parse() {
                Ok(environment) => Ok(vec![Some(environment)]),
                Err(error) => {
                    let why = format!("{}: {error}", shown(name));
                    Err(ApiError::invalid("environment", why))
                }
            },
        }
    }
}

/// Sets a credential that is good now, for what is wanted of it; a signing key without an environment is set for both.
pub(crate) async fn set(
    State(api): State<Api>,
    Path((key, provider)): Path<(String, String)>,
    RawBody(body): RawBody,
) -> Result<Json<Value>, ApiError> {
    let app = api.app(&key).await?.id;
    let (provider, adapter) = provider_of(&provider)?;
    let fields = Fields::parse(&body)?;
    let upload = spawn_blocking(move || adapter.credential(fields)).await;
    let upload = upload.map_err(|panic| ApiError::internal(panic.into()))??;
    let mut reply = Value::Null;
    for (environment, shown) in upload.slots {
        let slot = CredentialSlot {
            app,
            environment,
            provider,
        };
        api.store
            .put_credential(slot, &shown, &upload.plain)
            .await?;
        reply = record(provider, upload.world, &shown);
    }
    api.tell(Command::CredentialChanged(app, provider)).await;
    Ok(Json(reply))
}

/// The summary of a credential with its place; an environment of null means both.
fn record(provider: Provider, environment: Option<Environment>, summary: &Value) -> Value {
    let mut record = summary.clone();
    record["environment"] = environment.map(Environment::name).into();
    record["provider"] = provider.name().into();
    record
}

/// What is set, and whether the provider has refused it since.
pub(crate) async fn list(
    State(api): State<Api>,
    Path(key): Path<String>,
) -> Result<Json<ListReply>, ApiError> {
    let app = api.app(&key).await?.id;
    let records = api.store.credentials(app).await?;
    let credentials = records
        .iter()
        .map(|known| listed(known, UnixMillis::now()))
        .collect();
    Ok(Json(ListReply { credentials }))
}

fn listed(known: &CredentialRecord, now: UnixMillis) -> Value {
    let CredentialSlot {
        environment,
        provider,
        ..
    } = known.slot;
    let mut record = record(provider, environment, &known.summary);
    record["expires_in_days"] = expires_at(known).map(|end| days_left(end, now)).into();
    record["health"] = Health::of(known, now).name().into();
    record["rejected"] = known.rejected.as_ref().map(|reason| reason.as_str()).into();
    let spent = spent(known, now);
    let until = spent.clone().map(|spent| spent.until).max();
    record["until"] = until.map(rfc3339).into();
    record["spent"] = spent
        .map(|spent| {
            json!({
                "class": spent.class,
                "reason": spent.reason,
                "until": rfc3339(spent.until),
            })
        })
        .collect();
    record["updated_at"] = rfc3339(known.updated_at).into();
    record
}

/// Forgets a provider's credential in one environment, or in all.
pub(crate) async fn forget(
    State(api): State<Api>,
    Path((key, provider)): Path<(String, String)>,
    Query(query): Query<EnvironmentQuery>,
) -> Result<Done, ApiError> {
    let app = api.app(&key).await?.id;
    let (provider, _) = provider_of(&provider)?;
    let worlds = query.worlds(provider)?;
    if !forget_all(&api, app, provider, worlds).await? {
        return Err(unknown(provider));
    }
    api.tell(Command::CredentialChanged(app, provider)).await;
    Ok(Done)
}

/// Whether there was any.
async fn forget_all(
    api: &Api,
    app: AppId,
    provider: Provider,
    worlds: Vec<Option<Environment>>,
) -> Result<bool, ApiError> {
    let mut had_any = false;
    for environment in worlds {
        let slot = CredentialSlot {
            app,
            environment,
            provider,
        };
        had_any |= api.store.delete_credential(slot).await?;
    }
    Ok(had_any)
}

fn unknown(provider: Provider) -> ApiError {
    let text = format!("The app has no such credential for {provider}.");
    ApiError::new(Fault::CredentialUnknown, text)
}

/// A provider that takes credentials.
fn provider_of(name: &str) -> Result<(Provider, &'static dyn Adapter), ApiError> {
    let Ok(provider) = name.parse() else {
        let names = providers::adapters().map(|(provider, _)| provider.name());
        let names = names.collect::<Vec<_>>().join(", ");
        let why = format!("must be one of: {names}; not {}", shown(name));
        return Err(ApiError::invalid("provider", why));
    };
    match providers::adapter(provider) {
        Some(adapter) => Ok((provider, adapter)),
        None => Err(ApiError::invalid(
            "provider",
            "link takes no credential: devices connect to Tidings itself",
        )),
    }
}
