//! The words of Tidings, as types: app, device, audience, push, message, outcome, id.
//!
//! No I/O, no async, no clock, and no wire format: a type here cannot hold an invalid value, and the `serde` forms
//! are the store's own, free to change with a migration. Wire bodies are parsed at the edges.

pub mod audience;
pub mod device;
pub mod id;
pub mod outcome;
pub mod provider;
pub mod push;
pub mod secret;
pub mod strategy;
pub mod time;
pub mod way;

pub use audience::{Audience, Selection};
pub use device::{Alias, Tag};
pub use id::{AppId, AppKey, DeviceId, IdClock, MsgId, delivery_id};
pub use outcome::{Outcome, ProviderId, Reason, Spent};
pub use provider::{Environment, Platform, PlatformSet, Provider, ProviderSet};
pub use push::{
    CustomMessage, InterruptionLevel, IosNotification, Message, Notification, Push, PushOptions,
};
pub use secret::{Secret, SecretHash};
pub use strategy::{Preference, Strategies, Strategy};
pub use time::UnixMillis;
pub use way::{Aim, DeviceHistory, Life, Part, Parts, Reach};
