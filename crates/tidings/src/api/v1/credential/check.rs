//! `POST /v1/apps/{app_key}/credentials/{provider}/check`: whether the provider takes what is set.

use axum::Json;
use axum::extract::{Path, Query, State};
use futures_util::future::try_join_all;
use serde::Serialize;
use tidings_model::{Environment, Reason};
use tidings_store::CredentialRecord;

use super::{EnvironmentQuery, provider_of, unknown};
use crate::api::Api;
use crate::api::error::ApiError;
use crate::credentials::{self, CheckResult, Checked, words};
use crate::dispatch::Command;
use crate::providers::Adapter;

#[derive(Debug, Serialize)]
pub(crate) struct CheckReply {
    checks: Vec<Check>,
}

#[derive(Debug, Serialize)]
struct Check {
    connect_ms: Option<u64>,
    endpoint: Option<String>,
    environment: Option<&'static str>,
    reason: Option<Reason>,
    result: &'static str,
    text: String,
}

/// Asks for each environment at once, and notes what the provider says as the credential's health.
pub(crate) async fn check(
    State(api): State<Api>,
    Path((key, provider)): Path<(String, String)>,
    Query(query): Query<EnvironmentQuery>,
) -> Result<Json<CheckReply>, ApiError> {
    let app = api.app(&key).await?.id;
    let (provider, adapter) = provider_of(&provider)?;
    let worlds = query.worlds(provider)?;
    let mut records = api.store.credentials(app).await?;
    records.retain(|record| {
        record.slot.provider == provider && worlds.contains(&record.slot.environment)
    });
    if records.is_empty() {
        return Err(unknown(provider));
    }
    let checks = records
        .iter()
        .map(|record| check_one(&api, adapter, record));
    let (checks, noted): (Vec<_>, Vec<_>) = try_join_all(checks).await?.into_iter().unzip();
    // A lane that is parked resumes, and each knows what its credential is said to be.
    if noted.contains(&true) {
        api.tell(Command::CredentialChanged(app, provider)).await;
    }
    Ok(Json(CheckReply { checks }))
}

/// The check of one credential, and whether it changed what is noted of it.
async fn check_one(
    api: &Api,
    adapter: &dyn Adapter,
    record: &CredentialRecord,
) -> Result<(Check, bool), ApiError> {
    let slot = record.slot;
    let stored = credentials::stored(&api.store, slot).await?;
    let checked = match stored.ok_or_else(|| unknown(slot.provider))? {
        Ok(plain) => adapter.check(plain, slot.environment).await,
        Err(_) => Checked::unusable(words::SEALED.to_owned()),
    };
    let checked = match &record.rejected {
        Some(reason) if adapter.can_be_the_credentials(reason) => {
            checked.beside(reason, adapter.rejected(reason))
        }
        Some(_) | None => checked,
    };
    let health = match (checked.result, &checked.reason) {
        (CheckResult::Good, _) => Some(None),
        (CheckResult::Rejected, Some(reason)) => Some(Some(reason.clone())),
        (CheckResult::Rejected | CheckResult::Undecided | CheckResult::Unreachable, _) => None,
    };
    let mut noted = false;
    if let Some(rejected) = health.filter(|rejected| *rejected != record.rejected) {
        // Another credential may have been set meanwhile, which this says nothing about.
        noted = api
            .store
            .note_credential(slot, rejected, record.updated_at)
            .await?;
    }
    let check = Check {
        connect_ms: checked
            .connecting
            .map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        endpoint: checked.endpoint,
        environment: slot.environment.map(Environment::name),
        reason: checked.reason,
        result: checked.result.name(),
        text: checked.text,
    };
    Ok((check, noted))
}
