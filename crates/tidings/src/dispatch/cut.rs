//! The cutter of an app and provider: turns the audiences of accepted messages into pages, for the lanes to take out.
//!
//! New messages are cut at once, as far as a page of each; long ones go on as lanes run out of pages. One walk cuts for all lanes
//! of the app: the lane that has most before it decides when that is enough, so that what is cut and not sent is little, unless
//! that lane stands still and another has nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidings_model::{AppId, Environment, MsgId, Provider, Reason, Strategy};
use tidings_store::limits::AHEAD_MAX;
use tidings_store::{Chunk, OpenTask, OpenTasks, StoreError, Turn};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::error;

use super::limits::{
    AHEAD_MIN, BEGUN_AT_ONCE, CUT_MAX, FRESH_AT_ONCE, IDLE, STANDS_STILL, STORE_PAUSE,
};
use super::{Context, Wakes};

const UNCUT: Reason = Reason::known("UncutAudience");
const UNREADABLE: Reason = Reason::known("UnreadableMessage");

/// How a cutter is told that there is something for it, and for whom.
#[derive(Default)]
pub(super) struct CutSignal {
    changed: Notify,
    lanes: Mutex<BTreeMap<Option<Environment>, Ahead>>,
}

/// What a lane has before it.
#[derive(Clone, Copy)]
struct Ahead {
    /// When it last took pages out, or could have.
    heard_at: Instant,
    hungry: bool,
    /// Of long messages, that are ready; as many as are counted at most.
    pages: usize,
}

/// Whether more is to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Appetite {
    /// Nobody wants it.
    None,
    /// A lane wants it, and another has as much as it should have: not before this, unless that one is heard of.
    Held(Instant),
    Some,
}

