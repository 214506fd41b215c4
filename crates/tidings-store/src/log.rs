//! An app's log: its messages to large audiences, one row each, which every device on the link reads in order.
//!
//! A message is decided to be for the log when dispatch comes to it, which is after its id was drawn. So a row has a position
//! of its own, drawn in the transaction that writes it, and cursors stand on positions. A row holds what judging needs;
//! the push is read and parsed only for a device that it is for.

use rusqlite::{Connection, Row, params};
use tidings_model::{
    Aim, AppId, Audience, DeviceHistory, DeviceId, Message, MsgId, Parts, PlatformSet, Provider,
    ProviderSet, Reason, Strategies, Strategy, UnixMillis,
};
use tracing::error;

use crate::codes::Code;
use crate::cursor::Exception;
use crate::detail::Ending;
use crate::limits::LOG_ROWS_MAX;
use crate::{Store, StoreError, devices, from_json, messages};

/// A place in an app's log, or in the order of what came to inboxes; drawn from the clock of ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub i64);

/// Nobody acknowledged it in time.
pub const NOT_ACKNOWLEDGED: Reason = Reason::known("NotAcknowledged");

/// It was for those who were connected then.
pub const NOT_CONNECTED: Reason = Reason::known("NotConnected");

/// What of a logged message decides for whom it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    pub aim: Aim,
    pub audience: Audience,
    pub expires_at: UnixMillis,
    pub message: MsgId,
    /// Only for devices that were connected when it was accepted.
    pub online_only: bool,
    pub position: Position,
}

/// What becomes of a logged message at one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lot {
    /// It is for the device, but does not go to it any more.
    Missed(Exception),
    NotForIt,
    Send(Parts),
}

impl LogEntry {
    /// Judges it for a device that connected when `joined` was the newest message. The history must be as new as the entry.
    pub fn lot(&self, history: &DeviceHistory, joined: MsgId, now: UnixMillis) -> Lot {
        let parts = history.parts(self.message, &self.audience, self.aim, Provider::Link);
        let reason = match () {
            () if parts.is_empty() => return Lot::NotForIt,
            () if self.online_only && self.message <= joined => NOT_CONNECTED,
            () if self.expires_at <= now => NOT_ACKNOWLEDGED,
            () => return Lot::Send(parts),
        };
        Lot::Missed(Exception {
            at: now,
            ending: Ending::Expired,
            position: self.position,
            reason,
        })
    }
}

/// A stretch of the log as one device sees it.
#[derive(Clone, Debug, Default)]
pub struct Stretch {
    /// In order; what was not for the device is left out.
    pub steps: Vec<Step>,
    /// Everything up to here is judged.
    pub to: Position,
    /// The log may go on.
    pub more: bool,
}

/// A logged message that is, or was, for the device.
#[derive(Clone, Debug)]
pub enum Step {
    Missed(Exception),
    Send(Position, Box<Message>, Parts),
}

impl Store {
    /// The end of an app's log.
    pub async fn log_end(&self, app: AppId) -> Result<Position, StoreError> {
        let end = move |sql: &Connection| {
            let mut select = sql.prepare_cached("SELECT max(position) FROM log WHERE app = ?1")?;
            let end: Option<i64> = select.query_row(params![app.0], |row| row.get(0))?;
            Ok(Position(end.unwrap_or(0)))
        };
        self.engine.read(end).await
    }

    /// The app's log after `after`, in order, up to `limit`, expired or not.
    pub async fn log_after(
        &self,
        app: AppId,
        after: Position,
        limit: u32,
    ) -> Result<Vec<LogEntry>, StoreError> {
        let list = move |sql: &Connection| {
            let mut entries = Vec::new();
            walk(sql, app, after, limit, |entry| {
                entries.push(entry.clone());
                Ok(true)
            })?;
            Ok(entries)
        };
        self.engine.read(list).await
    }

