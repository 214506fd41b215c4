//! Counts of each message, moved in the same transaction as what they count, so they always add up.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use tidings_model::{
    AppId, DeviceHistory, DeviceId, Message, MsgId, Part, Parts, Platform, Provider, Push, Reason,
};

use crate::codes::{AsCode, codes};
use crate::detail::Ending;
use crate::{Store, StoreError, WriteTx, devices, inbox, messages};

/// How many deliveries of a message by one provider to one platform came how far.
///
/// `targeted` = `accepted` + `delivered` + `dropped` + `expired` + `failed` + `handed_on` once the message is finished;
/// before that the rest is under way. `opened` is counted beside these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Taken by the provider.
    pub accepted: u64,
    /// Acknowledged by the device, or by the provider's word at it.
    pub delivered: u64,
    /// Not for this device after all.
    pub dropped: u64,
    pub expired: u64,
    pub failed: u64,
    /// Went on by another provider, where they are counted as well.
    pub handed_on: u64,
    pub opened: u64,
    /// Of the delivered, those by the provider's word: the device itself has acknowledged nothing.
    pub reported: u64,
    /// Left for the provider at least once; on the link counted with its acknowledgement.
    pub sent: u64,
    /// Devices that were asked to be reached so far; of those that read the app's log, as many as have been counted.
    pub targeted: u64,
}

impl Counts {
    /// Counts one more that ended; `left` says whether it ever left for the provider.
    pub(crate) fn add(&mut self, ending: Ending, left: bool) {
        self.sent += u64::from(left);
        match ending {
            Ending::Accepted => self.accepted += 1,
            Ending::Delivered => self.delivered += 1,
            Ending::Dropped => self.dropped += 1,
            Ending::Expired => self.expired += 1,
            Ending::Failed => self.failed += 1,
            Ending::HandedOn => self.handed_on += 1,
        }
    }

    /// As they are told: what is accepted and reported is delivered. A report may be there before the acceptance is written, and
    /// counts with it.
    fn with_reports(self) -> Self {
        let reported = self.reported.min(self.accepted);
        Self {
            accepted: self.accepted - reported,
            delivered: self.delivered + reported,
            reported,
            ..self
        }
    }

    /// Deliveries of which it is known how they ended.
    fn ended(self) -> u64 {
        let by_provider = self.accepted + self.failed + self.handed_on;
        by_provider + self.delivered + self.dropped + self.expired
    }

    pub fn plus(self, other: Self) -> Self {
        Self {
            accepted: self.accepted + other.accepted,
            delivered: self.delivered + other.delivered,
            dropped: self.dropped + other.dropped,
            expired: self.expired + other.expired,
            failed: self.failed + other.failed,
            handed_on: self.handed_on + other.handed_on,
            opened: self.opened + other.opened,
            reported: self.reported + other.reported,
            sent: self.sent + other.sent,
            targeted: self.targeted + other.targeted,
        }
    }
}

/// The counts of one provider and platform.
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    pub counts: Counts,
    pub platform: Platform,
    pub provider: Provider,
}

/// Everything that is counted of a message.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// No device has yet to be turned to, and no page is out.
    pub dispatched: bool,
    /// Nothing more can happen to it.
    pub finished: bool,
    pub message: Message,
    pub reasons: Vec<(Provider, Ending, Reason, u64)>,
    pub tallies: Vec<Tally>,
}

impl Ledger {
    /// Of all providers. A delivery that was handed on counts where it went.
    pub fn total(&self) -> Counts {
        let sum = self
            .tallies
            .iter()
            .fold(Counts::default(), |sum, tally| sum.plus(tally.counts));
        Counts {
            handed_on: 0,
            targeted: sum.targeted.saturating_sub(sum.handed_on),
            ..sum
        }
    }
}

/// What a device, or a provider of it, says became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The provider says that the device has it.
    Delivered,
    Dismissed,
    Opened,
    Received,
    /// The provider says that the device does not have it, or does not show it.
    Undelivered,
}

codes!(
    EventKind,
    EventKind::Dismissed = 1,
    EventKind::Opened = 2,
    EventKind::Received = 3,
    EventKind::Delivered = 4,
    EventKind::Undelivered = 5
);

impl EventKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Dismissed => "dismissed",
            Self::Opened => "opened",
            Self::Received => "received",
            Self::Undelivered => "undelivered",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceEvent {
    pub kind: EventKind,
    pub message: MsgId,
}

impl Store {
    /// The ledger of a message; none when the app has no such message.
    pub async fn ledger(&self, app: AppId, message: MsgId) -> Result<Option<Ledger>, StoreError> {
        self.engine.read(move |sql| find(sql, app, message)).await
    }

