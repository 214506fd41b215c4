//! What the makers' channels show in the place of a custom message (JPush's reference, "notification_3rd").

use serde_json::Value;
use tidings_model::Notification;

use super::notification::{BADGE_MAX, CHANNEL_ID_BYTES_MAX, check_size, sections};
use crate::api::error::{ApiError, Fault};
use crate::api::fields::{Check, Fields, Ignored, Known, json_len, kept, read};

/// Bytes of JSON: as many as of a notification for Android.
const BYTES_MAX: usize = 4000;

/// The first form, for Android alone: the fields of its section, and `content` for `alert`.
const FIRST: [Known; 11] = [
    kept("badge_add_num", Check::Integer(1, BADGE_MAX)),
    kept("badge_class", Check::Text),
    kept("badge_set_num", Check::Integer(0, BADGE_MAX)),
    kept("channel_id", Check::TextUpTo(CHANNEL_ID_BYTES_MAX)),
    read("content"),
    kept("extras", Check::Object),
    kept("intent", Check::Intent),
    kept("sound", Check::Text),
    kept("title", Check::Text),
    kept("uri_action", Check::Text),
    kept("uri_activity", Check::Text),
];

/// The second form: sections as a notification has them, but for a text for all.
const SECOND: [Known; 4] = [read("alert"), read("android"), read("hmos"), read("ios")];

/// None when the push has none.
pub(super) fn notification_3rd(
    push: &mut Fields,
    ignored: &mut Ignored,
) -> Result<Option<Notification>, ApiError> {
    let is_second = is_second(push)?;
    let Some(fields) = push.object("notification_3rd")? else {
        return Ok(None);
    };
    let path = fields.path().to_owned();
    let shown = match is_second {
        true => second(fields, ignored)?,
        false => first(fields, ignored)?,
    };
    for section in [&shown.android, &shown.hmos].into_iter().flatten() {
        check_size(path.clone(), json_len(section), BYTES_MAX, "")?;
    }
    Ok(Some(shown))
}

/// Which form it has: an option says so.
fn is_second(push: &Fields) -> Result<bool, ApiError> {
    let options = push.peek("options").and_then(Value::as_object);
    match options.and_then(|options| options.get("notification_3rd_ver")) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::String(version)) if version.is_empty() || version == "v1" => Ok(false),
        Some(Value::String(version)) if version == "v2" => Ok(true),
        Some(_) => Err(ApiError::invalid(
            push.at("options.notification_3rd_ver"),
            "must be v1 or v2",
        )),
    }
}

fn first(fields: Fields, ignored: &mut Ignored) -> Result<Notification, ApiError> {
    let mut fields = fields.of(&[&FIRST])?;
    let content = fields.text("content")?.filter(|text| !text.is_empty());
    let content = content.ok_or_else(|| {
        let wanted = "the text that the makers' channels show in the place of the message";
        ApiError::missing(fields.at("content"), wanted)
    })?;
    let mut android = fields.kept()?;
    android.insert("alert".to_owned(), content.into());
    fields.finish(ignored)?;
    Ok(Notification {
        android: Some(android),
        ..Notification::default()
    })
}

fn second(fields: Fields, ignored: &mut Ignored) -> Result<Notification, ApiError> {
    let path = fields.path().to_owned();
    let shown = sections(fields.of(&[&SECOND])?, ignored)?;
    if shown.android.is_none() && shown.hmos.is_none() && shown.ios.is_none() {
        let why = "needs at least one of android, ios and hmos";
        return Err(ApiError::at(Fault::Missing, path, why));
    }
    Ok(shown)
}
