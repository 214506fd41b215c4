//! How often an app may call: a fixed window for each app and family, as JPush counts (its reference, rate limits).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};
use tidings_model::AppId;

use super::error::{ApiError, Family, Fault};

const LIMIT: HeaderName = HeaderName::from_static("x-rate-limit-limit");
/// The name of the same in JPush's older text.
const QUOTA: HeaderName = HeaderName::from_static("x-rate-limit-quota");
const REMAINING: HeaderName = HeaderName::from_static("x-rate-limit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-rate-limit-reset");

/// JPush's window.
const WINDOW: Duration = Duration::from_secs(60);

/// Windows below which those that ended are not worth a search.
const SEARCH_FROM: usize = 1024;

/// Counts the calls of each app.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    limit: u32,
    windows: Mutex<Windows>,
}

/// Keys are authenticated apps, so the registry bounds them; windows that ended are forgotten each time the number has
/// doubled, so that a search costs a call next to nothing.
#[derive(Debug)]
struct Windows {
    by_app: HashMap<(AppId, Family), Window>,
    search_at: usize,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    calls: u32,
    started: Instant,
}

impl Window {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.started) >= WINDOW
    }
}

impl RateLimiter {
    /// `limit` is in calls a minute, for each app and family.
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            limit,
            windows: Mutex::new(Windows {
                by_app: HashMap::new(),
                search_at: SEARCH_FROM,
            }),
        }
    }

    /// Counts a call of an app whose credentials are right.
    pub(crate) fn count(&self, app: AppId, family: Family, now: Instant) -> Allowance {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.by_app.len() >= windows.search_at {
            windows.by_app.retain(|_, window| !window.is_over(now));
            windows.search_at = (2 * windows.by_app.len()).max(SEARCH_FROM);
        }
        let fresh = Window {
            calls: 0,
            started: now,
        };
        let window = windows.by_app.entry((app, family)).or_insert(fresh);
        if window.is_over(now) {
            *window = fresh;
        }
        let is_allowed = window.calls < self.limit;
        if is_allowed {
            window.calls += 1;
        }
        let left = WINDOW.saturating_sub(now.saturating_duration_since(window.started));
        Allowance {
            is_allowed,
            limit: self.limit,
            remaining: self.limit - window.calls,
            reset_secs: left.as_millis().div_ceil(1000) as u64,
        }
    }
}

/// Whether a call may go on, and what the caller is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowance {
    is_allowed: bool,
    limit: u32,
    remaining: u32,
    reset_secs: u64,
}

impl Allowance {
    pub(crate) fn check(self) -> Result<(), ApiError> {
        if self.is_allowed {
            return Ok(());
        }
        let Self {
            limit, reset_secs, ..
        } = self;
        Err(ApiError::new(
            Fault::RateExceeded,
            format!("Rate limit exceeded: {limit} calls a minute; try again in {reset_secs} s."),
        ))
    }

    /// Writes the headers that belong on every answer to an app. The SDKs read them only when all are there.
    pub(crate) fn write_headers(self, headers: &mut HeaderMap) {
        headers.insert(LIMIT, HeaderValue::from(self.limit));
        headers.insert(QUOTA, HeaderValue::from(self.limit));
        headers.insert(REMAINING, HeaderValue::from(self.remaining));
        headers.insert(RESET, HeaderValue::from(self.reset_secs));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_used_up_and_begins_anew() {
        let limiter = RateLimiter::new(2);
        let start = Instant::now();
        let call = |app, family, secs: u64| {
            let allowance = limiter.count(AppId(app), family, start + Duration::from_secs(secs));
            (
                allowance.check().is_ok(),
                allowance.remaining,
                allowance.reset_secs,
            )
        };
        assert_eq!(call(1, Family::Push, 0), (true, 1, 60));
        assert_eq!(call(1, Family::Push, 20), (true, 0, 40));
        assert_eq!(call(1, Family::Push, 59), (false, 0, 1));
        assert_eq!(call(2, Family::Push, 59), (true, 1, 60));
        assert_eq!(call(1, Family::Device, 59), (true, 1, 60));
        assert_eq!(call(1, Family::Push, 60), (true, 1, 60));
    }

    #[test]
    fn the_headers_are_all_there() {
        let mut headers = HeaderMap::new();
        let allowance = RateLimiter::new(600).count(AppId(1), Family::Push, Instant::now());
        allowance.write_headers(&mut headers);
        let value = |name| headers[name].to_str().expect("ASCII");
        assert_eq!(value("x-rate-limit-limit"), "600");
        assert_eq!(value("x-rate-limit-quota"), "600");
        assert_eq!(value("x-rate-limit-remaining"), "599");
        assert_eq!(value("x-rate-limit-reset"), "60");
    }

    #[test]
    fn ended_windows_are_forgotten() {
        let limiter = RateLimiter::new(1);
        let start = Instant::now();
        for app in 0..5000 {
            limiter.count(AppId(app), Family::Push, start + WINDOW * app as u32);
        }
        let kept = limiter.windows.lock().expect("not poisoned").by_app.len();
        assert!(kept <= SEARCH_FROM, "{kept}");
    }
}
