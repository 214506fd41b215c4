//! What goes through a provider's client.

use std::sync::Arc;

use uuid::Uuid;

/// One notification for one device.
#[derive(Debug)]
pub struct Delivery<N, T> {
    /// The device's address, in the provider's own form. What cannot be one is not sent, and comes back as
    /// [`Outcome::Unregistered`](tidings_model::Outcome::Unregistered).
    pub token: Box<str>,
    /// The same for every attempt; goes to the provider as its own id of a delivery, where it has one.
    pub id: Uuid,
    /// Shared by all deliveries of a broadcast, with what is encoded of it.
    pub notification: Arc<N>,
    /// How it goes through the client; it comes back with the answer, for the next attempt to go by another connection
    /// than one that could not.
    pub route: Route,
    /// The caller's own; comes back with the answer.
    pub tag: T,
}

/// How a delivery goes through the client. The default is for one that is new and waits for its turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// It goes ahead of what waits and is not urgent.
    pub urgent: bool,
    /// The number of the connection that last answered with a 5xx; 0 for none. Another carries the next attempt, if there
    /// is or can be one.
    pub(crate) avoids: u64,
}
