//! Providers that take many devices in one request: one client for all of them.
//!
//! What differs stands in a [`Protocol`], which does no I/O: how many devices a request takes, what it looks like, and what
//! an answer says of each device. The client has the rest: deliveries of one notification that wait together go in one
//! request, at the provider's pace, over a few HTTP/1.1 connections with one request at a time on each, more when some are slow; one access token for
//! all of them, renewed before it ends and once when it is refused; a message that the provider saves is saved once for all of
//! them. What a spent quota is for does not leave before there is another ([`quota`]). A request that is refused for what is in
//! it is halved, until those are found that are to blame.

mod access;
pub mod check;
mod client;
mod config;
mod exchange;
mod going;
pub(crate) mod meaning;
mod notification;
pub(crate) mod oauth;
mod pace;
mod queue;
pub mod quota;
mod saving;
mod sift;
mod taken;
mod worker;

use std::time::Duration;

use bytes::Bytes;
use tidings_model::{Outcome, Reason, UnixMillis};

pub use client::{Answers, Client};
pub use config::{Config, ConfigError};
pub use exchange::Response;
pub use notification::NotificationError;
pub use pace::Pace;
pub use saving::{Saving, Unsaved};

/// A provider's protocol, with the credential of one app. `Debug` prints no secret.
pub trait Protocol: Clone + Send + Sync + std::fmt::Debug + 'static {
    /// As logs name the provider.
    const NAME: &'static str;
    /// `https://HOST` of the provider.
    const ENDPOINT: &'static str;
    /// `https://HOST` of where access tokens are given; none when there are none, or they are made here.
    const TOKEN_ENDPOINT: Option<&'static str>;
    /// What the provider publishes.
    const PACE: Pace;

    /// What is pushed, ready to be sent to any number of devices.
    type Notification: Send + Sync + std::fmt::Debug + 'static;

    /// Devices that one request with this takes, at least 1.
    fn batch_max(notification: &Self::Notification) -> usize;

    /// What quota a notification is of, where the provider has several: a word by which those are known that share one.
    fn class(_: &Self::Notification) -> &str {
        ""
    }

    /// How access is had at `now`.
    fn sign_in(&self, now: UnixMillis) -> SignIn;

    /// Whether its time is over at `now`: then it does not leave any more.
    fn is_over(notification: &Self::Notification, now: UnixMillis) -> bool;

    /// Why it is not to leave at `now` though its time is not over, if it is not: the provider could not keep to it.
    fn too_late(_: &Self::Notification, _: UnixMillis) -> Option<Reason> {
        None
    }

    /// What came of the request in [`SignIn::Ask`]; by default as OAuth has it.
    fn signed_in(&self, response: &Response) -> Result<Access, Outcome> {
        oauth::access(response)
    }

    /// The request that pushes `notification` to `tokens` at `now`.
    fn request(
        &self,
        notification: &Self::Notification,
        tokens: &[&str],
        access: &str,
        now: UnixMillis,
    ) -> Request;

    /// How it saves a message first and sends it by its id, if it does.
    fn saving(&self) -> Option<&dyn Saving<Self::Notification>> {
        None
    }

    /// What the answer to such a request says, and to one of [`Saving::send`].
    fn answer(&self, response: &Response, tokens: &[&str]) -> Answer;

    /// What a check asks beyond an access token: a notification to an address that nobody has. None where an access token is
    /// asked for and shows all that there is to know.
    fn probe(&self) -> Option<Self::Notification> {
        None
    }
}

/// How a client comes to what it shows with each request.
#[derive(Clone, Debug)]
pub enum SignIn {
    /// By asking for it.
    Ask(Request),
    /// It is made here, or there is nothing to show.
    Have(Access),
}

/// What is shown with each request. `Debug` does not print it.
#[derive(Clone)]
pub struct Access {
    /// The access token.
    pub token: String,
    /// How long it is good for.
    pub lives: Duration,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access")
            .field("token", &"***")
            .field("lives", &self.lives)
            .finish()
    }
}

/// A POST. `Debug` prints the path only.
#[derive(Clone)]
pub struct Request {
    /// Beginning with `/`.
    pub path: String,
    /// Names in lower case; `host` and `content-length` are the client's.
    pub headers: Vec<(&'static str, String)>,
    /// The whole of it.
    pub body: Bytes,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The access token is not good any more: the same again with another.
    AccessRefused(Reason),
    /// The same of every device.
    All(Outcome),
    /// Of each device, in the order of the request.
    Each(Vec<Outcome>),
    /// The saved message is not known any more: it is saved again.
    NotSaved(Reason),
}
