//! What lies between the client's user and its connections: deliveries that wait for a stream, and answers that wait
//! to be fetched. One lock, taken once for a batch.
//!
//! The bound is on all that the client holds: a delivery counts from the moment it is taken in until its answer is
//! fetched. So neither side can overflow and no connection ever waits for room for an answer.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tidings_model::Outcome;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::apns::credential::CredentialKind;
use crate::apns::jobs::{Job, Jobs};
use crate::apns::notification::Notification;
use crate::attempt::{Attempt, Cause};

/// One notification for one device. The token is in hexadecimal, 1 to 400 digits (Apple: make no assumption about its
/// length); anything else is not sent and comes back as [`Outcome::Unregistered`] `BadDeviceToken`: each such request would
/// slow the connection. The id is sent as `apns-id`, in lower case.
/// Apple: [Sending notification requests to APNs](https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns).
pub type Delivery<T> = crate::Delivery<Notification, T>;

/// How far the client is in going down; it only goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Closing {
    /// It takes deliveries.
    Open,
    /// It takes no more, and sends what it has.
    Draining,
    /// It gives back what has not been sent, and waits for the answers of what has.
    Retiring,
    /// It gives back everything.
    Abandoned,
}

pub(super) struct Queue<T> {
    credential: CredentialKind,
    state: Mutex<State<T>>,
    /// Wakes whoever waits for room.
    pub(super) room: Notify,
    /// Wakes the one that fetches answers.
    pub(super) answered: Notify,
    /// Wakes the pool: a connection may be wanted.
    pub(super) pool: Notify,
}

pub(super) struct State<T> {
    pub(super) jobs: Jobs<T>,
    pub(super) answers: VecDeque<(Delivery<T>, Attempt)>,
    /// Taken in and not yet fetched.
    held: usize,
    pub(super) streams_max: usize,
    pub(super) connections_max: usize,
    /// Connections that take jobs.
    pub(super) live: usize,
    /// A connection has next to no streams left and jobs wait.
    pub(super) crowded: bool,
    /// Jobs wait that avoid the only connection there is.
    avoided: bool,
    /// Connections could not be opened; until then there are no others than those that there are.
    no_others_until: Option<Instant>,
    /// Connections in a row that were given up because they answered 5xx to everything.
    sick: u32,
    pub(super) closing: Closing,
    /// No connection is left and none will come: the answers that lie here are the last.
    pub(super) ended: bool,
    /// Nobody will fetch answers.
    deaf: bool,
    /// Connections since their last visit, to be woken when there is something for them.
    visitors: Vec<Visitor>,
}

struct Visitor {
    connection: u64,
    /// Streams it could open.
    free: usize,
    waker: Waker,
}

impl<T> State<T> {
    /// How many deliveries may still be taken in.
    pub(super) fn room(&self) -> usize {
        if self.closing > Closing::Open {
            return 0;
        }
        (2 * self.streams_max * self.connections_max).saturating_sub(self.held)
    }

    /// Gives every delivery that waits back, with `attempt`.
    pub(super) fn give_back_all(&mut self, attempt: &Attempt) {
        while let Some(job) = self.jobs.pop_front() {
            self.answers.push_back((job.delivery, attempt.clone()));
        }
        self.drop_unheard();
    }

    /// Wakes as many connections as it takes to carry what waits.
    fn wake_for_jobs(&mut self) {
        let mut waiting = self.jobs.len();
        while waiting > 0
            && let Some(at) = self.visitors.iter().position(|visitor| visitor.free > 0)
        {
            let visitor = self.visitors.swap_remove(at);
            waiting = waiting.saturating_sub(visitor.free);
            visitor.waker.wake();
        }
    }

    /// Wakes every connection, because something else than the jobs changed.
    fn wake_all(&mut self) {
        self.visitors
            .drain(..)
            .for_each(|visitor| visitor.waker.wake());
    }

    /// How many more connections should be opened.
    pub(super) fn wants_connections(&self) -> usize {
        if self.jobs.is_empty() {
            return 0;
        }
        if self.live == 0 {
            return 1;
        }
        let room = self.connections_max.saturating_sub(self.live);
        if self.crowded {
            room.min(self.jobs.len().div_ceil(self.streams_max))
        } else {
            room.min(usize::from(self.avoided))
        }
    }

    /// Whether what avoids a connection can wait for another one.
    fn has_others(&self) -> bool {
        let could_open = || (self.no_others_until).is_none_or(|until| until <= Instant::now());
        self.live > 1 || (self.connections_max > 1 && could_open())
    }

    fn take_in(&mut self, brought: &mut Exchange<T>) {
        self.answers.extend(brought.answers.drain(..));
        for job in brought.unprocessed.drain(..).rev() {
            self.jobs.push_front(job);
        }
        if self.closing >= Closing::Retiring {
            self.give_back_all(&Attempt::NotSent(Cause::Shutdown));
        }
        self.drop_unheard();
    }

    fn drop_unheard(&mut self) {
        if self.deaf {
            self.held -= self.answers.len();
            self.answers.clear();
        }
    }
}

