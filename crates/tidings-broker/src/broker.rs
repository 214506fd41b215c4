//! The broker: takes deliveries, keeps the client busy with them, and tells what became of each.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tidings_model::UnixMillis;
use tidings_providers::Attempt;
use tidings_providers::apns::{self, Answers, Client, ConfigError, Notification};
use tidings_providers::jitter::Jitter;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, sleep_until};
use tracing::{info, warn};
use uuid::Uuid;

use crate::lane::{Failure, Item, Lane, Settlement, Status};
use crate::retry::{Progress, RetryPolicy};

/// Answers taken from the client at one time.
const ANSWERS_AT_ONCE: usize = 1024;

/// Under load, fewer answers than this are not worth waking another thread for: some more may gather. The client has as
/// many deliveries again to send meanwhile as it has in flight.
const GATHERED: usize = 128;
const GATHERING: Duration = Duration::from_millis(1);

/// How a broker behaves. [`BrokerConfig::default`] gives the values named here.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// Deliveries that the broker holds at most, from being queued until what became of them is fetched; 10,000. Each
    /// takes about 200 bytes beside what its token and tag point to.
    pub queue: usize,
    /// Whether a rejected credential parks the broker until [`Broker::replace`], with nothing lost; else it fails each
    /// delivery. Yes.
    pub park: bool,
    pub retry: RetryPolicy,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            queue: 10_000,
            park: true,
            retry: RetryPolicy::default(),
        }
    }
}

/// One notification for one device.
#[derive(Clone, Debug)]
pub struct Delivery<T = ()> {
    pub notification: Arc<Notification>,
    /// The device token in hexadecimal.
    pub token: Box<str>,
    /// Goes to the provider with each attempt (`apns-id`).
    pub id: Uuid,
    /// After this it is not sent any more.
    pub expires: Option<UnixMillis>,
    /// The caller's own; comes back in [`Settled`].
    pub tag: T,
}

impl Delivery {
    /// With a random id, and without an end.
    pub fn new(notification: Arc<Notification>, token: impl Into<Box<str>>) -> Self {
        Self {
            notification,
            token: token.into(),
            id: Uuid::new_v4(),
            expires: None,
            tag: (),
        }
    }
}

/// What became of a delivery.
#[derive(Debug)]
pub struct Settled<T = ()> {
    pub notification: Arc<Notification>,
    pub token: Box<str>,
    pub id: Uuid,
    pub tag: T,
    /// Accepted by the provider, or why not.
    pub result: Result<(), Failure>,
    /// Attempts that left.
    pub attempts: u32,
}

/// The broker was stopped: it takes nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker was stopped")]
pub struct Stopped;

/// A delivery that was not queued.
#[derive(Debug, thiserror::Error)]
pub enum QueueError<T> {
    #[error("the queue is full")]
    Full(Delivery<T>),
    #[error("the broker was stopped")]
    Stopped(Delivery<T>),
}

/// How a stop went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopReport {
    /// Deliveries that the stop cut short: they come out as [`Failure::NotSent`] or [`Failure::Unanswered`].
    pub undelivered: usize,
    /// Whether all was settled before the deadline.
    pub in_time: bool,
}

/// What travels through the client with a delivery.
struct Carried<T> {
    tag: T,
    progress: Progress,
}

type Carrier<T> = apns::Delivery<Carried<T>>;
type Started<T> = (Client<Carried<T>>, Answers<Carried<T>>);

/// Takes deliveries for one provider. Dropping it lets it finish what it has.
pub struct Broker<T> {
    shared: Arc<Shared<T>>,
}

/// What became of the deliveries: each of them once. When it is dropped, the broker goes on, and nobody is told.
pub struct Events<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// Wakes the task.
    work: Notify,
    /// Wakes whoever waits for room.
    room: Notify,
    /// Wakes whoever waits for settlements.
    settled: Notify,
    /// Wakes whoever waits for the end.
    ended: Notify,
}

