//! What lies between the client's user and its connections: deliveries that wait for a request, and answers that wait to be
//! fetched. All that the client holds is bounded, from a delivery's being taken in until its answer is fetched.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tidings_model::{Spent, UnixMillis};
use tokio::sync::Notify;

use crate::attempt::{Attempt, Cause};
use crate::batch::pace::Pacer;
use crate::batch::quota::Quotas;
use crate::batch::taken::Taken;
use crate::batch::{Answer, Config, Protocol};
use crate::delivery::Delivery;

/// Deliveries held for each connection: two full requests.
const HELD_FOR_EACH: usize = 2 * 1000;
/// Deliveries of other notifications that are passed over, at most, in the search for those that fit into a request.
const PASSED_OVER_MAX: usize = 64;

/// How far the client is in going down; it only goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Closing {
    Open,
    /// It takes no more, and sends what it has.
    Draining,
    /// It gives back what has not been sent, and waits for the answers of what has.
    Retiring,
    /// It gives back everything.
    Abandoned,
}

type Jobs<P, T> = VecDeque<Delivery<<P as Protocol>::Notification, T>>;

pub(super) struct Queue<P: Protocol, T> {
    state: Mutex<State<P, T>>,
    /// Wakes the one that fetches answers.
    pub(super) answered: Notify,
    /// Wakes connections that wait for jobs, or for their pace.
    pub(super) work: Notify,
    /// Wakes connections that wait for an answer, when they are to give up.
    pub(super) abandoned: Notify,
}

pub(super) struct State<P: Protocol, T> {
    urgent: Jobs<P, T>,
    others: Jobs<P, T>,
    pub(super) answers: VecDeque<(Delivery<P::Notification, T>, Attempt)>,
    /// What connections have taken, by the numbers of the batches.
    taken: HashMap<u64, Taken<Delivery<P::Notification, T>>>,
    last_taken: u64,
    held: usize,
    pacer: Pacer,
    quotas: Quotas,
    /// No message is saved before then.
    saves_spent: Option<UnixMillis>,
    /// Devices of one request: what the pace takes in a second; while nothing is saved, what goes as it is.
    paced_max: usize,
    unsaved_max: usize,
    pub(super) connections_max: usize,
    /// Connections that there are.
    pub(super) live: usize,
    /// Those of them that have nothing to do.
    pub(super) idle: usize,
    /// Those whose request is slow: they do not count against the bound.
    slow: usize,
    /// Those that get ready to take something.
    pub(super) preparing: usize,
    pub(super) closing: Closing,
    deaf: bool,
}

/// What a connection takes to send it. The deliveries themselves stay with the queue, so that they can be taken back.
pub(super) struct Batch<N> {
    /// By which the queue knows it.
    pub(super) number: u64,
    pub(super) notification: Arc<N>,
    pub(super) tokens: Vec<Box<str>>,
}

/// A request that has been out for long.
pub(super) struct Slow<'a, P: Protocol, T>(&'a Queue<P, T>);

impl<P: Protocol, T> Drop for Slow<'_, P, T> {
    fn drop(&mut self) {
        self.0.lock().slow -= 1;
    }
}

fn withheld(spent: &Spent) -> Attempt {
    Attempt::NotSent(Cause::QuotaSpent(spent.clone()))
}

/// What a connection has to do.
pub(super) enum Turn {
    /// There is something to send: it is to get ready, and then to take it. It counts as preparing from now on.
    Prepare,
    /// There is something, and it may go then.
    At(Instant),
    /// There is nothing, or others get ready for it.
    Nothing,
    /// No more is to come, or there are more connections than there should be: it is not counted any more.
    End,
}

impl<P: Protocol, T> State<P, T> {
    pub(super) fn room(&self) -> usize {
        if self.closing > Closing::Open {
            return 0;
        }
        (HELD_FOR_EACH * self.connections_max).saturating_sub(self.held)
    }

    fn waiting(&self) -> usize {
        self.urgent.len() + self.others.len()
    }

    /// Connections that should be there beside those that are, for what waits.
    pub(super) fn wants_connections(&self) -> usize {
        let room = self.live_max().saturating_sub(self.live);
        let taken_care_of = self.idle + self.preparing;
        self.requests().saturating_sub(taken_care_of).min(room)
    }

    /// Connections that there may be now: what is slow keeps nothing else from going.
    fn live_max(&self) -> usize {
        let with_slow = self.connections_max + self.slow;
        with_slow.min(Config::<P>::CONNECTIONS_MAX)
    }

