//! The client: deliveries in, answers out, and between them a small pool of HTTP/2 connections.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::apns::config::{Config, ConfigError, check_range};
use crate::apns::connect::{Connector, Service};
use crate::apns::notification::Notification;
use crate::apns::pool;
use crate::apns::queue::{Closing, Delivery, Queue};
use crate::attempt::Attempt;
use crate::client::Started;

/// Sends to APNs with one credential, over a pool of HTTP/2 connections. It takes deliveries and, through [`Answers`],
/// gives each back once with what came of one try; it sends again by itself only what the peer certainly did not
/// process (a refused stream, what is above a GOAWAY's last id: up to 8 times) and, once, what was refused for the age
/// of the provider token. It holds at most two times its streams on all its connections: 8,000 by default; see
/// [`Client::room`].
///
/// Dropping it lets what was submitted be sent and answered, and then closes the connections.
/// Apple: [Sending notification requests to APNs](https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns), [Establishing a connection to Apple Push Notification service (APNs)](https://developer.apple.com/documentation/usernotifications/establishing-a-connection-to-apns).
///
/// # A list of devices
///
/// Submitting and fetching go on at the same time, so that the streams are always full:
///
/// ```no_run
/// use std::sync::Arc;
///
/// use tidings_providers::apns::{Answers, Client, Delivery, Notification, Route};
/// use uuid::Uuid;
///
/// async fn push(
///     client: Client<()>,
///     mut answers: Answers<()>,
///     notification: Arc<Notification>,
///     tokens: Vec<Box<str>>,
/// ) {
///     let submitting = async move {
///         for token in tokens {
///             let delivery = Delivery {
///                 token,
///                 id: Uuid::new_v4(),
///                 notification: Arc::clone(&notification),
///                 route: Route::default(),
///                 tag: (),
///             };
///             if client.submit(delivery).await.is_err() {
///                 break; // it was retired
///             }
///         }
///         // The client is dropped here: so the answers come to an end.
///     };
///     let fetching = async {
///         let mut answered = Vec::new();
///         while answers.recv_many(&mut answered, 1000).await > 0 {
///             for (delivery, attempt) in answered.drain(..) {
///                 println!("{}: {attempt:?}", delivery.token);
///             }
///         }
///     };
///     tokio::join!(submitting, fetching);
/// }
/// ```
pub struct Client<T> {
    queue: Arc<Queue<T>>,
}

/// What comes of the deliveries: each of them once, in the order in which they were settled. Dropping it closes the
/// connections at once, and what was under way is forgotten.
pub struct Answers<T> {
    queue: Arc<Queue<T>>,
    pool: JoinHandle<()>,
}

/// There is no room, or the client is closing: the delivery comes back to whoever submitted it.
#[derive(thiserror::Error)]
#[error("the client has no room, or is closing")]
pub struct Full<T>(pub Delivery<T>);

impl<T> fmt::Debug for Full<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Full").field(&self.0.id).finish()
    }
}

impl<T: Send + 'static> Client<T> {
    /// Checks the configuration and starts the pool on the current tokio runtime, which needs I/O and time. The first
    /// connection is opened when the first delivery is submitted. Fails with what can be known without connecting
    /// ([`ConfigError`]); panics outside a runtime.
    pub fn start(config: Config) -> Result<(Self, Answers<T>), ConfigError> {
        check_range(
            "connections_max",
            config.connections_max,
            Config::CONNECTIONS_MAX,
        )?;
        check_range("streams_max", config.streams_max, 100_000)?;
        let queue = Arc::new(Queue::new(
            config.credential.kind(),
            config.connections_max,
            config.streams_max,
        ));
        let connector = Connector::new(config, Service::Devices)?;
        let pool = tokio::spawn(pool::run(Arc::clone(&queue), connector));
        let answers = Answers {
            queue: Arc::clone(&queue),
            pool,
        };
        Ok((Self { queue }, answers))
    }

    /// How many deliveries can be submitted now without waiting: two times `streams_max` times `connections_max`, less
    /// what is held; only fetching answers makes it grow. Zero once it is retired or abandoned.
    pub fn room(&self) -> usize {
        self.queue.lock().room()
    }

    /// Takes `delivery` if there is room. It comes back in [`Full`] when there is none, or when the client was retired
    /// or abandoned.
    pub fn try_submit(&self, delivery: Delivery<T>) -> Result<(), Full<T>> {
        let mut one = VecDeque::from([delivery]);
        self.queue.submit(&mut one);
        one.pop_front().map_or(Ok(()), |back| Err(Full(back)))
    }

    /// Takes as many from the front of `deliveries` as there is room for and leaves the others: one lock for a page. A
    /// client that was retired or abandoned takes none.
    pub fn try_submit_many(&self, deliveries: &mut VecDeque<Delivery<T>>) {
        self.queue.submit(deliveries);
    }

    /// Takes `delivery` when there is room; somebody has to fetch answers meanwhile. It comes back in [`Full`] when the
    /// client was retired or abandoned. Not cancel safe: a delivery whose submission is cancelled is dropped.
    pub async fn submit(&self, delivery: Delivery<T>) -> Result<(), Full<T>> {
        let mut one = VecDeque::from([delivery]);
        loop {
            let room = self.queue.room.notified();
            self.queue.submit(&mut one);
            let Some(back) = one.pop_front() else {
                // Another may be waiting for the rest of the room.
                self.queue.room.notify_one();
                return Ok(());
            };
            if self.queue.lock().closing > Closing::Open {
                return Err(Full(back));
            }
            one.push_back(back);
            room.await;
        }
    }

    /// Takes back what no connection has taken yet and is `meant`: it counts as never submitted.
    pub fn withdraw(&self, meant: impl FnMut(&Delivery<T>) -> bool) -> Vec<Delivery<T>> {
        self.queue.withdraw(meant)
    }

    /// Connections from now on, 1 to [`Config::CONNECTIONS_MAX`] (what is outside is taken as the nearest). Those
    /// above it finish what they have and close.
    pub fn set_connections_max(&self, connections_max: usize) {
        self.queue
            .set_connections_max(connections_max.clamp(1, Config::CONNECTIONS_MAX));
    }

    /// Takes no more deliveries. What has not been sent comes back as [`Attempt::NotSent`]; what has is waited for, at
    /// most `answer_timeout` long. This is how to change to another credential: start a client with it, retire this
    /// one.
    pub fn retire(&self) {
        self.queue.close(Closing::Retiring);
    }

    /// Closes the connections at once; all deliveries come back, as [`Attempt::NotSent`] or [`Attempt::Unanswered`].
    pub fn abandon(&self) {
        self.queue.close(Closing::Abandoned);
    }
}

