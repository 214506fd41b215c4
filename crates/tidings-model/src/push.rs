//! A push that cannot be wrong, and the message that it becomes.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Aim, AppId, Audience, MsgId, Platform, PlatformSet, Provider, Strategies, UnixMillis};

/// One request by a back end, validated in every respect that does not need the registry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Push {
    pub audience: Audience,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<CustomMessage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notification: Option<Notification>,
    pub options: PushOptions,
    pub platforms: PlatformSet,
}

/// What is shown to the user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Notification {
    /// The text for every platform that has no section of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    /// The `android` section in JPush's field names, checked; with `alert`, from here or from above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub android: Option<Map<String, Value>>,
    /// The `hmos` section in JPush's field names, checked; with `alert`, as `android` has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hmos: Option<Map<String, Value>>,
    /// The `ios` section.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ios: Option<IosNotification>,
}

/// The `ios` section of a notification.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IosNotification {
    /// A text, or an object that goes to Apple as `aps.alert`.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub alert: Value,
    /// 0 clears it; absent leaves it alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub badge: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    pub content_available: bool,
    /// Placed beside `aps` in the payload.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub extras: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interruption_level: Option<InterruptionLevel>,
    pub mutable_content: bool,
    /// A file name, or the object of a critical alert: `critical` (1), `name`, `volume` (0 to 1).
    #[serde(skip_serializing_if = "Value::is_null")]
    pub sound: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
}

/// How much a notification may disturb.
/// Apple: [UNNotificationInterruptionLevel](https://developer.apple.com/documentation/usernotifications/unnotificationinterruptionlevel).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InterruptionLevel {
    /// Shown at once, with light and sound: what it is when none is named.
    Active,
    /// Heard even when the phone is silent; the app needs Apple's entitlement.
    Critical,
    /// Added to the list, without light and sound.
    Passive,
    /// Shown at once and through a Focus; the app needs Apple's entitlement.
    TimeSensitive,
}

impl InterruptionLevel {
    /// All levels, in the order of their names.
    pub const ALL: [Self; 4] = [
        Self::Active,
        Self::Critical,
        Self::Passive,
        Self::TimeSensitive,
    ];

    /// Apple's name, such as `time-sensitive`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Critical => "critical",
            Self::Passive => "passive",
            Self::TimeSensitive => "time-sensitive",
        }
    }

    /// The level of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}

/// What is handed to the app and not shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CustomMessage {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extras: Map<String, Value>,
    /// A text; some SDKs send an object.
    pub msg_content: Value,
    /// What a provider's channel shows in its place on phones that are not on the link then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown_instead: Option<Box<Notification>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PushOptions {
    /// `apns-collapse-id`, at most 64 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apns_collapse_id: Option<String>,
    /// The environment for tokens that were registered without one. Absent: whichever the app has a credential for,
    /// production when it has both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apns_production: Option<bool>,
    /// What it is to the makers that ask: 0 marketing, 1 what the user waits for. Goes before what it says to one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classification: Option<u8>,
    /// Milliseconds after which a provider gets what the link had first and its device has not acknowledged; none where no
    /// strategy has the link first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback_after: Option<u32>,
    /// Providers that hand the custom message itself to the app.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub handed_by: BTreeSet<Provider>,
    /// Paths of what the request said besides and has no effect, as its caller was told; at most 32, of 128 characters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
    /// Which configuration of receipts, for HarmonyOS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt_id: Option<String>,
    /// The caller's own number, given back in the reply and nowhere used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sendno: Option<i64>,
    #[serde(skip_serializing_if = "Strategies::is_default")]
    pub strategies: Strategies,
    /// It is a test, to the makers that have such.
    pub test_message: bool,
    /// What the push says to one of the makers' channels, by its name, in JPush's field names.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub third_party_channel: Map<String, Value>,
    /// Seconds for which the message waits for a device that is away; 0 means those that are there now.
    pub time_to_live: u32,
}

impl PushOptions {
    /// Seconds; JPush's default, one day.
    pub const TIME_TO_LIVE_DEFAULT: u32 = 86_400;
    /// Seconds; JPush's limit, ten days.
    pub const TIME_TO_LIVE_MAX: u32 = 864_000;
}

impl PushOptions {
    /// The id under which a message replaces the one before on the phone, if it was given one for this provider.
    pub fn collapse_id(&self, provider: Provider) -> Option<&str> {
        match provider {
            Provider::Apns => self.apns_collapse_id.as_deref(),
            _ => None,
        }
    }
}

impl Default for PushOptions {
    fn default() -> Self {
        Self {
            apns_collapse_id: None,
            apns_production: None,
            classification: None,
            fallback_after: None,
            handed_by: BTreeSet::new(),
            ignored: Vec::new(),
            receipt_id: None,
            sendno: None,
            strategies: Strategies::default(),
            test_message: false,
            third_party_channel: Map::new(),
            time_to_live: Self::TIME_TO_LIVE_DEFAULT,
        }
    }
}

impl Push {
    /// Which of its parts are for which platforms.
    pub fn aim(&self) -> Aim {
        let shown = |platform: &Platform| {
            self.notification
                .as_ref()
                .is_some_and(|notification| notification.is_for(*platform))
        };
        Aim {
            message: match self.message {
                Some(_) => self.platforms,
                None => PlatformSet::default(),
            },
            notification: self.platforms.iter().filter(shown).collect(),
            message_by: self.message_by().collect(),
            strategies: self.options.strategies,
        }
    }

