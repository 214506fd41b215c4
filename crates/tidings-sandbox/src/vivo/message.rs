//! The rules for the fields of vivo's message.

use serde_json::Value;

use crate::fields::{Fields, Wrong};
use crate::vivo::code::{Code, Refusal};

const SYSTEM: [&str; 6] = [
    "IM",
    "ACCOUNT",
    "TODO",
    "DEVICE_REMINDER",
    "ORDER",
    "SUBSCRIPTION",
];
const OPERATION: [&str; 4] = ["NEWS", "CONTENT", "MARKETING", "SOCIAL"];

/// Least life, in seconds; a longer one than a day is cut to a day.
const TIME_TO_LIVE_MIN: i64 = 60;

/// Characters of `skipContent` in the newest table; older ones have 1,024.
const SKIP_CONTENT_MAX: usize = 2_048;

const CUSTOM_CHARS_MAX: usize = 1_024;

pub(super) fn check(body: &Value) -> Result<(), Refusal> {
    let own = Fields::root(body)?;
    coded(own.int("notifyType", 1..=4), Code::BadNotifyType)?.ok_or(Code::BadNotifyType)?;
    check_text(&own, "title", 40, Code::NoTitle, Code::TitleTooLong)?;
    check_text(&own, "content", 100, Code::NoContent, Code::ContentTooLong)?;
    coded(
        own.int("timeToLive", TIME_TO_LIVE_MIN..=i64::MAX),
        Code::BadTimeToLive,
    )?;
    match coded(own.int("skipType", 1..=4), Code::BadSkipType)? {
        Some(1) => {}
        Some(2 | 4) => {
            let (none, long) = (Code::NoSkipContent, Code::SkipContentTooLong);
            check_text(&own, "skipContent", SKIP_CONTENT_MAX, none, long)?;
        }
        // 3, handled by the app, is gone from the newest table.
        _ => return Err(Code::BadSkipType.into()),
    }
    let network = coded(own.int("networkType", -1..=1), Code::BadNetworkType)?;
    if network == Some(0) {
        return Err(Code::BadNetworkType.into());
    }
    check_class(&own)?;
    coded(
        own.int("notifyId", 1..=i64::from(i32::MAX)),
        Code::BadNotifyId,
    )?;
    check_custom(&own)?;
    check_extra(&own)?;
    own.int("pushMode", 0..=1)?;
    for name in ["sendOnline", "foregroundShow", "addBadge"] {
        own.flag(name)?;
    }
    own.short("profileId", 64)?;
    own.text("notificationChannel")?;
    own.object("timedDisplay")?;
    Ok(())
}

pub(super) fn check_request_id(body: &Value) -> Result<(), Refusal> {
    let own = Fields::root(body)?;
    let (none, long) = (Code::NoRequestId, Code::RequestIdTooLong);
    check_text(&own, "requestId", 64, none, long)
}

fn check_text(
    own: &Fields<'_>,
    name: &str,
    chars_max: usize,
    none: Code,
    long: Code,
) -> Result<(), Refusal> {
    match own.text(name)? {
        None | Some("") => Err(none.into()),
        Some(text) if text.chars().count() > chars_max => Err(long.into()),
        Some(_) => Ok(()),
    }
}

fn check_class(own: &Fields<'_>) -> Result<(), Refusal> {
    let classification = coded(own.int("classification", 0..=1), Code::BadClassification)?;
    let class = match own.text("category")? {
        None => return Ok(()),
        Some(name) if SYSTEM.contains(&name) => 1,
        Some(name) if OPERATION.contains(&name) => 0,
        Some(_) => return Err(Code::BadCategory.into()),
    };
    if classification.is_some_and(|given| given != class) {
        return Err(Code::CategoryMismatch.into());
    }
    Ok(())
}

fn check_custom(own: &Fields<'_>) -> Result<(), Refusal> {
    let Some(custom) = coded(own.object("clientCustomMap"), Code::BadCustomMap)? else {
        return Ok(());
    };
    let mut chars = 0;
    for (name, value) in custom.pairs() {
        let text = value.as_str().ok_or(Code::BadCustomMap)?;
        chars += name.chars().count() + text.chars().count();
    }
    if chars > CUSTOM_CHARS_MAX {
        return Err(Code::BadCustomMap.into());
    }
    Ok(())
}

fn check_extra(own: &Fields<'_>) -> Result<(), Refusal> {
    let Some(extra) = coded(own.object("extra"), Code::BadExtra)? else {
        return Ok(());
    };
    for (name, value) in extra.pairs() {
        // The id of a receipt has been seen as a number.
        let chars = value.as_str().map_or(0, |text| text.chars().count());
        match name.as_str() {
            "callback.id" => {}
            "callback" if chars > 128 => return Err(Code::CallbackTooLong.into()),
            "callback.param" if chars > 192 => return Err(Code::CallbackParamTooLong.into()),
            "callback" | "callback.param" => {}
            _ => return Err(Code::BadExtra.into()),
        }
    }
    Ok(())
}

/// What is wrong with a field, by its code.
fn coded<T>(read: Result<T, Wrong>, code: Code) -> Result<T, Refusal> {
    read.map_err(|_| code.into())
}

impl From<Wrong> for Refusal {
    fn from(Wrong(message): Wrong) -> Self {
        Code::Malformed.refusal(message)
    }
}
