//! How a message ends: its time is over, nothing of it is to be dispatched or out any more, and its counts add up.

use rusqlite::{Connection, OptionalExtension, params};
use tidings_model::{MsgId, Platform, Provider, UnixMillis};

use crate::codes::AsCode;
use crate::detail::Ending;
use crate::ledger::{self, Counts};
use crate::limits::{FINISH_GRACE, OVER_ROWS_MAX, STEP_ROWS};
use crate::log::{NOT_ACKNOWLEDGED, NOT_CONNECTED};
use crate::{Store, StoreError, WriteTx};

impl Store {
    /// Finishes every message whose time was over some seconds before `now`, and of which no page is out and no task is open:
    /// what the link has not delivered has expired. Until then acknowledgements that were on their way have counted.
    /// Returns how many.
    pub async fn finish_expired(&self, now: UnixMillis) -> Result<usize, StoreError> {
        let before = now.minus(FINISH_GRACE);
        let mut finished = 0;
        let mut after = Some(Place::default());
        // Those that a lane still has may be many, and wait long: they are passed over beside the writer.
        while let Some(from) = after {
            let over = self.engine.scan(move |sql| over(sql, before, from)).await?;
            for ids in over.ids.chunks(STEP_ROWS) {
                let ids = ids.to_vec();
                let finish = move |tx: &mut WriteTx<'_>| {
                    let done = ids.iter().map(|id| finish(tx.sql, *id));
                    done.sum::<Result<usize, StoreError>>()
                };
                finished += self.engine.write(finish).await?;
            }
            after = over.more_after;
        }
        Ok(finished)
    }
}

/// A place in the order in which messages expire.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    expires_at: i64,
    id: i64,
}

/// Some messages whose time is over.
struct Over {
    /// Those of which nothing is under way any more.
    ids: Vec<MsgId>,
    more_after: Option<Place>,
}

/// Whether anything of message `m` is still to be dispatched, or out.
const IS_UNDER_WAY: &str = "EXISTS (SELECT 1 FROM tasks AS t WHERE t.message = m.id)
    OR EXISTS (SELECT 1 FROM fallbacks AS f WHERE f.message = m.id)
    OR EXISTS (SELECT 1 FROM pages AS p INDEXED BY pages_open WHERE p.message = m.id AND p.state <> 3)";

fn over(sql: &Connection, before: UnixMillis, after: Place) -> Result<Over, StoreError> {
    let mut select = sql.prepare_cached(&format!(
        "SELECT m.expires_at, m.id, {IS_UNDER_WAY} FROM messages AS m INDEXED BY messages_open
         WHERE m.finished = 0 AND m.expires_at <= ?1 AND m.expires_at >= ?2 AND (m.expires_at > ?2 OR m.id > ?3)
         ORDER BY m.expires_at, m.id LIMIT ?4"
    ))?;
    let mut rows = select.query(params![before.0, after.expires_at, after.id, OVER_ROWS_MAX])?;
    let (mut ids, mut looked_at, mut last) = (Vec::new(), 0, after);
    while let Some(row) = rows.next()? {
        looked_at += 1;
        last = Place {
            expires_at: row.get(0)?,
            id: row.get(1)?,
        };
        if !row.get::<_, bool>(2)? {
            ids.push(MsgId(last.id));
        }
    }
    Ok(Over {
        ids,
        more_after: (looked_at == OVER_ROWS_MAX).then_some(last),
    })
}

/// 1 when the message is finished by this; 0 when it cannot be, or was.
fn finish(sql: &Connection, id: MsgId) -> Result<usize, StoreError> {
    let mut select = sql.prepare_cached(&format!(
        "SELECT iif(json_valid(m.push), m.push ->> '$.options.time_to_live', NULL) FROM messages AS m
         WHERE m.id = ?1 AND m.finished = 0 AND NOT ({IS_UNDER_WAY})"
    ))?;
    let time_to_live = select.query_row(params![id.0], |row| row.get::<_, Option<i64>>(0));
    let Some(time_to_live) = time_to_live.optional()? else {
        return Ok(0);
    };
    expire_rest(sql, id, time_to_live == Some(0))?;
    let mut update = sql.prepare_cached("UPDATE messages SET finished = 1 WHERE id = ?1")?;
    Ok(update.execute(params![id.0])?)
}

/// Whatever went over the link and has not ended has expired.
fn expire_rest(sql: &Connection, message: MsgId, online_only: bool) -> Result<(), StoreError> {
    let mut select = sql.prepare_cached(
        "SELECT platform, targeted - accepted - delivered - dropped - expired - failed - handed_on FROM counts
         WHERE message = ?1 AND provider = ?2",
    )?;
    let rest = select.query_map(params![message.0, AsCode(Provider::Link)], |row| {
        Ok((row.get::<_, AsCode<Platform>>(0)?.0, row.get::<_, i64>(1)?))
    })?;
    for rest in rest.collect::<Result<Vec<_>, _>>()? {
        let (platform, expired) = (rest.0, rest.1.max(0).unsigned_abs());
        if expired == 0 {
            continue;
        }
        let counts = Counts {
            expired,
            ..Counts::default()
        };
        ledger::add(sql, message, Provider::Link, platform, &counts)?;
        let reason = match online_only {
            true => NOT_CONNECTED,
            false => NOT_ACKNOWLEDGED,
        };
        let ending = Ending::Expired;
        ledger::add_reason(
            sql,
            message,
            Provider::Link,
            ending,
            reason.as_str(),
            expired,
        )?;
    }
    Ok(())
}
