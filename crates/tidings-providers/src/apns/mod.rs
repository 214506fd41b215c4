//! Apple Push Notification service: what is sent, with what right, and what the answers mean.
//!
//! A [`Credential`] is read once, when it is uploaded or loaded, and refuses there whatever Apple would refuse later.
//! A [`Notification`] is built once per message and shared by all of its deliveries. [`answer::outcome`] turns
//! Apple's answer into an outcome. A [`Client`] sends, over a small pool of HTTP/2 connections; every delivery that it
//! takes comes back once, with what came of it.

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
mod live_activity;
mod lock;
pub mod notification;
mod p12;
pub mod payload;
mod pool;
mod proxy;
mod queue;
mod request;
pub mod token;
mod wire;

pub use channels::{Broadcast, Broadcaster, ChannelError, Channels, StoragePolicy};
pub use check::check;
pub use client::{Answers, Client, Full};
pub use config::{Config, ConfigError};
pub use credential::{Credential, CredentialError, CredentialKind, Summary};
pub use live_activity::{LiveActivity, LiveActivityEvent, LiveActivityInput};
pub use notification::{
    Expiration, Notification, NotificationBuilder, NotificationError, Priority, PushType,
};
pub use payload::{Alert, AlertParts, Payload, Sound};
pub use queue::Delivery;
pub use token::TokenSource;
