//! Migrations: numbered SQL files, applied in order, each once, each in its own transaction.

use rusqlite::Connection;

use crate::StoreError;

/// In order; a released one is never edited, only followed.
const MIGRATIONS: [&str; 13] = [
    include_str!("../migrations/sqlite/0001_first.sql"),
    include_str!("../migrations/sqlite/0002_lives.sql"),
    include_str!("../migrations/sqlite/0003_deletion.sql"),
    include_str!("../migrations/sqlite/0004_log.sql"),
    include_str!("../migrations/sqlite/0005_pages.sql"),
    include_str!("../migrations/sqlite/0006_quotas.sql"),
    include_str!("../migrations/sqlite/0007_receipts.sql"),
    include_str!("../migrations/sqlite/0008_strategies.sql"),
    include_str!("../migrations/sqlite/0009_order.sql"),
    include_str!("../migrations/sqlite/0010_former_tokens.sql"),
    include_str!("../migrations/sqlite/0011_callbacks.sql"),
    include_str!("../migrations/sqlite/0012_leaving.sql"),
    include_str!("../migrations/sqlite/0013_message_by.sql"),
];

/// Brings the database to this binary's schema. Refuses one that is newer.
pub(crate) fn migrate(sql: &mut Connection) -> Result<(), StoreError> {
    let version: usize = sql.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version > MIGRATIONS.len() {
        return Err(StoreError::NewerSchema {
            found: version,
            known: MIGRATIONS.len(),
        });
    }
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(version) {
        let transaction = sql.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", index + 1)?;
        transaction.commit()?;
    }
    Ok(())
}