/// What a connection brings along and takes with it, each time it comes.
pub(super) struct Exchange<T> {
    pub(super) answers: Vec<(Delivery<T>, Attempt)>,
    /// Unprocessed; to be sent by the next connection that has room.
    pub(super) unprocessed: Vec<Job<T>>,
    /// What it takes with it.
    pub(super) jobs: VecDeque<Job<T>>,
}

impl<T> Default for Exchange<T> {
    fn default() -> Self {
        Self {
            answers: Vec::new(),
            unprocessed: Vec::new(),
            jobs: VecDeque::new(),
        }
    }
}

impl<T> Exchange<T> {
    /// Nothing to leave at the queue.
    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty() && self.unprocessed.is_empty()
    }

    /// Turns the jobs that were taken into unprocessed ones.
    pub(super) fn give_jobs_back(&mut self) {
        self.unprocessed.extend(self.jobs.drain(..));
    }
}

/// What the queue tells a connection.
pub(super) struct Reply {
    pub(super) closing: Closing,
    /// There are more connections than there should be: this one is to go, and is not counted any more.
    pub(super) surplus: bool,
}

/// What a connection says of itself when it comes for jobs.
pub(super) struct Standing<'a> {
    pub(super) connection: u64,
    /// Streams it could open now; none when it takes no more jobs.
    pub(super) free: usize,
    /// Whether anything else than a 5xx has been answered since its last visit.
    pub(super) well: bool,
    /// Whether it has joined, and not left.
    pub(super) takes_jobs: bool,
    /// Whether fewer than a tenth of its streams are free.
    pub(super) crowded: bool,
    pub(super) waker: &'a Waker,
}

/// After a connection that could not be opened, nothing waits for another one for so long.
const NO_OTHERS_FOR: Duration = Duration::from_secs(30);

/// The 5xx in a row after which the first connection is given up: more than one delivery's bad luck. When the next one is no
/// better, it is the provider that is sick: each gets twice as many, up to 1,024, so that an outage is no reason to connect
/// again and again.
const SICK_AFTER: u32 = 16;
const SICK_DOUBLINGS_MAX: u32 = 6;

/// Jobs that a connection takes at one time: enough to make the lock cheap, few enough to share.
const JOBS_AT_ONCE: usize = 256;

impl<T> Queue<T> {
    pub(super) fn new(
        credential: CredentialKind,
        connections_max: usize,
        streams_max: usize,
    ) -> Self {
        Self {
            credential,
            state: Mutex::new(State {
                jobs: Jobs::default(),
                answers: VecDeque::new(),
                held: 0,
                streams_max,
                connections_max,
                live: 0,
                crowded: false,
                avoided: false,
                no_others_until: None,
                sick: 0,
                closing: Closing::Open,
                ended: false,
                deaf: false,
                visitors: Vec::new(),
            }),
            room: Notify::new(),
            answered: Notify::new(),
            pool: Notify::new(),
        }
    }

    /// The lock. No method of the state leaves it half changed, so a panic elsewhere does not spoil it.
    pub(super) fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes deliveries in, in order, as many as there is room for; the rest stays in `deliveries`.
    pub(super) fn submit(&self, deliveries: &mut VecDeque<Delivery<T>>) {
        let mut state = self.lock();
        let taken = state.room().min(deliveries.len());
        if taken == 0 {
            return;
        }
        state.held += taken;
        let mut refused = false;
        for delivery in deliveries.drain(..taken) {
            if self.credential == CredentialKind::Certificate
                && !delivery.notification.push_type().takes_certificate()
            {
                state.answers.push_back((delivery, needs_token()));
                refused = true;
                continue;
            }
            state.jobs.push_back(Job {
                delivery,
                given_back: 0,
                renewed: false,
            });
        }
        state.wake_for_jobs();
        if refused {
            self.answered.notify_one();
        }
        if state.wants_connections() > 0 {
            self.pool.notify_one();
        }
    }

    /// Takes back what no connection has taken and is `meant`.
    pub(super) fn withdraw(&self, meant: impl FnMut(&Delivery<T>) -> bool) -> Vec<Delivery<T>> {
        let mut state = self.lock();
        let taken = state.jobs.take_if(meant);
        state.held -= taken.len();
        drop(state);
        if !taken.is_empty() {
            self.room.notify_one();
            // A pool that closes waits for the last job.
            self.pool.notify_one();
        }
        taken
    }

    /// Fetches up to `max` answers into `into`; says how many, and whether more can come.
    pub(super) fn fetch(
        &self,
        into: &mut Vec<(Delivery<T>, Attempt)>,
        max: usize,
    ) -> (usize, bool) {
        let mut state = self.lock();
        let count = state.answers.len().min(max);
        into.extend(state.answers.drain(..count));
        state.held -= count;
        let more = !(state.ended && state.answers.is_empty());
        drop(state);
        if count > 0 {
            self.room.notify_one();
        }
        (count, more)
    }

