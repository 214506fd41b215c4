//! PUBACK (section 3.4), in both directions.

use std::num::NonZeroU16;

use bytes::{BufMut, BytesMut};

use super::property::{Allowed, read_properties};
use super::wire::{Reader, put_header};
use super::{PacketType, Version};
use crate::{ProtocolError, Reason};

/// The answer to a QoS 1 publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PubAck {
    pub packet_id: NonZeroU16,
    /// The reason code; 0 on 3.1.1, which has none. From 0x80 on the receiver did not take the message, and that too ends
    /// its delivery.
    pub code: u8,
}

impl PubAck {
    pub(super) fn read(reader: &mut Reader<'_>, version: Version) -> Result<Self, ProtocolError> {
        let packet = reader.packet;
        let packet_id = reader.packet_id()?;
        let mut code = Reason::Success.code();
        // Success may be left out, and so may an empty property block (section 3.4.2.1).
        if version == Version::V5 && !reader.is_empty() {
            code = reader.u8("reason code")?;
            if !matches!(
                code,
                0x00 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99
            ) {
                return Err(ProtocolError::ReasonCode { packet, code });
            }
            if !reader.is_empty() {
                read_properties(reader, Allowed::PUBACK, |_| {})?;
            }
        }
        Ok(Self { packet_id, code })
    }

    /// Appends the packet, in its short form where nothing but success is to be said.
    pub fn encode(&self, version: Version, out: &mut BytesMut) {
        let with_code = version == Version::V5 && self.code != Reason::Success.code();
        put_header(
            out,
            PacketType::PubAck.first_byte(),
            2 + usize::from(with_code),
        );
        out.put_u16(self.packet_id.get());
        if with_code {
            out.put_u8(self.code);
        }
    }
}
