//! What OPPO is to show.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tidings_model::UnixMillis;

use crate::batch::NotificationError;

/// Characters of a title.
pub const TITLE_CHARS_MAX: usize = 50;
/// Characters of a content.
pub const CONTENT_CHARS_MAX: usize = 50;
/// Characters of the content of a long text, `style` 2.
pub const LONG_CONTENT_CHARS_MAX: usize = 128;
/// Characters of `action_parameters`.
pub const PARAMETERS_CHARS_MAX: usize = 4000;
/// For how long OPPO keeps a message for a phone that is away, in seconds, at most: ten days.
pub const TTL_MAX: u64 = 10 * 24 * 60 * 60;
/// A saved message is broadcast by its id for so long, at most.
const SAVED_FOR_MAX: Duration = Duration::from_secs(60 * 60);

/// The categories of what is of service to the user; their quota is another.
const OF_SERVICE: [&str; 6] = [
    "ACCOUNT",
    "DEVICE_REMINDER",
    "IM",
    "ORDER",
    "SUBSCRIPTION",
    "TODO",
];

/// A message, made once for all that get it.
#[derive(Clone, Debug)]
pub struct Notification {
    /// The members that are the same for all requests.
    members: Map<String, Value>,
    /// By this OPPO knows a copy that it has taken for a phone.
    app_message_id: Option<String>,
    expires_at: Option<UnixMillis>,
    is_of_service: bool,
}

/// What a [`Notification`] is made from. Every field that is none is left to OPPO; the names and limits are those of its pages.
#[derive(Clone, Debug)]
pub struct Message {
    /// Required.
    pub title: String,
    /// Required: more than 50 characters make it a long text.
    pub content: String,
    /// Given to the app with the click.
    pub action_parameters: Map<String, Value>,
    /// By this OPPO knows what is sent again; 64 characters.
    pub app_message_id: Option<String>,
    /// The number on the icon.
    pub badge: Option<Badge>,
    /// Where receipts go, 200 characters, and what they carry, 100.
    pub call_back: Option<(String, String)>,
    /// What kind it is: `IM`, `ORDER`, `MARKETING` and so on.
    pub category: Option<String>,
    /// The app's notification channel.
    pub channel_id: Option<String>,
    /// What a click does.
    pub click: Click,
    /// After this OPPO drops it; at most ten days away. None is an hour.
    pub expires_at: Option<UnixMillis>,
    /// 1 in the drawer, 2 on the lock screen, too, 16 with sound and vibration; only with a category.
    pub notify_level: Option<u8>,
    /// A later one with the same id replaces it.
    pub notify_id: Option<i32>,
    /// Whether it is kept for a phone that is away.
    pub off_line: bool,
    /// Of a private message.
    pub template: Option<Template>,
}

impl Default for Message {
    fn default() -> Self {
        Self {
            title: String::new(),
            content: String::new(),
            action_parameters: Map::new(),
            app_message_id: None,
            badge: None,
            call_back: None,
            category: None,
            channel_id: None,
            click: Click::default(),
            expires_at: None,
            notify_level: None,
            notify_id: None,
            off_line: true,
            template: None,
        }
    }
}

/// The number on the icon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Badge {
    /// So many more.
    Add(u32),
    /// In the place of what is there.
    Set(u32),
}

/// The template of a private message.
#[derive(Clone, Debug, Default)]
pub struct Template {
    /// As OPPO's console has it.
    pub id: String,
    /// What its title's variables stand for.
    pub title: Map<String, Value>,
    /// What its content's variables stand for.
    pub content: Map<String, Value>,
}

/// What a click does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Click {
    /// An intent's action, of a page of the app.
    Action(String),
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