    /// A connection's visit: leaves answers and what was not processed, takes jobs for its free streams, and asks to be
    /// woken when there is more for it.
    pub(super) fn exchange(&self, brought: &mut Exchange<T>, standing: &Standing<'_>) -> Reply {
        let mut state = self.lock();
        let news = !brought.answers.is_empty();
        state.take_in(brought);
        if standing.well {
            state.sick = 0;
        }
        let wanted = standing.free.min(state.jobs.len()).min(JOBS_AT_ONCE);
        let choosy = wanted > 0 && state.has_others();
        let avoiding = if choosy { standing.connection } else { 0 };
        let before = brought.jobs.len();
        let avoided = state.jobs.take(wanted, avoiding, &mut brought.jobs);
        let taken = brought.jobs.len() - before;
        if wanted > 0 {
            state.avoided = avoided && state.live == 1;
        }
        state
            .visitors
            .retain(|visitor| visitor.connection != standing.connection);
        state.wake_for_jobs();
        state.visitors.push(Visitor {
            connection: standing.connection,
            free: standing.free - taken,
            waker: standing.waker.clone(),
        });
        state.crowded = !state.jobs.is_empty() && standing.crowded;
        let wanted = state.wants_connections() > 0;
        let surplus = standing.takes_jobs && state.live > state.connections_max;
        // Counted out here, under the lock: or two would go where one is too many.
        state.live -= usize::from(surplus);
        let reply = Reply {
            closing: state.closing,
            surplus,
        };
        drop(state);
        if news {
            self.answered.notify_one();
        }
        if wanted {
            self.pool.notify_one();
        }
        reply
    }

    /// A connection's last visit.
    pub(super) fn deliver(&self, brought: &mut Exchange<T>, connection: u64) {
        brought.give_jobs_back();
        let mut state = self.lock();
        state.take_in(brought);
        state
            .visitors
            .retain(|visitor| visitor.connection != connection);
        drop(state);
        self.answered.notify_one();
        self.pool.notify_one();
    }

    /// A connection takes jobs from now on.
    pub(super) fn join(&self) {
        let mut state = self.lock();
        state.live += 1;
        // It has not had its share yet.
        (state.crowded, state.avoided) = (false, false);
    }

    /// No connection could be opened: what avoids the one that there is has to make do with it for a while.
    pub(super) fn not_opened(&self) {
        let mut state = self.lock();
        state.no_others_until = Some(Instant::now() + NO_OTHERS_FOR);
        if state.avoided {
            state.avoided = false;
            state.wake_all();
        }
    }

    /// The 5xx in a row, without another answer, after which a connection is given up.
    pub(super) fn sick_after(&self) -> u32 {
        SICK_AFTER << self.lock().sick.min(SICK_DOUBLINGS_MAX)
    }

    /// A connection is given up because it answered 5xx to everything.
    pub(super) fn sickened(&self) {
        let mut state = self.lock();
        state.sick = state.sick.saturating_add(1);
    }

    /// A connection takes no more jobs.
    pub(super) fn leave(&self, connection: u64) {
        let mut state = self.lock();
        state.live -= 1;
        state
            .visitors
            .retain(|visitor| visitor.connection != connection);
        drop(state);
        self.pool.notify_one();
    }

    /// Goes on to `closing`, unless it is already further.
    pub(super) fn close(&self, closing: Closing) {
        let mut state = self.lock();
        state.closing = state.closing.max(closing);
        if state.closing >= Closing::Retiring {
            state.give_back_all(&Attempt::NotSent(Cause::Shutdown));
        }
        state.wake_all();
        drop(state);
        self.answered.notify_one();
        self.room.notify_waiters();
        self.pool.notify_one();
    }

    pub(super) fn set_connections_max(&self, connections_max: usize) {
        let mut state = self.lock();
        state.connections_max = connections_max;
        state.wake_all();
        drop(state);
        self.room.notify_one();
        self.pool.notify_one();
    }

    /// Gives all that waits back with `attempt`.
    pub(super) fn bounce(&self, attempt: &Attempt) {
        self.lock().give_back_all(attempt);
        self.answered.notify_one();
    }

    /// No answer will be fetched any more: they are let go, so that the connections can end.
    pub(super) fn deafen(&self) {
        let mut state = self.lock();
        state.deaf = true;
        state.drop_unheard();
        drop(state);
        self.close(Closing::Abandoned);
    }

    /// The last connection is gone.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        state.give_back_all(&Attempt::NotSent(Cause::Shutdown));
        drop(state);
        self.answered.notify_one();
    }
}

/// A location query that would go with a certificate: Apple takes it with a token only.
fn needs_token() -> Attempt {
    Attempt::Answered(Outcome::PayloadRejected {
        reason: tidings_model::Reason::known("TokenRequired"),
    })
}

/// What the provider would say to a token that is no hexadecimal text; there is no need to ask it, and each such
/// request would count against the connection (Apple, "Handling notification responses from APNs").
pub(super) fn malformed_token() -> Attempt {
    Attempt::Answered(Outcome::Unregistered {
        certain: true,
        reason: tidings_model::Reason::known("BadDeviceToken"),
        since: None,
    })
}
