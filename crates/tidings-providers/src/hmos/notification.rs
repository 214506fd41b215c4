//! What HarmonyOS is to show, or to give to the app.

use serde::Serialize;
use serde_json::{Map, Value, json};
use tidings_model::UnixMillis;

use crate::batch::NotificationError;

/// Bytes of a message, tokens left out, at most.
pub const BODY_LEN_MAX: usize = 4096;
/// Seconds that Huawei keeps a message for a phone that is away, at most: 15 days.
pub const TTL_MAX: u64 = 15 * 24 * 60 * 60;
/// Lines of [`Style::Inbox`], at most.
pub const LINES_MAX: usize = 3;
/// Characters of such a line, at most.
pub const LINE_CHARS_MAX: usize = 1024;
/// Bytes of `biTag`, at most.
const BI_TAG_LEN_MAX: usize = 64;

/// A message, encoded once for all that get it.
#[derive(Clone, Debug)]
pub struct Notification {
    expires_at: Option<UnixMillis>,
    is_test: bool,
    /// The members of `pushOptions` that are the same for all requests, without braces.
    options: Box<str>,
    /// As JSON.
    payload: Box<str>,
    push_type: PushType,
}

/// What a [`Notification`] is made from. Every field that is none is left to Huawei; the names and limits are those of its page.
#[derive(Clone, Debug)]
pub struct Message {
    /// What it consists of.
    pub content: Content,
    /// Text echoed in receipts, `biTag`, at most 64 bytes.
    pub bi_tag: Option<String>,
    /// After this Huawei drops it; at most 15 days away. None is a day.
    pub expires_at: Option<UnixMillis>,
    /// It is a test: 1,000 a day, and 10 phones in a request.
    pub is_test: bool,
    /// Which configuration of receipts.
    pub receipt_id: Option<String>,
}

/// What a message consists of, by its `push-type`.
#[derive(Clone, Debug)]
pub enum Content {
    /// It is shown by the system.
    Alert(Box<Shown>),
    /// A card is drawn anew: the payload as Huawei has it, for one phone in a request.
    Card(Map<String, Value>),
    /// The app's extension gets it first, with data of its own.
    Extension {
        /// What is shown.
        shown: Box<Shown>,
        /// Given to the extension.
        extra_data: String,
    },
    /// A live view: the payload as Huawei has it.
    LiveView(Map<String, Value>),
    /// A call comes in.
    Voip {
        /// Given to the app.
        extra_data: String,
    },
}

/// The header `push-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushType {
    /// 0
    Alert,
    /// 1
    Card,
    /// 2
    Extension,
    /// 7
    LiveView,
    /// 10
    Voip,
}

impl PushType {
    /// As the header has it.
    pub fn number(self) -> &'static str {
        match self {
            Self::Alert => "0",
            Self::Card => "1",
            Self::Extension => "2",
            Self::LiveView => "7",
            Self::Voip => "10",
        }
    }
}

/// `payload.notification`.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// Required: `IM`, `WORK`, `MARKETING` and so on.
    pub category: String,
    /// Required.
    pub title: String,
    /// Required.
    pub body: String,
    /// What a click does; opening the app is the default.
    pub click_action: Click,
    /// How it is laid out.
    #[serde(flatten)]
    pub style: Style,
    /// The number on the icon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub badge: Option<Badge>,
    /// Whether it is shown while the app is in front.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foreground_show: Option<bool>,
    /// An address of https; not shown above 49,152 pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// A later one with the same id replaces it; 0 and more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify_id: Option<i32>,
    /// A file in the app's `resources/rawfile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sound: Option<String>,
    /// Seconds, 1 to 60, of a sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sound_duration: Option<u8>,
}

/// `clickAction`, with data that the app's page is given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Click {
    /// Where it leads.
    pub to: Target,
    /// Given to the page.
    pub data: Map<String, Value>,
}

/// Where a click leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// An action of a page of the app.
    Action(String),
    /// The app's first page.
    #[default]
    App,
    /// A deep link to a page of the app.
    Uri(String),
}

impl Serialize for Click {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut click = match &self.to {
            Target::Action(action) => json!({"actionType": 1, "action": action}),
            Target::App => json!({"actionType": 0}),
            Target::Uri(uri) => json!({"actionType": 1, "uri": uri}),
        };
        if !self.data.is_empty() {
            click["data"] = Value::Object(self.data.clone());
        }
        click.serialize(serializer)
    }
}

