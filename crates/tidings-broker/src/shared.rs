//! What the broker's handles and its task share: the lane under a lock, and who is to be woken.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tidings_model::UnixMillis;
use tidings_providers::Attempt;
use tidings_providers::apns::{self, Answers, Client};
use tidings_providers::jitter::Jitter;
use tokio::sync::Notify;

use crate::delivery::{BrokerConfig, Delivery};
use crate::lane::{Item, Lane};
use crate::retry::Progress;

/// What travels through the client with a delivery.
pub(crate) struct Carried<T> {
    tag: T,
    progress: Progress,
}

pub(crate) type Carrier<T> = apns::Delivery<Carried<T>>;
pub(crate) type Started<T> = (Client<Carried<T>>, Answers<Carried<T>>);

pub(crate) struct Shared<T> {
    state: Mutex<State<T>>,
    /// Wakes the task.
    pub(crate) work: Notify,
    /// Wakes whoever waits for room.
    pub(crate) room: Notify,
    /// Wakes whoever waits for settlements.
    pub(crate) settled: Notify,
    /// Wakes whoever waits for the end.
    pub(crate) ended: Notify,
}

pub(crate) struct State<T> {
    pub(crate) lane: Lane<apns::Delivery<T>>,
    pub(crate) capacity: usize,
    pub(crate) connections_max: Option<usize>,
    pub(crate) replacement: Option<Started<T>>,
    pub(crate) stopping: bool,
    /// When stopping has to be over, if there is a limit.
    pub(crate) stop_by: Option<Instant>,
    pub(crate) in_time: bool,
    pub(crate) ended: bool,
    pub(crate) deaf: bool,
}

impl<T> Shared<T> {
    pub(crate) fn new(config: &BrokerConfig) -> Self {
        let lane = Lane::new(config.retry.clone(), config.park, Jitter::from_system());
        Self {
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
        }
    }

    /// No method leaves the state half changed, so a panic elsewhere does not spoil it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the lane what came of these. `outdated` ones come from a client that has been replaced.
    pub(crate) fn apply(&self, answers: &mut Vec<(Carrier<T>, Attempt)>, outdated: bool) {
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
        self.tell(state);
    }

    /// Wakes whoever waits for settlements, or lets them go when nobody does.
    pub(crate) fn tell(&self, mut state: MutexGuard<'_, State<T>>) {
        if !state.lane.has_settled() && !state.ended {
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

impl<T> State<T> {
    pub(crate) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.lane.len())
    }

    pub(crate) fn discard_unheard(&mut self) {
        if self.deaf {
            self.lane.fetch(usize::MAX).for_each(drop);
        }
    }

    pub(crate) fn queue(&mut self, deliveries: impl Iterator<Item = Delivery<T>>) {
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

pub(crate) fn load<T>(item: Item<apns::Delivery<T>>) -> Carrier<T> {
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

pub(crate) fn unload<T>(carrier: Carrier<T>) -> Item<apns::Delivery<T>> {
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
