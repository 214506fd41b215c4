//! What the link had first: rows of inboxes that their devices do not acknowledge in time become pages of a provider.
//!
//! A row ends, and its device stands in a page, in one transaction; so a device has it in one place at any time, whoever is
//! killed when. What the link has sent and the device has not acknowledged by then is the only thing that can be shown twice.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};
use tidings_model::{AppId, DeviceId, Environment, Message, MsgId, Platform, Provider, UnixMillis};

use crate::audience::Target;
use crate::codes::AsCode;
use crate::detail::Ending;
use crate::inbox;
use crate::ledger::{self, Counts};
use crate::limits::{FALLBACK_AGAIN, FALLBACKS_AT_ONCE, PAGE_MAX};
use crate::log::NOT_ACKNOWLEDGED;
use crate::pages::{self, Class, LaneKey};
use crate::{Store, StoreError, WriteTx, apps, messages};

/// A provider's turn with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fallback {
    pub due: UnixMillis,
    pub message: MsgId,
    pub provider: Provider,
}

/// What there is to come back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fallbacks {
    /// In the order of their times.
    pub due: Vec<Fallback>,
    /// When the next is due of those that are not.
    pub next: Option<UnixMillis>,
}

/// What came of a part of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FellBack {
    /// That have pages now.
    pub lanes: Vec<LaneKey>,
    /// There is more at once.
    pub more: bool,
}

/// Enters that a message comes back to a provider, if it does.
pub(crate) fn expect(
    sql: &Connection,
    message: &Message,
    provider: Provider,
) -> Result<(), StoreError> {
    let is_first = message.push.options.strategies.of(provider).is_link_first();
    let Some(due) = message.falls_back_at().filter(|_| is_first) else {
        return Ok(());
    };
    let mut insert = sql.prepare_cached(
        "INSERT INTO fallbacks (message, provider, app, due) VALUES (?1, ?2, ?3, ?4)",
    )?;
    let row = params![message.id.0, AsCode(provider), message.app.0, due.0];
    insert.execute(row)?;
    Ok(())
}

impl Store {
    /// Those whose time has come at `now`, some of them.
    pub async fn fallbacks(&self, now: UnixMillis) -> Result<Fallbacks, StoreError> {
        let find = move |sql: &Connection| {
            let mut select = sql.prepare_cached(
                "SELECT due, message, provider FROM fallbacks INDEXED BY fallbacks_due WHERE due <= ?1 ORDER BY due LIMIT ?2",
            )?;
            let due = select.query_map(params![now.0, FALLBACKS_AT_ONCE], |row| {
                Ok(Fallback {
                    due: UnixMillis(row.get(0)?),
                    message: MsgId(row.get(1)?),
                    provider: row.get::<_, AsCode<Provider>>(2)?.0,
                })
            })?;
            let due = due.collect::<Result<_, _>>()?;
            let mut select = sql.prepare_cached(
                "SELECT due FROM fallbacks INDEXED BY fallbacks_due WHERE due > ?1 ORDER BY due LIMIT 1",
            )?;
            let next = select.query_row([now.0], |row| row.get(0)).optional()?;
            Ok(Fallbacks {
                due,
                next: next.map(UnixMillis),
            })
        };
        self.engine.read(find).await
    }

    /// Makes what devices have not acknowledged of a message a page of the provider, up to a page. Acknowledgements that are
    /// on their way must have been written before, or they come too late.
    pub async fn fall_back(&self, fallback: Fallback) -> Result<FellBack, StoreError> {
        let work = move |tx: &mut WriteTx<'_>| fall_back(tx, fallback);
        self.engine.write_alone(work).await
    }
}

