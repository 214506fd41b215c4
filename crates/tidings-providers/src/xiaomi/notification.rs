//! What Xiaomi is to show, or to give to the app.

use tidings_model::UnixMillis;

use crate::batch::NotificationError;

/// Characters of a title and of a description, at most.
pub const TITLE_CHARS_MAX: usize = 49;
/// Characters of a description, at most.
pub const DESCRIPTION_CHARS_MAX: usize = 127;
/// Bytes of a payload, at most.
pub const PAYLOAD_LEN_MAX: usize = 4096;
/// Milliseconds that Xiaomi keeps a public message for a phone that is away, at most: a day.
const PUBLIC_TTL_MAX: u128 = 24 * 60 * 60 * 1000;
/// The same of a private message, one with a template: 10 days.
const PRIVATE_TTL_MAX: u128 = 10 * PUBLIC_TTL_MAX;

/// A message, encoded once for all that get it.
#[derive(Clone, Debug)]
pub struct Notification {
    /// A page of the app, whose package the credential knows.
    activity: Option<Box<str>>,
    channel_id: Box<str>,
    expires_at: Option<UnixMillis>,
    /// The form but for what depends on the credential, the time and the phones.
    form: Box<str>,
    is_private: bool,
    /// A sound of the app, in `res/raw`.
    sound: Option<Box<str>>,
}

/// What a [`Notification`] is made from. Every field that is none is left to Xiaomi; the limits are those of its page.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// What is shown, or nothing: then the payload is given to the app when it runs.
    pub shown: Option<Shown>,
    /// Where receipts are to go, if they are wanted.
    pub callback: Option<Callback>,
    /// The message category's id from the console, `extra.channel_id`.
    pub channel_id: Option<String>,
    /// After this Xiaomi drops it; at most a day away, 10 days of a private message. None is as long as Xiaomi keeps it.
    pub expires_at: Option<UnixMillis>,
    /// Of those with one key a phone shows the first, `extra.jobkey`: 1 to 20 of letters, digits, `_` and `-`.
    pub job_key: Option<String>,
    /// Given to the app, at most 4,096 bytes.
    pub payload: Option<String>,
    /// What private messages are made from.
    pub template: Option<Template>,
}

/// `extra.callback`, of everything that Xiaomi tells: what arrived (1), was clicked (2), is for nobody any more (16), is switched
/// off (32), did not fit (64), or was above the quota (128).
#[derive(Clone, Debug)]
pub struct Callback {
    /// An address that the console knows.
    pub url: String,
    /// Comes back with each receipt; at most 64 bytes.
    pub param: String,
}

/// `extra.callback.type`: more of the bits than these, and no receipt comes at all.
const CALLBACK_TYPE: u16 = 1 | 2 | 16 | 32 | 64 | 128;

/// A notification.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// 1 to 49 characters, not blank.
    pub title: String,
    /// 1 to 127 characters, not blank.
    pub description: String,
    /// What a click does.
    pub click: Click,
    /// Whether it is shown while the app is in front.
    pub foreground_show: Option<bool>,
    /// A later one with the same id replaces it; 0 and more.
    pub notify_id: Option<i32>,
    /// Sound 1, vibration 2, lights 4 together; -1 all, 0 none.
    pub notify_type: Option<i8>,
    /// A file in the app's `res/raw`, or a whole URI.
    pub sound: Option<String>,
}

/// `extra.notify_effect`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Click {
    /// The class of a page of the app.
    Activity(String),
    /// Opens the app.
    #[default]
    App,
    /// `intent:#Intent;…;end`, or a deep link.
    Intent(String),
    /// A page on the web.
    Web(String),
}

/// A private message's text, which Xiaomi puts together.
#[derive(Clone, Debug)]
pub struct Template {
    /// `extra.template_id`.
    pub id: String,
    /// `extra.template_param`, a JSON object with a text for each variable.
    pub params: Option<String>,
}

