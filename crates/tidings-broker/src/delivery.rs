//! What goes into a broker and what comes out.

use std::sync::Arc;
use std::time::Duration;

use tidings_model::{ProviderId, UnixMillis};
use uuid::Uuid;

use crate::queue::{Failure, Settlement};
use crate::retry::{Progress, RetryPolicy};

/// How a broker behaves. [`BrokerConfig::default`] gives the values named here.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// Deliveries that the broker holds at most, from being queued until what became of them is fetched; 10,000 (0 is
    /// taken for 1). Each takes about 200 bytes beside what its token and tag point to.
    pub queue: usize,
    /// Whether a rejected credential parks the broker until [`Broker::replace`](crate::Broker::replace), with nothing
    /// lost; else it fails each delivery. Yes.
    pub park: bool,
    /// How often and how soon it tries again.
    pub retry: RetryPolicy,
    /// What would wait for longer than this comes out as [`Failure::Deferred`], for the caller to put away and bring back:
    /// what the provider wants later than that, and what stands behind a credential that has been rejected for so long,
    /// but for one that stays to find out if it still is. None: everything waits here, and takes room.
    pub defer: Option<Duration>,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            queue: 10_000,
            park: true,
            retry: RetryPolicy::default(),
            defer: None,
        }
    }
}

/// One notification for one device.
#[derive(Clone, Debug)]
pub struct Delivery<N, T = ()> {
    /// Shared by all deliveries of a message.
    pub notification: Arc<N>,
    /// The device's address, as the provider gave it to the device; what cannot be one is refused as that and not sent.
    pub token: Box<str>,
    /// Goes to the provider with each attempt, where it takes one (`apns-id`).
    pub id: Uuid,
    /// After this it is not handed to the provider's client any more, and settled as [`Failure::Expired`] within a second
    /// or so. What the client has by then, at most twice its streams, may still leave: `apns-expiration`, which is the
    /// notification's, makes Apple drop it. None waits for as long as it takes.
    pub expires: Option<UnixMillis>,
    /// What it has behind it, when it comes back from [`Settled::progress`]; else the default.
    pub progress: Progress,
    /// Goes ahead of those that are ready and not urgent; urgent ones keep their order.
    pub urgent: bool,
    /// The caller's own; comes back in [`Settled`].
    pub tag: T,
}

impl<N> Delivery<N> {
    /// With a random id, and without an end.
    pub fn new(notification: Arc<N>, token: impl Into<Box<str>>) -> Self {
        Self {
            notification,
            token: token.into(),
            id: Uuid::new_v4(),
            expires: None,
            progress: Progress::default(),
            urgent: false,
            tag: (),
        }
    }
}

/// What became of a delivery.
#[derive(Debug)]
pub struct Settled<T = ()> {
    /// As queued.
    pub token: Box<str>,
    /// As queued.
    pub id: Uuid,
    /// The caller's own, from [`Delivery::tag`].
    pub tag: T,
    /// Accepted by the provider, or why not.
    pub result: Result<(), Failure>,
    /// Attempts that left, those before it was put away included; those that did not are not counted.
    pub attempts: u32,
    /// Whether this is what came of an attempt with a credential that [`Broker::replace`](crate::Broker::replace) had
    /// replaced by then: then it says nothing about the present one.
    pub outdated: bool,
    /// What it has behind it: to go on with when it has not ended ([`Failure::Deferred`], [`Failure::Withdrawn`], and what
    /// a stop cut short).
    pub progress: Progress,
    /// The provider's own id of it, when it was accepted and the provider told one. Apple tells its `apns-unique-id` in
    /// the sandbox environment only; its Push Notifications Console finds the notification by it.
    pub provider_id: Option<ProviderId>,
}

/// The broker was stopped: it takes nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker was stopped")]
pub struct Stopped;

/// A delivery that was not queued, and comes back.
#[derive(Debug, thiserror::Error)]
pub enum QueueError<N, T> {
    /// [`BrokerConfig::queue`] deliveries are held. Fetch events, or wait with [`Broker::queue`](crate::Broker::queue).
    #[error("the queue is full")]
    Full(Delivery<N, T>),
    /// The broker was stopped, or its client broke down.
    #[error("the broker was stopped")]
    Stopped(Delivery<N, T>),
}

/// How a stop went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopReport {
    /// Deliveries that the stop cut short: they come out as [`Failure::NotSent`] or [`Failure::Unanswered`].
    pub undelivered: usize,
    /// Whether all was settled before the deadline.
    pub in_time: bool,
}

impl<N, T> From<Settlement<tidings_providers::Delivery<N, T>>> for Settled<T> {
    fn from(settlement: Settlement<tidings_providers::Delivery<N, T>>) -> Self {
        let delivery = settlement.delivery;
        Self {
            token: delivery.token,
            id: delivery.id,
            tag: delivery.tag,
            result: settlement.result,
            attempts: settlement.attempts,
            outdated: settlement.outdated,
            progress: settlement.progress,
            provider_id: settlement.provider_id,
        }
    }
}
