//! What has been deleted and is still there: it was marked, and gone for everyone who asks from then on; its rows go in
//! slices, children first, the marked row last. That row is all the progress that is kept: a process that is killed goes
//! on at the next start. What waits for a device that has lost the link ends in the same way, by a mark on its row.

use rusqlite::{OptionalExtension, params};
use tidings_model::{AppId, DeviceId, MsgId, Platform, Provider, Reason, UnixMillis};

use crate::codes::AsCode;
use crate::cursor::{Cursor, Exception};
use crate::detail::Ending;
use crate::ledger::{self, Counts};
use crate::limits::{STEP_ROWS, SWEEP_LOG_ROWS};
use crate::log::Position;
use crate::slice::{Cleared, Slice};
use crate::tables::{EVENTS, INBOX, OF_APP, OF_DEVICE, TASKS};
use crate::{Store, StoreError, WriteTx, cursor, devices, inbox, log, messages};

impl Store {
    /// Ends a slice of what waits for devices that have lost the link, or clears one of what has been deleted. What cannot be cleared yet, since a message that is older than the deletion has
    /// not come to the device, does not count as more to do.
    pub async fn sweep(&self) -> Result<Cleared, StoreError> {
        self.engine.write_alone(sweep).await
    }
}

fn sweep(tx: &mut WriteTx<'_>) -> Result<Cleared, StoreError> {
    let mut slice = Slice::new(tx.sql);
    let done = end_left(&mut slice, tx.now)?
        && sweep_apps(&mut slice)?
        && sweep_devices(&mut slice, tx.now)?;
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

/// A device to which nothing goes over the link any more.
struct Leaver {
    app: AppId,
    device: DeviceId,
    is_deleted: bool,
    now: UnixMillis,
    platform: Platform,
    /// How what waits for it ends.
    reason: Reason,
}

/// The apps with devices of an index, one after the other.
fn next_app(slice: &Slice<'_>, marked: &str, after: AppId) -> Result<Option<AppId>, StoreError> {
    let mut apps = slice.sql.prepare_cached(&format!(
        "SELECT app FROM devices WHERE {marked} IS NOT NULL AND app > ?1 ORDER BY app LIMIT 1"
    ))?;
    let app = apps.query_row(params![after.0], |row| row.get(0).map(AppId));
    Ok(app.optional()?)
}

/// What waits for devices that have lost the link ends: it goes to them by no way any more. Only when every message that is
/// older has come to the link; what has another way after it ([`Store::fall_back`]) waits for that. False when the slice was
/// over before all was.
fn end_left(slice: &mut Slice<'_>, now: UnixMillis) -> Result<bool, StoreError> {
    let mut select = slice.sql.prepare_cached(
        "SELECT id, platform, left_link FROM devices INDEXED BY devices_left
         WHERE app = ?1 AND left_link IS NOT NULL AND left_link < ?2 ORDER BY left_link LIMIT 1",
    )?;
    let mut why = slice.sql.prepare_cached(
        "SELECT ended FROM channels INDEXED BY channels_by_device
         WHERE app = ?1 AND device = ?2 AND until = ?3 AND provider = ?4",
    )?;
    let mut done = slice.sql.prepare_cached(
        "UPDATE devices SET left_link = NULL WHERE app = ?1 AND id = ?2 AND left_link = ?3",
    )?;
    let mut after = AppId(0);
    while let Some(app) = next_app(slice, "left_link", after)? {
        let before = messages::first_open_of(slice.sql, app, Provider::Link)?;
        loop {
            let left = select.query_row(params![app.0, before.0], |row| {
                let platform: AsCode<Platform> = row.get(1)?;
                Ok((DeviceId(row.get(0)?), platform.0, row.get::<_, i64>(2)?))
            });
            let Some((device, platform, left)) = left.optional()? else {
                break;
            };
            let link = AsCode(Provider::Link);
            let why = why.query_row(params![app.0, device.0, left, link], |row| row.get(0));
            let why: Option<String> = why.optional()?.flatten();
            let leaver = Leaver {
                app,
                device,
                is_deleted: false,
                now,
                platform,
                // One that is not kept any more has been that.
                reason: why.map_or(Reason::known("replaced"), |why| Reason::heard(&why)),
            };
            if !end_inbox(slice, &leaver)? || !end_log(slice, &leaver)? {
                return Ok(false);
            }
            slice.count(done.execute(params![app.0, device.0, left])?);
        }
        after = app;
    }
    Ok(true)
}

/// False when the slice was over before all were gone that can be.
fn sweep_devices(slice: &mut Slice<'_>, now: UnixMillis) -> Result<bool, StoreError> {
    let mut select = slice.sql.prepare_cached(
        "SELECT id, platform FROM devices INDEXED BY devices_deleted
         WHERE app = ?1 AND deleted_at IS NOT NULL AND deleted_at < ?2 ORDER BY deleted_at LIMIT 1",
    )?;
    let mut after = AppId(0);
    while let Some(app) = next_app(slice, "deleted_at", after)? {
        let before = messages::first_open(slice.sql, app)?;
        loop {
            let gone = select.query_row(params![app.0, before.0], |row| {
                Ok(Leaver {
                    app,
                    device: DeviceId(row.get(0)?),
                    is_deleted: true,
                    now,
                    platform: row.get::<_, AsCode<Platform>>(1)?.0,
                    reason: Reason::known("device_deleted"),
                })
            });
            let Some(gone) = gone.optional()? else {
                break;
            };
            if !forget_device(slice, &gone)? {
                return Ok(false);
            }
        }
        after = app;
    }
    Ok(true)
}

/// False when the slice was over before the device was gone.
fn forget_device(slice: &mut Slice<'_>, gone: &Leaver) -> Result<bool, StoreError> {
    let Leaver { app, device, .. } = *gone;
    if !end_inbox(slice, gone)?
        || !end_log(slice, gone)?
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

/// What waits in the device's inbox is dropped, row and count in one transaction; false when the slice was over before. Of a
/// message that is finished it has been counted as expired, and is that.
fn end_inbox(slice: &mut Slice<'_>, leaver: &Leaver) -> Result<bool, StoreError> {
    let Leaver { app, device, .. } = *leaver;
    let mut select = slice.sql.prepare_cached(
        "SELECT i.message, i.parts, i.position
         FROM inbox AS i INDEXED BY inbox_open CROSS JOIN messages AS m ON m.id = i.message
         WHERE i.app = ?1 AND i.device = ?2 AND i.position > ?3 AND i.ending IS NULL AND (?4 OR i.second IS NULL) AND m.finished = 0
         ORDER BY i.position LIMIT ?5",
    )?;
    let mut after = -1;
    while !slice.is_over() {
        let bound = params![app.0, device.0, after, leaver.is_deleted, STEP_ROWS];
        let waiting = select.query_map(bound, |row| {
            Ok((MsgId(row.get(0)?), row.get(1)?, row.get(2)?))
        })?;
        let waiting = waiting.collect::<Result<Vec<(MsgId, u8, i64)>, _>>()?;
        for (message, parts, position) in &waiting {
            slice.count(1);
            after = *position;
            // One that cannot be read keeps nothing else from its end.
            let Ok(parts) = inbox::parts(*parts) else {
                continue;
            };
            let row = (app, device, *message, parts);
            let end = (Ending::Dropped, Some(&leaver.reason), leaver.now);
            if inbox::end(slice.sql, row, end)? {
                drop_one(slice, leaver, *message)?;
            }
        }
        if waiting.len() < STEP_ROWS {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What of the log is for the device and has not been acknowledged is dropped, the cursor and the counts in one transaction;
/// false when the slice was over before.
fn end_log(slice: &mut Slice<'_>, leaver: &Leaver) -> Result<bool, StoreError> {
    let Leaver { app, device, .. } = *leaver;
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
        for owed in &cursor.owed {
            let before = Position(owed.0 - 1);
            let one = log::meant(slice.sql, app, &history, before, 1)?;
            let one = one.messages.into_iter();
            let is_it = |(exception, _): &(Exception, MsgId)| exception.position == *owed;
            meant.messages.extend(one.filter(is_it));
        }
        slice.count(meant.messages.len() + 1);
        let mut passed = Cursor::to(meant.to);
        for (expired, message) in meant.messages {
            let finished = finished.query_row(params![message.0], |row| row.get(0));
            let ended = match finished.optional()? {
                Some(false) => {
                    drop_one(slice, leaver, message)?;
                    Exception {
                        ending: Ending::Dropped,
                        reason: leaver.reason.clone(),
                        ..expired
                    }
                }
                // It has been counted as that.
                Some(true) | None => expired,
            };
            passed.exceptions.push(Exception {
                at: leaver.now,
                ..ended
            });
        }
        cursor.pass(passed);
        // Of what is not there any more nothing is owed.
        cursor.owed.clear();
        cursor::put_cursor(slice.sql, app, device, &cursor)?;
        if !meant.more {
            return Ok(true);
        }
    }
    Ok(true)
}

fn drop_one(slice: &Slice<'_>, leaver: &Leaver, message: MsgId) -> Result<(), StoreError> {
    let (dropped, link) = (Ending::Dropped, Provider::Link);
    let counts = Counts {
        dropped: 1,
        ..Counts::default()
    };
    ledger::add(slice.sql, message, link, leaver.platform, &counts)?;
    let reason = leaver.reason.as_str();
    ledger::add_reason(slice.sql, message, link, dropped, reason, 1)
}