    /// Remembers what a device says, each thing once; those of other apps' messages or of messages that were not for this
    /// device's app are left out. Returns how many were new.
    pub async fn add_events(
        &self,
        app: AppId,
        device: DeviceId,
        platform: Platform,
        events: Vec<DeviceEvent>,
    ) -> Result<u64, StoreError> {
        let note = move |tx: &mut WriteTx<'_>| {
            let mut new = 0;
            // Read once: it may be some thousand rows, and the writer is held.
            let Some(history) = devices::history(tx.sql, app, device)? else {
                return Ok(0);
            };
            for event in events {
                let Some(provider) = carrier(tx.sql, app, &history, event.message)? else {
                    continue;
                };
                let mut insert = tx.sql.prepare_cached(
                    "INSERT INTO events (message, device, kind, at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
                )?;
                if insert.execute(params![
                    event.message.0,
                    device.0,
                    AsCode(event.kind),
                    tx.now.0
                ])? == 0
                {
                    continue;
                }
                new += 1;
                if event.kind == EventKind::Opened {
                    let opened = Counts {
                        opened: 1,
                        ..Counts::default()
                    };
                    add(tx.sql, event.message, provider, platform, &opened)?;
                }
            }
            Ok(new)
        };
        self.engine.write(note).await
    }
}

pub(crate) fn add(
    sql: &Connection,
    message: MsgId,
    provider: Provider,
    platform: Platform,
    more: &Counts,
) -> Result<(), StoreError> {
    let mut upsert = sql.prepare_cached(
        "INSERT INTO counts (message, provider, platform, targeted, sent, accepted, delivered, opened, dropped, expired, failed, handed_on, reported)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
         ON CONFLICT (message, provider, platform) DO UPDATE SET targeted = targeted + ?4, sent = sent + ?5, accepted = accepted + ?6,
             delivered = delivered + ?7, opened = opened + ?8, dropped = dropped + ?9, expired = expired + ?10,
             failed = failed + ?11, handed_on = handed_on + ?12, reported = reported + ?13",
    )?;
    upsert.execute(params![
        message.0,
        AsCode(provider),
        AsCode(platform),
        more.targeted,
        more.sent,
        more.accepted,
        more.delivered,
        more.opened,
        more.dropped,
        more.expired,
        more.failed,
        more.handed_on,
        more.reported,
    ])?;
    Ok(())
}

pub(crate) fn add_reasons(
    sql: &Connection,
    message: MsgId,
    provider: Provider,
    counted: &BTreeMap<(Ending, Reason), u64>,
) -> Result<(), StoreError> {
    for ((ending, reason), count) in counted {
        add_reason(sql, message, provider, *ending, reason.as_str(), *count)?;
    }
    Ok(())
}

pub(crate) fn add_reason(
    sql: &Connection,
    message: MsgId,
    provider: Provider,
    ending: Ending,
    reason: &str,
    count: u64,
) -> Result<(), StoreError> {
    let mut upsert = sql.prepare_cached(
        "INSERT INTO reasons (message, provider, ending, reason, count) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (message, provider, ending, reason) DO UPDATE SET count = count + ?5",
    )?;
    upsert.execute(params![
        message.0,
        AsCode(provider),
        AsCode(ending),
        reason,
        count
    ])?;
    Ok(())
}

/// Counts `open` deliveries of which it cannot be read any more whose they were as failed, where there are such under way.
pub(crate) fn fail_unread(
    sql: &Connection,
    message: MsgId,
    provider: Provider,
    open: u64,
    reason: &Reason,
) -> Result<(), StoreError> {
    let mut select = sql.prepare_cached(
        "SELECT platform, max(0, targeted - accepted - delivered - dropped - expired - failed - handed_on)
         FROM counts WHERE message = ?1 AND provider = ?2",
    )?;
    let rows = select.query_map(params![message.0, AsCode(provider)], |row| {
        Ok((row.get::<_, AsCode<Platform>>(0)?.0, row.get::<_, u64>(1)?))
    })?;
    let mut left = open;
    for (platform, under_way) in rows.collect::<Result<Vec<_>, _>>()? {
        let failed = left.min(under_way);
        left -= failed;
        let counts = Counts {
            failed,
            ..Counts::default()
        };
        add(sql, message, provider, platform, &counts)?;
    }
    let counted = BTreeMap::from([((Ending::Failed, reason.clone()), open - left)]);
    add_reasons(sql, message, provider, &counted)
}

