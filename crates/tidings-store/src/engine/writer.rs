//! The one thread that writes.
//!
//! It runs as many waiting closures as there are, up to a number and a time of work, in one transaction, each but the first in
//! a savepoint of its own, and answers only after the commit: that is the group commit which makes `synchronous=FULL` affordable.
//! What writes many rows runs alone: in a savepoint SQLite keeps each page as it was, in memory, and every statement that may
//! fail half-way walks over all that is kept.
//! What each caller is told is true: *failed* means that nothing of its work is in the database, *done* that all of it is
//! durable.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tidings_model::{AppId, DeviceId, IdClock, UnixMillis};
use tokio::sync::{mpsc, oneshot};
use tracing::error;

use super::{DeviceNews, Watchers, caught};
use crate::StoreError;
use crate::limits::{WRITE_GROUP_MAX, WRITE_GROUP_TIME};
use crate::marks::Mark;

/// What a writing closure works with.
pub(crate) struct WriteTx<'a> {
    pub(crate) sql: &'a Connection,
    /// Ids are drawn inside the writer, so they are committed in their own order: who has seen one has seen all before.
    pub(crate) ids: &'a mut IdClock,
    pub(crate) now: UnixMillis,
    /// What leases are judged by: the time since the store was opened, which nobody sets. A wall clock that is put forward would
    /// end all of them at once, though their owners are well.
    pub(crate) lease_clock: UnixMillis,
    /// Of devices, for whoever holds one in memory.
    pub(crate) news: Vec<(AppId, DeviceId, DeviceNews)>,
    /// When the transaction began.
    pub(super) begun: Instant,
    /// Whether nothing has been done in the transaction: then it needs no savepoint.
    is_first: bool,
    /// What was done first has failed, and its caller knows: there is nothing to commit.
    is_void: bool,
    /// Why the whole transaction cannot be committed any more.
    undone: Option<Arc<StoreError>>,
}

pub(super) struct WriteJob {
    /// In a transaction of its own.
    alone: bool,
    work: Work,
}

