//! What a broker asks of a provider: a configuration that a client is started from, and the client's verbs.

use std::collections::VecDeque;
use std::error::Error;
use std::time::Duration;

use tidings_model::Spent;

use crate::{Attempt, Delivery};

/// What a client of a provider is made from. Whoever is generic over providers is generic over this.
pub trait ClientConfig: Clone + Send + Sync + Sized + 'static {
    /// Connections of one client, at most.
    const CONNECTIONS_MAX: usize;
    /// As logs name the provider.
    const NAME: &'static str;
    /// What is tried again is gathered for so long, so that a provider that takes many in one request gets them so; zero
    /// where each has a request of its own.
    const GATHER: Duration;

    /// What is pushed, ready to be sent to any number of devices.
    type Notification: Send + Sync + 'static;
    /// Takes deliveries.
    type Client<T: Send + 'static>: Client<Self::Notification, T>;
    /// Gives them back.
    type Answers<T: Send + 'static>: Answers<Self::Notification, T>;
    /// What can be known to be wrong without connecting.
    type Error: Error + Send + Sync + 'static;

    /// Starts a client on the current tokio runtime, which needs I/O and time. Nothing is connected yet.
    fn start<T: Send + 'static>(self) -> Result<Started<Self, T>, Self::Error>;

    /// The configuration with another number of connections at most.
    fn with_connections_max(self, connections_max: usize) -> Self;

    /// The configuration with what is known of quotas that are used up: what they are for is not sent before they end. A
    /// provider without quotas does not heed it.
    fn with_spent(self, _: Vec<Spent>) -> Self {
        self
    }
}

/// A client that was started, and what tells of it.
pub type Started<C, T> = (
    <C as ClientConfig>::Client<T>,
    <C as ClientConfig>::Answers<T>,
);

/// Takes deliveries and gives each back once, through [`Answers`], with what came of one try; sends again by itself only what
/// the provider certainly did not process. It holds a bounded number. Dropping it lets it finish what it has.
pub trait Client<N, T>: Send + Sync + 'static {
    /// How many deliveries it would take now.
    fn room(&self) -> usize;

    /// Takes as many from the front as there is room for, and leaves the others.
    fn try_submit_many(&self, deliveries: &mut VecDeque<Delivery<N, T>>);

    /// Takes back what has certainly not begun to leave and is `meant`: it counts as never submitted. What waits with a
    /// connection for access, or for a message to be saved, has not begun; what is in a request that goes may come back as
    /// [`Cause::Withdrawn`](crate::Cause::Withdrawn) where it would have to leave once more.
    fn withdraw(&self, meant: impl FnMut(&Delivery<N, T>) -> bool) -> Vec<Delivery<N, T>>;

    /// Connections at most from now on.
    fn set_connections_max(&self, connections_max: usize);

    /// Takes no more. What has not been sent comes back as [`Attempt::NotSent`]; what has is waited for.
    fn retire(&self);

    /// Closes its connections at once; everything comes back.
    fn abandon(&self);
}

/// What comes of the deliveries of a [`Client`].
pub trait Answers<N, T>: Send + 'static {
    /// Waits for answers and fetches up to `max` of them (0 is taken as 1) into `into`, behind what is there. Says how many;
    /// zero says that the client is gone and everything has come back. Cancel safe.
    fn recv_many(
        &mut self,
        into: &mut Vec<(Delivery<N, T>, Attempt)>,
        max: usize,
    ) -> impl Future<Output = usize> + Send;

    /// Fetches up to `max` of those that are there. Says how many; zero does not say that it is over.
    fn try_recv_many(&mut self, into: &mut Vec<(Delivery<N, T>, Attempt)>, max: usize) -> usize;
}
