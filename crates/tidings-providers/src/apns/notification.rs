//! What every delivery of a message to APNs has in common: topic, headers, payload.
//!
//! Source: Apple, [Sending notification requests to APNs](https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns).

use bytes::Bytes;
use http::HeaderValue;
use http::header::HeaderName;
use serde::de::IgnoredAny;
use thiserror::Error;
use tidings_model::{Reason, UnixMillis};

use super::payload::{Body, PayloadError};
use super::{Payload, Priority, PushType};

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
    /// The collapse id has something else than printable ASCII, or a space at an end. Apple documents no other
    /// characters, and HTTP has none that all parties read alike (RFC 9110, section 5.5).
    #[error(
        "apns-collapse-id: has other characters than printable ASCII, or a space at an end; use 1 to {COLLAPSE_ID_LEN_MAX} letters, digits and signs"
    )]
    CollapseIdCharacter,
    /// The collapse id has not 1 to [`COLLAPSE_ID_LEN_MAX`] bytes. Apple would say `BadCollapseId`.
    #[error("apns-collapse-id: has {len} bytes; use 1 to {COLLAPSE_ID_LEN_MAX}")]
    CollapseIdLength {
        /// Its bytes.
        len: usize,
    },
    /// A typed payload, or a [`LiveActivity`](super::LiveActivity), with a value that Apple's form does not have, or
    /// that a channel cannot carry.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The payload has no bytes. Apple would say `PayloadEmpty`.
    #[error("payload: is empty; send a JSON object such as {{\"aps\":{{\"alert\":\"Hello\"}}}}")]
    PayloadEmpty,
    /// The payload is not a JSON object in UTF-8.
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
    /// A priority that the type does not take ([`PushType::takes_priority`]). Apple would say `BadPriority`.
    #[error("apns-priority: is {}; push type {push_type} takes {}", .priority.number(), numbers(*.push_type))]
    Priority {
        /// The one that was asked for.
        priority: Priority,
        /// The type that does not take it.
        push_type: PushType,
    },
    /// The typed payload is not what its type says: [`PushType::Background`] is for one that wakes the app and does no
    /// more, [`PushType::Alert`] for all others, [`PushType::LiveActivity`] for a
    /// [`LiveActivity`](super::LiveActivity). APNs may refuse, delay or drop such a push.
    #[error(
        "apns-push-type: is {push_type}, but the payload is one of type {wanted}; leave the type out, or change the payload"
    )]
    PushType {
        /// The one that was asked for.
        push_type: PushType,
        /// The one that describes the payload.
        wanted: PushType,
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
            Self::Payload(error) => error.field(),
            Self::PayloadEmpty | Self::PayloadNotObject | Self::PayloadTooLarge { .. } => "payload",
            Self::Priority { .. } => "apns-priority",
            Self::PushType { .. } => "apns-push-type",
            Self::TopicCharacter
            | Self::TopicLength { .. }
            | Self::TopicOfAnotherType { .. }
            | Self::TopicSuffix { .. } => "apns-topic",
        }
    }

    /// The word that Apple has for it, or would have. `BadRequestPayload` where it names none.
    pub fn reason(&self) -> Reason {
        Reason::known(match self {
            Self::CollapseIdCharacter | Self::CollapseIdLength { .. } => "BadCollapseId",
            Self::Payload(_) | Self::PayloadNotObject => "BadRequestPayload",
            Self::PayloadEmpty => "PayloadEmpty",
            Self::PayloadTooLarge { .. } => "PayloadTooLarge",
            Self::Priority { .. } => "BadPriority",
            Self::PushType { .. } => "InvalidPushType",
            Self::TopicCharacter
            | Self::TopicLength { .. }
            | Self::TopicOfAnotherType { .. }
            | Self::TopicSuffix { .. } => "BadTopic",
        })
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
    /// A notification with that payload: a [`Payload`], which says of what type it is
    /// ([`Payload::push_type`]), or any JSON that is there already, of type alert until the builder is told otherwise.
    /// What is wrong comes out at [`NotificationBuilder::build`].
    pub fn builder(topic: impl Into<String>, payload: impl Into<Body>) -> NotificationBuilder {
        NotificationBuilder {
            body: payload.into(),
            collapse_id: None,
            expiration: Expiration::default(),
            priority: None,
            push_type: None,
            topic: topic.into(),
        }
    }

    /// A text that is shown at once, in an app of that bundle id. Fails as [`NotificationBuilder::build`] does: a topic
    /// that is none, or a text that makes more than 4,096 bytes of JSON.
    pub fn alert(topic: impl Into<String>, text: &str) -> Result<Self, NotificationError> {
        Self::builder(topic, Payload::text(text)).build()
    }

    /// `apns-collapse-id`, if there is one.
    pub fn collapse_id(&self) -> Option<&str> {
        self.collapse_id.as_ref().map(text)
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
    pub fn topic(&self) -> &str {
        text(&self.topic)
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
    body: Body,
    collapse_id: Option<String>,
    expiration: Expiration,
    priority: Option<Priority>,
    push_type: Option<PushType>,
    topic: String,
}

impl NotificationBuilder {
    /// `apns-collapse-id`, 1 to 64 bytes of printable ASCII without a space at an end: notifications with one id show
    /// as one, the newest.
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

    /// `apns-push-type`; by default what the typed payload is, and [`PushType::Alert`] for JSON. The topic has to have
    /// its suffix.
    pub fn push_type(mut self, push_type: PushType) -> Self {
        self.push_type = Some(push_type);
        self
    }

    /// Checks payload, type, priority, size, collapse id and topic, in this order, and fails with the first that is
    /// wrong ([`NotificationError`]). A typed payload is checked value by value ([`Payload::encode`]) and against the
    /// type; of JSON only that it is an object within the type's bytes. What Apple says of it beyond that is the
    /// caller's then: that a background push has no alert, for instance.
    pub fn build(self) -> Result<Notification, NotificationError> {
        let payload = self.body.json?;
        let push_type = match (self.push_type, self.body.push_type) {
            (Some(push_type), Some(wanted)) if !describes(push_type, wanted) => {
                return Err(NotificationError::PushType { push_type, wanted });
            }
            (asked, made) => asked.or(made).unwrap_or_default(),
        };
        let priority = match self.priority {
            Some(priority) if !push_type.takes_priority(priority) => {
                return Err(NotificationError::Priority {
                    priority,
                    push_type,
                });
            }
            Some(priority) => priority,
            None => push_type.default_priority(),
        };
        check_payload(&payload, push_type, push_type.payload_len_max())?;
        Ok(Notification {
            collapse_id: self.collapse_id.map(collapse_id_header).transpose()?,
            expiration: self.expiration,
            expiration_header: self.expiration.header(),
            payload,
            priority,
            push_type,
            topic: topic_header(self.topic, push_type)?,
        })
    }
}

/// Whether a typed payload that is `wanted` may go by that type. What a background push, an alert and a Live Activity
/// are stands in the payload; the other types are for apps' extensions, and Apple says little of what they get.
fn describes(push_type: PushType, wanted: PushType) -> bool {
    let is_told_by_payload = |push_type| {
        matches!(
            push_type,
            PushType::Alert | PushType::Background | PushType::LiveActivity
        )
    };
    push_type == wanted || (wanted != PushType::LiveActivity && !is_told_by_payload(push_type))
}

/// The text of a header that was made from one here.
fn text(value: &HeaderValue) -> &str {
    value.to_str().expect("it was checked to be ASCII")
}

/// The numbers of the priorities that a type takes.
fn numbers(push_type: PushType) -> String {
    let numbers = push_type
        .priorities()
        .iter()
        .map(|priority| priority.number());
    let numbers: Vec<_> = numbers.map(|number| number.to_string()).collect();
    numbers.join(" or ")
}

/// Refuses what is no JSON object of 1 to `max` bytes.
pub(super) fn check_payload(
    payload: &[u8],
    push_type: PushType,
    max: usize,
) -> Result<(), NotificationError> {
    let len = payload.len();
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
    let is_printable = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    if !id.bytes().all(is_printable) || id.trim() != id {
        return Err(NotificationError::CollapseIdCharacter);
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