impl Notification {
    /// Checks what Xiaomi checks, as far as it is documented.
    pub fn new(message: &Message) -> Result<Self, NotificationError> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        let (mut activity, mut sound) = (None, None);
        match &message.shown {
            Some(shown) => {
                shown.check()?;
                form.append_pair("pass_through", "0")
                    .append_pair("title", &shown.title)
                    .append_pair("description", &shown.description);
                if let Some(kinds) = shown.notify_type {
                    form.append_pair("notify_type", &kinds.to_string());
                }
                if let Some(id) = shown.notify_id {
                    form.append_pair("notify_id", &id.to_string());
                }
                if let Some(shows) = shown.foreground_show {
                    form.append_pair("extra.notify_foreground", if shows { "1" } else { "0" });
                }
                match &shown.click {
                    Click::Activity(class) => activity = Some(class.as_str().into()),
                    Click::App => _ = form.append_pair("extra.notify_effect", "1"),
                    Click::Intent(uri) => {
                        form.append_pair("extra.notify_effect", "2")
                            .append_pair("extra.intent_uri", uri);
                    }
                    Click::Web(url) => {
                        form.append_pair("extra.notify_effect", "3")
                            .append_pair("extra.web_uri", url);
                    }
                }
                match &shown.sound {
                    Some(uri) if uri.contains("://") => {
                        form.append_pair("extra.sound_uri", uri);
                    }
                    name => sound = name.as_deref().map(Box::from),
                }
            }
            None if message.payload.as_deref().is_none_or(str::is_empty) => {
                return Err(NotificationError::Empty("payload"));
            }
            None => _ = form.append_pair("pass_through", "1"),
        }
        if let Some(payload) = &message.payload {
            if payload.len() > PAYLOAD_LEN_MAX {
                return Err(NotificationError::TooLarge {
                    len: payload.len(),
                    max: PAYLOAD_LEN_MAX,
                });
            }
            // Xiaomi decodes it once more than the form.
            let encoded: String = form_urlencoded::byte_serialize(payload.as_bytes()).collect();
            form.append_pair("payload", &encoded);
        }
        if let Some(key) = &message.job_key {
            if !is_job_key(key) {
                let range = "1 to 20 of letters, digits, _ and -, beginning with another than _";
                return Err(NotificationError::out_of_range("extra.jobkey", key, range));
            }
            form.append_pair("extra.jobkey", key);
        }
        if let Some(Callback { url, param }) = &message.callback {
            form.append_pair("extra.callback", url)
                .append_pair("extra.callback.param", param)
                .append_pair("extra.callback.type", &CALLBACK_TYPE.to_string());
        }
        if let Some(id) = &message.channel_id {
            form.append_pair("extra.channel_id", id);
        }
        if let Some(Template { id, params }) = &message.template {
            form.append_pair("extra.template_id", id);
            if let Some(params) = params {
                form.append_pair("extra.template_param", params);
            }
        }
        Ok(Self {
            activity,
            channel_id: message.channel_id.as_deref().unwrap_or_default().into(),
            expires_at: message.expires_at,
            form: form.finish().into(),
            is_private: message.template.is_some(),
            sound,
        })
    }

    pub(super) fn channel_id(&self) -> &str {
        &self.channel_id
    }

    /// Whether nobody wants it any more at `now`.
    pub fn is_over(&self, now: UnixMillis) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// The request's form for these ids of an app, at `now`: what is left of its life is what Xiaomi is to keep it for.
    pub fn body(&self, package: &str, ids: &[&str], now: UnixMillis) -> String {
        let mut form = form_urlencoded::Serializer::new(self.form.to_string());
        form.append_pair("restricted_package_name", package);
        if let Some(class) = &self.activity {
            let uri = format!("intent:#Intent;component={package}/{class};end");
            form.append_pair("extra.notify_effect", "2")
                .append_pair("extra.intent_uri", &uri);
        }
        if let Some(name) = &self.sound {
            let uri = format!("android.resource://{package}/raw/{name}");
            form.append_pair("extra.sound_uri", &uri);
        }
        if let Some(at) = self.expires_at {
            let max = if self.is_private {
                PRIVATE_TTL_MAX
            } else {
                PUBLIC_TTL_MAX
            };
            let left = at.since(now).as_millis().clamp(1, max);
            form.append_pair("time_to_live", &left.to_string());
        }
        form.append_pair("registration_id", &ids.join(","));
        form.finish()
    }
}

impl Shown {
    fn check(&self) -> Result<(), NotificationError> {
        let texts = [
            ("title", &self.title, TITLE_CHARS_MAX),
            ("description", &self.description, DESCRIPTION_CHARS_MAX),
        ];
        for (field, text, max) in texts {
            if text.trim().is_empty() {
                return Err(NotificationError::Empty(field));
            }
            let chars = text.chars().count();
            if chars > max {
                let value = format!("{chars} characters");
                let range = "at most 49 characters of a title and 127 of a description";
                return Err(NotificationError::out_of_range(field, value, range));
            }
        }
        if self
            .notify_type
            .is_some_and(|kinds| !(-1..=7).contains(&kinds))
        {
            let value = format!("{:?}", self.notify_type);
            return Err(NotificationError::out_of_range(
                "notify_type",
                value,
                "from -1 to 7",
            ));
        }
        if self.notify_id.is_some_and(|id| id < 0) {
            let value = format!("{:?}", self.notify_id);
            return Err(NotificationError::out_of_range(
                "notify_id",
                value,
                "0 or more",
            ));
        }
        Ok(())
    }
}

fn is_job_key(key: &str) -> bool {
    (1..=20).contains(&key.len())
        && !key.starts_with('_')
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}
