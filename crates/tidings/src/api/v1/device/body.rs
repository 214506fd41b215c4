//! `POST /v1/devices` and `PATCH /v1/devices/{registration_id}`; a device sends the body of the latter over the link too.

use std::collections::HashSet;
use std::fmt::Display;
use std::str::FromStr;

use serde_json::Value;
use tidings_model::device::TAGS_MAX;
use tidings_model::{Alias, AppKey, Environment, Platform, Provider, Tag};

use crate::api::error::{ApiError, shown};
use crate::api::fields::{Fields, wrong};
use crate::api::v1::{required, short_text};
use crate::providers;

/// Characters of a BCP 47 language tag: RFC 5646 section 4.4.1 asks for room for 35.
const LOCALE_CHARS_MAX: usize = 35;
/// Characters of a name of the time zone database; the longest today has 32.
const TIME_ZONE_CHARS_MAX: usize = 64;
const APP_VERSION_CHARS_MAX: usize = 64;

/// A device that registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registration {
    pub(crate) alias: Option<Alias>,
    pub(crate) app_key: AppKey,
    pub(crate) app_version: Option<String>,
    pub(crate) channels: Channels,
    pub(crate) locale: Option<String>,
    pub(crate) platform: Platform,
    pub(crate) tags: Vec<Tag>,
    pub(crate) time_zone: Option<String>,
}

/// What changes of a device. The outer `None` leaves a thing as it is, the inner one takes it away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DevicePatch {
    pub(crate) alias: Option<Option<Alias>>,
    pub(crate) app_version: Option<Option<String>>,
    /// All channels of the device from now on.
    pub(crate) channels: Option<Channels>,
    pub(crate) locale: Option<Option<String>>,
    /// All tags of the device from now on.
    pub(crate) tags: Option<Vec<Tag>>,
    pub(crate) time_zone: Option<Option<String>>,
}

/// The ways to one device: at least one, and at most one for each provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Channels(Vec<Channel>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Channel {
    /// Absent: that which the push or the app's credential says; or the provider has only one.
    pub(crate) environment: Option<Environment>,
    pub(crate) provider: Provider,
    /// The address, as the provider compares them; the link has none.
    pub(crate) token: Option<String>,
}

impl Channels {
    pub(crate) fn as_slice(&self) -> &[Channel] {
        &self.0
    }

    /// Refuses a provider that has no devices of this platform.
    pub(crate) fn check(&self, platform: Platform) -> Result<(), ApiError> {
        for (index, channel) in self.0.iter().enumerate() {
            let provider = channel.provider;
            let platforms = provider.nature().platforms;
            if !platforms.contains(platform) {
                let names: Vec<_> = platforms.iter().map(Platform::name).collect();
                let names = names.join(" and ");
                return Err(ApiError::invalid(
                    format!("channels[{index}].provider"),
                    format!(
                        "{provider} reaches devices of the platform {names} only, not of {platform}"
                    ),
                ));
            }
        }
        Ok(())
    }

    fn read(fields: &mut Fields) -> Result<Option<Self>, ApiError> {
        let mut channels: Vec<Channel> = Vec::new();
        for (path, value) in fields.list("channels")?.unwrap_or_default() {
            let channel = channel(path.clone(), value)?;
            let provider = channel.provider;
            if channels.iter().any(|other| other.provider == provider) {
                let why = format!("{provider} is there twice: one channel for each provider");
                return Err(ApiError::invalid(format!("{path}.provider"), why));
            }
            channels.push(channel);
        }
        Ok(Some(Self(channels)).filter(|channels| !channels.0.is_empty()))
    }
}

impl Registration {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = Fields::parse(body)?;
        let app_key = parsed(&mut fields, "app_key")?;
        let platform = parsed(&mut fields, "platform")?;
        let channels = Channels::read(&mut fields)?;
        let registration = Self {
            alias: parsed(&mut fields, "alias")?,
            app_key: required(&fields, "app_key", app_key, "the key of the app")?,
            app_version: short_text(&mut fields, "app_version", APP_VERSION_CHARS_MAX)?,
            channels: required(
                &fields,
                "channels",
                channels,
                "give at least one, such as {\"provider\":\"link\"}",
            )?,
            locale: locale(&mut fields)?,
            platform: required(
                &fields,
                "platform",
                platform,
                "ios, android, hmos, web or windows",
            )?,
            tags: tags(&mut fields)?,
            time_zone: time_zone(&mut fields)?,
        };
        fields.finish_strictly()?;
        registration.channels.check(registration.platform)?;
        Ok(registration)
    }
}

