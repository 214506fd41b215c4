//! What every delivery of a message to APNs has in common: topic, headers, payload.
//!
//! Source: Apple, [Sending notification requests to APNs](https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns).

use std::fmt;

use bytes::Bytes;
use http::HeaderValue;
use http::header::HeaderName;
use serde::de::IgnoredAny;
use thiserror::Error;
use tidings_model::UnixMillis;

use super::Payload;

/// Bytes of a payload, at most, of every type but VoIP: 4,096.
/// Apple: [Generating a remote notification](https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification).
pub const PAYLOAD_LEN_MAX: usize = 4096;
/// Bytes of a VoIP payload, at most: 5,120.
/// Apple: [Generating a remote notification](https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification).
pub const PAYLOAD_LEN_MAX_VOIP: usize = 5120;
/// Bytes (not characters) of a collapse id, at most: 64.
/// Apple: [Sending notification requests to APNs](https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns).
pub const COLLAPSE_ID_LEN_MAX: usize = 64;
/// Bytes of a topic, at most: 255. Our own bound; Apple names none (a bundle id has at most 155 characters).
pub const TOPIC_LEN_MAX: usize = 255;

const APNS_COLLAPSE_ID: HeaderName = HeaderName::from_static("apns-collapse-id");
const APNS_EXPIRATION: HeaderName = HeaderName::from_static("apns-expiration");
const APNS_PRIORITY: HeaderName = HeaderName::from_static("apns-priority");
const APNS_PUSH_TYPE: HeaderName = HeaderName::from_static("apns-push-type");
const APNS_TOPIC: HeaderName = HeaderName::from_static("apns-topic");

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

    /// The type that a topic is of without a doubt: one that ends in `.voip` or `.complication` may be the bundle id of
    /// an app of that name.
    fn of_topic(topic: &str) -> Option<Self> {
        let told = |known: &Self| {
            let is_word = matches!(known, Self::Complication | Self::Voip);
            let suffix = known.topic_suffix();
            !suffix.is_empty() && !is_word && topic.ends_with(suffix)
        };
        Self::ALL.into_iter().find(told)
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

    /// The priority when none is asked for: at once where Apple allows it.
    fn default_priority(self) -> Priority {
        match self {
            Self::Background => Priority::PowerSaving,
            _ => Priority::Immediate,
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
    /// 1: the device's power before everything else; never wakes the device.
    Lowest,
    /// 5: with regard for the device's power. Does not count against the budget of a Live Activity.
    PowerSaving,
    /// 10: at once. [`PushType::Background`] refuses it.
    Immediate,
}

impl Priority {
    /// The header's number: 1, 5 or 10.
    pub fn number(self) -> u8 {
        match self {
            Self::Lowest => 1,
            Self::PowerSaving => 5,
            Self::Immediate => 10,
        }
    }
}

/// `apns-expiration`: for how long APNs keeps the notification for a device that it cannot reach. It keeps one for each
/// app and device, and promises neither the one kept nor the time.
/// Apple: [Sending notification requests to APNs](https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expiration {
    /// As long as Apple likes, at most 30 days (no header).
    #[default]
    Unset,
    /// Not at all: one try (the header is 0).
    Once,
    /// Until then, in whole seconds rounded up. A time at or before 1970 is sent as 1 (long over), not as 0.
    At(UnixMillis),
}

impl Expiration {
    pub(super) fn header(self) -> Option<HeaderValue> {
        match self {
            Self::Unset => None,
            Self::Once => Some(HeaderValue::from_static("0")),
            // A time at or before 1970 must not turn into 0, which means something else.
            Self::At(time) => {
                let secs = time.secs() + i64::from(time.0.rem_euclid(1000) != 0);
                Some(secs.max(1).into())
            }
        }
    }
}

/// A notification that APNs would refuse, found out before it is sent. The text names the field, what is wrong and what
/// would be right; [`field`](Self::field) is for programs. The rules are those of [Sending notification requests to APNs](https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns) and [Generating a remote notification](https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotificationError {
    /// The collapse id has control characters, which no header can carry. Apple would say `BadCollapseId`.
    #[error(
        "apns-collapse-id: has control characters; use plain text of 1 to {COLLAPSE_ID_LEN_MAX} bytes"
    )]
    CollapseIdCharacter,
    /// The collapse id has not 1 to [`COLLAPSE_ID_LEN_MAX`] bytes. Apple would say `BadCollapseId`.
    #[error("apns-collapse-id: has {len} bytes; use 1 to {COLLAPSE_ID_LEN_MAX}")]
    CollapseIdLength {
        /// Its bytes.
        len: usize,
    },
    /// A [`LiveActivity`](super::LiveActivity) that no phone would take, or that a channel cannot carry.
    #[error("{field}: {why}")]
    LiveActivity {
        /// Where, such as `aps.timestamp`.
        field: &'static str,
        /// What is wrong, and what would be right.
        why: &'static str,
    },
    /// The payload has no bytes. Apple would say `PayloadEmpty`.
    #[error("payload: is empty; send a JSON object such as {{\"aps\":{{\"alert\":\"Hello\"}}}}")]
    PayloadEmpty,
    /// The payload is not a JSON object.
    #[error("payload: is not a JSON object; send one such as {{\"aps\":{{\"alert\":\"Hello\"}}}}")]
    PayloadNotObject,
    /// The payload has more bytes than its type, or a broadcast, may have. Apple would say
    /// `PayloadTooLarge`.
    #[error("payload: has {len} bytes; push type {push_type} takes at most {max}")]
    PayloadTooLarge {
        /// Its bytes.
        len: usize,
        /// The bytes that it may have.
        max: usize,
        /// The type that says so.
        push_type: PushType,
    },
    /// [`PushType::Background`] with another priority than 5. Apple would say `BadPriority`.
    #[error("apns-priority: is {}; push type background takes 5 only", .priority.number())]
    Priority {
        /// The one that was asked for.
        priority: Priority,
    },
    /// The topic has something else than the letters, digits, `.`, `-` and `_` of a bundle id. Apple would say
    /// `BadTopic`.
    #[error(
        "apns-topic: has characters that no topic has; use the app's bundle id, such as com.example.app"
    )]
    TopicCharacter,
    /// The topic has not 1 to [`TOPIC_LEN_MAX`] bytes. Apple would say `BadTopic` or `MissingTopic`.
    #[error("apns-topic: has {len} bytes; use the app's bundle id, 1 to {TOPIC_LEN_MAX} bytes")]
    TopicLength {
        /// Its bytes.
        len: usize,
    },
    /// The topic is one of another type, and this one's has nothing behind the bundle id. Apple would say `BadTopic`
    /// or `DeviceTokenNotForTopic`. (`.voip` and `.complication` pass: an app may be called so.)
    #[error(
        "apns-topic: is {topic:?}, which is one of push type {of}; push type {push_type} takes the bundle id alone"
    )]
    TopicOfAnotherType {
        /// The type whose topics end so.
        of: PushType,
        /// The notification's type.
        push_type: PushType,
        /// The one that was given.
        topic: String,
    },
    /// The topic does not end in the suffix of its type, or has nothing before it. Apple would say
    /// `BadTopic` or `DeviceTokenNotForTopic`.
    #[error(
        "apns-topic: is {topic:?}; push type {push_type} needs the bundle id with {suffix:?} behind it"
    )]
    TopicSuffix {
        /// The notification's type.
        push_type: PushType,
        /// What its topics have behind the bundle id.
        suffix: &'static str,
        /// The one that was given.
        topic: String,
    },
}

