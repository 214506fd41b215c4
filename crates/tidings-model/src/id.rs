//! Identifiers, and the clock that makes those that are ordered by time.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::UnixMillis;

/// A text that is not an identifier of the kind that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum IdError {
    #[error("an app key is 24 lower-case hexadecimal characters")]
    AppKey,
    #[error("a registration id is 16 lower-case hexadecimal characters")]
    DeviceId,
    #[error("a message id is a positive decimal number below 2^63")]
    MsgId,
}

/// The store's own number of an app; never shown outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AppId(pub i64);

/// The public name of an app: 12 bytes, printed as 24 lower-case hexadecimal characters, the only form that the
/// official JPush SDKs accept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppKey(pub [u8; 12]);

impl fmt::Display for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for AppKey {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if !is_lower_hex(text, 24) {
            return Err(IdError::AppKey);
        }
        let mut key = [0; 12];
        for (byte, pair) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| IdError::AppKey)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| IdError::AppKey)?;
        }
        Ok(Self(key))
    }
}

/// One installation of an app. Made by the same clock as [`MsgId`], so a device is a target of exactly the messages
/// whose id is greater than its own. Printed as the `registration_id`: 16 lower-case hexadecimal characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeviceId(pub i64);

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for DeviceId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if !is_lower_hex(text, 16) {
            return Err(IdError::DeviceId);
        }
        match i64::from_str_radix(text, 16) {
            Ok(id) if id > 0 => Ok(Self(id)),
            _ => Err(IdError::DeviceId),
        }
    }
}

/// One message: positive, ordered by time, printed in decimal (18 digits today, as JPush's are 17 and grow).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MsgId(pub i64);

impl fmt::Display for MsgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for MsgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MsgId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        match text.parse() {
            Ok(id) if id > 0 && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Self(id)),
            _ => Err(IdError::MsgId),
        }
    }
}

/// Makes strictly increasing 63-bit ids from the time: milliseconds since 2020 in the upper bits, a counter in the
/// lower 20. A clock that steps back only makes ids run ahead of it; they never repeat and never fall.
#[derive(Debug)]
pub struct IdClock {
    last: i64,
}

impl IdClock {
    const EPOCH_MS: i64 = 1_577_836_800_000; // 2020-01-01T00:00:00Z
    const COUNTER_BITS: u32 = 20; // a million ids a millisecond; lasts until 2298

    /// A clock whose first id is greater than `last`, the greatest id that was ever given out (0 for none).
    pub fn after(last: i64) -> Self {
        Self { last }
    }

    /// The greatest id that it has given out.
    pub fn last(&self) -> i64 {
        self.last
    }

    /// The next id at time `now`.
    pub fn next(&mut self, now: UnixMillis) -> i64 {
        self.last = Self::floor(now).max(self.last + 1);
        self.last
    }

    /// The time at which an id was drawn, by a clock that did not run ahead.
    pub fn time(id: i64) -> UnixMillis {
        UnixMillis((id >> Self::COUNTER_BITS) + Self::EPOCH_MS)
    }

    /// The least id that a clock gives out at time `now`, when it does not run ahead.
    pub fn floor(now: UnixMillis) -> i64 {
        (now.0 - Self::EPOCH_MS).max(0) << Self::COUNTER_BITS
    }
}

/// The deterministic id of one message to one device (UUIDv5, RFC 9562 section 5.5), sent as `apns-id`: every attempt of a
/// delivery carries the same one, also after a crash.
pub fn delivery_id(message: MsgId, device: DeviceId) -> Uuid {
    const NAMESPACE: Uuid = Uuid::from_u128(0x8a5c_1c0e_42f5_4e0b_9d3c_7469_6469_6e67);
    let mut name = [0; 16];
    name[..8].copy_from_slice(&message.0.to_be_bytes());
    name[8..].copy_from_slice(&device.0.to_be_bytes());
    Uuid::new_v5(&NAMESPACE, &name)
}

fn is_lower_hex(text: &str, len: usize) -> bool {
    text.len() == len
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_even_when_the_clock_falls() {
        let mut clock = IdClock::after(0);
        let late = clock.next(UnixMillis(1_800_000_000_000));
        let early = clock.next(UnixMillis(1_700_000_000_000));
        assert_eq!(early, late + 1);
        assert!(IdClock::after(early).next(UnixMillis(0)) > early);
        assert_eq!(IdClock::time(late), UnixMillis(1_800_000_000_000));
    }

    #[test]
    fn ids_print_and_parse_back() {
        let device = DeviceId(IdClock::after(0).next(UnixMillis(1_800_000_000_000)));
        assert_eq!(device.to_string().parse(), Ok(device));
        let message = MsgId(device.0);
        assert_eq!(message.to_string().parse(), Ok(message));
        let app = AppKey([0xab; 12]);
        assert_eq!(app.to_string(), "abababababababababababab");
        assert_eq!(app.to_string().parse(), Ok(app));
    }

    #[test]
    fn texts_of_another_form_are_refused() {
        for text in [
            "",
            "ABABABABABABABABABABABAB",
            "abababababababababababa",
            "zbababababababababababab",
        ] {
            assert_eq!(text.parse::<AppKey>(), Err(IdError::AppKey), "{text}");
        }
        for text in ["", "0", "-1", "+5", "1a", "9223372036854775808"] {
            assert_eq!(text.parse::<MsgId>(), Err(IdError::MsgId), "{text}");
        }
        for text in [
            "",
            "0000000000000000",
            "ffffffffffffffff",
            "02F0000000000000",
            "+2f0000000000000",
        ] {
            assert_eq!(text.parse::<DeviceId>(), Err(IdError::DeviceId), "{text}");
        }
    }

    #[test]
    fn a_delivery_keeps_its_id() {
        let id = delivery_id(MsgId(7), DeviceId(9));
        assert_eq!(id, delivery_id(MsgId(7), DeviceId(9)));
        assert_ne!(id, delivery_id(MsgId(9), DeviceId(7)));
        assert_eq!(id.get_version_num(), 5);
    }
}
