//! The queue: what becomes of each delivery to one provider, without a clock, a socket or a task.
//!
//! A delivery is ready, waiting for its next try, in flight, or settled. The queue hands out ready ones
//! ([`Queue::next`]), is told what came of each ([`Queue::apply`]), and settles every one of them once. A delivery that
//! the provider does not want now waits alone; when many in a row fare so, the queue pauses. A credential that is
//! rejected parks the queue until it is replaced, and what was refused for its sake is ready again. Who does not want to
//! hold what waits for long sets [`Queue::defer`]: then it comes back to be put away.

use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use tidings_model::{Outcome, ProviderId, Reason};
use tidings_providers::jitter::Jitter;
use tidings_providers::{Attempt, Cause};

use crate::park::Park;
use crate::pause::Pause;
use crate::ready::Ready;
use crate::retry::{Progress, RetryPolicy};
pub use crate::settlement::{Failure, Settlement};
use crate::waiting::Waiting;

/// Between two looks for deliveries whose time is over.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// A delivery in the queue, or on its way to the provider and back.
#[derive(Debug)]
pub struct Item<D> {
    /// What was queued.
    pub delivery: D,
    pub(crate) state: ItemState,
}

/// What the queue knows of a delivery.
#[derive(Debug, Default)]
pub(crate) struct ItemState {
    /// After this nobody wants it any more.
    pub(crate) expires: Option<Instant>,
    /// What came of it, it owes to a credential that had been replaced.
    pub(crate) outdated: bool,
    /// Whether it is in flight to find out if a rejected credential is good again.
    probe: bool,
    pub(crate) progress: Progress,
    /// Attempts that did not leave.
    unsent: u32,
    pub(crate) urgent: bool,
}

