//! Why a typed payload is none.

use std::borrow::Cow;

use thiserror::Error;

/// A value of a typed payload that is not of Apple's form: APNs would refuse it, or the phone ignore it. The text names
/// the field, what is wrong and what would be right. The forms are those of [Generating a remote notification](https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification) and [Starting and updating Live Activities with ActivityKit push notifications](https://developer.apple.com/documentation/activitykit/starting-and-updating-live-activities-with-activitykit-push-notifications).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field}: {why}")]
pub struct PayloadError {
    field: &'static str,
    why: Cow<'static, str>,
}

impl PayloadError {
    pub(in crate::apns) fn new(field: &'static str, why: impl Into<Cow<'static, str>>) -> Self {
        Self {
            field,
            why: why.into(),
        }
    }

    /// The field that is wrong, by its place in the JSON: `aps.relevance-score`.
    pub fn field(&self) -> &'static str {
        self.field
    }
}
