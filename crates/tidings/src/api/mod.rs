//! The HTTP API: the edge that every request passes, JPush's calls under `/v3`, and Tidings' own under `/v1`.
//!
//! [`router`](router::router) is the table of contents. A handler parses, asks the store, and says what has changed to
//! whoever acts on it; it sends nothing itself.

pub(crate) mod auth;
pub(crate) mod error;
pub(crate) mod fields;
pub(crate) mod hooks;
pub(crate) mod http;
mod metrics;
pub(crate) mod rate;
pub(crate) mod router;
pub(crate) mod serve;
#[cfg(test)]
mod tests;
pub(crate) mod v1;
pub(crate) mod v3;

use std::sync::Arc;

use tidings_model::SecretHash;
use tidings_store::Store;

use tokio::sync::mpsc;

use hooks::Hooks;
use rate::RateLimiter;

pub(crate) use hooks::Change;
pub(crate) use router::router;
pub(crate) use serve::serve;

/// What every call works with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Api {
    /// The administrator's token.
    pub(crate) admin: SecretHash,
    pub(crate) hooks: Hooks,
    pub(crate) rates: Arc<RateLimiter>,
    pub(crate) store: Arc<Store>,
}

/// Calls a minute for each app and family that no app makes: the greatest number that JPush's Java SDK can read.
const UNLIMITED: u32 = i32::MAX.unsigned_abs();

impl Api {
    /// `calls_a_minute` is for each app and family of calls under `/v3`; none for any number.
    pub(crate) fn new(
        store: Arc<Store>,
        admin: SecretHash,
        changes: mpsc::Sender<Change>,
        calls_a_minute: Option<u32>,
    ) -> Self {
        Self {
            admin,
            hooks: Hooks::new(changes),
            rates: Arc::new(RateLimiter::new(calls_a_minute.unwrap_or(UNLIMITED))),
            store,
        }
    }
}
