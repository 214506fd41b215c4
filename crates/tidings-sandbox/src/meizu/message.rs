//! The rules for the fields of Meizu's `messageJson`.

use serde_json::{Map, Value};

use crate::fields::{Fields, Wrong};

pub(super) fn check(message: &Value) -> Result<(), Wrong> {
    let message = Fields::root(message)?;
    let Some(bar) = message.object("noticeBarInfo")? else {
        return Err(message.wrong("noticeBarInfo", "is required"));
    };
    bar.int("noticeMsgType", 0..=1)?;
    if bar.int("noticeBarType", 0..=2)? == Some(1) {
        return Err(bar.wrong("noticeBarType", "must be 0 or 2"));
    }
    for (name, chars_max) in [("title", 32), ("content", 100)] {
        bar.needed(name)?;
        bar.short(name, chars_max)?;
    }
    if let Some(expand) = message.object("noticeExpandInfo")? {
        match expand.int("noticeExpandType", 0..=2)? {
            Some(1) => drop(expand.needed("noticeExpandContent")?),
            Some(2) => drop(expand.needed("noticeExpandImgUrl")?),
            _ => {}
        }
    }
    if let Some(click) = message.object("clickTypeInfo")? {
        check_click(&click)?;
    }
    if let Some(time) = message.object("pushTimeInfo")? {
        time.int("offLine", 0..=1)?;
        time.int("validTime", 1..=72)?;
    }
    if let Some(advance) = message.object("advanceInfo")? {
        check_advance(&advance)?;
    }
    if let Some(vip) = message.object("vipInfo")? {
        vip.short("subtitle", 16)?;
    }
    if let Some(extra) = message.object("extra")? {
        let bytes = |name: &str, max: usize| match extra.text(name)? {
            Some(text) if text.len() > max => {
                Err(extra.wrong(name, &format!("must have {max} bytes at most")))
            }
            _ => Ok(()),
        };
        bytes("callback", 128)?;
        bytes("callback.param", 64)?;
        extra.int("callback.type", 1..=3)?;
    }
    Ok(())
}

fn check_click(click: &Fields<'_>) -> Result<(), Wrong> {
    match click.int("clickType", 0..=3)? {
        Some(1) => drop(click.needed("activity")?),
        Some(2) => drop(click.needed("url")?),
        // Android 12 does not let an app open a page from its own code behind the notification.
        Some(3) => return Err(click.wrong("clickType", "3 must not be used any more")),
        _ => {}
    }
    // An object; one client sends it as a text.
    let is_map = match click.value("parameters") {
        Some(Value::String(text)) => {
            text.is_empty() || serde_json::from_str::<Map<String, Value>>(text).is_ok()
        }
        Some(value) => value.is_object(),
        None => true,
    };
    if !is_map {
        return Err(click.wrong("parameters", "must be an object"));
    }
    Ok(())
}

fn check_advance(advance: &Fields<'_>) -> Result<(), Wrong> {
    for name in ["suspend", "clearNoticeBar", "fixDisplay"] {
        advance.int(name, 0..=1)?;
    }
    if let Some(kinds) = advance.object("notificationType")? {
        for name in ["vibrate", "lights", "sound"] {
            kinds.int(name, 0..=1)?;
        }
    }
    let is_key = |key: &str| {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        key.len() <= 8 && key.bytes().all(is_letter)
    };
    if advance.text("notifyKey")?.is_some_and(|key| !is_key(key)) {
        let what = "must have 8 characters of letters, digits, _ and - at most";
        return Err(advance.wrong("notifyKey", what));
    }
    Ok(())
}