    /// Judges the log after `after` for a device, as it is known in the same snapshot, until `limit` messages are to be sent
    /// or some thousand rows have been looked at. None when the app has no such device.
    pub async fn judge_log(
        &self,
        app: AppId,
        device: DeviceId,
        after: Position,
        joined: MsgId,
        now: UnixMillis,
        limit: usize,
    ) -> Result<Option<Stretch>, StoreError> {
        let judge = move |sql: &Connection| {
            let Some(history) = devices::history(sql, app, device)? else {
                return Ok(None);
            };
            let rows = LOG_ROWS_MAX;
            judge(sql, app, &history, after, joined, now, (limit, rows)).map(Some)
        };
        self.engine.read(judge).await
    }

    /// The same for single messages of the log, which are owed to the device: each is to be sent, or is missed. None when the app
    /// has no such device.
    pub async fn judge_owed(
        &self,
        app: AppId,
        device: DeviceId,
        owed: Vec<Position>,
        joined: MsgId,
        now: UnixMillis,
    ) -> Result<Option<Vec<Step>>, StoreError> {
        let judge = move |sql: &Connection| {
            let Some(history) = devices::history(sql, app, device)? else {
                return Ok(None);
            };
            let mut steps = Vec::new();
            for position in owed {
                let before = Position(position.0 - 1);
                let one = judge(sql, app, &history, before, joined, now, (1, 1))?;
                let step = one
                    .steps
                    .into_iter()
                    .find(|step| step.position() == position);
                // What is not there any more, or cannot be read, is owed no longer.
                steps.push(step.unwrap_or(Step::Missed(Exception {
                    at: now,
                    ending: Ending::Expired,
                    position,
                    reason: NOT_ACKNOWLEDGED,
                })));
            }
            Ok(Some(steps))
        };
        self.engine.read(judge).await
    }
}

impl Step {
    pub fn position(&self) -> Position {
        match self {
            Self::Missed(exception) => exception.position,
            Self::Send(position, ..) => *position,
        }
    }
}

/// Judges a stretch of the log for a device, up to `rows`, or until `limit` messages are to be sent.
pub(crate) fn judge(
    sql: &Connection,
    app: AppId,
    history: &DeviceHistory,
    after: Position,
    joined: MsgId,
    now: UnixMillis,
    (limit, rows): (usize, u32),
) -> Result<Stretch, StoreError> {
    let (mut steps, mut sends) = (Vec::new(), 0);
    let walked = walk(sql, app, after, rows, |entry| {
        match entry.lot(history, joined, now) {
            Lot::Missed(exception) => steps.push(Step::Missed(exception)),
            Lot::NotForIt => {}
            Lot::Send(parts) => {
                let message = match messages::find(sql, entry.message) {
                    // It would end every connection that comes to it: nobody gets it.
                    Err(StoreError::Stored(why)) => {
                        error!(why, msg_id = %entry.message, "message {} cannot be read", entry.message);
                        None
                    }
                    found => found?,
                };
                let step = message.map(|message| Step::Send(entry.position, message.into(), parts));
                steps.extend(step);
                sends += 1;
            }
        }
        Ok(sends < limit)
    })?;
    let Walked { more, to } = walked;
    Ok(Stretch { steps, to, more })
}

/// The messages of a stretch of the log that are for a device, whatever has become of them.
pub(crate) struct Meant {
    /// Each with what it is if the device never gets it.
    pub(crate) messages: Vec<(Exception, MsgId)>,
    pub(crate) more: bool,
    pub(crate) to: Position,
}

pub(crate) fn meant(
    sql: &Connection,
    app: AppId,
    history: &DeviceHistory,
    after: Position,
    limit: u32,
) -> Result<Meant, StoreError> {
    let mut messages = Vec::new();
    let Walked { more, to } = walk(sql, app, after, limit, |entry| {
        let never = (MsgId(i64::MAX), UnixMillis(i64::MAX));
        if let Lot::Missed(exception) = entry.lot(history, never.0, never.1) {
            messages.push((exception, entry.message));
        }
        Ok(true)
    })?;
    Ok(Meant { messages, more, to })
}

