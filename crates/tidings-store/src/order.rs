//! Whose turn it is among the messages of one collapse id: on each device they keep their order, and no device waits for another.
//!
//! A page stands behind at most one thing at a time: the newest older page that has a device in common with it and has not
//! ended, or the newest older task that may still have one. When that ends, whoever stood behind it is looked at again. So
//! messages to one device are a chain, of which each end makes one ready, and what a page has behind it are as many pages
//! as it has devices, at most. Who stands behind whom always goes from newer to older: nobody waits in a ring.

use rusqlite::{Connection, OptionalExtension, params};
use tidings_model::{AppId, DeviceId, Environment, MsgId, Provider};

use crate::StoreError;
use crate::codes::AsCode;
use crate::limits::{AGAIN_LOOKS, AHEAD_MAX, BETWEEN_LOOKS, SHARING_LOOKS, WIDE_LOOKS};
use crate::pages::{LaneKey, PageKey, State, by, members_of, read_key};

/// A page of several devices is so much more to look for than one of one.
const WIDE_COST: usize = 20;

/// What a page stands behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blocker {
    /// The first device of the page; 0 when it is the message's task.
    pub(crate) first: DeviceId,
    pub(crate) message: MsgId,
}

impl Blocker {
    fn task(message: MsgId) -> Self {
        Self {
            first: DeviceId(0),
            message,
        }
    }
}

/// The devices of a page, in their order, of which there is one at least.
struct Devices<'a>(&'a [DeviceId]);

impl Devices<'_> {
    fn ends(&self) -> (DeviceId, DeviceId) {
        let none = DeviceId(0);
        let (first, last) = (self.0.first(), self.0.last());
        (*first.unwrap_or(&none), *last.unwrap_or(&none))
    }

    fn has(&self, device: DeviceId) -> bool {
        self.0.binary_search(&device).is_ok()
    }
}

/// What a page of these devices, in their order, stands behind; nothing when it is its turn.
pub(crate) fn blocker(
    sql: &Connection,
    app: AppId,
    key: PageKey,
    collapse: &str,
    devices: &[DeviceId],
) -> Result<Option<Blocker>, StoreError> {
    let devices = Devices(devices);
    let place = Place { app, collapse, key };
    let found = [
        place.task(sql, devices.ends().1)?,
        place.beginning_within(sql, &devices)?,
        place.wide(sql, &devices)?,
    ];
    Ok(found
        .into_iter()
        .flatten()
        .max_by_key(|blocker| blocker.message))
}

/// Where a page looks for what is before it.
struct Place<'a> {
    app: AppId,
    collapse: &'a str,
    key: PageKey,
}

