//! Flushes: what has been answered of pages that are out is written down, and the counts move with it; pages of which
//! nothing is out any more are settled in the same transaction.
//!
//! Everything is checked by the lease and by how much had been written down before, so that nothing is counted twice,
//! whoever comes late and whatever was told of a commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use tidings_model::{
    AppId, DeviceId, Environment, Life, Message, MsgId, Platform, Provider, Reason, UnixMillis,
};

use crate::codes::AsCode;
use crate::detail::Ending;
use crate::devices::Place;
use crate::ledger::{self, Counts};
use crate::members::Member;
use crate::pages::{self, Class, LaneKey, NewPage, PageKey, by};
use crate::progress::{End, Progress};
use crate::{Store, StoreError, WriteTx, channels, inbox, order};

/// A token that its provider calls dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    pub app: AppId,
    pub device: DeviceId,
    pub provider: Provider,
    pub reason: Reason,
    /// Only if it was registered before this: one that was registered again since stays.
    pub registered_before: UnixMillis,
    /// The token that was written to: one that the device has instead stays.
    pub token: Box<str>,
}

/// What endings add to a message's counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    counts: BTreeMap<Platform, Counts>,
    reasons: BTreeMap<(Ending, Reason), u64>,
}

impl Delta {
    pub fn add(&mut self, platform: Platform, end: &End) {
        let counts = self.counts.entry(platform).or_default();
        counts.add(end.ending, end.attempts > 0);
        if let Some(reason) = &end.reason {
            let key = (end.ending, reason.clone());
            *self.reasons.entry(key).or_default() += 1;
        }
    }

    pub(crate) fn write(
        &self,
        sql: &Connection,
        message: MsgId,
        provider: Provider,
    ) -> Result<(), StoreError> {
        for (platform, counts) in &self.counts {
            ledger::add(sql, message, provider, *platform, counts)?;
        }
        ledger::add_reasons(sql, message, provider, &self.reasons)
    }

    pub fn merge(&mut self, other: Self) {
        for (platform, counts) in other.counts {
            let sum = self.counts.entry(platform).or_default();
            *sum = sum.plus(counts);
        }
        for (key, count) in other.reasons {
            *self.reasons.entry(key).or_default() += count;
        }
    }
}

/// What is to be written down of a page that is out.
#[derive(Clone, Debug)]
pub struct PageFlush {
    /// What the endings add since `ended`.
    pub delta: Delta,
    /// How many had ended, as the store has it.
    pub ended: usize,
    pub key: PageKey,
    pub lease: i64,
    /// Deliveries whose way has ended before anybody took them.
    pub leaving: Vec<Leaving>,
    pub members: Arc<Vec<Member>>,
    pub message: Arc<Message>,
    /// All that have ended, but for those that leave.
    pub progress: Progress,
    /// With what is left of it the page ends; none while it stays out.
    pub rest: Option<Vec<Rest>>,
}

/// A delivery whose way has ended before anybody took it: it goes on by the device's next way, or ends as it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    pub end: End,
    pub index: usize,
    pub why: Why,
}

/// Why a delivery leaves its page: what is with its way. While the page stays out ([`PageFlush::rest`]) it may turn out that
/// the delivery stays in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    Ended,
    /// Its provider calls this token dead: when the device holds another by now, the way has not ended.
    Dead(Box<str>),
    /// There is no going by it for a time: a quota is used up. When the device has no other, the delivery waits.
    Shut,
}

/// Deliveries of a page that go on in another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    /// Not before this, as stragglers; none puts them back as they were, with the turn that they had.
    pub due: Option<UnixMillis>,
    pub environment: Option<Environment>,
    /// In the order of their devices.
    pub members: Vec<Member>,
}

/// What a flush brought about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Deliveries that have not left their page after all: the device holds another token, or has no other way.
    pub again: Vec<(PageKey, usize)>,
    /// Devices that have something in their inboxes now.
    pub inboxes: Vec<DeviceId>,
    /// Lanes that have more pages now.
    pub lanes: Vec<LaneKey>,
    /// How those that left their page ended in it.
    pub left: Vec<(PageKey, Vec<(usize, End)>)>,
    /// Pages that are another's by now, and by which lease they were thought to be out: nothing of them was written.
    pub lost: Vec<(PageKey, i64)>,
}

