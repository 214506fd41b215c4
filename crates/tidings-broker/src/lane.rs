//! A lane: what becomes of each delivery to one provider, without a clock, a socket or a task.
//!
//! A delivery is ready, waiting for its next try, in flight, or settled. The lane hands out ready ones
//! ([`Lane::next`]), is told what came of each ([`Lane::apply`]), and settles every one of them once. A delivery that
//! the provider does not want now waits alone; when many in a row fare so, the lane pauses. A credential that is
//! rejected parks the lane until it is replaced, and what was refused for its sake is ready again.

use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use thiserror::Error;
use tidings_model::{Outcome, ProviderId, Reason};
use tidings_providers::jitter::Jitter;
use tidings_providers::{Attempt, Cause};

use crate::park::Park;
use crate::pause::Pause;
use crate::retry::{Progress, RetryPolicy};
use crate::waiting::Waiting;

/// Between two looks for deliveries whose time is over.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// A delivery and what it has behind it.
#[derive(Debug)]
pub struct Item<D> {
    /// What was queued.
    pub delivery: D,
    /// Attempts so far, and when it expires.
    pub progress: Progress,
}

/// Why a delivery was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// Its time was over before the provider took it.
    #[error("it expired{}", last.as_ref().map(|word| format!("; the last answer was {word}")).unwrap_or_default())]
    Expired {
        /// The provider's last word on it.
        last: Option<Reason>,
    },
    /// The provider wanted it later, [`RetryPolicy::retries_max`] times and once more or until the broker was stopped: its
    /// last answer.
    #[error("given up after too many answers of {}", word(.0))]
    GivenUp(Outcome),
    /// It never left: the broker was stopped first. Trying again doubles nothing.
    #[error("not sent: {0}")]
    NotSent(Cause),
    /// The provider refused it, or its address, or the credential: its answer.
    #[error("refused: {}", word(.0))]
    Refused(Outcome),
    /// It left, [`RetryPolicy::unanswered_max`] times or until the broker was stopped, and whether the provider took it
    /// is not known.
    #[error("sent, but not answered: {0}")]
    Unanswered(Cause),
}

fn word(outcome: &Outcome) -> &str {
    outcome.reason().map_or("Accepted", Reason::as_str)
}

impl Failure {
    /// The provider's own word, if it said one.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Expired { last } => last.as_ref(),
            Self::GivenUp(outcome) | Self::Refused(outcome) => outcome.reason(),
            Self::NotSent(_) | Self::Unanswered(_) => None,
        }
    }
}

/// The end of a delivery.
#[derive(Debug)]
pub struct Settlement<D> {
    /// What was queued.
    pub delivery: D,
    /// Accepted, or why not.
    pub result: Result<(), Failure>,
    /// Attempts that left.
    pub attempts: u32,
    /// The provider's own id of it, when it was accepted and the provider told one.
    pub provider_id: Option<ProviderId>,
}

/// What is where in a lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Handed out, and not yet answered.
    pub in_flight: usize,
    /// Why nothing is sent: the reason for which the provider rejects the credential.
    pub parked: Option<Reason>,
    /// Ready to be sent.
    pub queued: usize,
    /// Settled, and not yet fetched.
    pub settled: usize,
    /// Why the last attempt had no answer; none once the provider has answered again.
    pub trouble: Option<Cause>,
    /// Waiting for their next try.
    pub waiting: usize,
}

/// The deliveries to one provider, and what becomes of each; see the [module](self).
pub struct Lane<D> {
    policy: RetryPolicy,
    /// Whether a rejected credential parks the lane; else it fails the delivery.
    parks: bool,
    jitter: Jitter,
    ready: VecDeque<Item<D>>,
    waiting: BinaryHeap<Waiting<D>>,
    waited: u64,
    in_flight: usize,
    settled: VecDeque<Settlement<D>>,
    parked: Option<Park>,
    pause: Pause,
    trouble: Option<Cause>,
    /// When to look for deliveries whose time is over.
    sweep_at: Option<Instant>,
    swept_at: Option<Instant>,
    /// Nothing is tried again.
    closed: bool,
    /// How many that was the end of.
    cut_short: usize,
}

