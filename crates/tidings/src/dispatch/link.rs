//! The link's lane: a broadcast stays one entry of the log, and a message to some becomes rows in their inboxes. Either is
//! durable before a connection is told of it, and a device that connects reads both after it can be told; so each
//! message is seen by one of the two.

use tidings_model::{AppId, DeviceId, Provider};
use tidings_store::limits::PAGE_MAX;
use tidings_store::{OpenTask, Scope, StoreError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::error;

use super::limits::{IDLE, STORE_PAUSE};
use super::{Context, Signal};

pub(super) async fn run(
    context: &Context,
    app: AppId,
    signal: &Signal,
    mut draining: watch::Receiver<Option<Instant>>,
) {
    loop {
        match step(context, app).await {
            Ok(true) if draining.borrow().is_none() => {}
            Ok(true) => return,
            Ok(false) => {
                tokio::select! {
                    told = timeout(IDLE, signal.changed.notified()) => if told.is_err() { return },
                    _ = draining.changed() => return,
                }
            }
            Err(error) => {
                error!(%error, app = app.0, "the link's messages wait for the store");
                if draining.borrow().is_some() {
                    return;
                }
                tokio::select! {
                    () = sleep(STORE_PAUSE) => {}
                    _ = draining.changed() => {}
                }
            }
        }
    }
}

/// One message of the log, or one page of inboxes; false when there is nothing to do.
async fn step(context: &Context, app: AppId) -> Result<bool, StoreError> {
    let store = &context.store;
    let Some(OpenTask { after, message }) = store.next_task(app, Provider::Link).await? else {
        return Ok(false);
    };
    let Some(scope) = Scope::of(&message, Provider::Link) else {
        store.finish_task(message.id, Provider::Link).await?;
        return Ok(true);
    };
    if message.push.audience.is_logged() {
        context.link.route_log(app);
        let targets = store.count_targets(&scope).await?;
        store.target_log(message.id, targets).await?;
        return Ok(true);
    }
    let targets = store.targets(&scope, after, PAGE_MAX).await?;
    let ends = targets.len() < PAGE_MAX;
    let devices: Vec<DeviceId> = targets.iter().map(|target| target.device).collect();
    store.fill_inboxes(&message, targets).await?;
    context.link.route_inbox(app, &devices);
    if ends {
        store.finish_task(message.id, Provider::Link).await?;
    }
    Ok(true)
}
