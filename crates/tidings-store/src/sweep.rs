//! What has been deleted and is still there: it was marked, and gone for everyone who asks from then on; its rows go in
//! slices, children first, the marked row last. That row is all the progress that is kept: a process that is killed goes
//! on at the next start.

use rusqlite::{OptionalExtension, params};
use tidings_model::{AppId, DeviceId, MsgId, Platform, Provider};

use crate::codes::AsCode;
use crate::cursor::Cursor;
use crate::detail::Ending;
use crate::ledger::{self, Counts};
use crate::limits::{STEP_ROWS, SWEEP_LOG_ROWS};
use crate::log::Position;
use crate::slice::{Cleared, Slice};
use crate::tables::{EVENTS, INBOX, OF_APP, OF_DEVICE, TASKS};
use crate::{Store, StoreError, WriteTx, cursor, devices, log, messages};

impl Store {
    /// Clears a slice of what has been deleted. What cannot be cleared yet, since a message that is older than the deletion has
    /// not come to the device, does not count as more to do.
    pub async fn sweep(&self) -> Result<Cleared, StoreError> {
        self.engine.write(sweep).await
    }
}

fn sweep(tx: &mut WriteTx<'_>) -> Result<Cleared, StoreError> {
    let mut slice = Slice::new(tx.sql);
    let done = sweep_apps(&mut slice)? && sweep_devices(&mut slice)?;
    Ok(slice.end(done))
}

/// False when the slice was over before all were gone.
fn sweep_apps(slice: &mut Slice<'_>) -> Result<bool, StoreError> {
    let mut select = slice
        .sql
        .prepare_cached("SELECT id FROM apps WHERE deleted_at IS NOT NULL ORDER BY id LIMIT 1")?;
    loop {
        let app = select.query_row([], |row| row.get(0).map(AppId));
        let Some(app) = app.optional()? else {
            return Ok(true);
        };
        if !forget_app(slice, app)? {
            return Ok(false);
        }
    }
}

/// False when the slice was over before the app was gone.
fn forget_app(slice: &mut Slice<'_>, app: AppId) -> Result<bool, StoreError> {
    // What is still to be dispatched first: nobody has to turn to it any more.
    if !slice.clear(&TASKS, "app = ?1", &[app.0])?
        || !slice.forget_messages("WHERE app = ?1 ORDER BY id", app.0)?
    {
        return Ok(false);
    }
    for table in &OF_APP {
        if !slice.clear(table, "app = ?1", &[app.0])? {
            return Ok(false);
        }
    }
    let mut delete = slice.sql.prepare_cached("DELETE FROM apps WHERE id = ?1")?;
    slice.count(delete.execute(params![app.0])?);
    Ok(true)
}

/// A deleted device.
#[derive(Clone, Copy)]
struct Gone {
    app: AppId,
    device: DeviceId,
    platform: Platform,
}

/// False when the slice was over before all were gone that can be.
fn sweep_devices(slice: &mut Slice<'_>) -> Result<bool, StoreError> {
    let mut apps = slice.sql.prepare_cached(
        "SELECT app FROM devices INDEXED BY devices_deleted WHERE deleted_at IS NOT NULL AND app > ?1 ORDER BY app LIMIT 1",
    )?;
    let mut select = slice.sql.prepare_cached(
        "SELECT id, platform FROM devices INDEXED BY devices_deleted
         WHERE app = ?1 AND deleted_at IS NOT NULL AND deleted_at < ?2 ORDER BY deleted_at LIMIT 1",
    )?;
    let mut after = AppId(0);
    loop {
        let app = apps.query_row(params![after.0], |row| row.get(0).map(AppId));
        let Some(app) = app.optional()? else {
            return Ok(true);
        };
        let before = messages::first_open(slice.sql, app)?;
        loop {
            let gone = select.query_row(params![app.0, before.0], |row| {
                Ok(Gone {
                    app,
                    device: DeviceId(row.get(0)?),
                    platform: row.get::<_, AsCode<Platform>>(1)?.0,
                })
            });
            let Some(gone) = gone.optional()? else {
                break;
            };
            if !forget_device(slice, gone)? {
                return Ok(false);
            }
        }
        after = app;
    }
}