    fn give_back(&mut self, attempt: &Attempt) {
        self.give_back_if(attempt, |_| true);
    }

    /// Answers those that wait and are of a class that is meant.
    fn give_back_if(&mut self, attempt: &Attempt, meant: impl Fn(&str) -> bool) {
        for jobs in [&mut self.urgent, &mut self.others] {
            for job in std::mem::take(jobs) {
                if meant(P::class(&job.notification)) {
                    self.answers.push_back((job, attempt.clone()));
                } else {
                    jobs.push_back(job);
                }
            }
        }
        self.drop_unheard();
    }

    /// Why what somebody has wanted back while it was out does not leave once more.
    fn why_not_again(&self) -> Cause {
        match self.closing >= Closing::Retiring {
            true => Cause::Shutdown,
            false => Cause::Withdrawn,
        }
    }

    fn drop_unheard(&mut self) {
        if self.deaf {
            self.held -= self.answers.len();
            self.answers.clear();
        }
    }

    /// About how many requests what waits comes to, of which the first few are counted.
    fn requests(&self) -> usize {
        let jobs = if self.urgent.is_empty() {
            &self.others
        } else {
            &self.urgent
        };
        let Some(first) = jobs.front() else { return 0 };
        let notifications = jobs.iter().take(PASSED_OVER_MAX);
        let changes = notifications
            .zip(jobs.iter().skip(1))
            .filter(|(job, next)| !Arc::ptr_eq(&job.notification, &next.notification))
            .count();
        let full = self.waiting() / self.batch_max(&first.notification);
        1 + changes + full
    }

    fn batch_max(&self, notification: &P::Notification) -> usize {
        let max = P::batch_max(notification).min(self.paced_max);
        match self.saves() {
            true => max.max(1),
            false => max.min(self.unsaved_max).max(1),
        }
    }

    /// Whether messages are saved now.
    pub(super) fn saves(&self) -> bool {
        self.saves_spent
            .is_none_or(|until| until <= UnixMillis::now())
    }

    /// Whether there is something that could be sent now.
    pub(super) fn has_jobs(&self) -> bool {
        self.waiting() > 0
    }

    /// Those that wait and go in one request: the first, and such as have its notification.
    fn take(&mut self) -> Vec<Delivery<P::Notification, T>> {
        let first = self.urgent.front().or_else(|| self.others.front());
        let Some(first) = first else {
            return Vec::new();
        };
        let notification = Arc::clone(&first.notification);
        let max = self.batch_max(&notification);
        let jobs = if self.urgent.is_empty() {
            &mut self.others
        } else {
            &mut self.urgent
        };
        let mut batch = Vec::new();
        let mut passed_over = Vec::new();
        while batch.len() < max
            && passed_over.len() < PASSED_OVER_MAX
            && let Some(job) = jobs.pop_front()
        {
            if Arc::ptr_eq(&job.notification, &notification) {
                batch.push(job);
            } else {
                passed_over.push(job);
            }
        }
        while let Some(job) = passed_over.pop() {
            jobs.push_front(job);
        }
        batch
    }
}

impl<P: Protocol, T> Queue<P, T> {
    pub(super) fn new(config: &Config<P>) -> Self {
        Self {
            state: Mutex::new(State {
                urgent: VecDeque::new(),
                others: VecDeque::new(),
                answers: VecDeque::new(),
                taken: HashMap::new(),
                last_taken: 0,
                held: 0,
                pacer: Pacer::new(config.pace, Instant::now()),
                quotas: Quotas::new(&config.spent),
                saves_spent: None,
                paced_max: config.pace.devices.map_or(usize::MAX, |devices| {
                    usize::try_from(devices).unwrap_or(usize::MAX)
                }),
                unsaved_max: (config.protocol.saving())
                    .map_or(usize::MAX, |saving| saving.unsaved_max()),
                connections_max: config.connections_max,
                live: 0,
                idle: 0,
                slow: 0,
                preparing: 0,
                closing: Closing::Open,
                deaf: false,
            }),
            answered: Notify::new(),
            work: Notify::new(),
            abandoned: Notify::new(),
        }
    }

