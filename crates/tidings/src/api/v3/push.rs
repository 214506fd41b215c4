//! `POST /v3/push` and `POST /v3/push/validate`.

use axum::Extension;
use axum::extract::State;
use http::HeaderMap;
use tidings_model::{Audience, MsgId, Push, Selection};
use tidings_store::{Accepted, App};
use tracing::debug;

use super::body::{ParsedPush, parse_push, refuse_encrypted};
use super::reply::PushReply;
use super::strategy;
use crate::api::Api;
use crate::api::error::{ApiError, Fault};
use crate::api::fields::Ignored;
use crate::api::http::RawBody;
use crate::dispatch::Command;
use crate::providers;

/// Accepts a push: durable when it answers. What can be wrong with it is refused here.
pub(crate) async fn push(
    State(api): State<Api>,
    Extension(app): Extension<App>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<PushReply, ApiError> {
    let Parsed { push, cid, ignored } = parse(&app, &headers, &body)?;
    let push = match reachable(&api, &app, push).await {
        Ok(push) => push,
        // Its devices may have gone since it was accepted: the first answer still holds.
        Err(refusal) => {
            let first = match cid {
                Some(cid) => api.store.accepted(app.id, cid).await?,
                None => None,
            };
            return first
                .map(|message| reply(message.id, &message.push))
                .ok_or(refusal);
        }
    };
    let message = match api.store.accept(app.id, push, cid).await? {
        Accepted::New(message) => {
            api.ignored.count(&ignored);
            api.tell(Command::MessageAccepted(app.id)).await;
            if message.falls_back_at().is_some() {
                api.tell(Command::FallsBack).await;
            }
            message
        }
        Accepted::Repeated(message) => message,
    };
    Ok(reply(message.id, &message.push))
}

/// Refuses what [`push`] would refuse, and sends nothing.
pub(crate) async fn validate(
    State(api): State<Api>,
    Extension(app): Extension<App>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<PushReply, ApiError> {
    let parsed = parse(&app, &headers, &body)?;
    let push = reachable(&api, &app, parsed.push).await?;
    Ok(reply(api.store.void_id().await?, &push))
}

struct Parsed {
    push: Push,
    cid: Option<String>,
    ignored: Ignored,
}

fn parse(app: &App, headers: &HeaderMap, body: &[u8]) -> Result<Parsed, ApiError> {
    refuse_encrypted(headers)?;
    let ParsedPush {
        cid,
        ignored,
        mut push,
        unknown_registration_ids,
    } = parse_push(body)?;
    strategy::settle(&mut push, app);
    if !ignored.paths().is_empty() || !unknown_registration_ids.is_empty() {
        let unknown = unknown_registration_ids.len();
        debug!(ignored = ?ignored.paths(), unknown, "parts of a push have no effect");
    }
    for (_, adapter) in providers::adapters() {
        adapter.accepts(&push)?;
    }
    Ok(Parsed { push, cid, ignored })
}

/// JPush answers a push without a number with 0.
fn reply(msg_id: MsgId, push: &Push) -> PushReply {
    PushReply {
        ignored: push.options.ignored.clone(),
        msg_id,
        sendno: push.options.sendno.unwrap_or(0),
    }
}

/// Gives the push back when there is a device that it can reach.
async fn reachable(api: &Api, app: &App, push: Push) -> Result<Push, ApiError> {
    if api.store.reaches_any(app.id, &push).await? {
        return Ok(push);
    }
    if let Some(unknown) = only_unknown_devices(api, app, &push.audience).await? {
        let text = format!("The registration_id {unknown} is invalid!");
        return Err(ApiError::new(Fault::Invalid, text));
    }
    let text = "cannot find user by this audience: no registered device matches it on the platforms of this push, \
                with a channel that can carry it";
    Err(ApiError::new(Fault::NoTarget, text).with_msg_id(api.store.void_id().await?))
}

/// The first registration id of an audience that names nothing but registration ids, all of them unknown.
async fn only_unknown_devices(
    api: &Api,
    app: &App,
    audience: &Audience,
) -> Result<Option<String>, ApiError> {
    let Audience::Selection(Selection {
        aliases,
        devices,
        tags,
    }) = audience
    else {
        return Ok(None);
    };
    if !aliases.is_empty() || !tags.is_empty() {
        return Ok(None);
    }
    for id in devices {
        if api.store.device(app.id, *id).await?.is_some() {
            return Ok(None);
        }
    }
    Ok(devices.first().map(ToString::to_string))
}
