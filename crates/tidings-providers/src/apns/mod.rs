//! Apple Push Notification service: what is sent, with what right, and what the answers mean.
//!
//! A [`Credential`] is read once, when it is uploaded or loaded, and refuses there whatever Apple would refuse later. A
//! [`Notification`] is built once per message and shared by all of its deliveries. A [`Client`] sends, over a small
//! pool of HTTP/2 connections; every delivery that it takes comes back once, with what came of it. The whole program
//! stands at the [crate]; a list of devices at [`Client`]. The protocol is that of Apple,
//! [Sending notification requests to APNs](https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns).
//!
//! # Certificates and provider tokens
//!
//! A certificate (`.p12`) is shown in the TLS handshake. It ends, and is for the topics and the environment that stand
//! in it
//! ([Establishing a certificate-based connection to APNs](https://developer.apple.com/documentation/usernotifications/establishing-a-certificate-based-connection-to-apns)).
//! A key (`.p8`) signs a token that goes with each request, and is good for more
//! ([Establishing a token-based connection to APNs](https://developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns)).
//! The one [`TokenSource`] of a [`Credential`] and its clones signs, every 45 minutes; so give all clients of a key
//! clones of one credential.
//!
//! ```no_run
//! use tidings_model::{Environment, UnixMillis};
//! use tidings_providers::apns::Credential;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let key = std::fs::read("AuthKey_ABC123DEFG.p8")?;
//! let key = Credential::from_p8(&key, "ABC123DEFG", "DEF123GHIJ")?;
//!
//! let certificate = Credential::from_p12(&std::fs::read("push.p12")?, "password")?;
//! let summary = certificate.check(Environment::Production, None, UnixMillis::now())?;
//! println!("for {:?} until {:?}", summary.topics, summary.expires_at);
//! # Ok(())
//! # }
//! ```
//!
//! # Environments, ports, proxy
//!
//! A build that was signed for development has tokens of the sandbox, TestFlight and the App Store those of production;
//! a token is good in one only ([`Environment`](tidings_model::Environment)). Apple listens on 443 and 2197, and an
//! HTTP proxy can stand in between.
//!
//! ```
//! use tidings_model::{Environment, Secret};
//! use tidings_providers::apns::{Config, Credential};
//!
//! fn through_a_firewall(credential: Credential) -> Config {
//!     Config {
//!         endpoint: Some("https://api.push.apple.com:2197".to_owned()),
//!         proxy: Some(Secret::new("http://user:password@proxy.example:3128")),
//!         ..Config::new(credential, Environment::Production)
//!     }
//! }
//! ```
//!
//! # Payloads
//!
//! A [`Payload`] is typed. Its type and priority follow from it, and what Apple would refuse, or a phone ignore, is
//! refused by [`build`](NotificationBuilder::build), by the name of its field. What is not yet typed goes to the same
//! builder as JSON, of which only size and form are checked.
//!
//! ```
//! use tidings_providers::apns::{Notification, Payload, PushType, Sound};
//!
//! let loud = Payload { sound: Some(Sound::critical("alarm.caf", 1.5)), ..Payload::text("Fire") };
//! let refused = Notification::builder("com.example.app", loud).build().expect_err("too loud");
//! assert_eq!(refused.to_string(), "aps.sound.volume: is 1.5; use a number from 0 to 1");
//!
//! let reload = r#"{"aps":{"content-changed":true}}"#;
//! let reload = Notification::builder("com.example.app.push-type.widgets", reload)
//!     .push_type(PushType::Widgets)
//!     .build()?;
//! # Ok::<(), tidings_providers::apns::NotificationError>(())
//! ```
//!
//! # What comes back
//!
//! Each delivery comes back with an [`Attempt`](crate::Attempt), and one that was answered with an
//! [`Outcome`](tidings_model::Outcome), in which stands Apple's own reason. [`answer::outcome`] has the table of
//! reasons.
//!
//! ```
//! use tidings_model::Outcome;
//! use tidings_providers::Attempt;
//!
//! fn what_next(attempt: &Attempt) -> &'static str {
//!     match attempt {
//!         Attempt::Answered(Outcome::Accepted { .. }) => "done: Apple has it (the phone may still be off)",
//!         Attempt::Answered(Outcome::Unregistered { .. }) => "forget the token, if it was registered before `since`",
//!         Attempt::Answered(Outcome::PayloadRejected { .. }) => "a fault of ours: never again as it is",
//!         Attempt::Answered(Outcome::CredentialRejected { .. }) => "stop until the credential is replaced",
//!         Attempt::Answered(Outcome::QuotaSpent(_)) => "not before `until`; Apple has no quotas",
//!         Attempt::Answered(Outcome::Retry { .. }) => "later, not before `after`",
//!         Attempt::Answered(Outcome::Throttled { .. }) => "later, this device only",
//!         Attempt::NotSent(_) => "again, as often as one likes",
//!         Attempt::Unanswered(_) => "again a few times, with the same id: it may double",
//!     }
//! }
//! ```
//!
//! # Connections
//!
//! The first is opened for the first delivery, with the name resolved afresh, and kept for as long as Apple lets it.
//! More are opened, up to [`Config::connections_max`], when deliveries wait and the streams of one run out; each heeds
//! the peer's limit of streams, which is one before a provider token was accepted and may change at any time. What a
//! GOAWAY or a refused stream leaves untouched goes over another connection. One that does not answer a PING is
//! replaced. Tries to connect that fail are 100 ms to 5 s apart; after three in a row, or at once when TLS fails, what
//! waits comes back as not sent.
//! Apple: [Establishing a connection to Apple Push Notification service (APNs)](https://developer.apple.com/documentation/usernotifications/establishing-a-connection-to-apns).
//!
//! # Broadcast channels
//!
//! [`Channels`] makes, reads, lists and deletes the channels of an app, 10,000 at most; a [`Broadcaster`] sends a
//! [`Broadcast`] to one, and Apple to everyone who listens. Apple:
//! [Sending channel management requests to APNs](https://developer.apple.com/documentation/usernotifications/sending-channel-management-requests-to-apns),
//! [Sending broadcast push notification requests to APNs](https://developer.apple.com/documentation/usernotifications/sending-broadcast-push-notification-requests-to-apns).
//!
//! # Live Activities
//!
//! [`LiveActivity`] is the payload that starts, changes or ends one, to a token of its own or to a channel.
//! Apple: [Starting and updating Live Activities with ActivityKit push notifications](https://developer.apple.com/documentation/activitykit/starting-and-updating-live-activities-with-activitykit-push-notifications).

pub mod answer;
mod caller;
mod certificate;
pub mod channels;
pub mod check;
mod client;
mod config;
mod connect;
mod connection;
pub mod credential;
mod der;
mod flight;
mod jobs;
mod limits;
mod live_activity;
mod lock;
pub mod notification;
mod p12;
pub mod payload;
mod pool;
mod push_type;
mod queue;
mod request;
pub mod token;
mod wire;

pub use crate::Route;
pub use channels::{Broadcast, Broadcaster, ChannelError, Channels, StoragePolicy};
pub use check::check;
pub use client::{Answers, Client, Full};
pub use config::{Config, ConfigError};
pub use credential::{Credential, CredentialError, CredentialKind, Summary};
pub use live_activity::{
    LiveActivity, LiveActivityAlert, LiveActivityEvent, LiveActivityInput, LiveActivityText,
};
pub use notification::{Expiration, Notification, NotificationBuilder, NotificationError};
pub use payload::{Alert, AlertParts, Body, Payload, PayloadError, Sound};
pub use push_type::{Priority, PushType};
pub use queue::Delivery;
pub use token::TokenSource;