impl NotificationError {
    /// The header that is wrong (`apns-topic`), or `payload`, or the field inside it (`aps.timestamp`).
    pub fn field(&self) -> &'static str {
        match self {
            Self::CollapseIdCharacter | Self::CollapseIdLength { .. } => "apns-collapse-id",
            Self::LiveActivity { field, .. } => field,
            Self::PayloadEmpty | Self::PayloadNotObject | Self::PayloadTooLarge { .. } => "payload",
            Self::Priority { .. } => "apns-priority",
            Self::TopicCharacter
            | Self::TopicLength { .. }
            | Self::TopicOfAnotherType { .. }
            | Self::TopicSuffix { .. } => "apns-topic",
        }
    }
}

/// What all deliveries of one message share; only token and `apns-id` differ. Every part is held as it is sent, so
/// that a delivery copies nothing but references: put it into an [`Arc`](std::sync::Arc) and use it for millions.
/// Apple: [Sending notification requests to APNs](https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns).
///
/// ```
/// use tidings_model::UnixMillis;
/// use tidings_providers::apns::{Expiration, Notification, Payload, Priority};
///
/// let payload = Payload { badge: Some(3), ..Payload::text("Hello") };
/// let notification = Notification::builder("com.example.app", payload)
///     .collapse_id("greeting")
///     .expiration(Expiration::At(UnixMillis(1_900_000_000_000)))
///     .priority(Priority::PowerSaving)
///     .build()?;
/// assert_eq!(&notification.payload()[..], br#"{"aps":{"alert":"Hello","badge":3}}"#);
/// // What Apple would refuse is refused here, by name.
/// let refused = Notification::builder("com.example.app", "[]").build();
/// assert_eq!(refused.expect_err("no object").field(), "payload");
/// # Ok::<(), tidings_providers::apns::NotificationError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Notification {
    collapse_id: Option<HeaderValue>,
    expiration: Expiration,
    expiration_header: Option<HeaderValue>,
    payload: Bytes,
    priority: Priority,
    push_type: PushType,
    topic: HeaderValue,
}

