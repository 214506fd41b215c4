//! Reading and writing the basic data types (section 1.5).

use std::num::NonZeroU16;

use bytes::{BufMut, BytesMut};

use super::PacketType;
use crate::ProtocolError;

/// A cursor over one packet's body that names what is missing.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) packet: PacketType,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(packet: PacketType, body: &'a [u8]) -> Self {
        Self { packet, rest: body }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// All that is left.
    pub(super) fn remainder(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub(super) fn take(
        &mut self,
        len: usize,
        field: &'static str,
    ) -> Result<&'a [u8], ProtocolError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or_else(|| self.truncated(field))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, ProtocolError> {
        let (&byte, rest) = self
            .rest
            .split_first()
            .ok_or_else(|| self.truncated(field))?;
        self.rest = rest;
        Ok(byte)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, ProtocolError> {
        let (&bytes, rest) = self
            .rest
            .split_first_chunk()
            .ok_or_else(|| self.truncated(field))?;
        self.rest = rest;
        Ok(u16::from_be_bytes(bytes))
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, ProtocolError> {
        let (&bytes, rest) = self
            .rest
            .split_first_chunk()
            .ok_or_else(|| self.truncated(field))?;
        self.rest = rest;
        Ok(u32::from_be_bytes(bytes))
    }

    pub(super) fn varint(&mut self, field: &'static str) -> Result<u32, ProtocolError> {
        let (value, len) = decode_varint(self.rest)?.ok_or_else(|| self.truncated(field))?;
        self.rest = &self.rest[len..];
        Ok(value)
    }

    /// Binary data: a length of two bytes, then as many (section 1.5.6).
    pub(super) fn binary(&mut self, field: &'static str) -> Result<&'a [u8], ProtocolError> {
        let len = self.u16(field)?;
        self.take(usize::from(len), field)
    }

    /// A UTF-8 string. Surrogates and U+0000 are malformed [MQTT-1.5.4-1, 1.5.4-2]; a leading byte order mark is data.
    pub(super) fn string(&mut self, field: &'static str) -> Result<&'a str, ProtocolError> {
        let malformed = ProtocolError::Utf8 {
            packet: self.packet,
            field,
        };
        let text = std::str::from_utf8(self.binary(field)?).map_err(|_| malformed)?;
        if text.as_bytes().contains(&0) {
            return Err(malformed);
        }
        Ok(text)
    }

    /// A packet identifier, which is never 0 [MQTT-2.2.1-3].
    pub(super) fn packet_id(&mut self) -> Result<NonZeroU16, ProtocolError> {
        NonZeroU16::new(self.u16("packet identifier")?)
            .ok_or(ProtocolError::PacketIdZero(self.packet))
    }

    /// Nothing may be left.
    pub(super) fn finish(&self) -> Result<(), ProtocolError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(ProtocolError::TrailingBytes {
            packet: self.packet,
            len: self.rest.len(),
        })
    }

    fn truncated(&self, field: &'static str) -> ProtocolError {
        ProtocolError::Truncated {
            packet: self.packet,
            field,
        }
    }
}

/// A variable byte integer and how many bytes it took; `None` when it does not end within `input`. It takes at most four
/// bytes, and as few as its value needs [MQTT-1.5.5-1].
pub(super) fn decode_varint(input: &[u8]) -> Result<Option<(u32, usize)>, ProtocolError> {
    let mut value = 0;
    for (index, &byte) in input.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            if byte == 0 && index > 0 {
                return Err(ProtocolError::LengthEncoding);
            }
            return Ok(Some((value, index + 1)));
        }
    }
    if input.len() >= 4 {
        return Err(ProtocolError::LengthEncoding);
    }
    Ok(None)
}

/// How many bytes `value` takes as a variable byte integer.
pub(super) fn varint_len(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

pub(super) fn put_varint(out: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        out.put_u8((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Writes a fixed header for a body of `body_len` bytes, and makes room for all of it.
pub(super) fn put_header(out: &mut BytesMut, first: u8, body_len: usize) {
    out.reserve(1 + varint_len(body_len) + body_len);
    out.put_u8(first);
    put_varint(out, body_len);
}

/// Bytes of a whole packet with a body of `body_len` bytes.
pub(super) fn packet_len(body_len: usize) -> usize {
    1 + varint_len(body_len) + body_len
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_byte_integers_are_as_in_table_1_1() {
        let cases: [(usize, &[u8]); 8] = [
            (0, &[0x00]),
            (127, &[0x7F]),
            (128, &[0x80, 0x01]),
            (16_383, &[0xFF, 0x7F]),
            (16_384, &[0x80, 0x80, 0x01]),
            (2_097_151, &[0xFF, 0xFF, 0x7F]),
            (2_097_152, &[0x80, 0x80, 0x80, 0x01]),
            (268_435_455, &[0xFF, 0xFF, 0xFF, 0x7F]),
        ];
        for (value, bytes) in cases {
            let mut out = BytesMut::new();
            put_varint(&mut out, value);
            assert_eq!(&out[..], bytes, "{value}");
            assert_eq!(varint_len(value), bytes.len(), "{value}");
            assert_eq!(decode_varint(bytes), Ok(Some((value as u32, bytes.len()))));
            for cut in 0..bytes.len() {
                assert_eq!(
                    decode_varint(&bytes[..cut]),
                    Ok(None),
                    "{value} cut at {cut}"
                );
            }
        }
    }

    #[test]
    fn overlong_and_endless_integers_are_malformed() {
        let cases: [&[u8]; 4] = [
            &[0x80, 0x00],
            &[0xFF, 0x80, 0x00],
            &[0x80, 0x80, 0x80, 0x80],
            &[0xFF, 0xFF, 0xFF, 0xFF, 0x01],
        ];
        for bytes in cases {
            assert_eq!(
                decode_varint(bytes),
                Err(ProtocolError::LengthEncoding),
                "{bytes:x?}"
            );
        }
    }
}
