//! What a maker takes of its senders: requests in a second, phones in a day by China's time. All, until the control API says
//! otherwise.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::provider::Provider;

const SECOND_MS: i64 = 1_000;
const DAY_MS: i64 = 24 * 60 * 60 * SECOND_MS;
/// China has one time, eight hours ahead of UTC.
const AHEAD_OF_UTC_MS: i64 = 8 * 60 * 60 * SECOND_MS;

/// A provider's limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Quota {
    /// A request with more phones than are left of the day is refused whole.
    pub(crate) phones_per_day: Option<u64>,
    /// Whatever they ask, but for access tokens.
    pub(crate) requests_per_second: Option<u64>,
}

/// What a request is beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    Spent,
    TooFast,
}

/// The limits of all providers, and what has been taken.
#[derive(Debug, Default)]
pub(crate) struct Quotas(Mutex<HashMap<Provider, Taken>>);

#[derive(Debug, Default)]
struct Taken {
    quota: Quota,
    /// In which second, and how many.
    requests: (i64, u64),
    /// On which day, and how many.
    phones: (i64, u64),
    refused: u64,
}

/// How a provider's limits stand.
#[derive(Debug, Serialize)]
pub(crate) struct Standing {
    #[serde(flatten)]
    quota: Quota,
    /// Phones, today.
    taken_today: u64,
    /// Requests that were beyond a limit, since the start.
    refused: u64,
}

impl Taken {
    /// Begins another day, or another second, with nothing.
    fn turn(&mut self, now_ms: i64) {
        let (day, second) = (day(now_ms), now_ms.div_euclid(SECOND_MS));
        if self.phones.0 != day {
            self.phones = (day, 0);
        }
        if self.requests.0 != second {
            self.requests = (second, 0);
        }
    }
}

fn day(now_ms: i64) -> i64 {
    (now_ms + AHEAD_OF_UTC_MS).div_euclid(DAY_MS)
}

impl Quotas {
    /// Sets a provider's limits; what has been taken today stays taken.
    pub(crate) fn set(&self, provider: Provider, quota: Quota) {
        self.lock().entry(provider).or_default().quota = quota;
    }

    pub(crate) fn standing(&self, provider: Provider, now_ms: i64) -> Standing {
        let mut all = self.lock();
        let taken = all.entry(provider).or_default();
        taken.turn(now_ms);
        Standing {
            quota: taken.quota,
            taken_today: taken.phones.1,
            refused: taken.refused,
        }
    }

    /// Takes a request to so many phones, if it is within the limits.
    pub(crate) fn take(
        &self,
        provider: Provider,
        phones: usize,
        now_ms: i64,
    ) -> Result<Place<'_>, Excess> {
        let phones = phones as u64;
        let mut all = self.lock();
        let taken = all.entry(provider).or_default();
        taken.turn(now_ms);
        taken.requests.1 += 1;
        let is_above = |max: Option<u64>, count: u64| max.is_some_and(|max| count > max);
        let excess = if is_above(taken.quota.requests_per_second, taken.requests.1) {
            Excess::TooFast
        } else if phones > 0 && is_above(taken.quota.phones_per_day, taken.phones.1 + phones) {
            Excess::Spent
        } else {
            taken.phones.1 += phones;
            return Ok(Place {
                quotas: self,
                provider,
                day: day(now_ms),
                phones: Cell::new(phones),
            });
        };
        taken.refused += 1;
        Err(excess)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Provider, Taken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Phones of a day that a request has, until it is known whom it reaches; those that it does not reach are given back.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    quotas: &'a Quotas,
    provider: Provider,
    day: i64,
    phones: Cell<u64>,
}

impl Place<'_> {
    /// The request reaches so many of them.
    pub(crate) fn reach(&self, phones: usize) {
        self.phones
            .set(self.phones.get().saturating_sub(phones as u64));
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(taken) = self.quotas.lock().get_mut(&self.provider)
            && taken.phones.0 == self.day
        {
            taken.phones.1 = taken.phones.1.saturating_sub(self.phones.get());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Provider = Provider::Vivo;
    /// 2027-01-15, 16:00 in China.
    const AFTERNOON: i64 = 1_800_000_000_000;
    const HOUR_MS: i64 = 3_600 * SECOND_MS;

    #[test]
    fn a_day_has_its_phones_and_the_next_has_them_again() {
        let quotas = Quotas::default();
        quotas.set(
            ME,
            Quota {
                phones_per_day: Some(5),
                ..Quota::default()
            },
        );
        let take = |phones, reached, now_ms| {
            let place = quotas.take(ME, phones, now_ms)?;
            place.reach(reached);
            Ok(())
        };
        assert_eq!(take(3, 2, AFTERNOON), Ok(()), "one of them is gone");
        assert_eq!(take(4, 4, AFTERNOON), Err(Excess::Spent));
        assert_eq!(take(3, 3, AFTERNOON), Ok(()));
        assert_eq!(take(1, 1, AFTERNOON + 8 * HOUR_MS - 1), Err(Excess::Spent));
        assert_eq!(take(0, 0, AFTERNOON), Ok(()), "it is to nobody");
        let midnight = AFTERNOON + 8 * HOUR_MS;
        assert_eq!(take(5, 5, midnight), Ok(()));
        let standing = quotas.standing(ME, midnight);
        assert_eq!((standing.taken_today, standing.refused), (5, 2));
    }

    #[test]
    fn a_second_has_its_requests() {
        let quotas = Quotas::default();
        quotas.set(
            ME,
            Quota {
                requests_per_second: Some(2),
                ..Quota::default()
            },
        );
        let take = |now_ms| quotas.take(ME, 1, now_ms).map(drop);
        let taken = [0, 1, 999, 1_000].map(|ms| take(AFTERNOON + ms));
        assert_eq!(taken, [Ok(()), Ok(()), Err(Excess::TooFast), Ok(())]);
    }
}
