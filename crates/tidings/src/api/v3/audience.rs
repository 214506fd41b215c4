//! Who a push is for, and on which platforms, as JPush writes it (its reference, "platform" and "audience").

use std::collections::HashSet;
use std::fmt::Display;
use std::str::FromStr;

use serde_json::Value;
use tidings_model::{Audience, DeviceId, Platform, PlatformSet, Selection};

use crate::api::error::{ApiError, Fault, shown};
use crate::api::fields::{Fields, Ignored, Known, read, refused, unsupported, wrong};

const PLATFORMS: &str =
    "\"all\" or an array of android, ios, hmos, web, windows, quickapp, winphone";

const AUDIENCE: [Known; 9] = [
    refused("abtest"),
    read("alias"),
    refused("file"),
    refused("live_activity_id"),
    read("registration_id"),
    refused("segment"),
    read("tag"),
    refused("tag_and"),
    refused("tag_not"),
];

/// The platforms of a push. `quickapp` and `winphone` are names that JPush knows and Tidings has no devices for.
pub(crate) fn platforms(push: &mut Fields, ignored: &mut Ignored) -> Result<PlatformSet, ApiError> {
    let Some(value) = push.value("platform") else {
        return Err(ApiError::missing(
            push.at("platform"),
            &format!("name {PLATFORMS}"),
        ));
    };
    let names = match value {
        Value::String(all) if all == "all" => return Ok(PlatformSet::ALL),
        // PHP writes an array with gaps as an object.
        Value::Array(names) => names,
        Value::Object(map) => map.into_values().collect(),
        other => return Err(push.wrong("platform", PLATFORMS, &other)),
    };
    if names.is_empty() {
        return Err(ApiError::invalid(
            push.at("platform"),
            format!("must be {PLATFORMS}, not empty"),
        ));
    }
    let mut platforms = Vec::new();
    for name in &names {
        match name.as_str() {
            Some(name @ ("quickapp" | "winphone")) => {
                ignored.known(push.at(&format!("platform.{name}")));
            }
            Some(name) => match name.parse::<Platform>() {
                Ok(platform) => platforms.push(platform),
                Err(_) => return Err(push.wrong("platform", PLATFORMS, &Value::from(name))),
            },
            None => return Err(push.wrong("platform", PLATFORMS, name)),
        }
    }
    if platforms.is_empty() {
        return Err(unsupported(push.at("platform")));
    }
    Ok(platforms.into_iter().collect())
}

/// The audience of a push.
#[derive(Debug)]
pub(crate) struct ParsedAudience {
    pub(crate) audience: Audience,
    /// Registration ids that Tidings has never given out, as sent; the audience has at least one other.
    pub(crate) unknown_registration_ids: Vec<String>,
}

/// Reads the audience. Several keys narrow each other, entries of one list are alternatives, and an empty list counts
/// as absent. When none of the registration ids can be one of ours, no device can match, and the push is refused as
/// JPush does.
pub(crate) fn audience(push: &mut Fields) -> Result<ParsedAudience, ApiError> {
    const WANTED: &str = "\"all\" or an object with tag, alias or registration_id";
    let map = match push.value("audience") {
        Some(Value::String(all)) if all == "all" => {
            return Ok(ParsedAudience {
                audience: Audience::All,
                unknown_registration_ids: Vec::new(),
            });
        }
        Some(Value::Object(map)) if !map.is_empty() => map,
        None => return Err(ApiError::missing(push.at("audience"), WANTED)),
        Some(Value::Object(_)) => return Err(ApiError::missing(push.at("audience"), WANTED)),
        Some(Value::Array(list)) if list.is_empty() => {
            return Err(ApiError::missing(push.at("audience"), WANTED));
        }
        Some(Value::String(text)) if text.is_empty() => {
            return Err(ApiError::missing(push.at("audience"), WANTED));
        }
        Some(other) => return Err(push.wrong("audience", WANTED, &other)),
    };
    let mut fields = Fields::new(push.at("audience"), map).of(&[&AUDIENCE])?;
    let tags = labels(&mut fields, "tag", Selection::TAGS_MAX)?;
    let aliases = labels(&mut fields, "alias", Selection::ALIASES_MAX)?;
    let (devices, unknown) = devices(&mut fields)?;
    let path = fields.path().to_owned();
    // Leaving out a condition that is not understood would widen the audience.
    fields.finish_strictly()?;

    if let (true, Some(first)) = (devices.is_empty(), unknown.first()) {
        return Err(ApiError::new(
            Fault::Invalid,
            format!("The registration_id {} is invalid!", short(first)),
        ));
    }
    if tags.is_empty() && aliases.is_empty() && devices.is_empty() {
        return Err(ApiError::invalid(
            path,
            "has no target: give tag, alias or registration_id at least one entry",
        ));
    }
    Ok(ParsedAudience {
        audience: Audience::Selection(Selection {
            aliases,
            devices,
            tags,
        }),
        unknown_registration_ids: unknown,
    })
}

/// The distinct tags or aliases of a list.
fn labels<T>(fields: &mut Fields, key: &'static str, entries_max: usize) -> Result<Vec<T>, ApiError>
where
    T: FromStr<Err: Display>,
{
    let mut labels = Vec::new();
    for (path, text) in distinct(fields, key, entries_max)? {
        match text.parse() {
            Ok(label) => labels.push(label),
            Err(error) => {
                return Err(ApiError::invalid(
                    path,
                    format!("{error}, not {}", shown(&text)),
                ));
            }
        }
    }
    Ok(labels)
}

/// The distinct registration ids that can be ours, and those that cannot.
fn devices(fields: &mut Fields) -> Result<(Vec<DeviceId>, Vec<String>), ApiError> {
    let mut devices = Vec::new();
    let mut unknown = Vec::new();
    for (path, text) in distinct(fields, "registration_id", Selection::DEVICES_MAX)? {
        if text.is_empty() {
            return Err(ApiError::invalid(path, "must not be empty"));
        }
        match text.parse() {
            Ok(device) => devices.push(device),
            Err(_) => unknown.push(text),
        }
    }
    Ok((devices, unknown))
}

/// The texts of a list without repetitions, in order, each with its path.
fn distinct(
    fields: &mut Fields,
    key: &'static str,
    entries_max: usize,
) -> Result<Vec<(String, String)>, ApiError> {
    let mut seen = HashSet::new();
    let mut entries = Vec::new();
    for (path, value) in fields.list(key)?.unwrap_or_default() {
        let Value::String(text) = value else {
            return Err(wrong(path, "a string", &value));
        };
        if seen.insert(text.clone()) {
            entries.push((path, text));
        }
    }
    if entries.len() > entries_max {
        return Err(ApiError::invalid(
            fields.at(key),
            format!(
                "may have at most {entries_max} entries, not {}",
                entries.len()
            ),
        ));
    }
    Ok(entries)
}

/// A registration id as JPush quotes it, cut, since it may be as long as the body.
fn short(text: &str) -> String {
    text.chars().take(64).collect()
}
