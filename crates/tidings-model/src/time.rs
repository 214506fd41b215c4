//! Wall-clock time as the store keeps it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// The system clock's reading. Only the edges call this; everything else is told the time.
    pub fn now() -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let now = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX);
        #[cfg(feature = "virtual-time")]
        let now = now + *ahead::MILLIS;
        Self(now)
    }

    /// This time in whole seconds, rounded down.
    pub fn secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This time and `duration` more.
    pub fn plus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// This time less `duration`.
    pub fn minus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// How long it is from `earlier` until this time; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// A clock that is ahead, in builds for tests only: so that midnight comes when a test wants it.
#[cfg(feature = "virtual-time")]
mod ahead {
    use std::sync::LazyLock;

    /// What `TIDINGS_AHEAD_MS` said at the start; none is 0.
    pub(super) static MILLIS: LazyLock<i64> = LazyLock::new(|| {
        let said = std::env::var("TIDINGS_AHEAD_MS").ok();
        said.and_then(|said| said.parse().ok()).unwrap_or(0)
    });
}