impl Place<'_> {
    /// The newest older task that has yet to come to the last of the devices.
    fn task(&self, sql: &Connection, last: DeviceId) -> Result<Option<Blocker>, StoreError> {
        let mut select = sql.prepare_cached(
            "SELECT message FROM tasks INDEXED BY tasks_by_collapse
             WHERE app = ?1 AND provider = ?2 AND collapse = ?3 AND message < ?4 AND after < ?5 ORDER BY message DESC LIMIT 1",
        )?;
        let Self { app, collapse, key } = self;
        let place = params![app.0, AsCode(key.provider), collapse, key.message.0, last.0];
        Ok(select
            .query_row(place, |row| row.get(0).map(MsgId))
            .optional()?
            .map(Blocker::task))
    }

    /// The newest older page whose first device is one of these: all pages of one device, and some others.
    fn beginning_within(
        &self,
        sql: &Connection,
        devices: &Devices<'_>,
    ) -> Result<Option<Blocker>, StoreError> {
        let Self { app, collapse, key } = self;
        let (first, last) = devices.ends();
        let mut between = sql.prepare_cached(
            "SELECT first, message FROM pages INDEXED BY pages_by_collapse
             WHERE app = ?1 AND provider = ?2 AND environment = ?3 AND collapse = ?4 AND first BETWEEN ?5 AND ?6 LIMIT ?7",
        )?;
        let place = params![
            app.0,
            AsCode(key.provider),
            AsCode(key.environment),
            collapse,
            first.0,
            last.0,
            BETWEEN_LOOKS
        ];
        let mut found: Option<Blocker> = None;
        if first < last {
            let mut looked = 0;
            let mut rows = between.query(place)?;
            while let Some(row) = rows.next()? {
                looked += 1;
                let (first, message) = (DeviceId(row.get(0)?), MsgId(row.get(1)?));
                let is_newer = found.is_none_or(|found| found.message < message);
                if message < key.message && is_newer && devices.has(first) {
                    found = Some(Blocker { first, message });
                }
            }
            if looked < BETWEEN_LOOKS {
                return Ok(found);
            }
        }
        // One search for each of the devices.
        let mut newest = sql.prepare_cached(
            "SELECT message FROM pages INDEXED BY pages_by_collapse
             WHERE app = ?1 AND provider = ?2 AND environment = ?3 AND collapse = ?4 AND first = ?5 AND message < ?6
             ORDER BY message DESC LIMIT 1",
        )?;
        for first in devices.0 {
            let place = params![
                app.0,
                AsCode(key.provider),
                AsCode(key.environment),
                collapse,
                first.0,
                key.message.0
            ];
            let message: Option<i64> = newest.query_row(place, |row| row.get(0)).optional()?;
            let Some(message) = message.map(MsgId) else {
                continue;
            };
            if found.is_none_or(|found| found.message < message) {
                let first = *first;
                found = Some(Blocker { first, message });
            }
        }
        Ok(found)
    }

    /// The newest older page of several devices, of which one of these is another than the first. Where too much would have
    /// to be looked at, the page at which the looking ended, as if it had one.
    fn wide(&self, sql: &Connection, devices: &Devices<'_>) -> Result<Option<Blocker>, StoreError> {
        let Self { app, collapse, key } = self;
        let (first, last) = devices.ends();
        let mut select = sql.prepare_cached(
            "SELECT message, provider, environment, first, round, last FROM pages INDEXED BY pages_wide
             WHERE app = ?1 AND provider = ?2 AND environment = ?3 AND collapse = ?4 AND last > first AND message < ?5
             ORDER BY message DESC LIMIT ?6",
        )?;
        let place = params![
            app.0,
            AsCode(key.provider),
            AsCode(key.environment),
            collapse,
            key.message.0,
            WIDE_LOOKS
        ];
        let (mut looked, mut opened) = (0, 0);
        let mut rows = select.query(place)?;
        while let Some(row) = rows.next()? {
            let other = read_key(row)?;
            looked += 1;
            let overlaps = other.first < last && row.get::<_, i64>(5)? >= first.0;
            opened += usize::from(overlaps);
            if looked == WIDE_LOOKS
                || opened == SHARING_LOOKS
                || (overlaps && shares(sql, other, devices)?)
            {
                return Ok(Some(Blocker {
                    first: other.first,
                    message: other.message,
                }));
            }
        }
        Ok(None)
    }
}

/// Whether a page has one of these devices. One that cannot be read may.
fn shares(sql: &Connection, key: PageKey, devices: &Devices<'_>) -> Result<bool, StoreError> {
    match members_of(sql, key) {
        Ok(members) => Ok(members.iter().any(|member| devices.has(member.device))),
        Err(StoreError::Stored(_)) => Ok(true),
        Err(error) => Err(error),
    }
}

/// The environments in which so many pages of a message stand behind others that no more are cut of it.
pub(crate) fn behind(
    sql: &Connection,
    provider: Provider,
    message: MsgId,
) -> Result<Vec<Option<Environment>>, StoreError> {
    let mut behind = Vec::new();
    for environment in provider.worlds() {
        let mut select = sql.prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM pages INDEXED BY pages_open
             WHERE message = ?1 AND provider = ?2 AND environment = ?3 AND state <> 3 AND state = 4 LIMIT ?4)",
        )?;
        let place = params![message.0, AsCode(provider), AsCode(environment), AHEAD_MAX];
        let count: usize = select.query_row(place, |row| row.get(0))?;
        if count == AHEAD_MAX {
            behind.push(environment);
        }
    }
    Ok(behind)
}

/// To be called when a page has ended, or waits and lets others pass: looks again at what stood behind it. Returns its lane if
/// that has pages now.
pub(crate) fn page_ended(
    sql: &Connection,
    app: AppId,
    key: PageKey,
    collapse: &str,
) -> Result<Option<LaneKey>, StoreError> {
    let ended = Blocker {
        first: key.first,
        message: key.message,
    };
    let place = Place { app, collapse, key };
    place.look_again(sql, ended, DeviceId(i64::MAX))
}

/// To be called when a task has come to a device, or has ended (the last there can be). Returns the lanes that have pages now.
pub(crate) fn task_moved(
    sql: &Connection,
    app: AppId,
    provider: Provider,
    collapse: &str,
    message: MsgId,
    reached: DeviceId,
) -> Result<Vec<LaneKey>, StoreError> {
    let mut lanes = Vec::new();
    for environment in provider.worlds() {
        let key = PageKey {
            message,
            provider,
            environment,
            first: DeviceId(0),
            round: 0,
        };
        let place = Place { app, collapse, key };
        lanes.extend(place.look_again(sql, Blocker::task(message), reached)?);
    }
    Ok(lanes)
}

