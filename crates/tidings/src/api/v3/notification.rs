//! What a push shows (JPush's reference, "notification"). The ios section is taken apart, since Apple's payload is
//! built from it; the android and hmos sections are checked and kept in JPush's field names, since that is how devices get them.

use serde_json::{Map, Value, json};
use tidings_model::{InterruptionLevel, IosNotification, Notification, Platform, PlatformSet};

use crate::api::error::{ApiError, Fault};
use crate::api::fields::{
    Check, Fields, Ignored, Known, inert, is_blank, json_len, kept, read, refused,
};

/// Bytes of compact JSON of the ios section (JPush's reference, size limits).
const IOS_BYTES_MAX: usize = 2000;
/// Bytes of an Android notification channel's name (the same).
pub(super) const CHANNEL_ID_BYTES_MAX: usize = 1000;
/// The greatest number that a badge shows (JPush's limit).
pub(super) const BADGE_MAX: i64 = 99;

const ALERT_WANTED: &str =
    "give it a text, here or in notification.alert (\"\" for a notification that shows nothing)";

const NOTIFICATION: [Known; 9] = [
    inert("ai_opportunity"),
    read("alert"),
    inert("alternate_alert"),
    read("android"),
    read("hmos"),
    read("ios"),
    inert("quickapp"),
    refused("voip"),
    inert("winphone"),
];

/// Reads the notification, and refuses one that shows nothing on any of `platforms`.
pub(crate) fn notification(
    push: &mut Fields,
    platforms: PlatformSet,
    ignored: &mut Ignored,
) -> Result<Option<Notification>, ApiError> {
    let Some(fields) = push.object("notification")? else {
        return Ok(None);
    };
    let path = fields.path().to_owned();
    let notification = sections(fields.of(&[&NOTIFICATION])?, ignored)?;
    let shows = |platform| platforms.contains(platform) && notification.is_for(platform);
    if !Platform::ALL.into_iter().any(shows) {
        return Err(ApiError::invalid(
            path,
            format!("has nothing to show on the platforms of this push: {ALERT_WANTED}"),
        ));
    }
    if let (true, None, Some(alert)) = (
        platforms.contains(Platform::Ios),
        &notification.ios,
        &notification.alert,
    ) {
        let len = json_len(&json!({"alert": alert}));
        check_size(format!("{path}.alert"), len, IOS_BYTES_MAX, " for ios")?;
    }
    Ok(Some(notification))
}

/// The sections of the platforms, and the text for those that have none.
pub(crate) fn sections(
    mut fields: Fields,
    ignored: &mut Ignored,
) -> Result<Notification, ApiError> {
    let alert = fields.text("alert")?;
    let general = alert.as_deref();
    // An empty section is one without a text: JPush calls that missing, here only.
    if general.is_none() && fields.is_empty_object("hmos") {
        let path = format!("{}.alert", fields.at("hmos"));
        return Err(ApiError::missing(path, ALERT_WANTED));
    }
    let android = match section(&mut fields, "android", general)? {
        Some(section) => Some(android(section.of(&[&ANDROID])?, ignored)?),
        None => None,
    };
    let hmos = match section(&mut fields, "hmos", general)? {
        Some(section) => Some(hmos(section.of(&[&HMOS])?, ignored)?),
        None => None,
    };
    let ios = match section(&mut fields, "ios", general)? {
        Some(section) => Some(ios(section.of(&[&IOS])?, ignored)?),
        None => None,
    };
    fields.finish(ignored)?;
    Ok(Notification {
        alert,
        android,
        hmos,
        ios,
    })
}

/// Refuses what is over one of JPush's size limits.
pub(crate) fn check_size(
    path: String,
    len: usize,
    bytes_max: usize,
    what: &str,
) -> Result<(), ApiError> {
    if len <= bytes_max {
        return Ok(());
    }
    Err(ApiError::at(
        Fault::TooLarge,
        path,
        format!("may have at most {bytes_max} bytes of JSON{what}, not {len}"),
    ))
}

/// The section of a platform, with the text for all where it has none of its own; a text in its place is its alert.
fn section(
    fields: &mut Fields,
    key: &'static str,
    alert: Option<&str>,
) -> Result<Option<Fields>, ApiError> {
    let mut map = match fields.value(key) {
        Some(Value::Object(map)) if !map.is_empty() => map,
        Some(alert @ Value::String(_)) if !is_blank(&alert) => {
            Map::from_iter([("alert".to_owned(), alert)])
        }
        Some(value) if !is_blank(&value) => {
            return Err(fields.wrong(key, "an object, or a string that is its alert", &value));
        }
        _ => return Ok(None),
    };
    if let (Some(alert), None | Some(Value::Null)) = (alert, map.get("alert")) {
        map.insert("alert".to_owned(), alert.into());
    }
    Ok(Some(Fields::new(fields.at(key), map)))
}

