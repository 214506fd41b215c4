//! What Meizu is to show.

use serde_json::{Map, Value, json};
use tidings_model::UnixMillis;

use crate::batch::NotificationError;

/// Characters of a title, at most.
pub const TITLE_CHARS_MAX: usize = 32;
/// Characters of a content, at most.
pub const CONTENT_CHARS_MAX: usize = 100;
/// Hours that Meizu keeps a message for a phone that is away, at most: 3 days.
pub const HOURS_MAX: u64 = 72;

/// Bytes of a [`Callback`]'s address, at most.
pub const CALLBACK_LEN_MAX: usize = 128;
const CALLBACK_PARAM_LEN_MAX: usize = 64;

/// A message, encoded once for all that get it.
#[derive(Clone, Debug)]
pub struct Notification {
    expires_at: Option<UnixMillis>,
    /// The members of `messageJson` but for `pushTimeInfo`, without braces.
    members: Box<str>,
}

/// What a [`Notification`] is made from. Every field that is none is left to Meizu; the limits are those of its page.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// 1 to 32 characters.
    pub title: String,
    /// 1 to 100 characters.
    pub content: String,
    /// Where receipts go.
    pub callback: Option<Callback>,
    /// Shown when the notification is opened out.
    pub big_text: Option<String>,
    /// What a click does.
    pub click: Click,
    /// After this Meizu drops it; it counts in whole hours, up to 72. None is a day.
    pub expires_at: Option<UnixMillis>,
    /// Whether it is for the one who gets it in particular, which needs a right, and not for the public.
    pub is_private: Option<bool>,
    /// A later one with the same key replaces it: 1 to 8 of letters, digits, `_` and `-`.
    pub notify_key: Option<String>,
    /// Given to the page that a click opens.
    pub parameters: Map<String, Value>,
    /// How it is noticed.
    pub notice: Option<Notice>,
}

/// `extra.callback` and what belongs to it: what is delivered and what is opened is told there.
#[derive(Clone, Debug)]
pub struct Callback {
    /// An address that the console knows, at most 128 bytes.
    pub url: String,
    /// Echoed, at most 64 bytes.
    pub param: String,
}

/// `advanceInfo.notificationType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// With lights.
    pub lights: bool,
    /// With a sound.
    pub sound: bool,
    /// By vibration.
    pub vibrate: bool,
}

/// `clickTypeInfo.clickType`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Click {
    /// The whole name of the class of a page of the app.
    Activity(String),
    /// Opens the app.
    #[default]
    App,
    /// A page on the web, or a deep link.
    Uri(String),
}

impl Notification {
    /// Checks what Meizu checks, as far as it is documented.
    pub fn new(message: &Message) -> Result<Self, NotificationError> {
        for (field, text, max) in [
            ("title", &message.title, TITLE_CHARS_MAX),
            ("content", &message.content, CONTENT_CHARS_MAX),
        ] {
            if text.trim().is_empty() {
                return Err(NotificationError::Empty(field));
            }
            let chars = text.chars().count();
            if chars > max {
                let value = format!("{chars} characters");
                let range = "at most 32 characters of a title and 100 of a content";
                return Err(NotificationError::out_of_range(field, value, range));
            }
        }
        let mut bar = json!({
            "noticeBarType": 0,
            "title": message.title,
            "content": message.content,
        });
        if let Some(is_private) = message.is_private {
            bar["noticeMsgType"] = u8::from(is_private).into();
        }
        let mut click = match &message.click {
            Click::Activity(class) => json!({"clickType": 1, "activity": class}),
            Click::App => json!({"clickType": 0}),
            Click::Uri(url) => json!({"clickType": 2, "url": url}),
        };
        click["parameters"] = Value::Object(message.parameters.clone());
        let mut advance = json!({"clearNoticeBar": 1});
        if let Some(key) = &message.notify_key {
            if !is_key(key) {
                let range = "1 to 8 of letters, digits, _ and -";
                return Err(NotificationError::out_of_range("notifyKey", key, range));
            }
            advance["notifyKey"] = key.as_str().into();
        }
        if let Some(notice) = message.notice {
            advance["notificationType"] = json!({
                "vibrate": u8::from(notice.vibrate),
                "lights": u8::from(notice.lights),
                "sound": u8::from(notice.sound),
            });
        }
        let mut members = json!({
            "noticeBarInfo": bar,
            "clickTypeInfo": click,
            "advanceInfo": advance,
        });
        if let Some(text) = &message.big_text {
            members["noticeExpandInfo"] =
                json!({"noticeExpandType": 1, "noticeExpandContent": text});
        }
        if let Some(Callback { url, param }) = &message.callback {
            if url.len() > CALLBACK_LEN_MAX || param.len() > CALLBACK_PARAM_LEN_MAX {
                let range = "an address of 128 bytes with a parameter of 64";
                return Err(NotificationError::out_of_range(
                    "extra.callback",
                    url,
                    range,
                ));
            }
            // Delivered and opened.
            members["extra"] =
                json!({"callback": url, "callback.param": param, "callback.type": 3});
        }
        let members = members.to_string();
        Ok(Self {
            expires_at: message.expires_at,
            members: members[1..members.len() - 1].into(),
        })
    }

    /// Whether nobody wants it any more at `now`.
    pub fn is_over(&self, now: UnixMillis) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// `messageJson` at `now`: what is left of its life in whole hours is what Meizu is to keep it for. Of less than an hour it is
    /// for phones that are there now, so that nothing is shown late.
    pub fn json(&self, now: UnixMillis) -> String {
        let members = &self.members;
        let Some(at) = self.expires_at else {
            return format!("{{{members}}}");
        };
        let hours = (at.since(now).as_secs() / 3600).min(HOURS_MAX);
        let time = match hours {
            0 => json!({"offLine": 0}),
            hours => json!({"offLine": 1, "validTime": hours}),
        };
        format!(r#"{{{members},"pushTimeInfo":{time}}}"#)
    }
}

fn is_key(key: &str) -> bool {
    (1..=8).contains(&key.len())
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}
