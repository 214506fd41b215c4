//! The threads that own the SQLite connections: one that writes, a few that read single rows, a few that scan.
//!
//! Callers hand a closure over and await its result. The writer runs as many waiting closures as there are (up to a bound)
//! in one transaction and answers only after the commit ([`writer`]). Nothing waits in memory without a bound: a full
//! queue makes callers wait.

mod writer;

#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tidings_model::{AppId, DeviceId};
use tokio::sync::{mpsc, oneshot};
use tracing::error;

use crate::StoreError;
use crate::limits::{
    CACHE_KIB, JOURNAL_KEPT_BYTES, POINT_READERS, READ_QUEUE_MAX, ROWS_TOGETHER, SCAN_CACHE_KIB,
    SCAN_READERS, STATEMENTS_MAX, WRITE_QUEUE_MAX,
};
use writer::{WriteJob, Writer};

pub(crate) use writer::WriteTx;

type ReadJob = Box<dyn FnOnce(&Connection) + Send>;

/// What there is to be told of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceNews {
    /// Its record has changed.
    Changed,
    /// Something has come to its inbox.
    Inbox,
}

/// Told of each device of which there is news, in the order of the commits and before the next of them begins, so that
/// nothing which was written later can be seen before the news. False when it wants to hear no more.
pub(crate) type Watcher = Box<dyn Fn(AppId, DeviceId, DeviceNews) -> bool + Send>;

type Watchers = Arc<Mutex<Vec<Watcher>>>;

pub(crate) struct Engine {
    writes: Option<mpsc::Sender<WriteJob>>,
    points: Option<mpsc::Sender<ReadJob>>,
    scans: Option<mpsc::Sender<ReadJob>>,
    threads: Vec<JoinHandle<()>>,
    watchers: Watchers,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Point,
    Scan,
    Writer,
}

impl Engine {
    /// Opens `path` for one writer and its readers. The schema must be in place.
    pub(crate) fn start(path: &Path) -> Result<Self, StoreError> {
        let (writes, write_jobs) = mpsc::channel(WRITE_QUEUE_MAX);
        let watchers = Watchers::default();
        let writer = Writer::new(connect(path, Role::Writer)?, Arc::clone(&watchers))?;
        let mut threads = vec![spawn("store-writer", move || writer.run(write_jobs))?];
        let points = readers(path, Role::Point, POINT_READERS, &mut threads)?;
        let scans = readers(path, Role::Scan, SCAN_READERS, &mut threads)?;
        Ok(Self {
            writes: Some(writes),
            points: Some(points),
            scans: Some(scans),
            threads,
            watchers,
        })
    }

    /// Waits until its threads take no more work: while this is held, only a fault of ours ends them.
    pub(crate) async fn ended(&self) {
        let (Some(writes), Some(points), Some(scans)) = (&self.writes, &self.points, &self.scans)
        else {
            return;
        };
        tokio::select! {
            () = writes.closed() => {}
            () = points.closed() => {}
            () = scans.closed() => {}
        }
    }

    /// From now on `watcher` is told of the news of devices.
    pub(crate) fn watch(&self, watcher: Watcher) {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.push(watcher);
    }

