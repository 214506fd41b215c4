//! The HTTP API: the edge that every request passes, JPush's calls under `/v3`, and Tidings' own under `/v1`.
//!
//! [`router`](router::router) is the table of contents. A handler parses, asks the store, and tells dispatch what there is to do; it
//! sends nothing itself. Of devices that change the store tells the link.

pub(crate) mod auth;
pub(crate) mod error;
pub(crate) mod fields;
pub(crate) mod http;
pub(crate) mod metrics;
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

use crate::dispatch::Command;
use crate::receipts::Intake;
use metrics::{IgnoredCounts, ReceiptCounts};
use rate::RateLimiter;

pub(crate) use router::router;
pub(crate) use serve::serve;

/// What every call works with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Api {
    /// The administrator's token.
    pub(crate) admin: SecretHash,
    dispatch: mpsc::Sender<Command>,
    /// What pushes said without effect.
    pub(crate) ignored: Arc<IgnoredCounts>,
    /// Where this server is from outside, as `https://HOST`; none when that is not told.
    pub(crate) public_url: Option<Arc<str>>,
    pub(crate) rates: Arc<RateLimiter>,
    pub(crate) receipt_counts: Arc<ReceiptCounts>,
    pub(crate) receipts: Arc<Intake>,
    pub(crate) store: Arc<Store>,
}

/// Calls a minute for each app and family that no app makes: the greatest number that JPush's Java SDK can read.
const UNLIMITED: u32 = i32::MAX.unsigned_abs();

impl Api {
    /// `calls_a_minute` is for each app and family of calls under `/v3`; none for any number.
    pub(crate) fn new(
        store: Arc<Store>,
        admin: SecretHash,
        dispatch: mpsc::Sender<Command>,
        calls_a_minute: Option<u32>,
    ) -> Self {
        Self {
            admin,
            dispatch,
            ignored: Arc::default(),
            public_url: None,
            receipt_counts: Arc::default(),
            receipts: Arc::default(),
            rates: Arc::new(RateLimiter::new(calls_a_minute.unwrap_or(UNLIMITED))),
            store,
        }
    }

    /// With the address at which others reach this server.
    pub(crate) fn at(self, public_url: Option<&str>) -> Self {
        Self {
            public_url: public_url.map(Arc::from),
            ..self
        }
    }

    /// Says what is in the store now and is to be acted on. Waits while many wait to be heard, so that callers are slowed down and
    /// nothing is lost. When nobody listens any more the server is ending, and the next one finds it in the store.
    pub(crate) async fn tell(&self, command: Command) {
        if self.dispatch.send(command).await.is_err() {
            tracing::debug!(?command, "nobody listens: the server is ending");
        }
    }
}
