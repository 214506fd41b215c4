//! `POST /v1/devices/{registration_id}/events`: what a device tells of the messages it got.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use tidings_model::{AppId, DeviceId, Platform};
use tidings_store::{DeviceEvent, EventKind};

use super::required;
use crate::api::Api;
use crate::api::auth::AuthedDevice;
use crate::api::error::{ApiError, shown};
use crate::api::fields::{Fields, wrong};
use crate::api::http::RawBody;

/// Events in one call; a device that was away for long sends several.
const EVENTS_MAX: usize = 100;

#[derive(Debug, Serialize)]
pub(crate) struct EventsReply {
    /// Those that were new, and of messages that were for this device.
    recorded: u64,
}

pub(crate) async fn add(
    State(api): State<Api>,
    AuthedDevice { app, device }: AuthedDevice,
    RawBody(body): RawBody,
) -> Result<Json<EventsReply>, ApiError> {
    let recorded = apply_events(&api, app, device.id, device.platform, &body).await?;
    Ok(Json(EventsReply { recorded }))
}

/// Records what a device tells, by HTTP or over the link. Returns how many events were new.
pub(crate) async fn apply_events(
    api: &Api,
    app: AppId,
    device: DeviceId,
    platform: Platform,
    body: &[u8],
) -> Result<u64, ApiError> {
    let events = parse_events(body)?;
    Ok(api.store.add_events(app, device, platform, events).await?)
}

/// Reads the body; there is at least one event.
fn parse_events(body: &[u8]) -> Result<Vec<DeviceEvent>, ApiError> {
    let mut fields = Fields::parse(body)?;
    let entries = fields.list("events")?;
    let entries = required(&fields, "events", entries, "give at least one event")?;
    fields.finish_strictly()?;
    if entries.len() > EVENTS_MAX {
        let why = format!(
            "may have at most {EVENTS_MAX} entries, not {}",
            entries.len()
        );
        return Err(ApiError::invalid("events", why));
    }
    entries
        .into_iter()
        .map(|(path, value)| event(path, value))
        .collect()
}

fn event(path: String, value: Value) -> Result<DeviceEvent, ApiError> {
    const KINDS: &str = "opened, dismissed or received";
    let Value::Object(map) = value else {
        return Err(wrong(path, "an object with type and msg_id", &value));
    };
    let mut fields = Fields::new(path, map);
    let kind = fields.text("type")?;
    let kind = match required(&fields, "type", kind, KINDS)?.as_str() {
        "dismissed" => EventKind::Dismissed,
        "opened" => EventKind::Opened,
        "received" => EventKind::Received,
        other => {
            let why = format!("must be {KINDS}, not {}", shown(other));
            return Err(ApiError::invalid(fields.at("type"), why));
        }
    };
    // A number loses its last digits in JavaScript; where it did not, it is as good as the text.
    let msg_id = match fields.value("msg_id") {
        Some(Value::String(text)) => Some(text),
        Some(Value::Number(number)) => Some(number.to_string()),
        Some(other) => return Err(fields.wrong("msg_id", "a message id", &other)),
        None => None,
    };
    let msg_id = required(
        &fields,
        "msg_id",
        msg_id,
        "the id that came with the message",
    )?;
    let message = msg_id.parse().map_err(|error| {
        let why = format!("{} is wrong: {error}", shown(&msg_id));
        ApiError::invalid(fields.at("msg_id"), why)
    })?;
    fields.finish_strictly()?;
    Ok(DeviceEvent { kind, message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_model::MsgId;

    #[test]
    fn events_are_read() {
        let many = format!(
            r#"{{"events":[{}]}}"#,
            vec![r#"{"type":"opened","msg_id":"1"}"#; 101].join(",")
        );
        let event = |kind, id| DeviceEvent {
            kind,
            message: MsgId(id),
        };
        let cases = [
            (
                r#"{"events":[{"type":"opened","msg_id":"7"},{"type":"received","msg_id":8}]}"#,
                Ok(vec![
                    event(EventKind::Opened, 7),
                    event(EventKind::Received, 8),
                ]),
            ),
            (
                r#"{"events":[{"type":"dismissed","msg_id":"9"}]}"#,
                Ok(vec![event(EventKind::Dismissed, 9)]),
            ),
            (
                r#"{"events":[]}"#,
                Err("events is missing: give at least one event"),
            ),
            (
                r#"{"events":[{"type":"read","msg_id":"7"}]}"#,
                Err("events[0].type must be opened, dismissed or received, not \"read\""),
            ),
            (
                r#"{"events":[{"type":"opened"}]}"#,
                Err("events[0].msg_id is missing: the id that came with the message"),
            ),
            (
                r#"{"events":[{"type":"opened","msg_id":"x"}]}"#,
                Err(
                    "events[0].msg_id \"x\" is wrong: a message id is a positive decimal number below 2^63",
                ),
            ),
            (
                r#"{"events":[7]}"#,
                Err("events[0] must be an object with type and msg_id, not 7"),
            ),
            (
                r#"{"events":[{"type":"opened","msg_id":"7","at":1}]}"#,
                Err("events[0].at is not a known key: known are type, msg_id"),
            ),
            (&many, Err("events may have at most 100 entries, not 101")),
        ];
        for (body, expected) in cases {
            let parsed = parse_events(body.as_bytes());
            let parsed = parsed.as_ref().map_err(|error| error.message());
            assert_eq!(parsed, expected.as_ref().map_err(|text| *text), "{body}");
        }
    }
}
