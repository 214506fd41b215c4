//! The rules for the fields of Honor's message.

use serde_json::Value;

use crate::fields::{Fields, Wrong};
use crate::honor::{Code, Refusal};

/// Longest life, in seconds: 15 days.
const TTL_SECS_MAX: f64 = 1_296_000.0;

pub(super) fn check(message: &Value) -> Result<(), Refusal> {
    let message = Fields::root(message)?;
    message.text("data")?;
    let shared = message.object("notification")?;
    let android = message.object("android")?;
    let own = match &android {
        Some(android) => {
            android.life("ttl", TTL_SECS_MAX)?;
            android.text("biTag")?;
            android.text("data")?;
            android.int("targetUserType", 0..=1)?;
            android.object("notification")?
        }
        None => None,
    };
    match (&own, &shared) {
        (None, None) => {
            let data = android.and_then(|android| android.value("data"));
            if data.or_else(|| message.value("data")).is_none() {
                return Err(Code::BadStructure.refusal("neither a notification nor data"));
            }
            Ok(())
        }
        (None, Some(_)) => {
            Err(Wrong("android.notification.clickAction is required".to_owned()).into())
        }
        (Some(own), shared) => check_notification(own, shared.as_ref()),
    }
}

fn check_notification(own: &Fields<'_>, shared: Option<&Fields<'_>>) -> Result<(), Refusal> {
    let either = |name: &str| -> Result<Option<&str>, Wrong> {
        match (own.text(name)?, shared) {
            (Some(text), _) => Ok(Some(text)),
            (None, Some(shared)) => shared.text(name),
            (None, None) => Ok(None),
        }
    };
    for name in ["title", "body"] {
        if either(name)?.is_none_or(str::is_empty) {
            return Err(own.wrong(name, "is required").into());
        }
    }
    own.https("image")?;
    if let Some(shared) = shared {
        shared.https("image")?;
    }
    let importance = own.word("importance", &["LOW", "NORMAL"])?;
    if importance == Some("LOW") && either("image")?.is_some() {
        return Err(Code::MarketingImage.refusal(Code::MarketingImage.meaning()));
    }
    check_click(own)?;
    if own.int("style", 0..=1)? == Some(1) {
        for (big, small) in [("bigTitle", "title"), ("bigBody", "body")] {
            if own.needed(big)? != either(small)?.unwrap_or_default() {
                return Err(own
                    .wrong(big, &format!("must be the same as {small}"))
                    .into());
            }
        }
    }
    if let Some(badge) = own.object("badge")? {
        badge.needed("badgeClass")?;
        badge.int("addNum", 1..=99)?;
        badge.int("setNum", 0..=99)?;
    }
    // A number; one client sends it as a text.
    if own.text("notifyId").is_err() {
        own.int("notifyId", -1..=i64::from(i32::MAX))?;
    }
    own.text("tag")?;
    own.text("group")?;
    own.text("when")?;
    check_buttons(own)?;
    Ok(())
}

fn check_click(own: &Fields<'_>) -> Result<(), Wrong> {
    let Some(click) = own.object("clickAction")? else {
        return Err(own.wrong("clickAction", "is required"));
    };
    match click.int("type", 1..=3)? {
        Some(1) => {
            let (intent, action) = (click.text("intent")?, click.text("action")?);
            if intent.or(action).is_none_or(str::is_empty) {
                return Err(click.wrong("intent", "or action is required with type 1"));
            }
        }
        Some(2) => {
            click.needed("url")?;
            click.https("url")?;
        }
        Some(_) => {}
        None => return Err(click.wrong("type", "is required")),
    }
    Ok(())
}

fn check_buttons(own: &Fields<'_>) -> Result<(), Wrong> {
    for button in own.objects("buttons", 3)? {
        button.needed("name")?;
        button.short("name", 40)?;
        button.short("data", 1_024)?;
        button.text("intent")?;
        match button.int("actionType", 0..=2)? {
            Some(1) if button.int("intentType", 0..=1)?.is_none() => {
                return Err(button.wrong("intentType", "is required with actionType 1"));
            }
            Some(_) => {}
            None => return Err(button.wrong("actionType", "is required")),
        }
    }
    Ok(())
}
