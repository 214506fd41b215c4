//! The rules for the fields of OPPO's notification.

use serde_json::{Map, Value};

use crate::fields::{Fields, Wrong};
use crate::oppo::code::{Code, Refusal};

const SERVICE: [&str; 6] = [
    "IM",
    "ACCOUNT",
    "DEVICE_REMINDER",
    "ORDER",
    "TODO",
    "SUBSCRIPTION",
];
const MARKETING: [&str; 4] = ["NEWS", "CONTENT", "MARKETING", "SOCIAL"];

/// Channels of the sandbox whose messages need a template begin so; which do is said in OPPO's console.
const PRIVATE: &str = "private";

/// How a notification is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Broadcast,
    Single,
}

/// A form's text as the JSON that it stands for, where it stands for a number or a boolean.
pub(super) fn typed(text: String) -> Value {
    match serde_json::from_str(&text) {
        Ok(value @ (Value::Bool(_) | Value::Number(_))) => value,
        _ => Value::String(text),
    }
}

pub(super) fn check(notification: &Value, kind: Kind) -> Result<(), Refusal> {
    let Some(fields) = notification.as_object() else {
        return Err(Code::MissingArgument.refusal("notification is missing"));
    };
    let fields = Value::Object(snake_case(fields));
    let own = Fields::root(&fields)?;
    check_text(&own, kind)?;
    check_click(&own)?;
    check_class(&own)?;
    own.short("app_message_id", 64)?;
    own.flag("off_line")?;
    own.int("off_line_ttl", 0..=i64::MAX)?;
    own.int("show_ttl", 0..=24 * 60 * 60)?;
    own.int("show_time_type", 0..=1)?;
    own.int("network_type", 0..=1)?;
    own.int("notify_id", 0..=i64::from(i32::MAX))?;
    own.int("badge_operation_type", 0..=1)?;
    own.short("call_back_url", 200)?;
    own.short("call_back_parameter", 100)?;
    Ok(())
}

/// OPPO's tables name fields in snake case, its sample in camel case; both are taken.
fn snake_case(fields: &Map<String, Value>) -> Map<String, Value> {
    let named = |name: &str| {
        let mut snake = String::with_capacity(name.len() + 4);
        for char in name.chars() {
            if char.is_ascii_uppercase() {
                snake.push('_');
            }
            snake.push(char.to_ascii_lowercase());
        }
        snake
    };
    let fields = fields.iter();
    fields
        .map(|(name, value)| (named(name), value.clone()))
        .collect()
}

fn check_text(own: &Fields<'_>, kind: Kind) -> Result<(), Refusal> {
    let content_max = match own.int("style", 1..=3)? {
        Some(3) if kind == Kind::Single => {
            return Err(own.wrong("style", "3 is for broadcasts").into());
        }
        Some(2) => 128,
        _ => 50,
    };
    for (name, chars_max) in [("title", 50), ("content", content_max)] {
        if own.short(name, chars_max)?.is_none_or(str::is_empty) {
            return Err(Code::MissingArgument.refusal(format!("{name} is required")));
        }
    }
    own.short("sub_title", 10)?;
    Ok(())
}

fn check_click(own: &Fields<'_>) -> Result<(), Wrong> {
    let needs = match own.int("click_action_type", 0..=5)? {
        Some(1 | 4) => Some(("click_action_activity", 500)),
        Some(2 | 5) => Some(("click_action_url", 2_000)),
        Some(3) => return Err(own.wrong("click_action_type", "must be 0, 1, 2, 4 or 5")),
        _ => None,
    };
    if let Some((name, chars_max)) = needs {
        own.needed(name)?;
        own.short(name, chars_max)?;
    }
    match own.short("action_parameters", 4_000)? {
        Some(text) if serde_json::from_str::<Map<String, Value>>(text).is_err() => {
            Err(own.wrong("action_parameters", "must be a JSON object in a text"))
        }
        _ => Ok(()),
    }
}

/// Channel, category, level and template.
fn check_class(own: &Fields<'_>) -> Result<(), Refusal> {
    let channel = own.short("channel_id", 64)?;
    let category = own.text("category")?;
    if category.is_some_and(|name| !SERVICE.contains(&name) && !MARKETING.contains(&name)) {
        return Err(Code::CategoryError.refusal("no such category"));
    }
    let level = own.int("notify_level", 1..=16)?;
    if level.is_some_and(|level| ![1, 2, 16].contains(&level)) {
        return Err(own.wrong("notify_level", "must be 1, 2 or 16").into());
    }
    if level.is_some() && category.is_none() {
        return Err(Code::CategoryError.refusal("notify_level needs a category"));
    }
    let template = own.short("private_msg_template_id", 128)?;
    let mut has_parameters = false;
    for name in ["private_title_parameters", "private_content_parameters"] {
        has_parameters |= own.value(name).is_some();
        // Clients send an object, or one in a text.
        let is_map = match own.value(name) {
            Some(Value::String(text)) => serde_json::from_str::<Map<String, Value>>(text).is_ok(),
            Some(value) => value.is_object(),
            None => true,
        };
        if !is_map {
            return Err(own
                .wrong(name, "must be an object, or one in a text")
                .into());
        }
    }
    let needs = has_parameters || channel.is_some_and(|channel| channel.starts_with(PRIVATE));
    if needs && template.is_none_or(str::is_empty) {
        return Err(Code::TemplateMissing.refusal("private_msg_template_id is null"));
    }
    Ok(())
}

impl From<Wrong> for Refusal {
    fn from(Wrong(message): Wrong) -> Self {
        Code::BadArgument.refusal(message)
    }
}
