//! What waits for one device, row by row, and what became of it.

use rusqlite::{Connection, params};
use tidings_model::{AppId, DeviceId, Message, MsgId, Part, Parts, Provider, Reason, UnixMillis};

use tracing::error;

use crate::codes::AsCode;
use crate::detail::Ending;
use crate::engine::DeviceNews;
use crate::log::{NOT_ACKNOWLEDGED, Position};
use crate::{Store, StoreError, WriteTx, apps, channels, messages};

/// A message, or a part of one, in a device's inbox.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub message: Message,
    pub parts: Parts,
    /// Its place in the order of what came to inboxes.
    pub position: Position,
    /// It is a provider's from then on: it is not to be sent any more.
    pub until: Option<UnixMillis>,
}

/// What became of a row of an inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxRow {
    /// How it ended, why, and when; none while it is open.
    pub end: Option<(Ending, Option<Reason>, UnixMillis)>,
    pub parts: Parts,
    /// The link has it first, or had it.
    pub link_first: bool,
    /// The first device of the page in which it went to a provider, if the device did not acknowledge it in time.
    pub went: Option<DeviceId>,
}

impl Store {
    /// What came to a device's inbox after `after` and has not ended, in order, up to `limit`; also what has expired.
    pub async fn inbox_after(
        &self,
        app: AppId,
        device: DeviceId,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Waiting>, StoreError> {
        let list = move |sql: &Connection| {
            let mut select = sql.prepare_cached(
                "SELECT m.id, m.app, m.accepted_at, m.expires_at, m.push, i.parts, i.position, i.second IS NOT NULL
                 FROM inbox AS i INDEXED BY inbox_open CROSS JOIN messages AS m ON m.id = i.message
                 WHERE i.app = ?1 AND i.device = ?2 AND i.position > ?3 AND i.ending IS NULL
                 ORDER BY i.position",
            )?;
            let mut rows = select.query(params![app.0, device.0, after.0])?;
            let mut waiting = Vec::new();
            while waiting.len() < limit
                && let Some(row) = rows.next()?
            {
                let message = match messages::read(row) {
                    // It would end every connection of the device: it gets what comes after it.
                    Err(StoreError::Stored(why)) => {
                        error!(why, device = %device, "a message for device {device} cannot be read");
                        continue;
                    }
                    read => read?,
                };
                let has_second: bool = row.get(7)?;
                let until = message.link_gives_until().filter(|_| has_second);
                waiting.push(Waiting {
                    message,
                    until,
                    parts: parts(row.get(5)?)?,
                    position: Position(row.get(6)?),
                });
            }
            Ok(waiting)
        };
        self.engine.read(list).await
    }
}

/// A row as it is put into an inbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) app: AppId,
    pub(crate) device: DeviceId,
    pub(crate) message: MsgId,
    pub(crate) parts: Parts,
    pub(crate) position: Position,
    /// The provider that gets it if the device does not acknowledge it in time.
    pub(crate) second: Option<Provider>,
}

/// False when the device is not there any more, or has had it. One that has been deleted and is still to be cleared gets its
/// row, which is dropped with it, and counts as that. Whoever watches devices is told.
pub(crate) fn insert(tx: &mut WriteTx<'_>, row: Row) -> Result<bool, StoreError> {
    let mut insert = tx.sql.prepare_cached(
        "INSERT INTO inbox (app, device, message, parts, position, second)
         SELECT app, id, ?3, ?4, ?5, ?6 FROM devices WHERE app = ?1 AND id = ?2
         ON CONFLICT (app, device, message, parts) DO NOTHING",
    )?;
    let new = insert.execute(params![
        row.app.0,
        row.device.0,
        row.message.0,
        bits(row.parts),
        row.position.0,
        row.second.map(AsCode),
    ])?;
    if new == 1 {
        tx.news.push((row.app, row.device, DeviceNews::Inbox));
    }
    Ok(new == 1)
}

/// Puts a part of a message, whose way to a device has ended, into its inbox. False when the device is not on the link any
/// more, or has had it, or is that of an app that is gone.
pub(crate) fn hand_on(
    tx: &mut WriteTx<'_>,
    message: &Message,
    device: DeviceId,
    part: Part,
) -> Result<bool, StoreError> {
    let app = message.app;
    let held = channels::now(tx.sql, app, device)?;
    let is_on_link = held
        .iter()
        .any(|channel| channel.provider == Provider::Link);
    if !is_on_link || !apps::lives(tx.sql, app)? {
        return Ok(false);
    }
    let row = Row {
        app,
        device,
        message: message.id,
        parts: [part].into_iter().collect(),
        position: Position(tx.ids.next(tx.now)),
        second: None,
    };
    Ok(come_back(tx, row)? || insert(tx, row)?)
}