/// Told what it works with, or why there is nothing to work with.
type Work = Box<dyn FnOnce(Result<&mut WriteTx<'_>, StoreError>) -> Option<Reply> + Send>;

/// Called after the transaction has ended, with whether it was committed.
pub(super) type Reply = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// `work` as a job that sends what became of it. It has no reply when the answer does not depend on the commit.
pub(super) fn job<R, W>(
    work: W,
    alone: bool,
    answer: oneshot::Sender<Result<R, StoreError>>,
) -> WriteJob
where
    R: Send + 'static,
    W: FnOnce(&mut WriteTx<'_>) -> Result<R, StoreError> + Send + 'static,
{
    // Wherever an answer is sent, the caller may have gone away; then nobody wants it.
    let work: Work = Box::new(move |tx| match tx.and_then(|tx| tx.apart(work)) {
        Ok(result) => Some(Box::new(move |end: Result<(), StoreError>| {
            let _ = answer.send(end.map(|()| result));
        })),
        Err(error) => {
            let _ = answer.send(Err(error));
            None
        }
    });
    WriteJob { alone, work }
}

impl WriteTx<'_> {
    /// Undoes what `work` did when it fails, so that one caller's error does not touch the others of its group.
    ///
    /// Where that is not possible everything is undone: SQLite itself rolls the whole transaction back on a full disk, an
    /// I/O error or a lack of memory in mid-statement, and what came after would be in no transaction at all.
    fn apart<R>(
        &mut self,
        work: impl FnOnce(&mut WriteTx<'_>) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        if std::mem::take(&mut self.is_first) {
            let result = caught(|| work(self));
            self.is_void = result.is_err();
            return result;
        }
        let step = |sql: &Connection, text| -> Result<(), StoreError> {
            sql.prepare_cached(text)?.execute([])?;
            Ok(())
        };
        step(self.sql, "SAVEPOINT job").map_err(|error| self.undo(error))?;
        let result = caught(|| work(self));
        if self.sql.is_autocommit() {
            let silent = || StoreError::Stored("a job went on after a rollback".into());
            return Err(self.undo(result.err().unwrap_or_else(silent)));
        }
        if result.is_err() {
            step(self.sql, "ROLLBACK TO job").map_err(|error| self.undo(error))?;
        }
        step(self.sql, "RELEASE job").map_err(|error| self.undo(error))?;
        result
    }

    /// Gives the whole transaction up.
    fn undo(&mut self, cause: StoreError) -> StoreError {
        let cause = Arc::new(cause);
        self.undone = Some(Arc::clone(&cause));
        StoreError::Undone(cause)
    }
}

pub(super) struct Writer {
    ids: IdClock,
    /// The greatest id that the database knows to be given out.
    mark: i64,
    /// A job that goes alone, and was found behind others.
    next: Option<WriteJob>,
    opened: (UnixMillis, Instant),
    sql: Connection,
    watchers: Watchers,
}

impl Writer {
    pub(super) fn new(sql: Connection, watchers: Watchers) -> Result<Self, StoreError> {
        let mark = Mark::Id.value(&sql)?;
        Ok(Self {
            ids: IdClock::after(mark),
            mark,
            next: None,
            opened: (UnixMillis::now(), Instant::now()),
            sql,
            watchers,
        })
    }

    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<WriteJob>) {
        let mut replies = Vec::with_capacity(WRITE_GROUP_MAX);
        while let Some(first) = self.next.take().or_else(|| jobs.blocking_recv()) {
            let end = self.group(first, &mut jobs, &mut replies);
            if let Err(cause) = &end {
                error!(error = %cause, undone = replies.len(), "the store could not commit");
            }
            for reply in replies.drain(..) {
                reply(end.clone().map_err(StoreError::Undone));
            }
        }
    }

    /// One transaction. The error is what `replies` have to be told: all of them were undone.
    fn group(
        &mut self,
        first: WriteJob,
        jobs: &mut mpsc::Receiver<WriteJob>,
        replies: &mut Vec<Reply>,
    ) -> Result<(), Arc<StoreError>> {
        let transaction = match Transaction::new(&mut self.sql, TransactionBehavior::Immediate) {
            Ok(transaction) => transaction,
            Err(error) => {
                refuse(error, first, jobs);
                return Ok(());
            }
        };
        let mut tx = WriteTx {
            sql: &transaction,
            ids: &mut self.ids,
            now: UnixMillis::now(),
            lease_clock: self.opened.0.plus(self.opened.1.elapsed()),
            news: Vec::new(),
            begun: Instant::now(),
            is_first: true,
            is_void: false,
            undone: None,
        };
        let mut run = 0;
        let mut job = Some(first);
        while let Some(WriteJob { alone, work }) = job {
            replies.extend(work(Ok(&mut tx)));
            if tx.is_void {
                break;
            }
            run += 1;
            let is_open = !alone
                && tx.undone.is_none()
                && run < WRITE_GROUP_MAX
                && tx.begun.elapsed() < WRITE_GROUP_TIME;
            job = is_open.then(|| jobs.try_recv().ok()).flatten();
            if job.as_ref().is_some_and(|job| job.alone) {
                self.next = job.take();
            }
        }
        if let Some(cause) = tx.undone {
            return Err(cause);
        }
        let news = match tx.is_void {
            false => tx.news,
            // Of what is undone only the ids that it drew are kept: somebody may have seen them.
            true => {
                // SQLite may have done so itself.
                let begin = match transaction.is_autocommit() {
                    true => "BEGIN IMMEDIATE",
                    false => "ROLLBACK; BEGIN IMMEDIATE",
                };
                let begun = transaction.execute_batch(begin);
                begun.map_err(|error| Arc::new(error.into()))?;
                Vec::new()
            }
        };
        let last = self.ids.last();
        // Before they leave the house: no later start may give the same ids out.
        if last > self.mark {
            Mark::Id.set(&transaction, last).map_err(Arc::new)?;
        }
        transaction
            .commit()
            .map_err(|error| Arc::new(error.into()))?;
        self.mark = last;
        tell(&self.watchers, &news);
        Ok(())
    }
}

fn tell(watchers: &Watchers, news: &[(AppId, DeviceId, DeviceNews)]) {
    if news.is_empty() {
        return;
    }
    let mut watchers = watchers.lock().unwrap_or_else(PoisonError::into_inner);
    watchers.retain(|watcher| {
        let mut news = news.iter();
        news.all(|(app, device, news)| watcher(*app, *device, *news))
    });
}

/// Tells all who wait by now that no transaction could begin: they have waited together, and would otherwise fail one after
/// another.
fn refuse(error: rusqlite::Error, first: WriteJob, jobs: &mut mpsc::Receiver<WriteJob>) {
    let cause = Arc::new(error);
    let waiting = jobs.len();
    let others = std::iter::from_fn(|| jobs.try_recv().ok()).take(waiting);
    for job in std::iter::once(first).chain(others) {
        (job.work)(Err(StoreError::Begin(Arc::clone(&cause))));
    }
    let refused = 1 + waiting;
    error!(error = %StoreError::Begin(cause), refused, "the store could not begin to write");
}
