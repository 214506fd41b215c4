//! What vivo is to show.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};
use tidings_model::{Reason, UnixMillis};
use uuid::Uuid;

use crate::batch::NotificationError;

/// Characters of a title, of any script.
pub const TITLE_CHARS_MAX: usize = 40;
/// Characters of a content, of any script.
pub const CONTENT_CHARS_MAX: usize = 100;
/// Characters of `clientCustomMap`, names and values.
pub const CUSTOM_CHARS_MAX: usize = 1024;
/// Characters of `skipContent`: newer tables have twice as many.
const SKIP_CHARS_MAX: usize = 1024;
/// For how long vivo keeps a message, in seconds, at least.
pub const TTL_MIN: u64 = 60;
/// For how long vivo keeps a message, in seconds, at most.
pub const TTL_MAX: u64 = 24 * 60 * 60;
/// A saved message is sent by its id for so long, at most.
const SAVED_FOR_MAX: Duration = Duration::from_secs(60 * 60);

/// A life that is shorter than vivo can keep a message.
const TOO_SHORT: Reason = Reason::known("TimeToLiveTooShort");

/// A message, encoded once for all that get it.
#[derive(Clone, Debug)]
pub struct Notification {
    /// The members that are the same for all requests, without braces.
    members: Box<str>,
    expires_at: Option<UnixMillis>,
    is_system: bool,
    is_test: bool,
}

/// What a [`Notification`] is made from. Every field that is none is left to vivo; the names and limits are those of its page.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// Required.
    pub title: String,
    /// Required.
    pub content: String,
    /// `addBadge`: 1 more on the icon, for an app that shows one.
    pub add_badge: Option<bool>,
    /// Where receipts go, 128 characters, of single phones only.
    pub callback: Option<String>,
    /// Which receipts of vivo's console, `callback.id`.
    pub callback_id: Option<String>,
    /// What they carry, 64 characters.
    pub callback_param: Option<String>,
    /// What kind it is: `IM`, `ORDER`, `MARKETING` and so on.
    pub category: Option<String>,
    /// What a click does.
    pub click: Click,
    /// Given to the app with the click.
    pub custom: Map<String, Value>,
    /// After this vivo drops it. None is a day.
    pub expires_at: Option<UnixMillis>,
    /// Whether it is shown while the app is in front.
    pub foreground_show: Option<bool>,
    /// `classification` 1: it is what the user waits for, and of another quota.
    pub is_system: bool,
    /// It is for the phones that vivo's console calls test devices, and of no quota.
    pub is_test: bool,
    /// `notificationChannel` of the app.
    pub notification_channel: Option<String>,
    /// A later one with the same id replaces it.
    pub notify_id: Option<i32>,
    /// Whether it sounds; as vivo's default both.
    pub is_silent: bool,
    /// Whether it vibrates.
    pub is_still: bool,
}

/// What a click does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Click {
    /// Opens the app.
    #[default]
    App,
    /// A page of the app, `intent:#Intent;…;end` or a deep link.
    Page(String),
    /// An address.
    Url(String),
}

/// In the order in which it is written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Members<'a> {
    title: &'a str,
    content: &'a str,
    notify_type: u8,
    skip_type: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    skip_content: Option<&'a str>,
    classification: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<&'a str>,
    push_mode: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    add_badge: Option<bool>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    client_custom_map: Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    extra: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    foreground_show: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notification_channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notify_id: Option<i32>,
}

