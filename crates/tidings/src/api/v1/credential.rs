//! Credentials of an app: `/v1/apps/{app_key}/credentials`. They go in and are never shown again.

pub(crate) mod body;
pub(crate) mod check;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidings_model::{AppId, Environment, Provider, UnixMillis};
use tidings_providers::apns::{CredentialError, CredentialKind, PushType, Summary};
use tidings_store::{CredentialRecord, CredentialSlot};
use tokio::task::spawn_blocking;

use super::{Done, rfc3339};
use crate::api::Api;
use crate::api::error::{ApiError, Fault, shown};
use crate::api::http::RawBody;
use crate::credentials::{ApnsCredential, Health, days_left, expires_at};
use crate::dispatch::Command;
use body::ApnsCredentialBody;

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
    /// The one that is named, or all.
    fn environments(&self) -> Result<Vec<Environment>, ApiError> {
        match self.environment.as_str() {
            "" => Ok(Environment::ALL.to_vec()),
            name => match name.parse() {
                Ok(environment) => Ok(vec![environment]),
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
    let provider = provider_of(&provider)?;
    let ApnsCredentialBody {
        credential,
        environment,
    } = ApnsCredentialBody::parse(&body)?;
    let environments = match environment {
        Some(environment) => vec![environment],
        None => Environment::ALL.to_vec(),
    };
    let (credential, summaries) = checked(credential, environments).await?;
    summaries.iter().try_for_each(topic_for_alerts)?;
    let plain = credential
        .to_bytes()
        .map_err(|error| ApiError::internal(error.into()))?;
    let mut reply = Value::Null;
    for summary in summaries {
        let slot = CredentialSlot {
            app,
            environment: Some(summary.environment),
            provider,
        };
        let shown = summarised(&summary, &credential);
        api.store.put_credential(slot, &shown, &plain).await?;
        reply = record(provider, environment, &shown);
    }
    api.tell(Command::CredentialChanged(app, provider)).await;
    Ok(Json(reply))
}

/// Opens a credential and checks it for each environment. A `.p12` takes a while to open: its password is hardened.
async fn checked(
    credential: ApnsCredential,
    environments: Vec<Environment>,
) -> Result<(ApnsCredential, Vec<Summary>), ApiError> {
    let check = move || {
        let opened = credential.file.open()?;
        let now = UnixMillis::now();
        let topic = credential.topic.as_deref();
        let summaries = environments
            .into_iter()
            .map(|environment| opened.check(environment, topic, now));
        let summaries = summaries.collect::<Result<_, CredentialError>>()?;
        Ok::<_, CredentialError>((credential, summaries))
    };
    let checked = spawn_blocking(check).await;
    Ok(checked.map_err(|panic| ApiError::internal(panic.into()))??)
}

/// Refuses a topic that is one of another push type: what is pushed here goes to the app's bundle id alone.
fn topic_for_alerts(summary: &Summary) -> Result<(), ApiError> {
    let Summary { kind, topic, .. } = summary;
    let Some(other) = PushType::by_suffix(topic) else {
        return Ok(());
    };
    let suffix = other.topic_suffix();
    let bundle = topic.strip_suffix(suffix).unwrap_or_default();
    // An app can be called com.example.voip; a certificate tells what it is for, a key does not.
    let can_be_a_name = matches!(other, PushType::Complication | PushType::Voip);
    if can_be_a_name && (*kind == CredentialKind::Certificate || bundle.split('.').count() < 3) {
        return Ok(());
    }
    let why = format!(
        "topic: {} is the topic of push type {other}; name the app's bundle id alone: {}",
        shown(topic),
        shown(bundle)
    );
    Err(ApiError::new(Fault::Credential("topic_of_push_type"), why).with_field("topic"))
}

/// What may be shown of a credential.
fn summarised(summary: &Summary, credential: &ApnsCredential) -> Value {
    json!({
        "endpoint": credential.endpoint,
        "expires_at": summary.expires_at.map(rfc3339),
        "has_ca": credential.ca.is_some(),
        "has_proxy": credential.proxy.is_some(),
        "kind": summary.kind.name(),
        "topic": summary.topic,
        "topics": summary.topics,
    })
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
    let provider = provider_of(&provider)?;
    let environments = query.environments()?;
    if !forget_all(&api, app, provider, environments).await? {
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
    environments: Vec<Environment>,
) -> Result<bool, ApiError> {
    let mut had_any = false;
    for environment in environments {
        let slot = CredentialSlot {
            app,
            environment: Some(environment),
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
fn provider_of(name: &str) -> Result<Provider, ApiError> {
    match name.parse() {
        Ok(Provider::Apns) => Ok(Provider::Apns),
        Ok(Provider::Link) => Err(ApiError::invalid(
            "provider",
            "link takes no credential: devices connect to Tidings itself",
        )),
        Err(_) => Err(ApiError::invalid(
            "provider",
            format!("must be apns, not {}", shown(name)),
        )),
    }
}
