//! The secrets of the makers' clients.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tracing::warn;

use crate::limits::CLIENTS_MAX;
use crate::provider::Provider;

/// The secret of each client id at each maker. The sandbox's own are known; any other is trusted on first use, as no
/// developer's account is here to ask, and held to it from then on.
#[derive(Debug, Default)]
pub(crate) struct Clients(Mutex<Secrets>);

type Secrets = HashMap<(Provider, Box<str>), Box<str>>;

impl Clients {
    /// Whether it is that client's secret.
    pub(crate) fn admits(&self, provider: Provider, id: &str, secret: &str) -> bool {
        if id.is_empty() || secret.is_empty() {
            return false;
        }
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (provider, id.into());
        if let Some(known) = clients.get(&key) {
            return **known == *secret;
        }
        if clients.len() >= CLIENTS_MAX {
            warn!(%provider, "refused a new client: the sandbox trusts no more");
            return false;
        }
        clients.insert(key, secret.into());
        true
    }
}
