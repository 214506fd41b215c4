//! What connections tell of their devices: what was acknowledged, what was refused, and how far the log has been judged.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};
use tidings_model::{AppId, DeviceId, MsgId, Parts, Platform, Provider, Reason};

use crate::cursor::{self, Cursor, Exception, Judged};
use crate::detail::Ending;
use crate::ledger::{self, Counts};
use crate::log::Position;
use crate::{Store, StoreError, WriteTx, inbox};

/// The device acknowledged it after the message had been finished, and it is counted as expired.
pub const ACKNOWLEDGED_LATE: Reason = Reason::known("AcknowledgedLate");

/// The device takes no packet of its size.
pub const TOO_LARGE: Reason = Reason::known("TooLargeForDevice");

/// Something to be remembered of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    pub app: AppId,
    pub device: DeviceId,
    pub platform: Platform,
    pub what: Acked,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acked {
    /// A row of its inbox has ended.
    Inbox {
        end: LinkEnd,
        message: MsgId,
        parts: Parts,
    },
    /// A logged message has ended, or its log has been judged further: up to the position of `passed`, which is no less than that of
    /// the message, and has what was sent up to there and has not ended.
    Log {
        ended: Option<LogEnd>,
        passed: Cursor,
    },
}

/// How a logged message ended at a device to which it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEnd {
    pub end: LinkEnd,
    pub message: MsgId,
    pub position: Position,
}

/// How a message ended over the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEnd {
    Delivered,
    /// Its time was over before it was sent. It counts when the message is finished, with all that have not ended.
    Expired(Reason),
    /// The device refused it with this reason code of MQTT.
    Refused(u8),
    /// The device takes no packet of its size; it was not sent.
    TooLarge,
}

impl LinkEnd {
    fn ending(&self) -> Ending {
        match self {
            Self::Delivered => Ending::Delivered,
            Self::Expired(_) => Ending::Expired,
            Self::Refused(_) | Self::TooLarge => Ending::Dropped,
        }
    }

    fn reason(&self) -> Option<Reason> {
        match self {
            Self::Delivered => None,
            Self::Expired(reason) => Some(reason.clone()),
            Self::Refused(code) => Some(Reason::heard(&format!("Refused0x{code:02x}"))),
            Self::TooLarge => Some(TOO_LARGE),
        }
    }

    /// What it is when the message was finished before it came: everything without an ending had expired by then.
    fn late(&self) -> Self {
        Self::Expired(self.reason().unwrap_or(ACKNOWLEDGED_LATE))
    }
}

impl Store {
    /// Remembers what connections tell and counts each ending once, however often it is told.
    pub async fn acknowledge(&self, acks: Vec<Ack>) -> Result<(), StoreError> {
        let rows = acks.len();
        let acknowledge = move |tx: &mut WriteTx<'_>| {
            let mut tallies = Tallies::default();
            for ack in &acks {
                match &ack.what {
                    Acked::Inbox {
                        end,
                        message,
                        parts,
                    } => end_row(tx, ack, (*message, *parts), end, &mut tallies)?,
                    Acked::Log { ended, passed } => {
                        pass(tx, ack, ended.as_ref(), passed, &mut tallies)?;
                    }
                }
            }
            tallies.add(tx.sql)
        };
        self.engine.write_rows(rows, acknowledge).await
    }
}

/// What is counted in one transaction.
#[derive(Default)]
struct Tallies {
    counts: HashMap<(MsgId, Platform), Counts>,
    reasons: HashMap<(MsgId, Reason), u64>,
    /// What was found of messages: none when it is not there any more, else whether it is finished.
    finished: HashMap<MsgId, Option<bool>>,
}

