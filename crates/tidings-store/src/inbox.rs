//! What waits for a device on the link, and what it has acknowledged.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};
use tidings_model::{AppId, DeviceId, Message, MsgId, Platform, Provider, UnixMillis};

use crate::codes::AsCode;
use crate::ledger::{self, Counts};
use crate::{Store, StoreError, Target, WriteTx, messages, pages};

/// A device's acknowledgement of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    pub app: AppId,
    pub device: DeviceId,
    pub dropped: bool,
    pub kind: AckKind,
    pub message: MsgId,
    pub platform: Platform,
}

/// Where the message was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckKind {
    /// From its own inbox.
    Inbox,
    /// From the app's log: moves the cursor, so acknowledgements of logged messages must come in order.
    Logged,
}

impl Store {
    /// Puts a message into the inboxes of a page of devices and moves the task behind the last of them, all or nothing.
    pub async fn fill_inboxes(
        &self,
        message: &Message,
        targets: Vec<Target>,
    ) -> Result<(), StoreError> {
        let (app, id) = (message.app, message.id);
        let fill = move |tx: &mut WriteTx<'_>| {
            let Some(last) = targets.last().map(|target| target.device) else {
                return Ok(());
            };
            // A device may have been forgotten since the page was read.
            let mut insert = tx.sql.prepare_cached(
                "INSERT INTO inbox (app, device, message)
                 SELECT app, id, ?3 FROM devices WHERE app = ?1 AND id = ?2 ON CONFLICT DO NOTHING",
            )?;
            let mut added: HashMap<Platform, u64> = HashMap::new();
            for target in &targets {
                let new = insert.execute(params![app.0, target.device.0, id.0])?;
                *added.entry(target.platform).or_default() += new as u64;
            }
            for (platform, targeted) in added {
                ledger::add(
                    tx.sql,
                    id,
                    Provider::Link,
                    platform,
                    &Counts {
                        targeted,
                        ..Counts::default()
                    },
                )?;
            }
            pages::move_task(tx, id, Provider::Link, last)
        };
        self.engine.write(fill).await
    }

    /// What waits in a device's inbox after `after` and has not expired at `now`, in order, up to `limit`.
    pub async fn inbox_after(
        &self,
        app: AppId,
        device: DeviceId,
        after: MsgId,
        now: UnixMillis,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError> {
        let list = move |sql: &Connection| {
            let mut select = sql.prepare_cached(
                "SELECT m.id, m.app, m.accepted_at, m.expires_at, m.push
                 FROM inbox AS i CROSS JOIN messages AS m ON m.id = i.message
                 WHERE i.app = ?1 AND i.device = ?2 AND i.message > ?3 AND i.acked_at IS NULL AND m.expires_at > ?4
                 ORDER BY i.message LIMIT ?5",
            )?;
            let rows = select
                .query_map(params![app.0, device.0, after.0, now.0, limit], |row| {
                    Ok(messages::read(row))
                })?;
            rows.map(|row| row?).collect()
        };
        self.engine.read(list).await
    }

    /// Remembers acknowledgements and counts each once, however often it comes.
    pub async fn acknowledge(&self, acks: Vec<Ack>) -> Result<(), StoreError> {
        let acknowledge = move |tx: &mut WriteTx<'_>| {
            let mut counted: HashMap<(MsgId, Platform, bool), u64> = HashMap::new();
            for ack in &acks {
                if remember(tx, ack)? {
                    *counted
                        .entry((ack.message, ack.platform, ack.dropped))
                        .or_default() += 1;
                }
            }
            for ((message, platform, dropped), count) in counted {
                let counts = if dropped {
                    Counts {
                        dropped: count,
                        ..Counts::default()
                    }
                } else {
                    Counts {
                        delivered: count,
                        sent: count,
                        ..Counts::default()
                    }
                };
                add_late(tx.sql, message, platform, &counts, count)?;
            }
            Ok(())
        };
        self.engine.write(acknowledge).await
    }
}

/// Whether the acknowledgement is new.
fn remember(tx: &mut WriteTx<'_>, ack: &Ack) -> Result<bool, StoreError> {
    let changed = match ack.kind {
        AckKind::Inbox => tx
            .sql
            .prepare_cached(
                "UPDATE inbox SET acked_at = ?4 WHERE app = ?1 AND device = ?2 AND message = ?3 AND acked_at IS NULL",
            )?
            .execute(params![ack.app.0, ack.device.0, ack.message.0, tx.now.0])?,
        AckKind::Logged => tx
            .sql
            .prepare_cached("UPDATE cursors SET position = ?3 WHERE app = ?1 AND device = ?2 AND position < ?3")?
            .execute(params![ack.app.0, ack.device.0, ack.message.0])?,
    };
    Ok(changed == 1)
}

/// Counts what came of link deliveries; those of a message that was already finished had been counted as expired.
fn add_late(
    sql: &Connection,
    message: MsgId,
    platform: Platform,
    counts: &Counts,
    count: u64,
) -> Result<(), StoreError> {
    let mut select = sql.prepare_cached("SELECT finished FROM messages WHERE id = ?1")?;
    let Some(finished) = select
        .query_row(params![message.0], |row| row.get(0))
        .optional()?
    else {
        return Ok(());
    };
    ledger::add(sql, message, Provider::Link, platform, counts)?;
    if finished {
        let mut late = sql.prepare_cached(
            "UPDATE counts SET expired = max(0, expired - ?4) WHERE message = ?1 AND provider = ?2 AND platform = ?3",
        )?;
        late.execute(params![
            message.0,
            AsCode(Provider::Link),
            AsCode(platform),
            count
        ])?;
    }
    Ok(())
}
