//! What passes between a session and its owner, besides bytes.

use std::fmt;
use std::num::NonZeroU16;

use bytes::Bytes;

use crate::packet::{Connect, Version};
use crate::{DeviceTopic, Reason};

/// What happened on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The client acknowledged the message sent under `tag`. Each is reported once.
    Acked {
        tag: u64,
        /// The reason code of MQTT 5. From 0x80 on the client did not take the message, which ends the delivery as well;
        /// always 0 on 3.1.1.
        code: u8,
    },
    /// The connection is over: write what [`poll_output`](super::ServerSession::poll_output) gives, then close.
    Closed(Closed),
    /// A client wants in. Nothing more is read until `accept` or `reject`.
    Connect(Box<ConnectRequest>),
    /// The device said something.
    Publish {
        topic: DeviceTopic,
        payload: Bytes,
        /// Present at QoS 1: call `ack_publish` once the publish is handled durably.
        packet_id: Option<NonZeroU16>,
    },
}

/// Why a connection ended without anyone's fault in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// Messages are in flight and none was acknowledged for the time that is allowed.
    AckTimeout,
    /// The client sent DISCONNECT.
    ByClient {
        /// Its reason code; 0 is a normal end.
        code: u8,
        /// A new session expiry in seconds.
        session_expiry_secs: Option<u32>,
    },
    /// No CONNECT came in time.
    ConnectTimeout,
    /// The client was silent for one and a half times its keep-alive.
    KeepAliveTimeout,
}

/// What a client says of itself in CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectRequest {
    pub version: Version,
    /// Never empty.
    pub client_id: String,
    pub username: Option<String>,
    pub password: Option<Password>,
    /// Clean Start; Clean Session on 3.1.1.
    pub clean_start: bool,
    /// Seconds; 0 is none.
    pub keep_alive_secs: u16,
    /// QoS 1 publishes the client takes unacknowledged; 65,535 when it does not say.
    pub receive_maximum: u16,
    /// The largest packet the client takes, in bytes; `u32::MAX` when it does not say.
    pub packet_size_max: u32,
    /// The highest topic alias the client takes; 0 is none.
    pub topic_alias_max: u16,
    /// Seconds the session outlives the connection; `u32::MAX` is for ever.
    pub session_expiry_secs: u32,
}

impl From<&Connect<'_>> for ConnectRequest {
    fn from(connect: &Connect<'_>) -> Self {
        Self {
            version: connect.version,
            client_id: connect.client_id.to_owned(),
            username: connect.username.map(str::to_owned),
            password: connect.password.map(|password| Password(password.to_vec())),
            clean_start: connect.clean_start,
            keep_alive_secs: connect.keep_alive_secs,
            receive_maximum: connect.receive_maximum,
            packet_size_max: connect.packet_size_max,
            topic_alias_max: connect.topic_alias_max,
            session_expiry_secs: connect.session_expiry_secs,
        }
    }
}

/// A client's password: binary data that prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Vec<u8>);

impl Password {
    /// The bytes, for the one place that checks them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How a client is let in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectAccepted {
    /// Whether the server still holds the session that the client may remember.
    pub session_present: bool,
    /// A keep-alive ceiling for this connection, in seconds and not 0, where it is below that of the limits.
    pub keep_alive_max_secs: Option<u16>,
    /// The session expiry that is granted, in seconds; `None` grants what was asked.
    pub session_expiry_secs: Option<u32>,
}

/// Why a client is not let in. On 3.1.1, whose return codes are fewer, the nearest is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectRefusal {
    BadCredentials,
    Banned,
    ClientIdInvalid,
    NotAuthorized,
    QuotaExceeded,
    RateExceeded,
    ServerBusy,
    ServerUnavailable,
    UseAnotherServer,
}

impl ConnectRefusal {
    /// The reason code on MQTT 5; 3.1.1 derives its own from it.
    pub fn reason(self) -> Reason {
        match self {
            Self::BadCredentials => Reason::BadUserNameOrPassword,
            Self::Banned => Reason::Banned,
            Self::ClientIdInvalid => Reason::ClientIdentifierNotValid,
            Self::NotAuthorized => Reason::NotAuthorized,
            Self::QuotaExceeded => Reason::QuotaExceeded,
            Self::RateExceeded => Reason::ConnectionRateExceeded,
            Self::ServerBusy => Reason::ServerBusy,
            Self::ServerUnavailable => Reason::ServerUnavailable,
            Self::UseAnotherServer => Reason::UseAnotherServer,
        }
    }
}

/// Why the server ends a connection. 3.1.1 cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisconnectReason {
    AdministrativeAction,
    NotAuthorized,
    QuotaExceeded,
    ServerBusy,
    ServerShuttingDown,
    SessionTakenOver,
    UseAnotherServer,
}

impl DisconnectReason {
    /// The reason code on MQTT 5.
    pub fn reason(self) -> Reason {
        match self {
            Self::AdministrativeAction => Reason::AdministrativeAction,
            Self::NotAuthorized => Reason::NotAuthorized,
            Self::QuotaExceeded => Reason::QuotaExceeded,
            Self::ServerBusy => Reason::ServerBusy,
            Self::ServerShuttingDown => Reason::ServerShuttingDown,
            Self::SessionTakenOver => Reason::SessionTakenOver,
            Self::UseAnotherServer => Reason::UseAnotherServer,
        }
    }
}

/// What became of a device's publish. 3.1.1 has one answer for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishReason {
    /// The payload makes no sense: sending it again would not help.
    Invalid,
    NotAuthorized,
    QuotaExceeded,
    Success,
}

impl PublishReason {
    /// The reason code on MQTT 5.
    pub fn reason(self) -> Reason {
        match self {
            Self::Invalid => Reason::PayloadFormatInvalid,
            Self::NotAuthorized => Reason::NotAuthorized,
            Self::QuotaExceeded => Reason::QuotaExceeded,
            Self::Success => Reason::Success,
        }
    }
}

/// What became of a message for the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum PublishResult {
    /// It is in the output, and in flight.
    Sent,
    /// It is larger than the client takes. It must not be sent, and counts as delivered [MQTT-3.1.2-25]: the caller books
    /// it as dropped.
    TooLargeForClient,
    /// As many are in flight as may be, or the connection is not open. Try again after [`Event::Acked`].
    WindowFull,
}
