//! Quotas: what is used up is not asked for again before its day is over, which some makers punish with a smaller one.

use std::time::Duration;

use tidings_model::{Spent, UnixMillis};

/// China has one time, without a change in summer: eight hours ahead of UTC.
const AHEAD_OF_UTC: Duration = Duration::from_secs(8 * 3600);
const DAY_MS: i64 = 24 * 3600 * 1000;

/// The next time after `now` at which it is `hour` o'clock in China.
pub fn next_hour_in_china(now: UnixMillis, hour: u8) -> UnixMillis {
    let begins = Duration::from_secs(u64::from(hour) * 3600);
    let there = now.plus(AHEAD_OF_UTC).minus(begins);
    let day_ends = (there.0.div_euclid(DAY_MS) + 1).saturating_mul(DAY_MS);
    UnixMillis(day_ends).plus(begins).minus(AHEAD_OF_UTC)
}

/// When the day of `now` ends in China: the makers count by it.
pub fn end_of_day_in_china(now: UnixMillis) -> UnixMillis {
    next_hour_in_china(now, 0)
}

/// Those of a credential that are used up.
#[derive(Debug, Default)]
pub(super) struct Quotas(Vec<Spent>);

impl Quotas {
    pub(super) fn new(spent: &[Spent]) -> Self {
        Self(spent.iter().take(Spent::KNOWN_MAX).cloned().collect())
    }

    /// What keeps those of `class` back at `now`.
    pub(super) fn of(&self, class: &str, now: UnixMillis) -> Option<&Spent> {
        self.0.iter().find(|spent| spent.holds(class, now))
    }

    /// One is used up.
    pub(super) fn note(&mut self, spent: &Spent, now: UnixMillis) {
        spent.enter(&mut self.0, now);
    }
}

#[cfg(test)]
mod tests {
    use tidings_model::Reason;

    use super::*;

    /// 2027-01-15, 16:00 in China.
    const AFTERNOON: UnixMillis = UnixMillis(1_800_000_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_day_ends_at_midnight_in_china() {
        let midnight = AFTERNOON.plus(8 * HOUR);
        assert_eq!(end_of_day_in_china(AFTERNOON), midnight);
        let last = UnixMillis(midnight.0 - 1);
        assert_eq!(end_of_day_in_china(last), midnight);
        assert_eq!(end_of_day_in_china(midnight), midnight.plus(24 * HOUR));
        assert_eq!(next_hour_in_china(AFTERNOON, 7), midnight.plus(7 * HOUR));
        assert_eq!(next_hour_in_china(midnight, 7), midnight.plus(7 * HOUR));
        let seven = midnight.plus(7 * HOUR);
        assert_eq!(next_hour_in_china(seven, 7), seven.plus(24 * HOUR));
    }

    #[test]
    fn a_spent_quota_keeps_its_own_class_back_until_its_time_is_over() {
        let spent = |class: &str, hours: u32| Spent {
            class: class.into(),
            ..Spent::until(Reason::known("10070"), AFTERNOON.plus(HOUR * hours))
        };
        let mut quotas = Quotas::new(&[spent("operation", 8)]);
        let holds = |quotas: &Quotas, class: &str, hours: u32| {
            let at = AFTERNOON.plus(HOUR * hours);
            quotas.of(class, at).is_some()
        };
        assert!(holds(&quotas, "operation", 0) && holds(&quotas, "operation", 7));
        assert!(!holds(&quotas, "operation", 8) && !holds(&quotas, "system", 0));
        quotas.note(&spent("operation", 9), AFTERNOON);
        assert!(holds(&quotas, "operation", 8));
        quotas.note(&spent("", 1), AFTERNOON);
        assert!(holds(&quotas, "system", 0), "all of the credential");
        assert!(!holds(&quotas, "system", 1));
    }

    #[test]
    fn a_quota_that_a_wrong_clock_has_noted_is_not_believed() {
        let ahead = AFTERNOON.plus(400 * 24 * HOUR);
        let mut quotas = Quotas::default();
        let spent = |at| Spent::until(Reason::known("200001"), end_of_day_in_china(at));
        quotas.note(&spent(ahead), ahead);
        assert!(quotas.of("", ahead).is_some());
        assert!(quotas.of("", AFTERNOON).is_none());
        quotas.note(&spent(AFTERNOON), AFTERNOON);
        assert_eq!(quotas.0, [spent(AFTERNOON)]);
    }

    #[test]
    fn the_quotas_that_are_kept_are_bounded() {
        let mut quotas = Quotas::default();
        for number in 0..10 * Spent::KNOWN_MAX {
            let spent = Spent {
                class: number.to_string().into(),
                ..Spent::until(Reason::known("200001"), AFTERNOON.plus(HOUR))
            };
            quotas.note(&spent, AFTERNOON);
        }
        assert_eq!(quotas.0.len(), Spent::KNOWN_MAX);
        // What is over makes room.
        let later = Spent::until(Reason::known("200001"), AFTERNOON.plus(3 * HOUR));
        quotas.note(&later, AFTERNOON.plus(2 * HOUR));
        assert_eq!(quotas.0, [later]);
    }
}
