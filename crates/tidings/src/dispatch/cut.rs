//! The cutter of an app and provider: turns the audiences of accepted messages into pages, for the lanes to take out.
//!
//! New messages are cut at once, as far as a page of each; long ones go on as lanes run out of pages, so that what is cut and
//! not sent is little, unless a lane stands still that the pages are for.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tidings_model::{AppId, DeviceId, Environment, MsgId, Provider, Reason};
use tidings_store::{Chunk, OpenTask, OpenTasks, StoreError, Turn};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::error;

use super::limits::{CUT_MAX, FRESH_AT_ONCE, IDLE, STORE_PAUSE};
use super::{Context, Wakes};

const UNCUT: Reason = Reason::known("UncutAudience");
const UNREADABLE: Reason = Reason::known("UnreadableMessage");

/// How a cutter is told that there is something for it.
#[derive(Default)]
pub(super) struct CutSignal {
    changed: Notify,
    /// The lanes that have run out of pages, by their environment.
    hungry: Mutex<BTreeSet<Option<Environment>>>,
}

impl CutSignal {
    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }

    /// A lane has few pages left.
    pub(super) fn hunger(&self, environment: Option<Environment>) {
        self.hungry().insert(environment);
        self.wake();
    }

    fn hungry(&self) -> std::sync::MutexGuard<'_, BTreeSet<Option<Environment>>> {
        self.hungry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Cutter {
    pub(super) app: AppId,
    pub(super) context: Arc<Context>,
    pub(super) draining: watch::Receiver<Option<Instant>>,
    /// The message that could not be cut the last time, by a fault that lasts.
    pub(super) failed: Option<MsgId>,
    pub(super) provider: Provider,
    pub(super) signal: Arc<CutSignal>,
    pub(super) wakes: Arc<Wakes>,
}

impl Cutter {
    /// Runs until there has been nothing to do for long, or until drained.
    pub(super) async fn run(mut self) {
        while self.draining.borrow().is_none() {
            match self.step().await {
                Ok(true) => {}
                Ok(false) => {
                    tokio::select! {
                        told = timeout(IDLE, self.signal.changed.notified()) => if told.is_err() { return },
                        _ = self.draining.changed() => return,
                    }
                }
                Err(error) => {
                    error!(%error, app = self.app.0, provider = %self.provider, "cannot cut an audience into pages");
                    tokio::select! {
                        () = sleep(STORE_PAUSE) => {}
                        _ = self.draining.changed() => return,
                    }
                }
            }
        }
    }

    /// Cuts a part of what there is; false when there is nothing, or nobody wants it.
    pub(super) async fn step(&mut self) -> Result<bool, StoreError> {
        let fresh = self.open_tasks(Turn::Fresh, FRESH_AT_ONCE).await?;
        let fresh = self.chunks(fresh).await?;
        let some = !fresh.is_empty();
        if some {
            self.cut(fresh).await?;
        }
        // In turn, so that new ones without end do not keep long ones from going on.
        Ok(self.go_on().await? || some)
    }

    /// Cuts a part of the oldest task that has been begun, if a lane wants it.
    async fn go_on(&mut self) -> Result<bool, StoreError> {
        if self.signal.hungry().is_empty() {
            return Ok(false);
        }
        let mut begun = self.open_tasks(Turn::Begun, 1).await?;
        let Some(task) = begun.pop() else {
            self.signal.hungry().clear();
            return Ok(false);
        };
        let chunks = self.run_of(task).await?;
        let fed = self.cut(chunks).await?;
        self.signal.hungry().retain(|lane| !fed.contains(lane));
        Ok(true)
    }

    /// The oldest tasks of a turn. Those whose messages cannot be read are ended.
    async fn open_tasks(&self, turn: Turn, limit: usize) -> Result<Vec<OpenTask>, StoreError> {
        let store = &self.context.store;
        loop {
            let open = store.open_tasks(self.app, self.provider, turn, limit);
            let OpenTasks { tasks, unreadable } = open.await?;
            let some = !tasks.is_empty() || unreadable.is_empty();
            for (message, error) in unreadable {
                self.end(message, UNREADABLE, &error).await?;
            }
            if some {
                return Ok(tasks);
            }
        }
    }

    /// Ends a message that cannot be cut.
    async fn end(
        &self,
        message: MsgId,
        reason: Reason,
        error: &StoreError,
    ) -> Result<(), StoreError> {
        let (app, provider) = (self.app, self.provider);
        error!(%error, app = app.0, %provider, msg_id = %message, %reason, "message {message} goes to nobody any more");
        let failed = self.context.store.fail_task(app, provider, message, reason);
        self.wakes.wake(failed.await?);
        Ok(())
    }

    /// What came of cutting a message; none when it has failed for the second time by a fault that lasts: then it is ended, so that
    /// nothing else of the app waits for it.
    async fn unless_lasting<T>(
        &mut self,
        message: MsgId,
        done: Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        match done {
            Err(error) if error.is_lasting() && self.failed.replace(message) == Some(message) => {
                self.end(message, UNCUT, &error).await?;
                Ok(None)
            }
            done => done.map(Some),
        }
    }

    /// The first chunks of tasks, up to [`CUT_MAX`] devices.
    async fn chunks(&mut self, tasks: Vec<OpenTask>) -> Result<Vec<Arc<Chunk>>, StoreError> {
        let (mut chunks, mut devices) = (Vec::new(), 0);
        for task in tasks {
            if devices >= CUT_MAX {
                break;
            }
            let message = task.message.id;
            let chunk = self.context.store.chunk(task, self.provider).await;
            let Some(chunk) = self.unless_lasting(message, chunk).await? else {
                continue;
            };
            devices += chunk.targets.len();
            chunks.push(Arc::new(chunk));
        }
        Ok(chunks)
    }

    /// The next chunks of a task, one behind the other, up to [`CUT_MAX`] devices.
    async fn run_of(&mut self, task: OpenTask) -> Result<Vec<Arc<Chunk>>, StoreError> {
        let (mut chunks, mut devices, mut next) = (Vec::new(), 0, Some(task));
        while let Some(task) = next.take()
            && devices < CUT_MAX
        {
            let message = Arc::clone(&task.message);
            let chunk = self.context.store.chunk(task, self.provider).await;
            let Some(chunk) = self.unless_lasting(message.id, chunk).await? else {
                break;
            };
            devices += chunk.targets.len();
            let last = chunk.targets.last().map(|target| target.device);
            next = last
                .filter(|_| !chunk.ends)
                .map(|after: DeviceId| OpenTask { after, message });
            chunks.push(Arc::new(chunk));
        }
        Ok(chunks)
    }

    /// Writes chunks down as pages, and wakes the lanes that they are for.
    async fn cut(
        &mut self,
        chunks: Vec<Arc<Chunk>>,
    ) -> Result<BTreeSet<Option<Environment>>, StoreError> {
        let store = Arc::clone(&self.context.store);
        let lanes = match store.cut(self.provider, chunks.clone()).await {
            // Whichever it is: each by itself.
            Err(error) if error.is_lasting() => {
                let mut lanes = BTreeSet::new();
                for chunk in chunks {
                    let message = chunk.task.message.id;
                    let cut = store.cut(self.provider, vec![chunk]).await;
                    lanes.extend(self.unless_lasting(message, cut).await?.unwrap_or_default());
                }
                lanes
            }
            cut => cut?,
        };
        self.wakes.wake(lanes.iter().copied());
        Ok(lanes.into_iter().map(|lane| lane.environment).collect())
    }
}
