//! Randomness for back-off, from a seed, so that a test can repeat what it saw.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// A small generator (SplitMix64, Steele and others, "Fast splittable pseudorandom number generators", 2014). Not for
/// secrets.
#[derive(Clone, Debug)]
pub struct Jitter(u64);

impl Jitter {
    /// A generator that gives the same numbers for the same `seed`.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// A generator with a seed that differs from process to process and from call to call.
    pub fn from_system() -> Self {
        Self(RandomState::new().hash_one(0))
    }

    /// The next number, any of 2^64.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A duration between a half of `ceiling` and `ceiling`: spread enough that those who failed together do not come
    /// back together, and never so short that it is no pause.
    pub fn upper_half(&mut self, ceiling: Duration) -> Duration {
        let half = ceiling / 2;
        half + self.up_to(half)
    }

    /// A duration between zero and `ceiling`, all equally likely ("full jitter").
    pub fn up_to(&mut self, ceiling: Duration) -> Duration {
        let nanos = u64::try_from(ceiling.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(match nanos.checked_add(1) {
            Some(span) => self.next_u64() % span,
            None => self.next_u64(),
        })
    }
}

/// `base`, doubled `doublings` times, at most `cap`.
pub fn doubled(base: Duration, doublings: u32, cap: Duration) -> Duration {
    base.saturating_mul(2u32.saturating_pow(doublings)).min(cap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_its_ceiling_and_repeats_from_its_seed() {
        let (mut one, mut other) = (Jitter::seeded(7), Jitter::seeded(7));
        let ceiling = Duration::from_secs(3);
        for _ in 0..1000 {
            let wait = one.up_to(ceiling);
            assert!(wait <= ceiling);
            assert_eq!(wait, other.up_to(ceiling));
            let half = one.upper_half(ceiling);
            assert!(half >= ceiling / 2 && half <= ceiling);
            other.upper_half(ceiling);
        }
        assert_eq!(one.up_to(Duration::ZERO), Duration::ZERO);
        assert!(one.up_to(Duration::MAX) <= Duration::MAX);
    }

    #[test]
    fn doubling_stops_at_the_cap() {
        let (base, cap) = (Duration::from_millis(100), Duration::from_secs(5));
        assert_eq!(doubled(base, 0, cap), base);
        assert_eq!(doubled(base, 3, cap), Duration::from_millis(800));
        assert_eq!(doubled(base, u32::MAX, cap), cap);
    }
}
