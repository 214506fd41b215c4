//! The packets, one codec for both versions. What a client sends is decoded as views into the receive buffer, without an
//! allocation; what a server sends is encoded into the caller's buffer.

mod ack;
mod connack;
mod connect;
mod disconnect;
mod property;
mod publish;
mod subscribe;
mod wire;

use std::fmt;

use bytes::BytesMut;

use crate::ProtocolError;
use wire::{Reader, decode_varint};

pub use ack::PubAck;
pub use connack::{ConnAck, Granted};
pub use connect::{Connect, Will};
pub use disconnect::{Disconnect, encode_disconnect};
pub use publish::Publish;
pub use subscribe::{
    Filter, Filters, Subscribe, Unsubscribe, UnsubscribeFilters, encode_suback, encode_unsuback,
};

/// The version that a CONNECT asks for; everything after it is read and written in this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V311,
    V5,
}

/// The type of a packet: the upper half of its first byte (section 2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PacketType {
    Connect = 1,
    ConnAck = 2,
    Publish = 3,
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
    Subscribe = 8,
    SubAck = 9,
    Unsubscribe = 10,
    UnsubAck = 11,
    PingReq = 12,
    PingResp = 13,
    Disconnect = 14,
    Auth = 15,
}

impl PacketType {
    fn from_nibble(nibble: u8) -> Option<Self> {
        Some(match nibble {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }

    /// The first byte of a packet of this type whose flags are those that section 2.1.3 fixes.
    fn first_byte(self) -> u8 {
        (self as u8) << 4 | self.fixed_flags().unwrap_or(0)
    }

    /// The flags that every packet of this type has; `None` for PUBLISH, where they mean something.
    fn fixed_flags(self) -> Option<u8> {
        match self {
            Self::Publish => None,
            Self::PubRel | Self::Subscribe | Self::Unsubscribe => Some(0b0010),
            _ => Some(0),
        }
    }
}

impl fmt::Display for PacketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "CONNECT",
            Self::ConnAck => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::PubAck => "PUBACK",
            Self::PubRec => "PUBREC",
            Self::PubRel => "PUBREL",
            Self::PubComp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::SubAck => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::UnsubAck => "UNSUBACK",
            Self::PingReq => "PINGREQ",
            Self::PingResp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        })
    }
}

/// The fixed header (section 2.1): enough to know where a packet ends, and to refuse it before its body is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub packet_type: PacketType,
    /// The lower half of the first byte.
    pub flags: u8,
    /// Bytes of this header, 2 to 5.
    pub header_len: usize,
    /// Bytes of the body (the Remaining Length).
    pub body_len: usize,
}

impl Header {
    /// Reads the header at the start of `input`; `None` when more bytes are needed to tell.
    ///
    /// A packet above `packet_size_max` bytes (header included) is refused here. So is an overlong length, which 3.1.1 does
    /// not forbid in words: no sender has a reason for one.
    pub fn decode(input: &[u8], packet_size_max: u32) -> Result<Option<Self>, ProtocolError> {
        let Some((&first, rest)) = input.split_first() else {
            return Ok(None);
        };
        let flags = first & 0x0F;
        let packet_type =
            PacketType::from_nibble(first >> 4).ok_or(ProtocolError::PacketTypeZero)?;
        if packet_type
            .fixed_flags()
            .is_some_and(|fixed| fixed != flags)
        {
            return Err(ProtocolError::Flags {
                packet: packet_type,
                flags,
            });
        }
        let Some((body_len, length_len)) = decode_varint(rest)? else {
            return Ok(None);
        };
        let header = Self {
            packet_type,
            flags,
            header_len: 1 + length_len,
            body_len: body_len as usize,
        };
        let len = u64::from(body_len) + header.header_len as u64;
        if len > u64::from(packet_size_max) {
            return Err(ProtocolError::PacketTooLarge {
                packet: packet_type,
                len,
                max: packet_size_max,
            });
        }
        Ok(Some(header))
    }

    /// Bytes of the whole packet.
    pub fn packet_len(&self) -> usize {
        self.header_len + self.body_len
    }
}

/// What a client sends, as a view of the receive buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    Connect(Connect<'a>),
    Disconnect(Disconnect),
    PingReq,
    PubAck(PubAck),
    Publish(Publish<'a>),
    Subscribe(Subscribe<'a>),
    Unsubscribe(Unsubscribe<'a>),
}

impl<'a> Packet<'a> {
    /// Reads one whole packet: `body` is what follows `header`, all of it and nothing else. `version` is the one of the
    /// connection; a CONNECT brings its own.
    pub fn decode(
        header: &Header,
        body: &'a [u8],
        version: Version,
    ) -> Result<Self, ProtocolError> {
        let mut reader = Reader::new(header.packet_type, body);
        let packet = match header.packet_type {
            PacketType::Connect => Self::Connect(Connect::read(&mut reader)?),
            PacketType::Publish => {
                Self::Publish(Publish::read(&mut reader, header.flags, version)?)
            }
            PacketType::PubAck => Self::PubAck(PubAck::read(&mut reader, version)?),
            PacketType::Subscribe => Self::Subscribe(Subscribe::read(&mut reader, version)?),
            PacketType::Unsubscribe => Self::Unsubscribe(Unsubscribe::read(&mut reader, version)?),
            PacketType::PingReq => Self::PingReq,
            PacketType::Disconnect => Self::Disconnect(Disconnect::read(&mut reader, version)?),
            // Only a server sends these, or they belong to QoS 2 and enhanced authentication, which we never begin.
            PacketType::Auth
            | PacketType::ConnAck
            | PacketType::PingResp
            | PacketType::PubComp
            | PacketType::PubRec
            | PacketType::PubRel
            | PacketType::SubAck
            | PacketType::UnsubAck => {
                return Err(ProtocolError::UnexpectedPacket(header.packet_type));
            }
        };
        reader.finish()?;
        Ok(packet)
    }
}

/// Writes PINGRESP, the same two bytes in both versions.
pub fn encode_pingresp(out: &mut BytesMut) {
    wire::put_header(out, PacketType::PingResp.first_byte(), 0);
}
