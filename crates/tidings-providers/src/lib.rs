//! Senders for the push providers: one delivery in, one outcome out. Apple's is [`apns`]; the phone makers' are modules of
//! their names over [`batch`].
//!
//! # The smallest program
//!
//! ```standalone_crate
//! use std::sync::Arc;
//!
//! use tidings_model::{Environment, Outcome};
//! use tidings_providers::Attempt;
//! use tidings_providers::apns::{Client, Config, Credential, Delivery, Notification, Route};
//! use uuid::Uuid;
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     # use tidings_sandbox::{Sandbox, SandboxConfig};
//!     # let sandbox = Sandbox::start(SandboxConfig::default()).await?;
//!     # let dir = std::env::temp_dir().join(format!("tidings-{}", Uuid::new_v4()));
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
//!     let (client, mut answers) = Client::start(config)?;
//!
//!     let hello = Notification::alert("com.example.app", "Hello")?;
//!     let token = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0";
//!     let delivery = Delivery {
//!         token: token.into(),
//!         id: Uuid::new_v4(),
//!         notification: Arc::new(hello),
//!         route: Route::default(),
//!         tag: (),
//!     };
//!     client.submit(delivery).await.map_err(|_| "it was closed")?;
//!     drop(client); // no more is to come: the connection closes behind the last answer
//!
//!     let mut answered = Vec::new();
//!     while answers.recv_many(&mut answered, 100).await > 0 {}
//!     for (delivery, attempt) in &answered {
//!         match attempt {
//!             Attempt::Answered(Outcome::Accepted { .. }) => println!("{} is accepted", delivery.id),
//!             other => println!("{} is not: {other:?}", delivery.id),
//!         }
//!     }
//!     # assert!(answered[0].1.is_accepted());
//!     # assert_eq!(sandbox.deliveries().count(), 1);
//!     Ok(())
//! }
//! ```
//!
//! # What to use
//!
//! A [`Client`](apns::Client) makes one try of each delivery and says what came of it; what is to be tried again, and
//! when, is for its user. Where that should be done for you, with waits, expiry, a limit to what may double, parking
//! behind a rejected credential and a drain at the end, use `tidings_broker::Broker`, which is built on it and takes
//! the same [`Config`](apns::Config) and [`Notification`](apns::Notification). Both are made for bulk and hold a
//! bounded number of deliveries.
//!
//! Types such as `Environment`, `Outcome` and `UnixMillis` are those of the crate `tidings-model`.

#![warn(missing_docs)]

pub mod apns;
mod attempt;
pub mod batch;
mod client;
mod delivery;
pub mod hmos;
pub mod honor;
pub mod huawei;
pub mod jitter;
pub mod meizu;
mod net;
pub mod oppo;
mod retry_after;
pub mod vivo;
pub mod xiaomi;

pub use attempt::{Attempt, Cause};
pub use client::{Answers, Client, ClientConfig, Started};
pub use delivery::{Delivery, Route};
pub use net::{Obstacle, is_endpoint, is_proxy, is_url};
