//! High-water marks: the greatest of what was ever given out. A row that is deleted takes no mark back, so nothing is given
//! twice.

use rusqlite::{Connection, params};

use crate::StoreError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Of the numbers of apps.
    App,
    /// Of the clock that devices, messages and lives draw from.
    Id,
}

impl Mark {
    fn name(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Id => "id",
        }
    }

    pub(crate) fn value(self, sql: &Connection) -> Result<i64, StoreError> {
        let mut select = sql.prepare_cached("SELECT value FROM marks WHERE name = ?1")?;
        Ok(select.query_row(params![self.name()], |row| row.get(0))?)
    }

    /// In the transaction that gives `value` out.
    pub(crate) fn set(self, sql: &Connection, value: i64) -> Result<(), StoreError> {
        let mut update = sql.prepare_cached("UPDATE marks SET value = ?2 WHERE name = ?1")?;
        update.execute(params![self.name(), value])?;
        Ok(())
    }
}
