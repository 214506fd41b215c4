//! The link's lane: where each message goes over the link is decided when its turn comes, by how many it is for. A message to
//! few becomes rows in their inboxes, one to many an entry of the log. Either is durable before a connection is told of
//! it, and a device that connects reads both after it can be told; so each message is seen by one of the two.
//!
//! Messages share looks and transactions, and wait for nothing but those: whose audience takes more than a look to be found is left
//! to another part of the lane, and so is counting the devices of what is in the log.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tidings_model::{AppId, MsgId};
use tidings_store::{LinkPlan, LinkTask, StoreError, Turn};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::error;

use crate::dispatch::limits::{
    IDLE, INBOX_ROWS_AT_ONCE, LINK_LOOKS_TIME, LINK_TASKS_AT_ONCE, STORE_PAUSE,
};
use crate::dispatch::{Context, Signal};

/// Runs until there has been nothing to do for long, or until drained.
pub(in crate::dispatch) async fn run(
    context: Arc<Context>,
    app: AppId,
    signal: &Signal,
    mut draining: watch::Receiver<Option<Instant>>,
) {
    let lane = LogLane {
        app,
        context,
        looked_at: AtomicI64::new(0),
        to_count: Notify::new(),
        undecided: Notify::new(),
    };
    // What is cut short is in the store, done or not done.
    tokio::select! {
        () = lane.take(signal) => {}
        never = lane.decide() => match never {},
        never = lane.count() => match never {},
        _ = draining.wait_for(Option::is_some) => {}
    }
}

struct LogLane {
    app: AppId,
    context: Arc<Context>,
    /// The newest message that has had its look. Of those before it, what has not begun is undecided.
    looked_at: AtomicI64,
    to_count: Notify,
    undecided: Notify,
}

impl LogLane {
    /// Has a look at each new message.
    async fn take(&self, signal: &Signal) {
        loop {
            match self.take_some().await {
                Ok(true) => {}
                Ok(false) => {
                    if timeout(IDLE, signal.changed.notified()).await.is_err() {
                        return;
                    }
                }
                Err(error) => self.pause(&error).await,
            }
        }
    }

    /// False when there was none.
    async fn take_some(&self) -> Result<bool, StoreError> {
        let after = MsgId(self.looked_at.load(Ordering::Acquire));
        let tasks = self.tasks(Turn::Fresh, after).await?;
        let Some(last) = tasks.last().map(|task| task.message) else {
            return Ok(false);
        };
        let is_undecided = |task: &LinkTask| matches!(task.plan, LinkPlan::Undecided);
        let left = tasks.iter().any(is_undecided);
        self.route(tasks).await?;
        self.looked_at.store(last.0, Ordering::Release);
        if left {
            self.undecided.notify_one();
        }
        Ok(true)
    }

    /// Decides on those of which a look did not show for how many they are.
    async fn decide(&self) -> Infallible {
        loop {
            match self.decide_one().await {
                Ok(true) => {}
                Ok(false) => self.undecided.notified().await,
                Err(error) => self.pause(&error).await,
            }
        }
    }

    /// False when there was none.
    async fn decide_one(&self) -> Result<bool, StoreError> {
        let last = MsgId(self.looked_at.load(Ordering::Acquire));
        let (store, few) = (&self.context.store, self.context.inbox_max);
        match store.decide(self.app, last, few).await? {
            Some(task) => self.route(vec![task]).await.map(|()| true),
            None => Ok(false),
        }
    }

    /// Counts the devices of what is in the log.
    async fn count(&self) -> Infallible {
        loop {
            match self.count_some().await {
                Ok(true) => {}
                Ok(false) => self.to_count.notified().await,
                Err(error) => self.pause(&error).await,
            }
        }
    }

    /// False when all had been counted.
    async fn count_some(&self) -> Result<bool, StoreError> {
        let tasks = self.tasks(Turn::Begun, MsgId(0)).await?;
        let is_any = !tasks.is_empty();
        self.route(tasks).await?;
        Ok(is_any)
    }

    /// What some looks find, for one transaction: a look gives its reader free after some milliseconds, and a commit takes as long.
    async fn tasks(&self, turn: Turn, mut after: MsgId) -> Result<Vec<LinkTask>, StoreError> {
        let (store, few) = (&self.context.store, self.context.inbox_max);
        let begun = Instant::now();
        let mut tasks = Vec::new();
        loop {
            let limit = LINK_TASKS_AT_ONCE - tasks.len();
            let found = store.link_tasks(self.app, turn, after, limit, few).await?;
            let Some(last) = found.last() else {
                return Ok(tasks);
            };
            after = last.message;
            tasks.extend(found);
            if tasks.len() >= LINK_TASKS_AT_ONCE || begun.elapsed() > LINK_LOOKS_TIME {
                return Ok(tasks);
            }
        }
    }

    /// Does what was planned, in transactions of some rows, and tells those that are connected.
    async fn route(&self, tasks: Vec<LinkTask>) -> Result<(), StoreError> {
        let (mut some, mut rows) = (Vec::new(), 0);
        let mut tasks = tasks.into_iter().peekable();
        while let Some(task) = tasks.next() {
            if let LinkPlan::Inboxes(inboxes) = &task.plan {
                rows += inboxes.len();
            }
            some.push(task);
            if rows < INBOX_ROWS_AT_ONCE && tasks.peek().is_some() {
                continue;
            }
            rows = 0;
            let goes_on = some.iter().any(|task| task.to.is_some());
            let (store, some) = (&self.context.store, std::mem::take(&mut some));
            if store.route(self.app, some).await? {
                self.context.link.route_log(self.app);
            }
            if goes_on {
                self.to_count.notify_one();
            }
        }
        Ok(())
    }

    async fn pause(&self, error: &StoreError) {
        error!(%error, app = self.app.0, "the link's messages wait for the store");
        sleep(STORE_PAUSE).await;
    }
}
