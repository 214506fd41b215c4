//! What ends by time: every few seconds the store is asked to end what has expired, and to forget what is too old.

use std::sync::Arc;
use std::time::Duration;

use tidings_model::UnixMillis;
use tidings_store::Store;
use tokio::time::{MissedTickBehavior, interval};
use tracing::error;

/// How often what has expired or is too old is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Runs until it is dropped. `kept`: for how long messages are.
pub(crate) async fn run(store: Arc<Store>, kept: Duration) {
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        loop {
            match store.purge(UnixMillis::now(), kept).await {
                Ok(purged) if purged.more => {}
                Ok(_) => break,
                Err(error) => {
                    error!(%error, "cannot clear what is old");
                    break;
                }
            }
        }
    }
}
