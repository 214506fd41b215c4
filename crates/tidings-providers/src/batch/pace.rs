//! How fast a provider may be asked.

use std::time::{Duration, Instant};

/// A provider's figures: what comes sooner waits. A request goes as a whole; one that has more devices than may be sent to in
/// a second is cut into such as have not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Devices a second, at most; none is no limit.
    pub devices: Option<u32>,
    /// Requests a second, at most; none is no limit.
    pub requests: Option<u32>,
}

impl Pace {
    /// No limit.
    pub const FREE: Self = Self {
        devices: None,
        requests: None,
    };
}

/// Both limits of a client.
#[derive(Debug)]
pub(super) struct Pacer {
    devices: Option<Rate>,
    requests: Option<Rate>,
}

impl Pacer {
    pub(super) fn new(pace: Pace, now: Instant) -> Self {
        let rate = |per_second: Option<u32>| Some(Rate::new(per_second?, now));
        Self {
            devices: rate(pace.devices),
            requests: rate(pace.requests),
        }
    }

    /// When the next request may go.
    pub(super) fn ready_at(&self, now: Instant) -> Instant {
        let rates = [&self.devices, &self.requests].into_iter().flatten();
        rates
            .map(|rate| rate.ready_at(now))
            .max()
            .unwrap_or(now)
            .max(now)
    }

    /// A request with so many devices goes now.
    pub(super) fn spend(&mut self, now: Instant, devices: usize) {
        if let Some(rate) = &mut self.devices {
            rate.spend(now, u32::try_from(devices).unwrap_or(u32::MAX));
        }
        if let Some(rate) = &mut self.requests {
            rate.spend(now, 1);
        }
    }
}

/// One limit: the generic cell rate algorithm (ITU-T I.371), with a theoretical arrival time.
#[derive(Debug)]
struct Rate {
    /// Between two of them.
    each: Duration,
    /// When all that has been spent will have been allowed.
    spent_until: Instant,
}

/// How far ahead of its time something may go: as late as a timer may be, so that the rate is reached in spite of it.
const AHEAD: Duration = Duration::from_millis(10);

impl Rate {
    fn new(per_second: u32, now: Instant) -> Self {
        Self {
            each: Duration::from_secs(1) / per_second.max(1),
            spent_until: now,
        }
    }

    fn ready_at(&self, now: Instant) -> Instant {
        self.spent_until.checked_sub(AHEAD).unwrap_or(now)
    }

    fn spend(&mut self, now: Instant, count: u32) {
        self.spent_until = self.spent_until.max(now) + self.each * count;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_second_sees_more_than_its_rate_and_a_burst(
            per_second in 1u32..5_000,
            sizes in proptest::collection::vec(1usize..1_000, 1..60),
        ) {
            let begin = Instant::now();
            let pace = Pace { devices: Some(per_second), requests: None };
            let mut pacer = Pacer::new(pace, begin);
            let (mut now, mut gone) = (begin, Vec::new());
            for size in sizes {
                now = pacer.ready_at(now);
                pacer.spend(now, size);
                gone.push((now - begin, size));
            }
            for (start, _) in &gone {
                let second = gone.iter().filter(|(at, _)| at >= start && *at < *start + Duration::from_secs(1));
                let sizes: Vec<usize> = second.map(|(_, size)| *size).collect();
                // The last of them may reach into the second after.
                let all_but_last: usize = sizes[..sizes.len() - 1].iter().sum();
                prop_assert!(all_but_last <= per_second as usize * 101 / 100 + 1, "{all_but_last} of {per_second}");
            }
        }

        #[test]
        fn in_the_long_run_the_rate_is_reached(per_second in 1u32..5_000) {
            let begin = Instant::now();
            let pace = Pace { devices: None, requests: Some(per_second) };
            let mut pacer = Pacer::new(pace, begin);
            let mut now = begin;
            for _ in 0..per_second * 4 {
                now = pacer.ready_at(now);
                pacer.spend(now, 1_000);
            }
            let took = now - begin;
            prop_assert!(took <= Duration::from_secs(4), "{took:?}");
            prop_assert!(took >= Duration::from_millis(2_900), "{took:?}");
        }
    }
}
