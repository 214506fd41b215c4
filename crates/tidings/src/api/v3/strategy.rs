//! In which order providers and the link come: what a push says, else what its app is set to.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Map, Value};
use tidings_model::{Preference, Provider, ProviderSet, Push, Strategy};
use tidings_store::App;

use crate::api::error::ApiError;
use crate::api::fields::{Fields, Ignored, Known, integer, read, refused};
use crate::providers;

/// What Tidings adds to the options of a push.
const TIDINGS: [Known; 4] = [
    read("fallback"),
    refused("frequency_cap"),
    refused("local_time"),
    refused("quiet_hours"),
];

const FALLBACK: [Known; 1] = [read("after")];

/// A device has some time to acknowledge, and it is no later than most messages live.
const AFTER: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);

/// Milliseconds, where neither push nor app says it.
pub(crate) const DEFAULT_MILLIS: u32 = 30_000;

const AFTER_WANTED: &str = "must be a time from 1 second to 1 day, such as \"30s\" or \"5m\"";

/// Reads `options.tidings`: milliseconds after which a provider gets what the link has first.
pub(super) fn fallback(
    options: &mut Fields,
    ignored: &mut Ignored,
) -> Result<Option<u32>, ApiError> {
    let Some(fields) = options.object("tidings")? else {
        return Ok(None);
    };
    let mut fields = fields.of(&[&TIDINGS])?;
    let after = match fields.object("fallback")? {
        Some(fallback) => {
            let mut fallback = fallback.of(&[&FALLBACK])?;
            let after = after(&mut fallback, "after")?;
            let path = fallback.at("after");
            fallback.finish(ignored)?;
            Some(after.ok_or_else(|| ApiError::missing(path, AFTER_WANTED))?)
        }
        None => None,
    };
    fields.finish(ignored)?;
    Ok(after)
}

/// A time as a text with its unit, or as seconds; in milliseconds.
pub(crate) fn after(fields: &mut Fields, key: &'static str) -> Result<Option<u32>, ApiError> {
    let Some(value) = fields.value(key) else {
        return Ok(None);
    };
    let time = match &value {
        Value::String(text) => text.parse::<SignedDuration>().ok(),
        other => integer(other).map(SignedDuration::from_secs),
    };
    let time = time.and_then(|time| Duration::try_from(time).ok());
    match time.filter(|time| AFTER.contains(time)) {
        Some(time) => Ok(u32::try_from(time.as_millis()).ok()),
        None => Err(ApiError::invalid(fields.at(key), AFTER_WANTED)),
    }
}

/// Settles what the push leaves to the app.
pub(super) fn settle(push: &mut Push, app: &App) {
    let given = push.options.fallback_after.take();
    let by: ProviderSet = push.message_by().collect();
    let is_custom = push.notification.is_none();
    let options = &mut push.options;
    for provider in remote().filter(|provider| !is_custom || by.contains(*provider)) {
        let unsaid = match given {
            Some(_) => Strategy::LinkFirst,
            None => app.strategy.of(provider),
        };
        let said = |key| said(&options.third_party_channel, provider, key);
        let strategy = match said("distribution_customize").filter(|_| is_custom) {
            Some(strategy) => strategy,
            None => said("distribution").unwrap_or(unsaid),
        };
        let strategy = match strategy {
            // What stands in the place of a custom message is for whoever the message itself does not reach.
            Strategy::ProviderFirst | Strategy::ProviderOnly
                if is_custom && !options.handed_by.contains(&provider) =>
            {
                Strategy::LinkIfConnected
            }
            strategy => strategy,
        };
        options.strategies.set(provider, strategy);
    }
    if options.strategies.link_first().next().is_some() {
        options.fallback_after = Some(given.or(app.fallback_after).unwrap_or(DEFAULT_MILLIS));
    }
}

fn remote() -> impl Iterator<Item = Provider> {
    let all = Provider::ALL.into_iter();
    all.filter(|provider| provider.is_remote())
}

/// What a push says of one maker: of notifications, or of custom messages.
fn said(
    third_party_channel: &Map<String, Value>,
    provider: Provider,
    key: &str,
) -> Option<Strategy> {
    let said = third_party_channel.get(provider.name())?;
    Strategy::named(said[key].as_str()?)
}

