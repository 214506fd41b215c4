//! What Huawei is to show, or to give to the app.

use serde::Serialize;
use serde_json::{Map, Value};
use tidings_model::UnixMillis;

use crate::batch::NotificationError;

/// Bytes of a message, tokens left out, at most.
pub const BODY_LEN_MAX: usize = 4096;
/// Seconds that Huawei keeps a message for a phone that is away, at most: 15 days.
pub const TTL_MAX: u64 = 15 * 24 * 60 * 60;

/// A message, encoded once for all that get it.
#[derive(Clone, Debug)]
pub struct Notification {
    /// The members of `message.android` that are the same for all requests.
    android: Box<str>,
    expires_at: Option<UnixMillis>,
}

/// What a [`Notification`] is made from. Every field that is none is left to Huawei; the names and limits are those of its
/// page.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// What is shown, or given to the app.
    pub content: Content,
    /// Text echoed in receipts, `bi_tag`.
    pub bi_tag: Option<String>,
    /// What kind it is, for an app with the right to say so: `IM`, `WORK` and so on. Without it it is marketing.
    pub category: Option<String>,
    /// Of messages that wait for a phone that is away: -1 keeps all, 0 the newest of the app, 1 to 100 the newest of that
    /// group.
    pub collapse_key: Option<i8>,
    /// Given to the app with a notification, or alone.
    pub data: Option<String>,
    /// After this Huawei drops it; at most 15 days away. None is a day.
    pub expires_at: Option<UnixMillis>,
    /// Which configuration of receipts.
    pub receipt_id: Option<String>,
    /// It is a test: 500 a day, outside of the limits.
    pub is_test: bool,
    /// Of data alone; high needs a right.
    pub urgency: Option<Urgency>,
}

/// What a message consists of.
#[derive(Clone, Debug, Default)]
pub enum Content {
    /// Data alone, which the app gets when it runs (pass-through).
    #[default]
    Data,
    /// It is shown by the system.
    Shown(Box<Shown>),
}

/// `message.android.notification`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Shown {
    /// Required.
    pub title: String,
    /// Required.
    pub body: String,
    /// Required; opening the app is the default.
    pub click_action: Click,
    /// How it is laid out.
    #[serde(flatten)]
    pub style: Style,
    /// Whether a click takes it away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_cancel: Option<bool>,
    /// The number on the icon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub badge: Option<Badge>,
    /// The app's own notification channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_id: Option<String>,
    /// `#RRGGBB` of the icon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color: Option<String>,
    /// Whether it makes the system's sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_sound: Option<bool>,
    /// Whether it is shown while the app is in front.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foreground_show: Option<bool>,
    /// Those of one group are shown together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The small icon, `/raw/ic_name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icon: Option<String>,
    /// An address of https, below 512 KB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// How much it disturbs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub importance: Option<Importance>,
    /// A later one with the same id replaces it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify_id: Option<i32>,
    /// A file in the app, `/raw/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sound: Option<String>,
    /// A later one with the same tag replaces it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// `click_action`: what a click does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Click {
    /// An intent's action, of a page of the app.
    Action(String),
    /// `intent:#Intent;…;end`, of a page of the app.
    Intent(String),
    /// Opens the app.
    #[default]
    App,
    /// An address of https.
    Url(String),
}

impl Serialize for Click {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, member) = match self {
            Self::Action(action) => (1, Some(("action", action))),
            Self::Intent(intent) => (1, Some(("intent", intent))),
            Self::Url(url) => (2, Some(("url", url))),
            Self::App => (3, None),
        };
        let mut map = Map::from_iter([("type".to_owned(), Value::from(kind))]);
        map.extend(member.map(|(name, value)| (name.to_owned(), Value::from(value.as_str()))));
        map.serialize(serializer)
    }
}

/// `style`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// As it comes.
    #[default]
    Plain,
    /// A long text.
    BigText {
        /// `big_title`.
        title: String,
        /// `big_body`.
        body: String,
    },
    /// Up to five lines of 1,024 characters.
    Inbox(Vec<String>),
}

impl Serialize for Style {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let members = match self {
            Self::Plain => vec![],
            Self::BigText { title, body } => vec![
                ("style", Value::from(1)),
                ("big_title", Value::from(title.as_str())),
                ("big_body", Value::from(body.as_str())),
            ],
            Self::Inbox(lines) => vec![
                ("style", Value::from(3)),
                ("inbox_content", Value::from(lines.clone())),
            ],
        };
        let members = members.into_iter();
        let map: Map<String, Value> = members
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        map.serialize(serializer)
    }
}

