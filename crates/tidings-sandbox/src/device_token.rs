//! The address of a phone at a provider.

use std::fmt::{self, Write};
use std::str::FromStr;

use thiserror::Error;

/// A device token or registration id; each provider has its own form ([`Provider::token`](crate::Provider::token)).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceToken(Form);

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Form {
    /// APNs' 32 to 100 bytes, written as 64 to 200 hexadecimal digits.
    Binary(Box<[u8]>),
    Text(Box<str>),
}

/// A text that is no token of the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("must be {0}")]
pub struct BadDeviceToken(&'static str);

impl DeviceToken {
    const DIGITS_MIN: usize = 64;
    const DIGITS_MAX: usize = 200;
    const TEXT_MAX: usize = 512;

    /// A token as the makers have them: 1 to 512 visible ASCII characters. None of them documents a form.
    pub(crate) fn of_text(text: &str) -> Result<Self, BadDeviceToken> {
        let is_token = (1..=Self::TEXT_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_token {
            Ok(Self(Form::Text(text.into())))
        } else {
            Err(BadDeviceToken("1 to 512 visible ASCII characters"))
        }
    }

    /// The same of a maker whose ids are joined by commas or semicolons, so that none has one.
    pub(crate) fn of_list(text: &str) -> Result<Self, BadDeviceToken> {
        if text.contains([',', ';']) {
            return Err(BadDeviceToken(
                "1 to 512 visible ASCII characters without commas and semicolons",
            ));
        }
        Self::of_text(text)
    }

    /// Whether it is written so; APNs' tokens in either case.
    pub(crate) fn is_written(&self, text: &str) -> bool {
        match &self.0 {
            Form::Binary(bytes) => {
                let (pairs, odd) = text.as_bytes().as_chunks::<2>();
                odd.is_empty()
                    && pairs.len() == bytes.len()
                    && pairs
                        .iter()
                        .zip(bytes)
                        .all(|(pair, byte)| octet(*pair) == Some(*byte))
            }
            Form::Text(own) => **own == *text,
        }
    }
}

/// The form of APNs' tokens. Apple calls them opaque and gives no length; today's have 32 bytes, those of Live
/// Activities more.
impl FromStr for DeviceToken {
    type Err = BadDeviceToken;

    fn from_str(text: &str) -> Result<Self, BadDeviceToken> {
        const BAD: BadDeviceToken =
            BadDeviceToken("64 to 200 hexadecimal digits, an even number of them");
        let digits = text.as_bytes();
        if !(Self::DIGITS_MIN..=Self::DIGITS_MAX).contains(&digits.len()) {
            return Err(BAD);
        }
        let (pairs, odd) = digits.as_chunks::<2>();
        if !odd.is_empty() {
            return Err(BAD);
        }
        pairs
            .iter()
            .map(|pair| octet(*pair))
            .collect::<Option<Box<[u8]>>>()
            .map(|bytes| Self(Form::Binary(bytes)))
            .ok_or(BAD)
    }
}

impl fmt::Display for DeviceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let bytes = match &self.0 {
            Form::Binary(bytes) => bytes,
            Form::Text(text) => return f.write_str(text),
        };
        for byte in bytes {
            f.write_char(char::from(DIGITS[usize::from(byte >> 4)]))?;
            f.write_char(char::from(DIGITS[usize::from(byte & 0xf)]))?;
        }
        Ok(())
    }
}

fn octet([high, low]: [u8; 2]) -> Option<u8> {
    Some(nibble(high)? << 4 | nibble(low)?)
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
        assert!(token.is_written(&"0aFF".repeat(16)) && !token.is_written("0aff"));
    }

    #[test]
    fn a_makers_token_is_a_text_of_visible_characters() {
        let check = |text: &str, good: bool| {
            assert_eq!(DeviceToken::of_text(text).is_ok(), good, "{text}");
        };
        check("d//igwEhgBGCI2TG6lWqlA==", true);
        check(&"a".repeat(512), true);
        check(&"a".repeat(513), false);
        check("", false);
        check("two words", false);
        check("é", false);
        assert!(DeviceToken::of_list("a+/=").is_ok() && DeviceToken::of_list("a,b").is_err());
    }
}
