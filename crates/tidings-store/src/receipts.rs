//! Receipts: what a provider reports of deliveries that it has taken.
//!
//! A receipt names a message of ours and an address. Each thing is remembered once for a device, beside how the delivery ended,
//! and counted with it; one that fits no message and device of the app costs reads only.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension, params};
use tidings_model::{AppId, DeviceId, IdClock, MsgId, Platform, Provider, Reason, UnixMillis};

use crate::codes::AsCode;
use crate::flush::{Removal, remove};
use crate::ledger::{self, Counts, EventKind};
use crate::limits::RECEIPTS_AT_ONCE;
use crate::{Store, StoreError, WriteTx, apps, channels};

/// A token that is removed is so much more to write.
const DEAD_COST: usize = 10;

/// What a provider says of one message at one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub app: AppId,
    /// When it was so, as the provider says.
    pub at: Option<UnixMillis>,
    pub message: MsgId,
    pub provider: Provider,
    pub said: Said,
    pub token: Box<str>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The address is nobody's any more.
    Dead(Reason),
    /// The phone has it.
    Delivered,
    /// It was clicked.
    Opened,
    /// The phone does not have it, or does not show it.
    Undelivered(Reason),
}

/// What a provider reported of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub at: UnixMillis,
    pub kind: EventKind,
    pub provider: Provider,
    pub reason: Option<Reason>,
}

/// Whom a receipt is about.
#[derive(Clone, Copy)]
struct About {
    accepted_at: UnixMillis,
    device: DeviceId,
    platform: Platform,
}

impl Store {
    /// Writes receipts down, some hundred in a transaction, and returns how many of each provider fit no message and device.
    /// Those are found by reads, and wait for no writer.
    pub async fn add_receipts(
        &self,
        mut receipts: Vec<Receipt>,
    ) -> Result<BTreeMap<Provider, u64>, StoreError> {
        let mut unknown = BTreeMap::new();
        while !receipts.is_empty() {
            let rest = receipts.split_off(at_once(&receipts));
            let now = std::mem::replace(&mut receipts, rest);
            let parted = |sql: &Connection| parted(sql, now);
            let (fitting, others) = self.engine.scan(parted).await?;
            for receipt in others {
                *unknown.entry(receipt.provider).or_default() += 1;
            }
            if !fitting.is_empty() {
                let rows = fitting.len();
                let write = move |tx: &mut WriteTx<'_>| write(tx, &fitting);
                self.engine.write_rows(rows, write).await?;
            }
        }
        Ok(unknown)
    }
}

/// Those that fit a message and a device, and the others.
fn parted(
    sql: &Connection,
    receipts: Vec<Receipt>,
) -> Result<(Vec<Receipt>, Vec<Receipt>), StoreError> {
    let mut messages = HashMap::new();
    let (mut fitting, mut others) = (Vec::new(), Vec::new());
    for receipt in receipts {
        match about(sql, &receipt, &mut messages)? {
            Some(_) => fitting.push(receipt),
            None => others.push(receipt),
        }
    }
    Ok((fitting, others))
}

/// How many of the first are one read and one transaction.
fn at_once(receipts: &[Receipt]) -> usize {
    let mut cost = 0;
    let fits = receipts.iter().take_while(|receipt| {
        cost += match receipt.said {
            Said::Dead(_) => DEAD_COST,
            Said::Delivered | Said::Opened | Said::Undelivered(_) => 1,
        };
        cost <= RECEIPTS_AT_ONCE
    });
    fits.count()
}

/// None when the app has no such message, or nobody has the address, or had it then, who could have got it.
fn about(
    sql: &Connection,
    receipt: &Receipt,
    messages: &mut HashMap<MsgId, Option<(AppId, UnixMillis)>>,
) -> Result<Option<About>, StoreError> {
    let message = match messages.get(&receipt.message) {
        Some(known) => *known,
        None => {
            let mut select =
                sql.prepare_cached("SELECT app, accepted_at FROM messages WHERE id = ?1")?;
            let found = select.query_row([receipt.message.0], |row| {
                Ok((AppId(row.get(0)?), UnixMillis(row.get(1)?)))
            });
            let found = found.optional()?;
            messages.insert(receipt.message, found);
            found
        }
    };
    let Some((_, accepted_at)) = message.filter(|(app, _)| *app == receipt.app) else {
        return Ok(None);
    };
    let mut select = sql.prepare_cached(
        "SELECT device, platform, added_at FROM channels WHERE app = ?1 AND provider = ?2 AND token_hash = ?3 AND since < ?4",
    )?;
    let place = params![
        receipt.app.0,
        AsCode(receipt.provider),
        channels::token_hash(&receipt.token),
        receipt.message.0
    ];
    let holder = select.query_row(place, |row| {
        let about = About {
            accepted_at,
            device: DeviceId(row.get(0)?),
            platform: row.get::<_, AsCode<Platform>>(1)?.0,
        };
        Ok((about, UnixMillis(row.get(2)?)))
    });
    match holder.optional()? {
        Some((about, added_at)) if added_at <= accepted_at => Ok(Some(about)),
        // Another may have had it when the message was sent.
        holder => {
            let former = former(sql, receipt, accepted_at)?;
            Ok(former.or_else(|| holder.map(|(about, _)| about)))
        }
    }
}

