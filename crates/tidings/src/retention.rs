//! What goes: what has expired or is too old, and what has been deleted, looked for every few seconds. Either goes in slices that let
//! everybody else through; a server that is killed meanwhile goes on with it at its next start.

use std::sync::Arc;
use std::time::Duration;

use tidings_model::UnixMillis;
use tidings_store::{Cleared, Store, StoreError};
use tokio::sync::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tracing::error;

use crate::clock::SteadyClock;

/// How often it is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Runs until it is dropped. `kept`: for how long messages are.
pub(crate) async fn run(store: Arc<Store>, kept: Duration) {
    // One slice at a time, whichever it is.
    let turn = Mutex::new(());
    let by_time = async {
        let clock = clock_of(&store).await;
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            let now = clock.now();
            if let Err(error) = store.finish_expired(now).await {
                error!(%error, "cannot end what has expired");
            }
            clear(&turn, || store.purge(now, kept)).await;
        }
    };
    let by_deletion = async {
        loop {
            clear(&turn, || store.sweep()).await;
            sleep(LOOK_EVERY).await;
        }
    };
    tokio::join!(by_time, by_deletion);
}

/// A clock by which nothing ends that a wrong one would end.
async fn clock_of(store: &Store) -> SteadyClock {
    loop {
        match newest(store).await {
            Ok(newest) => return newest.map_or_else(SteadyClock::new, SteadyClock::after),
            Err(error) if error.is_lasting() => return SteadyClock::new(),
            Err(error) => error!(%error, "cannot see how old the newest message is"),
        }
        sleep(LOOK_EVERY).await;
    }
}

/// When the newest message was accepted.
async fn newest(store: &Store) -> Result<Option<UnixMillis>, StoreError> {
    let newest = store.newest_message().await?;
    let message = store.message(newest).await?;
    Ok(message.map(|message| message.accepted_at))
}

/// Takes slices until nothing is left, and leaves the writer to others for as long as each took, its commit and its wait
/// included: so it takes half of a writer that is idle, and less of one that is busy.
async fn clear<F>(turn: &Mutex<()>, slice: impl Fn() -> F)
where
    F: Future<Output = Result<Cleared, StoreError>>,
{
    loop {
        let _turn = turn.lock().await;
        let begun = Instant::now();
        match slice().await {
            Ok(Cleared { more: true, .. }) => sleep(begun.elapsed()).await,
            Ok(_) => return,
            Err(error) => {
                error!(%error, "cannot clear what is old or deleted");
                return;
            }
        }
    }
}
