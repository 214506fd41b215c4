//! What ends by time: messages that expire, and records that are no longer kept.

use std::time::Duration;

use rusqlite::params;
use tidings_model::{IdClock, UnixMillis};

use crate::apps::BY_MESSAGE;
use crate::limits::CID_KEPT;
use crate::{Store, StoreError, WriteTx, ledger};

/// Records dropped in one go; a larger backlog takes several, so that others get their turn at the writer.
const PURGE_MAX: u32 = 200;

/// What a round of [`Store::purge`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purged {
    pub finished: usize,
    pub forgotten: usize,
    /// There is more of it: call again.
    pub more: bool,
}

impl Store {
    /// Finishes messages whose time is over, forgets those that were accepted longer than `kept` ago, and old `cid`s.
    pub async fn purge(&self, now: UnixMillis, kept: Duration) -> Result<Purged, StoreError> {
        let purge = move |tx: &mut WriteTx<'_>| {
            let finished = ledger::finish(tx, now, PURGE_MAX)?;
            // Ids are ordered by time, so what is old lies together at the start.
            let before = IdClock::floor(now.minus(kept));
            let old = "SELECT id FROM messages WHERE id < ?1 AND finished = 1 ORDER BY id LIMIT ?2";
            for table in BY_MESSAGE {
                let forget = format!("DELETE FROM {table} WHERE message IN ({old})");
                tx.sql
                    .prepare_cached(&forget)?
                    .execute(params![before, PURGE_MAX])?;
            }
            let forgotten = tx
                .sql
                .prepare_cached(&format!("DELETE FROM messages WHERE id IN ({old})"))?
                .execute(params![before, PURGE_MAX])?;
            let cids = "DELETE FROM cids WHERE at < ?1";
            tx.sql
                .prepare_cached(cids)?
                .execute(params![now.minus(CID_KEPT).0])?;
            let more = finished == PURGE_MAX as usize || forgotten == PURGE_MAX as usize;
            Ok(Purged {
                finished,
                forgotten,
                more,
            })
        };
        self.engine.write(purge).await
    }
}
