//! The broker: takes deliveries, keeps the client busy with them, and tells what became of each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_providers::ClientConfig;

use crate::delivery::{BrokerConfig, Delivery, QueueError, Settled, StopReport, Stopped};
use crate::queue::Status;
use crate::shared::{Queued, Shared};
use crate::task;

/// Takes deliveries for one provider, and tells in [`Events`] what became of each. Dropping it lets it finish what it
/// has, for as long as that takes; [`stop`](Self::stop) sets a limit.
pub struct Broker<C: ClientConfig, T: Send + 'static> {
    shared: Arc<Shared<C, T>>,
}

/// What became of the deliveries: each of them once. When it is dropped, the broker goes on, and nobody is told.
pub struct Events<C: ClientConfig, T: Send + 'static> {
    shared: Arc<Shared<C, T>>,
}

impl<C: ClientConfig, T: Send + 'static> Broker<C, T> {
    /// Starts on the current tokio runtime, which needs I/O and time. Nothing is connected until the first delivery is
    /// queued. Fails with what can be known without connecting; panics outside a runtime.
    pub fn start(provider: C, config: BrokerConfig) -> Result<(Self, Events<C, T>), C::Error> {
        let (client, answers) = provider.start()?;
        let shared = Arc::new(Shared::new(&config));
        tokio::spawn(task::run(Arc::clone(&shared), client, answers));
        let events = Events {
            shared: Arc::clone(&shared),
        };
        Ok((Self { shared }, events))
    }

    /// Queues `delivery` if there is room; it comes back in [`QueueError`] when there is none, or when the broker was
    /// stopped.
    pub fn try_queue(
        &self,
        delivery: Delivery<C::Notification, T>,
    ) -> Result<(), QueueError<C::Notification, T>> {
        let mut state = self.shared.lock();
        if state.stopping {
            return Err(QueueError::Stopped(delivery));
        }
        if state.room() == 0 {
            return Err(QueueError::Full(delivery));
        }
        state.take_in(std::iter::once(delivery));
        drop(state);
        self.shared.work.notify_one();
        Ok(())
    }

    /// Queues `delivery` when there is room; somebody has to fetch events meanwhile. It comes back in
    /// [`QueueError::Stopped`] when the broker was stopped. Not cancel safe: a delivery whose queueing is cancelled is
    /// dropped.
    pub async fn queue(
        &self,
        delivery: Delivery<C::Notification, T>,
    ) -> Result<(), QueueError<C::Notification, T>> {
        let mut one = vec![delivery];
        let queued = self.queue_many(&mut one).await;
        match (queued, one.pop()) {
            (Err(Stopped), Some(back)) => Err(QueueError::Stopped(back)),
            _ => Ok(()),
        }
    }

    /// Queues all `deliveries` in order, as room comes free. Cancel safe: those that are not queued stay in
    /// `deliveries`, also when the broker is stopped.
    pub async fn queue_many(
        &self,
        deliveries: &mut Vec<Delivery<C::Notification, T>>,
    ) -> Result<(), Stopped> {
        while !deliveries.is_empty() {
            let room = self.shared.room.notified();
            {
                let mut state = self.shared.lock();
                if state.stopping {
                    return Err(Stopped);
                }
                let count = state.room().min(deliveries.len());
                state.take_in(deliveries.drain(..count));
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

    /// Connections at most from now on, 1 to [`ClientConfig::CONNECTIONS_MAX`] (what is outside is taken as the nearest). A later
    /// [`replace`](Self::replace) brings the number of its own configuration.
    pub fn set_scale(&self, connections_max: usize) {
        self.shared.lock().connections_max = Some(connections_max);
        self.shared.work.notify_one();
    }

    /// Goes on with another credential or another way to reach the provider. Nothing is lost: what has left is waited
    /// for on the old connections, all else goes to the new ones, and a parked broker resumes. Fails as
    /// [`start`](Self::start) does, and then goes on as before.
    pub fn replace(&self, provider: C) -> Result<(), C::Error> {
        let replacement = provider.start()?;
        self.shared.lock().replacement = Some(replacement);
        self.shared.work.notify_one();
        Ok(())
    }

    /// Takes back those whose tag is `meant` and that have not left: ready, waiting, or not given to a connection yet. They
    /// come back here as [`Failure::Withdrawn`](crate::Failure::Withdrawn), and not in [`Events`]. What is in a request that goes is not sent once more by a
    /// client that has many in one: it comes in [`Events`]. Looks at all that it holds.
    pub fn withdraw(&self, meant: impl FnMut(&T) -> bool) -> Vec<Settled<T>> {
        let withdrawn = self.shared.lock().withdraw(meant);
        if !withdrawn.is_empty() {
            self.shared.work.notify_one();
            self.shared.room.notify_one();
        }
        withdrawn.into_iter().map(Settled::from).collect()
    }

    /// From now on, what `is_recalled` by its tag when it comes back from an attempt that is to be repeated is not repeated: it comes
    /// out as [`Failure::Deferred`](crate::Failure::Deferred). For those whose address may be another's by then. It is asked under
    /// the broker's lock.
    pub fn recall(&self, is_recalled: impl Fn(&T) -> bool + Send + 'static) {
        let recall = move |delivery: &Queued<C, T>| is_recalled(&delivery.tag);
        self.shared.lock().queue.recall(Some(Box::new(recall)));
    }

    /// What is where at this moment.
    pub fn status(&self) -> Status {
        self.shared.lock().queue.status()
    }

    /// Takes no more deliveries and settles those it has, by the deadline: what is not answered `within` that time
    /// comes out as [`Failure::NotSent`](crate::Failure::NotSent) or
    /// [`Failure::Unanswered`](crate::Failure::Unanswered), and so does at once what waits behind a rejected
    /// credential. When this returns, all settlements lie ready in [`Events`].
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
                        undelivered: state.queue.cut_short(),
                        in_time: state.in_time,
                    };
                }
            }
            ended.await;
        }
    }
}

impl<C: ClientConfig, T: Send + 'static> Drop for Broker<C, T> {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.work.notify_one();
    }
}

impl<C: ClientConfig, T: Send + 'static> Events<C, T> {
    /// Waits for settlements and fetches up to `max` of them (0 is taken as 1) into `into`, behind what is there. Says how
    /// many; zero says that the broker has stopped and all has been fetched. Cancel safe.
    pub async fn recv_many(&mut self, into: &mut Vec<Settled<T>>, max: usize) -> usize {
        loop {
            let settled = self.shared.settled.notified();
            let (count, ended) = {
                let mut state = self.shared.lock();
                let before = into.len();
                into.extend(state.queue.fetch(max.max(1)).map(Settled::from));
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

impl<C: ClientConfig, T: Send + 'static> Drop for Events<C, T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.deaf = true;
        state.discard_unheard();
        drop(state);
        self.shared.room.notify_one();
    }
}