impl Store {
    /// Writes down what has been answered of pages, settles those that end, and removes tokens, all or nothing but for
    /// pages that are another's by now.
    pub async fn flush(
        &self,
        pages: Vec<PageFlush>,
        removals: Vec<Removal>,
    ) -> Result<Flushed, StoreError> {
        let leaving = pages.iter().map(|page| page.leaving.len()).sum::<usize>();
        let rows = leaving + removals.len();
        self.engine
            .write_rows(rows, move |tx| flush(tx, &pages, &removals))
            .await
    }

    /// Prolongs leases, for so long from now. Those of another by now are left alone; the others are returned.
    pub async fn renew_leases(
        &self,
        mut pages: Vec<(PageKey, i64)>,
        duration: Duration,
    ) -> Result<Vec<(PageKey, i64)>, StoreError> {
        let renew = move |tx: &mut WriteTx<'_>| {
            let mut update = tx.sql.prepare_cached(
                "UPDATE pages SET lease_until = ?7
                 WHERE message = ?1 AND provider = ?2 AND environment = ?3 AND first = ?4 AND round = ?5
                     AND state = 2 AND lease = ?6",
            )?;
            let until = tx.lease_clock.plus(duration).0;
            let mut failed = Ok(());
            pages.retain(|(key, lease)| {
                let place = by(*key);
                let renewed = update.execute(params![
                    place.0, place.1, place.2, place.3, place.4, lease, until
                ]);
                let is_ours = renewed.as_ref().is_ok_and(|renewed| *renewed == 1);
                if let Err(error) = renewed {
                    failed = Err(error);
                }
                is_ours
            });
            failed?;
            Ok(pages)
        };
        self.engine.write(renew).await
    }

    /// Ends a page that cannot be read: what had not ended has failed. Returns the lanes that have more pages now.
    pub async fn fail_page(
        &self,
        key: PageKey,
        lease: i64,
        reason: Reason,
    ) -> Result<Vec<LaneKey>, StoreError> {
        let fail = move |tx: &mut WriteTx<'_>| {
            let mut select = tx.sql.prepare_cached(
                "SELECT count - answered, app, collapse FROM pages
                 WHERE message = ?1 AND provider = ?2 AND environment = ?3 AND first = ?4 AND round = ?5
                     AND state = 2 AND lease = ?6",
            )?;
            let place = by(key);
            let page = select
                .query_row(
                    params![place.0, place.1, place.2, place.3, place.4, lease],
                    |row| {
                        let collapse: Option<String> = row.get(2)?;
                        Ok((row.get(0)?, AppId(row.get(1)?), collapse))
                    },
                )
                .optional()?;
            let Some((open, app, collapse)) = page else {
                return Ok(Vec::new());
            };
            ledger::fail_unread(tx.sql, key.message, key.provider, open, &reason)?;
            settle(tx, key, 0, Vec::new())?;
            match collapse {
                Some(collapse) => {
                    let lane = order::page_ended(tx.sql, app, key, &collapse)?;
                    Ok(lane.into_iter().collect())
                }
                None => Ok(Vec::new()),
            }
        };
        self.engine.write(fail).await
    }
}

type Counted = BTreeMap<(MsgId, Provider), Delta>;

fn flush(
    tx: &mut WriteTx<'_>,
    pages: &[PageFlush],
    removals: &[Removal],
) -> Result<Flushed, StoreError> {
    let mut flushed = Flushed::default();
    let mut counted = Counted::new();
    for page in pages {
        if !is_ours(tx, page)? {
            flushed.lost.push((page.key, page.lease));
            continue;
        }
        let mut delta = page.delta.clone();
        if page.leaving.is_empty() {
            write(tx, page, &page.progress, &mut flushed)?;
        } else {
            let mut progress = page.progress.clone();
            let mut left = Vec::with_capacity(page.leaving.len());
            for Leaving { end, index, why } in &page.leaving {
                let Some(member) = page.members.get(*index) else {
                    continue;
                };
                if let (Why::Dead(dead), None) = (why, &page.rest)
                    && holds_another(tx.sql, page, member.device, dead)?
                {
                    flushed.again.push((page.key, *index));
                    continue;
                }
                let end = leave(tx, page, member, end.clone(), &mut counted, &mut flushed)?;
                if *why == Why::Shut && end.ending != Ending::HandedOn {
                    flushed.again.push((page.key, *index));
                    continue;
                }
                if progress.note(*index, &end) {
                    delta.add(member.platform, &end);
                }
                left.push((*index, end));
            }
            write(tx, page, &progress, &mut flushed)?;
            flushed.left.push((page.key, left));
        }
        let count = counted
            .entry((page.key.message, page.key.provider))
            .or_default();
        count.merge(delta);
    }
    for ((message, provider), delta) in &counted {
        delta.write(tx.sql, *message, *provider)?;
    }
    remove(tx, removals)?;
    Ok(flushed)
}