impl ItemState {
    fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

impl<D> Item<D> {
    /// A delivery that goes on where `progress` stands, and that nobody wants any more after `expires`. An urgent one goes
    /// ahead of those that are not.
    pub fn new(delivery: D, expires: Option<Instant>, progress: Progress, urgent: bool) -> Self {
        let state = ItemState {
            expires,
            progress,
            urgent,
            ..ItemState::default()
        };
        Self { delivery, state }
    }
}

/// What is where in a queue.
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

impl Status {
    /// Whether a rejected credential keeps everything back while something is there to ask with whether it still does:
    /// whatever is queued now would have to wait, or be put away again.
    pub fn is_held_up(&self) -> bool {
        self.parked.is_some() && self.in_flight + self.queued + self.waiting > 0
    }
}

/// Whether a delivery is to come back instead of being tried again.
pub type Recall<D> = Box<dyn Fn(&D) -> bool + Send>;

/// The deliveries to one provider, and what becomes of each; see the [module](self).
pub struct Queue<D> {
    policy: RetryPolicy,
    /// Whether a rejected credential parks the queue; else it fails the delivery.
    parks: bool,
    /// What would wait for longer than this is put away.
    defer: Option<Duration>,
    /// What is not to be tried again from here.
    recalled: Option<Recall<D>>,
    /// What waits comes at one of these moments, counted from the beginning: together with others.
    gather: Option<(Instant, Duration)>,
    jitter: Jitter,
    ready: Ready<D>,
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

impl<D> Queue<D> {
    /// An empty queue. `parks` says whether a rejected credential parks it or fails the delivery.
    pub fn new(policy: RetryPolicy, parks: bool, jitter: Jitter) -> Self {
        Self {
            policy,
            parks,
            defer: None,
            recalled: None,
            gather: None,
            jitter,
            ready: Ready::default(),
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

    /// Puts away what would wait for longer than `wait`, as [`Failure::Deferred`]: a delivery that the provider wants later
    /// than that, and all but one of those that stand behind a credential that has been rejected for so long. What was not
    /// sent is not put away: its waits are short, and an outage is everybody's. None, as at first, puts nothing away.
    pub fn defer(&mut self, wait: Option<Duration>) {
        self.defer = wait;
    }

    /// What `is_recalled` when it comes back from an attempt is not tried again, but put away, as [`Failure::Deferred`]. None, as
    /// at first, is nothing.
    pub fn recall(&mut self, is_recalled: Option<Recall<D>>) {
        self.recalled = is_recalled;
    }

    fn is_recalled(&self, item: &Item<D>) -> bool {
        let recalled = self.recalled.as_ref();
        recalled.is_some_and(|is_recalled| is_recalled(&item.delivery))
    }

    /// Has what waits come back together with what else is due within `span` from `now` on: for a provider that takes many
    /// in one request. Zero, as at first, does not.
    pub fn gather(&mut self, now: Instant, span: Duration) {
        self.gather = (!span.is_zero()).then_some((now, span));
    }

    /// All that the queue holds, settled and not yet fetched included.
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

    /// Handed out by [`Queue::next`], and not yet back.
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

    /// Deliveries that were cut short because the queue was closed.
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

    /// Takes a delivery.
    pub fn push(&mut self, item: Item<D>) {
        item.state
            .expires
            .into_iter()
            .for_each(|at| self.sweep_by(at));
        self.ready.push_back(item);
    }

    /// The next delivery to be sent at `now`, if there is one; it is in flight until [`Queue::apply`].
    pub fn next(&mut self, now: Instant) -> Option<Item<D>> {
        let waits = |park: &Park| park.probe_at().is_none_or(|at| at > now);
        if self.parked.as_ref().is_some_and(waits) || self.pause.is_on(now) {
            return None;
        }
        while let Some(mut item) = self.ready.pop_front() {
            if !item.state.is_expired(now) {
                if let Some(park) = &mut self.parked {
                    park.probe();
                    item.state.probe = true;
                }
                self.in_flight += 1;
                return Some(item);
            }
            self.expire(item);
        }
        None
    }

    /// What came of a delivery that [`Queue::next`] handed out; of each once, or the count of those in flight is wrong.
    pub fn apply(&mut self, now: Instant, mut item: Item<D>, attempt: Attempt) {
        self.in_flight -= 1;
        if std::mem::take(&mut item.state.probe)
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

    /// As [`Queue::apply`], for an attempt with a credential that has been replaced meanwhile: what may be its fault says
    /// nothing about the new one, which is to try again.
    pub fn apply_outdated(&mut self, now: Instant, mut item: Item<D>, attempt: Attempt) {
        item.state.outdated = true;
        match attempt {
            Attempt::Answered(
                Outcome::CredentialRejected { reason }
                | Outcome::Unregistered {
                    certain: false,
                    reason,
                    ..
                },
            ) => {
                self.in_flight -= 1;
                if self.closed {
                    self.stop(item, Cause::NotNow(reason));
                } else {
                    self.put_back(item);
                }
            }
            Attempt::NotSent(Cause::Shutdown) if !self.closed => {
                self.in_flight -= 1;
                self.put_back(item);
            }
            attempt => self.apply(now, item, attempt),
        }
    }

    fn answered(&mut self, now: Instant, mut item: Item<D>, outcome: Outcome) {
        match outcome {
            Outcome::Accepted { id } => {
                self.pause.succeeded();
                self.settle(item, Ok(id), 1);
            }
            Outcome::PayloadRejected { .. } | Outcome::Unregistered { .. } => {
                self.pause.succeeded();
                self.settle(item, Err(Failure::Refused(outcome)), 1);
            }
            Outcome::QuotaSpent(spent) => {
                let progress = &mut item.state.progress;
                progress.retries = progress.retries.saturating_add(1);
                progress.last = Some(spent.reason.clone());
                self.settle(item, Err(Failure::QuotaSpent(spent)), 0);
            }
            Outcome::CredentialRejected { .. } if !self.parks => {
                self.settle(item, Err(Failure::Refused(outcome)), 1);
            }
            Outcome::CredentialRejected { reason } => {
                item.state.progress.last = Some(reason.clone());
                if self.closed {
                    return self.stop(item, Cause::NotNow(reason));
                }
                if self.parked.is_none() {
                    self.parked = Some(Park::new(reason, now, &mut self.jitter));
                }
                self.put_back(item);
            }
            Outcome::Retry { ref reason, .. } | Outcome::Throttled { ref reason, .. } => {
                if matches!(outcome, Outcome::Retry { .. }) {
                    self.pause.failed(now, &mut self.jitter);
                }
                let progress = &mut item.state.progress;
                let wait = self
                    .policy
                    .after_answer(progress, &outcome, &mut self.jitter);
                match wait {
                    Some(_) if self.closed => {
                        let cause = Cause::NotNow(reason.clone());
                        self.stop(item, cause);
                    }
                    Some(wait) => self.wait(now, wait, item),
                    None => self.settle(item, Err(Failure::GivenUp(outcome)), 0),
                }
            }
        }
    }

    fn unsent(&mut self, now: Instant, mut item: Item<D>, cause: Cause) {
        if cause == Cause::Withdrawn {
            return self.settle(item, Err(Failure::Withdrawn), 0);
        }
        if matches!(cause, Cause::TooLate(_)) {
            return self.settle(item, Err(Failure::NotSent(cause)), 0);
        }
        if let Cause::QuotaSpent(spent) = cause {
            // The provider has said so of another, and that is an answer.
            item.state.progress.last = Some(spent.reason.clone());
            return self.settle(item, Err(Failure::QuotaSpent(spent)), 0);
        }
        if self.closed {
            return self.stop(item, cause);
        }
        self.pause.failed(now, &mut self.jitter);
        self.trouble = Some(cause);
        let state = &mut item.state;
        let wait = self
            .policy
            .after_unsent(&mut state.unsent, &mut self.jitter);
        // It costs nobody anything to wait until the very end.
        let wait = match state.expires {
            Some(expires) => wait.min(expires.saturating_duration_since(now)),
            None => wait,
        };
        self.put_off(now + wait, item);
    }

    fn unanswered(&mut self, now: Instant, mut item: Item<D>, cause: Cause) {
        self.pause.failed(now, &mut self.jitter);
        self.trouble = Some(cause.clone());
        let progress = &mut item.state.progress;
        let wait = self.policy.after_silence(progress, &mut self.jitter);
        match wait {
            // It has been waited for long enough.
            Some(wait) if !self.closed && self.defer.is_some() => {
                self.put_away_one(now, wait, item)
            }
            Some(wait) if !self.closed => self.wait(now, wait, item),
            _ => self.settle(item, Err(Failure::Unanswered(cause)), 0),
        }
    }

    /// Tries again after `wait`, if the delivery is still wanted then.
    fn wait(&mut self, now: Instant, wait: Duration, item: Item<D>) {
        let due = now + wait;
        if item.state.is_expired(due) {
            self.expire(item);
        } else if self.defer.is_some_and(|longest| wait > longest) {
            self.put_away_one(now, wait, item);
        } else {
            self.put_off(due, item);
        }
    }

    /// Comes back to be put away until then, if the delivery is still wanted then.
    fn put_away_one(&mut self, now: Instant, wait: Duration, item: Item<D>) {
        let due = now + wait;
        if item.state.is_expired(due) {
            self.expire(item);
        } else {
            self.settle(item, Err(Failure::Deferred { until: Some(due) }), 0);
        }
    }

    /// Ready again, before the others.
    fn put_back(&mut self, mut item: Item<D>) {
        if self.is_recalled(&item) {
            return self.settle(item, Err(Failure::Deferred { until: None }), 0);
        }
        (item.state.outdated, item.state.probe) = (false, false);
        item.state
            .expires
            .into_iter()
            .for_each(|at| self.sweep_by(at));
        self.ready.push_front(item);
    }

    fn put_off(&mut self, due: Instant, mut item: Item<D>) {
        if self.is_recalled(&item) {
            return self.settle(item, Err(Failure::Deferred { until: Some(due) }), 0);
        }
        let due = match self.gather {
            Some((from, span)) => {
                let beyond = due.saturating_duration_since(from).as_nanos() % span.as_nanos();
                let beyond = Duration::from_nanos(u64::try_from(beyond).unwrap_or(0));
                due + span.saturating_sub(beyond)
            }
            None => due,
        };
        item.state.outdated = false;
        item.state
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
        let last = item.state.progress.last.clone();
        self.settle(item, Err(Failure::Expired { last }), 0);
    }

    /// Settles what will not be tried again because the queue was closed.
    fn stop(&mut self, item: Item<D>, cause: Cause) {
        let failure = if item.state.progress.unanswered > 0 {
            Failure::Unanswered(cause)
        } else {
            Failure::NotSent(cause)
        };
        self.settle(item, Err(failure), 0);
    }

    /// `uncounted` are attempts that are not yet in the item's progress.
    fn settle(
        &mut self,
        item: Item<D>,
        result: Result<Option<ProviderId>, Failure>,
        uncounted: u32,
    ) {
        let unfinished = matches!(result, Err(Failure::NotSent(_) | Failure::Unanswered(_)));
        self.cut_short += usize::from(self.closed && unfinished);
        let (result, provider_id) = match result {
            Ok(provider_id) => (Ok(()), provider_id),
            Err(failure) => (Err(failure), None),
        };
        self.settled
            .push_back(Settlement::of(item, result, provider_id, uncounted));
    }

    /// When [`Queue::handle_timeout`] has something to do next; [`Queue::next`] may have more to give then.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = self.waiting.peek().map(|waiting| waiting.due);
        // A pause only matters to those who would go.
        let resume = self.pause.until.filter(|_| !self.ready.is_empty());
        let probe = self.parked.as_ref().and_then(Park::probe_at);
        let probe = probe.filter(|_| !self.ready.is_empty());
        [due, resume, probe, self.put_away_at(), self.sweep_at]
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
        if self.put_away_at().is_some_and(|at| at <= now) {
            self.put_away();
        }
    }

    /// When there is something to put away that stands behind a rejected credential.
    fn put_away_at(&self) -> Option<Instant> {
        let (park, longest) = self.parked.as_ref().zip(self.defer)?;
        (self.ready.len() > self.kept_ready(park)).then_some(park.since + longest)
    }

    /// One stays, to ask with whether the credential is still rejected; that which asks just now will do.
    fn kept_ready(&self, park: &Park) -> usize {
        usize::from(!park.is_probing())
    }

    fn put_away(&mut self) {
        let Some(park) = &self.parked else { return };
        let kept = self.kept_ready(park);
        for item in self.ready.split_off(kept) {
            self.settle(item, Err(Failure::Deferred { until: None }), 0);
        }
    }

    /// Takes back what is ready or waiting and `meant`.
    pub fn withdraw(&mut self, mut meant: impl FnMut(&D) -> bool) -> Vec<Settlement<D>> {
        let mut taken = self.ready.take_if(|item| meant(&item.delivery));
        let waiting = std::mem::take(&mut self.waiting).into_vec();
        let (of_these, others) = waiting
            .into_iter()
            .partition::<Vec<_>, _>(|waiting| meant(&waiting.item.delivery));
        self.waiting = others.into();
        taken.extend(of_these.into_iter().map(|waiting| waiting.item));
        taken.into_iter().map(Settlement::withdrawn).collect()
    }

    /// Takes back one that [`Queue::next`] handed out and that has not left.
    pub fn withdraw_handed_out(&mut self, item: Item<D>) -> Settlement<D> {
        self.in_flight -= 1;
        if item.state.probe
            && let Some(park) = &mut self.parked
        {
            park.unprobe();
        }
        Settlement::withdrawn(item)
    }

    fn sweep_by(&mut self, expires: Instant) {
        let soonest = self.swept_at.map(|at| at + SWEEP_EVERY);
        let at = soonest.map_or(expires, |soonest| expires.max(soonest));
        self.sweep_at = Some(self.sweep_at.map_or(at, |sweep| sweep.min(at)));
    }

    fn sweep(&mut self, now: Instant) {
        self.sweep_at = None;
        self.swept_at = Some(now);
        let expired = self.ready.take_if(|item| item.state.is_expired(now));
        expired.into_iter().for_each(|item| self.expire(item));
        if let Some(soonest) = self.ready.expires_first() {
            self.sweep_by(soonest);
        }
        for waiting in std::mem::take(&mut self.waiting).into_vec() {
            match waiting.item.state.expires {
                Some(expires) if expires <= now => self.expire(waiting.item),
                expires => {
                    expires.into_iter().for_each(|at| self.sweep_by(at));
                    self.waiting.push(waiting);
                }
            }
        }
    }

    /// The credential was replaced: a parked queue goes on.
    pub fn unpark(&mut self) {
        self.parked = None;
        self.pause = Pause::default();
    }

    /// Settles all that is not in flight, and from now on all that comes back. What has been tried in vain says why.
    pub fn close(&mut self) {
        self.closed = true;
        self.sweep_at = None;
        let ready = self.ready.split_off(0);
        let waiting = std::mem::take(&mut self.waiting).into_vec();
        let waiting = waiting.into_iter().map(|waiting| waiting.item);
        for item in ready.into_iter().chain(waiting) {
            let ItemState {
                progress, unsent, ..
            } = &item.state;
            let trouble = (self.trouble.as_ref()).filter(|_| unsent + progress.unanswered > 0);
            let cause = match (trouble, &progress.last) {
                (Some(trouble), _) => trouble.clone(),
                (None, Some(word)) => Cause::NotNow(word.clone()),
                (None, None) => Cause::Shutdown,
            };
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
