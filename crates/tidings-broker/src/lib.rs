//! A queue of deliveries to one provider: bounded queue, retry in one place, parking, drain. This is also the crate to
//! embed when a program wants to push by itself.
//!
//! # To push from your own program
//!
//! Open the `.p12` with its password, say what is to be called, and queue:
//!
//! ```standalone_crate
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use tidings_broker::Broker;
//! use tidings_model::Environment;
//! use tidings_providers::apns::{Config, Credential, Notification};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     # use tidings_sandbox::{Sandbox, SandboxConfig};
//!     # let sandbox = Sandbox::start(SandboxConfig::default()).await?;
//!     # let dir = std::env::temp_dir().join(format!("tidings-{}", uuid::Uuid::new_v4()));
//!     # std::fs::create_dir(&dir)?;
//!     # std::env::set_current_dir(&dir)?;
//!     # std::fs::write("push.p12", &sandbox.credentials().apns.p12)?;
//!     let credential = Credential::from_p12(&std::fs::read("push.p12")?, "sandbox")?;
//!     let config = Config::new(credential, Environment::Sandbox);
//!     # std::fs::remove_dir_all(&dir)?;
//!     # let config = Config {
//!     #     endpoint: Some(format!("https://localhost:{}", sandbox.addr().port())),
//!     #     ca: Some(sandbox.credentials().ca.as_bytes().into()),
//!     #     ..config
//!     # };
//!     let mut service = Broker::builder(config)
//!         .on_success(|delivery| println!("accepted {}", delivery.id))
//!         .on_failure(|delivery, why| println!("failed {} {}: {why}", delivery.id, delivery.token))
//!         .start()?;
//!
//!     let hello = Arc::new(Notification::alert("com.example.app", "Hello")?);
//!     let tokens = ["00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0"];
//!     service.queue_all(&hello, tokens).await?;
//!     service.set_scale(2); // connections
//!     let report = service.stop(Duration::from_secs(30)).await; // drains; `start` begins again
//!     println!("{} were cut short by the deadline", report.undelivered);
//!     # assert_eq!((report.undelivered, report.in_time), (0, true));
//!     # assert_eq!(sandbox.deliveries().count(), 1);
//!     Ok(())
//! }
//! ```
//!
//! The queue is bounded, and nothing grows with the number sent. Each delivery ends once, in one of the two calls, and
//! a bad one does not fail its neighbours. [`Failure::reason`] is the provider's own word, such as `BadDeviceToken`
//! ([the table](tidings_providers::apns::answer::outcome)). The same with arguments is `examples/apns_broker.rs`; what
//! can be sent, and the rest of Apple's side, stands in [`tidings_providers::apns`].
//!
//! # Inside
//!
//! [`Service`] calls back; [`Broker`] is the same with a stream of [`Events`] in place of callbacks, for whoever
//! settles by the page. Between the provider's client, which carries deliveries and retries only what never left, and
//! the [`Queue`](queue::Queue), which decides what becomes of each and knows no clock, stands one thin task.
//!
//! What was not sent is tried again until it expires. What was sent and not answered may have been taken, so it is
//! tried again a few times only, with the same id. A provider's "not now" is heeded, with its `Retry-After` or a
//! jittered exponential wait ([`RetryPolicy`]). A rejected credential parks the broker until it is replaced, or until a
//! delivery that is sent after a minute, and then ever more seldom, finds it good. Who keeps the deliveries elsewhere sets
//! [`BrokerConfig::defer`]: then what has to wait for long comes back, with its [`Progress`], and takes no room here.

#![warn(missing_docs)]

mod broker;
mod delivery;
mod park;
mod pause;
pub mod queue;
mod ready;
pub mod retry;
mod service;
mod settlement;
mod shared;
mod task;
mod waiting;

pub use broker::{Broker, Events};
pub use delivery::{BrokerConfig, Delivery, QueueError, Settled, StopReport, Stopped};
pub use queue::{Failure, Status};
pub use retry::{Progress, RetryPolicy};
pub use service::{Builder, Service};
