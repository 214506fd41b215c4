//! The rules for the fields of a v3 message.

use serde_json::Value;

use crate::fields::{Fields, Wrong};
use crate::huawei::Refusal;
use crate::huawei::code::Code;

/// Longest life, in seconds: 15 days.
const TTL_SECS_MAX: i64 = 1_296_000;

const CATEGORIES: [&str; 15] = [
    "IM",
    "VOIP",
    "MISS_CALL",
    "SUBSCRIPTION",
    "TRAVEL",
    "HEALTH",
    "WORK",
    "ACCOUNT",
    "EXPRESS",
    "FINANCE",
    "DEVICE_REMINDER",
    "MAIL",
    "CUSTOMER_SERVICE",
    "PLAY_VOICE",
    "MARKETING",
];

/// The scenario, from the header `push-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PushType {
    Alert,
    Background,
    Extension,
    FormUpdate,
    LiveView,
    Mdm,
    Voip,
}

impl PushType {
    const ALL: [Self; 7] = [
        Self::Alert,
        Self::Background,
        Self::Extension,
        Self::FormUpdate,
        Self::LiveView,
        Self::Mdm,
        Self::Voip,
    ];

    pub(super) fn number(self) -> u8 {
        match self {
            Self::Alert => 0,
            Self::FormUpdate => 1,
            Self::Extension => 2,
            Self::Background => 6,
            Self::LiveView => 7,
            Self::Voip => 10,
            Self::Mdm => 11,
        }
    }

    pub(super) fn of(header: Option<&str>) -> Result<Self, Refusal> {
        let Some(text) = header else {
            return Err(Code::BadParameter.refusal("the push-type header is missing"));
        };
        let number = text.parse();
        Self::ALL
            .into_iter()
            .find(|known| Ok(known.number()) == number)
            .ok_or_else(|| Code::BadParameter.refusal("push-type must be 0, 1, 2, 6, 7, 10 or 11"))
    }
}

pub(super) fn check(message: &Value, push_type: PushType) -> Result<(), Refusal> {
    let message = Fields::root(message)?;
    let Some(payload) = message.object("payload")? else {
        return Err(Code::BadStructure.refusal("payload is missing"));
    };
    let notification = payload.object("notification")?;
    match (push_type, &notification) {
        (PushType::Alert | PushType::Extension, None) => {
            return Err(Code::BadStructure.refusal("payload.notification is missing"));
        }
        (PushType::Alert | PushType::Extension, Some(notification)) => {
            check_notification(notification, push_type)?;
        }
        (PushType::Background | PushType::Voip, _) => drop(payload.needed("extraData")?),
        // What these carry is the app's own, or not known.
        (PushType::FormUpdate | PushType::LiveView | PushType::Mdm, _) => {}
    }
    payload.text("extraData")?;
    if let Some(options) = message.object("pushOptions")? {
        check_options(&options, push_type)?;
    }
    Ok(())
}

fn check_notification(own: &Fields<'_>, push_type: PushType) -> Result<(), Refusal> {
    own.needed("category")?;
    let category = own.word("category", &CATEGORIES)?;
    if category == Some("PLAY_VOICE") && push_type != PushType::Extension {
        return Err(own
            .wrong("category", "PLAY_VOICE is for push-type 2")
            .into());
    }
    own.needed("title")?;
    own.needed("body")?;
    check_click(own)?;
    if let Some(badge) = own.object("badge")? {
        badge.int("addNum", 1..=99)?;
        badge.int("setNum", 0..=99)?;
    }
    own.int("notifyId", 0..=i64::from(i32::MAX))?;
    own.https("image")?;
    own.flag("foregroundShow")?;
    own.short("profileId", 64)?;
    let lines = own.texts("inboxContent", 3, 1_024)?;
    match own.int("style", 0..=3)? {
        Some(3) if lines.is_empty() => {
            return Err(own.wrong("inboxContent", "is required with style 3").into());
        }
        Some(1 | 2) => return Err(own.wrong("style", "must be 0 or 3").into()),
        _ => {}
    }
    let sound = own.text("sound")?;
    if own.int("soundDuration", 1..=60)?.is_some() && sound.is_none() {
        return Err(own.wrong("soundDuration", "needs a sound").into());
    }
    if own
        .text("appMessageId")?
        .is_some_and(|id| !is_message_id(id))
    {
        let what = "must be 1 to 64 of letters, digits, + / = - _ and blanks";
        return Err(own.wrong("appMessageId", what).into());
    }
    Ok(())
}

fn is_message_id(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+/=-_ ".contains(&byte))
}

fn check_click(own: &Fields<'_>) -> Result<(), Wrong> {
    let Some(click) = own.object("clickAction")? else {
        return Err(own.wrong("clickAction", "is required"));
    };
    let data = click.object("data")?;
    match click.int("actionType", 0..=5)? {
        Some(0 | 3) => Ok(()),
        Some(1) => {
            let (action, uri) = (click.text("action")?, click.text("uri")?);
            if action.or(uri).is_none_or(str::is_empty) {
                return Err(click.wrong("action", "or uri is required with actionType 1"));
            }
            Ok(())
        }
        Some(5) => {
            let Some(data) = data else {
                return Err(click.wrong("data", "is required with actionType 5"));
            };
            data.needed("tel")?;
            data.short("tel", 20).map(drop)
        }
        Some(_) => Err(click.wrong("actionType", "must be 0, 1, 3 or 5")),
        None => Err(click.wrong("actionType", "is required")),
    }
}

fn check_options(options: &Fields<'_>, push_type: PushType) -> Result<(), Refusal> {
    options.flag("testMessage")?;
    options.int("ttl", 1..=TTL_SECS_MAX)?;
    match options.int("collapseKey", -1..=100) {
        Err(Wrong(message)) => return Err(Code::BadCollapseKey.refusal(message)),
        Ok(Some(_)) if !matches!(push_type, PushType::Alert | PushType::Extension) => {
            let message = "pushOptions.collapseKey is for push-type 0 and 2";
            return Err(Code::BadCollapseKey.refusal(message));
        }
        Ok(_) => {}
    }
    if options.text("biTag")?.is_some_and(|tag| tag.len() > 64) {
        return Err(options.wrong("biTag", "must have 64 bytes at most").into());
    }
    options.text("receiptId")?;
    let mode = options.int("backgroundMode", 0..=i64::MAX)?;
    if mode.is_some() && push_type != PushType::Background {
        return Err(options.wrong("backgroundMode", "is for push-type 6").into());
    }
    Ok(())
}