fn find(sql: &Connection, app: AppId, id: MsgId) -> Result<Option<Ledger>, StoreError> {
    let Some(message) = messages::find(sql, id)?.filter(|message| message.app == app) else {
        return Ok(None);
    };
    let mut select = sql.prepare_cached(
        "SELECT finished, NOT EXISTS (SELECT 1 FROM tasks WHERE message = ?1)
             AND NOT EXISTS (SELECT 1 FROM pages INDEXED BY pages_open WHERE message = ?1 AND state <> 3)
         FROM messages WHERE id = ?1",
    )?;
    let (finished, dispatched): (_, bool) =
        select.query_row(params![id.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut select = sql.prepare_cached(
        "SELECT provider, platform, targeted, sent, accepted, delivered, opened, dropped, expired, failed, handed_on, reported
         FROM counts WHERE message = ?1 ORDER BY provider, platform",
    )?;
    let tallies = select.query_map(params![id.0], |row| {
        Ok(Tally {
            provider: row.get::<_, AsCode<Provider>>(0)?.0,
            platform: row.get::<_, AsCode<Platform>>(1)?.0,
            counts: Counts {
                targeted: row.get(2)?,
                sent: row.get(3)?,
                accepted: row.get(4)?,
                delivered: row.get(5)?,
                opened: row.get(6)?,
                dropped: row.get(7)?,
                expired: row.get(8)?,
                failed: row.get(9)?,
                handed_on: row.get(10)?,
                reported: row.get(11)?,
            }
            .with_reports(),
        })
    })?;
    let mut tallies = tallies.collect::<Result<Vec<Tally>, _>>()?;
    // What is in the log is counted while devices have it already: whoever it ended at is a target for certain.
    let mut task =
        sql.prepare_cached("SELECT 1 FROM tasks WHERE message = ?1 AND provider = ?2")?;
    let counting = !dispatched && task.exists(params![id.0, AsCode(Provider::Link)])?;
    let by_link = |tally: &&mut Tally| counting && tally.provider == Provider::Link;
    for tally in tallies.iter_mut().filter(by_link) {
        let counts = &mut tally.counts;
        counts.targeted = counts.targeted.max(counts.ended());
    }
    let mut select =
        sql.prepare_cached("SELECT provider, ending, reason, count FROM reasons WHERE message = ?1 ORDER BY count DESC")?;
    let reasons = select.query_map(params![id.0], |row| {
        let reason: String = row.get(2)?;
        let (provider, ending) = (
            row.get::<_, AsCode<Provider>>(0)?.0,
            row.get::<_, AsCode<Ending>>(1)?.0,
        );
        Ok((provider, ending, Reason::heard(&reason), row.get(3)?))
    })?;
    Ok(Some(Ledger {
        dispatched,
        finished,
        message,
        reasons: reasons.collect::<Result<_, _>>()?,
        tallies,
    }))
}

/// A device acknowledges what has gone to a provider meanwhile: that is no second ending, but it says that the device has it.
pub(crate) fn received_late(
    tx: &mut WriteTx<'_>,
    (app, device, message, parts): (AppId, DeviceId, MsgId, Parts),
) -> Result<(), StoreError> {
    if !inbox::has_gone_on(tx.sql, (app, device, message, parts))? {
        return Ok(());
    }
    let mut insert = tx.sql.prepare_cached(
        "INSERT INTO events (message, device, kind, at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
    )?;
    let received = AsCode(EventKind::Received);
    insert.execute(params![message.0, device.0, received, tx.now.0])?;
    Ok(())
}

/// By which provider a message of this app went to a device, so that what the device says is counted there: that which
/// carried what is shown, before that of what is handed over. None when it was not for the device.
fn carrier(
    sql: &Connection,
    app: AppId,
    history: &DeviceHistory,
    message: MsgId,
) -> Result<Option<Provider>, StoreError> {
    let message = match messages::find(sql, message) {
        // What else the device says is heard.
        Err(StoreError::Stored(_)) => None,
        found => found?.filter(|message| message.app == app),
    };
    let Some(message) = message else {
        return Ok(None);
    };
    let Push { audience, .. } = &message.push;
    let way = |part| {
        let mut ways = history.ways(message.id, audience, message.push.aim(), part);
        ways.next()
    };
    let offered = message.push.aim().offered();
    let shown = way(offered);
    if shown.is_none_or(|way| way == Provider::Link) {
        return Ok(shown.or_else(|| way(Part::Message)));
    }
    // Where that way ended, the link may have carried it after all.
    let rows = inbox::rows(sql, app, history.id, message.id)?;
    let went_on = rows.iter().any(|row| row.parts.contains(offered));
    Ok(if went_on { Some(Provider::Link) } else { shown })
}
