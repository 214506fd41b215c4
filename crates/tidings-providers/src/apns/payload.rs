//! The JSON that a device gets. Source: Apple, [Generating a remote notification](https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification).

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};
use tidings_model::MsgId;

use super::PushType;

/// The payload, typed. What has no field here goes into `more_aps` (inside `aps`) or `custom` (beside it); a payload
/// that is JSON already needs none of this and goes to [`Notification::builder`](super::Notification::builder) as it
/// is. The whole may have 4,096 bytes of JSON, 5,120 for VoIP, which [`build`](super::NotificationBuilder::build)
/// checks; the values are not checked.
/// Apple: [Generating a remote notification](https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Payload {
    /// What is shown.
    pub alert: Option<Alert>,
    /// The number at the app's icon. 0 clears it; absent leaves it alone.
    pub badge: Option<u32>,
    /// Which of the categories that the app has declared: its action buttons.
    pub category: Option<String>,
    /// Wakes the app in the background. Without alert, badge and sound this is what push type background is for: see
    /// [`push_type`](Self::push_type).
    pub content_available: bool,
    /// Beside `aps`, for the app: JSON of any kind, which the phone does not encrypt. A key `aps` is left out: there
    /// can be only one.
    pub custom: Map<String, Value>,
    /// `passive`, `active`, `time-sensitive` or `critical`; the last two need Apple's entitlement.
    pub interruption_level: Option<String>,
    /// Inside `aps`: what has no field of its own, such as `filter-criteria`. A field of its own wins. APNs ignores
    /// what it does not know there. (A Live Activity has a type of its own: [`LiveActivity`](super::LiveActivity).)
    pub more_aps: Map<String, Value>,
    /// Lets the app's service extension change it before it is shown.
    pub mutable_content: bool,
    /// 0 to 1: which of the app's notifications a summary shows first, the highest. A number that is not finite is sent
    /// as `null`.
    pub relevance_score: Option<f64>,
    /// What is heard.
    pub sound: Option<Sound>,
    /// Which of the app's windows comes to the front.
    pub target_content_id: Option<String>,
    /// Groups notifications: those with one id are shown together.
    pub thread_id: Option<String>,
}

/// What is shown. Apple recommends parts over a text. Apple, table 2 in [Generating a remote notification](https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Alert {
    /// An object that is passed on as it is: for instance a Live Activity's, in which title and body are objects with
    /// `loc-key` and `loc-args`, and which has a `sound`.
    Object(Map<String, Value>),
    /// Texts, or keys into the app's translations.
    Parts(Box<AlertParts>),
    /// The body alone.
    Text(String),
}

/// The parts of an alert, as texts or as keys into the app's own translations (`Localizable.strings`). A key stands in
/// place of its text; each `%@` in the translation is replaced by the next of its arguments. What is empty is left out.
/// Apple, table 2 in [Generating a remote notification](https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AlertParts {
    /// `body`: the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// `launch-image`: the picture or storyboard in the app that is shown while it starts from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub launch_image: Option<String>,
    /// `loc-args`: arguments of `loc_key`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub loc_args: Vec<String>,
    /// `loc-key`: in place of `body`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loc_key: Option<String>,
    /// `subtitle`: more about the purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subtitle: Option<String>,
    /// `subtitle-loc-args`: arguments of `subtitle_loc_key`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subtitle_loc_args: Vec<String>,
    /// `subtitle-loc-key`: in place of `subtitle`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subtitle_loc_key: Option<String>,
    /// `title`: short enough for a watch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// `title-loc-args`: arguments of `title_loc_key`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub title_loc_args: Vec<String>,
    /// `title-loc-key`: in place of `title`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title_loc_key: Option<String>,
}

/// What is heard. A file is in the app's bundle or in its `Library/Sounds`. Apple, table 3 in [Generating a remote notification](https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Sound {
    /// Heard even when the phone is silent; the app needs Apple's entitlement. Made by [`Sound::critical`].
    Critical {
        /// 1: it is critical.
        critical: u8,
        /// A file in the app, or `default`.
        name: String,
        /// 0 (silent) to 1 (full).
        volume: f64,
    },
    /// A file in the app, or `default`.
    Named(String),
    /// An object that is passed on as it is.
    Object(Map<String, Value>),
}

