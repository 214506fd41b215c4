//! Tidings' own API: what administrators, devices and back ends call.

pub(crate) mod app;
pub(crate) mod callback;
pub(crate) mod credential;
pub(crate) mod device;
pub(crate) mod event;
pub(crate) mod message;
pub(crate) mod version;

use super::error::{ApiError, shown};
use super::fields::Fields;

pub(crate) use super::v3::reply::Done;
pub(crate) use crate::clock::rfc3339;

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
pub(crate) fn required<T>(
    fields: &Fields,
    key: &str,
    value: Option<T>,
    wanted: &str,
) -> Result<T, ApiError> {
    value.ok_or_else(|| ApiError::missing(fields.at(key), wanted))
}
