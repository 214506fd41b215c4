//! Acknowledgements on their way to the store: many share a commit.

use std::sync::Arc;

use tidings_store::{Ack, Store};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::error;

use crate::limits::{ACKS_AT_ONCE, STORE_PAUSE};

/// Remembers what comes until nobody can send any more. What waits during a commit shares the next.
pub(crate) async fn remember(store: Arc<Store>, mut acks: mpsc::Receiver<Ack>) {
    let mut batch = Vec::with_capacity(ACKS_AT_ONCE);
    while acks.recv_many(&mut batch, ACKS_AT_ONCE).await > 0 {
        while let Err(error) = store.acknowledge(batch.clone()).await {
            error!(%error, acks = batch.len(), "acknowledgements wait for the store");
            sleep(STORE_PAUSE).await;
        }
        batch.clear();
    }
}
