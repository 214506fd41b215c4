//! SUBSCRIBE, UNSUBSCRIBE and their answers (sections 3.8 to 3.11).

use std::num::NonZeroU16;

use bytes::{BufMut, BytesMut};

use super::property::{Allowed, Property, read_properties};
use super::wire::{Reader, put_header};
use super::{PacketType, Version};
use crate::topic::is_shared;
use crate::{ProtocolError, Reason};

/// A wish to hear topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe<'a> {
    pub packet_id: NonZeroU16,
    /// Whether a subscription identifier came along (MQTT 5).
    pub has_identifier: bool,
    pub filters: Filters<'a>,
}

/// A wish to hear topics no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    pub packet_id: NonZeroU16,
    pub filters: UnsubscribeFilters<'a>,
}

/// One entry of a SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter<'a> {
    /// Any text: whether it is a filter at all is for the receiver to answer, entry by entry.
    pub name: &'a str,
    /// The highest QoS that is wanted, 0 to 2.
    pub qos: u8,
}

/// The entries of a SUBSCRIBE, checked when it was decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filters<'a> {
    rest: &'a [u8],
    version: Version,
}

/// The entries of an UNSUBSCRIBE, checked when it was decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsubscribeFilters<'a> {
    rest: &'a [u8],
}

impl<'a> Subscribe<'a> {
    pub(super) fn read(reader: &mut Reader<'a>, version: Version) -> Result<Self, ProtocolError> {
        let packet_id = reader.packet_id()?;
        let mut has_identifier = false;
        if version == Version::V5 {
            read_properties(reader, Allowed::SUBSCRIBE, |property| {
                has_identifier |= property == Property::SubscriptionIdentifier;
            })?;
        }
        let packet = reader.packet;
        let rest = reader.remainder();
        let mut entries = Reader::new(packet, rest);
        if entries.is_empty() {
            return Err(ProtocolError::NoFilters);
        }
        while !entries.is_empty() {
            read_filter(&mut entries, version)?;
        }
        Ok(Self {
            packet_id,
            has_identifier,
            filters: Filters { rest, version },
        })
    }
}

impl<'a> Unsubscribe<'a> {
    pub(super) fn read(reader: &mut Reader<'a>, version: Version) -> Result<Self, ProtocolError> {
        let packet_id = reader.packet_id()?;
        if version == Version::V5 {
            read_properties(reader, Allowed::UNSUBSCRIBE, |_| {})?;
        }
        let packet = reader.packet;
        let rest = reader.remainder();
        let mut entries = Reader::new(packet, rest);
        if entries.is_empty() {
            return Err(ProtocolError::NoFilters);
        }
        while !entries.is_empty() {
            entries.string("topic filter")?;
        }
        Ok(Self {
            packet_id,
            filters: UnsubscribeFilters { rest },
        })
    }
}

fn read_filter<'a>(
    entries: &mut Reader<'a>,
    version: Version,
) -> Result<Filter<'a>, ProtocolError> {
    let packet = entries.packet;
    let name = entries.string("topic filter")?;
    let options = entries.u8("subscription options")?;
    let (qos, no_local, retain_handling) =
        (options & 0b11, options & 0b100 != 0, options >> 4 & 0b11);
    let reserved = match version {
        Version::V311 => 0b1111_1100,
        Version::V5 => 0b1100_0000,
    };
    if options & reserved != 0 {
        return Err(ProtocolError::ReservedBits {
            packet,
            field: "subscription options",
        });
    }
    // [MQTT-3.8.3-4]: No Local on a shared subscription is an error of its own.
    if qos == 3 || retain_handling == 3 || (no_local && is_shared(name)) {
        return Err(ProtocolError::SubscriptionOptions(options));
    }
    Ok(Filter { name, qos })
}

impl<'a> Iterator for Filters<'a> {
    type Item = Filter<'a>;

    fn next(&mut self) -> Option<Filter<'a>> {
        let mut entries = Reader::new(PacketType::Subscribe, self.rest);
        let filter = read_filter(&mut entries, self.version).ok()?;
        self.rest = entries.remainder();
        Some(filter)
    }
}

impl<'a> Iterator for UnsubscribeFilters<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let mut entries = Reader::new(PacketType::Unsubscribe, self.rest);
        let name = entries.string("topic filter").ok()?;
        self.rest = entries.remainder();
        Some(name)
    }
}

/// Appends SUBACK with an answer for each filter, in their order. On 3.1.1 every refusal is 0x80.
pub fn encode_suback(
    version: Version,
    packet_id: NonZeroU16,
    answers: impl Iterator<Item = Reason> + Clone,
    out: &mut BytesMut,
) {
    let first = PacketType::SubAck.first_byte();
    put_ack_header(version, first, packet_id, answers.clone().count(), out);
    for answer in answers {
        out.put_u8(match version {
            Version::V311 => answer.code().min(Reason::UnspecifiedError.code()),
            Version::V5 => answer.code(),
        });
    }
}

/// Appends UNSUBACK with an answer for each filter, in their order; 3.1.1 has no answers in it.
pub fn encode_unsuback(
    version: Version,
    packet_id: NonZeroU16,
    answers: impl Iterator<Item = Reason> + Clone,
    out: &mut BytesMut,
) {
    let first = PacketType::UnsubAck.first_byte();
    match version {
        Version::V311 => put_ack_header(version, first, packet_id, 0, out),
        Version::V5 => {
            put_ack_header(version, first, packet_id, answers.clone().count(), out);
            out.extend(answers.map(Reason::code));
        }
    }
}

fn put_ack_header(
    version: Version,
    first: u8,
    packet_id: NonZeroU16,
    answers: usize,
    out: &mut BytesMut,
) {
    let properties = usize::from(version == Version::V5);
    put_header(out, first, 2 + properties + answers);
    out.put_u16(packet_id.get());
    if version == Version::V5 {
        out.put_u8(0);
    }
}
