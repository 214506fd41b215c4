//! What the link had first and devices have not acknowledged in time: it comes back, to a provider.

use std::sync::Arc;

use tidings_model::UnixMillis;
use tidings_store::{Fallback, Fallbacks, StoreError};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::error;

use super::limits::{ACKS_WAIT, LOOK_EVERY, STORE_PAUSE};
use super::{Context, Wakes};

/// Runs until drained. `told` says that there may be one that comes sooner.
pub(super) async fn run(
    context: Arc<Context>,
    wakes: Arc<Wakes>,
    told: Arc<Notify>,
    mut draining: watch::Receiver<Option<Instant>>,
) {
    // What is cut short is in the store, done or not done.
    tokio::select! {
        () = take_turns(&context, &wakes, &told) => {}
        _ = draining.wait_for(Option::is_some) => {}
    }
}

async fn take_turns(context: &Context, wakes: &Wakes, told: &Notify) {
    loop {
        // By the clock by which the link stops giving it.
        let now = UnixMillis::now();
        let Fallbacks { due, next } = match context.store.fallbacks(now).await {
            Ok(found) => found,
            Err(error) => {
                error!(%error, "cannot see what comes back from the link");
                sleep(STORE_PAUSE).await;
                continue;
            }
        };
        if due.is_empty() {
            let wait = next.map_or(LOOK_EVERY, |next| wait(now, next));
            // Whichever comes first.
            let _ = timeout(wait, told.notified()).await;
            continue;
        }
        // What is on its way counts, unless the store takes nothing: then nothing comes back either.
        let _ = timeout(ACKS_WAIT, context.link.acknowledged()).await;
        for fallback in due {
            if let Err(error) = turn(context, wakes, fallback).await {
                let Fallback {
                    message, provider, ..
                } = fallback;
                error!(%error, msg_id = %message, %provider, "what comes back from the link waits for the store");
                sleep(STORE_PAUSE).await;
            }
        }
    }
}

/// A page of each in turn, so that one to millions keeps no other waiting.
async fn turn(context: &Context, wakes: &Wakes, fallback: Fallback) -> Result<(), StoreError> {
    let fell = context.store.fall_back(fallback).await?;
    wakes.wake(fell.lanes);
    Ok(())
}

/// Not for ever: the clock may be set.
fn wait(now: UnixMillis, next: UnixMillis) -> std::time::Duration {
    next.since(now).min(LOOK_EVERY)
}
