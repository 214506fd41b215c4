//! The client: deliveries in, answers out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tidings_model::Spent;

use crate::attempt::Attempt;
use crate::batch::access::Keeper;
use crate::batch::queue::{Closing, Queue};
use crate::batch::saving::Saves;
use crate::batch::sift::Blamed;
use crate::batch::worker::{self, Shared};
use crate::batch::{Config, ConfigError, Protocol};
use crate::client::Started;
use crate::delivery::Delivery;

/// Sends with one credential. Dropping it lets what was submitted be sent and answered.
pub struct Client<P: Protocol, T: Send + 'static> {
    shared: Arc<Shared<P, T>>,
}

/// What comes of the deliveries: each of them once. Dropping it closes the connections at once.
pub struct Answers<P: Protocol, T: Send + 'static> {
    shared: Arc<Shared<P, T>>,
}

impl<P: Protocol> crate::ClientConfig for Config<P> {
    const CONNECTIONS_MAX: usize = Self::CONNECTIONS_MAX;
    const NAME: &'static str = P::NAME;
    const GATHER: Duration = Duration::from_millis(250);

    type Notification = P::Notification;
    type Client<T: Send + 'static> = Client<P, T>;
    type Answers<T: Send + 'static> = Answers<P, T>;
    type Error = ConfigError;

    fn start<T: Send + 'static>(self) -> Result<Started<Self, T>, ConfigError> {
        self.check()?;
        let shared = Arc::new(Shared {
            blamed: Blamed::default(),
            dialer: self.dialer()?,
            keeper: Keeper::new(&self)?,
            queue: Queue::new(&self),
            saves: Saves::default(),
            config: self,
        });
        let answers = Answers {
            shared: Arc::clone(&shared),
        };
        Ok((Client { shared }, answers))
    }

    fn with_connections_max(self, connections_max: usize) -> Self {
        Self {
            connections_max,
            ..self
        }
    }

    fn with_spent(self, spent: Vec<Spent>) -> Self {
        Self { spent, ..self }
    }
}

impl<P: Protocol, T: Send + 'static> crate::Client<P::Notification, T> for Client<P, T> {
    fn room(&self) -> usize {
        self.shared.queue.lock().room()
    }

    fn try_submit_many(&self, deliveries: &mut VecDeque<Delivery<P::Notification, T>>) {
        self.shared.queue.submit(deliveries);
        worker::begin(&self.shared);
    }

    fn withdraw(
        &self,
        meant: impl FnMut(&Delivery<P::Notification, T>) -> bool,
    ) -> Vec<Delivery<P::Notification, T>> {
        self.shared.queue.withdraw(meant)
    }

    fn set_connections_max(&self, connections_max: usize) {
        let connections_max = connections_max.clamp(1, Config::<P>::CONNECTIONS_MAX);
        self.shared.queue.set_connections_max(connections_max);
    }

    fn retire(&self) {
        self.shared.queue.close(Closing::Retiring);
    }

    fn abandon(&self) {
        self.shared.queue.close(Closing::Abandoned);
    }
}

impl<P: Protocol, T: Send + 'static> Drop for Client<P, T> {
    fn drop(&mut self) {
        self.shared.queue.close(Closing::Draining);
    }
}

impl<P: Protocol, T: Send + 'static> crate::Answers<P::Notification, T> for Answers<P, T> {
    async fn recv_many(
        &mut self,
        into: &mut Vec<(Delivery<P::Notification, T>, Attempt)>,
        max: usize,
    ) -> usize {
        loop {
            let answered = self.shared.queue.answered.notified();
            match self.shared.queue.fetch(into, max.max(1)) {
                (0, true) => answered.await,
                (count, _) => return count,
            }
        }
    }

    fn try_recv_many(
        &mut self,
        into: &mut Vec<(Delivery<P::Notification, T>, Attempt)>,
        max: usize,
    ) -> usize {
        self.shared.queue.fetch(into, max).0
    }
}

impl<P: Protocol, T: Send + 'static> Drop for Answers<P, T> {
    fn drop(&mut self) {
        self.shared.queue.deafen();
    }
}