/// Opens a row anew that the link had first and that a provider has not taken.
fn come_back(tx: &mut WriteTx<'_>, row: Row) -> Result<bool, StoreError> {
    let mut update = tx.sql.prepare_cached(
        "UPDATE inbox SET position = ?5, ending = NULL, reason = NULL, ended_at = NULL, second = NULL
         WHERE app = ?1 AND device = ?2 AND message = ?3 AND parts = ?4 AND ending = ?6",
    )?;
    let opened = update.execute(params![
        row.app.0,
        row.device.0,
        row.message.0,
        bits(row.parts),
        row.position.0,
        AsCode(Ending::HandedOn)
    ])?;
    if opened == 1 {
        tx.news.push((row.app, row.device, DeviceNews::Inbox));
    }
    Ok(opened == 1)
}

/// Ends a row that its device has not acknowledged in time: it has gone into a page of a provider, of which `page` is the first
/// device.
pub(crate) fn went(
    tx: &mut WriteTx<'_>,
    message: &Message,
    device: DeviceId,
    page: DeviceId,
) -> Result<(), StoreError> {
    let mut update = tx.sql.prepare_cached(
        "UPDATE inbox SET went = ?4, ending = ?5, reason = ?6, ended_at = ?7
         WHERE app = ?1 AND device = ?2 AND message = ?3 AND second IS NOT NULL AND ending IS NULL",
    )?;
    update.execute(params![
        message.app.0,
        device.0,
        message.id.0,
        page.0,
        AsCode(Ending::HandedOn),
        NOT_ACKNOWLEDGED.as_str(),
        tx.now.0
    ])?;
    Ok(())
}

/// Ends a row; false when it has ended before.
pub(crate) fn end(
    sql: &Connection,
    row: (AppId, DeviceId, MsgId, Parts),
    (ending, reason, at): (Ending, Option<&Reason>, UnixMillis),
) -> Result<bool, StoreError> {
    let (app, device, message, parts) = row;
    let mut update = sql.prepare_cached(
        "UPDATE inbox SET ending = ?5, reason = ?6, ended_at = ?7
         WHERE app = ?1 AND device = ?2 AND message = ?3 AND parts = ?4 AND ending IS NULL",
    )?;
    let changed = update.execute(params![
        app.0,
        device.0,
        message.0,
        bits(parts),
        AsCode(ending),
        reason.map(Reason::as_str),
        at.0
    ])?;
    Ok(changed == 1)
}

/// Whether a row has gone to a provider, and has not come back.
pub(crate) fn has_gone_on(
    sql: &Connection,
    (app, device, message, parts): (AppId, DeviceId, MsgId, Parts),
) -> Result<bool, StoreError> {
    let mut select = sql.prepare_cached(
        "SELECT 1 FROM inbox WHERE app = ?1 AND device = ?2 AND message = ?3 AND parts = ?4 AND ending = ?5",
    )?;
    let row = params![
        app.0,
        device.0,
        message.0,
        bits(parts),
        AsCode(Ending::HandedOn)
    ];
    Ok(select.exists(row)?)
}

/// What came to a device's inbox of one message, which is at most a row for each part.
pub(crate) fn rows(
    sql: &Connection,
    app: AppId,
    device: DeviceId,
    message: MsgId,
) -> Result<Vec<InboxRow>, StoreError> {
    let mut select = sql.prepare_cached(
        "SELECT parts, ending, reason, ended_at, second IS NOT NULL, went FROM inbox WHERE app = ?1 AND device = ?2 AND message = ?3",
    )?;
    let mut rows = select.query(params![app.0, device.0, message.0])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let ending: Option<AsCode<Ending>> = row.get(1)?;
        let reason: Option<String> = row.get(2)?;
        let at: Option<i64> = row.get(3)?;
        all.push(InboxRow {
            end: ending.map(|ending| {
                let reason = reason.as_deref().map(Reason::heard);
                (ending.0, reason, UnixMillis(at.unwrap_or(0)))
            }),
            link_first: row.get(4)? || row.get::<_, Option<i64>>(5)?.is_some(),
            parts: parts(row.get(0)?)?,
            went: row.get::<_, Option<i64>>(5)?.map(DeviceId),
        });
    }
    Ok(all)
}

/// Parts as the number under which they are stored.
fn bits(parts: Parts) -> u8 {
    u8::from(parts.message) | u8::from(parts.notification) << 1
}

pub(crate) fn parts(bits: u8) -> Result<Parts, StoreError> {
    let parts = Parts {
        message: bits & 1 != 0,
        notification: bits & 2 != 0,
    };
    match (1..=3).contains(&bits) {
        true => Ok(parts),
        false => Err(StoreError::Stored(format!("parts {bits}"))),
    }
}