impl Notification {
    /// A notification of type alert with that payload, until the builder is told otherwise: a
    /// [`Payload`], or any JSON that is there already. Nothing is checked before [`NotificationBuilder::build`].
    pub fn builder(topic: impl Into<String>, payload: impl Into<Bytes>) -> NotificationBuilder {
        NotificationBuilder {
            collapse_id: None,
            expiration: Expiration::default(),
            payload: payload.into(),
            priority: None,
            push_type: PushType::default(),
            topic: topic.into(),
        }
    }

    /// A text that is shown at once, in an app of that bundle id. Fails as [`NotificationBuilder::build`] does: a topic
    /// that is none, or a text that makes more than 4,096 bytes of JSON.
    pub fn alert(topic: impl Into<String>, text: &str) -> Result<Self, NotificationError> {
        Self::builder(topic, Payload::text(text)).build()
    }

    /// `apns-collapse-id`, if there is one.
    pub fn collapse_id(&self) -> Option<&HeaderValue> {
        self.collapse_id.as_ref()
    }

    /// For how long APNs keeps it.
    pub fn expiration(&self) -> Expiration {
        self.expiration
    }

    /// The JSON that is sent; shared, not copied.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// `apns-priority`: what was asked for, or the default of the type.
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// `apns-push-type`.
    pub fn push_type(&self) -> PushType {
        self.push_type
    }

    /// `apns-topic`.
    pub fn topic(&self) -> &HeaderValue {
        &self.topic
    }

    /// The headers of every delivery: topic, type and priority, and expiration and collapse id if there are any. Not
    /// `apns-id` and `authorization`, which the client adds.
    pub fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let push_type = HeaderValue::from_static(self.push_type.name());
        let priority = HeaderValue::from_static(match self.priority {
            Priority::Lowest => "1",
            Priority::PowerSaving => "5",
            Priority::Immediate => "10",
        });
        let always = [
            (APNS_TOPIC, self.topic.clone()),
            (APNS_PUSH_TYPE, push_type),
            (APNS_PRIORITY, priority),
        ];
        let expiration = self.expiration_header.clone();
        let collapse_id = self.collapse_id.clone();
        always
            .into_iter()
            .chain(expiration.map(|value| (APNS_EXPIRATION, value)))
            .chain(collapse_id.map(|value| (APNS_COLLAPSE_ID, value)))
    }
}

/// Collects a [`Notification`], and refuses at the end what Apple would refuse ([`build`](Self::build)).
/// Apple: [Sending notification requests to APNs](https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns).
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct NotificationBuilder {
    collapse_id: Option<String>,
    expiration: Expiration,
    payload: Bytes,
    priority: Option<Priority>,
    push_type: PushType,
    topic: String,
}

