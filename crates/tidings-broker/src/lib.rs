//! A lane of deliveries to one provider: bounded queue, retry in one place, parking, drain.
//!
//! [`Broker`] is the thin task between a [`Lane`](lane::Lane), which decides what becomes of each delivery and knows no
//! clock, and the provider's client, which carries it.

mod broker;
pub mod lane;
pub mod retry;
mod service;

pub use broker::{
    Broker, BrokerConfig, Delivery, Events, QueueError, Settled, StopReport, Stopped,
};
pub use lane::{Failure, Status};
pub use retry::RetryPolicy;
pub use service::{Builder, Service};
