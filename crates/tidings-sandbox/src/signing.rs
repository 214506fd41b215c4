//! What makers' requests are signed with.

use aws_lc_rs::digest::{SHA256, digest};
use md5::{Digest, Md5};

/// How far a request's time may be from the clock.
const CLOCK_MS_MAX: i64 = 10 * 60 * 1_000;

pub(crate) fn sha256(text: &str) -> String {
    hex(digest(&SHA256, text.as_bytes()).as_ref())
}

pub(crate) fn md5(text: &str) -> String {
    hex(&Md5::digest(text.as_bytes()))
}

/// Whether a time in milliseconds is near enough.
pub(crate) fn is_now(timestamp: &str, now_ms: i64) -> bool {
    let time = timestamp.parse::<i64>();
    time.is_ok_and(|time| time.abs_diff(now_ms) <= CLOCK_MS_MAX.unsigned_abs())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-2 and RFC 1321, appendices.
    #[test]
    fn digests_are_written_in_lower_case() {
        assert_eq!(md5("abc"), "900150983cd24fb0d6963f7d28e17f72");
        let digest = sha256("abc");
        assert!(digest.starts_with("ba7816bf8f01cfea"), "{digest}");
    }

    #[test]
    fn a_time_is_near_enough_within_ten_minutes() {
        let now = 1_767_225_600_123;
        assert!(is_now("1767225600123", now) && is_now("1767225000123", now));
        assert!(!is_now("1767225000122", now) && !is_now("1767226200124", now));
        assert!(!is_now("1767225600", now) && !is_now("now", now));
    }
}