impl Click {
    /// `click_action_type`, and what it needs beside it.
    fn members(&self) -> (u8, Option<(&'static str, &str, usize)>) {
        let activity = |class| Some(("click_action_activity", class, 500));
        let url = |url| Some(("click_action_url", url, 2000));
        match self {
            Self::App => (0, None),
            Self::Action(action) => (1, activity(action.as_str())),
            Self::Web(page) => (2, url(page.as_str())),
            Self::Activity(class) => (4, activity(class.as_str())),
            Self::Intent(intent) => (5, url(intent.as_str())),
        }
    }
}

impl Notification {
    /// Checks what OPPO checks, as far as it is documented.
    pub fn new(message: &Message) -> Result<Self, NotificationError> {
        let long = message.content.chars().count() > CONTENT_CHARS_MAX;
        let mut members = Members::default();
        members.text("title", Some(&message.title), TITLE_CHARS_MAX)?;
        members.text("content", Some(&message.content), LONG_CONTENT_CHARS_MAX)?;
        members.put("style", if long { 2 } else { 1 });
        members.put("off_line", message.off_line);
        let (kind, needed) = message.click.members();
        members.put("click_action_type", kind);
        if let Some((name, text, chars_max)) = needed {
            members.text(name, Some(text), chars_max)?;
        }
        if !message.action_parameters.is_empty() {
            let text = Value::from(message.action_parameters.clone()).to_string();
            let len = text.chars().count();
            if len > PARAMETERS_CHARS_MAX {
                let max = PARAMETERS_CHARS_MAX;
                return Err(NotificationError::TooLarge { len, max });
            }
            members.put("action_parameters", text);
        }
        match message.badge {
            Some(Badge::Set(count)) => members.badge(0, count),
            Some(Badge::Add(count)) => members.badge(1, count),
            None => {}
        }
        if let Some((url, parameter)) = &message.call_back {
            members.text("call_back_url", Some(url), 200)?;
            members.text("call_back_parameter", Some(parameter), 100)?;
        }
        members.text("category", message.category.as_deref(), 32)?;
        members.text("channel_id", message.channel_id.as_deref(), 64)?;
        if message.category.is_some()
            && let Some(level) = message.notify_level
        {
            members.put("notify_level", level);
        }
        if let Some(id) = message.notify_id {
            members.put("notify_id", id);
        }
        if let Some(Template { id, title, content }) = &message.template {
            members.text("private_msg_template_id", Some(id), 128)?;
            for (name, parameters) in [
                ("private_title_parameters", title),
                ("private_content_parameters", content),
            ] {
                if !parameters.is_empty() {
                    members.put(name, parameters.clone());
                }
            }
        }
        let category = message.category.as_deref();
        Ok(Self {
            members: members.0,
            app_message_id: message.app_message_id.clone(),
            expires_at: message.expires_at,
            is_of_service: message.template.is_some()
                || category.is_some_and(|category| OF_SERVICE.contains(&category)),
        })
    }

    /// Of which quota it is.
    pub(super) fn class(&self) -> &'static str {
        match self.is_of_service {
            true => "private",
            false => "public",
        }
    }

    /// Whether nobody wants it any more at `now`.
    pub fn is_over(&self, now: UnixMillis) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// What is left of its life at `now`.
    fn left(&self, now: UnixMillis) -> Option<Duration> {
        let longest = Duration::from_secs(TTL_MAX);
        self.expires_at.map(|at| at.since(now).min(longest))
    }

    fn members_for(&self, lives: Option<Duration>) -> Map<String, Value> {
        let mut members = self.members.clone();
        if let Some(lives) = lives {
            let secs = lives.as_secs().max(1);
            members.insert("off_line_ttl".to_owned(), secs.into());
        }
        members
    }

    /// The form of a request with a copy for each phone, at `now`.
    pub fn copies(&self, tokens: &[&str], access: &str, now: UnixMillis) -> String {
        let mut notification = self.members_for(self.left(now));
        if let Some(id) = &self.app_message_id {
            notification.insert("app_message_id".to_owned(), id.as_str().into());
        }
        let copies = tokens.iter().map(|token| {
            json!({
                "target_type": 2,
                "target_value": token,
                "verify_registration_id": true,
                "notification": notification,
            })
        });
        let mut copies: Vec<Value> = copies.collect();
        let (name, messages) = match tokens {
            [_] => ("message", copies.pop().unwrap_or_default()),
            _ => ("messages", copies.into()),
        };
        form_urlencoded::Serializer::new(String::new())
            .append_pair("auth_token", access)
            .append_pair(name, &messages.to_string())
            .finish()
    }