impl Notification {
    /// Checks what vivo checks, as far as it is documented.
    pub fn new(message: &Message) -> Result<Self, NotificationError> {
        text(
            "title",
            &message.title,
            TITLE_CHARS_MAX,
            "at most 40 characters",
        )?;
        text(
            "content",
            &message.content,
            CONTENT_CHARS_MAX,
            "at most 100 characters",
        )?;
        let (skip_type, skip_content) = match &message.click {
            Click::App => (1, None),
            Click::Url(url) => (2, Some(url.as_str())),
            Click::Page(page) => (4, Some(page.as_str())),
        };
        if let Some(content) = skip_content {
            text(
                "skipContent",
                content,
                SKIP_CHARS_MAX,
                "at most 1024 characters",
            )?;
        }
        if let Some(id) = message.notify_id.filter(|id| *id < 1) {
            return Err(NotificationError::out_of_range(
                "notifyId",
                id.to_string(),
                "above 0",
            ));
        }
        let custom = custom(&message.custom)?;
        let members = Members {
            title: &message.title,
            content: &message.content,
            notify_type: match (message.is_silent, message.is_still) {
                (true, true) => 1,
                (false, true) => 2,
                (true, false) => 3,
                (false, false) => 4,
            },
            skip_type,
            skip_content,
            classification: message.is_system.into(),
            category: message.category.as_deref(),
            push_mode: message.is_test.into(),
            add_badge: message.add_badge,
            client_custom_map: custom,
            extra: extra(message)?,
            foreground_show: message.foreground_show,
            notification_channel: message.notification_channel.as_deref(),
            notify_id: message.notify_id,
        };
        // All of it is texts and numbers.
        let members = serde_json::to_string(&members).unwrap_or_default();
        Ok(Self {
            members: members[1..members.len() - 1].into(),
            expires_at: message.expires_at,
            is_system: message.is_system,
            is_test: message.is_test,
        })
    }

