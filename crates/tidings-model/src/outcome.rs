//! What a provider said of one delivery.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::UnixMillis;

/// A provider's own word for why, such as `BadDeviceToken`: at most 64 characters, letters, digits, `_`, `-` and `.`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Reason(Cow<'static, str>);

impl Reason {
    pub const LEN_MAX: usize = 64;

    /// A reason that is known when the program is written.
    pub const fn known(word: &'static str) -> Self {
        Self(Cow::Borrowed(word))
    }

    /// A reason that came over the wire: whatever does not belong into one is left out, and the rest is cut.
    pub fn heard(word: &str) -> Self {
        let kept = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        Self(Cow::Owned(
            word.chars().filter(kept).take(Self::LEN_MAX).collect(),
        ))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A provider's own id of a notification: 1 to 128 printable ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProviderId(Box<str>);

impl ProviderId {
    pub const LEN_MAX: usize = 128;

    /// An id that came over the wire; none when it is not of the form.
    pub fn heard(id: &str) -> Option<Self> {
        let is_id = (1..=Self::LEN_MAX).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_graphic());
        is_id.then(|| Self(id.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProviderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A quota that is used up: what it is for is taken again from `until` on, and is not to be sent before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Which of the credential's notifications it is for, as the provider tells them apart; empty is all of them.
    pub class: Box<str>,
    pub reason: Reason,
    pub until: UnixMillis,
}

impl Spent {
    /// Of one credential.
    pub const KNOWN_MAX: usize = 64;
    /// They end within a day, by whatever clock: what is to last for longer was noted by a clock that stood wrong.
    pub const LASTS_MAX: Duration = Duration::from_secs(25 * 3600);

    /// Of all that is sent with the credential; whoever knows what was sent says of which class it was.
    pub fn until(reason: Reason, until: UnixMillis) -> Self {
        Self {
            class: Box::default(),
            reason,
            until,
        }
    }

    /// Enters it into those that are known, in the place of one of its class and of those that are over at `now`. When there
    /// are [`Self::KNOWN_MAX`] of them it is not: the provider will say so again.
    pub fn enter(&self, known: &mut Vec<Self>, now: UnixMillis) {
        known.retain(|known| !known.is_over(now) && known.class != self.class);
        if known.len() < Self::KNOWN_MAX {
            known.push(self.clone());
        }
    }

    /// Whether it keeps back what is of `class` at `now`.
    pub fn holds(&self, class: &str, now: UnixMillis) -> bool {
        !self.is_over(now) && (self.class.is_empty() || *self.class == *class)
    }

    /// Whether there is another by `now`, or it is not to be believed.
    pub fn is_over(&self, now: UnixMillis) -> bool {
        self.until <= now || now.plus(Self::LASTS_MAX) < self.until
    }
}

/// What a provider answered to one attempt. An answer that says no is an outcome, not an error; only silence is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The provider took it. (Not: the phone showed it.)
    Accepted {
        /// The provider's own id of it, when it tells one: by that its logs know the notification.
        id: Option<ProviderId>,
    },
    /// The credential is not good for this; nothing sent with it will do better until it is replaced.
    CredentialRejected { reason: Reason },
    /// This notification is wrong and would be refused again; its neighbours may be fine.
    PayloadRejected { reason: Reason },
    /// A quota is used up: this goes when there is another, or by another way.
    QuotaSpent(Spent),
    /// The provider could not now; again later, not before `after` when it said so.
    Retry {
        reason: Reason,
        after: Option<Duration>,
    },
    /// Too much for this one device; again later, the others may go on.
    Throttled {
        reason: Reason,
        after: Option<Duration>,
    },
    /// The address is dead, and has been since `since` when the provider said so: an address that was registered
    /// again after that stays.
    Unregistered {
        /// False when it can be the credential's fault as well: the address may belong to another environment or app than
        /// the credential. Then nothing is to be removed unless the credential is known to be good.
        certain: bool,
        reason: Reason,
        since: Option<UnixMillis>,
    },
}

impl Outcome {
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted { .. })
    }

    /// The provider's reason; none for an acceptance.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Accepted { .. } => None,
            Self::CredentialRejected { reason }
            | Self::PayloadRejected { reason }
            | Self::QuotaSpent(Spent { reason, .. })
            | Self::Retry { reason, .. }
            | Self::Throttled { reason, .. }
            | Self::Unregistered { reason, .. } => Some(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_from_the_wire_is_bounded_and_can_be_logged() {
        let id = "58cbe88a-bc7d-4d5a-9f0f-25d0d5b63e0a";
        assert_eq!(
            ProviderId::heard(id).as_ref().map(ProviderId::as_str),
            Some(id)
        );
        let long = "x".repeat(ProviderId::LEN_MAX + 1);
        for other in ["", "a b", "a\n", "\u{1b}[0m", "\u{e9}", &long] {
            assert_eq!(ProviderId::heard(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_reason_from_the_wire_is_cleaned_and_cut() {
        assert_eq!(
            Reason::heard("Bad\nDevice Token\u{1b}[0m").as_str(),
            "BadDeviceToken0m"
        );
        assert_eq!(
            Reason::heard(&"x".repeat(1000)).as_str().len(),
            Reason::LEN_MAX
        );
    }
}