    /// Runs `work` in the next transaction and returns once that is durable. An error means that nothing of it was done.
    /// Cancel safe in that the work is done or not done, but a caller that goes away does not learn which.
    pub(crate) async fn write<R, W>(&self, work: W) -> Result<R, StoreError>
    where
        R: Send + 'static,
        W: FnOnce(&mut WriteTx<'_>) -> Result<R, StoreError> + Send + 'static,
    {
        self.write_in(false, work).await
    }

    /// As [`Self::write`], in a transaction of its own: for what writes more than some rows.
    pub(crate) async fn write_alone<R, W>(&self, work: W) -> Result<R, StoreError>
    where
        R: Send + 'static,
        W: FnOnce(&mut WriteTx<'_>) -> Result<R, StoreError> + Send + 'static,
    {
        self.write_in(true, work).await
    }

    /// The one or the other, by the number of rows.
    pub(crate) async fn write_rows<R, W>(&self, rows: usize, work: W) -> Result<R, StoreError>
    where
        R: Send + 'static,
        W: FnOnce(&mut WriteTx<'_>) -> Result<R, StoreError> + Send + 'static,
    {
        self.write_in(rows > ROWS_TOGETHER, work).await
    }

    async fn write_in<R, W>(&self, alone: bool, work: W) -> Result<R, StoreError>
    where
        R: Send + 'static,
        W: FnOnce(&mut WriteTx<'_>) -> Result<R, StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let writes = self.writes.as_ref().ok_or(StoreError::Closed)?;
        let job = writer::job(work, alone, answer);
        writes.send(job).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// Runs `work`, which reads a few rows by their keys, on a connection that sees all that was committed before, and
    /// nothing that is committed meanwhile.
    pub(crate) async fn read<R, W>(&self, work: W) -> Result<R, StoreError>
    where
        R: Send + 'static,
        W: FnOnce(&Connection) -> Result<R, StoreError> + Send + 'static,
    {
        hand_over(self.points.as_ref(), work).await
    }

    /// As [`Self::read`], for what walks over many rows: no point read waits for it. Who has more than some 10,000 rows to
    /// see asks in slices, since a snapshot that stands for long lets the log file grow.
    pub(crate) async fn scan<R, W>(&self, work: W) -> Result<R, StoreError>
    where
        R: Send + 'static,
        W: FnOnce(&Connection) -> Result<R, StoreError> + Send + 'static,
    {
        hand_over(self.scans.as_ref(), work).await
    }
}

impl Drop for Engine {
    /// Finishes what is queued, then closes the database: the last connection checkpoints the log.
    fn drop(&mut self) {
        self.writes = None;
        self.points = None;
        self.scans = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                error!("a store thread panicked");
            }
        }
    }
}

async fn hand_over<R, W>(readers: Option<&mpsc::Sender<ReadJob>>, work: W) -> Result<R, StoreError>
where
    R: Send + 'static,
    W: FnOnce(&Connection) -> Result<R, StoreError> + Send + 'static,
{
    let (answer, answered) = oneshot::channel();
    let job: ReadJob = Box::new(move |sql| {
        let snapshot = sql.unchecked_transaction().map_err(StoreError::from);
        let result = snapshot.and_then(|snapshot| caught(|| work(&snapshot)));
        // The caller may have gone away; then nobody wants the answer.
        let _ = answer.send(result);
    });
    let readers = readers.ok_or(StoreError::Closed)?;
    readers.send(job).await.map_err(|_| StoreError::Closed)?;
    answered.await.map_err(|_| StoreError::Closed)?
}

/// A panic as an error, so that one caller's fault ends no thread that serves all. What `work` held is dropped with it, and
/// what it wrote is undone by whoever runs it.
pub(crate) fn caught<R>(work: impl FnOnce() -> Result<R, StoreError>) -> Result<R, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Err(StoreError::Panicked(
            text.unwrap_or("without a word").into(),
        ))
    })
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(body)
        .map_err(StoreError::Io)
}

/// A pool of threads that share one queue.
fn readers(
    path: &Path,
    role: Role,
    count: usize,
    threads: &mut Vec<JoinHandle<()>>,
) -> Result<mpsc::Sender<ReadJob>, StoreError> {
    let (reads, jobs) = mpsc::channel(READ_QUEUE_MAX);
    let jobs = Arc::new(Mutex::new(jobs));
    for _ in 0..count {
        let reader = connect(path, role)?;
        let jobs = Arc::clone(&jobs);
        threads.push(spawn("store-reader", move || read_loop(&reader, &jobs))?);
    }
    Ok(reads)
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

pub(crate) fn connect(path: &Path, role: Role) -> Result<Connection, StoreError> {
    let access = match role {
        Role::Writer => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        Role::Point | Role::Scan => OpenFlags::SQLITE_OPEN_READ_ONLY,
    };
    let sql = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    #[cfg(test)]
    let sql = {
        let mut sql = sql;
        crate::plans::attach(path, &mut sql)?;
        sql
    };
    sql.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // No plan hangs on what is bound to it: else SQLite makes one anew for each run of a statement that binds its LIMIT, or
    // whose table has a partial index, and that is half of what a read costs.
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // 5 s for a writer from outside (a backup, say) to finish.
    sql.execute_batch(
        "PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = OFF; PRAGMA temp_store = MEMORY;",
    )?;
    let cache = match role {
        Role::Point | Role::Writer => CACHE_KIB,
        Role::Scan => SCAN_CACHE_KIB,
    };
    sql.execute_batch(&format!("PRAGMA cache_size = -{cache};"))?;
    if role == Role::Writer {
        sql.execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA journal_size_limit = {JOURNAL_KEPT_BYTES};"
        ))?;
    }
    Ok(sql)
}
