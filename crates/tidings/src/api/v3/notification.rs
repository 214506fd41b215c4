//! What a push shows (JPush's reference, "notification"). The ios section is taken apart, since Apple's payload is
//! built from it; the android section is checked and kept in JPush's field names, since that is how devices get it.

use serde_json::{Map, Value, json};
use tidings_model::{InterruptionLevel, IosNotification, Notification, Platform, PlatformSet};

use crate::api::error::{ApiError, Fault};
use crate::api::fields::{Fields, Ignored, flag, is_blank, json_len};

/// Bytes of compact JSON of the ios section (JPush's reference, size limits).
const IOS_BYTES_MAX: usize = 2000;
/// Bytes of an Android notification channel's name (the same).
const CHANNEL_ID_BYTES_MAX: usize = 1000;
/// The greatest number that a badge shows (JPush's limit).
const BADGE_MAX: i64 = 99;

const ALERT_WANTED: &str =
    "give it a text, here or in notification.alert (\"\" for a notification that shows nothing)";

/// Reads the notification, and refuses one that shows nothing on any of `platforms`.
pub(crate) fn notification(
    push: &mut Fields,
    platforms: PlatformSet,
    ignored: &mut Ignored,
) -> Result<Option<Notification>, ApiError> {
    let Some(mut fields) = push.object("notification")? else {
        return Ok(None);
    };
    fields.refuse("voip")?;
    for key in [
        "ai_opportunity",
        "alternate_alert",
        "hmos",
        "quickapp",
        "winphone",
    ] {
        fields.ignore(key, ignored);
    }
    let alert = fields.text("alert")?;
    let android = match section(&mut fields, "android", alert.as_deref())? {
        Some(section) => Some(android(section, ignored)?),
        None => None,
    };
    let ios = match section(&mut fields, "ios", alert.as_deref())? {
        Some(section) => Some(ios(section, ignored)?),
        None => None,
    };
    let path = fields.path().to_owned();
    fields.finish(ignored)?;

    let notification = Notification {
        alert,
        android,
        ios,
    };
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

/// How a key of the android section is checked.
enum Check {
    /// From, to.
    Integer(i64, i64),
    List,
    Object,
    Text,
    /// Bytes, at most.
    TextUpTo(usize),
    /// `yyyy-MM-dd HH:mm:ss`.
    Time,
}

const ANDROID: [(&str, Check); 24] = [
    ("alert_type", Check::Integer(-1, 7)),
    ("badge_add_num", Check::Integer(1, BADGE_MAX)),
    ("badge_class", Check::Text),
    ("badge_set_num", Check::Integer(0, BADGE_MAX)),
    ("big_pic_path", Check::Text),
    ("big_text", Check::Text),
    ("builder_id", Check::Integer(0, i32::MAX as i64)),
    ("category", Check::Text),
    ("channel_id", Check::TextUpTo(CHANNEL_ID_BYTES_MAX)),
    ("custom_buttons", Check::List),
    ("extras", Check::Object),
    ("icon_bg_color", Check::Text),
    ("inbox", Check::Object),
    ("large_icon", Check::Text),
    ("priority", Check::Integer(-2, 2)),
    ("show_begin_time", Check::Time),
    ("show_end_time", Check::Time),
    ("small_icon_uri", Check::Text),
    ("sound", Check::Text),
    ("style", Check::Integer(0, 3)),
    ("title", Check::Text),
    ("uri_action", Check::Text),
    ("uri_activity", Check::Text),
    ("uri_flag", Check::Text),
];

fn android(mut fields: Fields, ignored: &mut Ignored) -> Result<Map<String, Value>, ApiError> {
    let mut kept = Map::new();
    match fields.text("alert")? {
        Some(alert) => kept.insert("alert".to_owned(), alert.into()),
        None => {
            return Err(ApiError::invalid(
                fields.at("alert"),
                format!("is missing: {ALERT_WANTED}"),
            ));
        }
    };
    for (key, check) in ANDROID {
        let value = match check {
            Check::Integer(min, max) => fields.integer(key, min..=max)?.map(Value::from),
            Check::List => fields
                .list(key)?
                .map(|entries| entries.into_iter().map(|(_, entry)| entry).collect()),
            Check::Object => Some(fields.map(key)?)
                .filter(|map| !map.is_empty())
                .map(Value::Object),
            Check::Text => fields.text(key)?.map(Value::from),
            Check::TextUpTo(bytes_max) => text_up_to(&mut fields, key, bytes_max)?.map(Value::from),
            Check::Time => time(&mut fields, key)?.map(Value::from),
        };
        if let Some(value) = value {
            kept.insert(key.to_owned(), value);
        }
    }
    if let Some(mut intent) = fields.object("intent")? {
        let url = intent.text("url")?;
        intent.finish(ignored)?;
        if let Some(url) = url.filter(|url| !url.is_empty()) {
            let url = Map::from_iter([("url".to_owned(), Value::String(url))]);
            kept.insert("intent".to_owned(), url.into());
        }
    }
    if let Some(value) = fields
        .value("display_foreground")
        .filter(|value| !is_blank(value))
    {
        let Some(flag) = flag(&value) else {
            return Err(fields.wrong("display_foreground", "\"1\" or \"0\"", &value));
        };
        kept.insert(
            "display_foreground".to_owned(),
            if flag { "1" } else { "0" }.into(),
        );
    }
    fields.finish(ignored)?;
    Ok(kept)
}

fn text_up_to(
    fields: &mut Fields,
    key: &'static str,
    bytes_max: usize,
) -> Result<Option<String>, ApiError> {
    let text = fields.text(key)?;
    match &text {
        Some(long) if long.len() > bytes_max => Err(ApiError::at(
            Fault::TooLarge,
            fields.at(key),
            format!("may have at most {bytes_max} bytes, not {}", long.len()),
        )),
        _ => Ok(text),
    }
}

fn time(fields: &mut Fields, key: &'static str) -> Result<Option<String>, ApiError> {
    const FORM: &str = "%Y-%m-%d %H:%M:%S";
    let Some(text) = fields.text(key)?.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    // The parser takes numbers without their leading zeros, the form does not.
    match jiff::civil::DateTime::strptime(FORM, &text) {
        Ok(time) if time.strftime(FORM).to_string() == text => Ok(Some(text)),
        _ => Err(fields.wrong(key, "a time like 2026-09-17 12:00:00", &Value::String(text))),
    }
}

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
                ignored.add(fields.at("badge"));
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

/// A file name, or Apple's object for a critical sound. `""` is JPush's way to say silent, and so is no sound at Apple.
fn sound(fields: &mut Fields, ignored: &mut Ignored) -> Result<Value, ApiError> {
    const KEY: &str = "sound";
    let mut parts = match fields.value(KEY) {
        Some(Value::String(name)) if !name.is_empty() => return Ok(Value::String(name)),
        Some(Value::Object(parts)) if !parts.is_empty() => Fields::new(fields.at(KEY), parts),
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
