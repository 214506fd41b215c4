//! What a peer can do wrong, each with the reason code that tells it so.

use thiserror::Error;

use crate::Reason;
use crate::packet::PacketType;

/// A packet that the server does not accept. The connection ends with it; what to tell the client, if anything, is
/// already in the session's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProtocolError {
    #[error(
        "CONNECT: the authentication method is not supported; leave it out and use user name and password"
    )]
    AuthMethod,
    #[error("CONNECT: authentication data without a method; leave both out")]
    AuthDataAlone,
    #[error("CONNECT: the client identifier is empty; send the registration id")]
    ClientIdEmpty,
    #[error("{packet}: property {id:#04x} stands twice; send it once")]
    DuplicateProperty { packet: PacketType, id: u8 },
    #[error("{0} before CONNECT; a connection begins with CONNECT")]
    ExpectedConnect(PacketType),
    #[error("{packet}: the fixed header's flags are {flags:#06b}; section 2.1.3 sets them")]
    Flags { packet: PacketType, flags: u8 },
    #[error(
        "{len} bytes before the CONNECT was answered; at most {max}, and none are read until CONNACK"
    )]
    HeldTooMuch { len: usize, max: u32 },
    #[error("a variable byte integer takes more bytes than it needs, or more than four")]
    LengthEncoding,
    #[error("SUBSCRIBE or UNSUBSCRIBE without a topic filter; send at least one")]
    NoFilters,
    #[error(
        "PUBLISH: packet identifier {0} is still in flight; use a free one, or set DUP on a resend"
    )]
    PacketIdInUse(u16),
    #[error("{0}: the packet identifier is 0; use 1 to 65,535")]
    PacketIdZero(PacketType),
    #[error("{packet} of {len} bytes; at most {max} are accepted")]
    PacketTooLarge {
        packet: PacketType,
        len: u64,
        max: u32,
    },
    #[error("the type of the packet is 0; 1 to 15 are defined")]
    PacketTypeZero,
    #[error("CONNECT: a password without a user name; MQTT 3.1.1 does not allow it")]
    PasswordAlone,
    #[error("{0}: the payload is said to be UTF-8 and is not")]
    PayloadFormat(PacketType),
    #[error("{packet}: property {id:#04x} does not belong in this packet")]
    PropertyNotAllowed { packet: PacketType, id: u8 },
    #[error("{packet}: property {id:#04x} has a value outside its range")]
    PropertyValue { packet: PacketType, id: u8 },
    #[error("CONNECT: the protocol's name is not MQTT")]
    ProtocolName,
    #[error("CONNECT: protocol version {0}; 4 (MQTT 3.1.1) and 5 are spoken")]
    ProtocolVersion(u8),
    #[error("{0}: QoS 3 does not exist; use 0 or 1")]
    QosInvalid(PacketType),
    #[error("{0}: QoS 2 is not supported; use 0 or 1")]
    QosUnsupported(PacketType),
    #[error("{packet}: reason code {code:#04x} is not one a client may send in it")]
    ReasonCode { packet: PacketType, code: u8 },
    #[error("more than {0} publishes wait for their acknowledgement; Receive Maximum bounds them")]
    ReceiveMaximumExceeded(u16),
    #[error("an answer of {len} bytes does not fit the client's Maximum Packet Size of {max}")]
    ReplyTooLarge { len: usize, max: u32 },
    #[error("{packet}: reserved bits are set in the {field}; they must be 0")]
    ReservedBits {
        packet: PacketType,
        field: &'static str,
    },
    #[error("{0}: RETAIN is not supported; clear it")]
    RetainUnsupported(PacketType),
    #[error("a second CONNECT on one connection")]
    SecondConnect,
    #[error("DISCONNECT: the session expiry was 0 and cannot be raised now; set it in CONNECT")]
    SessionExpiryRaised,
    #[error("SUBSCRIBE: shared subscriptions are not supported; subscribe to `push`")]
    SharedSubscription,
    #[error("SUBSCRIBE: subscription identifiers are not supported; leave it out")]
    SubscriptionIdentifier,
    #[error("SUBSCRIBE: the options of a filter are {0:#010b}; QoS and retain handling go up to 2")]
    SubscriptionOptions(u8),
    #[error("PUBLISH: a topic alias of 0, or any, where CONNACK allowed none; send the topic")]
    TopicAlias,
    #[error("PUBLISH: the topic is empty; name it")]
    TopicEmpty,
    #[error("{packet}: the {field} is empty or holds a wildcard; name one topic")]
    TopicName {
        packet: PacketType,
        field: &'static str,
    },
    #[error("{packet}: {len} bytes follow its end")]
    TrailingBytes { packet: PacketType, len: usize },
    #[error("{packet}: it ends within the {field}")]
    Truncated {
        packet: PacketType,
        field: &'static str,
    },
    #[error("{0} is not for a client to send, or not without QoS 2")]
    UnexpectedPacket(PacketType),
    #[error("{packet}: the {field} is not UTF-8 text without U+0000")]
    Utf8 {
        packet: PacketType,
        field: &'static str,
    },
    #[error("CONNECT: will flags are set without a will")]
    WillFlags,
}

impl ProtocolError {
    /// The reason code for CONNACK or DISCONNECT on MQTT 5.
    pub fn reason(&self) -> Reason {
        match self {
            Self::AuthMethod => Reason::BadAuthenticationMethod,
            Self::ClientIdEmpty => Reason::ClientIdentifierNotValid,
            Self::HeldTooMuch { .. } => Reason::QuotaExceeded,
            Self::PacketTooLarge { .. } | Self::ReplyTooLarge { .. } => Reason::PacketTooLarge,
            Self::PayloadFormat(_) => Reason::PayloadFormatInvalid,
            Self::ProtocolName | Self::ProtocolVersion(_) => Reason::UnsupportedProtocolVersion,
            Self::QosUnsupported(_) => Reason::QosNotSupported,
            Self::ReceiveMaximumExceeded(_) => Reason::ReceiveMaximumExceeded,
            Self::RetainUnsupported(_) => Reason::RetainNotSupported,
            Self::SharedSubscription => Reason::SharedSubscriptionsNotSupported,
            Self::SubscriptionIdentifier => Reason::SubscriptionIdentifiersNotSupported,
            Self::TopicAlias => Reason::TopicAliasInvalid,
            // It could be read, but the standard calls it a Protocol Error.
            Self::AuthDataAlone
            | Self::DuplicateProperty { .. }
            | Self::ExpectedConnect(_)
            | Self::NoFilters
            | Self::PacketIdInUse(_)
            | Self::PacketIdZero(_)
            | Self::PropertyValue { .. }
            | Self::ReasonCode { .. }
            | Self::SecondConnect
            | Self::SessionExpiryRaised
            | Self::SubscriptionOptions(_)
            | Self::TopicEmpty
            | Self::UnexpectedPacket(_) => Reason::ProtocolError,
            Self::Flags { .. }
            | Self::LengthEncoding
            | Self::PacketTypeZero
            | Self::PasswordAlone
            | Self::PropertyNotAllowed { .. }
            | Self::QosInvalid(_)
            | Self::ReservedBits { .. }
            | Self::TopicName { .. }
            | Self::TrailingBytes { .. }
            | Self::Truncated { .. }
            | Self::Utf8 { .. }
            | Self::WillFlags => Reason::MalformedPacket,
        }
    }
}
