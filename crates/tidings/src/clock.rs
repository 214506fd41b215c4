//! Times as they are written, and a clock for what cannot be taken back: letting messages expire, and forgetting old ones.
//!
//! The wall clock may be put a year ahead by mistake, and back again. So a leap which the time that has passed does not explain is
//! believed only after a while; until then time goes on from where it was. A machine that was suspended leaps as well: there
//! things end a little later than they could.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tidings_model::UnixMillis;
use tracing::warn;

/// More than corrections of a clock that goes well come to.
const LEAP: Duration = Duration::from_secs(10 * 60);

/// Long enough for whoever set the clock to notice.
const BELIEVED_AFTER: Duration = Duration::from_secs(60 * 60);

/// From the newest message to a start: after a longer time it may be the clock that is wrong.
const DOWN_MAX: Duration = Duration::from_secs(86_400);

pub(crate) struct SteadyClock(Mutex<State>);

struct State {
    /// What was believed, and when.
    at: (UnixMillis, Instant),
    /// Since when the wall clock is further ahead than is believed.
    leapt: Option<Instant>,
}

impl SteadyClock {
    /// Believes what the wall clock says now.
    pub(crate) fn new() -> Self {
        Self::at(UnixMillis::now(), Instant::now())
    }

    /// As [`Self::new`], unless the newest record that there is is much older.
    pub(crate) fn after(newest: UnixMillis) -> Self {
        Self::starting(newest, UnixMillis::now(), Instant::now())
    }

    fn at(wall: UnixMillis, now: Instant) -> Self {
        Self(Mutex::new(State {
            at: (wall, now),
            leapt: None,
        }))
    }

    fn starting(newest: UnixMillis, wall: UnixMillis, now: Instant) -> Self {
        match wall > newest.plus(DOWN_MAX) {
            true => Self::at(newest, now),
            false => Self::at(wall, now),
        }
    }

    /// The time, as far as it is believed.
    pub(crate) fn now(&self) -> UnixMillis {
        self.read(UnixMillis::now(), Instant::now())
    }

    fn read(&self, wall: UnixMillis, now: Instant) -> UnixMillis {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, since) = state.at;
        let expected = at.plus(now.saturating_duration_since(since));
        if wall > expected.plus(LEAP) {
            let leapt = *state.leapt.get_or_insert_with(|| {
                let secs = wall.since(expected).as_secs();
                warn!(
                    secs,
                    "the clock is ahead by more than has passed: for an hour nothing expires or is forgotten for its sake"
                );
                now
            });
            if now.saturating_duration_since(leapt) < BELIEVED_AFTER {
                return expected;
            }
        }
        *state = State {
            at: (wall, now),
            leapt: None,
        };
        wall
    }
}

/// A time as `/v1` writes it (RFC 3339), in UTC and to the millisecond.
pub(crate) fn rfc3339(time: UnixMillis) -> String {
    let time = Timestamp::from_millisecond(time.0).unwrap_or(Timestamp::MAX);
    format!("{time:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: UnixMillis = UnixMillis(1_800_000_000_000);
    const MINUTE: Duration = Duration::from_secs(60);
    const YEAR: Duration = Duration::from_secs(365 * 86_400);

    #[test]
    fn a_clock_that_leaps_and_goes_back_moves_nothing() {
        let begun = Instant::now();
        let clock = SteadyClock::at(NOON, begun);
        for minutes in 1..30 {
            let passed = MINUTE * minutes;
            let now = clock.read(NOON.plus(passed + YEAR), begun + passed);
            assert_eq!(now, NOON.plus(passed));
        }
        let passed = 30 * MINUTE;
        assert_eq!(
            clock.read(NOON.plus(passed), begun + passed),
            NOON.plus(passed)
        );
        // A day later the hour begins anew.
        let passed = 24 * 60 * MINUTE;
        let now = clock.read(NOON.plus(passed + YEAR), begun + passed);
        assert_eq!(now, NOON.plus(passed));
    }

    #[test]
    fn a_leap_that_lasts_is_believed_and_small_ones_at_once() {
        let begun = Instant::now();
        let clock = SteadyClock::at(NOON, begun);
        let little = NOON.plus(5 * MINUTE);
        assert_eq!(clock.read(little, begun), little);
        let back = NOON.minus(YEAR);
        assert_eq!(clock.read(back, begun), back);
        assert_eq!(clock.read(NOON, begun), back);
        let hour = 60 * MINUTE;
        let later = NOON.plus(hour);
        assert_eq!(clock.read(later, begun + hour), later);
    }

    #[test]
    fn a_start_long_after_the_newest_record_waits_for_an_hour() {
        let begun = Instant::now();
        let wall = NOON.plus(YEAR);
        let clock = SteadyClock::starting(NOON, wall, begun);
        assert_eq!(clock.read(wall, begun), NOON);
        let hour = 60 * MINUTE;
        let now = clock.read(wall.plus(hour), begun + hour);
        assert_eq!(now, wall.plus(hour));
        let clock = SteadyClock::starting(NOON, NOON.plus(hour), begun);
        assert_eq!(clock.read(NOON.plus(hour), begun), NOON.plus(hour));
    }
}
