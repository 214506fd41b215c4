//! When to try again, and when to stop: the only retry between a push and its provider.

use std::time::Duration;

use tidings_model::{Outcome, Reason};
use tidings_providers::jitter::{Jitter, doubled};

/// How often and how soon a delivery is tried again. [`RetryPolicy::default`] gives the values named here.
///
/// What was not sent is tried again for as long as the delivery lives: that cannot double anything.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// The ceiling of the first wait after a provider's "not now" or an attempt without an answer; 1 s. It doubles each
    /// time, and the wait is anything between zero and the ceiling. A `Retry-After` is waited for in full instead.
    pub base: Duration,
    /// The highest ceiling; 15 minutes, which is what Apple asks for after a 500.
    pub cap: Duration,
    /// Answers of "not now" after which a delivery has failed; 16, which takes about an hour.
    pub retries_max: u32,
    /// Attempts that may stay without an answer, all with one id; 5, which takes about 8 s beside the waiting for answers.
    /// Each may have been taken by the provider.
    pub unanswered_max: u32,
    /// As `base`, after an attempt that was not sent; 100 ms.
    pub unsent_base: Duration,
    /// As `cap`, after an attempt that was not sent; 5 s.
    pub unsent_cap: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(1),
            cap: Duration::from_secs(15 * 60),
            retries_max: 16,
            unanswered_max: 5,
            unsent_base: Duration::from_millis(100),
            unsent_cap: Duration::from_secs(5),
        }
    }
}

/// What a delivery has behind it: enough to go on with, by whoever has put it away meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The provider's last word.
    pub last: Option<Reason>,
    /// Answers of "not now".
    pub retries: u32,
    /// Attempts without an answer.
    pub unanswered: u32,
}

impl Progress {
    /// Attempts that left.
    pub fn attempts(&self) -> u32 {
        self.retries.saturating_add(self.unanswered)
    }
}

impl RetryPolicy {
    /// Counts an answer of "not now". Says how long to wait, or that it was one too many.
    pub fn after_answer(
        &self,
        progress: &mut Progress,
        outcome: &Outcome,
        jitter: &mut Jitter,
    ) -> Option<Duration> {
        progress.retries = progress.retries.saturating_add(1);
        progress.last = outcome.reason().cloned();
        if progress.retries > self.retries_max {
            return None;
        }
        let wait = jitter.up_to(doubled(self.base, progress.retries - 1, self.cap));
        Some(match outcome {
            Outcome::Retry {
                after: Some(after), ..
            }
            | Outcome::Throttled {
                after: Some(after), ..
            } => after.saturating_add(jitter.up_to(self.base)),
            _ => wait,
        })
    }

    /// Counts an attempt without an answer. Says how long to wait, or that it was one too many.
    pub fn after_silence(&self, progress: &mut Progress, jitter: &mut Jitter) -> Option<Duration> {
        progress.unanswered = progress.unanswered.saturating_add(1);
        (progress.unanswered < self.unanswered_max)
            .then(|| jitter.up_to(doubled(self.base, progress.unanswered - 1, self.cap)))
    }

    /// Counts an attempt that was not sent. Says how long to wait.
    pub fn after_unsent(&self, unsent: &mut u32, jitter: &mut Jitter) -> Duration {
        *unsent = unsent.saturating_add(1);
        jitter.up_to(doubled(self.unsent_base, *unsent - 1, self.unsent_cap))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn not_now(after: Option<Duration>) -> Outcome {
        let reason = Reason::known("ServiceUnavailable");
        Outcome::Retry { reason, after }
    }

    #[test]
    fn waits_grow_to_the_cap_and_end() {
        let policy = RetryPolicy::default();
        let (mut jitter, mut progress) = (Jitter::seeded(1), Progress::default());
        let mut ceiling = policy.base;
        let mut longest = Duration::ZERO;
        for _ in 0..policy.retries_max {
            let wait = policy.after_answer(&mut progress, &not_now(None), &mut jitter);
            let wait = wait.expect("another try");
            assert!(wait <= ceiling, "{wait:?} is above {ceiling:?}");
            longest = longest.max(wait);
            ceiling = (ceiling * 2).min(policy.cap);
        }
        assert!(longest > policy.cap / 4, "{longest:?}");
        assert_eq!(
            policy.after_answer(&mut progress, &not_now(None), &mut jitter),
            None
        );
        assert_eq!(
            progress.last.as_ref().map(Reason::as_str),
            Some("ServiceUnavailable")
        );
    }

    #[test]
    fn a_retry_after_is_waited_for_in_full() {
        let policy = RetryPolicy::default();
        let after = Duration::from_secs(90);
        for seed in 0..100 {
            let (mut jitter, mut progress) = (Jitter::seeded(seed), Progress::default());
            let wait = policy.after_answer(&mut progress, &not_now(Some(after)), &mut jitter);
            let wait = wait.expect("another try");
            assert!(wait >= after && wait <= after + policy.base);
        }
    }

    #[test]
    fn silence_is_tried_again_a_few_times_and_unsent_without_end() {
        let policy = RetryPolicy::default();
        let (mut jitter, mut progress) = (Jitter::seeded(1), Progress::default());
        for _ in 1..policy.unanswered_max {
            assert!(policy.after_silence(&mut progress, &mut jitter).is_some());
        }
        assert!(policy.after_silence(&mut progress, &mut jitter).is_none());
        let mut unsent = 0;
        for _ in 0..10_000 {
            assert!(policy.after_unsent(&mut unsent, &mut jitter) <= policy.unsent_cap);
        }
        assert_eq!(progress.attempts(), policy.unanswered_max);
    }
}
