//! The rules for the fields of a v1 or v2 message.

use serde_json::Value;

use crate::fields::{Fields, Wrong};
use crate::huawei::Refusal;
use crate::huawei::code::Code;

/// Longest life, in seconds: 15 days.
const TTL_SECS_MAX: f64 = 1_296_000.0;

const CATEGORIES: [&str; 14] = [
    "IM",
    "VOIP",
    "SUBSCRIPTION",
    "TRAVEL",
    "HEALTH",
    "WORK",
    "ACCOUNT",
    "EXPRESS",
    "FINANCE",
    "DEVICE_REMINDER",
    "SYSTEM_REMINDER",
    "MAIL",
    "PLAY_VOICE",
    "MARKETING",
];

const NUMBERS: std::ops::RangeInclusive<i64> = i32::MIN as i64..=i32::MAX as i64;

pub(super) fn check(message: &Value) -> Result<(), Refusal> {
    let message = Fields::root(message)?;
    let shared = message.object("notification")?;
    if let Some(shared) = &shared {
        shared.text("title")?;
        shared.text("body")?;
        shared.https("image")?;
    }
    let android = message.object("android")?;
    let own = match &android {
        Some(android) => android.object("notification")?,
        None => None,
    };
    let data = match &android {
        Some(android) => android.text("data")?.or(message.text("data")?),
        None => message.text("data")?,
    };
    let shows = shared.is_some() || own.is_some();
    if !shows && data.is_none() {
        return Err(Code::BadStructure.refusal("neither a notification nor data"));
    }
    if let Some(android) = &android {
        check_android(android, shows)?;
    }
    if shows {
        check_notification(own.as_ref(), shared.as_ref())?;
    }
    Ok(())
}

fn check_android(android: &Fields<'_>, shows: bool) -> Result<(), Refusal> {
    if let Err(Wrong(message)) = android.int("collapse_key", -1..=100) {
        return Err(Code::BadCollapseKey.refusal(message));
    }
    android.word("urgency", &["HIGH", "NORMAL"])?;
    let category = android.word("category", &CATEGORIES)?;
    if category == Some("PLAY_VOICE") && shows {
        return Err(android
            .wrong("category", "PLAY_VOICE is for data messages")
            .into());
    }
    android.life("ttl", TTL_SECS_MAX)?;
    android.text("bi_tag")?;
    android.text("receipt_id")?;
    android.int("target_user_type", 0..=3)?;
    android.int("fast_app_target", 1..=2)?;
    Ok(())
}

fn check_notification(
    own: Option<&Fields<'_>>,
    shared: Option<&Fields<'_>>,
) -> Result<(), Refusal> {
    let Some(own) = own else {
        let what = "android.notification.click_action is required";
        return Err(Code::BadParameter.refusal(what));
    };
    for name in ["title", "body"] {
        let text = match own.text(name)? {
            Some(text) => Some(text),
            None => shared.map_or(Ok(None), |shared| shared.text(name))?,
        };
        if text.is_none_or(str::is_empty) {
            return Err(own.wrong(name, "is required").into());
        }
    }
    check_click(own)?;
    check_badge(own)?;
    check_style(own)?;
    check_sound(own)?;
    own.https("image")?;
    own.text("icon")?;
    own.text("tag")?;
    own.text("group")?;
    own.text("channel_id")?;
    own.text("ticker")?;
    own.text("when")?;
    own.text("notify_summary")?;
    own.int("notify_id", NUMBERS)?;
    own.int("auto_clear", 0..=i64::MAX)?;
    own.short("profile_id", 64)?;
    own.word("importance", &["LOW", "NORMAL", "HIGH"])?;
    let visibilities = ["VISIBILITY_UNSPECIFIED", "PRIVATE", "PUBLIC", "SECRET"];
    own.word("visibility", &visibilities)?;
    for name in [
        "auto_cancel",
        "foreground_show",
        "use_default_light",
        "use_default_vibrate",
    ] {
        own.flag(name)?;
    }
    if own.text("color")?.is_some_and(|color| !is_color(color)) {
        return Err(own.wrong("color", "must be #RRGGBB").into());
    }
    for key in ["body_loc_args", "title_loc_args"] {
        own.texts(key, 100, usize::MAX)?;
    }
    own.text("body_loc_key")?;
    own.text("title_loc_key")?;
    own.texts("vibrate_config", 10, 8)?;
    check_buttons(own)?;
    if let Some(languages) = own.object("multi_lang_key")? {
        for name in ["title_key", "body_key"] {
            if languages.object(name)?.is_some_and(|texts| texts.len() > 3) {
                return Err(languages
                    .wrong(name, "must have 3 languages at most")
                    .into());
            }
        }
    }
    Ok(())
}

fn check_click(own: &Fields<'_>) -> Result<(), Refusal> {
    let Some(click) = own.object("click_action")? else {
        return Err(own.wrong("click_action", "is required").into());
    };
    let needed = |name: &str| click.needed(name).map(drop);
    match click.int("type", 1..=4)? {
        Some(1) => {
            let (intent, action) = (click.text("intent")?, click.text("action")?);
            if intent.or(action).is_none_or(str::is_empty) {
                return Err(click
                    .wrong("intent", "or action is required with type 1")
                    .into());
            }
        }
        Some(2) => {
            needed("url")?;
            click.https("url")?;
        }
        Some(4) => needed("rich_resource")?,
        Some(_) => {}
        None => return Err(click.wrong("type", "is required").into()),
    }
    Ok(())
}

fn check_badge(own: &Fields<'_>) -> Result<(), Wrong> {
    if let Some(badge) = own.object("badge")? {
        badge.needed("class")?;
        badge.int("add_num", 1..=99)?;
        badge.int("set_num", 0..=99)?;
    }
    Ok(())
}

fn check_style(own: &Fields<'_>) -> Result<(), Refusal> {
    match own.int("style", 0..=3)? {
        Some(1) => {
            own.needed("big_title")?;
            own.needed("big_body")?;
        }
        Some(2) => return Err(own.wrong("style", "must be 0, 1 or 3").into()),
        Some(3) if own.list("inbox_content", 5)?.is_empty() => {
            return Err(own
                .wrong("inbox_content", "is required with style 3")
                .into());
        }
        _ => {}
    }
    own.texts("inbox_content", 5, 1_024)?;
    Ok(())
}

fn check_sound(own: &Fields<'_>) -> Result<(), Wrong> {
    let sound = own.text("sound")?;
    if own.flag("default_sound")? == Some(false) && sound.is_none_or(str::is_empty) {
        return Err(own.wrong("sound", "is required when default_sound is false"));
    }
    Ok(())
}

fn check_buttons(own: &Fields<'_>) -> Result<(), Wrong> {
    for button in own.objects("buttons", 3)? {
        button.needed("name")?;
        button.short("name", 40)?;
        let data = button.short("data", 1_024)?;
        match button.int("action_type", 0..=4)? {
            Some(1) => {
                if button.int("intent_type", 0..=1)?.is_none() {
                    return Err(button.wrong("intent_type", "is required with action_type 1"));
                }
            }
            Some(4) if data.is_none() => {
                return Err(button.wrong("data", "is required with action_type 4"));
            }
            Some(_) => {}
            None => return Err(button.wrong("action_type", "is required")),
        }
        button.text("intent")?;
    }
    Ok(())
}

fn is_color(text: &str) -> bool {
    text.strip_prefix('#').is_some_and(|digits| {
        digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}