    /// The form that saves it at `now`, and for how long it is broadcast by its id: its life is counted from each broadcast, so it
    /// is saved with one that is as much shorter, an eighth, and arrives nowhere late.
    pub fn saved(&self, access: &str, now: UnixMillis) -> (String, Duration) {
        let left = self.left(now);
        let sent_for = left.map_or(SAVED_FOR_MAX, |left| (left / 8).min(SAVED_FOR_MAX));
        let members = self.members_for(left.map(|left| left.saturating_sub(sent_for)));
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("auth_token", access);
        for (name, value) in &members {
            match value {
                Value::String(text) => form.append_pair(name, text),
                other => form.append_pair(name, &other.to_string()),
            };
        }
        (form.finish(), sent_for)
    }
}

/// The members of a notification, as they are put together.
#[derive(Default)]
struct Members(Map<String, Value>);

impl Members {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// A text that is there is not empty, and not too long.
    fn text(
        &mut self,
        name: &'static str,
        text: Option<&str>,
        chars_max: usize,
    ) -> Result<(), NotificationError> {
        let Some(text) = text else { return Ok(()) };
        match text.chars().count() {
            0 => Err(NotificationError::Empty(name)),
            chars if chars > chars_max => {
                let value = format!("of {chars} characters, more than {chars_max},");
                Err(NotificationError::out_of_range(
                    name,
                    value,
                    "what OPPO takes",
                ))
            }
            _ => {
                self.put(name, text);
                Ok(())
            }
        }
    }

    fn badge(&mut self, operation: u8, count: u32) {
        self.put("badge_operation_type", operation);
        self.put("badge_message_count", count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn message() -> Message {
        Message {
            title: "title".to_owned(),
            content: "content".to_owned(),
            ..Message::default()
        }
    }

    fn field(form: &str, name: &str) -> Option<String> {
        let mut fields = form_urlencoded::parse(form.as_bytes());
        let found = fields.find(|(key, _)| key == name);
        found.map(|(_, value)| value.into_owned())
    }

    #[test]
    fn what_is_false_or_0_is_on_the_wire() {
        let message = Message {
            badge: Some(Badge::Set(0)),
            off_line: false,
            ..message()
        };
        let notification = Notification::new(&message).expect("fit");
        let form = notification.copies(&["a"], "access", NOW);
        let sent: Value =
            serde_json::from_str(&field(&form, "message").expect("one")).expect("JSON");
        let sent = &sent["notification"];
        for (name, expected) in [
            ("off_line", json!(false)),
            ("badge_operation_type", json!(0)),
            ("badge_message_count", json!(0)),
            ("click_action_type", json!(0)),
        ] {
            assert_eq!(sent[name], expected, "{name}");
        }
        let (form, _) = notification.saved("access", NOW);
        for (name, expected) in [("off_line", "false"), ("badge_message_count", "0")] {
            assert_eq!(field(&form, name).as_deref(), Some(expected), "{name}");
        }
    }

    #[test]
    fn what_is_saved_is_broadcast_for_a_part_of_its_life_and_arrives_nowhere_late() {
        for life in [10, 60, 600, 86_400, 864_000] {
            let message = Message {
                expires_at: Some(NOW.plus(Duration::from_secs(life))),
                app_message_id: Some("77".to_owned()),
                ..message()
            };
            let notification = Notification::new(&message).expect("fit");
            let (form, sent_for) = notification.saved("access", NOW);
            let secs: u64 = field(&form, "off_line_ttl")
                .expect("there")
                .parse()
                .expect("seconds");
            let latest = Duration::from_secs(secs) + sent_for;
            assert!(latest <= Duration::from_secs(life), "{life}: {latest:?}");
            assert!(
                latest + Duration::from_secs(1) > Duration::from_secs(life),
                "{life}"
            );
            // What is saved again would be taken for the same.
            assert_eq!(field(&form, "app_message_id"), None);
        }
    }

    #[test]
    fn a_long_content_is_a_long_text() {
        let of = |chars: usize| {
            let message = Message {
                content: "\u{6c49}".repeat(chars),
                ..message()
            };
            Notification::new(&message).map(|notification| notification.members["style"].clone())
        };
        assert_eq!(
            (of(50), of(51), of(128)),
            (Ok(json!(1)), Ok(json!(2)), Ok(json!(2)))
        );
        assert!(of(129).is_err() && of(0).is_err());
    }
}
