//! CONNACK (section 3.2).

use bytes::{BufMut, BytesMut};

use super::property::{
    MAXIMUM_PACKET_SIZE, MAXIMUM_QOS, RECEIVE_MAXIMUM, RETAIN_AVAILABLE, SERVER_KEEP_ALIVE,
    SESSION_EXPIRY, SHARED_SUBSCRIPTIONS_AVAILABLE, SUBSCRIPTION_IDENTIFIERS_AVAILABLE,
};
use super::wire::{put_header, put_varint};
use super::{PacketType, Version};
use crate::Reason;

/// The answer to CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnAck {
    Accepted(Granted),
    /// The connection closes behind it.
    Refused(Reason),
}

/// What an accepted client is told; 3.1.1 has words for the first field only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    pub session_present: bool,
    pub receive_maximum: u16,
    pub packet_size_max: u32,
    /// Seconds, where it is not what the client asked for.
    pub keep_alive_secs: Option<u16>,
    /// Seconds, where it is not what the client asked for.
    pub session_expiry_secs: Option<u32>,
}

impl ConnAck {
    /// The largest that [`ConnAck::encode`] writes, in bytes.
    pub const LEN_MAX: usize = 29;

    /// Appends the packet. A refusal for which 3.1.1 has no return code writes nothing.
    pub fn encode(&self, version: Version, out: &mut BytesMut) {
        let first = PacketType::ConnAck.first_byte();
        match (version, self) {
            (Version::V311, Self::Accepted(granted)) => {
                put_header(out, first, 2);
                out.put_u8(u8::from(granted.session_present));
                out.put_u8(0);
            }
            (Version::V311, Self::Refused(reason)) => {
                if let Some(code) = reason.connect_return_code_v311() {
                    put_header(out, first, 2);
                    out.put_u8(0);
                    out.put_u8(code);
                }
            }
            (Version::V5, Self::Accepted(granted)) => granted.encode_v5(out),
            (Version::V5, Self::Refused(reason)) => {
                put_header(out, first, 3);
                out.put_u8(0); // [MQTT-3.2.2-6]: no session is present in a refusal
                out.put_u8(reason.code());
                out.put_u8(0);
            }
        }
    }
}

impl Granted {
    fn encode_v5(&self, out: &mut BytesMut) {
        let properties_len = 3
            + 2
            + 2
            + 5
            + 2
            + 2
            + self.keep_alive_secs.map_or(0, |_| 3)
            + self.session_expiry_secs.map_or(0, |_| 5);
        put_header(out, PacketType::ConnAck.first_byte(), 3 + properties_len);
        out.put_u8(u8::from(self.session_present));
        out.put_u8(Reason::Success.code());
        put_varint(out, properties_len);
        if let Some(secs) = self.session_expiry_secs {
            out.put_u8(SESSION_EXPIRY);
            out.put_u32(secs);
        }
        out.put_u8(RECEIVE_MAXIMUM);
        out.put_u16(self.receive_maximum);
        out.put_u8(MAXIMUM_QOS);
        out.put_u8(1);
        out.put_u8(RETAIN_AVAILABLE);
        out.put_u8(0);
        out.put_u8(MAXIMUM_PACKET_SIZE);
        out.put_u32(self.packet_size_max);
        // Topic aliases: absent is none. Wildcard subscriptions: absent is available, for `#` is granted.
        out.put_u8(SUBSCRIPTION_IDENTIFIERS_AVAILABLE);
        out.put_u8(0);
        out.put_u8(SHARED_SUBSCRIPTIONS_AVAILABLE);
        out.put_u8(0);
        if let Some(secs) = self.keep_alive_secs {
            out.put_u8(SERVER_KEEP_ALIVE);
            out.put_u16(secs);
        }
    }
}
