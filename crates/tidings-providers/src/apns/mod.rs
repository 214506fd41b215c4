//! Apple Push Notification service: what is sent, with what right, and what the answers mean.
//!
//! A [`Credential`] is read once, when it is uploaded or loaded, and refuses there whatever Apple would refuse later.
//! A [`Notification`] is built once per message and shared by all of its deliveries. [`answer::outcome`] turns
//! Apple's answer into an outcome.

pub mod answer;
mod certificate;
pub mod credential;
mod der;
mod lock;
pub mod notification;
mod p12;
pub mod payload;
pub mod token;

pub use credential::{Credential, CredentialError, CredentialKind, Summary};
pub use notification::{Expiration, Notification, NotificationError, Priority, PushType};
pub use payload::{Alert, AlertParts, Payload, Sound};
pub use token::TokenSource;