impl CutSignal {
    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }

    /// A lane has taken out pages, and has so many left.
    pub(super) fn heard(&self, environment: Option<Environment>, pages: usize) {
        let ahead = Ahead {
            heard_at: Instant::now(),
            hungry: pages < AHEAD_MIN,
            pages,
        };
        let mut lanes = self.lanes();
        lanes.insert(environment, ahead);
        if lanes.values().any(|ahead| ahead.hungry) {
            self.wake();
        }
    }

    /// So many pages more have been cut for a lane.
    pub(super) fn fed(&self, environment: Option<Environment>, pages: usize) {
        let mut lanes = self.lanes();
        let ahead = lanes.entry(environment).or_insert_with(|| Ahead {
            heard_at: Instant::now(),
            hungry: false,
            pages: 0,
        });
        ahead.hungry = false;
        ahead.pages += pages;
    }

    /// Whether more is to be cut of a message that has as many pages as it should in the lanes `full`. The lane that has most
    /// decides, unless it stands still: then the others go on.
    pub(super) fn appetite(&self, full: &[Option<Environment>], now: Instant) -> Appetite {
        let lanes = self.lanes();
        // Those that have never been heard of may have nothing.
        if !lanes.is_empty() && !lanes.values().any(|ahead| ahead.hungry) {
            return Appetite::None;
        }
        let full = lanes
            .iter()
            .filter(|(environment, ahead)| ahead.pages >= AHEAD_MAX || full.contains(environment));
        let until = full.map(|(_, ahead)| ahead.heard_at + STANDS_STILL);
        match until.filter(|until| *until > now).max() {
            Some(until) => Appetite::Held(until),
            None => Appetite::Some,
        }
    }

    fn lanes(&self) -> MutexGuard<'_, BTreeMap<Option<Environment>, Ahead>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
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
                Ok(Appetite::Some) => {}
                Ok(Appetite::Held(until)) => {
                    tokio::select! {
                        () = self.signal.changed.notified() => {}
                        () = sleep_until(until) => {}
                        _ = self.draining.changed() => return,
                    }
                }
                Ok(Appetite::None) => {
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

    /// Cuts a part of what there is, and says whether to go on.
    pub(super) async fn step(&mut self) -> Result<Appetite, StoreError> {
        let fresh = self.open_tasks(Turn::Fresh, FRESH_AT_ONCE).await?;
        let fresh = self.chunks(fresh).await?;
        let some = !fresh.is_empty();
        if some {
            self.cut(fresh).await?;
        }
        // In turn, so that new ones without end do not keep long ones from going on.
        let goes_on = self.go_on().await?;
        Ok(if some { Appetite::Some } else { goes_on })
    }

    /// Cuts a part of the oldest task that has been begun and can go on, if a lane wants it.
    async fn go_on(&mut self) -> Result<Appetite, StoreError> {
        let mut appetite = self.signal.appetite(&[], Instant::now());
        if appetite != Appetite::Some {
            return Ok(appetite);
        }
        let begun = self.open_tasks(Turn::Begun, BEGUN_AT_ONCE).await?;
        if begun.is_empty() {
            return Ok(Appetite::None);
        }
        for task in begun {
            appetite = self.signal.appetite(&task.behind, Instant::now());
            if appetite == Appetite::Some {
                let chunks = self.run_of(task).await?;
                self.cut(chunks).await?;
                break;
            }
        }
        Ok(appetite)
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

    /// The next chunk of a task; none when its message has been ended.
    async fn chunk(&mut self, task: OpenTask) -> Result<Option<Chunk>, StoreError> {
        let message = task.message.id;
        let chunk = self.context.store.chunk(task, self.provider).await;
        let mut chunk = self.unless_lasting(message, chunk).await?;
        if let Some(chunk) = &mut chunk {
            self.share(chunk);
        }
        Ok(chunk)
    }

    /// The first chunks of tasks, up to [`CUT_MAX`] devices.
    async fn chunks(&mut self, tasks: Vec<OpenTask>) -> Result<Vec<Arc<Chunk>>, StoreError> {
        let (mut chunks, mut devices) = (Vec::new(), 0);
        for task in tasks {
            if devices >= CUT_MAX {
                break;
            }
            let Some(chunk) = self.chunk(task).await? else {
                continue;
            };
            devices += chunk.targets.len();
            let is_thin = chunk.is_thin();
            chunks.push(Arc::new(chunk));
            // It has taken its time.
            if is_thin {
                break;
            }
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
            let Some(chunk) = self.chunk(task).await? else {
                break;
            };
            devices += chunk.targets.len();
            next = (!chunk.ends && !chunk.is_thin()).then(|| OpenTask {
                after: chunk.reached,
                behind: Vec::new(),
                message,
            });
            chunks.push(Arc::new(chunk));
        }
        Ok(chunks)
    }

    /// Leaves those to the link that it has first.
    fn share(&self, chunk: &mut Chunk) {
        let message = &chunk.task.message;
        let on_link = chunk.targets.iter().filter(|target| target.on_link);
        let on_link = on_link.map(|target| target.device);
        chunk.to_link = match message.push.options.strategies.of(self.provider) {
            Strategy::LinkFirst if message.falls_back_at().is_some() => on_link.collect(),
            // What does not come back is only for those of them who are there.
            Strategy::LinkFirst | Strategy::LinkIfConnected => {
                self.context.link.present(self.app, on_link)
            }
            Strategy::LinkOnly | Strategy::ProviderFirst | Strategy::ProviderOnly => return,
        };
    }

    /// Writes chunks down as pages, and wakes the lanes that they are for.
    async fn cut(&mut self, chunks: Vec<Arc<Chunk>>) -> Result<(), StoreError> {
        let store = Arc::clone(&self.context.store);
        let pages = chunks.len();
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
        for lane in &lanes {
            // Some too many perhaps, until the lane is heard of.
            self.signal.fed(lane.environment, pages);
        }
        self.wakes.wake(lanes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_lane_that_has_most_decides_unless_it_stands_still() {
        let (production, sandbox) = (Some(Environment::Production), Some(Environment::Sandbox));
        let signal = CutSignal::default();
        let now = Instant::now();
        let appetite = |at| signal.appetite(&[], at);
        // As after a start.
        assert_eq!(appetite(now), Appetite::Some);
        // Nobody of the audience may be in it.
        signal.heard(sandbox, 0);
        assert_eq!(appetite(now), Appetite::Some);
        signal.fed(production, AHEAD_MAX);
        let stands_still = now + STANDS_STILL;
        assert_eq!(appetite(now), Appetite::Held(stands_still));
        assert_eq!(appetite(stands_still), Appetite::Some);
        signal.heard(production, AHEAD_MAX - 1);
        assert_eq!(appetite(now), Appetite::Some);
        // What stands behind an older message is ahead of the lane as well.
        let behind = signal.appetite(&[production], now);
        assert_eq!(behind, Appetite::Held(stands_still));
        signal.fed(sandbox, 1);
        assert_eq!(appetite(now), Appetite::None);
    }
}
