//! The address of a phone at a provider.

use std::fmt::{self, Write};
use std::str::FromStr;

use thiserror::Error;

/// An APNs device token: 32 to 100 bytes, written as 64 to 200 hexadecimal digits.
///
/// Apple calls tokens opaque and gives no length; today's have 32 bytes, those of Live Activities more.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceToken(Box<[u8]>);

/// A text that is no device token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("must be 64 to 200 hexadecimal digits, an even number of them")]
pub struct BadDeviceToken;

impl DeviceToken {
    const DIGITS_MIN: usize = 64;
    const DIGITS_MAX: usize = 200;

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for DeviceToken {
    type Err = BadDeviceToken;

    fn from_str(text: &str) -> Result<Self, BadDeviceToken> {
        let digits = text.as_bytes();
        if !(Self::DIGITS_MIN..=Self::DIGITS_MAX).contains(&digits.len()) {
            return Err(BadDeviceToken);
        }
        let (pairs, odd) = digits.as_chunks::<2>();
        if !odd.is_empty() {
            return Err(BadDeviceToken);
        }
        pairs
            .iter()
            .map(|&[high, low]| Some(nibble(high)? << 4 | nibble(low)?))
            .collect::<Option<Box<[u8]>>>()
            .map(Self)
            .ok_or(BadDeviceToken)
    }
}

impl fmt::Display for DeviceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for byte in &self.0 {
            f.write_char(char::from(DIGITS[usize::from(byte >> 4)]))?;
            f.write_char(char::from(DIGITS[usize::from(byte & 0xf)]))?;
        }
        Ok(())
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_an_even_number_of_hexadecimal_digits_within_bounds() {
        let check = |text: &str, good: bool| {
            assert_eq!(text.parse::<DeviceToken>().is_ok(), good, "{text}");
        };
        check(&"0aF9".repeat(16), true);
        check(&"ab".repeat(100), true);
        check(&"ab".repeat(31), false);
        check(&"ab".repeat(101), false);
        check(&"a".repeat(65), false);
        check(&"xy".repeat(32), false);
        check(&"é".repeat(32), false);
        check("", false);
    }

    #[test]
    fn a_token_prints_in_lower_case() {
        let token: DeviceToken = "0AfF".repeat(16).parse().unwrap();
        assert_eq!(token.to_string(), "0aff".repeat(16));
    }
}