impl NotificationBuilder {
    /// `apns-collapse-id`, 1 to 64 bytes without control characters: notifications with one id show as one, the newest.
    pub fn collapse_id(mut self, collapse_id: impl Into<String>) -> Self {
        self.collapse_id = Some(collapse_id.into());
        self
    }

    /// `apns-expiration`; [`Expiration::Unset`] by default.
    pub fn expiration(mut self, expiration: Expiration) -> Self {
        self.expiration = expiration;
        self
    }

    /// `apns-priority`; by default 5 for [`PushType::Background`], which takes no other, and 10 for all else.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }

    /// `apns-push-type`; [`PushType::Alert`] by default. The topic has to have its suffix. [`Payload::push_type`] says
    /// which of alert and background a payload is.
    pub fn push_type(mut self, push_type: PushType) -> Self {
        self.push_type = push_type;
        self
    }

    /// Checks priority, payload (a JSON object within the type's bytes), collapse id and topic, in this order, and
    /// fails with the first that is wrong ([`NotificationError`]). It does not look into `aps`: that a background push
    /// has no alert, or that a score is within 0 to 1, is the caller's.
    pub fn build(self) -> Result<Notification, NotificationError> {
        let push_type = self.push_type;
        let priority = self
            .priority
            .unwrap_or_else(|| push_type.default_priority());
        if push_type == PushType::Background && priority != Priority::PowerSaving {
            return Err(NotificationError::Priority { priority });
        }
        check_payload(&self.payload, push_type)?;
        Ok(Notification {
            collapse_id: self.collapse_id.map(collapse_id_header).transpose()?,
            expiration: self.expiration,
            expiration_header: self.expiration.header(),
            payload: self.payload,
            priority,
            push_type,
            topic: topic_header(self.topic, push_type)?,
        })
    }
}

fn check_payload(payload: &[u8], push_type: PushType) -> Result<(), NotificationError> {
    let (len, max) = (payload.len(), push_type.payload_len_max());
    if len == 0 {
        return Err(NotificationError::PayloadEmpty);
    }
    if len > max {
        return Err(NotificationError::PayloadTooLarge {
            len,
            max,
            push_type,
        });
    }
    // The text first: what is skipped over is not looked at for UTF-8.
    let is_object = payload.trim_ascii_start().starts_with(b"{")
        && str::from_utf8(payload)
            .is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
    if !is_object {
        return Err(NotificationError::PayloadNotObject);
    }
    Ok(())
}

fn collapse_id_header(id: String) -> Result<HeaderValue, NotificationError> {
    if id.is_empty() || id.len() > COLLAPSE_ID_LEN_MAX {
        return Err(NotificationError::CollapseIdLength { len: id.len() });
    }
    HeaderValue::from_maybe_shared(Bytes::from(id))
        .map_err(|_| NotificationError::CollapseIdCharacter)
}

/// Whether it has only what bundle ids have, and pass type ids, and the topics of device management.
pub(super) fn is_topic(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    text.bytes().all(is_plain)
}

fn topic_header(topic: String, push_type: PushType) -> Result<HeaderValue, NotificationError> {
    if topic.is_empty() || topic.len() > TOPIC_LEN_MAX {
        return Err(NotificationError::TopicLength { len: topic.len() });
    }
    if !is_topic(&topic) {
        return Err(NotificationError::TopicCharacter);
    }
    let suffix = push_type.topic_suffix();
    if suffix.is_empty()
        && let Some(of) = PushType::of_topic(&topic)
    {
        return Err(NotificationError::TopicOfAnotherType {
            of,
            push_type,
            topic,
        });
    }
    if topic.strip_suffix(suffix).is_none_or(str::is_empty) {
        return Err(NotificationError::TopicSuffix {
            push_type,
            suffix,
            topic,
        });
    }
    HeaderValue::from_maybe_shared(Bytes::from(topic))
        .map_err(|_| NotificationError::TopicCharacter)
}