impl<D> Lane<D> {
    /// An empty lane. `parks` says whether a rejected credential parks it or fails the delivery.
    pub fn new(policy: RetryPolicy, parks: bool, jitter: Jitter) -> Self {
        Self {
            policy,
            parks,
            jitter,
            ready: VecDeque::new(),
            waiting: BinaryHeap::new(),
            waited: 0,
            in_flight: 0,
            settled: VecDeque::new(),
            parked: None,
            pause: Pause::default(),
            trouble: None,
            sweep_at: None,
            swept_at: None,
            closed: false,
            cut_short: 0,
        }
    }

    /// All that the lane holds, settled and not yet fetched included.
    pub fn len(&self) -> usize {
        self.unsettled() + self.settled.len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is still to be settled.
    pub fn unsettled(&self) -> usize {
        self.ready.len() + self.waiting.len() + self.in_flight
    }

    /// Handed out by [`Lane::next`], and not yet back.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether a rejected credential keeps everything back.
    pub fn is_parked(&self) -> bool {
        self.parked.is_some()
    }

    /// Whether there is something to fetch.
    pub fn has_settled(&self) -> bool {
        !self.settled.is_empty()
    }

    /// Deliveries that found their end because the lane was closed.
    pub fn cut_short(&self) -> usize {
        self.cut_short
    }

    /// What is where.
    pub fn status(&self) -> Status {
        Status {
            in_flight: self.in_flight,
            parked: self.parked.as_ref().map(|park| park.reason.clone()),
            queued: self.ready.len(),
            settled: self.settled.len(),
            trouble: self.trouble.clone(),
            waiting: self.waiting.len(),
        }
    }

    /// Takes a delivery that nobody wants any more after `expires`.
    pub fn queue(&mut self, delivery: D, expires: Option<Instant>) {
        if let Some(expires) = expires {
            self.sweep_by(expires);
        }
        let progress = Progress {
            expires,
            ..Progress::default()
        };
        self.ready.push_back(Item { delivery, progress });
    }

    /// The next delivery to be sent at `now`, if there is one; it is in flight until [`Lane::apply`].
    pub fn next(&mut self, now: Instant) -> Option<Item<D>> {
        let waits = |park: &Park| park.probe_at().is_none_or(|at| at > now);
        if self.parked.as_ref().is_some_and(waits) || self.pause.is_on(now) {
            return None;
        }
        while let Some(mut item) = self.ready.pop_front() {
            if !item.progress.is_expired(now) {
                if let Some(park) = &mut self.parked {
                    park.probe();
                    item.progress.probe = true;
                }
                self.in_flight += 1;
                return Some(item);
            }
            self.expire(item);
        }
        None
    }

    /// What came of a delivery that [`Lane::next`] handed out; of each once, or the count of those in flight is wrong.
    pub fn apply(&mut self, now: Instant, mut item: Item<D>, attempt: Attempt) {
        self.in_flight -= 1;
        if std::mem::take(&mut item.progress.probe)
            && let Some(park) = &mut self.parked
        {
            if shows_good_credential(&attempt) {
                self.parked = None;
            } else {
                park.probed_in_vain(now, &mut self.jitter);
            }
        }
        match attempt {
            Attempt::Answered(outcome) => {
                self.trouble = None;
                self.answered(now, item, outcome);
            }
            Attempt::NotSent(cause) => self.unsent(now, item, cause),
            Attempt::Unanswered(cause) => self.unanswered(now, item, cause),
        }
    }

    /// As [`Lane::apply`], for an attempt with a credential that has been replaced meanwhile: that this one is rejected
    /// says nothing about the new one.
    pub fn apply_outdated(&mut self, now: Instant, item: Item<D>, attempt: Attempt) {
        match attempt {
            Attempt::Answered(Outcome::CredentialRejected { .. })
            | Attempt::NotSent(Cause::Shutdown)
                if !self.closed =>
            {
                self.in_flight -= 1;
                self.put_back(item);
            }
            attempt => self.apply(now, item, attempt),
        }
    }

    fn answered(&mut self, now: Instant, mut item: Item<D>, outcome: Outcome) {
        match &outcome {
            Outcome::Accepted { id } => {
                self.pause.succeeded();
                item.progress.provider_id.clone_from(id);
                self.settle(item, Ok(()), 1);
            }
            Outcome::PayloadRejected { .. } | Outcome::Unregistered { .. } => {
                self.pause.succeeded();
                self.settle(item, Err(Failure::Refused(outcome)), 1);
            }
            Outcome::CredentialRejected { reason } => {
                if !self.parks || self.closed {
                    return self.settle(item, Err(Failure::Refused(outcome)), 1);
                }
                item.progress.last = Some(reason.clone());
                if self.parked.is_none() {
                    self.parked = Some(Park::new(reason.clone(), now, &mut self.jitter));
                }
                self.put_back(item);
            }
            Outcome::Retry { .. } | Outcome::Throttled { .. } => {
                if matches!(outcome, Outcome::Retry { .. }) {
                    self.pause.failed(now, &mut self.jitter);
                }
                let progress = &mut item.progress;
                let wait = self
                    .policy
                    .after_answer(progress, &outcome, &mut self.jitter);
                match wait {
                    Some(wait) if !self.closed => self.wait(now, wait, item),
                    _ => self.settle(item, Err(Failure::GivenUp(outcome)), 0),
                }
            }
        }
    }

    fn unsent(&mut self, now: Instant, mut item: Item<D>, cause: Cause) {
        if self.closed {
            return self.stop(item, cause);
        }
        self.pause.failed(now, &mut self.jitter);
        self.trouble = Some(cause);
        let progress = &mut item.progress;
        let wait = self.policy.after_unsent(progress, &mut self.jitter);
        // It costs nobody anything to wait until the very end.
        let wait = match progress.expires {
            Some(expires) => wait.min(expires.saturating_duration_since(now)),
            None => wait,
        };
        self.put_off(now + wait, item);
    }

    fn unanswered(&mut self, now: Instant, mut item: Item<D>, cause: Cause) {
        self.pause.failed(now, &mut self.jitter);
        self.trouble = Some(cause.clone());
        let progress = &mut item.progress;
        let wait = self.policy.after_silence(progress, &mut self.jitter);
        match wait {
            Some(wait) if !self.closed => self.wait(now, wait, item),
            _ => self.settle(item, Err(Failure::Unanswered(cause)), 0),
        }
    }

    /// Tries again after `wait`, if the delivery is still wanted then.
    fn wait(&mut self, now: Instant, wait: Duration, item: Item<D>) {
        let due = now + wait;
        if item.progress.is_expired(due) {
            self.expire(item);
        } else {
            self.put_off(due, item);
        }
    }

    /// Ready again, before the others.
    fn put_back(&mut self, mut item: Item<D>) {
        item.progress.probe = false;
        item.progress
            .expires
            .into_iter()
            .for_each(|at| self.sweep_by(at));
        self.ready.push_front(item);
    }

    fn put_off(&mut self, due: Instant, item: Item<D>) {
        item.progress
            .expires
            .into_iter()
            .for_each(|at| self.sweep_by(at));
        self.waited += 1;
        self.waiting.push(Waiting {
            due,
            order: self.waited,
            item,
        });
    }

    fn expire(&mut self, item: Item<D>) {
        let last = item.progress.last.clone();
        self.settle(item, Err(Failure::Expired { last }), 0);
    }

    /// Settles what will not be tried again because the lane was closed.
    fn stop(&mut self, item: Item<D>, cause: Cause) {
        let failure = if item.progress.unanswered > 0 {
            Failure::Unanswered(cause)
        } else {
            Failure::NotSent(cause)
        };
        self.settle(item, Err(failure), 0);
    }

    /// `uncounted` are attempts that are not yet in the item's progress.
    fn settle(&mut self, item: Item<D>, result: Result<(), Failure>, uncounted: u32) {
        let unfinished = matches!(
            result,
            Err(Failure::NotSent(_) | Failure::Unanswered(_) | Failure::GivenUp(_))
        );
        self.cut_short += usize::from(self.closed && unfinished);
        self.settled.push_back(Settlement {
            attempts: item.progress.attempts() + uncounted,
            delivery: item.delivery,
            provider_id: item.progress.provider_id,
            result,
        });
    }

    /// When [`Lane::handle_timeout`] has something to do next; [`Lane::next`] may have more to give then.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = self.waiting.peek().map(|waiting| waiting.due);
        // A pause only matters to those who would go.
        let resume = self.pause.until.filter(|_| !self.ready.is_empty());
        let probe = self.parked.as_ref().and_then(Park::probe_at);
        let probe = probe.filter(|_| !self.ready.is_empty());
        [due, resume, probe, self.sweep_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Makes ready what is due at `now`, and settles what has expired.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.pause.until.is_some_and(|until| until <= now) {
            self.pause.until = None;
        }
        while self.waiting.peek().is_some_and(|first| first.due <= now)
            && let Some(waiting) = self.waiting.pop()
        {
            self.ready.push_back(waiting.item);
        }
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep(now);
        }
    }

