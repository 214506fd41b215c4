//! What is forgotten by time: records that are no longer kept.

use std::time::Duration;

use rusqlite::params;
use tidings_model::{Life, UnixMillis};

use crate::limits::CID_KEPT;
use crate::slice::{Cleared, Slice};
use crate::tables::{CHANNELS, CIDS, LABELS};
use crate::{Store, StoreError, WriteTx};

impl Store {
    /// Forgets a slice of what is too old: finished messages that were accepted longer than `kept` ago, old `cid`s, and channels
    /// and labels that had ended before the oldest message that is kept.
    ///
    /// By times and never by ids, which may have run ahead of the clock.
    pub async fn purge(&self, now: UnixMillis, kept: Duration) -> Result<Cleared, StoreError> {
        let work = move |tx: &mut WriteTx<'_>| purge(tx, now, kept);
        self.engine.write_alone(work).await
    }
}

fn purge(tx: &mut WriteTx<'_>, now: UnixMillis, kept: Duration) -> Result<Cleared, StoreError> {
    let mut slice = Slice::new(tx.sql);
    let old =
        "INDEXED BY messages_over WHERE finished = 1 AND accepted_at < ?1 ORDER BY accepted_at";
    let done = slice.forget_messages(old, now.minus(kept).0)?
        && slice.clear(&CIDS, "at < ?1", &[now.minus(CID_KEPT).0])?
        && forget_ended(&mut slice)?;
    Ok(slice.end(done))
}

/// A life that ended before the oldest message is asked about by none.
fn forget_ended(slice: &mut Slice<'_>) -> Result<bool, StoreError> {
    let mut select = slice
        .sql
        .prepare_cached("SELECT coalesce(min(id), ?1) FROM messages")?;
    let oldest = select.query_row(params![Life::ON], |row| row.get(0))?;
    // The second condition is that of the index.
    let ended = "until < ?1 AND until < 9223372036854775807";
    Ok(slice.clear(&CHANNELS, ended, &[oldest])? && slice.clear(&LABELS, ended, &[oldest])?)
}
