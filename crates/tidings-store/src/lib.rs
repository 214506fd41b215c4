//! The only SQL: the registry, the message log, pages, the ledger, and sealed credentials, on embedded SQLite.
//!
//! What a caller awaited is durable (write-ahead log, `synchronous=FULL`, group commit). All times and ids come from the
//! writer, in the order of its commits.

mod acks;
mod addresses;
mod adopt;
mod apps;
mod audience;
mod callbacks;
mod candidates;
mod channels;
mod codes;
mod credentials;
mod cursor;
mod detail;
mod devices;
mod engine;
mod fallback;
mod finish;
mod flush;
mod inbox;
mod labels;
mod lease;
mod ledger;
pub mod limits;
mod log;
mod marks;
mod members;
mod messages;
mod narrowing;
mod order;
mod pages;
#[cfg(test)]
mod plans;
mod progress;
mod receipts;
mod retention;
mod route;
mod schema;
mod seal;
mod slice;
mod sweep;
mod tables;
mod tasks;
mod trace;
mod varint;

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

pub use acks::{ACKNOWLEDGED_LATE, Ack, Acked, LinkEnd, LogEnd, TOO_LARGE};
pub use addresses::Address;
pub use apps::{App, AppChange};
pub use audience::{Scope, Target};
pub use callbacks::CallbackTurn;
pub use credentials::{CredentialRecord, CredentialSlot};
pub use cursor::{Cursor, Exception, Judged};
pub use detail::{Answer, Ending};
pub use devices::{
    Changed, ChannelChange, ChannelRecord, Device, DeviceChange, Login, NewDevice, Registered,
    TagChange,
};
pub use engine::DeviceNews;
pub use fallback::{Fallback, Fallbacks, FellBack};
pub use flush::{Delta, Flushed, Leaving, PageFlush, Removal, Rest, Why};
pub use inbox::{InboxRow, Waiting};
pub use lease::{Addressed, Leased, LeasedPage, OpenPage, Room};
pub use ledger::{Counts, DeviceEvent, EventKind, Ledger, Tally};
pub use log::{LogEntry, Lot, NOT_ACKNOWLEDGED, NOT_CONNECTED, Position, Step, Stretch};
pub use members::{Member, Tried};
pub use messages::Accepted;
pub use pages::{Class, LaneKey, PageKey, PageStanding, Waits};
pub use progress::{End, Progress};
pub use receipts::{Receipt, Report, Said};
pub use route::{InboxOf, LinkPlan, LinkTask};
pub use seal::{SealError, SealKey};
pub use slice::Cleared;
pub use tasks::{Chunk, OpenTask, OpenTasks, OpenWork, Turn};
pub use trace::{Journey, LinkStanding, Tombstone};

use crate::engine::{Engine, Role, WriteTx, connect};

/// Why the store could not do what it was asked. The text of each holds its cause, so that whoever prints it prints all of it.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Whoever asked has seen it before it was.
    #[error("the app has been forgotten")]
    AppForgotten,
    /// Nothing has been done, and the same may well work a moment later: another program holds the database, say.
    #[error("the database lets nobody write: {}", said(.0))]
    Begin(Arc<rusqlite::Error>),
    #[error("the store is shut down")]
    Closed,
    #[error("the data directory is in use by another process")]
    InUse,
    #[error("the data directory cannot be used: {0}")]
    Io(std::io::Error),
    #[error(
        "the database has schema {found}, this program knows up to {known}: start the newer program"
    )]
    NewerSchema { found: usize, known: usize },
    /// A fault of ours in what was asked; it was undone, and the store goes on.
    #[error("a part of the store panicked: {0}")]
    Panicked(Box<str>),
    #[error("a credential cannot be opened: {0}")]
    Seal(SealError),
    #[error("the database said no: {}", said(.0))]
    Sqlite(rusqlite::Error),
    #[error("a stored value cannot be read: {0}")]
    Stored(String),
    /// It shared a transaction that was not committed: nothing of it is there.
    #[error("the transaction that this belonged to was undone: {0}")]
    Undone(Arc<Self>),
}

impl StoreError {
    /// Whether the same would fail again, and nothing else would: what is stored there is at fault, or the program, and not the
    /// disk or whoever else holds the database.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Panicked(_) | Self::Stored(_) => true,
            Self::Sqlite(rusqlite::Error::SqliteFailure(cause, _)) => {
                cause.code == rusqlite::ErrorCode::ConstraintViolation
            }
            // A column that is not what it should be.
            Self::Sqlite(
                rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::Utf8Error(..),
            ) => true,
            _ => false,
        }
    }
}

/// SQLite's words, and its number, which tells a full disk from a broken one.
fn said(error: &rusqlite::Error) -> String {
    match error.sqlite_error() {
        Some(cause) => format!("{error} (SQLite {})", cause.extended_code),
        None => error.to_string(),
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<SealError> for StoreError {
    fn from(error: SealError) -> Self {
        Self::Seal(error)
    }
}

/// Everything that Tidings remembers. Cheap to share behind an `Arc`; dropping it finishes what is queued.
pub struct Store {
    engine: Engine,
    seal: SealKey,
    /// Held for as long as the store is open: leases can only be left over from a dead process.
    _lock: File,
}

impl Store {
    /// Opens the store in `dir`, making it when there is none.
    ///
    /// Fails with [`StoreError::InUse`] while another process has it open.
    pub fn open(dir: &Path, seal: SealKey) -> Result<Self, StoreError> {
        std::fs::create_dir_all(dir).map_err(StoreError::Io)?;
        let lock_file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(dir.join("lock"));
        let lock = lock_file.map_err(StoreError::Io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse),
            Err(TryLockError::Error(error)) => return Err(StoreError::Io(error)),
        }
        let path = dir.join("tidings.db");
        let mut sql = connect(&path, Role::Writer)?;
        schema::migrate(&mut sql)?;
        adopt::take_over(&mut sql)?;
        drop(sql);
        Ok(Self {
            engine: Engine::start(&path)?,
            seal,
            _lock: lock,
        })
    }

    /// Waits until the store takes no more work: while somebody holds it, only a fault of ours brings that about.
    pub async fn ended(&self) {
        self.engine.ended().await;
    }
}

/// A stored JSON text as the value that it was.
fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Stored(error.to_string()))
}

/// A value as the JSON text under which it is stored.
fn to_json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Stored(error.to_string()))
}