/// Who had the address at the message's id and has it no more.
fn former(
    sql: &Connection,
    receipt: &Receipt,
    accepted_at: UnixMillis,
) -> Result<Option<About>, StoreError> {
    let (app, provider) = (receipt.app.0, AsCode(receipt.provider));
    let mut select = sql.prepare_cached(
        "SELECT device FROM tombstones INDEXED BY tombstones_by_token
         WHERE app = ?1 AND provider = ?2 AND token = ?3 AND id > ?4 ORDER BY id LIMIT 1",
    )?;
    let place = params![app, provider, receipt.token, receipt.message.0];
    let device: Option<i64> = select.query_row(place, |row| row.get(0)).optional()?;
    let Some(device) = device else {
        return Ok(None);
    };
    let mut select = sql.prepare_cached(
        "SELECT platform FROM channels
         WHERE app = ?1 AND provider = ?2 AND device = ?3 AND since < ?4 AND until > ?4",
    )?;
    let at = params![app, provider, device, receipt.message.0];
    let found = select.query_row(at, |row| {
        Ok(About {
            accepted_at,
            device: DeviceId(device),
            platform: row.get::<_, AsCode<Platform>>(0)?.0,
        })
    });
    Ok(found.optional()?)
}

fn write(tx: &mut WriteTx<'_>, receipts: &[Receipt]) -> Result<(), StoreError> {
    let mut living: HashMap<AppId, bool> = HashMap::new();
    let mut messages = HashMap::new();
    let mut counted: HashMap<(MsgId, Provider, Platform), Counts> = HashMap::new();
    for receipt in receipts {
        let lives = match living.get(&receipt.app) {
            Some(lives) => *lives,
            None => {
                let lives = apps::lives(tx.sql, receipt.app)?;
                living.insert(receipt.app, lives);
                lives
            }
        };
        // It may have gone since it was looked for.
        let Some(about) = about(tx.sql, receipt, &mut messages)?.filter(|_| lives) else {
            continue;
        };
        let (kind, reason) = match &receipt.said {
            Said::Delivered => (EventKind::Delivered, None),
            Said::Opened => (EventKind::Opened, None),
            Said::Dead(reason) | Said::Undelivered(reason) => {
                (EventKind::Undelivered, Some(reason))
            }
        };
        let at = receipt.at.unwrap_or(tx.now).min(tx.now);
        let mut insert = tx.sql.prepare_cached(
            "INSERT INTO events (message, device, kind, at, provider, reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT DO NOTHING",
        )?;
        let is_new = insert.execute(params![
            receipt.message.0,
            about.device.0,
            AsCode(kind),
            at.max(about.accepted_at).0,
            AsCode(receipt.provider),
            reason.map(Reason::as_str),
        ])? > 0;
        if is_new {
            let key = (receipt.message, receipt.provider, about.platform);
            let counts = counted.entry(key).or_default();
            match kind {
                EventKind::Delivered => counts.reported += 1,
                EventKind::Opened => counts.opened += 1,
                EventKind::Dismissed | EventKind::Received | EventKind::Undelivered => {}
            }
        }
        if let Said::Dead(reason) = &receipt.said {
            // Without a time it is known only that the message found it dead.
            let sent_at = IdClock::time(receipt.message.0);
            let removal = Removal {
                app: receipt.app,
                device: about.device,
                provider: receipt.provider,
                reason: reason.clone(),
                registered_before: receipt.at.unwrap_or(sent_at).min(tx.now),
                token: receipt.token.clone(),
            };
            remove(tx, &[removal])?;
        }
    }
    for ((message, provider, platform), counts) in counted {
        if counts != Counts::default() {
            ledger::add(tx.sql, message, provider, platform, &counts)?;
        }
    }
    Ok(())
}
