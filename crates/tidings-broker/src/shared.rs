//! What the broker's handles and its task share: the queue under a lock, and who is to be woken.

use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use tidings_model::UnixMillis;
use tidings_providers::jitter::Jitter;
use tidings_providers::{self as providers, Attempt, Client, ClientConfig, Route};
use tokio::sync::Notify;

use crate::delivery::{BrokerConfig, Delivery};
use crate::queue::{Item, ItemState, Queue, Settlement};

/// What travels through the client with a delivery.
pub(crate) struct Carried<T> {
    tag: T,
    state: ItemState,
}

pub(crate) type Carrier<C, T> = providers::Delivery<<C as ClientConfig>::Notification, Carried<T>>;
pub(crate) type Started<C, T> = providers::Started<C, Carried<T>>;
pub(crate) type Queued<C, T> = providers::Delivery<<C as ClientConfig>::Notification, T>;

pub(crate) struct Shared<C: ClientConfig, T: Send + 'static> {
    state: Mutex<State<C, T>>,
    /// Wakes the task.
    pub(crate) work: Notify,
    /// Wakes whoever waits for room.
    pub(crate) room: Notify,
    /// Wakes whoever waits for settlements.
    pub(crate) settled: Notify,
    /// Wakes whoever waits for the end.
    pub(crate) ended: Notify,
}

pub(crate) struct State<C: ClientConfig, T: Send + 'static> {
    pub(crate) queue: Queue<Queued<C, T>>,
    /// The task's; gone when it has ended.
    pub(crate) client: Weak<C::Client<Carried<T>>>,
    pub(crate) capacity: usize,
    pub(crate) connections_max: Option<usize>,
    pub(crate) replacement: Option<Started<C, T>>,
    pub(crate) stopping: bool,
    /// When stopping has to be over, if there is a limit.
    pub(crate) stop_by: Option<Instant>,
    pub(crate) in_time: bool,
    pub(crate) ended: bool,
    pub(crate) deaf: bool,
}

impl<C: ClientConfig, T: Send + 'static> Shared<C, T> {
    pub(crate) fn new(config: &BrokerConfig) -> Self {
        let mut queue = Queue::new(config.retry.clone(), config.park, Jitter::from_system());
        queue.defer(config.defer);
        queue.gather(Instant::now(), C::GATHER);
        Self {
            state: Mutex::new(State {
                queue,
                client: Weak::new(),
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
        }
    }

    /// No method leaves the state half changed, so a panic elsewhere does not spoil it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State<C, T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the queue what came of these. `outdated` ones come from a client that has been replaced.
    pub(crate) fn apply(&self, answers: &mut Vec<(Carrier<C, T>, Attempt)>, outdated: bool) {
        if answers.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut state = self.lock();
        for (carrier, attempt) in answers.drain(..) {
            let item = unload::<C, T>(carrier);
            if outdated {
                state.queue.apply_outdated(now, item, attempt);
            } else {
                state.queue.apply(now, item, attempt);
            }
        }
        self.tell(state);
    }

    /// Lets everyone know that it is over. What is in flight will not be heard of.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.stopping = true;
        state.ended = true;
        state.queue.close();
        self.tell(state);
        self.room.notify_waiters();
        self.ended.notify_waiters();
    }

    /// Wakes whoever waits for settlements, or lets them go when nobody does.
    pub(crate) fn tell(&self, mut state: MutexGuard<'_, State<C, T>>) {
        if !state.queue.has_settled() && !state.ended {
            return;
        }
        let deaf = state.deaf;
        state.discard_unheard();
        drop(state);
        if deaf {
            self.room.notify_one();
        }
        self.settled.notify_one();
    }
}

impl<C: ClientConfig, T: Send + 'static> State<C, T> {
    pub(crate) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.queue.len())
    }

    pub(crate) fn discard_unheard(&mut self) {
        if self.deaf {
            self.queue.fetch(usize::MAX).for_each(drop);
        }
    }

    pub(crate) fn take_in(
        &mut self,
        deliveries: impl Iterator<Item = Delivery<C::Notification, T>>,
    ) {
        let (now, wall) = (Instant::now(), UnixMillis::now());
        for delivery in deliveries {
            let expires = delivery.expires.map(|at| now + at.since(wall));
            let mut route = Route::default();
            route.urgent = delivery.urgent;
            let taken = Queued::<C, T> {
                token: delivery.token,
                id: delivery.id,
                notification: delivery.notification,
                route,
                tag: delivery.tag,
            };
            let item = Item::new(taken, expires, delivery.progress, delivery.urgent);
            self.queue.push(item);
        }
    }
    /// Takes back what has not left: from the queue, and what the client has not given to a connection.
    pub(crate) fn withdraw(
        &mut self,
        mut meant: impl FnMut(&T) -> bool,
    ) -> Vec<Settlement<Queued<C, T>>> {
        let mut taken = self.queue.withdraw(|delivery| meant(&delivery.tag));
        if let Some(client) = self.client.upgrade() {
            let unsent = client.withdraw(|carrier| meant(&carrier.tag.tag));
            let unsent = unsent.into_iter().map(unload::<C, T>);
            taken.extend(unsent.map(|item| self.queue.withdraw_handed_out(item)));
        }
        taken
    }
}

pub(crate) fn load<C: ClientConfig, T>(item: Item<Queued<C, T>>) -> Carrier<C, T> {
    providers::Delivery {
        token: item.delivery.token,
        id: item.delivery.id,
        notification: item.delivery.notification,
        route: item.delivery.route,
        tag: Carried {
            tag: item.delivery.tag,
            state: item.state,
        },
    }
}

pub(crate) fn unload<C: ClientConfig, T>(carrier: Carrier<C, T>) -> Item<Queued<C, T>> {
    Item {
        delivery: providers::Delivery {
            token: carrier.token,
            id: carrier.id,
            notification: carrier.notification,
            route: carrier.route,
            tag: carrier.tag.tag,
        },
        state: carrier.tag.state,
    }
}
