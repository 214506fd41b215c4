//! What Honor is to show, or to give to the app.

use serde::Serialize;
use serde_json::{Map, Value, json};
use tidings_model::UnixMillis;

use crate::batch::NotificationError;

/// Bytes of a message, tokens left out, at most.
pub const BODY_LEN_MAX: usize = 4096;
/// Seconds that Honor keeps a message for a phone that is away, at most: 15 days.
pub const TTL_MAX: u64 = 15 * 24 * 60 * 60;

/// A message, encoded once for all that get it.
#[derive(Clone, Debug)]
pub struct Notification {
    /// The members of `android` that are the same for all requests, without braces.
    android: Box<str>,
    /// `data`, as JSON.
    data: Option<Box<str>>,
    expires_at: Option<UnixMillis>,
}

/// What a [`Notification`] is made from. Every field that is none is left to Honor; the names and limits are those of its page.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// What is shown, or nothing: then the data is given to the app when it runs.
    pub shown: Option<Shown>,
    /// Text echoed in receipts, `biTag`.
    pub bi_tag: Option<String>,
    /// Given to the app with a notification, or alone.
    pub data: Option<String>,
    /// After this Honor drops it; at most 15 days away. None is a day.
    pub expires_at: Option<UnixMillis>,
    /// It is a test: 1,000 a day, outside of the limits.
    pub is_test: bool,
}

/// `android.notification`.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// Required.
    pub title: String,
    /// Required.
    pub body: String,
    /// Required; opening the app is the default.
    pub click_action: Click,
    /// A long text: title and body are shown whole.
    #[serde(skip)]
    pub is_big: bool,
    /// The number on the icon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub badge: Option<Badge>,
    /// An address of https; not with [`Importance::Low`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// What class of message it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub importance: Option<Importance>,
    /// A later one with the same id replaces it; -1 or none is one of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify_id: Option<i32>,
    /// A later one with the same tag replaces it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// `clickAction`: what a click does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Click {
    /// An intent's action, of a page of the app.
    Action(String),
    /// Opens the app.
    #[default]
    App,
    /// `intent:#Intent;…;end`, of a page of the app.
    Intent(String),
    /// An address of https.
    Url(String),
}

impl Serialize for Click {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let click = match self {
            Self::Action(action) => json!({"type": 1, "action": action}),
            Self::Intent(intent) => json!({"type": 1, "intent": intent}),
            Self::Url(url) => json!({"type": 2, "url": url}),
            Self::App => json!({"type": 3}),
        };
        click.serialize(serializer)
    }
}

/// `badge`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Badge {
    /// Added to what is there, 1 to 99.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub add_num: Option<u8>,
    /// In the place of what is there, 0 to 99.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_num: Option<u8>,
    /// The class of the app's first page.
    pub badge_class: String,
}

/// `importance`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Importance {
    /// Marketing: silent, in the drawer, a few a day.
    Low,
    /// Service and communication; needs a right.
    Normal,
}

impl Notification {
    /// Checks what Honor checks, as far as it is documented.
    pub fn new(message: &Message) -> Result<Self, NotificationError> {
        let mut android = Map::new();
        match &message.shown {
            Some(shown) => {
                android.insert("notification".to_owned(), shown.checked()?);
            }
            None if message.data.as_deref().is_none_or(str::is_empty) => {
                return Err(NotificationError::Empty("data"));
            }
            None => {}
        }
        if let Some(tag) = &message.bi_tag {
            android.insert("biTag".to_owned(), tag.as_str().into());
        }
        if message.is_test {
            android.insert("targetUserType".to_owned(), 1.into());
        }
        let android = Value::Object(android).to_string();
        let data = message.data.as_deref();
        let notification = Self {
            android: android[1..android.len() - 1].into(),
            data: data.map(|data| Value::from(data).to_string().into()),
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

    /// The request's body for these tokens, at `now`: what is left of its life is what Honor is to keep it for.
    pub fn body(&self, tokens: &[&str], now: UnixMillis) -> Vec<u8> {
        let ttl = self.expires_at.map(|at| at.since(now).as_secs());
        let ttl = ttl.map(|secs| format!(r#""ttl":"{}s""#, secs.clamp(1, TTL_MAX)));
        let android = match (&*self.android, ttl) {
            (android, None) => android.to_owned(),
            ("", Some(ttl)) => ttl,
            (android, Some(ttl)) => format!("{android},{ttl}"),
        };
        let data = self.data.as_deref();
        let data = data.map(|data| format!(r#""data":{data},"#));
        let data = data.unwrap_or_default();
        let tokens = Value::from(tokens).to_string();
        format!(r#"{{{data}"android":{{{android}}},"token":{tokens}}}"#).into_bytes()
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
                return out_of_range("badge.addNum", add.to_string(), "from 1 to 99");
            }
            if let Some(set) = badge.set_num.filter(|set| *set > 99) {
                return out_of_range("badge.setNum", set.to_string(), "from 0 to 99");
            }
        }
        if let Click::Url(url) = &self.click_action
            && !url.starts_with("https://")
        {
            return out_of_range("clickAction.url", url.clone(), "an address of https");
        }
        if let Some(image) = &self.image
            && (!image.starts_with("https://") || self.importance == Some(Importance::Low))
        {
            let range = "an address of https, with another importance than LOW";
            return out_of_range("image", image.clone(), range);
        }
        // All of it is a struct of texts and numbers.
        let mut shown = serde_json::to_value(self).unwrap_or_default();
        if self.is_big {
            // Honor wants them to be the same as the short ones.
            shown["style"] = 1.into();
            shown["bigTitle"] = self.title.as_str().into();
            shown["bigBody"] = self.body.as_str().into();
        }
        Ok(shown)
    }
}