struct State<T> {
    lane: Lane<apns::Delivery<T>>,
    capacity: usize,
    connections_max: Option<usize>,
    replacement: Option<Started<T>>,
    stopping: bool,
    /// When stopping has to be over, if there is a limit.
    stop_by: Option<Instant>,
    in_time: bool,
    ended: bool,
    deaf: bool,
}

impl<T> Shared<T> {
    /// No method leaves the state half changed, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, answers: &mut Vec<(Carrier<T>, Attempt)>, outdated: bool) {
        if answers.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut state = self.lock();
        for (carrier, attempt) in answers.drain(..) {
            let item = unload(carrier);
            if outdated {
                state.lane.apply_outdated(now, item, attempt);
            } else {
                state.lane.apply(now, item, attempt);
            }
        }
        state.discard_unheard();
        let deaf = state.deaf;
        drop(state);
        if deaf {
            self.room.notify_one();
        } else {
            self.settled.notify_one();
        }
    }
}

impl<T> State<T> {
    fn room(&self) -> usize {
        self.capacity.saturating_sub(self.lane.len())
    }

    fn discard_unheard(&mut self) {
        if self.deaf {
            self.lane.fetch(usize::MAX).for_each(drop);
        }
    }

    /// Queues the first `count` of `deliveries`.
    fn queue(&mut self, deliveries: impl Iterator<Item = Delivery<T>>) {
        let (now, wall) = (Instant::now(), UnixMillis::now());
        for delivery in deliveries {
            let expires = delivery.expires.map(|at| now + at.since(wall));
            let delivery = apns::Delivery {
                token: delivery.token,
                id: delivery.id,
                notification: delivery.notification,
                tag: delivery.tag,
            };
            self.lane.queue(delivery, expires);
        }
    }
}

fn load<T>(item: Item<apns::Delivery<T>>) -> Carrier<T> {
    apns::Delivery {
        token: item.delivery.token,
        id: item.delivery.id,
        notification: item.delivery.notification,
        tag: Carried {
            tag: item.delivery.tag,
            progress: item.progress,
        },
    }
}

fn unload<T>(carrier: Carrier<T>) -> Item<apns::Delivery<T>> {
    Item {
        delivery: apns::Delivery {
            token: carrier.token,
            id: carrier.id,
            notification: carrier.notification,
            tag: carrier.tag.tag,
        },
        progress: carrier.tag.progress,
    }
}