impl Tallies {
    /// How it ended, as it counts: what came when the message was finished came too late. And whether there is still
    /// something to count it in.
    fn true_end(
        &mut self,
        sql: &Connection,
        message: MsgId,
        end: &LinkEnd,
    ) -> Result<(LinkEnd, bool), StoreError> {
        let finished = match self.finished.get(&message) {
            Some(known) => *known,
            None => {
                let mut select =
                    sql.prepare_cached("SELECT finished FROM messages WHERE id = ?1")?;
                let found = select.query_row(params![message.0], |row| row.get(0));
                let found: Option<bool> = found.optional()?;
                self.finished.insert(message, found);
                found
            }
        };
        let end = match finished {
            Some(true) => end.late(),
            Some(false) | None => end.clone(),
        };
        Ok((end, finished.is_some()))
    }

    fn note(&mut self, message: MsgId, platform: Platform, end: &LinkEnd) {
        let (delivered, sent) = match end {
            LinkEnd::Delivered => (1, 1),
            LinkEnd::Expired(_) => return,
            LinkEnd::Refused(_) => (0, 1),
            LinkEnd::TooLarge => (0, 0),
        };
        if let Some(reason) = end.reason() {
            *self.reasons.entry((message, reason)).or_default() += 1;
        }
        let counts = Counts {
            delivered,
            dropped: 1 - delivered,
            sent,
            ..Counts::default()
        };
        let sum = self.counts.entry((message, platform)).or_default();
        *sum = sum.plus(counts);
    }

    fn add(self, sql: &Connection) -> Result<(), StoreError> {
        for ((message, platform), counts) in self.counts {
            ledger::add(sql, message, Provider::Link, platform, &counts)?;
        }
        for ((message, reason), count) in self.reasons {
            ledger::add_reason(
                sql,
                message,
                Provider::Link,
                Ending::Dropped,
                reason.as_str(),
                count,
            )?;
        }
        Ok(())
    }
}

fn end_row(
    tx: &mut WriteTx<'_>,
    ack: &Ack,
    (message, parts): (MsgId, Parts),
    end: &LinkEnd,
    tallies: &mut Tallies,
) -> Result<(), StoreError> {
    let (end, is_kept) = tallies.true_end(tx.sql, message, end)?;
    let row = (ack.app, ack.device, message, parts);
    let reason = end.reason();
    match inbox::end(tx.sql, row, (end.ending(), reason.as_ref(), tx.now))? {
        true if is_kept => tallies.note(message, ack.platform, &end),
        false if is_kept && end == LinkEnd::Delivered => ledger::received_late(tx, row)?,
        true | false => {}
    }
    Ok(())
}

fn pass(
    tx: &mut WriteTx<'_>,
    ack: &Ack,
    ended: Option<&LogEnd>,
    passed: &Cursor,
    tallies: &mut Tallies,
) -> Result<(), StoreError> {
    // What nearly all of a broadcast say: the next is there, and nothing was missed.
    if let Some(ended) = ended
        && *passed == Cursor::to(ended.position)
        && let (LinkEnd::Delivered, is_kept) =
            tallies.true_end(tx.sql, ended.message, &ended.end)?
        && cursor::step(tx.sql, ack.app, ack.device, ended.position)?
    {
        if is_kept {
            tallies.note(ended.message, ack.platform, &LinkEnd::Delivered);
        }
        return Ok(());
    }
    let Some(mut cursor) = cursor::find(tx.sql, ack.app, ack.device)? else {
        return Ok(());
    };
    let mut passed = passed.clone();
    let mut is_news = false;
    if let Some(ended) = ended
        && cursor.at(ended.position) == Judged::NotYet
    {
        let (end, is_kept) = tallies.true_end(tx.sql, ended.message, &ended.end)?;
        if is_kept {
            tallies.note(ended.message, ack.platform, &end);
        }
        match end.reason() {
            Some(reason) => passed.exceptions.push(Exception {
                at: tx.now,
                ending: end.ending(),
                position: ended.position,
                reason,
            }),
            None => is_news = cursor.settle(ended.position),
        }
    }
    is_news |= cursor.pass(passed);
    if is_news {
        cursor::put_cursor(tx.sql, ack.app, ack.device, &cursor)?;
    }
    Ok(())
}
