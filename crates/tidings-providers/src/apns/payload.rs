//! The JSON that a device gets. Source: Apple, [Generating a remote notification](https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification).

mod alert;
mod body;
mod error;
mod sound;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};
use tidings_model::InterruptionLevel;

pub use alert::{Alert, AlertParts};
pub use body::Body;
pub use error::PayloadError;
pub use sound::Sound;

use super::PushType;

/// The payload, typed. What has no field here goes into `more_aps` (inside `aps`) or `custom` (beside it); a payload
/// that is JSON already needs none of this and goes to [`Notification::builder`](super::Notification::builder) as it
/// is. The whole may have 4,096 bytes of JSON, 5,120 for VoIP. [`build`](super::NotificationBuilder::build) checks this,
/// the values ([`encode`](Self::encode)), and that the push type says the same as the payload
/// ([`push_type`](Self::push_type)).
/// Apple: [Generating a remote notification](https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Payload {
    /// What is shown.
    pub alert: Option<Alert>,
    /// The number at the app's icon. 0 clears it; absent leaves it alone.
    pub badge: Option<u32>,
    /// Which of the categories that the app has declared: its action buttons.
    pub category: Option<String>,
    /// Wakes the app in the background. Without alert, badge and sound this is what push type background is for.
    pub content_available: bool,
    /// Beside `aps`, for the app: JSON of any kind, which the phone does not encrypt. `aps` itself is refused.
    pub custom: Map<String, Value>,
    /// What a Focus filter of the app is asked about the notification by.
    pub filter_criteria: Option<String>,
    /// How much it may disturb; `time-sensitive` and `critical` need Apple's entitlement.
    pub interruption_level: Option<InterruptionLevel>,
    /// Inside `aps`: what has no field here, such as `content-changed`. What has one is refused. APNs ignores what it
    /// does not know there. (A Live Activity has a type of its own: [`LiveActivity`](super::LiveActivity).)
    pub more_aps: Map<String, Value>,
    /// Lets the app's service extension change it before it is shown.
    pub mutable_content: bool,
    /// 0 to 1: which of the app's notifications a summary shows first, the highest.
    pub relevance_score: Option<f64>,
    /// What is heard.
    pub sound: Option<Sound>,
    /// Which of the app's windows comes to the front.
    pub target_content_id: Option<String>,
    /// Groups notifications: those with one id are shown together.
    pub thread_id: Option<String>,
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
    filter_criteria: Option<&'a str>,
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

/// The keys of [`Aps`], which `more_aps` must not have.
const TYPED: [&str; 11] = [
    "aps.alert",
    "aps.badge",
    "aps.category",
    "aps.content-available",
    "aps.filter-criteria",
    "aps.interruption-level",
    "aps.mutable-content",
    "aps.relevance-score",
    "aps.sound",
    "aps.target-content-id",
    "aps.thread-id",
];

impl Payload {
    /// A text that is shown.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            alert: Some(Alert::Text(text.into())),
            ..Self::default()
        }
    }

    /// The type that describes it: background when it wakes the app and has no alert, badge or sound, else alert. The
    /// builder takes it when it is given no other. Apple, [Pushing background updates to your App](https://developer.apple.com/documentation/usernotifications/pushing-background-updates-to-your-app).
    ///
    /// ```
    /// use tidings_providers::apns::{Notification, Payload, PushType, Sound};
    ///
    /// let wake = Payload { content_available: true, ..Payload::default() };
    /// let notification = Notification::builder("com.example.app", &wake).build()?;
    /// assert_eq!(notification.push_type(), PushType::Background);
    /// assert_eq!(notification.priority().number(), 5);
    /// // What is heard is no background push, and is not sent as one.
    /// let heard = Payload { sound: Some(Sound::Named("bell.caf".to_owned())), ..wake };
    /// let built = Notification::builder("com.example.app", &heard).push_type(PushType::Background).build();
    /// assert_eq!(built.expect_err("a mismatch").field(), "apns-push-type");
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

    /// The JSON, without spaces. Refuses a score or a volume that is not 0 to 1, `aps` among `custom`, and in
    /// `more_aps` what has a field of its own ([`PayloadError`]). What is inside `custom`, `more_aps` and
    /// [`Alert::Object`] is not looked at; the size is checked by
    /// [`NotificationBuilder::build`](super::NotificationBuilder::build).
    pub fn encode(&self) -> Result<Bytes, PayloadError> {
        self.check()?;
        let flag = |set: bool| set.then_some(1);
        let typed = serde_json::to_value(Aps {
            alert: self.alert.as_ref(),
            badge: self.badge,
            category: self.category.as_deref(),
            content_available: flag(self.content_available),
            filter_criteria: self.filter_criteria.as_deref(),
            interruption_level: self.interruption_level.map(InterruptionLevel::name),
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
        Ok(Value::Object(whole).to_string().into())
    }

    fn check(&self) -> Result<(), PayloadError> {
        check_unit("aps.relevance-score", self.relevance_score)?;
        if let Some(sound) = &self.sound {
            sound.check()?;
        }
        let is_more = |path: &&str| {
            path.strip_prefix("aps.")
                .is_some_and(|key| self.more_aps.contains_key(key))
        };
        if let Some(field) = TYPED.into_iter().find(is_more) {
            let why = "is among more_aps; it has a field of its own, use that";
            return Err(PayloadError::new(field, why));
        }
        if self.custom.contains_key("aps") {
            let why = "is Apple's own key; name it otherwise, or use the fields and more_aps";
            return Err(PayloadError::new("custom.aps", why));
        }
        Ok(())
    }
}

/// Refuses what is not 0 to 1.
fn check_unit(field: &'static str, number: Option<f64>) -> Result<(), PayloadError> {
    match number {
        Some(number) if !(0.0..=1.0).contains(&number) => {
            let why = format!("is {number}; use a number from 0 to 1");
            Err(PayloadError::new(field, why))
        }
        _ => Ok(()),
    }
}
