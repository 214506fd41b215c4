//! The rules for the parameters of Xiaomi's message.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::form::decoded;
use crate::xiaomi::Params;
use crate::xiaomi::code::{Code, Refusal};

/// Characters of a title and of a description.
const TITLE_MAX: usize = 49;
const DESCRIPTION_MAX: usize = 127;

const PAYLOAD_BYTES_MAX: usize = 4_096;

/// Custom pairs and their characters together.
const PAIRS_MAX: usize = 10;
const PAIRS_CHARS_MAX: usize = 1_024;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// Longest life of public and of private messages, and how far ahead a message may be set.
const PUBLIC_LIFE_MS: i64 = DAY_MS;
const PRIVATE_LIFE_MS: i64 = 10 * DAY_MS;
const AHEAD_MS: i64 = 7 * DAY_MS;

/// Channels of private messages in the sandbox begin so; Xiaomi's are numbers that its console gives.
const PRIVATE: &str = "private";

/// The sandbox's own template and its variables; those of any other are not known.
const TEMPLATE: &str = "sandbox_template";
const TEMPLATE_VARIABLES: [&str; 2] = ["number", "state"];
const VARIABLES_MAX: usize = 9;
const VARIABLE_CHARS_MAX: usize = 128;

const CALLBACK_PARAM_BYTES_MAX: usize = 256;

/// Keys of `extra.` that are Xiaomi's own.
const OWN_KEYS: [&str; 26] = [
    "app_version",
    "app_version_not_in",
    "callback",
    "callback.param",
    "callback.type",
    "channel_description",
    "channel_id",
    "channel_name",
    "connpt",
    "flow_control",
    "intent_uri",
    "jobkey",
    "locale",
    "locale_not_in",
    "model",
    "model_not_in",
    "notification_style_type",
    "notify_effect",
    "notify_foreground",
    "only_send_once",
    "sound_uri",
    "template_id",
    "template_param",
    "ticker",
    "web_uri",
    "badge",
];

/// Checks the parameters and answers the message as a phone gets it, with its payload decoded.
pub(super) fn check(params: &Params, now_ms: i64) -> Result<Value, Refusal> {
    let get = |name: &str| params.get(name).map(String::as_str);
    let is_private = get("extra.channel_id").is_some_and(|id| id.starts_with(PRIVATE));
    let shows = integer(params, "pass_through", 0..=1)?.unwrap_or(0) == 0;
    if is_private {
        check_template(params)?;
    } else if shows {
        check_text(params, "title", TITLE_MAX)?;
        check_text(params, "description", DESCRIPTION_MAX)?;
    }
    // URL-encoded by itself, before the form was.
    let payload = get("payload").map(|payload| decoded(payload.as_bytes()));
    match &payload {
        Some(payload) if payload.len() > PAYLOAD_BYTES_MAX => {
            let message = format!("payload: {PAYLOAD_BYTES_MAX} bytes at most");
            return Err(Code::TooLong.refusal(message));
        }
        None if !shows => return Err(Code::MissingParameter.refusal("payload is required")),
        _ => {}
    }
    integer(params, "notify_type", -1..=7)?;
    integer(params, "notify_id", 0..=i64::from(i32::MAX))?;
    let life_max = if is_private {
        PRIVATE_LIFE_MS
    } else {
        PUBLIC_LIFE_MS
    };
    integer(params, "time_to_live", 1..=life_max)?;
    integer(params, "time_to_send", 0..=now_ms.saturating_add(AHEAD_MS))?;
    check_extra(params)?;
    check_callback(params)?;
    let mut message: Map<String, Value> = params
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
        .collect();
    if let Some(payload) = payload {
        message.insert("payload".to_owned(), Value::from(payload));
    }
    Ok(Value::Object(message))
}

fn check_text(params: &Params, name: &str, chars_max: usize) -> Result<(), Refusal> {
    match params.get(name).map(|text| text.trim()) {
        None | Some("") => Err(Code::MissingParameter.refusal(format!("{name} is required"))),
        Some(text) if text.chars().count() > chars_max => Err(wrong(
            name,
            &format!("must have {chars_max} characters at most"),
        )),
        Some(_) => Ok(()),
    }
}

