//! DISCONNECT (section 3.14), in both directions.

use bytes::{BufMut, BytesMut};

use super::property::{Allowed, Property, read_properties};
use super::wire::{Reader, put_header};
use super::{PacketType, Version};
use crate::{ProtocolError, Reason};

/// A client's goodbye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// The reason code; 0 is a normal end, and the only one on 3.1.1.
    pub code: u8,
    /// A new session expiry in seconds (MQTT 5).
    pub session_expiry_secs: Option<u32>,
}

impl Disconnect {
    pub(super) fn read(reader: &mut Reader<'_>, version: Version) -> Result<Self, ProtocolError> {
        let packet = reader.packet;
        let mut disconnect = Self {
            code: 0,
            session_expiry_secs: None,
        };
        if version == Version::V5 && !reader.is_empty() {
            let code = reader.u8("reason code")?;
            if !matches!(
                code,
                0x00 | 0x04 | 0x80..=0x83 | 0x90 | 0x93..=0x99
            ) {
                return Err(ProtocolError::ReasonCode { packet, code });
            }
            disconnect.code = code;
            if !reader.is_empty() {
                read_properties(reader, Allowed::DISCONNECT, |property| {
                    if let Property::SessionExpiry(secs) = property {
                        disconnect.session_expiry_secs = Some(secs);
                    }
                })?;
            }
        }
        Ok(disconnect)
    }
}

/// Appends a server's DISCONNECT, without properties. 3.1.1 has none, so nothing is written there. The length of the
/// properties could be left out as well, but clients are about that do not know.
pub fn encode_disconnect(version: Version, reason: Reason, out: &mut BytesMut) {
    if version == Version::V5 {
        put_header(out, PacketType::Disconnect.first_byte(), 2);
        out.put_u8(reason.code());
        out.put_u8(0);
    }
}
