//! Leases: a lane takes pages out for a time, and finds out where its devices are reached now.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use tidings_model::{DeviceId, Environment, Message, MsgId, Provider, UnixMillis};

use crate::apps::{self, random};
use crate::codes::AsCode;
use crate::detail::Ending;
use crate::engine::caught;
use crate::limits::{
    AHEAD_MAX, FREED_MAX, POINTS_MAX, SUPERSEDING_LOOKS, SUPERSEDING_MAX, SUPERSEDING_MIN,
};
use crate::members::Member;
use crate::pages::{self, Class, LaneKey, PageKey, by, read_key};
use crate::progress::Progress;
use crate::{Address, Store, StoreError, WriteTx, addresses, devices, messages, trace};

/// How much a lane can take out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Deliveries of long messages, and stragglers.
    pub long: usize,
    pub pages: usize,
    /// Deliveries of short messages, for which there is room of their own.
    pub short: usize,
}

/// What a lane got.
#[derive(Clone, Debug, Default)]
pub struct Leased {
    /// Pages of long messages that are ready still, as far as they were counted: when there are few, more have to be cut.
    pub ahead: usize,
    /// There was no room for all that was ready of long messages and stragglers.
    pub more_long: bool,
    /// There was no room for all that was ready of short messages.
    pub more_short: bool,
    /// When the first of the stragglers that stayed is due.
    pub next_due: Option<UnixMillis>,
    pub pages: Vec<LeasedPage>,
}

/// A page that is out.
#[derive(Clone, Debug)]
pub struct LeasedPage {
    pub class: Class,
    /// How many there are in it.
    pub count: usize,
    /// How many have ended, as the store has it.
    pub ended: usize,
    pub key: PageKey,
    /// What every settlement is checked by.
    pub lease: i64,
}

/// What a page that is out consists of.
#[derive(Clone, Debug)]
pub struct OpenPage {
    pub members: Arc<Vec<Member>>,
    pub message: Arc<Message>,
    /// How those fared that had ended when the page was last out.
    pub progress: Progress,
    /// Where each of the members is reached; none of those that have ended.
    pub places: Vec<Option<Addressed>>,
}

/// Where a device is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addressed {
    /// It is not registered any more.
    Gone,
    /// In another environment than the page's: it is another lane's by now.
    Elsewhere(Option<Environment>),
    /// By the channel that it was a target by, if it still holds it.
    Here(Address),
    /// A newer message with the same collapse id goes to it by the same provider: this one would undo that.
    Superseded,
}

impl Store {
    /// Takes out pages of a lane that are ready and due, for so long, as there is room: short ones, stragglers, long ones, the
    /// oldest of each first. Durable before anything is sent, so that what is sent has a place to be remembered in. Due is what
    /// is so at `now`, by the clock by which it was put away.
    pub async fn lease(
        &self,
        lane: LaneKey,
        room: Room,
        duration: Duration,
        now: UnixMillis,
    ) -> Result<Leased, StoreError> {
        self.engine
            .write(move |tx| lease(tx, lane, room, duration, now))
            .await
    }

    /// Reads what pages consist of, and where their devices are reached: each by itself, so that one that cannot be read
    /// fails alone. `known` has messages that were read before.
    pub async fn open_pages(
        &self,
        pages: Vec<LeasedPage>,
        mut known: HashMap<MsgId, Arc<Message>>,
    ) -> Result<Vec<(LeasedPage, Result<OpenPage, StoreError>)>, StoreError> {
        let deliveries: usize = pages.iter().map(|page| page.count - page.ended).sum();
        let read = move |sql: &Connection| {
            let opened = pages.into_iter().map(|page| {
                let opened = caught(|| open(sql, &page, &mut known));
                (page, opened)
            });
            Ok(opened.collect())
        };
        if deliveries <= POINTS_MAX {
            self.engine.read(read).await
        } else {
            self.engine.scan(read).await
        }
    }

    /// Makes pages ready whose leases have run out, some of them: when it says that there were some, there may be more.
    pub async fn free_pages(&self) -> Result<usize, StoreError> {
        let free = |tx: &mut WriteTx<'_>| free(tx.sql, tx.lease_clock);
        self.engine.write(free).await
    }
}