fn fall_back(tx: &mut WriteTx<'_>, fallback: Fallback) -> Result<FellBack, StoreError> {
    let Fallback {
        message, provider, ..
    } = fallback;
    let app = app_of(tx.sql, message, provider)?;
    let Some(app) = app else {
        return Ok(FellBack::default());
    };
    let found = match apps::lives(tx.sql, app)? {
        true => messages::find(tx.sql, message),
        false => Ok(None),
    };
    let found = match found {
        Ok(Some(message)) => message,
        // Of an app that is gone, or one that cannot be read by anybody.
        Ok(None) | Err(StoreError::Stored(_)) => {
            done(tx.sql, message, provider)?;
            return Ok(FellBack::default());
        }
        Err(error) => return Err(error),
    };
    let (targets, read) = unacknowledged(tx.sql, &found, provider)?;
    let mut fell = FellBack::default();
    if let Some(first) = targets.first() {
        hand_on(tx, &found, &targets, first.device)?;
        // A round of its own, so that it says of whom it speaks: others in its range stand in pages of before.
        let class = match read < PAGE_MAX {
            true => Class::Short,
            false => Class::Long,
        };
        fell.lanes = pages::cut(tx.sql, &found, provider, class, 1, &targets)?;
    }
    fell.more = read == PAGE_MAX;
    if fell.more {
        return Ok(fell);
    }
    match is_being_cut(tx.sql, app, message, provider)? {
        // There may be more rows in a moment.
        true => postpone(tx.sql, message, provider, tx.now.plus(FALLBACK_AGAIN))?,
        false => done(tx.sql, message, provider)?,
    }
    Ok(fell)
}

fn app_of(
    sql: &Connection,
    message: MsgId,
    provider: Provider,
) -> Result<Option<AppId>, StoreError> {
    let mut select =
        sql.prepare_cached("SELECT app FROM fallbacks WHERE message = ?1 AND provider = ?2")?;
    let app = select.query_row(params![message.0, AsCode(provider)], |row| row.get(0));
    Ok(app.optional()?.map(AppId))
}

/// The devices of open rows, in their order, up to a page, and how many rows these were.
fn unacknowledged(
    sql: &Connection,
    message: &Message,
    provider: Provider,
) -> Result<(Vec<Target>, usize), StoreError> {
    let mut select = sql.prepare_cached(
        "SELECT i.device, c.environment, c.platform
         FROM inbox AS i INDEXED BY inbox_second
         CROSS JOIN channels AS c INDEXED BY sqlite_autoindex_channels_1
         WHERE i.message = ?1 AND i.second = ?2 AND i.ending IS NULL AND c.app = i.app AND c.provider = ?2 AND c.device = i.device
             AND c.since < ?1 AND c.until > ?1
         ORDER BY i.device LIMIT ?3",
    )?;
    let mut rows = select.query(params![message.id.0, AsCode(provider), PAGE_MAX])?;
    let (mut targets, mut read) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        read += 1;
        targets.push(Target {
            device: DeviceId(row.get(0)?),
            environment: row.get::<_, AsCode<Option<Environment>>>(1)?.0,
            on_link: true,
            platform: row.get::<_, AsCode<Platform>>(2)?.0,
        });
    }
    Ok((targets, read))
}

fn hand_on(
    tx: &mut WriteTx<'_>,
    message: &Message,
    targets: &[Target],
    page: DeviceId,
) -> Result<(), StoreError> {
    let mut handed_on: BTreeMap<Platform, u64> = BTreeMap::new();
    for target in targets {
        inbox::went(tx, message, target.device, page)?;
        *handed_on.entry(target.platform).or_default() += 1;
    }
    for (platform, handed_on) in handed_on {
        let counts = Counts {
            handed_on,
            ..Counts::default()
        };
        ledger::add(tx.sql, message.id, Provider::Link, platform, &counts)?;
        let reason = NOT_ACKNOWLEDGED;
        ledger::add_reason(
            tx.sql,
            message.id,
            Provider::Link,
            Ending::HandedOn,
            reason.as_str(),
            handed_on,
        )?;
    }
    Ok(())
}

fn is_being_cut(
    sql: &Connection,
    app: AppId,
    message: MsgId,
    provider: Provider,
) -> Result<bool, StoreError> {
    let mut select = sql
        .prepare_cached("SELECT 1 FROM tasks WHERE app = ?1 AND provider = ?2 AND message = ?3")?;
    Ok(select.exists(params![app.0, AsCode(provider), message.0])?)
}

fn postpone(
    sql: &Connection,
    message: MsgId,
    provider: Provider,
    due: UnixMillis,
) -> Result<(), StoreError> {
    let mut update =
        sql.prepare_cached("UPDATE fallbacks SET due = ?3 WHERE message = ?1 AND provider = ?2")?;
    update.execute(params![message.0, AsCode(provider), due.0])?;
    Ok(())
}

fn done(sql: &Connection, message: MsgId, provider: Provider) -> Result<(), StoreError> {
    let mut delete =
        sql.prepare_cached("DELETE FROM fallbacks WHERE message = ?1 AND provider = ?2")?;
    delete.execute(params![message.0, AsCode(provider)])?;
    Ok(())
}
