//! The wall clock. Only the edges read it; everything else is told the time.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let now = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX);
    #[cfg(feature = "virtual-time")]
    let now = now + *ahead::MILLIS;
    now
}

/// A clock that is ahead, in builds for tests only.
#[cfg(feature = "virtual-time")]
mod ahead {
    use std::sync::LazyLock;

    /// What `TIDINGS_AHEAD_MS` said at the start; none is 0.
    pub(super) static MILLIS: LazyLock<i64> = LazyLock::new(|| {
        let said = std::env::var("TIDINGS_AHEAD_MS").ok();
        said.and_then(|said| said.parse().ok()).unwrap_or(0)
    });
}