impl Sound {
    /// A sound that breaks through silence, at `volume` (0 to 1; not checked).
    pub fn critical(name: impl Into<String>, volume: f64) -> Self {
        Self::Critical {
            critical: 1,
            name: name.into(),
            volume,
        }
    }
}

/// `aps` as it is written.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Aps<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<&'a Alert>,
    #[serde(skip_serializing_if = "Option::is_none")]
    badge: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_available: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interruption_level: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mutable_content: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    relevance_score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sound: Option<&'a Sound>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_content_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread_id: Option<&'a str>,
}

impl Payload {
    /// A text that is shown.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            alert: Some(Alert::Text(text.into())),
            ..Self::default()
        }
    }

    /// A push's notification as an iPhone gets it, as JPush writes it: the `ios` section, else the text for all; the
    /// extras beside `aps`, and `_j_msgid`, a number.
    pub fn from_push(notification: &tidings_model::Notification, msg_id: MsgId) -> Self {
        let general = notification.alert.as_deref().map(Value::from);
        let ios = notification.ios.clone().unwrap_or_default();
        let alert = Some(ios.alert).filter(|alert| !alert.is_null()).or(general);
        let mut custom = ios.extras;
        custom.insert("_j_msgid".to_owned(), msg_id.0.into());
        Self {
            alert: alert.and_then(Alert::from_json),
            badge: ios.badge,
            category: ios.category,
            content_available: ios.content_available,
            custom,
            interruption_level: ios.interruption_level,
            mutable_content: ios.mutable_content,
            sound: Sound::from_json(ios.sound),
            thread_id: ios.thread_id,
            ..Self::default()
        }
    }

    /// The type that describes it: background when it only wakes the app, else alert. The builder does not ask for it:
    /// give it to [`NotificationBuilder::push_type`](super::NotificationBuilder::push_type).
    ///
    /// ```
    /// use tidings_providers::apns::{Notification, Payload};
    ///
    /// let wake = Payload { content_available: true, ..Payload::default() };
    /// let notification = Notification::builder("com.example.app", wake.encode())
    ///     .push_type(wake.push_type())
    ///     .build()?;
    /// assert_eq!(notification.priority().number(), 5);
    /// # Ok::<(), tidings_providers::apns::NotificationError>(())
    /// ```
    pub fn push_type(&self) -> PushType {
        let perceived = self.alert.is_some() || self.badge.is_some() || self.sound.is_some();
        if self.content_available && !perceived {
            PushType::Background
        } else {
            PushType::Alert
        }
    }

    /// The JSON, without spaces. Any value encodes; its size is checked by
    /// [`NotificationBuilder::build`](super::NotificationBuilder::build).
    pub fn encode(&self) -> Bytes {
        let flag = |set: bool| set.then_some(1);
        let typed = serde_json::to_value(Aps {
            alert: self.alert.as_ref(),
            badge: self.badge,
            category: self.category.as_deref(),
            content_available: flag(self.content_available),
            interruption_level: self.interruption_level.as_deref(),
            mutable_content: flag(self.mutable_content),
            relevance_score: self.relevance_score,
            sound: self.sound.as_ref(),
            target_content_id: self.target_content_id.as_deref(),
            thread_id: self.thread_id.as_deref(),
        });
        let mut aps = self.more_aps.clone();
        if let Ok(Value::Object(typed)) = typed {
            aps.extend(typed);
        }
        let mut whole = self.custom.clone();
        whole.insert("aps".to_owned(), Value::Object(aps));
        Value::Object(whole).to_string().into()
    }
}

impl From<Payload> for Bytes {
    fn from(payload: Payload) -> Self {
        payload.encode()
    }
}

impl Alert {
    /// JPush's alert: a text or an object. An empty one shows nothing.
    fn from_json(value: Value) -> Option<Self> {
        match value {
            Value::Object(parts) if !parts.is_empty() => Some(Self::Object(parts)),
            Value::String(text) if !text.is_empty() => Some(Self::Text(text)),
            _ => None,
        }
    }
}