impl crate::ClientConfig for Config {
    const CONNECTIONS_MAX: usize = Self::CONNECTIONS_MAX;
    const NAME: &'static str = "APNs";
    const GATHER: Duration = Duration::ZERO;

    type Notification = Notification;
    type Client<T: Send + 'static> = Client<T>;
    type Answers<T: Send + 'static> = Answers<T>;
    type Error = ConfigError;

    fn start<T: Send + 'static>(self) -> Result<Started<Self, T>, ConfigError> {
        Client::start(self)
    }

    fn with_connections_max(self, connections_max: usize) -> Self {
        Self {
            connections_max,
            ..self
        }
    }
}

impl<T: Send + 'static> crate::Client<Notification, T> for Client<T> {
    fn room(&self) -> usize {
        self.room()
    }

    fn try_submit_many(&self, deliveries: &mut VecDeque<Delivery<T>>) {
        self.try_submit_many(deliveries);
    }

    fn withdraw(&self, meant: impl FnMut(&Delivery<T>) -> bool) -> Vec<Delivery<T>> {
        self.withdraw(meant)
    }

    fn set_connections_max(&self, connections_max: usize) {
        self.set_connections_max(connections_max);
    }

    fn retire(&self) {
        self.retire();
    }

    fn abandon(&self) {
        self.abandon();
    }
}

impl<T: Send + 'static> crate::Answers<Notification, T> for Answers<T> {
    async fn recv_many(&mut self, into: &mut Vec<(Delivery<T>, Attempt)>, max: usize) -> usize {
        self.recv_many(into, max).await
    }

    fn try_recv_many(&mut self, into: &mut Vec<(Delivery<T>, Attempt)>, max: usize) -> usize {
        self.try_recv_many(into, max)
    }
}

impl<T> Drop for Client<T> {
    fn drop(&mut self) {
        self.queue.close(Closing::Draining);
    }
}

impl<T> Answers<T> {
    /// Waits for answers and fetches up to `max` of them (0 is taken as 1) into `into`, behind what is there. Says how many;
    /// zero says that the client is gone, its connections are closed and every delivery has come back. Cancel safe.
    pub async fn recv_many(&mut self, into: &mut Vec<(Delivery<T>, Attempt)>, max: usize) -> usize {
        loop {
            let answered = self.queue.answered.notified();
            match self.queue.fetch(into, max.max(1)) {
                (0, true) => answered.await,
                (count, _) => return count,
            }
        }
    }
}

impl<T> Answers<T> {
    /// Fetches up to `max` of the answers that are there into `into`. Says how many; zero does not say that it is over.
    pub fn try_recv_many(&mut self, into: &mut Vec<(Delivery<T>, Attempt)>, max: usize) -> usize {
        self.queue.fetch(into, max).0
    }
}

impl<T> Drop for Answers<T> {
    fn drop(&mut self) {
        // Nobody is left to whom it matters what becomes of the deliveries.
        self.queue.deafen();
        self.pool.abort();
    }
}