/// `badge`.
#[derive(Clone, Debug, Serialize)]
pub struct Badge {
    /// Added to what is there, 1 to 99.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub add_num: Option<u8>,
    /// In the place of what is there, 0 to 99; goes before `add_num`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_num: Option<u8>,
    /// The class of the app's first page.
    pub class: String,
}

/// `importance`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Importance {
    /// Silent, in the drawer.
    Low,
    /// Huawei's default.
    Normal,
    /// Needs a right.
    High,
}

/// `urgency`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Urgency {
    /// Wakes the app; needs a right.
    High,
    /// Huawei's default.
    Normal,
}

/// `message.android` but for what depends on the time, in the order in which it is written.
#[derive(Serialize)]
struct Android<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    bi_tag: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    collapse_key: Option<i8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notification: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_user_type: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    urgency: Option<Urgency>,
}

impl Notification {
    /// Checks what Huawei checks, as far as it is documented.
    pub fn new(message: &Message) -> Result<Self, NotificationError> {
        let notification = match &message.content {
            Content::Data if message.data.as_deref().is_none_or(str::is_empty) => {
                return Err(NotificationError::Empty("data"));
            }
            Content::Data => None,
            Content::Shown(shown) => Some(shown.checked()?),
        };
        if let Some(key) = message.collapse_key.filter(|key| !(-1..=100).contains(key)) {
            let range = "from -1 to 100";
            let value = key.to_string();
            return Err(NotificationError::out_of_range(
                "collapse_key",
                value,
                range,
            ));
        }
        let android = Android {
            bi_tag: message.bi_tag.as_deref(),
            category: message.category.as_deref(),
            collapse_key: message.collapse_key,
            data: message.data.as_deref(),
            notification,
            receipt_id: message.receipt_id.as_deref(),
            target_user_type: message.is_test.then_some(1),
            urgency: message.urgency,
        };
        let android = to_value(&android).to_string();
        // Without its braces: what depends on the time comes behind.
        let android: Box<str> = android[1..android.len() - 1].into();
        let notification = Self {
            android,
            expires_at: message.expires_at,
        };
        let len = notification.body(&[], UnixMillis::now()).len();
        if len > BODY_LEN_MAX {
            return Err(NotificationError::TooLarge {
                len,
                max: BODY_LEN_MAX,
            });
        }
        Ok(notification)
    }

    /// Whether nobody wants it any more at `now`.
    pub fn is_over(&self, now: UnixMillis) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// The request's body for these tokens, at `now`: what is left of its life is what Huawei is to keep it for.
    pub fn body(&self, tokens: &[&str], now: UnixMillis) -> Vec<u8> {
        let ttl = self.expires_at.map(|at| at.since(now).as_secs());
        let ttl = ttl.map(|secs| format!(r#","ttl":"{}s""#, secs.clamp(1, TTL_MAX)));
        let ttl = ttl.unwrap_or_default();
        let tokens = Value::from(tokens).to_string();
        let android = &self.android;
        let android = if android.is_empty() {
            ttl.trim_start_matches(',').to_owned()
        } else {
            format!("{android}{ttl}")
        };
        format!(
            r#"{{"validate_only":false,"message":{{"android":{{{android}}},"token":{tokens}}}}}"#
        )
        .into_bytes()
    }
}

impl Shown {
    fn checked(&self) -> Result<Value, NotificationError> {
        for (field, text) in [("title", &self.title), ("body", &self.body)] {
            if text.is_empty() {
                return Err(NotificationError::Empty(field));
            }
        }
        let out_of_range =
            |field, value: String, range| Err(NotificationError::out_of_range(field, value, range));
        if let Some(badge) = &self.badge {
            if let Some(add) = badge.add_num.filter(|add| !(1..=99).contains(add)) {
                return out_of_range("badge.add_num", add.to_string(), "from 1 to 99");
            }
            if let Some(set) = badge.set_num.filter(|set| *set > 99) {
                return out_of_range("badge.set_num", set.to_string(), "from 0 to 99");
            }
        }
        if let Click::Url(url) = &self.click_action
            && !url.starts_with("https://")
        {
            return out_of_range("click_action.url", url.clone(), "an address of https");
        }
        if let Style::Inbox(lines) = &self.style
            && (lines.len() > 5 || lines.iter().any(|line| line.chars().count() > 1024))
        {
            let range = "at most 5 lines of 1024 characters";
            return out_of_range("inbox_content", format!("{} lines", lines.len()), range);
        }
        Ok(to_value(self))
    }
}

fn to_value(value: &impl Serialize) -> Value {
    // All of these are structs of texts and numbers.
    serde_json::to_value(value).unwrap_or_default()
}
