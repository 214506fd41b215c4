//! What a push is for, and how urgent it is.
//!
//! Source: Apple, [Sending notification requests to APNs](https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns).

use std::fmt;

use super::notification::{PAYLOAD_LEN_MAX, PAYLOAD_LEN_MAX_VOIP};

/// `apns-push-type`: what the payload is for. APNs may refuse, delay or drop a notification whose payload is not what
/// its type says. Each type has its topic ([`topic_suffix`](Self::topic_suffix)); a certificate sends to the topics
/// that it lists, a token to all.
/// Apple, "Know when to use push types" in [Sending notification requests to APNs](https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PushType {
    /// Shown, played or badged.
    #[default]
    Alert,
    /// Wakes the app unseen: `content-available`, and no alert, badge or sound. Only at [`Priority::PowerSaving`], and
    /// not more than two or three an hour for a device (Apple, "Pushing background updates to your App").
    Background,
    /// Data for a complication of watchOS.
    Complication,
    /// Reloads a control of the app (iOS 18).
    Controls,
    /// Tells a File Provider extension that something changed.
    FileProvider,
    /// Starts, changes or ends a Live Activity, at priority 5 or 10; [`LiveActivity`](super::LiveActivity) makes its
    /// payload. It goes to a token of its own kind, not to the device token.
    LiveActivity,
    /// Asks for the location; only with token credentials. A [`Client`](super::Client) with a certificate answers it
    /// with [`Outcome::PayloadRejected`](tidings_model::Outcome::PayloadRejected) `TokenRequired` and sends nothing.
    Location,
    /// Device management: tells a device to contact its server. The topic is the one in the subject (UID) of the MDM
    /// push certificate.
    Mdm,
    /// News of a Push to Talk channel.
    PushToTalk,
    /// An incoming call, for PushKit; its payload may have 5,120 bytes.
    Voip,
    /// Reloads the app's widgets.
    Widgets,
}

impl PushType {
    /// All types, in the order of their names.
    pub const ALL: [Self; 11] = [
        Self::Alert,
        Self::Background,
        Self::Complication,
        Self::Controls,
        Self::FileProvider,
        Self::LiveActivity,
        Self::Location,
        Self::Mdm,
        Self::PushToTalk,
        Self::Voip,
        Self::Widgets,
    ];

    /// The header's value, such as `alert`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Background => "background",
            Self::Complication => "complication",
            Self::Controls => "controls",
            Self::FileProvider => "fileprovider",
            Self::LiveActivity => "liveactivity",
            Self::Location => "location",
            Self::Mdm => "mdm",
            Self::PushToTalk => "pushtotalk",
            Self::Voip => "voip",
            Self::Widgets => "widgets",
        }
    }

    /// What the topic has behind the bundle id, such as `.voip`; empty when it is the bundle id, or for
    /// [`Mdm`](Self::Mdm) the topic of the certificate.
    /// Apple: [Sending notification requests to APNs](https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns).
    pub fn topic_suffix(self) -> &'static str {
        match self {
            Self::Alert | Self::Background | Self::Mdm => "",
            Self::Complication => ".complication",
            Self::Controls => ".push-type.controls",
            Self::FileProvider => ".pushkit.fileprovider",
            Self::LiveActivity => ".push-type.liveactivity",
            Self::Location => ".location-query",
            Self::PushToTalk => ".voip-ptt",
            Self::Voip => ".voip",
            Self::Widgets => ".push-type.widgets",
        }
    }

    /// The type whose [suffix](Self::topic_suffix) a topic has; none for one that is a bundle id alone.
    pub fn by_suffix(topic: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| {
            let suffix = known.topic_suffix();
            !suffix.is_empty() && topic.ends_with(suffix)
        })
    }

    /// The type that a topic is of without a doubt: one that ends in `.voip` or `.complication` may be the bundle id of
    /// an app of that name.
    pub(super) fn of_topic(topic: &str) -> Option<Self> {
        Self::by_suffix(topic).filter(|known| !matches!(known, Self::Complication | Self::Voip))
    }

    /// Bytes of a payload of this type, at most: 5,120 for VoIP, 4,096 for all else.
    /// Apple: [Generating a remote notification](https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification).
    pub fn payload_len_max(self) -> usize {
        match self {
            Self::Voip => PAYLOAD_LEN_MAX_VOIP,
            _ => PAYLOAD_LEN_MAX,
        }
    }

    /// Whether a certificate may send it at all: false for [`Location`](Self::Location) only. What else a certificate
    /// may send stands in its topics ([`Summary::topics`](super::Summary::topics)).
    /// Apple: [Establishing a certificate-based connection to APNs](https://developer.apple.com/documentation/usernotifications/establishing-a-certificate-based-connection-to-apns).
    pub fn takes_certificate(self) -> bool {
        self != Self::Location
    }

    /// Whether Apple lets it have that priority: [`Background`](Self::Background) takes 5 only,
    /// [`LiveActivity`](Self::LiveActivity) 5 and 10, and of the others Apple excludes none.
    /// Apple: [Sending notification requests to APNs](https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns).
    pub fn takes_priority(self, priority: Priority) -> bool {
        self.priorities().contains(&priority)
    }

    /// The priority when none is asked for: at once where Apple allows it.
    pub(super) fn default_priority(self) -> Priority {
        match self {
            Self::Background => Priority::PowerSaving,
            _ => Priority::Immediate,
        }
    }

    /// The priorities that it takes.
    pub(super) fn priorities(self) -> &'static [Priority] {
        match self {
            Self::Background => &[Priority::PowerSaving],
            Self::LiveActivity => &[Priority::PowerSaving, Priority::Immediate],
            _ => &Priority::ALL,
        }
    }
}

impl fmt::Display for PushType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `apns-priority`. What is not asked for is 5 for [`PushType::Background`] and 10 for all else. At 5 and 1 APNs may
/// group, delay or drop.
/// Apple: [Sending notification requests to APNs](https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// 1: the device's power before everything else; never wakes the device. [`PushType::Background`] and
    /// [`PushType::LiveActivity`] refuse it.
    Lowest,
    /// 5: with regard for the device's power. Does not count against the budget of a Live Activity.
    PowerSaving,
    /// 10: at once. [`PushType::Background`] refuses it.
    Immediate,
}

impl Priority {
    /// All priorities, the lowest first.
    pub const ALL: [Self; 3] = [Self::Lowest, Self::PowerSaving, Self::Immediate];

    /// The header's number: 1, 5 or 10.
    pub fn number(self) -> u8 {
        match self {
            Self::Lowest => 1,
            Self::PowerSaving => 5,
            Self::Immediate => 10,
        }
    }
}