impl<T: Send + 'static> Broker<T> {
    /// Starts on the current tokio runtime. Nothing is connected until the first delivery is queued.
    pub fn start(
        apns: apns::Config,
        config: BrokerConfig,
    ) -> Result<(Self, Events<T>), ConfigError> {
        let (client, answers) = Client::start(apns)?;
        let lane = Lane::new(config.retry, config.park, Jitter::from_system());
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                lane,
                capacity: config.queue.max(1),
                connections_max: None,
                replacement: None,
                stopping: false,
                stop_by: None,
                in_time: true,
                ended: false,
                deaf: false,
            }),
            work: Notify::new(),
            room: Notify::new(),
            settled: Notify::new(),
            ended: Notify::new(),
        });
        tokio::spawn(run(Arc::clone(&shared), client, answers));
        let events = Events {
            shared: Arc::clone(&shared),
        };
        Ok((Self { shared }, events))
    }

    /// Queues `delivery` if there is room.
    pub fn try_queue(&self, delivery: Delivery<T>) -> Result<(), QueueError<T>> {
        let mut state = self.shared.lock();
        if state.stopping {
            return Err(QueueError::Stopped(delivery));
        }
        if state.room() == 0 {
            return Err(QueueError::Full(delivery));
        }
        state.queue(std::iter::once(delivery));
        drop(state);
        self.shared.work.notify_one();
        Ok(())
    }

    /// Queues `delivery` when there is room; somebody has to fetch events meanwhile. Not cancel safe: a delivery whose
    /// queueing is cancelled is dropped.
    pub async fn queue(&self, delivery: Delivery<T>) -> Result<(), QueueError<T>> {
        let mut one = vec![delivery];
        let queued = self.queue_many(&mut one).await;
        match (queued, one.pop()) {
            (Err(Stopped), Some(back)) => Err(QueueError::Stopped(back)),
            _ => Ok(()),
        }
    }

    /// Queues all `deliveries` in order, as room comes free. Cancel safe: those that are not queued stay in `deliveries`,
    /// also when the broker is stopped.
    pub async fn queue_many(&self, deliveries: &mut Vec<Delivery<T>>) -> Result<(), Stopped> {
        while !deliveries.is_empty() {
            let room = self.shared.room.notified();
            {
                let mut state = self.shared.lock();
                if state.stopping {
                    return Err(Stopped);
                }
                let count = state.room().min(deliveries.len());
                state.queue(deliveries.drain(..count));
            }
            self.shared.work.notify_one();
            if !deliveries.is_empty() {
                room.await;
            }
        }
        // Another may be waiting for the rest of the room.
        self.shared.room.notify_one();
        Ok(())
    }

    /// Connections at most from now on.
    pub fn set_scale(&self, connections_max: usize) {
        self.shared.lock().connections_max = Some(connections_max);
        self.shared.work.notify_one();
    }

    /// Goes on with another credential or another way to reach the provider. Nothing is lost: what has left is waited for
    /// on the old connections, all else goes to the new ones, and a parked broker resumes.
    pub fn replace(&self, apns: apns::Config) -> Result<(), ConfigError> {
        let replacement = Client::start(apns)?;
        self.shared.lock().replacement = Some(replacement);
        self.shared.work.notify_one();
        Ok(())
    }

    pub fn status(&self) -> Status {
        self.shared.lock().lane.status()
    }

    /// Takes no more deliveries and settles those it has, by the deadline: what is not answered `within` that time comes
    /// out as [`Failure::NotSent`] or [`Failure::Unanswered`], and so does at once what waits behind a rejected credential.
    /// When this returns, all settlements lie ready in [`Events`].
    pub async fn stop(&self, within: Duration) -> StopReport {
        let by = Instant::now().checked_add(within);
        {
            let mut state = self.shared.lock();
            state.stopping = true;
            state.stop_by = [state.stop_by, by].into_iter().flatten().min();
        }
        self.shared.work.notify_one();
        self.shared.room.notify_waiters();
        loop {
            let ended = self.shared.ended.notified();
            {
                let state = self.shared.lock();
                if state.ended {
                    return StopReport {
                        undelivered: state.lane.cut_short(),
                        in_time: state.in_time,
                    };
                }
            }
            ended.await;
        }
    }
}

impl<T> Drop for Broker<T> {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.work.notify_one();
    }
}

impl<T> Events<T> {
    /// Waits for settlements and fetches up to `max` of them into `into`. Zero says that the broker has stopped and all
    /// has been fetched. Cancel safe.
    pub async fn recv_many(&mut self, into: &mut Vec<Settled<T>>, max: usize) -> usize {
        loop {
            let settled = self.shared.settled.notified();
            let (count, ended) = {
                let mut state = self.shared.lock();
                let before = into.len();
                into.extend(state.lane.fetch(max).map(Settled::from));
                (into.len() - before, state.ended)
            };
            if count > 0 {
                self.shared.room.notify_one();
                return count;
            }
            if ended {
                return 0;
            }
            settled.await;
        }
    }
}

/// Clients whose credential was replaced, each with the task that takes in what still comes back from it.
type Retired<T> = Vec<(Client<Carried<T>>, JoinHandle<()>)>;