/// A private message has its text from a template.
fn check_template(params: &Params) -> Result<(), Refusal> {
    let mismatch = |message: String| Code::ChannelMismatch.refusal(message);
    let id = params.get("extra.template_id").map(String::as_str);
    let Some(id) = id.filter(|id| !id.is_empty()) else {
        let message = "extra.template_id is required on a private channel";
        return Err(mismatch(message.to_owned()));
    };
    let text = params
        .get("extra.template_param")
        .map_or("{}", String::as_str);
    let variables: Map<String, Value> = serde_json::from_str(text)
        .map_err(|_| mismatch("extra.template_param is no JSON object".to_owned()))?;
    if variables.len() > VARIABLES_MAX {
        return Err(mismatch(format!("{VARIABLES_MAX} variables at most")));
    }
    for (name, value) in &variables {
        let is_fit = value.as_str().is_some_and(|text| {
            (1..=VARIABLE_CHARS_MAX).contains(&text.chars().count())
                && !text.trim().is_empty()
                && !text.chars().any(is_symbol)
        });
        if !is_fit {
            let what = "must be a string of 1 to 128 characters, not blank, without emoji";
            return Err(mismatch(format!("variable {name} {what}")));
        }
    }
    let has_all = TEMPLATE_VARIABLES
        .iter()
        .all(|name| variables.contains_key(*name));
    if id == TEMPLATE && !(has_all && variables.len() == TEMPLATE_VARIABLES.len()) {
        let names = TEMPLATE_VARIABLES.join(" and ");
        return Err(mismatch(format!("the variables must be {names}")));
    }
    Ok(())
}

/// Emoji and pictures.
fn is_symbol(char: char) -> bool {
    matches!(char, '\u{2600}'..='\u{27bf}' | '\u{fe0f}' | '\u{1f000}'..='\u{1faff}')
}

fn check_extra(params: &Params) -> Result<(), Refusal> {
    let pairs: Vec<(&str, &str)> = params
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix("extra.")?, value.as_str())))
        .collect();
    let own = |name: &str| {
        let found = pairs.iter().find(|(own, _)| *own == name);
        found.map(|(_, value)| *value)
    };
    let custom = pairs.iter().filter(|(name, _)| !OWN_KEYS.contains(name));
    if custom.clone().count() > PAIRS_MAX {
        return Err(Code::TooManyPairs.refusal(format!("{PAIRS_MAX} pairs at most")));
    }
    let chars: usize = custom
        .map(|(name, value)| name.chars().count() + value.chars().count())
        .sum();
    if chars > PAIRS_CHARS_MAX {
        return Err(Code::PairsTooLong.refusal(format!("{PAIRS_CHARS_MAX} characters at most")));
    }
    let needs = match own("notify_effect") {
        Some("2") => Some("intent_uri"),
        Some("3") => Some("web_uri"),
        Some("1") | None => None,
        Some(_) => return Err(wrong("extra.notify_effect", "must be 1, 2 or 3")),
    };
    if let Some(needed) = needs
        && own(needed).is_none_or(str::is_empty)
    {
        let message = format!("extra.{needed} is required by extra.notify_effect");
        return Err(Code::MissingParameter.refusal(message));
    }
    if own("jobkey").is_some_and(|key| !is_jobkey(key)) {
        let what = "must be 1 to 20 of letters, digits, _ and -, and not begin with _";
        return Err(wrong("extra.jobkey", what));
    }
    if own("notify_foreground").is_some_and(|flag| !["0", "1"].contains(&flag)) {
        return Err(wrong("extra.notify_foreground", "must be 0 or 1"));
    }
    Ok(())
}

fn is_jobkey(key: &str) -> bool {
    (1..=20).contains(&key.len())
        && !key.starts_with('_')
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

fn check_callback(params: &Params) -> Result<(), Refusal> {
    if let Some(url) = params.get("extra.callback")
        && !["http://", "https://"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
    {
        return Err(Code::CallbackIllegal.refusal("extra.callback must be a URL"));
    }
    let param = params.get("extra.callback.param");
    if param.is_some_and(|param| param.len() > CALLBACK_PARAM_BYTES_MAX) {
        let message = format!("extra.callback.param: {CALLBACK_PARAM_BYTES_MAX} bytes at most");
        return Err(Code::CallbackParam.refusal(message));
    }
    integer(params, "extra.callback.type", 1..=1_023)?;
    Ok(())
}

fn integer(
    params: &Params,
    name: &str,
    range: RangeInclusive<i64>,
) -> Result<Option<i64>, Refusal> {
    let Some(text) = params.get(name) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(number) if range.contains(&number) => Ok(Some(number)),
        _ => {
            let (low, high) = range.into_inner();
            Err(wrong(name, &format!("must be {low} to {high}")))
        }
    }
}

fn wrong(name: &str, what: &str) -> Refusal {
    Code::BadParameter.refusal(format!("{name} {what}"))
}
