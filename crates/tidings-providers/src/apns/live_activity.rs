//! What starts, changes and ends a Live Activity.
//!
//! Source: Apple, [Starting and updating Live Activities with ActivityKit push notifications](https://developer.apple.com/documentation/activitykit/starting-and-updating-live-activities-with-activitykit-push-notifications).

mod alert;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tidings_model::UnixMillis;

pub use alert::{LiveActivityAlert, LiveActivityText};

use super::payload::{Body, PayloadError};
use super::{Notification, NotificationBuilder, NotificationError, PushType};

/// The payload of push type `liveactivity`.
///
/// A start goes to a push-to-start token (iOS 17.2), an update or end to the token of the activity itself or to the
/// channel that it listens to; none goes to a device token. Apple keeps a budget of updates for each activity and hour,
/// which it does not publish; priority 5 does not count against it, and 1 is not for it. To one token it may have 4,096
/// bytes, to a channel 5,120.
/// Apple: [Starting and updating Live Activities with ActivityKit push notifications](https://developer.apple.com/documentation/activitykit/starting-and-updating-live-activities-with-activitykit-push-notifications).
///
/// ```
/// use serde_json::Map;
/// use tidings_model::UnixMillis;
/// use tidings_providers::apns::{LiveActivity, Notification, Priority};
///
/// let state = Map::from_iter([("score".to_owned(), 3.into())]);
/// let update = LiveActivity::update(UnixMillis(1_767_225_600_000), state);
/// let notification = Notification::live_activity("com.example.app", &update)?
///     .priority(Priority::PowerSaving)
///     .build()?;
/// assert_eq!(notification.topic(), "com.example.app.push-type.liveactivity");
/// # Ok::<(), tidings_providers::apns::NotificationError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LiveActivity {
    /// Makes a sound and lights the screen. A start has to have one.
    pub alert: Option<LiveActivityAlert>,
    /// The app's `ContentState`, to be decoded by its default rules. A start and an update have to have one, an end
    /// should show a last one.
    pub content_state: Option<Map<String, Value>>,
    /// Whether it starts, changes or ends.
    pub event: LiveActivityEvent,
    /// Which of several activities is shown first: the highest. Any finite number.
    pub relevance_score: Option<f64>,
    /// When what it shows is out of date, in whole seconds rounded down.
    pub stale_date: Option<UnixMillis>,
    /// When this was so, in whole seconds rounded down, after 1970: the phone leaves out what is older than what it
    /// shows. Two within one second are not told apart.
    pub timestamp: UnixMillis,
}

/// What happens to the activity.
/// Apple: [Starting and updating Live Activities with ActivityKit push notifications](https://developer.apple.com/documentation/activitykit/starting-and-updating-live-activities-with-activitykit-push-notifications).
#[derive(Clone, Debug, PartialEq)]
pub enum LiveActivityEvent {
    /// It ends, and stays on the lock screen for a while.
    End {
        /// When it leaves the lock screen, in whole seconds rounded down, within four hours of the end; a time in the
        /// past takes it away at once. Up to four hours after the end when it is not given.
        dismissal_date: Option<UnixMillis>,
    },
    /// It begins, on a phone whose app may not be running. A channel cannot carry it.
    Start {
        /// The app's `ActivityAttributes`.
        attributes: Map<String, Value>,
        /// The name of that type in the app: letters, digits, `_` and `.`.
        attributes_type: String,
        /// Where it hears of updates; none for phones before iOS 18, which get a token of their own.
        input: Option<LiveActivityInput>,
    },
    /// It shows another state.
    Update,
}

/// Where an activity that is started will hear of updates (iOS 18). A phone before that does not start one that names a
/// channel.
/// Apple: [Starting and updating Live Activities with ActivityKit push notifications](https://developer.apple.com/documentation/activitykit/starting-and-updating-live-activities-with-activitykit-push-notifications).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveActivityInput {
    /// From the broadcast channel of that id, in base64; not empty.
    Channel(String),
    /// By a token of its own, which the app gets.
    Token,
}

impl LiveActivityEvent {
    fn name(&self) -> &'static str {
        match self {
            Self::End { .. } => "end",
            Self::Start { .. } => "start",
            Self::Update => "update",
        }
    }
}

/// `aps` as it is written.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Aps<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<&'a LiveActivityAlert>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<&'a Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_state: Option<&'a Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dismissal_date: Option<i64>,
    event: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_push_channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_push_token: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    relevance_score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stale_date: Option<i64>,
    timestamp: i64,
}