/// How far a walk along the log has come, and whether it may go on.
struct Walked {
    more: bool,
    to: Position,
}

/// Shows the log after `after` in order, up to `limit` rows or until `take` has enough.
fn walk(
    sql: &Connection,
    app: AppId,
    after: Position,
    limit: u32,
    mut take: impl FnMut(&LogEntry) -> Result<bool, StoreError>,
) -> Result<Walked, StoreError> {
    let mut select = sql.prepare_cached(
        "SELECT position, message, expires_at, online_only, message_for, notification_for, audience, link_only, message_by
         FROM log WHERE app = ?1 AND position > ?2 ORDER BY position LIMIT ?3",
    )?;
    let mut rows = select.query(params![app.0, after.0, limit])?;
    let mut entry = LogEntry {
        aim: Aim::default(),
        audience: Audience::All,
        expires_at: UnixMillis(0),
        message: MsgId(0),
        online_only: false,
        position: after,
    };
    // Many messages in a row are to the same audience: it is parsed when it is another than before.
    let mut parsed = String::new();
    let mut count = 0;
    while let Some(row) = rows.next()? {
        count += 1;
        entry.position = Position(row.get(0)?);
        if let Err(error) = read(row, &mut entry, &mut parsed) {
            let Position(position) = entry.position;
            error!(%error, position, "an entry of the log is damaged, and goes to nobody");
            continue;
        }
        if !take(&entry)? {
            break;
        }
    }
    // Whoever had enough may have stopped at the last row: then the next look finds none.
    Ok(Walked {
        more: count == limit || rows.next()?.is_some(),
        to: entry.position,
    })
}

fn from_json_or_all(audience: &str) -> Result<Audience, StoreError> {
    match audience {
        "" => Ok(Audience::All),
        json => from_json(json),
    }
}

/// The providers before which the link has it all the same, as they are stored.
pub(crate) fn link_only(strategies: &Strategies) -> i64 {
    let all = Provider::ALL.into_iter();
    bits(all.filter(|provider| strategies.of(*provider) == Strategy::LinkOnly))
}

/// Providers as they are stored: a bit for each, by its code.
pub(crate) fn bits(providers: impl Iterator<Item = Provider>) -> i64 {
    providers.fold(0, |bits, provider| bits | 1 << provider.code())
}

fn of_bits(bits: i64) -> impl Iterator<Item = Provider> {
    let all = Provider::ALL.into_iter();
    all.filter(move |provider| bits & 1 << provider.code() != 0)
}

/// As much of the strategies as the link goes by.
fn without(link_only: i64) -> Strategies {
    let mut strategies = Strategies::default();
    // So it is with most.
    if link_only != 0 {
        for provider in of_bits(link_only) {
            strategies.set(provider, Strategy::LinkOnly);
        }
    }
    strategies
}

/// All but the position. `parsed` is the text of the audience that the entry has from before.
fn read(row: &Row<'_>, entry: &mut LogEntry, parsed: &mut String) -> Result<(), StoreError> {
    entry.message = MsgId(row.get(1)?);
    entry.expires_at = UnixMillis(row.get(2)?);
    entry.online_only = row.get(3)?;
    entry.aim = Aim {
        message: PlatformSet::from_bits(row.get(4)?),
        notification: PlatformSet::from_bits(row.get(5)?),
        message_by: match row.get(8)? {
            // So it is with most.
            0 => ProviderSet::default(),
            bits => of_bits(bits).collect(),
        },
        strategies: without(row.get(7)?),
    };
    let audience = row.get_ref(6)?.as_str().map_err(rusqlite::Error::from)?;
    if audience != parsed {
        entry.audience = from_json_or_all(audience)?;
        parsed.replace_range(.., audience);
    }
    Ok(())
}
