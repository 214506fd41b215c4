//! What tells a person that a Live Activity has begun or changed.

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

use crate::apns::payload::PayloadError;

/// The alert of a Live Activity, which is of another form than a notification's: a watch shows title and body, a phone
/// lights up and makes the sound.
/// Apple: [Starting and updating Live Activities with ActivityKit push notifications](https://developer.apple.com/documentation/activitykit/starting-and-updating-live-activities-with-activitykit-push-notifications).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LiveActivityAlert {
    /// What has happened.
    pub body: LiveActivityText,
    /// A file in the app's bundle or in its `Library/Sounds`, or `default`; none leaves it to the phone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sound: Option<String>,
    /// What it is about.
    pub title: LiveActivityText,
}

/// A text, or a key into the app's own translations.
/// Apple: [Starting and updating Live Activities with ActivityKit push notifications](https://developer.apple.com/documentation/activitykit/starting-and-updating-live-activities-with-activitykit-push-notifications).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveActivityText {
    /// The translation of a key (`loc-key`, `loc-args`).
    Key {
        /// What stands for each `%@` in the translation, in order.
        args: Vec<String>,
        /// The key, not empty.
        key: String,
    },
    /// The text itself.
    Text(String),
}

impl LiveActivityAlert {
    /// Title and body as they are, without a sound of their own.
    pub fn text(title: impl Into<String>, body: impl Into<String>) -> Self {
        Self {
            body: LiveActivityText::Text(body.into()),
            sound: None,
            title: LiveActivityText::Text(title.into()),
        }
    }

    pub(super) fn check(&self) -> Result<(), PayloadError> {
        for (field, text) in [
            ("aps.alert.title.loc-key", &self.title),
            ("aps.alert.body.loc-key", &self.body),
        ] {
            if matches!(text, LiveActivityText::Key { key, .. } if key.is_empty()) {
                let why = "is empty; use a key of the app's translations, or a text";
                return Err(PayloadError::new(field, why));
            }
        }
        Ok(())
    }
}

impl Serialize for LiveActivityText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Key { args, key } => {
                let mut object = serializer.serialize_struct("LiveActivityText", 2)?;
                object.serialize_field("loc-key", key)?;
                if !args.is_empty() {
                    object.serialize_field("loc-args", args)?;
                }
                object.end()
            }
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}
