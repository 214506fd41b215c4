//! Numbers and words as bytes, for what the store keeps packed in a column: LEB128, and texts behind their length.

use thiserror::Error;

use crate::StoreError;

/// Bytes that are not what was packed.
#[derive(Debug, Error)]
#[error("a packed column is damaged")]
pub(crate) struct Damaged;

impl From<Damaged> for StoreError {
    fn from(damaged: Damaged) -> Self {
        Self::Stored(damaged.to_string())
    }
}

/// LEB128.
pub(crate) fn put(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

pub(crate) fn put_word(to: &mut Vec<u8>, word: &str) {
    put(to, word.len() as u64);
    to.extend_from_slice(word.as_bytes());
}

/// What is left to be read.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn number(&mut self) -> Result<u64, Damaged> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(Damaged)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Damaged)
    }

    /// A number that was not negative.
    pub(crate) fn signed(&mut self) -> Result<i64, Damaged> {
        self.number()?.try_into().map_err(|_| Damaged)
    }

    pub(crate) fn word(&mut self) -> Result<&'a str, Damaged> {
        let len = usize::try_from(self.number()?).map_err(|_| Damaged)?;
        let (word, rest) = self.0.split_at_checked(len).ok_or(Damaged)?;
        self.0 = rest;
        std::str::from_utf8(word).map_err(|_| Damaged)
    }
}
