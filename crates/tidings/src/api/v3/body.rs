//! The body of `POST /v3/push` and `/v3/push/validate` (JPush's reference, section "POST /v3/push").

use http::HeaderMap;
use serde_json::Value;
use tidings_model::{CustomMessage, Notification, Platform, PlatformSet, Push};

use super::audience::{ParsedAudience, audience, platforms};
use super::notification::{check_size, notification};
use super::notification_3rd::notification_3rd;
use super::options::options;
use super::strategy;
use crate::api::error::{ApiError, Fault};
use crate::api::fields::{Fields, Ignored, Known, inert, json_len, read, refused};

const PUSH: [Known; 11] = [
    read("audience"),
    inert("callback"),
    read("cid"),
    read("inapp_message"),
    refused("live_activity"),
    read("message"),
    read("notification"),
    read("notification_3rd"),
    read("options"),
    read("platform"),
    inert("sms_message"),
];

const INAPP: [Known; 1] = [refused("inapp_message")];

const MESSAGE: [Known; 7] = [
    inert("alternate_content"),
    inert("alternate_title"),
    read("content_type"),
    read("extras"),
    read("msg_content"),
    inert("test_message"),
    read("title"),
];

/// Bytes of compact JSON of the android section and the message together, and of the message alone (JPush's reference,
/// size limits).
const MESSAGE_BYTES_MAX: usize = 4000;

/// Characters of a `cid`. One that JPush makes has 61, but callers may make their own in any form.
const CID_CHARS_MAX: usize = 128;

/// A push, and what was said beside it.
#[derive(Debug)]
pub(crate) struct ParsedPush {
    /// The caller's key by which a repeated request is known.
    pub(crate) cid: Option<String>,
    /// What was accepted and has no effect.
    pub(crate) ignored: Ignored,
    pub(crate) push: Push,
    /// Registration ids that Tidings has never given out; there is at least one other.
    pub(crate) unknown_registration_ids: Vec<String>,
}

/// Reads a whole body. Everything that can be wrong with a push without looking into the registry is refused here.
pub(crate) fn parse_push(body: &[u8]) -> Result<ParsedPush, ApiError> {
    parse_fields(Fields::parse(body)?)
}

/// Reads a push that stands inside something else, as in a schedule.
pub(crate) fn parse_fields(fields: Fields) -> Result<ParsedPush, ApiError> {
    let mut fields = fields.of(&[&PUSH])?;
    let mut ignored = Ignored::default();
    let platforms = platforms(&mut fields, &mut ignored)?;
    let ParsedAudience {
        audience,
        unknown_registration_ids,
    } = audience(&mut fields)?;
    if let Some(inapp) = fields.object("inapp_message")? {
        inapp.of(&[&INAPP])?.finish(&mut ignored)?;
    }
    let notification = notification(&mut fields, platforms, &mut ignored)?;
    let mut message = message(&mut fields, &mut ignored)?;
    if notification.is_none() && message.is_none() {
        return Err(ApiError::missing(
            fields.at("notification"),
            "a push needs a notification or a message",
        ));
    }
    check_sizes(&fields, platforms, notification.as_ref(), message.as_ref())?;
    let shown_instead = notification_3rd(&mut fields, &mut ignored)?;
    if let Some(shown) = shown_instead {
        match message.as_mut().filter(|_| notification.is_none()) {
            Some(message) => message.shown_instead = Some(Box::new(shown)),
            // A notification is shown by itself, and there is no message in whose place something could be.
            None => ignored.known(fields.at("notification_3rd")),
        }
    }
    let mut options = options(&mut fields, &mut ignored)?;
    let handed_by = strategy::handed_by(&options.third_party_channel);
    if message.is_some() && notification.is_none() {
        options.handed_by = handed_by;
    } else {
        // A page of a maker's is of one part, and there is a notification.
        for provider in handed_by {
            let path = format!("options.third_party_channel.{provider}.distribution_customize");
            ignored.known(path);
        }
    }
    let cid = cid(&mut fields)?;
    fields.finish(&mut ignored)?;
    options.ignored = ignored.paths().to_vec();
    Ok(ParsedPush {
        cid,
        ignored,
        push: Push {
            audience,
            message,
            notification,
            options,
            platforms,
        },
        unknown_registration_ids,
    })
}

/// Refuses a body that only JPush can decrypt.
pub(crate) fn refuse_encrypted(headers: &HeaderMap) -> Result<(), ApiError> {
    if headers.contains_key("x-encrypt-type") {
        return Err(ApiError::new(
            Fault::Invalid,
            "X-Encrypt-Type is not supported: only JPush can decrypt such a body. Send plain JSON over TLS.",
        ));
    }
    Ok(())
}

fn message(fields: &mut Fields, ignored: &mut Ignored) -> Result<Option<CustomMessage>, ApiError> {
    let Some(fields) = fields.object("message")? else {
        return Ok(None);
    };
    let mut fields = fields.of(&[&MESSAGE])?;
    let msg_content = match fields.value("msg_content") {
        Some(content @ (Value::String(_) | Value::Object(_))) => content,
        Some(other) => return Err(fields.wrong("msg_content", "a string or an object", &other)),
        None => {
            return Err(ApiError::missing(
                fields.at("msg_content"),
                "a message needs its content",
            ));
        }
    };
    let message = CustomMessage {
        content_type: fields.text("content_type")?,
        extras: fields.map("extras")?,
        msg_content,
        shown_instead: None,
        title: fields.text("title")?,
    };
    fields.finish(ignored)?;
    Ok(Some(message))
}

fn check_sizes(
    fields: &Fields,
    platforms: PlatformSet,
    notification: Option<&Notification>,
    message: Option<&CustomMessage>,
) -> Result<(), ApiError> {
    let message_len = message.map_or(0, json_len);
    check_size(fields.at("message"), message_len, MESSAGE_BYTES_MAX, "")?;
    let android = notification
        .filter(|_| platforms.contains(Platform::Android))
        .map_or(0, |notification| match &notification.android {
            Some(section) => json_len(section),
            None => notification.alert.as_ref().map_or(0, json_len),
        });
    check_size(
        fields.at("notification.android"),
        android + message_len,
        MESSAGE_BYTES_MAX,
        " together with the message",
    )
}

/// Any short text without control characters; `""` is absent.
fn cid(fields: &mut Fields) -> Result<Option<String>, ApiError> {
    let Some(cid) = fields.text("cid")?.filter(|cid| !cid.is_empty()) else {
        return Ok(None);
    };
    if cid.chars().count() > CID_CHARS_MAX || cid.chars().any(char::is_control) {
        return Err(ApiError::invalid(
            fields.at("cid"),
            format!(
                "must have at most {CID_CHARS_MAX} characters, none of them a control character"
            ),
        ));
    }
    Ok(Some(cid))
}

#[cfg(test)]
mod tests;
