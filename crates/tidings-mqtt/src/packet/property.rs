//! The properties of MQTT 5 (section 2.2.2): which exist, of what type, and where each may stand.

use std::num::NonZeroU16;

use super::PacketType;
use super::wire::Reader;
use crate::ProtocolError;
use crate::topic::has_wildcard;

pub(super) const MESSAGE_EXPIRY: u8 = 0x02;
pub(super) const SESSION_EXPIRY: u8 = 0x11;
pub(super) const SERVER_KEEP_ALIVE: u8 = 0x13;
pub(super) const RECEIVE_MAXIMUM: u8 = 0x21;
pub(super) const TOPIC_ALIAS: u8 = 0x23;
pub(super) const MAXIMUM_QOS: u8 = 0x24;
pub(super) const RETAIN_AVAILABLE: u8 = 0x25;
const USER_PROPERTY: u8 = 0x26;
pub(super) const MAXIMUM_PACKET_SIZE: u8 = 0x27;
pub(super) const SUBSCRIPTION_IDENTIFIERS_AVAILABLE: u8 = 0x29;
pub(super) const SHARED_SUBSCRIPTIONS_AVAILABLE: u8 = 0x2A;

/// A property whose value matters here. The others are checked as strictly, and left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Property {
    AuthenticationData,
    AuthenticationMethod,
    MaximumPacketSize(u32),
    MessageExpiry(u32),
    PayloadIsText(bool),
    ReceiveMaximum(u16),
    SessionExpiry(u32),
    SubscriptionIdentifier,
    TopicAlias(NonZeroU16),
    TopicAliasMaximum(u16),
}

/// The set of properties that one packet may carry (table 2-4, as far as a client sends them).
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowed(u64);

impl Allowed {
    pub(super) const CONNECT: Self =
        Self::new(&[0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27]);
    pub(super) const DISCONNECT: Self = Self::new(&[0x11, 0x1F, 0x26]);
    pub(super) const PUBACK: Self = Self::new(&[0x1F, 0x26]);
    /// Without the subscription identifier, which only a server sends [MQTT-3.3.4-6].
    pub(super) const PUBLISH: Self = Self::new(&[0x01, 0x02, 0x03, 0x08, 0x09, 0x23, 0x26]);
    pub(super) const SUBSCRIBE: Self = Self::new(&[0x0B, 0x26]);
    pub(super) const UNSUBSCRIBE: Self = Self::new(&[0x26]);
    pub(super) const WILL: Self = Self::new(&[0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26]);

    const fn new(ids: &[u8]) -> Self {
        let mut set = 0;
        let mut index = 0;
        while index < ids.len() {
            set |= 1 << ids[index];
            index += 1;
        }
        Self(set)
    }

    fn contains(self, id: u8) -> bool {
        id < 64 && self.0 & 1 << id != 0
    }
}

/// Reads a property block and gives each property that matters to `take`.
pub(super) fn read_properties(
    reader: &mut Reader<'_>,
    allowed: Allowed,
    mut take: impl FnMut(Property),
) -> Result<(), ProtocolError> {
    let packet = reader.packet;
    let len = reader.varint("property length")?;
    let mut block = Reader::new(packet, reader.take(len as usize, "properties")?);
    let mut seen = 0_u64;
    while !block.is_empty() {
        // The identifier is a variable byte integer, of which none beyond one byte is defined.
        let id = block.varint("property identifier")?;
        let id = u8::try_from(id).unwrap_or(u8::MAX);
        if !allowed.contains(id) {
            return Err(ProtocolError::PropertyNotAllowed { packet, id });
        }
        if seen & 1 << id != 0 && id != USER_PROPERTY {
            return Err(ProtocolError::DuplicateProperty { packet, id });
        }
        seen |= 1 << id;
        if let Some(property) = read_value(&mut block, packet, id)? {
            take(property);
        }
    }
    Ok(())
}

fn read_value(
    block: &mut Reader<'_>,
    packet: PacketType,
    id: u8,
) -> Result<Option<Property>, ProtocolError> {
    const FIELD: &str = "value of a property";
    let out_of_range = ProtocolError::PropertyValue { packet, id };
    Ok(match id {
        0x01 => Some(Property::PayloadIsText(read_bool(block, out_of_range)?)),
        MESSAGE_EXPIRY => Some(Property::MessageExpiry(block.u32(FIELD)?)),
        // Content type, reason string.
        0x03 | 0x1F => {
            block.string(FIELD)?;
            None
        }
        // A response topic is a topic name [MQTT-3.3.2-14].
        0x08 => {
            if has_wildcard(block.string(FIELD)?) {
                return Err(out_of_range);
            }
            None
        }
        // Correlation data.
        0x09 => {
            block.binary(FIELD)?;
            None
        }
        0x0B => {
            if block.varint(FIELD)? == 0 {
                return Err(out_of_range);
            }
            Some(Property::SubscriptionIdentifier)
        }
        SESSION_EXPIRY => Some(Property::SessionExpiry(block.u32(FIELD)?)),
        0x15 => {
            block.string(FIELD)?;
            Some(Property::AuthenticationMethod)
        }
        0x16 => {
            block.binary(FIELD)?;
            Some(Property::AuthenticationData)
        }
        // Request problem information: no reason string is ever sent. Request response information: none is given.
        0x17 | 0x19 => {
            read_bool(block, out_of_range)?;
            None
        }
        // Will delay: presence is the server's own knowledge, no will is sent.
        0x18 => {
            block.u32(FIELD)?;
            None
        }
        RECEIVE_MAXIMUM => match block.u16(FIELD)? {
            0 => return Err(out_of_range),
            maximum => Some(Property::ReceiveMaximum(maximum)),
        },
        0x22 => Some(Property::TopicAliasMaximum(block.u16(FIELD)?)),
        // 0 has a reason code of its own [MQTT-3.3.2-8].
        TOPIC_ALIAS => match NonZeroU16::new(block.u16(FIELD)?) {
            None => return Err(ProtocolError::TopicAlias),
            Some(alias) => Some(Property::TopicAlias(alias)),
        },
        USER_PROPERTY => {
            block.string(FIELD)?;
            block.string(FIELD)?;
            None
        }
        MAXIMUM_PACKET_SIZE => match block.u32(FIELD)? {
            0 => return Err(out_of_range),
            maximum => Some(Property::MaximumPacketSize(maximum)),
        },
        _ => return Err(ProtocolError::PropertyNotAllowed { packet, id }),
    })
}

fn read_bool(block: &mut Reader<'_>, out_of_range: ProtocolError) -> Result<bool, ProtocolError> {
    match block.u8("value of a property")? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(out_of_range),
    }
}