/// `style`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// As it comes.
    #[default]
    Plain,
    /// Up to three lines of 1,024 characters.
    Inbox(Vec<String>),
}

impl Serialize for Style {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let style = match self {
            Self::Plain => json!({}),
            Self::Inbox(lines) => json!({"style": 3, "inboxContent": lines}),
        };
        style.serialize(serializer)
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
}

impl Notification {
    /// Checks what Huawei checks, as far as it is documented.
    pub fn new(message: &Message) -> Result<Self, NotificationError> {
        let needed = |extra_data: &String| match extra_data.is_empty() {
            true => Err(NotificationError::Empty("extraData")),
            false => Ok(Value::from(extra_data.as_str())),
        };
        let (push_type, payload) = match &message.content {
            Content::Alert(shown) => (PushType::Alert, json!({"notification": shown.checked()?})),
            Content::Card(payload) => (PushType::Card, Value::Object(payload.clone())),
            Content::Extension { shown, extra_data } => (
                PushType::Extension,
                json!({"notification": shown.checked()?, "extraData": needed(extra_data)?}),
            ),
            Content::LiveView(payload) => (PushType::LiveView, Value::Object(payload.clone())),
            Content::Voip { extra_data } => {
                (PushType::Voip, json!({"extraData": needed(extra_data)?}))
            }
        };
        let mut options = Map::new();
        if let Some(tag) = &message.bi_tag {
            if tag.len() > BI_TAG_LEN_MAX {
                let range = "at most 64 bytes";
                return Err(NotificationError::out_of_range("biTag", tag, range));
            }
            options.insert("biTag".to_owned(), tag.as_str().into());
        }
        if let Some(id) = &message.receipt_id {
            options.insert("receiptId".to_owned(), id.as_str().into());
        }
        if message.is_test {
            options.insert("testMessage".to_owned(), true.into());
        }
        let options = Value::Object(options).to_string();
        let notification = Self {
            expires_at: message.expires_at,
            is_test: message.is_test,
            options: options[1..options.len() - 1].into(),
            payload: payload.to_string().into(),
            push_type,
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

    /// What goes into the header `push-type`.
    pub fn push_type(&self) -> PushType {
        self.push_type
    }

    pub(super) fn is_test(&self) -> bool {
        self.is_test
    }

    /// Whether nobody wants it any more at `now`.
    pub fn is_over(&self, now: UnixMillis) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// The request's body for these tokens, at `now`: what is left of its life is what Huawei is to keep it for.
    pub fn body(&self, tokens: &[&str], now: UnixMillis) -> Vec<u8> {
        let ttl = self.expires_at.map(|at| at.since(now).as_secs());
        let ttl = ttl.map(|secs| format!(r#""ttl":{}"#, secs.clamp(1, TTL_MAX)));
        let options = match (&*self.options, ttl) {
            (options, None) => options.to_owned(),
            ("", Some(ttl)) => ttl,
            (options, Some(ttl)) => format!("{options},{ttl}"),
        };
        let (payload, tokens) = (&self.payload, Value::from(tokens));
        format!(
            r#"{{"payload":{payload},"target":{{"token":{tokens}}},"pushOptions":{{{options}}}}}"#
        )
        .into_bytes()
    }
}

impl Shown {
    fn checked(&self) -> Result<Value, NotificationError> {
        let needed = [
            ("category", &self.category),
            ("title", &self.title),
            ("body", &self.body),
        ];
        for (field, text) in needed {
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
        if let Style::Inbox(lines) = &self.style
            && (!(1..=LINES_MAX).contains(&lines.len())
                || lines
                    .iter()
                    .any(|line| line.chars().count() > LINE_CHARS_MAX))
        {
            let range = "1 to 3 lines of 1024 characters";
            return out_of_range("inboxContent", format!("{} lines", lines.len()), range);
        }
        if let Some(secs) = self.sound_duration
            && (self.sound.is_none() || !(1..=60).contains(&secs))
        {
            return out_of_range(
                "soundDuration",
                secs.to_string(),
                "from 1 to 60, of a sound",
            );
        }
        if let Some(id) = self.notify_id.filter(|id| *id < 0) {
            return out_of_range("notifyId", id.to_string(), "0 or more");
        }
        // All of it is a struct of texts and numbers.
        Ok(serde_json::to_value(self).unwrap_or_default())
    }
}