impl Place<'_> {
    /// Looks again at the pages up to a device that stood behind what has ended.
    fn look_again(
        &self,
        sql: &Connection,
        ended: Blocker,
        reached: DeviceId,
    ) -> Result<Option<LaneKey>, StoreError> {
        let Self { app, collapse, key } = *self;
        let (provider, environment) = (AsCode(key.provider), AsCode(key.environment));
        let mut select = sql.prepare_cached(
            "SELECT message, provider, environment, first, round, last FROM pages INDEXED BY pages_behind
             WHERE state = 4 AND behind = ?1 AND provider = ?2 AND environment = ?3 AND behind_first = ?4 AND last <= ?5
             ORDER BY message LIMIT ?6",
        )?;
        let place = params![
            ended.message.0,
            provider,
            environment,
            ended.first.0,
            reached.0,
            AGAIN_LOOKS + 1
        ];
        let rows = select.query_map(place, |row| Ok((read_key(row)?, row.get(5)?)))?;
        let waiting = rows.collect::<Result<Vec<(PageKey, i64)>, _>>()?;
        let (mut is_ready, mut looks, mut looked_at) = (false, 0, 0);
        for (page, last) in &waiting {
            if looks >= AGAIN_LOOKS {
                break;
            }
            let (devices, cost) = match page.first.0 == *last {
                true => (vec![page.first], 1),
                false => (devices_of(sql, *page)?, WIDE_COST),
            };
            let blocker = blocker(sql, app, *page, collapse, &devices)?;
            is_ready |= blocker.is_none();
            put(sql, *page, blocker)?;
            looks += cost;
            looked_at += 1;
        }
        if let (true, Some((oldest, _))) = (looked_at < waiting.len(), waiting.first()) {
            // All others are newer: they stand behind the oldest of these now, which ends like any.
            let mut update = sql.prepare_cached(
                "UPDATE pages INDEXED BY pages_behind SET behind = ?6, behind_first = ?7
                 WHERE state = 4 AND behind = ?1 AND provider = ?2 AND environment = ?3 AND behind_first = ?4 AND last <= ?5",
            )?;
            update.execute(params![
                ended.message.0,
                provider,
                environment,
                ended.first.0,
                reached.0,
                oldest.message.0,
                oldest.first.0
            ])?;
        }
        Ok(is_ready.then_some(LaneKey {
            app,
            provider: key.provider,
            environment: key.environment,
        }))
    }
}

/// Makes a page that stood behind another ready, or has it stand behind the next.
fn put(sql: &Connection, page: PageKey, blocker: Option<Blocker>) -> Result<(), StoreError> {
    let mut update = sql.prepare_cached(
        "UPDATE pages SET state = ?6, behind = ?7, behind_first = ?8
         WHERE message = ?1 AND provider = ?2 AND environment = ?3 AND first = ?4 AND round = ?5",
    )?;
    let state = match blocker {
        Some(_) => State::Behind,
        None => State::Ready,
    };
    let place = by(page);
    update.execute(params![
        place.0,
        place.1,
        place.2,
        place.3,
        place.4,
        AsCode(state),
        blocker.map(|blocker| blocker.message.0),
        blocker.map(|blocker| blocker.first.0),
    ])?;
    Ok(())
}

/// The devices of a page; its first alone where they cannot be read, which is found out when it is taken out.
fn devices_of(sql: &Connection, page: PageKey) -> Result<Vec<DeviceId>, StoreError> {
    match members_of(sql, page) {
        Ok(members) => Ok(members.iter().map(|member| member.device).collect()),
        Err(StoreError::Stored(_)) => Ok(vec![page.first]),
        Err(error) => Err(error),
    }
}

/// Looks again at every page that stands behind what is not there, as a program of before may leave it: for an opening.
pub(crate) fn heal(sql: &Connection) -> Result<(), StoreError> {
    let mut select = sql.prepare(
        "SELECT message, provider, environment, first, round, app, collapse FROM pages AS p INDEXED BY pages_behind
         WHERE state = 4
             AND NOT EXISTS (SELECT 1 FROM pages AS o WHERE o.message = p.behind AND o.provider = p.provider
                 AND o.environment = p.environment AND o.first = p.behind_first AND o.state <> 3)
             AND NOT EXISTS (SELECT 1 FROM tasks AS t WHERE t.app = p.app AND t.provider = p.provider AND t.message = p.behind
                 AND p.behind_first = 0)",
    )?;
    let rows = select.query_map([], |row| {
        let collapse: Option<String> = row.get(6)?;
        Ok((read_key(row)?, AppId(row.get(5)?), collapse))
    })?;
    for (key, app, collapse) in rows.collect::<Result<Vec<_>, _>>()? {
        let devices = devices_of(sql, key)?;
        let blocker = match collapse {
            Some(collapse) => blocker(sql, app, key, &collapse, &devices)?,
            None => None,
        };
        put(sql, key, blocker)?;
    }
    Ok(())
}