/// The android section; what a push says to one maker may have the same.
pub(crate) const ANDROID: [Known; 27] = [
    read("alert"),
    kept("alert_type", Check::Integer(-1, 7)),
    kept("badge_add_num", Check::Integer(1, BADGE_MAX)),
    kept("badge_class", Check::Text),
    kept("badge_set_num", Check::Integer(0, BADGE_MAX)),
    kept("big_pic_path", Check::Text),
    kept("big_text", Check::Text),
    kept("builder_id", Check::Integer(0, i32::MAX as i64)),
    kept("category", Check::Text),
    kept("channel_id", Check::TextUpTo(CHANNEL_ID_BYTES_MAX)),
    kept("custom_buttons", Check::List),
    kept("display_foreground", Check::Switch),
    kept("extras", Check::Object),
    kept("icon_bg_color", Check::Text),
    kept("inbox", Check::Object),
    kept("intent", Check::Intent),
    kept("large_icon", Check::Text),
    kept("priority", Check::Integer(-2, 2)),
    kept("show_begin_time", Check::Time),
    kept("show_end_time", Check::Time),
    kept("small_icon_uri", Check::Text),
    kept("sound", Check::Text),
    kept("style", Check::Integer(0, 3)),
    kept("title", Check::Text),
    kept("uri_action", Check::Text),
    kept("uri_activity", Check::Text),
    kept("uri_flag", Check::Text),
];

fn android(mut fields: Fields, ignored: &mut Ignored) -> Result<Map<String, Value>, ApiError> {
    let alert = fields.text("alert")?.ok_or_else(|| {
        let why = format!("is missing: {ALERT_WANTED}");
        ApiError::invalid(fields.at("alert"), why)
    })?;
    let mut kept = fields.kept()?;
    kept.insert("alert".to_owned(), alert.into());
    fields.finish(ignored)?;
    Ok(kept)
}

/// The seconds of a sound of HarmonyOS, at most (JPush's limit).
const SOUND_SECS_MAX: i64 = 60;

const HMOS: [Known; 18] = [
    read("alert"),
    kept("badge_add_num", Check::Integer(1, BADGE_MAX)),
    kept("badge_set_num", Check::Integer(0, BADGE_MAX)),
    kept("category", Check::Text),
    kept("display_foreground", Check::Switch),
    kept("extra_data", Check::Text),
    kept("extras", Check::Object),
    kept("hm_payload", Check::Object),
    kept("inbox", Check::Object),
    kept("intent", Check::Intent),
    kept("large_icon", Check::Text),
    kept("push_type", Check::Number(&[0, 1, 2, 7, 10])),
    kept("receipt_id", Check::Text),
    kept("sound", Check::Text),
    kept("sound_duration", Check::Integer(1, SOUND_SECS_MAX)),
    kept("style", Check::Number(&[0, 2])),
    kept("test_message", Check::Flag),
    kept("title", Check::Text),
];

fn hmos(mut fields: Fields, ignored: &mut Ignored) -> Result<Map<String, Value>, ApiError> {
    let alert = fields.text("alert")?.filter(|alert| !alert.is_empty());
    let alert = alert.ok_or_else(|| ApiError::missing(fields.at("alert"), ALERT_WANTED))?;
    let mut kept = fields.kept()?;
    kept.insert("alert".to_owned(), alert.into());
    // What the kinds other than what is shown consist of (JPush's reference, hmos).
    let wanted = match kept.get("push_type").and_then(Value::as_i64) {
        Some(1 | 7) => Some("hm_payload"),
        Some(2 | 10) => Some("extra_data"),
        _ => None,
    };
    if let Some(key) = wanted.filter(|key| kept.get(*key).is_none_or(is_blank)) {
        let path = fields.at(key);
        return Err(ApiError::missing(path, "a push_type of this kind needs it"));
    }
    fields.finish(ignored)?;
    Ok(kept)
}

const IOS: [Known; 9] = [
    read("alert"),
    read("badge"),
    read("category"),
    read("content-available"),
    read("extras"),
    read("interruption-level"),
    read("mutable-content"),
    read("sound"),
    read("thread-id"),
];

