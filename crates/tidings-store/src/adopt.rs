//! What an opening does with the pages that are out: nobody has them any more, since an embedded store has one process.
//!
//! Those of today are ready again. Of those that were out in the form of before, when the program was changed, what had
//! been answered is settled and counted, and the rest become pages of today.

use rusqlite::{Connection, TransactionBehavior, params};
use tidings_model::{DeviceId, Message, UnixMillis};
use tracing::error;

use crate::codes::AsCode;
use crate::detail::{Answer, unpack};
use crate::flush::Delta;
use crate::ledger::{self, Counts};
use crate::limits::PAGE_MAX;
use crate::pages::{self, Class, PageKey, State, by, read_key};
use crate::progress::End;
use crate::{Scope, StoreError, Target, audience, detail, lease, messages, order};

/// Makes whatever was out ready again.
pub(crate) fn take_over(sql: &mut Connection) -> Result<(), StoreError> {
    let transaction = sql.transaction_with_behavior(TransactionBehavior::Immediate)?;
    while lease::free(&transaction, UnixMillis(i64::MAX))? > 0 {}
    adopt(&transaction)?;
    order::heal(&transaction)?;
    Ok(transaction.commit()?)
}

/// Takes over those of before. One that cannot be read is logged, and sent again as if nothing had been answered.
fn adopt(sql: &Connection) -> Result<(), StoreError> {
    for (key, last, count, packed) in old(sql)? {
        let answered = if packed.is_empty() {
            Vec::new()
        } else {
            unpack(&packed).unwrap_or_else(|error| {
                error!(msg_id = %key.message, %error, "what was answered of a page cannot be read: it is sent again");
                Vec::new()
            })
        };
        let message = match messages::find(sql, key.message) {
            Ok(Some(message)) => message,
            Ok(None) => continue,
            // What of it was not settled was not counted either.
            Err(StoreError::Stored(why)) => {
                error!(msg_id = %key.message, why, "a message cannot be read: a page of it that was out is given up");
                forget(sql, key)?;
                continue;
            }
            Err(error) => return Err(error),
        };
        let targets = targets(sql, &message, key, last, count)?;
        settle(sql, &message, key, &targets, answered)?;
    }
    Ok(())
}

type Old = (PageKey, i64, usize, Vec<u8>);

fn old(sql: &Connection) -> Result<Vec<Old>, StoreError> {
    let mut select = sql.prepare(
        "SELECT message, provider, environment, first, round, last, count, detail FROM pages INDEXED BY pages_old
         WHERE state = 5",
    )?;
    let rows = select.query_map([], |row| {
        Ok((read_key(row)?, row.get(5)?, row.get(6)?, row.get(7)?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The devices of the page's range, never more than it had.
fn targets(
    sql: &Connection,
    message: &Message,
    key: PageKey,
    last: i64,
    count: usize,
) -> Result<Vec<Target>, StoreError> {
    let Some(scope) = Scope::of(message, key.provider) else {
        return Ok(Vec::new());
    };
    let (mut targets, limit) = (Vec::new(), count.min(PAGE_MAX));
    let mut after = Some(DeviceId(key.first.0 - 1));
    while let Some(from) = after
        && targets.len() < limit
    {
        let left = limit - targets.len();
        let last = DeviceId(last);
        let part = audience::select(sql, &scope, from, last, left)?;
        targets.extend(part.found);
        after = part.more_after;
    }
    Ok(targets)
}

fn forget(sql: &Connection, key: PageKey) -> Result<(), StoreError> {
    let mut delete = sql.prepare_cached(
        "DELETE FROM pages WHERE message = ?1 AND provider = ?2 AND environment = ?3 AND first = ?4 AND round = ?5",
    )?;
    delete.execute(by(key))?;
    Ok(())
}

/// What was answered stays as a page that is settled; the others are cut anew.
fn settle(
    sql: &Connection,
    message: &Message,
    key: PageKey,
    targets: &[Target],
    mut answered: Vec<Answer>,
) -> Result<(), StoreError> {
    forget(sql, key)?;
    let mut open = Vec::new();
    let mut delta = Delta::default();
    answered.sort_unstable_by_key(|answer| answer.device);
    answered.retain(|answer| {
        let known = targets.binary_search_by_key(&answer.device, |target| target.device);
        known.is_ok()
    });
    for target in targets {
        let answer = answered.binary_search_by_key(&target.device, |answer| answer.device);
        match answer.map(|index| &answered[index]) {
            Ok(answer) => {
                let end = End {
                    at: answer.at,
                    attempts: answer.attempts,
                    ending: answer.ending,
                    reason: answer.reason.clone(),
                };
                delta.add(target.platform, &end);
                let targeted = Counts {
                    targeted: 1,
                    ..Counts::default()
                };
                ledger::add(sql, message.id, key.provider, target.platform, &targeted)?;
            }
            Err(_) => open.push(target.clone()),
        }
    }
    delta.write(sql, message.id, key.provider)?;
    if let (Some(first), Some(last)) = (answered.first(), answered.last()) {
        // A round of its own, so that it says of whom it speaks.
        let mut insert = sql.prepare_cached(
            "INSERT INTO pages (message, provider, environment, first, round, app, last, count, answered, unknown, class, state,
                                due, settled_at, detail)
             VALUES (?1, ?2, 0, ?3, 1, ?4, ?5, ?6, ?6, 1, ?7, ?8, 0, ?9, ?10)",
        )?;
        insert.execute(params![
            message.id.0,
            AsCode(key.provider),
            first.device.0,
            message.app.0,
            last.device.0,
            answered.len(),
            AsCode(Class::Stragglers),
            AsCode(State::Settled),
            UnixMillis::now().0,
            detail::pack(&mut answered.clone()),
        ])?;
    }
    pages::cut(sql, message, key.provider, Class::Long, 0, &open).map(drop)
}
