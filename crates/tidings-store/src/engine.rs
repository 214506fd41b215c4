//! The threads that own the SQLite connections: one that writes, a few that read.
//!
//! Callers hand a closure over and await its result. The writer runs as many waiting closures as there are (up to a bound)
//! in one transaction, each in a savepoint of its own, and answers only after the commit: that is the group commit which
//! makes `synchronous=FULL` affordable. Nothing waits in memory without a bound: a full queue makes callers wait.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use tidings_model::{IdClock, UnixMillis};
use tokio::sync::{mpsc, oneshot};
use tracing::error;

use crate::StoreError;
use crate::limits::{READ_QUEUE_MAX, READERS, STATEMENTS_MAX, WRITE_GROUP_MAX, WRITE_QUEUE_MAX};

/// What a writing closure works with.
pub(crate) struct WriteTx<'a> {
    pub(crate) sql: &'a Connection,
    /// Ids are drawn inside the writer, so they are committed in their own order: who has seen one has seen all before.
    pub(crate) ids: &'a mut IdClock,
    pub(crate) now: UnixMillis,
}

type WriteJob = Box<dyn FnOnce(&mut WriteTx<'_>) -> Reply + Send>;
type ReadJob = Box<dyn FnOnce(&Connection) + Send>;

/// Called after the transaction has ended, with whether it was committed.
type Reply = Box<dyn FnOnce(Result<(), StoreError>) -> bool + Send>;

pub(crate) struct Engine {
    writes: Option<mpsc::Sender<WriteJob>>,
    reads: Option<mpsc::Sender<ReadJob>>,
    threads: Vec<JoinHandle<()>>,
}

impl Engine {
    /// Opens `path` for one writer and a few readers. The schema must be in place.
    pub(crate) fn start(path: &Path, ids: IdClock) -> Result<Self, StoreError> {
        let (writes, write_jobs) = mpsc::channel(WRITE_QUEUE_MAX);
        let (reads, read_jobs) = mpsc::channel(READ_QUEUE_MAX);
        let read_jobs = Arc::new(Mutex::new(read_jobs));
        let writer = connect(path, false)?;
        let mut threads = vec![spawn("store-writer", move || {
            write_loop(writer, ids, write_jobs)
        })?];
        for _ in 0..READERS {
            let reader = connect(path, true)?;
            let jobs = Arc::clone(&read_jobs);
            threads.push(spawn("store-reader", move || read_loop(&reader, &jobs))?);
        }
        Ok(Self {
            writes: Some(writes),
            reads: Some(reads),
            threads,
        })
    }

    /// Runs `work` in the next transaction and returns once that is durable. Cancel safe in that the work is done or
    /// not done, but a caller that goes away does not learn which.
    pub(crate) async fn write<R, W>(&self, work: W) -> Result<R, StoreError>
    where
        R: Send + 'static,
        W: FnOnce(&mut WriteTx<'_>) -> Result<R, StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: WriteJob = Box::new(move |tx| match savepoint(tx, work) {
            Ok(result) => Box::new(move |end: Result<(), StoreError>| {
                answer.send(end.map(|()| result)).is_ok()
            }),
            Err(error) => Box::new(move |_| answer.send(Err(error)).is_ok()),
        });
        let writes = self.writes.as_ref().ok_or(StoreError::Closed)?;
        writes.send(job).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// Runs `work` on a connection that sees all that was committed before, and nothing that is committed meanwhile.
    pub(crate) async fn read<R, W>(&self, work: W) -> Result<R, StoreError>
    where
        R: Send + 'static,
        W: FnOnce(&Connection) -> Result<R, StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: ReadJob = Box::new(move |sql| {
            let snapshot = sql.unchecked_transaction().map_err(StoreError::from);
            // The caller may have gone away; then nobody wants the answer.
            let _ = answer.send(snapshot.and_then(|snapshot| work(&snapshot)));
        });
        let reads = self.reads.as_ref().ok_or(StoreError::Closed)?;
        reads.send(job).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }
}

impl Drop for Engine {
    /// Finishes what is queued, then closes the database: the last connection checkpoints the log.
    fn drop(&mut self) {
        self.writes = None;
        self.reads = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                error!("a store thread panicked");
            }
        }
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(body)
        .map_err(StoreError::Io)
}

pub(crate) fn connect(path: &Path, read_only: bool) -> Result<Connection, StoreError> {
    let access = if read_only {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    } else {
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE
    };
    let sql = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    sql.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // 32 MiB of pages for each connection; 5 s for a writer from outside (a backup, say) to finish.
    sql.execute_batch(
        "PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON; PRAGMA cache_size = -32768; PRAGMA temp_store = MEMORY;",
    )?;
    if !read_only {
        sql.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")?;
    }
    Ok(sql)
}

fn write_loop(mut sql: Connection, mut ids: IdClock, mut jobs: mpsc::Receiver<WriteJob>) {
    let mut replies = Vec::with_capacity(WRITE_GROUP_MAX);
    while let Some(first) = jobs.blocking_recv() {
        let end = write_group(&mut sql, &mut ids, first, &mut jobs, &mut replies);
        if let Err(error) = &end {
            error!(%error, "the store could not commit");
        }
        for reply in replies.drain(..) {
            reply(end.as_ref().map(|_| ()).map_err(StoreError::again));
        }
    }
}

fn write_group(
    sql: &mut Connection,
    ids: &mut IdClock,
    first: WriteJob,
    jobs: &mut mpsc::Receiver<WriteJob>,
    replies: &mut Vec<Reply>,
) -> Result<(), StoreError> {
    let transaction = Transaction::new(sql, TransactionBehavior::Immediate)?;
    let mut tx = WriteTx {
        sql: &transaction,
        ids,
        now: UnixMillis::now(),
    };
    let mut job = Some(first);
    while let Some(work) = job {
        replies.push(work(&mut tx));
        job = if replies.len() < WRITE_GROUP_MAX {
            jobs.try_recv().ok()
        } else {
            None
        };
    }
    Ok(transaction.commit()?)
}

/// Undoes what `work` did when it fails, so that one caller's error does not touch the others of its group.
fn savepoint<R>(
    tx: &mut WriteTx<'_>,
    work: impl FnOnce(&mut WriteTx<'_>) -> Result<R, StoreError>,
) -> Result<R, StoreError> {
    tx.sql.prepare_cached("SAVEPOINT job")?.execute([])?;
    let result = work(tx);
    if result.is_err() {
        tx.sql.prepare_cached("ROLLBACK TO job")?.execute([])?;
    }
    tx.sql.prepare_cached("RELEASE job")?.execute([])?;
    result
}

fn read_loop(sql: &Connection, jobs: &Mutex<mpsc::Receiver<ReadJob>>) {
    loop {
        let job = jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .blocking_recv();
        match job {
            Some(job) => job(sql),
            None => return,
        }
    }
}
