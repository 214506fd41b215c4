//! `POST /v3/status/message`: what became of a message at some devices.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::Value;
use tidings_model::{DeviceId, MsgId};
use tidings_store::App;

use crate::api::Api;
use crate::api::error::{ApiError, shown};
use crate::api::fields::{Fields, Ignored, wrong};
use crate::api::http::RawBody;
use crate::verdict::{State as Standing, verdict};

/// Registration ids in one call; JPush's limit.
const DEVICES_MAX: usize = 1000;

#[derive(Debug, Serialize)]
pub(crate) struct Status {
    status: u8,
}

/// JPush's numbers.
const DELIVERED: u8 = 0;
const NOT_DELIVERED: u8 = 1;
const NO_DEVICE: u8 = 2;
const NO_TARGET: u8 = 3;
/// Not known, or not any more.
const ERROR: u8 = 4;

pub(crate) async fn message(
    State(api): State<Api>,
    Extension(app): Extension<App>,
    RawBody(body): RawBody,
) -> Result<Json<BTreeMap<String, Status>>, ApiError> {
    let (msg_id, ids) = parse(&body)?;
    let mut statuses = BTreeMap::new();
    for id in ids {
        let status = match id.parse() {
            Ok(device) => status(&api, &app, msg_id, device).await?,
            Err(_) => NO_DEVICE,
        };
        statuses.insert(id, Status { status });
    }
    Ok(Json(statuses))
}

async fn status(api: &Api, app: &App, msg_id: MsgId, id: DeviceId) -> Result<u8, ApiError> {
    let Some(device) = api.store.device(app.id, id).await? else {
        return Ok(NO_DEVICE);
    };
    let journey = api
        .store
        .journey(app.id, msg_id, id)
        .await?
        .ok_or_else(|| {
            let why = format!("{msg_id} is no message of this app, or older than what is kept");
            ApiError::invalid("msg_id", why)
        })?;
    Ok(match verdict(&journey, Some(&device), id).state {
        // A provider that tells no more than that it took it leaves no better word.
        Standing::Accepted | Standing::Delivered => DELIVERED,
        Standing::Dropped | Standing::Expired | Standing::Failed | Standing::Waiting => {
            NOT_DELIVERED
        }
        Standing::NotTargeted => NO_TARGET,
        Standing::Unknown => ERROR,
    })
}

/// The message and the registration ids as they were written. The day (`date`, PHP's `data`) is not needed here.
fn parse(body: &[u8]) -> Result<(MsgId, Vec<String>), ApiError> {
    let mut fields = Fields::parse(body)?;
    let msg_id = match fields.value("msg_id") {
        Some(Value::String(text)) => text,
        Some(Value::Number(number)) => number.to_string(),
        Some(other) => return Err(fields.wrong("msg_id", "a message id", &other)),
        None => return Err(ApiError::missing("msg_id", "the id of a message")),
    };
    let msg_id = msg_id.parse().map_err(|error| {
        ApiError::invalid("msg_id", format!("{} is wrong: {error}", shown(&msg_id)))
    })?;
    let entries = fields.list("registration_ids")?;
    let entries =
        entries.ok_or_else(|| ApiError::missing("registration_ids", "name one device or more"))?;
    if entries.len() > DEVICES_MAX {
        let why = format!(
            "may have at most {DEVICES_MAX} entries, not {}",
            entries.len()
        );
        return Err(ApiError::invalid("registration_ids", why));
    }
    let ids = entries.into_iter().map(|(path, value)| match value {
        Value::String(id) => Ok(id),
        other => Err(wrong(path, "a string", &other)),
    });
    let ids = ids.collect::<Result<_, _>>()?;
    fields.finish(&mut Ignored::default())?;
    Ok((msg_id, ids))
}
