//! PUBLISH (section 3.3), in both directions.

use std::num::NonZeroU16;

use bytes::{BufMut, BytesMut};

use super::property::{Allowed, MESSAGE_EXPIRY, Property, TOPIC_ALIAS, read_properties};
use super::wire::{Reader, packet_len, put_header, put_varint};
use super::{PacketType, Version};
use crate::ProtocolError;
use crate::topic::has_wildcard;

/// One message. QoS 2 has no form here: it is refused as it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Whether it was sent before.
    pub dup: bool,
    pub retain: bool,
    /// Empty only with a topic alias.
    pub topic: &'a str,
    /// Present at QoS 1, absent at QoS 0.
    pub packet_id: Option<NonZeroU16>,
    /// MQTT 5 only, as the next.
    pub topic_alias: Option<NonZeroU16>,
    /// Seconds the message still lives.
    pub expiry_secs: Option<u32>,
    pub payload: &'a [u8],
}

const DUP: u8 = 0b1000;
const QOS_1: u8 = 0b0010;
const RETAIN: u8 = 0b0001;

impl<'a> Publish<'a> {
    pub(super) fn read(
        reader: &mut Reader<'a>,
        flags: u8,
        version: Version,
    ) -> Result<Self, ProtocolError> {
        let packet = reader.packet;
        let dup = flags & DUP != 0;
        let qos = flags >> 1 & 0b11;
        match qos {
            // [MQTT-3.3.1-2]
            0 if dup => return Err(ProtocolError::Flags { packet, flags }),
            0 | 1 => {}
            2 => return Err(ProtocolError::QosUnsupported(packet)),
            _ => return Err(ProtocolError::QosInvalid(packet)),
        }
        let topic = reader.string("topic")?;
        if has_wildcard(topic) {
            return Err(ProtocolError::TopicName {
                packet,
                field: "topic",
            });
        }
        let packet_id = if qos == 1 {
            Some(reader.packet_id()?)
        } else {
            None
        };
        let (mut topic_alias, mut expiry_secs, mut is_text) = (None, None, false);
        if version == Version::V5 {
            read_properties(reader, Allowed::PUBLISH, |property| match property {
                Property::MessageExpiry(secs) => expiry_secs = Some(secs),
                Property::PayloadIsText(text) => is_text = text,
                Property::TopicAlias(alias) => topic_alias = Some(alias),
                _ => {} // not allowed here
            })?;
        }
        if topic.is_empty() && topic_alias.is_none() {
            return Err(ProtocolError::TopicEmpty);
        }
        let payload = reader.remainder();
        if is_text && std::str::from_utf8(payload).is_err() {
            return Err(ProtocolError::PayloadFormat(packet));
        }
        Ok(Self {
            dup,
            retain: flags & RETAIN != 0,
            topic,
            packet_id,
            topic_alias,
            expiry_secs,
            payload,
        })
    }

    /// Bytes that [`Publish::encode`] writes, for the peer's Maximum Packet Size.
    pub fn encoded_len(&self, version: Version) -> usize {
        packet_len(self.body_len(version))
    }

    /// Appends the packet. On 3.1.1 alias and expiry are left out. The topic must be below 64 KiB and the whole below
    /// 256 MiB, which the caller's own bounds are far under.
    pub fn encode(&self, version: Version, out: &mut BytesMut) {
        let mut first = PacketType::Publish.first_byte();
        if self.dup {
            first |= DUP;
        }
        if self.retain {
            first |= RETAIN;
        }
        if self.packet_id.is_some() {
            first |= QOS_1;
        }
        put_header(out, first, self.body_len(version));
        out.put_u16(self.topic.len() as u16);
        out.put_slice(self.topic.as_bytes());
        if let Some(id) = self.packet_id {
            out.put_u16(id.get());
        }
        if version == Version::V5 {
            put_varint(out, self.properties_len());
            if let Some(secs) = self.expiry_secs {
                out.put_u8(MESSAGE_EXPIRY);
                out.put_u32(secs);
            }
            if let Some(alias) = self.topic_alias {
                out.put_u8(TOPIC_ALIAS);
                out.put_u16(alias.get());
            }
        }
        out.put_slice(self.payload);
    }

    fn body_len(&self, version: Version) -> usize {
        let properties = match version {
            Version::V311 => 0,
            Version::V5 => 1 + self.properties_len(),
        };
        2 + self.topic.len() + self.packet_id.map_or(0, |_| 2) + properties + self.payload.len()
    }

    fn properties_len(&self) -> usize {
        self.expiry_secs.map_or(0, |_| 5) + self.topic_alias.map_or(0, |_| 3)
    }
}