fn ios(mut fields: Fields, ignored: &mut Ignored) -> Result<IosNotification, ApiError> {
    let path = fields.path().to_owned();
    check_size(path.clone(), fields.json_len(), IOS_BYTES_MAX, "")?;
    let alert = match fields.value("alert") {
        Some(alert @ (Value::String(_) | Value::Object(_))) => alert,
        Some(other) => return Err(fields.wrong("alert", "a string or an object", &other)),
        None => Value::Null,
    };
    let section = IosNotification {
        alert,
        badge: badge(&mut fields, ignored)?,
        category: fields.text("category")?,
        content_available: fields.flag("content-available")?.unwrap_or(false),
        extras: fields.map("extras")?,
        interruption_level: interruption_level(&mut fields)?,
        mutable_content: fields.flag("mutable-content")?.unwrap_or(false),
        sound: sound(&mut fields, ignored)?,
        thread_id: fields.text("thread-id")?,
    };
    fields.finish(ignored)?;
    if section.alert.is_null() && !section.content_available {
        return Err(ApiError::invalid(
            format!("{path}.alert"),
            format!("is missing: {ALERT_WANTED}"),
        ));
    }
    if section.extras.contains_key("aps") {
        return Err(ApiError::invalid(
            format!("{path}.extras.aps"),
            "is Apple's own key in the payload: name it otherwise",
        ));
    }
    Ok(section)
}

/// `N` and `"N"` set the badge, `""` clears it. `"+N"`, `"-N"` and -N need a counter for each device, which Tidings does not
/// keep yet: they are accepted, since most SDKs send `"+1"` by themselves, and leave the badge as it is.
fn badge(fields: &mut Fields, ignored: &mut Ignored) -> Result<Option<u32>, ApiError> {
    let Some(value) = fields.value("badge") else {
        return Ok(None);
    };
    let number = match &value {
        Value::Number(number) => number
            .as_i64()
            .map(|number| (number < 0, number.saturating_abs())),
        Value::String(text) if text.is_empty() => Some((false, 0)),
        Value::String(text) => {
            let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            let number = if is_number { digits.parse().ok() } else { None };
            number.map(|number| (digits.len() < text.len(), number))
        }
        _ => None,
    };
    match number {
        Some((is_relative, number @ 0..=BADGE_MAX)) => {
            if is_relative {
                ignored.known(fields.at("badge"));
                return Ok(None);
            }
            Ok(u32::try_from(number).ok())
        }
        _ => Err(fields.wrong("badge", "N, \"+N\" or \"-N\" with N from 0 to 99", &value)),
    }
}

/// `""` is absent.
fn interruption_level(fields: &mut Fields) -> Result<Option<InterruptionLevel>, ApiError> {
    const KEY: &str = "interruption-level";
    let Some(name) = fields.text(KEY)?.filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    match InterruptionLevel::named(&name) {
        Some(level) => Ok(Some(level)),
        None => {
            let wanted = "active, critical, passive or time-sensitive";
            Err(fields.wrong(KEY, wanted, &Value::String(name)))
        }
    }
}

const SOUND: [Known; 3] = [read("critical"), read("name"), read("volume")];

/// A file name, or Apple's object for a critical sound. `""` is JPush's way to say silent, and so is no sound at Apple.
fn sound(fields: &mut Fields, ignored: &mut Ignored) -> Result<Value, ApiError> {
    const KEY: &str = "sound";
    let mut parts = match fields.value(KEY) {
        Some(Value::String(name)) if !name.is_empty() => return Ok(Value::String(name)),
        Some(Value::Object(parts)) if !parts.is_empty() => {
            Fields::new(fields.at(KEY), parts).of(&[&SOUND])?
        }
        Some(other) if !is_blank(&other) => {
            return Err(fields.wrong(KEY, "a file name or an object", &other));
        }
        _ => return Ok(Value::Null),
    };
    let mut kept = Map::new();
    if parts.flag("critical")? == Some(true) {
        kept.insert("critical".to_owned(), 1.into());
    }
    if let Some(name) = parts.text("name")?.filter(|name| !name.is_empty()) {
        kept.insert("name".to_owned(), name.into());
    }
    if let Some(volume) = volume(&mut parts)? {
        kept.insert("volume".to_owned(), volume.into());
    }
    parts.finish(ignored)?;
    Ok(match kept.is_empty() {
        true => Value::Null,
        false => Value::Object(kept),
    })
}

/// 0 to 1, as a number or a text; `""` is absent.
fn volume(parts: &mut Fields) -> Result<Option<f64>, ApiError> {
    const KEY: &str = "volume";
    let Some(value) = parts.value(KEY).filter(|value| !is_blank(value)) else {
        return Ok(None);
    };
    let number = match &value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    match number.filter(|number| (0.0..=1.0).contains(number)) {
        Some(number) => Ok(Some(number)),
        None => Err(parts.wrong(KEY, "a number from 0 to 1", &value)),
    }
}