/// Whether a page is out under this lease, with as much written down as is thought.
fn is_ours(tx: &WriteTx<'_>, page: &PageFlush) -> Result<bool, StoreError> {
    let mut select = tx.sql.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM pages
         WHERE message = ?1 AND provider = ?2 AND environment = ?3 AND first = ?4 AND round = ?5
             AND state = 2 AND lease = ?6 AND answered = ?7)",
    )?;
    let place = by(page.key);
    Ok(select.query_row(
        params![
            place.0, place.1, place.2, place.3, place.4, page.lease, page.ended
        ],
        |row| row.get(0),
    )?)
}

fn write(
    tx: &mut WriteTx<'_>,
    page: &PageFlush,
    progress: &Progress,
    flushed: &mut Flushed,
) -> Result<(), StoreError> {
    match &page.rest {
        None => {
            let mut update = tx.sql.prepare_cached(
                "UPDATE pages SET answered = ?6, detail = ?7
                 WHERE message = ?1 AND provider = ?2 AND environment = ?3 AND first = ?4 AND round = ?5",
            )?;
            let place = by(page.key);
            update.execute(params![
                place.0,
                place.1,
                place.2,
                place.3,
                place.4,
                progress.count(),
                progress.pack()
            ])?;
            Ok(())
        }
        Some(rest) => end(tx, page, progress, rest, flushed),
    }
}

/// Settles a page and makes its rest pages of stragglers.
fn end(
    tx: &mut WriteTx<'_>,
    page: &PageFlush,
    progress: &Progress,
    rest: &[Rest],
    flushed: &mut Flushed,
) -> Result<(), StoreError> {
    let (key, app) = (page.key, page.message.app);
    match rest {
        [rest] if progress.count() == 0 && rest.environment == key.environment => {
            put_back(tx, key, rest)?;
        }
        _ => {
            let detail = match progress.count() {
                0 => Vec::new(),
                _ => progress.settled(&page.members, key.round == 0, tx.now),
            };
            let turn = turn(tx.sql, key)?;
            settle(tx, key, progress.count(), detail)?;
            for rest in rest {
                let Some(first) = rest.members.first() else {
                    continue;
                };
                let class = match rest.due {
                    None if rest.environment == key.environment => turn,
                    _ => Class::Stragglers,
                };
                let collapse = pages::collapse(&page.message, key.provider);
                let key = PageKey {
                    environment: rest.environment,
                    first: first.device,
                    round: key.round + 1,
                    ..key
                };
                let new = NewPage {
                    app,
                    behind: None,
                    class,
                    // While stragglers wait, newer messages pass them; what was put back is still the next.
                    collapse: collapse.filter(|_| class != Class::Stragglers),
                    due: rest.due.unwrap_or(UnixMillis(0)),
                    key,
                    unknown: false,
                };
                pages::insert(tx.sql, &new, &rest.members)?;
                if rest.environment != page.key.environment {
                    flushed.lanes.push(LaneKey {
                        app,
                        provider: key.provider,
                        environment: rest.environment,
                    });
                }
            }
        }
    }
    if let Some(collapse) = pages::collapse(&page.message, key.provider) {
        let lane = order::page_ended(tx.sql, app, key, collapse)?;
        flushed.lanes.extend(lane);
    }
    Ok(())
}

/// The turn that a page has.
fn turn(sql: &Connection, key: PageKey) -> Result<Class, StoreError> {
    let mut select = sql.prepare_cached(
        "SELECT class FROM pages
         WHERE message = ?1 AND provider = ?2 AND environment = ?3 AND first = ?4 AND round = ?5",
    )?;
    Ok(select
        .query_row(by(key), |row| row.get::<_, AsCode<Class>>(0))?
        .0)
}

