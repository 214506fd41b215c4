//! `Retry-After` (RFC 9110, section 10.2.3).

use std::time::Duration;

/// `Retry-After`, at most: a longer one is taken for this, 24 hours. Our own bound (the header: RFC 9110, section
/// 10.2.3).
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The header in the form of seconds.
pub(crate) fn in_seconds(text: &str) -> Option<Duration> {
    let secs = text.trim().parse().ok()?;
    Some(Duration::from_secs(secs).min(RETRY_AFTER_MAX))
}