async fn run<T: Send + 'static>(
    shared: Arc<Shared<T>>,
    mut client: Client<Carried<T>>,
    mut answers: Answers<Carried<T>>,
) {
    let mut retired: Retired<T> = Vec::new();
    let mut answered = Vec::new();
    let mut outgoing = VecDeque::new();
    loop {
        shared.apply(&mut answered, false);
        let now = Instant::now();
        let (timeout, ended, news, in_flight) = {
            let mut state = shared.lock();
            if let Some((next_client, next_answers)) = state.replacement.take() {
                let old_client = std::mem::replace(&mut client, next_client);
                let old_answers = std::mem::replace(&mut answers, next_answers);
                old_client.retire();
                let settling = tokio::spawn(settle_outdated(Arc::clone(&shared), old_answers));
                retired.retain(|(_, settling)| !settling.is_finished());
                retired.push((old_client, settling));
                state.lane.unpark();
                info!("APNs credential replaced; what had left is awaited on the old connections");
            }
            if let Some(connections_max) = state.connections_max.take() {
                client.set_connections_max(connections_max);
            }
            state.lane.handle_timeout(now);
            if state.stopping {
                let late = state.stop_by.is_some_and(|by| by <= now);
                if late && state.in_time && state.lane.unsettled() > 0 {
                    state.in_time = false;
                    client.abandon();
                    retired.iter().for_each(|(old, _)| old.abandon());
                }
                if late || state.lane.is_parked() {
                    state.lane.close();
                }
            }
            while outgoing.len() < client.room()
                && let Some(item) = state.lane.next(now)
            {
                outgoing.push_back(load(item));
            }
            let ended = state.stopping && state.lane.unsettled() == 0;
            state.ended = ended;
            state.discard_unheard();
            let stop_by = state.stop_by.filter(|_| state.in_time);
            let timeout = [state.lane.poll_timeout(), stop_by]
                .into_iter()
                .flatten()
                .min();
            (
                timeout,
                ended,
                state.lane.has_settled(),
                state.lane.in_flight(),
            )
        };
        if news || ended {
            shared.settled.notify_one();
        }
        if ended {
            break;
        }
        client.try_submit_many(&mut outgoing);
        let until = timeout.unwrap_or(now).into();
        // Each arm is cancel safe: answers that were not fetched stay where they are.
        tokio::select! {
            () = shared.work.notified() => {}
            count = answers.recv_many(&mut answered, ANSWERS_AT_ONCE) => {
                if count == 0 {
                    warn!("the APNs client ended by itself; its broker stops");
                    break;
                }
                if count < GATHERED && in_flight > 4 * GATHERED {
                    sleep(GATHERING).await;
                    answers.try_recv_many(&mut answered, ANSWERS_AT_ONCE);
                }
            }
            () = sleep_until(until), if timeout.is_some() => {}
        }
    }
    {
        let mut state = shared.lock();
        state.stopping = true;
        state.ended = true;
        state.lane.close();
    }
    shared.settled.notify_one();
    shared.room.notify_waiters();
    shared.ended.notify_waiters();
    // The connections say goodbye.
    drop(client);
    while answers.recv_many(&mut answered, ANSWERS_AT_ONCE).await > 0 {
        answered.clear();
    }
}

/// Takes in what comes back from a client that has been replaced.
async fn settle_outdated<T>(shared: Arc<Shared<T>>, mut answers: Answers<Carried<T>>) {
    let mut answered = Vec::new();
    while answers.recv_many(&mut answered, ANSWERS_AT_ONCE).await > 0 {
        shared.apply(&mut answered, true);
        shared.work.notify_one();
    }
}

impl<T> Drop for Events<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.deaf = true;
        state.discard_unheard();
        drop(state);
        self.shared.room.notify_one();
    }
}

impl<T> From<Settlement<apns::Delivery<T>>> for Settled<T> {
    fn from(settlement: Settlement<apns::Delivery<T>>) -> Self {
        let delivery = settlement.delivery;
        Self {
            notification: delivery.notification,
            token: delivery.token,
            id: delivery.id,
            tag: delivery.tag,
            result: settlement.result,
            attempts: settlement.attempts,
        }
    }
}