fn lease(
    tx: &mut WriteTx<'_>,
    lane: LaneKey,
    room: Room,
    duration: Duration,
    now: UnixMillis,
) -> Result<Leased, StoreError> {
    if !apps::lives(tx.sql, lane.app)? {
        return Ok(Leased::default());
    }
    let lease = i64::from_le_bytes(random());
    let until = tx.lease_clock.plus(duration);
    let mut taken = Taken {
        lane,
        lease,
        now,
        pages: Vec::new(),
        pages_max: room.pages,
        until,
    };
    let (_, more_short) = taken.take(tx.sql, Class::Short, room.short)?;
    // Those that waited go with new ones, half and half, whichever there are more of.
    let (waited, mut waiting) = taken.take(tx.sql, Class::Stragglers, room.long / 2)?;
    let (long, more) = taken.take(tx.sql, Class::Long, room.long.saturating_sub(waited))?;
    if waiting {
        let left = room.long.saturating_sub(waited + long);
        waiting = taken.take(tx.sql, Class::Stragglers, left)?.1;
    }
    let mut select = tx.sql.prepare_cached(
        "SELECT count(*) FROM (SELECT 1 FROM pages INDEXED BY pages_ready
         WHERE state = 1 AND app = ?1 AND provider = ?2 AND environment = ?3 AND class = ?4 LIMIT ?5)",
    )?;
    let ahead = select.query_row(
        params![
            lane.app.0,
            AsCode(lane.provider),
            AsCode(lane.environment),
            AsCode(Class::Long),
            AHEAD_MAX
        ],
        |row| row.get(0),
    )?;
    let mut select = tx.sql.prepare_cached(
        "SELECT due FROM pages INDEXED BY pages_ready
         WHERE state = 1 AND app = ?1 AND provider = ?2 AND environment = ?3 AND class = ?4 ORDER BY due LIMIT 1",
    )?;
    let next_due: Option<i64> = select
        .query_row(
            params![
                lane.app.0,
                AsCode(lane.provider),
                AsCode(lane.environment),
                AsCode(Class::Stragglers)
            ],
            |row| row.get(0),
        )
        .optional()?;
    Ok(Leased {
        ahead,
        more_long: more || waiting,
        more_short,
        next_due: next_due.map(UnixMillis),
        pages: taken.pages,
    })
}

struct Taken {
    lane: LaneKey,
    lease: i64,
    now: UnixMillis,
    pages: Vec<LeasedPage>,
    pages_max: usize,
    until: UnixMillis,
}

impl Taken {
    /// Takes out pages of a class with up to `room` deliveries, and says how many these are, and whether there are more.
    fn take(
        &mut self,
        sql: &Connection,
        class: Class,
        room: usize,
    ) -> Result<(usize, bool), StoreError> {
        let mut select = sql.prepare_cached(
            "SELECT message, provider, environment, first, round, count, answered FROM pages INDEXED BY pages_ready
             WHERE state = 1 AND app = ?1 AND provider = ?2 AND environment = ?3 AND class = ?4 AND due <= ?5
             ORDER BY due, message, first, round LIMIT ?6",
        )?;
        let LaneKey {
            app,
            provider,
            environment,
        } = self.lane;
        let left = self.pages_max - self.pages.len();
        let place = params![
            app.0,
            AsCode(provider),
            AsCode(environment),
            AsCode(class),
            self.now.0,
            left + 1
        ];
        let rows = select.query_map(place, |row| {
            Ok((
                read_key(row)?,
                row.get::<_, usize>(5)?,
                row.get::<_, usize>(6)?,
            ))
        })?;
        let mut taken = 0;
        let mut update = sql.prepare_cached(
            // While stragglers are out, newer messages with their collapse id wait.
            "UPDATE pages SET state = 2, lease = ?6, lease_until = ?7,
                 collapse = iif(class = 3, (SELECT collapse FROM messages WHERE id = ?1), collapse)
             WHERE message = ?1 AND provider = ?2 AND environment = ?3 AND first = ?4 AND round = ?5",
        )?;
        for row in rows.collect::<Result<Vec<_>, _>>()? {
            let (key, count, ended) = row;
            let deliveries = count.saturating_sub(ended);
            if taken + deliveries > room || self.pages.len() == self.pages_max {
                return Ok((taken, true));
            }
            let place = by(key);
            update.execute(params![
                place.0,
                place.1,
                place.2,
                place.3,
                place.4,
                self.lease,
                self.until.0
            ])?;
            taken += deliveries;
            self.pages.push(LeasedPage {
                class,
                count,
                ended,
                key,
                lease: self.lease,
            });
        }
        Ok((taken, false))
    }
}

/// Makes pages ready whose leases have run out at `now`, with what has been flushed of them; up to [`FREED_MAX`].
pub(crate) fn free(sql: &Connection, now: UnixMillis) -> Result<usize, StoreError> {
    let mut update = sql.prepare_cached(
        "UPDATE pages SET state = 1, lease = NULL, lease_until = NULL, collapse = iif(class = 3, NULL, collapse)
         WHERE (message, provider, environment, first, round) IN
             (SELECT message, provider, environment, first, round FROM pages INDEXED BY pages_out
              WHERE state = 2 AND lease_until <= ?1 LIMIT ?2)",
    )?;
    Ok(update.execute(params![now.0, FREED_MAX])?)
}