    fn sweep_by(&mut self, expires: Instant) {
        let soonest = self.swept_at.map(|at| at + SWEEP_EVERY);
        let at = soonest.map_or(expires, |soonest| expires.max(soonest));
        self.sweep_at = Some(self.sweep_at.map_or(at, |sweep| sweep.min(at)));
    }

    fn sweep(&mut self, now: Instant) {
        self.sweep_at = None;
        self.swept_at = Some(now);
        for item in std::mem::take(&mut self.ready) {
            match item.progress.expires {
                Some(expires) if expires <= now => self.expire(item),
                expires => {
                    expires.into_iter().for_each(|at| self.sweep_by(at));
                    self.ready.push_back(item);
                }
            }
        }
        for waiting in std::mem::take(&mut self.waiting).into_vec() {
            match waiting.item.progress.expires {
                Some(expires) if expires <= now => self.expire(waiting.item),
                expires => {
                    expires.into_iter().for_each(|at| self.sweep_by(at));
                    self.waiting.push(waiting);
                }
            }
        }
    }

    /// The credential was replaced: a parked lane goes on.
    pub fn unpark(&mut self) {
        self.parked = None;
        self.pause = Pause::default();
    }

    /// Settles all that is not in flight, and from now on all that comes back. What has been tried in vain says why.
    pub fn close(&mut self) {
        self.closed = true;
        self.sweep_at = None;
        let ready = std::mem::take(&mut self.ready).into_iter();
        let waiting = std::mem::take(&mut self.waiting).into_vec();
        for item in ready.chain(waiting.into_iter().map(|waiting| waiting.item)) {
            let tried = item.progress.unsent + item.progress.unanswered > 0;
            let trouble = self.trouble.as_ref().filter(|_| tried);
            let cause = trouble.cloned().unwrap_or(Cause::Shutdown);
            self.stop(item, cause);
        }
    }

    /// Fetches up to `max` settlements, in the order in which they came about.
    pub fn fetch(&mut self, max: usize) -> impl Iterator<Item = Settlement<D>> + '_ {
        let count = self.settled.len().min(max);
        self.settled.drain(..count)
    }
}

/// Whether the provider would have said so if it did not take the credential.
fn shows_good_credential(attempt: &Attempt) -> bool {
    match attempt {
        Attempt::Answered(outcome) => !matches!(
            outcome,
            Outcome::CredentialRejected { .. } | Outcome::Retry { .. }
        ),
        Attempt::NotSent(_) | Attempt::Unanswered(_) => false,
    }
}