    /// No method leaves the state half changed, so a panic elsewhere does not spoil it.
    pub(super) fn lock(&self) -> MutexGuard<'_, State<P, T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes deliveries in, as many as there is room for.
    pub(super) fn submit(&self, deliveries: &mut Jobs<P, T>) {
        let mut state = self.lock();
        let taken = state.room().min(deliveries.len());
        state.held += taken;
        let wall = UnixMillis::now();
        let before = state.answers.len();
        for delivery in deliveries.drain(..taken) {
            let class = P::class(&delivery.notification);
            if let Some(spent) = state.quotas.of(class, wall) {
                let attempt = withheld(spent);
                state.answers.push_back((delivery, attempt));
            } else if delivery.route.urgent {
                state.urgent.push_back(delivery);
            } else {
                state.others.push_back(delivery);
            }
        }
        let is_answered = state.answers.len() > before;
        state.drop_unheard();
        drop(state);
        if taken > 0 {
            self.work.notify_waiters();
        }
        if is_answered {
            self.answered.notify_one();
        }
    }

    /// A quota is used up: what waits and is of it comes back. False when that is known.
    pub(super) fn spent(&self, spent: &Spent) -> bool {
        let mut state = self.lock();
        let now = UnixMillis::now();
        if state.quotas.of(&spent.class, now) == Some(spent) {
            return false;
        }
        state.quotas.note(spent, now);
        let attempt = withheld(spent);
        state.give_back_if(&attempt, |class| {
            spent.class.is_empty() || *spent.class == *class
        });
        drop(state);
        self.work.notify_waiters();
        self.answered.notify_one();
        true
    }

    /// How many connections are to be begun for what waits; they count as there from now on.
    pub(super) fn begin(&self) -> usize {
        let mut state = self.lock();
        let begun = state.wants_connections();
        state.live += begun;
        begun
    }

    /// What a connection is to do at `now`.
    pub(super) fn turn(&self, now: Instant) -> Turn {
        let mut state = self.lock();
        if state.live > state.live_max() {
            state.live -= 1;
            return Turn::End;
        }
        if !state.has_jobs() {
            if state.closing > Closing::Open {
                state.live -= 1;
                drop(state);
                self.answered.notify_one();
                return Turn::End;
            }
            return Turn::Nothing;
        }
        let at = state.pacer.ready_at(now);
        if at > now {
            return Turn::At(at);
        }
        if state.preparing >= state.requests() {
            return Turn::Nothing;
        }
        state.preparing += 1;
        Turn::Prepare
    }

    /// What a connection that is ready sends now; nothing when it may not yet, or when it has gone elsewhere. What is left is
    /// for others, who are told of it.
    pub(super) fn take(&self, now: Instant) -> Option<Batch<P::Notification>> {
        let mut state = self.lock();
        state.preparing -= 1;
        if state.pacer.ready_at(now) > now {
            return None;
        }
        let deliveries = state.take();
        let batch = deliveries.first().map(|first| Batch {
            number: state.last_taken + 1,
            notification: Arc::clone(&first.notification),
            tokens: deliveries.iter().map(|one| one.token.clone()).collect(),
        });
        if let Some(batch) = &batch {
            state.pacer.spend(now, batch.tokens.len());
            state.last_taken = batch.number;
            state.taken.insert(batch.number, Taken::new(deliveries));
        }
        // Those that wait for something to do end when no more is to come.
        let is_news = state.has_jobs() || state.closing > Closing::Open;
        drop(state);
        if is_news {
            self.work.notify_waiters();
        }
        batch
    }

    /// How many of a part of a batch may leave.
    pub(super) fn here(&self, batch: u64, part: Range<usize>) -> usize {
        let state = self.lock();
        state.taken.get(&batch).map_or(0, |taken| taken.here(part))
    }

    /// A request goes for those of a part of a batch that may leave at this moment, by their numbers.
    pub(super) fn leave(&self, batch: u64, part: Range<usize>) -> Vec<usize> {
        let mut state = self.lock();
        let taken = state.taken.get_mut(&batch);
        taken.map_or_else(Vec::new, |taken| taken.leave(part))
    }

    /// The request that went for a batch has not been looked at: those it went for may leave again, if nobody has wanted them
    /// back.
    pub(super) fn stay(&self, batch: u64) {
        let mut state = self.lock();
        let why = state.why_not_again();
        let taken = state.taken.get_mut(&batch);
        let back = taken.map_or_else(Vec::new, |taken| taken.stay(&why));
        self.tell(state, back);
    }

