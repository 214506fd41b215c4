//! The back-off that the deliveries of a queue share.

use std::time::{Duration, Instant};

use tidings_providers::jitter::{Jitter, doubled};

/// Failures in a row after which the queue pauses: more than one delivery's bad luck, fewer than one page.
const FAILURES_IN_A_ROW: u32 = 16;
/// The ceiling of the first pause and the highest one.
const PAUSE_BASE: Duration = Duration::from_millis(100);
const PAUSE_CAP: Duration = Duration::from_secs(5);

/// The shared back-off of a queue.
#[derive(Default)]
pub(crate) struct Pause {
    failures: u32,
    level: u32,
    pub(crate) until: Option<Instant>,
}

impl Pause {
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
        self.level = 0;
    }

    pub(crate) fn failed(&mut self, now: Instant, jitter: &mut Jitter) {
        self.failures += 1;
        if self.failures >= FAILURES_IN_A_ROW && !self.is_on(now) {
            let ceiling = doubled(PAUSE_BASE, self.level, PAUSE_CAP);
            self.until = Some(now + jitter.upper_half(ceiling));
            self.level += 1;
            self.failures = 0;
        }
    }

    pub(crate) fn is_on(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until > now)
    }
}