    /// The providers that hand the custom message to the app, or show something in its place; none beside a notification.
    pub fn message_by(&self) -> impl Iterator<Item = Provider> {
        let message = self.message.as_ref();
        let message = message.filter(|_| self.notification.is_none());
        let all = Provider::ALL
            .into_iter()
            .filter(|provider| provider.is_remote());
        all.filter(move |provider| {
            let shows = |shown: &Notification| {
                let platforms = provider.nature().platforms;
                platforms
                    .iter()
                    .any(|platform| self.platforms.contains(platform) && shown.is_for(platform))
            };
            message.is_some_and(|message| {
                self.options.handed_by.contains(provider)
                    || message.shown_instead.as_deref().is_some_and(shows)
            })
        })
    }

    /// What a provider's channel shows on a platform: the notification, or what stands in the place of the message.
    pub fn shown(&self, platform: Platform) -> Option<&Notification> {
        let instead = || self.message.as_ref()?.shown_instead.as_deref();
        let shown = self.notification.as_ref().or_else(instead)?;
        (self.platforms.contains(platform) && shown.is_for(platform)).then_some(shown)
    }
}

impl Notification {
    /// Whether there is something for this platform: a section of its own, or the text for all.
    pub fn is_for(&self, platform: Platform) -> bool {
        let section = match platform {
            Platform::Android => self.android.is_some(),
            Platform::Hmos => self.hmos.is_some(),
            Platform::Ios => self.ios.is_some(),
            Platform::Web | Platform::Windows => false,
        };
        section || self.alert.is_some()
    }
}

/// What a push became when it was accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub accepted_at: UnixMillis,
    pub app: AppId,
    pub expires_at: UnixMillis,
    pub id: MsgId,
    pub push: Push,
}

impl Message {
    /// A message that is for the devices that are there now: how long "now" lasts. Long enough for a connected device to
    /// be written to, short enough that nobody calls it old.
    pub const NOW: Duration = Duration::from_secs(10);

    /// As long as an acknowledgement takes that takes long.
    const FALLBACK_MARGIN: Duration = Duration::from_secs(2);

    /// The moment after which a push accepted at `accepted_at` is delivered no more.
    pub fn expiry(accepted_at: UnixMillis, options: &PushOptions) -> UnixMillis {
        match options.time_to_live {
            0 => accepted_at.plus(Self::NOW),
            secs => accepted_at.plus(Duration::from_secs(secs.into())),
        }
    }

    /// When a provider gets what the link had first and its device has not acknowledged: never later than at half of the
    /// message's life; none when that is not to be, or when it is for those who are there now.
    pub fn falls_back_at(&self) -> Option<UnixMillis> {
        let after = Duration::from_millis(self.push.options.fallback_after?.into());
        let half = self.expires_at.since(self.accepted_at) / 2;
        (!self.is_online_only()).then(|| self.accepted_at.plus(after.min(half)))
    }

    /// Until when the link gives what falls back: what is given later could not be acknowledged in time, and would be shown
    /// twice.
    pub fn link_gives_until(&self) -> Option<UnixMillis> {
        let at = self.falls_back_at()?;
        let margin = (at.since(self.accepted_at) / 4).min(Self::FALLBACK_MARGIN);
        Some(at.minus(margin))
    }

    /// Whether it may only go to devices that were connected when it was accepted.
    pub fn is_online_only(&self) -> bool {
        self.push.options.time_to_live == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_stored_by_apples_name() {
        for level in InterruptionLevel::ALL {
            assert_eq!(serde_json::to_value(level).ok(), Some(level.name().into()));
            assert_eq!(InterruptionLevel::named(level.name()), Some(level));
        }
        assert_eq!(InterruptionLevel::named("timeSensitive"), None);
    }

    #[test]
    fn a_platform_without_section_or_text_gets_nothing() {
        let push = Push {
            audience: Audience::All,
            message: None,
            notification: Some(Notification {
                ios: Some(IosNotification::default()),
                ..Notification::default()
            }),
            options: PushOptions::default(),
            platforms: PlatformSet::ALL,
        };
        let ios: PlatformSet = [Platform::Ios].into_iter().collect();
        assert_eq!(push.aim().notification, ios);
        assert!(push.aim().message.is_empty());
    }

    #[test]
    fn what_falls_back_does_so_at_half_of_its_life_at_the_latest() {
        let message = |time_to_live, fallback_after| {
            let options = PushOptions {
                fallback_after,
                time_to_live,
                ..PushOptions::default()
            };
            Message {
                accepted_at: UnixMillis(1000),
                app: AppId(1),
                expires_at: Message::expiry(UnixMillis(1000), &options),
                id: MsgId(1),
                push: Push {
                    audience: Audience::All,
                    message: None,
                    notification: None,
                    options,
                    platforms: PlatformSet::ALL,
                },
            }
        };
        let times = |message: Message| {
            let times = (message.link_gives_until(), message.falls_back_at());
            (times.0.map(|at| at.0), times.1.map(|at| at.0))
        };
        assert_eq!(times(message(60, None)), (None, None));
        assert_eq!(times(message(0, Some(1000))), (None, None));
        assert_eq!(
            times(message(600, Some(30_000))),
            (Some(29_000), Some(31_000))
        );
        assert_eq!(times(message(4, Some(30_000))), (Some(2500), Some(3000)));
    }
}
