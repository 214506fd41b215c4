//! The link's lane: where each message goes over the link is decided when its turn comes, by how many it is for. A message to
//! few becomes rows in their inboxes, one to many an entry of the log. Either is durable before a connection is told of
//! it, and a device that connects reads both after it can be told; so each message is seen by one of the two.
//!
//! Messages to few share transactions, and pass those to many, whose devices are counted one message after the other.

use std::collections::VecDeque;
use std::sync::Arc;

use tidings_model::{AppId, Message, MsgId, Provider};
use tidings_store::{Inboxes, LinkPlan, LinkTask, Scope, StoreError};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tracing::error;

use super::limits::{IDLE, INBOX_ROWS_AT_ONCE, LINK_LONG_MAX, LINK_TASKS_AT_ONCE, STORE_PAUSE};
use super::{Context, Signal};

pub(super) async fn run(
    context: Arc<Context>,
    app: AppId,
    signal: &Signal,
    mut draining: watch::Receiver<Option<Instant>>,
) {
    let mut lane = LogLane {
        app,
        context,
        long: VecDeque::new(),
        placing: JoinSet::new(),
    };
    while draining.borrow().is_none() {
        let took = lane.take_short().await;
        if let Err(error) = &took {
            error!(%error, app = app.0, "the link's messages wait for the store");
            sleep(STORE_PAUSE).await;
        }
        lane.place_first();
        if !matches!(took, Ok(false)) {
            // More may wait. Whatever was placed meanwhile makes room for the next.
            if let Some(placed) = lane.placing.try_join_next() {
                lane.placed(placed);
            }
            continue;
        }
        tokio::select! {
            told = timeout(IDLE, signal.changed.notified()) => if told.is_err() && lane.long.is_empty() { return },
            Some(placed) = lane.placing.join_next() => lane.placed(placed),
            _ = draining.changed() => return,
        }
    }
}

struct LogLane {
    app: AppId,
    context: Arc<Context>,
    /// Messages that are for many, in their order.
    long: VecDeque<Arc<Message>>,
    /// What is being done about the first of them: whether it is placed.
    placing: JoinSet<bool>,
}

impl LogLane {
    /// Looks at some new messages and puts those to few into inboxes; false when there was none.
    async fn take_short(&mut self) -> Result<bool, StoreError> {
        let known: Vec<MsgId> = self.long.iter().map(|message| message.id).collect();
        let room = LINK_LONG_MAX.saturating_sub(known.len());
        let limit = LINK_TASKS_AT_ONCE.min(room);
        let tasks = self
            .context
            .store
            .link_tasks(self.app, known, limit, self.context.inbox_max)
            .await?;
        let is_any = !tasks.is_empty();
        let (mut few, mut rows) = (Vec::new(), 0);
        for LinkTask { message, plan } in tasks {
            match plan {
                LinkPlan::Inboxes(inboxes) => {
                    rows += inboxes.rows.len();
                    few.push((message, inboxes));
                    if rows >= INBOX_ROWS_AT_ONCE {
                        fill(&self.context, self.app, std::mem::take(&mut few)).await?;
                        rows = 0;
                    }
                }
                LinkPlan::Long(message) => self.long.push_back(Arc::from(message)),
            }
        }
        if !few.is_empty() {
            fill(&self.context, self.app, few).await?;
        }
        Ok(is_any)
    }

    /// Begins to place the first of the messages to many, if none is being placed.
    fn place_first(&mut self) {
        let (Some(first), true) = (self.long.front(), self.placing.is_empty()) else {
            return;
        };
        let (context, message) = (Arc::clone(&self.context), Arc::clone(first));
        self.placing.spawn(async move {
            let placed = place(&context, &message).await;
            if let Err(error) = &placed {
                error!(%error, msg_id = %message.id, "message {} waits for the store", message.id);
                sleep(STORE_PAUSE).await;
            }
            placed.is_ok()
        });
    }

    fn placed(&mut self, placed: Result<bool, JoinError>) {
        match placed {
            Ok(true) => drop(self.long.pop_front()),
            Ok(false) => {}
            Err(ended) => {
                if let Ok(panic) = ended.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }
}

/// Puts messages into inboxes, and tells those that are connected.
async fn fill(context: &Context, app: AppId, few: Vec<(MsgId, Inboxes)>) -> Result<(), StoreError> {
    let reached = context.store.fill_inboxes(app, few).await?;
    for devices in reached {
        context.link.route_inbox(app, &devices);
    }
    Ok(())
}

/// Counts whom a message is for, and makes it an entry of the log; or fills inboxes, if it is for few after all.
async fn place(context: &Context, message: &Message) -> Result<(), StoreError> {
    let store = &context.store;
    if let Some(inboxes) = store.inboxes(message, context.inbox_max).await? {
        return fill(context, message.app, vec![(message.id, inboxes)]).await;
    }
    let targets = match Scope::of(message, Provider::Link) {
        Some(scope) => store.count_targets(&scope).await?,
        None => Vec::new(),
    };
    if store.log(message, targets).await? {
        context.link.route_log(message.app);
    }
    Ok(())
}
