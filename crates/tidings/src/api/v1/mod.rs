//! Tidings' own API: what administrators, devices and back ends call.

pub(crate) mod app;
pub(crate) mod credential;
pub(crate) mod device;
pub(crate) mod event;
pub(crate) mod message;
pub(crate) mod version;

use jiff::Timestamp;
use tidings_model::UnixMillis;

use super::error::{ApiError, shown};
use super::fields::Fields;

pub(crate) use super::v3::reply::Done;

/// A time as `/v1` writes it (RFC 3339), in UTC and to the millisecond.
pub(crate) fn rfc3339(time: UnixMillis) -> String {
    let time = Timestamp::from_millisecond(time.0).unwrap_or(Timestamp::MAX);
    format!("{time:.3}")
}

/// A short text for people: not blank, and no control characters; `""` is absent.
fn short_text(
    fields: &mut Fields,
    key: &'static str,
    chars_max: usize,
) -> Result<Option<String>, ApiError> {
    let Some(text) = fields.text(key)?.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let len = text.chars().count();
    if len > chars_max {
        let why = format!("may have at most {chars_max} characters, not {len}");
        return Err(ApiError::invalid(fields.at(key), why));
    }
    if text.trim() != text || text.chars().any(char::is_control) {
        let why = format!(
            "may not hold control characters, or blanks at its ends: {}",
            shown(&text)
        );
        return Err(ApiError::invalid(fields.at(key), why));
    }
    Ok(Some(text))
}

/// A field that has to be there.
fn required<T>(fields: &Fields, key: &str, value: Option<T>, wanted: &str) -> Result<T, ApiError> {
    value.ok_or_else(|| ApiError::missing(fields.at(key), wanted))
}