impl LiveActivity {
    /// Shows a new state.
    pub fn update(timestamp: UnixMillis, content_state: Map<String, Value>) -> Self {
        Self {
            alert: None,
            content_state: Some(content_state),
            event: LiveActivityEvent::Update,
            relevance_score: None,
            stale_date: None,
            timestamp,
        }
    }

    /// Ends it, with the state that it shows.
    pub fn end(timestamp: UnixMillis, dismissal_date: Option<UnixMillis>) -> Self {
        Self {
            content_state: None,
            event: LiveActivityEvent::End { dismissal_date },
            ..Self::update(timestamp, Map::new())
        }
    }

    /// The JSON. Refuses ([`PayloadError`]) what no phone would take: a timestamp that is not after 1970, a score that
    /// is not finite, no content state (but at the end), an alert with an empty key, and at the start no alert, a
    /// type's name that is none, or an empty channel. The size is checked by who sends it.
    pub fn encode(&self) -> Result<Bytes, PayloadError> {
        self.check()?;
        let mut aps = Aps {
            alert: self.alert.as_ref(),
            attributes: None,
            attributes_type: None,
            content_state: self.content_state.as_ref(),
            dismissal_date: None,
            event: self.event.name(),
            input_push_channel: None,
            input_push_token: None,
            relevance_score: self.relevance_score,
            stale_date: self.stale_date.map(UnixMillis::secs),
            timestamp: self.timestamp.secs(),
        };
        match &self.event {
            LiveActivityEvent::End { dismissal_date } => {
                aps.dismissal_date = dismissal_date.map(UnixMillis::secs);
            }
            LiveActivityEvent::Start {
                attributes,
                attributes_type,
                input,
            } => {
                aps.attributes = Some(attributes);
                aps.attributes_type = Some(attributes_type);
                match input {
                    Some(LiveActivityInput::Channel(id)) => aps.input_push_channel = Some(id),
                    Some(LiveActivityInput::Token) => aps.input_push_token = Some(1),
                    None => {}
                }
            }
            LiveActivityEvent::Update => {}
        }
        Ok(json!({ "aps": aps }).to_string().into())
    }

    fn check(&self) -> Result<(), PayloadError> {
        let wrong = |field, why| Err(PayloadError::new(field, why));
        if self.timestamp.secs() <= 0 {
            return wrong(
                "aps.timestamp",
                "is not after 1970; say when this state was so",
            );
        }
        if self.relevance_score.is_some_and(|score| !score.is_finite()) {
            return wrong(
                "aps.relevance-score",
                "is not a number; use one such as 50.0",
            );
        }
        if let Some(alert) = &self.alert {
            alert.check()?;
        }
        if self.content_state.is_none() && !matches!(self.event, LiveActivityEvent::End { .. }) {
            return wrong(
                "aps.content-state",
                "is missing; a start and an update say what to show",
            );
        }
        let LiveActivityEvent::Start {
            attributes_type,
            input,
            ..
        } = &self.event
        else {
            return Ok(());
        };
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
        if attributes_type.is_empty() || !attributes_type.chars().all(is_name) {
            return wrong(
                "aps.attributes-type",
                "is no type's name; use that of the app's ActivityAttributes, such as GameAttributes",
            );
        }
        if self.alert.is_none() {
            return wrong(
                "aps.alert",
                "is missing; a start has to tell the person that an activity has begun",
            );
        }
        if matches!(input, Some(LiveActivityInput::Channel(id)) if id.is_empty()) {
            return wrong(
                "aps.input-push-channel",
                "is empty; use the id of a broadcast channel",
            );
        }
        Ok(())
    }
}

impl Notification {
    /// A notification of type `liveactivity` for the app of that bundle id, whose topic follows from it
    /// (`.push-type.liveactivity` behind it). Fails as [`LiveActivity::encode`] does.
    /// Apple: [Starting and updating Live Activities with ActivityKit push notifications](https://developer.apple.com/documentation/activitykit/starting-and-updating-live-activities-with-activitykit-push-notifications).
    pub fn live_activity(
        bundle_id: &str,
        activity: &LiveActivity,
    ) -> Result<NotificationBuilder, NotificationError> {
        let push_type = PushType::LiveActivity;
        let topic = format!("{bundle_id}{}", push_type.topic_suffix());
        let body = Body {
            json: Ok(activity.encode()?),
            push_type: Some(push_type),
        };
        Ok(Self::builder(topic, body))
    }
}