    /// What came of a part of a batch.
    pub(super) fn enter(&self, batch: u64, part: Range<usize>, said: Result<Answer, Attempt>) {
        let mut state = self.lock();
        let taken = state.taken.get_mut(&batch);
        let answers = taken.map_or_else(Vec::new, |taken| taken.enter(part, said));
        self.tell(state, answers);
    }

    /// A connection is done with a batch: what it knows nothing of was cut short by `cause`.
    pub(super) fn end(&self, batch: u64, cause: &Cause) {
        let mut state = self.lock();
        if let Some(taken) = state.taken.remove(&batch) {
            self.tell(state, taken.end(cause));
        }
    }

    /// A request is slow, until what is returned is dropped.
    pub(super) fn slow(&self) -> Slow<'_, P, T> {
        self.lock().slow += 1;
        Slow(self)
    }

    /// No message is saved before then.
    pub(super) fn saves_spent(&self, until: UnixMillis) {
        self.lock().saves_spent = Some(until);
    }

    /// A request goes that was not taken for what it is: one more, or one that saves.
    pub(super) fn spend(&self, now: Instant, devices: usize) {
        self.lock().pacer.spend(now, devices);
    }

    /// What came of deliveries.
    fn tell(
        &self,
        mut state: MutexGuard<'_, State<P, T>>,
        answers: impl IntoIterator<Item = (Delivery<P::Notification, T>, Attempt)>,
    ) {
        let before = state.answers.len();
        state.answers.extend(answers);
        let is_answered = state.answers.len() > before;
        state.drop_unheard();
        drop(state);
        if is_answered {
            self.answered.notify_one();
        }
    }

    /// A connection could not get ready: all that waits comes back with `attempt`, since it would fare no better now, and
    /// whoever tries again knows when.
    pub(super) fn bounce(&self, attempt: &Attempt) {
        let mut state = self.lock();
        state.preparing -= 1;
        state.give_back(attempt);
        drop(state);
        self.work.notify_waiters();
        self.answered.notify_one();
    }

    /// Takes back what has not left and is meant: what waits, and what a connection has taken whose request has not gone yet.
    /// What is in a request that goes is not sent once more.
    pub(super) fn withdraw(
        &self,
        mut meant: impl FnMut(&Delivery<P::Notification, T>) -> bool,
    ) -> Vec<Delivery<P::Notification, T>> {
        let mut state = self.lock();
        let mut taken = Vec::new();
        for urgent in [true, false] {
            let jobs = if urgent {
                &mut state.urgent
            } else {
                &mut state.others
            };
            for job in std::mem::take(jobs) {
                if meant(&job) {
                    taken.push(job);
                } else {
                    jobs.push_back(job);
                }
            }
        }
        for batch in state.taken.values_mut() {
            taken.extend(batch.withdraw(&mut meant));
        }
        state.held -= taken.len();
        drop(state);
        self.work.notify_waiters();
        taken
    }

    /// Fetches up to `max` answers; says how many, and whether more can come.
    pub(super) fn fetch(
        &self,
        into: &mut Vec<(Delivery<P::Notification, T>, Attempt)>,
        max: usize,
    ) -> (usize, bool) {
        let mut state = self.lock();
        let count = state.answers.len().min(max);
        into.extend(state.answers.drain(..count));
        state.held -= count;
        let ended = state.closing > Closing::Open && state.live == 0 && state.held == 0;
        (count, !ended)
    }

    pub(super) fn close(&self, closing: Closing) {
        let mut state = self.lock();
        state.closing = state.closing.max(closing);
        if state.closing >= Closing::Retiring {
            let unsent = Attempt::NotSent(Cause::Shutdown);
            let batches = state.taken.values_mut();
            let here: Vec<_> = batches.flat_map(|taken| taken.withdraw(|_| true)).collect();
            let here = here.into_iter().map(|delivery| (delivery, unsent.clone()));
            state.answers.extend(here);
            state.give_back(&unsent);
        }
        let is_abandoned = state.closing == Closing::Abandoned;
        drop(state);
        self.work.notify_waiters();
        self.answered.notify_one();
        if is_abandoned {
            self.abandoned.notify_waiters();
        }
    }

    /// Nobody will fetch answers.
    pub(super) fn deafen(&self) {
        let mut state = self.lock();
        state.deaf = true;
        state.drop_unheard();
        drop(state);
        self.close(Closing::Abandoned);
    }

    pub(super) fn set_connections_max(&self, connections_max: usize) {
        self.lock().connections_max = connections_max;
        self.work.notify_waiters();
    }
}