/// False when the slice was over before the device was gone.
fn forget_device(slice: &mut Slice<'_>, gone: Gone) -> Result<bool, StoreError> {
    let Gone { app, device, .. } = gone;
    if !drop_inbox(slice, gone)?
        || !drop_log(slice, gone)?
        || !slice.clear(&EVENTS, "device = ?1", &[device.0])?
        || !slice.clear(&INBOX, "app = ?1 AND device = ?2", &[app.0, device.0])?
    {
        return Ok(false);
    }
    for table in &OF_DEVICE {
        if !slice.clear(table, "app = ?1 AND device = ?2", &[app.0, device.0])? {
            return Ok(false);
        }
    }
    let mut delete = slice
        .sql
        .prepare_cached("DELETE FROM devices WHERE app = ?1 AND id = ?2")?;
    slice.count(delete.execute(params![app.0, device.0])?);
    Ok(true)
}

/// What waited for the device is dropped, row and count in one transaction; false when the slice was over before.
fn drop_inbox(slice: &mut Slice<'_>, gone: Gone) -> Result<bool, StoreError> {
    let place = [gone.app.0, gone.device.0];
    let mut select = slice.sql.prepare_cached(
        "SELECT i.message, i.parts, m.finished
         FROM inbox AS i INDEXED BY inbox_open CROSS JOIN messages AS m ON m.id = i.message
         WHERE i.app = ?1 AND i.device = ?2 AND i.ending IS NULL LIMIT ?3",
    )?;
    let mut delete = slice.sql.prepare_cached(
        "DELETE FROM inbox WHERE app = ?1 AND device = ?2 AND message = ?3 AND parts = ?4",
    )?;
    while !slice.is_over() {
        let waiting = select.query_map([place[0], place[1], STEP_ROWS as i64], |row| {
            Ok((MsgId(row.get(0)?), row.get(1)?, row.get(2)?))
        })?;
        let waiting = waiting.collect::<Result<Vec<(MsgId, i64, bool)>, _>>()?;
        for (message, parts, finished) in &waiting {
            // A message that is finished has counted it as expired.
            if !finished {
                drop_one(slice, gone, *message)?;
            }
            slice.count(delete.execute([place[0], place[1], message.0, *parts])?);
        }
        if waiting.len() < STEP_ROWS {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What of the log was for the device and was not acknowledged is dropped, the cursor and the counts in one transaction;
/// false when the slice was over before.
fn drop_log(slice: &mut Slice<'_>, gone: Gone) -> Result<bool, StoreError> {
    let Gone { app, device, .. } = gone;
    let Some(history) = devices::history_of_any(slice.sql, app, device)? else {
        return Ok(true);
    };
    let mut finished = slice
        .sql
        .prepare_cached("SELECT finished FROM messages WHERE id = ?1")?;
    while let Some(mut cursor) = cursor::find(slice.sql, app, device)? {
        if slice.is_over() {
            return Ok(false);
        }
        let mut meant = log::meant(slice.sql, app, &history, cursor.position, SWEEP_LOG_ROWS)?;
        for owed in std::mem::take(&mut cursor.owed) {
            let before = Position(owed.0 - 1);
            let one = log::meant(slice.sql, app, &history, before, 1)?;
            let one = one.messages.into_iter();
            meant
                .messages
                .extend(one.filter(|(position, _)| *position == owed));
        }
        for (_, message) in &meant.messages {
            let finished = finished.query_row(params![message.0], |row| row.get(0));
            // One that is finished has counted it as expired.
            if finished.optional()? == Some(false) {
                drop_one(slice, gone, *message)?;
            }
        }
        slice.count(meant.messages.len() + 1);
        cursor.pass(Cursor::to(meant.to));
        cursor::put_cursor(slice.sql, app, device, &cursor)?;
        if !meant.more {
            return Ok(true);
        }
    }
    Ok(true)
}

fn drop_one(slice: &Slice<'_>, gone: Gone, message: MsgId) -> Result<(), StoreError> {
    let dropped = Counts {
        dropped: 1,
        ..Counts::default()
    };
    ledger::add(slice.sql, message, Provider::Link, gone.platform, &dropped)?;
    ledger::add_reason(
        slice.sql,
        message,
        Provider::Link,
        Ending::Dropped,
        "device_deleted",
        1,
    )
}