impl Sound {
    /// JPush's sound: a name or an object. An empty one is silence.
    fn from_json(value: Value) -> Option<Self> {
        match value {
            Value::Object(parts) if !parts.is_empty() => Some(Self::Object(parts)),
            Value::String(name) if !name.is_empty() => Some(Self::Named(name)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tidings_model::{IosNotification, Notification};

    fn parsed(payload: &Payload) -> Value {
        serde_json::from_slice(&payload.encode()).expect("JSON")
    }

    fn map(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn every_field_has_apples_name() {
        let payload = Payload {
            alert: Some(Alert::Parts(Box::new(AlertParts {
                body: Some("B".into()),
                launch_image: Some("L".into()),
                loc_args: vec!["1".into()],
                loc_key: Some("LK".into()),
                subtitle: Some("S".into()),
                subtitle_loc_args: vec!["2".into()],
                subtitle_loc_key: Some("SK".into()),
                title: Some("T".into()),
                title_loc_args: vec!["3".into()],
                title_loc_key: Some("TK".into()),
            }))),
            badge: Some(0),
            category: Some("invite".into()),
            content_available: true,
            custom: map(json!({"order": 7, "aps": "no"})),
            interruption_level: Some("time-sensitive".into()),
            more_aps: map(json!({"filter-criteria": "work", "badge": 9})),
            mutable_content: true,
            relevance_score: Some(0.5),
            sound: Some(Sound::critical("bell.caf", 0.75)),
            target_content_id: Some("window".into()),
            thread_id: Some("thread".into()),
        };
        let expected = json!({
            "aps": {
                "alert": {
                    "body": "B", "launch-image": "L", "loc-args": ["1"], "loc-key": "LK", "subtitle": "S",
                    "subtitle-loc-args": ["2"], "subtitle-loc-key": "SK", "title": "T", "title-loc-args": ["3"],
                    "title-loc-key": "TK"
                },
                "badge": 0, "category": "invite", "content-available": 1, "filter-criteria": "work",
                "interruption-level": "time-sensitive", "mutable-content": 1, "relevance-score": 0.5,
                "sound": {"critical": 1, "name": "bell.caf", "volume": 0.75}, "target-content-id": "window",
                "thread-id": "thread"
            },
            "order": 7
        });
        assert_eq!(parsed(&payload), expected);
    }

    #[test]
    fn a_push_is_written_as_jpush_writes_it() {
        let push = Notification {
            alert: Some("for all".into()),
            android: None,
            ios: Some(IosNotification {
                alert: json!({"title": "T", "body": "B"}),
                badge: Some(3),
                category: Some("c".into()),
                content_available: true,
                extras: map(json!({"news_id": 134, "aps": {"alert": "forged"}, "_j_msgid": 1})),
                interruption_level: Some("active".into()),
                mutable_content: true,
                sound: "default".into(),
                thread_id: Some("t".into()),
            }),
        };
        let payload = Payload::from_push(&push, MsgId(18_103_083_292_408_631));
        let expected = json!({
            "_j_msgid": 18_103_083_292_408_631_i64,
            "aps": {
                "alert": {"title": "T", "body": "B"}, "badge": 3, "category": "c", "content-available": 1,
                "interruption-level": "active", "mutable-content": 1, "sound": "default", "thread-id": "t"
            },
            "news_id": 134
        });
        assert_eq!(parsed(&payload), expected);
        assert_eq!(payload.push_type(), PushType::Alert);
    }

    #[test]
    fn the_text_for_all_is_used_where_ios_has_none() {
        let alert = |ios: Option<Value>| {
            let push = Notification {
                alert: Some("for all".into()),
                android: None,
                ios: ios.map(|alert| IosNotification {
                    alert,
                    ..IosNotification::default()
                }),
            };
            parsed(&Payload::from_push(&push, MsgId(1)))["aps"].clone()
        };
        assert_eq!(alert(None), json!({"alert": "for all"}));
        assert_eq!(alert(Some(Value::Null)), json!({"alert": "for all"}));
        assert_eq!(alert(Some(json!("own"))), json!({"alert": "own"}));
        assert_eq!(alert(Some(json!(""))), json!({}));
    }

    #[test]
    fn a_push_that_only_wakes_the_app_is_background() {
        let ios = IosNotification {
            alert: "".into(),
            content_available: true,
            sound: "".into(),
            ..IosNotification::default()
        };
        let push = Notification {
            ios: Some(ios),
            ..Notification::default()
        };
        let payload = Payload::from_push(&push, MsgId(1));
        assert_eq!(payload.push_type(), PushType::Background);
        let aps = json!({"content-available": 1});
        assert_eq!(parsed(&payload)["aps"], aps);
    }
}