impl DevicePatch {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = Fields::parse(body)?;
        let patch = Self {
            alias: changed(&mut fields, "alias", |fields| parsed(fields, "alias"))?,
            app_version: changed(&mut fields, "app_version", |fields| {
                short_text(fields, "app_version", APP_VERSION_CHARS_MAX)
            })?,
            channels: match changed(&mut fields, "channels", Channels::read)? {
                Some(None) => {
                    let why = "must have an entry: to take a device's last channel away, delete the device";
                    return Err(ApiError::invalid(fields.at("channels"), why));
                }
                channels => channels.flatten(),
            },
            locale: changed(&mut fields, "locale", locale)?,
            tags: changed(&mut fields, "tags", tags)?,
            time_zone: changed(&mut fields, "time_zone", time_zone)?,
        };
        fields.finish_strictly()?;
        Ok(patch)
    }
}

/// What `read` makes of a key that is there, be it `null`; `None` when the key is not.
fn changed<T>(
    fields: &mut Fields,
    key: &'static str,
    read: impl FnOnce(&mut Fields) -> Result<T, ApiError>,
) -> Result<Option<T>, ApiError> {
    let is_there = fields.has(key);
    let value = read(fields)?;
    Ok(Some(value).filter(|_| is_there))
}

/// A text that is parsed by its type; `""` is absent.
fn parsed<T>(fields: &mut Fields, key: &'static str) -> Result<Option<T>, ApiError>
where
    T: FromStr<Err: Display>,
{
    let Some(text) = fields.text(key)?.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(value) => Ok(Some(value)),
        Err(error) => {
            let why = format!("{} is wrong: {error}", shown(&text));
            Err(ApiError::invalid(fields.at(key), why))
        }
    }
}

/// The distinct tags of a device.
fn tags(fields: &mut Fields) -> Result<Vec<Tag>, ApiError> {
    let mut seen = HashSet::new();
    let mut tags = Vec::new();
    for (path, value) in fields.list("tags")?.unwrap_or_default() {
        let Value::String(text) = &value else {
            return Err(wrong(path, "a string", &value));
        };
        let tag: Tag = text.parse().map_err(|error| {
            ApiError::invalid(path, format!("{} is wrong: it {error}", shown(text)))
        })?;
        if seen.insert(tag.clone()) {
            tags.push(tag);
        }
    }
    if tags.len() > TAGS_MAX {
        let why = format!("may have at most {TAGS_MAX} entries, not {}", tags.len());
        return Err(ApiError::invalid(fields.at("tags"), why));
    }
    Ok(tags)
}

fn channel(path: String, value: Value) -> Result<Channel, ApiError> {
    let Value::Object(map) = value else {
        return Err(wrong(
            path,
            "an object such as {\"provider\":\"link\"}",
            &value,
        ));
    };
    let mut fields = Fields::new(path, map);
    let provider = parsed(&mut fields, "provider")?;
    let wanted = Provider::ALL.map(Provider::name).join(" or ");
    let provider: Provider = required(&fields, "provider", provider, &wanted)?;
    let environment = match provider.nature().environments {
        [] => None,
        _ => parsed(&mut fields, "environment")?,
    };
    let token = match providers::adapter(provider) {
        Some(adapter) => Some(adapter.address(&mut fields)?),
        None => None,
    };
    fields.finish_strictly()?;
    Ok(Channel {
        environment,
        provider,
        token,
    })
}

fn locale(fields: &mut Fields) -> Result<Option<String>, ApiError> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    name(fields, "locale", LOCALE_CHARS_MAX, is_allowed, "zh-Hans-CN")
}

fn time_zone(fields: &mut Fields) -> Result<Option<String>, ApiError> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '+');
    name(
        fields,
        "time_zone",
        TIME_ZONE_CHARS_MAX,
        is_allowed,
        "Asia/Shanghai",
    )
}

/// A name in a standard's letters. Whether the name is one that exists is not asked: standards grow faster than servers.
fn name(
    fields: &mut Fields,
    key: &'static str,
    chars_max: usize,
    is_allowed: impl Fn(char) -> bool,
    example: &str,
) -> Result<Option<String>, ApiError> {
    let name = short_text(fields, key, chars_max)?;
    match &name {
        Some(text) if !text.chars().all(is_allowed) => {
            let why = format!("must be a name like {example}, not {}", shown(text));
            Err(ApiError::invalid(fields.at(key), why))
        }
        _ => Ok(name),
    }
}

#[cfg(test)]
mod tests;