/// Nothing of the page has ended: it stays the page that it was, for later.
fn put_back(tx: &mut WriteTx<'_>, key: PageKey, rest: &Rest) -> Result<(), StoreError> {
    let mut update = tx.sql.prepare_cached(
        "UPDATE pages SET state = 1, lease = NULL, lease_until = NULL, due = ?6, class = iif(?7, 3, class),
             collapse = iif(?7 OR class = 3, NULL, collapse)
         WHERE message = ?1 AND provider = ?2 AND environment = ?3 AND first = ?4 AND round = ?5",
    )?;
    let place = by(key);
    let due = rest.due.unwrap_or(UnixMillis(0)).0;
    update.execute(params![
        place.0,
        place.1,
        place.2,
        place.3,
        place.4,
        due,
        rest.due.is_some()
    ])?;
    pages::put_members(tx.sql, key, &rest.members)
}

fn settle(
    tx: &mut WriteTx<'_>,
    key: PageKey,
    count: usize,
    detail: Vec<u8>,
) -> Result<(), StoreError> {
    let mut update = tx.sql.prepare_cached(
        "UPDATE pages SET state = 3, count = ?6, answered = ?6, detail = ?7, settled_at = ?8, lease = NULL, lease_until = NULL,
             collapse = NULL
         WHERE message = ?1 AND provider = ?2 AND environment = ?3 AND first = ?4 AND round = ?5",
    )?;
    let place = by(key);
    update.execute(params![
        place.0, place.1, place.2, place.3, place.4, count, detail, tx.now.0
    ])?;
    let mut delete = tx.sql.prepare_cached(
        "DELETE FROM members WHERE message = ?1 AND provider = ?2 AND environment = ?3 AND first = ?4 AND round = ?5",
    )?;
    delete.execute(place)?;
    Ok(())
}

/// Whether a device holds another token than this one.
fn holds_another(
    sql: &Connection,
    page: &PageFlush,
    device: DeviceId,
    token: &str,
) -> Result<bool, StoreError> {
    let mut select = sql.prepare_cached(
        "SELECT token_hash FROM channels INDEXED BY channels_by_device
         WHERE app = ?1 AND device = ?2 AND until = ?3 AND provider = ?4",
    )?;
    let (app, provider) = (page.message.app.0, AsCode(page.key.provider));
    let held: Option<Option<[u8; 16]>> = select
        .query_row(params![app, device.0, Life::ON, provider], |row| row.get(0))
        .optional()?;
    Ok(held
        .flatten()
        .is_some_and(|held| held != channels::token_hash(token)))
}

/// Sends a delivery whose way has ended on by the device's next one, and says how it ended here.
fn leave(
    tx: &mut WriteTx<'_>,
    page: &PageFlush,
    member: &Member,
    end: End,
    counted: &mut Counted,
    flushed: &mut Flushed,
) -> Result<End, StoreError> {
    let message = &page.message;
    // Whoever stands in a page is in the audience: how it could be reached then is all that is asked.
    let held = channels::held_at(tx.sql, message.app, member.device, message.id)?;
    let aim = message.push.aim();
    let mut ways = aim.ways(aim.offered(), member.platform, held);
    // Those before have had their turn.
    let next = ways
        .by_ref()
        .find(|way| *way == page.key.provider)
        .and_then(|_| ways.next());
    let is_taken = match next {
        None => false,
        Some(Provider::Link) => inbox::hand_on(tx, message, member.device, aim.offered())?,
        // A device has one of the others at most.
        Some(_) => false,
    };
    let (true, Some(next)) = (is_taken, next) else {
        return Ok(end);
    };
    let targeted = Counts {
        targeted: 1,
        ..Counts::default()
    };
    let count = counted.entry((message.id, next)).or_default();
    let sum = count.counts.entry(member.platform).or_default();
    *sum = sum.plus(targeted);
    flushed.inboxes.push(member.device);
    Ok(End {
        ending: Ending::HandedOn,
        ..end
    })
}

pub(crate) fn remove(tx: &mut WriteTx<'_>, removals: &[Removal]) -> Result<(), StoreError> {
    for removal in removals {
        let mut select = tx.sql.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM channels
             WHERE app = ?1 AND provider = ?2 AND token_hash = ?3 AND device = ?4 AND registered_at < ?5)",
        )?;
        let is_it = select.query_row(
            params![
                removal.app.0,
                AsCode(removal.provider),
                channels::token_hash(&removal.token),
                removal.device.0,
                removal.registered_before.0
            ],
            |row| row.get(0),
        )?;
        if is_it {
            let place = Place {
                app: removal.app,
                at: tx.ids.next(tx.now),
                device: removal.device,
            };
            channels::end(tx, place, removal.provider, &removal.reason)?;
        }
    }
    Ok(())
}
