//! What every delivery of a message to APNs has in common: topic, headers, payload.
//!
//! Source: Apple, "Sending notification requests to APNs".

use std::fmt;

use bytes::Bytes;
use http::HeaderValue;
use http::header::HeaderName;
use serde::de::IgnoredAny;
use thiserror::Error;
use tidings_model::UnixMillis;

use super::Payload;

/// Bytes of a payload, at most, of every type but VoIP.
pub const PAYLOAD_LEN_MAX: usize = 4096;
/// Bytes of a VoIP payload, at most.
pub const PAYLOAD_LEN_MAX_VOIP: usize = 5120;
/// Bytes of a collapse id, at most.
pub const COLLAPSE_ID_LEN_MAX: usize = 64;
/// Bytes of a topic, at most (our own bound; a bundle id has at most 155 characters).
pub const TOPIC_LEN_MAX: usize = 255;

const APNS_COLLAPSE_ID: HeaderName = HeaderName::from_static("apns-collapse-id");
const APNS_EXPIRATION: HeaderName = HeaderName::from_static("apns-expiration");
const APNS_PRIORITY: HeaderName = HeaderName::from_static("apns-priority");
const APNS_PUSH_TYPE: HeaderName = HeaderName::from_static("apns-push-type");
const APNS_TOPIC: HeaderName = HeaderName::from_static("apns-topic");

/// `apns-push-type`: what the payload is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PushType {
    /// Shown, played or badged.
    #[default]
    Alert,
    /// Wakes the app unseen; only at [`Priority::PowerSaving`].
    Background,
    Complication,
    Controls,
    FileProvider,
    LiveActivity,
    /// Asks for the location; only with token credentials.
    Location,
    /// Device management; its topic is the one in the subject of the MDM push certificate.
    Mdm,
    PushToTalk,
    Voip,
    Widgets,
}

impl PushType {
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

    /// The header's value.
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

    /// What the topic has behind the bundle id; empty when it is the bundle id.
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

    /// Bytes of a payload of this type, at most.
    pub fn payload_len_max(self) -> usize {
        match self {
            Self::Voip => PAYLOAD_LEN_MAX_VOIP,
            _ => PAYLOAD_LEN_MAX,
        }
    }

    /// Whether a certificate may send it: a location query needs a token. What else a certificate may send stands in
    /// its topics.
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

/// `apns-priority`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// 1: power before everything else; never wakes the device.
    Lowest,
    /// 5: with regard for the device's power.
    PowerSaving,
    /// 10: at once.
    Immediate,
}

impl Priority {
    /// The header's number.
    pub fn number(self) -> u8 {
        match self {
            Self::Lowest => 1,
            Self::PowerSaving => 5,
            Self::Immediate => 10,
        }
    }
}

/// `apns-expiration`: for how long APNs keeps the notification for a device that it cannot reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expiration {
    /// As long as Apple likes, at most 30 days (no header).
    #[default]
    Unset,
    /// Not at all: one try (0).
    Once,
    /// Until then, in whole seconds rounded up.
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

/// A notification that APNs would refuse.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotificationError {
    #[error(
        "apns-collapse-id: has control characters; use plain text of 1 to {COLLAPSE_ID_LEN_MAX} bytes"
    )]
    CollapseIdCharacter,
    #[error("apns-collapse-id: has {len} bytes; use 1 to {COLLAPSE_ID_LEN_MAX}")]
    CollapseIdLength { len: usize },
    #[error("{field}: {why}")]
    LiveActivity {
        field: &'static str,
        why: &'static str,
    },
    #[error("payload: is empty; send a JSON object such as {{\"aps\":{{\"alert\":\"Hello\"}}}}")]
    PayloadEmpty,
    #[error("payload: is not a JSON object; send one such as {{\"aps\":{{\"alert\":\"Hello\"}}}}")]
    PayloadNotObject,
    #[error("payload: has {len} bytes; push type {push_type} takes at most {max}")]
    PayloadTooLarge {
        len: usize,
        max: usize,
        push_type: PushType,
    },
    #[error("apns-priority: is {}; push type background takes 5 only", .priority.number())]
    Priority { priority: Priority },
    #[error(
        "apns-topic: has characters that no topic has; use the app's bundle id, such as com.example.app"
    )]
    TopicCharacter,
    #[error("apns-topic: has {len} bytes; use the app's bundle id, 1 to {TOPIC_LEN_MAX} bytes")]
    TopicLength { len: usize },
    #[error(
        "apns-topic: is {topic:?}, which is one of push type {of}; push type {push_type} takes the bundle id alone"
    )]
    TopicOfAnotherType {
        of: PushType,
        push_type: PushType,
        topic: String,
    },
    #[error(
        "apns-topic: is {topic:?}; push type {push_type} needs the bundle id with {suffix:?} behind it"
    )]
    TopicSuffix {
        push_type: PushType,
        suffix: &'static str,
        topic: String,
    },
}

impl NotificationError {
    /// The header that is wrong, or `payload`, or the field inside it.
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
/// that a delivery copies nothing but references.
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
    /// A notification of type alert with that payload, until the builder is told otherwise.
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

    /// A text that is shown.
    pub fn alert(topic: impl Into<String>, text: &str) -> Result<Self, NotificationError> {
        Self::builder(topic, Payload::text(text)).build()
    }

    pub fn collapse_id(&self) -> Option<&HeaderValue> {
        self.collapse_id.as_ref()
    }

    pub fn expiration(&self) -> Expiration {
        self.expiration
    }

    /// The JSON that is sent; shared, not copied.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    pub fn priority(&self) -> Priority {
        self.priority
    }

    pub fn push_type(&self) -> PushType {
        self.push_type
    }

    pub fn topic(&self) -> &HeaderValue {
        &self.topic
    }

    /// The headers of every delivery: topic, type and priority, and expiration and collapse id if there are any.
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

/// Collects a [`Notification`], and refuses at the end what Apple would refuse.
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
    /// Notifications with one id show as one: the newest.
    pub fn collapse_id(mut self, collapse_id: impl Into<String>) -> Self {
        self.collapse_id = Some(collapse_id.into());
        self
    }

    pub fn expiration(mut self, expiration: Expiration) -> Self {
        self.expiration = expiration;
        self
    }

    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }

    pub fn push_type(mut self, push_type: PushType) -> Self {
        self.push_type = push_type;
        self
    }

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

fn topic_header(topic: String, push_type: PushType) -> Result<HeaderValue, NotificationError> {
    if topic.is_empty() || topic.len() > TOPIC_LEN_MAX {
        return Err(NotificationError::TopicLength { len: topic.len() });
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if !topic.bytes().all(is_plain) {
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
