//! Deleting a little at a time, so that whatever is deleted, however much hangs on it, holds the writer for some
//! milliseconds only.

use std::time::{Duration, Instant};

use rusqlite::types::ToSql;
use rusqlite::{Connection, params_from_iter};
use tidings_model::MsgId;

use crate::StoreError;
use crate::limits::{SLICE_ROWS_MAX, SLICE_TIME, STEP_ROWS};
use crate::tables::{OF_MESSAGE, Table};

/// What a slice of clearing did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleared {
    /// There is more to do: call again.
    pub more: bool,
    pub rows: usize,
    /// For how long it held the writer, without the commit.
    pub took: Duration,
}

/// One job's share of a deletion.
pub(crate) struct Slice<'a> {
    begun: Instant,
    rows: usize,
    pub(crate) sql: &'a Connection,
}

impl<'a> Slice<'a> {
    pub(crate) fn new(sql: &'a Connection) -> Self {
        Self {
            begun: Instant::now(),
            rows: 0,
            sql,
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.rows >= SLICE_ROWS_MAX || self.begun.elapsed() >= SLICE_TIME
    }

    /// Takes rows that were changed by other means into account.
    pub(crate) fn count(&mut self, rows: usize) {
        self.rows += rows;
    }

    /// `done`: nothing is left to do.
    pub(crate) fn end(self, done: bool) -> Cleared {
        Cleared {
            more: !done,
            rows: self.rows,
            took: self.begun.elapsed(),
        }
    }

    /// Deletes the rows of `table` that `wanted` says, with `by` bound in it; false when the slice was over before it knew
    /// that none is left.
    pub(crate) fn clear(
        &mut self,
        table: &Table,
        wanted: &str,
        by: &[i64],
    ) -> Result<bool, StoreError> {
        let text = table.delete_some(wanted, by.len() + 1);
        let mut delete = self.sql.prepare_cached(&text)?;
        let step = STEP_ROWS as i64;
        while !self.is_over() {
            let bound = by.iter().chain([&step]).map(|value| value as &dyn ToSql);
            let deleted = delete.execute(params_from_iter(bound))?;
            self.rows += deleted;
            if deleted < STEP_ROWS {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Deletes a message and all that hangs on it, children first; false when the slice was over before. The message goes in a
    /// transaction that has seen it without children, so whoever inserts one and has seen the message leaves none behind.
    pub(crate) fn forget_message(&mut self, id: MsgId) -> Result<bool, StoreError> {
        for table in &OF_MESSAGE {
            if !self.clear(table, "message = ?1", &[id.0])? {
                return Ok(false);
            }
        }
        let mut delete = self
            .sql
            .prepare_cached("DELETE FROM messages WHERE id = ?1")?;
        self.rows += delete.execute([id.0])?;
        Ok(true)
    }

    /// The same for the messages that `wanted` says, in its order; false when the slice was over before.
    pub(crate) fn forget_messages(&mut self, wanted: &str, by: i64) -> Result<bool, StoreError> {
        let text = format!("SELECT id FROM messages {wanted} LIMIT ?2");
        let sql = self.sql;
        let mut select = sql.prepare_cached(&text)?;
        loop {
            let ids = select.query_map([by, STEP_ROWS as i64], |row| row.get(0).map(MsgId))?;
            let ids = ids.collect::<Result<Vec<_>, _>>()?;
            for id in &ids {
                if !self.forget_message(*id)? {
                    return Ok(false);
                }
            }
            if ids.len() < STEP_ROWS {
                return Ok(true);
            }
        }
    }
}