    /// Of which quota it is.
    pub(super) fn class(&self) -> &'static str {
        match (self.is_test, self.is_system) {
            (true, _) => "test",
            (false, true) => "system",
            (false, false) => "operation",
        }
    }

    pub(super) fn is_test(&self) -> bool {
        self.is_test
    }

    /// Whether nobody wants it any more at `now`.
    pub fn is_over(&self, now: UnixMillis) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// vivo would keep it for longer than it lives.
    pub(super) fn too_late(&self, now: UnixMillis) -> Option<Reason> {
        (self.left(now) < Duration::from_secs(TTL_MIN)).then_some(TOO_SHORT)
    }

    fn left(&self, now: UnixMillis) -> Duration {
        let longest = Duration::from_secs(TTL_MAX);
        self.expires_at
            .map_or(longest, |at| at.since(now).min(longest))
    }

    /// The body of a request for one phone, at `now`.
    pub fn single(&self, app_id: u64, token: &str, now: UnixMillis) -> Vec<u8> {
        let token = Value::from(token);
        self.body(app_id, &format!(r#","regId":{token}"#), self.left(now))
    }

    /// The body that saves it at `now`, and for how long it is sent by its id: vivo counts its life from when that is done, so it
    /// is saved with a life that is as much shorter, an eighth, and arrives nowhere late.
    pub fn saved(&self, app_id: u64, now: UnixMillis) -> (Vec<u8>, Duration) {
        let left = self.left(now);
        let beyond = left.saturating_sub(Duration::from_secs(TTL_MIN));
        let sent_for = match self.expires_at {
            Some(_) => (left / 8).min(SAVED_FOR_MAX).min(beyond),
            None => SAVED_FOR_MAX,
        };
        (
            self.body(app_id, "", left.saturating_sub(sent_for)),
            sent_for,
        )
    }

    fn body(&self, app_id: u64, more: &str, lives: Duration) -> Vec<u8> {
        let (members, secs) = (&self.members, lives.as_secs().clamp(TTL_MIN, TTL_MAX));
        let request_id = Uuid::new_v4();
        format!(
            r#"{{"appId":{app_id}{more},{members},"timeToLive":{secs},"requestId":"{request_id}"}}"#
        )
        .into_bytes()
    }
}

fn text(
    field: &'static str,
    text: &str,
    chars_max: usize,
    range: &'static str,
) -> Result<(), NotificationError> {
    match text.chars().count() {
        0 => Err(NotificationError::Empty(field)),
        chars if chars > chars_max => Err(NotificationError::out_of_range(
            field,
            format!("of {chars} characters"),
            range,
        )),
        _ => Ok(()),
    }
}

/// `clientCustomMap`: vivo takes texts only.
fn custom(pairs: &Map<String, Value>) -> Result<Map<String, Value>, NotificationError> {
    let texts = pairs.iter().map(|(name, value)| {
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        (name.clone(), Value::from(text))
    });
    let texts: Map<String, Value> = texts.collect();
    let chars = texts.iter().map(|(name, text)| {
        name.chars().count() + text.as_str().map_or(0, |text| text.chars().count())
    });
    let len = chars.sum();
    if len > CUSTOM_CHARS_MAX {
        return Err(NotificationError::TooLarge {
            len,
            max: CUSTOM_CHARS_MAX,
        });
    }
    Ok(texts)
}

/// `extra`: where receipts go, and what they carry.
fn extra(message: &Message) -> Result<Map<String, Value>, NotificationError> {
    let mut extra = Map::new();
    let fields = [
        ("callback", &message.callback, 128, "at most 128 characters"),
        (
            "callback.id",
            &message.callback_id,
            64,
            "at most 64 characters",
        ),
        (
            "callback.param",
            &message.callback_param,
            64,
            "at most 64 characters",
        ),
    ];
    for (name, value, chars_max, range) in fields {
        if let Some(value) = value {
            text(name, value, chars_max, range)?;
            extra.insert(name.to_owned(), value.as_str().into());
        }
    }
    Ok(extra)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn living(life: Option<u64>) -> Notification {
        let message = Message {
            title: "title".to_owned(),
            content: "content".to_owned(),
            expires_at: life.map(|life| NOW.plus(secs(life))),
            ..Message::default()
        };
        Notification::new(&message).expect("fit")
    }

    fn ttl(body: &[u8]) -> u64 {
        let body: Value = serde_json::from_slice(body).expect("JSON");
        body["timeToLive"].as_u64().expect("seconds")
    }

    #[test]
    fn what_is_saved_is_sent_by_its_id_for_a_part_of_its_life_and_arrives_nowhere_late() {
        for life in [61, 64, 70, 120, 600, 3600, 86_400, 864_000] {
            let (body, sent_for) = living(Some(life)).saved(1, NOW);
            assert!(ttl(&body) >= TTL_MIN, "{life}");
            let latest = secs(ttl(&body)) + sent_for;
            assert!(latest <= secs(life), "{life}: {latest:?}");
            assert!(
                latest + secs(1) >= secs(life.min(TTL_MAX)),
                "{life}: {latest:?}"
            );
        }
        let (body, sent_for) = living(None).saved(1, NOW);
        assert_eq!((ttl(&body), sent_for), (TTL_MAX - 3600, secs(3600)));
    }

    #[test]
    fn what_lives_for_less_than_a_minute_is_too_late() {
        assert_eq!(living(Some(59)).too_late(NOW), Some(TOO_SHORT));
        assert_eq!(living(Some(60)).too_late(NOW), None);
        assert_eq!(
            living(Some(120)).too_late(NOW.plus(secs(61))),
            Some(TOO_SHORT)
        );
        assert_eq!(living(None).too_late(NOW), None);
        assert_eq!(ttl(&living(Some(60)).single(1, "a", NOW)), 60);
    }

    #[test]
    fn what_is_false_or_0_is_on_the_wire() {
        let message = Message {
            title: "title".to_owned(),
            content: "content".to_owned(),
            add_badge: Some(false),
            foreground_show: Some(false),
            is_silent: true,
            is_still: true,
            ..Message::default()
        };
        let notification = Notification::new(&message).expect("fit");
        let body: Value = serde_json::from_slice(&notification.single(7, "a", NOW)).expect("JSON");
        for (name, expected) in [
            ("addBadge", Value::from(false)),
            ("foregroundShow", false.into()),
            ("classification", 0.into()),
            ("pushMode", 0.into()),
            ("notifyType", 1.into()),
            ("appId", 7.into()),
        ] {
            assert_eq!(body[name], expected, "{name}");
        }
    }
}
