//! CONNECT (section 3.1).

use super::Version;
use super::property::{Allowed, Property, read_properties};
use super::wire::Reader;
use crate::ProtocolError;
use crate::topic::has_wildcard;

/// A client's wish to connect, for either version. On 3.1.1 the fields that only MQTT 5 has hold what that version means
/// by leaving them out.
#[derive(Clone, PartialEq, Eq)]
pub struct Connect<'a> {
    pub version: Version,
    /// Clean Start; Clean Session on 3.1.1.
    pub clean_start: bool,
    /// Seconds; 0 is none.
    pub keep_alive_secs: u16,
    pub client_id: &'a str,
    pub username: Option<&'a str>,
    pub password: Option<&'a [u8]>,
    pub will: Option<Will<'a>>,
    /// How many QoS 1 publishes the client takes unacknowledged; 65,535 when it does not say.
    pub receive_maximum: u16,
    /// The largest packet the client takes, in bytes with its fixed header; `u32::MAX` when it does not say.
    pub packet_size_max: u32,
    /// The highest topic alias the client takes; 0 is none.
    pub topic_alias_max: u16,
    /// Seconds that the session outlives the connection; `u32::MAX` is for ever, which is also what a 3.1.1 session
    /// without Clean Session asks for.
    pub session_expiry_secs: u32,
}

/// The password stays out of logs.
impl std::fmt::Debug for Connect<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .field("password", &self.password.map(|_| "***"))
            .field("clean_start", &self.clean_start)
            .field("keep_alive_secs", &self.keep_alive_secs)
            .field("will", &self.will)
            .field("receive_maximum", &self.receive_maximum)
            .field("packet_size_max", &self.packet_size_max)
            .field("topic_alias_max", &self.topic_alias_max)
            .field("session_expiry_secs", &self.session_expiry_secs)
            .finish()
    }
}

/// What the client wants said when it is lost. Read strictly, and never sent: the server knows presence itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will<'a> {
    pub topic: &'a str,
    pub payload: &'a [u8],
    /// 0 to 2.
    pub qos: u8,
    pub retain: bool,
}

const WILL: u8 = 0b0000_0100;
const WILL_QOS_SHIFT: u32 = 3;
const WILL_RETAIN: u8 = 0b0010_0000;
const PASSWORD: u8 = 0b0100_0000;
const USERNAME: u8 = 0b1000_0000;

impl<'a> Connect<'a> {
    /// The version that a CONNECT's body asks for, so that even one that is refused can be answered in it.
    pub fn version_of(body: &[u8]) -> Result<Version, ProtocolError> {
        read_version(&mut Reader::new(super::PacketType::Connect, body))
    }

    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, ProtocolError> {
        let version = read_version(reader)?;
        let flags = reader.u8("connect flags")?;
        if flags & 1 != 0 {
            return Err(ProtocolError::ReservedBits {
                packet: reader.packet,
                field: "connect flags",
            });
        }
        let clean_start = flags & 0b10 != 0;
        let mut connect = Self {
            version,
            clean_start,
            keep_alive_secs: reader.u16("keep alive")?,
            client_id: "",
            username: None,
            password: None,
            will: None,
            receive_maximum: u16::MAX,
            packet_size_max: u32::MAX,
            topic_alias_max: 0,
            session_expiry_secs: match version {
                Version::V311 if !clean_start => u32::MAX,
                Version::V311 | Version::V5 => 0,
            },
        };
        if version == Version::V5 {
            connect.read_properties(reader)?;
        }
        connect.client_id = reader.string("client identifier")?;
        connect.will = read_will(reader, flags, version)?;
        if flags & USERNAME != 0 {
            connect.username = Some(reader.string("user name")?);
        }
        if flags & PASSWORD != 0 {
            // [MQTT-3.1.2-22] of 3.1.1; MQTT 5 lifted it.
            if version == Version::V311 && connect.username.is_none() {
                return Err(ProtocolError::PasswordAlone);
            }
            connect.password = Some(reader.binary("password")?);
        }
        Ok(connect)
    }

    fn read_properties(&mut self, reader: &mut Reader<'_>) -> Result<(), ProtocolError> {
        let (mut method, mut data) = (false, false);
        read_properties(reader, Allowed::CONNECT, |property| match property {
            Property::AuthenticationData => data = true,
            Property::AuthenticationMethod => method = true,
            Property::MaximumPacketSize(size) => self.packet_size_max = size,
            Property::ReceiveMaximum(maximum) => self.receive_maximum = maximum,
            Property::SessionExpiry(secs) => self.session_expiry_secs = secs,
            Property::TopicAliasMaximum(maximum) => self.topic_alias_max = maximum,
            _ => {} // not allowed here
        })?;
        match (method, data) {
            (true, _) => Err(ProtocolError::AuthMethod),
            (false, true) => Err(ProtocolError::AuthDataAlone),
            (false, false) => Ok(()),
        }
    }
}

fn read_version(reader: &mut Reader<'_>) -> Result<Version, ProtocolError> {
    // 3.1 called itself MQIsdp: as a version it is refused in words, as any other name it would be in silence.
    let name = reader.binary("protocol name")?;
    if name != b"MQTT" && name != b"MQIsdp" {
        return Err(ProtocolError::ProtocolName);
    }
    match (name, reader.u8("protocol version")?) {
        (b"MQTT", 4) => Ok(Version::V311),
        (b"MQTT", 5) => Ok(Version::V5),
        (_, version) => Err(ProtocolError::ProtocolVersion(version)),
    }
}

fn read_will<'a>(
    reader: &mut Reader<'a>,
    flags: u8,
    version: Version,
) -> Result<Option<Will<'a>>, ProtocolError> {
    let qos = flags >> WILL_QOS_SHIFT & 0b11;
    let retain = flags & WILL_RETAIN != 0;
    if flags & WILL == 0 {
        // [MQTT-3.1.2-11, 3.1.2-13]
        return if qos != 0 || retain {
            Err(ProtocolError::WillFlags)
        } else {
            Ok(None)
        };
    }
    let packet = reader.packet;
    if qos == 3 {
        return Err(ProtocolError::QosInvalid(packet));
    }
    let mut is_text = false;
    if version == Version::V5 {
        read_properties(reader, Allowed::WILL, |property| {
            if let Property::PayloadIsText(text) = property {
                is_text = text;
            }
        })?;
    }
    let topic = reader.string("will topic")?;
    if topic.is_empty() || has_wildcard(topic) {
        return Err(ProtocolError::TopicName {
            packet,
            field: "will topic",
        });
    }
    let payload = reader.binary("will payload")?;
    if is_text && std::str::from_utf8(payload).is_err() {
        return Err(ProtocolError::PayloadFormat(packet));
    }
    Ok(Some(Will {
        topic,
        payload,
        qos,
        retain,
    }))
}