fn open(
    sql: &Connection,
    page: &LeasedPage,
    known: &mut HashMap<MsgId, Arc<Message>>,
) -> Result<OpenPage, StoreError> {
    let (key, class) = (page.key, page.class);
    let message = match known.get(&key.message) {
        Some(message) => Arc::clone(message),
        None => {
            let message = messages::find(sql, key.message)?;
            let message =
                message.ok_or_else(|| StoreError::Stored(format!("message {}", key.message)))?;
            Arc::clone(
                known
                    .entry(key.message)
                    .or_insert_with(|| Arc::new(message)),
            )
        }
    };
    let mut select = sql.prepare_cached(
        "SELECT detail FROM pages
         WHERE message = ?1 AND provider = ?2 AND environment = ?3 AND first = ?4 AND round = ?5",
    )?;
    let detail: Vec<u8> = select.query_row(by(key), |row| row.get(0))?;
    let progress = Progress::unpack(&detail)?;
    let members = pages::members_of(sql, key)?;
    let addresses = addresses::of(sql, message.app, key.provider, message.id, &members)?;
    let lost_name = addresses.iter().flatten().any(|place| place.lost_name);
    let unnamed = match lost_name {
        true => pages::default_environment(sql, &message, key.provider)?,
        false => None,
    };
    let newer = match pages::collapse(&message, key.provider) {
        Some(collapse) if class == Class::Stragglers => {
            let looks =
                (SUPERSEDING_LOOKS / members.len().max(1)).clamp(SUPERSEDING_MIN, SUPERSEDING_MAX);
            newer(sql, &message, collapse, looks)?
        }
        Some(_) | None => Vec::new(),
    };
    let mut places = Vec::with_capacity(members.len());
    for (index, place) in addresses.into_iter().enumerate() {
        let environment = place.as_ref().and_then(|place| match place.lost_name {
            true => unnamed,
            false => place.address.environment,
        });
        places.push(match place.map(|place| place.address) {
            _ if progress.has(index) => None,
            None => Some(Addressed::Gone),
            Some(address)
                if address.ended.is_none()
                    && environment.is_some()
                    && environment != key.environment =>
            {
                Some(Addressed::Elsewhere(environment))
            }
            Some(address) if is_superseded(sql, &newer, key.provider, address.device)? => {
                Some(Addressed::Superseded)
            }
            Some(address) => Some(Addressed::Here(address)),
        });
    }
    Ok(OpenPage {
        members: Arc::new(members),
        message,
        progress,
        places,
    })
}

/// The newest messages of an app under a collapse id that are newer than this one, up to `limit`.
fn newer(
    sql: &Connection,
    than: &Message,
    collapse: &str,
    limit: usize,
) -> Result<Vec<Message>, StoreError> {
    let mut select = sql.prepare_cached(
        "SELECT id FROM messages INDEXED BY messages_by_collapse
         WHERE app = ?1 AND collapse = ?2 AND id > ?3 ORDER BY id DESC LIMIT ?4",
    )?;
    let ids = select.query_map(params![than.app.0, collapse, than.id.0, limit], |row| {
        row.get(0).map(MsgId)
    })?;
    let mut newer = Vec::new();
    for id in ids {
        match messages::find(sql, id?) {
            // It goes to nobody any more, and so undoes nothing.
            Err(StoreError::Stored(_)) => {}
            found => newer.extend(found?),
        }
    }
    Ok(newer)
}

/// Whether the device has one of the newer messages by the same provider, or is about to.
fn is_superseded(
    sql: &Connection,
    newer: &[Message],
    provider: Provider,
    device: DeviceId,
) -> Result<bool, StoreError> {
    let Some(first) = newer.first() else {
        return Ok(false);
    };
    let Some(history) = devices::history(sql, first.app, device)? else {
        return Ok(false);
    };
    for message in newer {
        let push = &message.push;
        let aim = push.aim();
        let mut ways = history.ways(message.id, &push.audience, aim, aim.offered());
        if ways.next() == Some(provider) && supersedes(sql, message, provider, device)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a newer message that is for the device has come to it, or may still come.
fn supersedes(
    sql: &Connection,
    newer: &Message,
    provider: Provider,
    device: DeviceId,
) -> Result<bool, StoreError> {
    let standing = match trace::page(sql, newer, provider, device) {
        // Nobody gets what cannot be read.
        Err(StoreError::Stored(_)) => return Ok(false),
        standing => standing?,
    };
    Ok(match standing.and_then(|standing| standing.answer) {
        Some(answer) => answer.ending == Ending::Accepted,
        None => newer.expires_at > UnixMillis::now(),
    })
}