/// The providers that are to hand a custom message to the app itself: those that can and of which the push says so.
pub(super) fn handed_by(third_party_channel: &Map<String, Value>) -> BTreeSet<Provider> {
    let hand = providers::adapters().filter(|(_, adapter)| adapter.hands_messages());
    let hand = hand.map(|(provider, _)| provider);
    hand.filter(|provider| {
        let said = said(third_party_channel, *provider, "distribution_customize");
        said.is_some_and(|strategy| strategy != Strategy::LinkOnly)
    })
    .collect()
}

/// Reads what an app is set to: JPush's word for each provider, and for the others as `default`.
pub(crate) fn preference(fields: &mut Fields) -> Result<Option<Preference>, ApiError> {
    let Some(mut said) = fields.object("strategy")? else {
        return Ok(None);
    };
    let default = word(&mut said, "default")?.unwrap_or_default();
    let mut of = BTreeMap::new();
    for provider in remote() {
        of.extend(word(&mut said, provider.name())?.map(|strategy| (provider, strategy)));
    }
    said.finish_strictly()?;
    Ok(Some(Preference { default, of }))
}

fn word(fields: &mut Fields, key: &'static str) -> Result<Option<Strategy>, ApiError> {
    let Some(word) = fields.text(key)?.filter(|word| !word.is_empty()) else {
        return Ok(None);
    };
    match Strategy::named(&word) {
        Some(strategy) => Ok(Some(strategy)),
        None => {
            let words = Strategy::NAMED.map(|(word, _)| word).join(", ");
            let why = format!("must be one of: {words}");
            Err(ApiError::invalid(fields.at(key), why))
        }
    }
}

/// As [`preference`] reads it.
pub(crate) fn shown(preference: &Preference) -> Value {
    let name = |strategy: Strategy| Value::from(strategy.name());
    let of = preference.of.iter();
    let mut shown: Map<String, Value> = of
        .map(|(provider, strategy)| (provider.name().to_owned(), name(*strategy)))
        .collect();
    shown.insert("default".to_owned(), name(preference.default));
    Value::Object(shown)
}

/// A time as [`after`] reads it.
pub(crate) fn time_shown(millis: u32) -> String {
    format!("{:#}", SignedDuration::from_millis(millis.into()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Fields {
        match value {
            Value::Object(map) => Fields::new(String::new(), map),
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn a_time_is_read_in_the_forms_in_which_people_write_it() {
        let read = |value: Value| after(&mut fields(json!({"after": value})), "after");
        let cases = [
            (json!("30s"), 30_000),
            (json!("1500ms"), 1500),
            (json!("2m"), 120_000),
            (json!("1m 30s"), 90_000),
            (json!("PT45S"), 45_000),
            (json!(45), 45_000),
            (json!("24h"), 86_400_000),
        ];
        for (value, millis) in cases {
            assert_eq!(
                read(value.clone()).expect("a time"),
                Some(millis),
                "{value}"
            );
            let again = read(json!(time_shown(millis)));
            assert_eq!(
                again.expect("a time"),
                Some(millis),
                "{}",
                time_shown(millis)
            );
        }
        for value in [
            json!("0s"),
            json!("25h"),
            json!("soon"),
            json!("30"),
            json!(-1),
            json!("-5s"),
        ] {
            assert!(read(value.clone()).is_err(), "{value}");
        }
    }

    #[test]
    fn what_is_set_is_shown_as_it_was_said() {
        let said = json!({"default": "secondary_push", "huawei": "ospush"});
        let mut body = fields(json!({"strategy": said}));
        let preference = preference(&mut body).expect("read").expect("said");
        assert_eq!(preference.of(Provider::Huawei), Strategy::ProviderOnly);
        assert_eq!(preference.of(Provider::Apns), Strategy::LinkIfConnected);
        assert_eq!(shown(&preference), said);
        for wrong in [
            json!({"default": "fast"}),
            json!({"link": "jpush"}),
            json!({"nokia": "jpush"}),
        ] {
            let mut body = fields(json!({"strategy": wrong}));
            assert!(super::preference(&mut body).is_err(), "{wrong}");
        }
    }
}
