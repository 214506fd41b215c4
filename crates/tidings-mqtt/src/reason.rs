//! The reason codes that this server sends (section 2.4), and what 3.1.1 has in their place.

/// Why a packet was answered or a connection closed as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    Success = 0x00,
    GrantedQos1 = 0x01,
    NoSubscriptionExisted = 0x11,
    UnspecifiedError = 0x80,
    MalformedPacket = 0x81,
    ProtocolError = 0x82,
    ImplementationSpecificError = 0x83,
    UnsupportedProtocolVersion = 0x84,
    ClientIdentifierNotValid = 0x85,
    BadUserNameOrPassword = 0x86,
    NotAuthorized = 0x87,
    ServerUnavailable = 0x88,
    ServerBusy = 0x89,
    Banned = 0x8A,
    ServerShuttingDown = 0x8B,
    BadAuthenticationMethod = 0x8C,
    KeepAliveTimeout = 0x8D,
    SessionTakenOver = 0x8E,
    TopicFilterInvalid = 0x8F,
    ReceiveMaximumExceeded = 0x93,
    TopicAliasInvalid = 0x94,
    PacketTooLarge = 0x95,
    QuotaExceeded = 0x97,
    AdministrativeAction = 0x98,
    PayloadFormatInvalid = 0x99,
    RetainNotSupported = 0x9A,
    QosNotSupported = 0x9B,
    UseAnotherServer = 0x9C,
    SharedSubscriptionsNotSupported = 0x9E,
    ConnectionRateExceeded = 0x9F,
    SubscriptionIdentifiersNotSupported = 0xA1,
}

impl Reason {
    /// The byte on the wire of MQTT 5.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The CONNACK return code of 3.1.1 (its section 3.2.2.3). `None` where that version has none: the connection is then
    /// closed without a word.
    pub fn connect_return_code_v311(self) -> Option<u8> {
        match self {
            Self::Success => Some(0),
            Self::UnsupportedProtocolVersion => Some(1),
            Self::ClientIdentifierNotValid => Some(2),
            Self::ConnectionRateExceeded
            | Self::QuotaExceeded
            | Self::ServerBusy
            | Self::ServerUnavailable
            | Self::UseAnotherServer => Some(3),
            Self::BadUserNameOrPassword => Some(4),
            Self::Banned | Self::NotAuthorized => Some(5),
            _ => None,
        }
    }
}
