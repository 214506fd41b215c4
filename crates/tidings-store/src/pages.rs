//! Pages: up to 1,000 deliveries of one message, the unit of work, of recovery and of bookkeeping.
//!
//! A page is cut from an audience's range ([`crate::tasks`]), leased by its lane ([`crate::lease`]), and flushed and settled
//! by the lease ([`crate::flush`]). What it cannot end it hands to pages of stragglers, which have their own time.

use rusqlite::{Connection, OptionalExtension, Row, params};
use tidings_model::{AppId, DeviceId, Environment, Message, MsgId, Platform, Provider, UnixMillis};

use crate::codes::{AsCode, codes};
use crate::detail::{Answer, find_settled, unpack};
use crate::ledger::{self, Counts};
use crate::members::{self, Member};
use crate::order::{self, Blocker};
use crate::progress::Progress;
use crate::{StoreError, Target};

/// The work of one app, provider and environment (none of a provider that has only one): nothing else waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneKey {
    pub app: AppId,
    pub provider: Provider,
    pub environment: Option<Environment>,
}

/// Which page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageKey {
    pub message: MsgId,
    pub provider: Provider,
    pub environment: Option<Environment>,
    pub first: DeviceId,
    /// 0 for one cut from a range; a later one has what one before could not end.
    pub round: u32,
}

/// What turns pages take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The one page of a small message.
    Short,
    /// One of many.
    Long,
    /// Those that had to wait.
    Stragglers,
}

codes!(
    Class,
    Class::Short = 1,
    Class::Long = 2,
    Class::Stragglers = 3
);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Ready,
    Out,
    Settled,
    /// An older message with the same collapse id goes first ([`crate::order`]).
    Behind,
    /// Out in the form of before.
    Old,
}

codes!(
    State,
    State::Ready = 1,
    State::Out = 2,
    State::Settled = 3,
    State::Behind = 4,
    State::Old = 5
);

/// What the pages say of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageStanding {
    /// None while it is under way.
    pub answer: Option<Answer>,
    pub provider: Provider,
    /// That it waits, and what for.
    pub waits: Option<Waits>,
}

/// A delivery that waits for its next try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waits {
    pub attempts: u32,
    /// Not before this.
    pub due: UnixMillis,
    pub last: Option<tidings_model::Reason>,
}

/// The id under which a message replaces the one before on the phone, if it was given one: such messages keep their order.
pub(crate) fn collapse(message: &Message, provider: Provider) -> Option<&str> {
    message.push.options.collapse_id(provider)
}

/// The environment of tokens that name none: what the push says, else the one that there is a credential for.
pub(crate) fn default_environment(
    sql: &Connection,
    message: &Message,
    provider: Provider,
) -> Result<Option<Environment>, StoreError> {
    if provider.nature().environments.is_empty() {
        return Ok(None);
    }
    match message.push.options.apns_production {
        Some(true) => Ok(Some(Environment::Production)),
        Some(false) => Ok(Some(Environment::Sandbox)),
        None => {
            let mut select = sql.prepare_cached(
                "SELECT environment FROM credentials WHERE app = ?1 AND provider = ?2",
            )?;
            let rows = select.query_map(params![message.app.0, AsCode(provider)], |row| {
                Ok(row.get::<_, AsCode<Option<Environment>>>(0)?.0)
            })?;
            let set = rows.collect::<Result<Vec<_>, _>>()?;
            let only_sandbox = set.contains(&Some(Environment::Sandbox))
                && !set.contains(&Some(Environment::Production));
            Ok(Some(match only_sandbox {
                true => Environment::Sandbox,
                false => Environment::Production,
            }))
        }
    }
}

/// Makes targets, which are in the order of their devices, pages: one for each environment among them. They are counted
/// as targeted here, before anything is sent. Returns the lanes that have pages now.
pub(crate) fn cut(
    sql: &Connection,
    message: &Message,
    provider: Provider,
    class: Class,
    round: u32,
    targets: &[Target],
) -> Result<Vec<LaneKey>, StoreError> {
    let mut lanes = Vec::new();
    if targets.is_empty() {
        return Ok(lanes);
    }
    let unnamed = default_environment(sql, message, provider)?;
    for environment in provider.worlds() {
        let is_in = |target: &&Target| {
            environment.is_none() || target.environment.or(unnamed) == environment
        };
        let members: Vec<Member> = targets
            .iter()
            .filter(is_in)
            .map(|target| Member::new(target.device, target.platform))
            .collect();
        let Some(first) = members.first() else {
            continue;
        };
        let key = PageKey {
            message: message.id,
            provider,
            environment,
            first: first.device,
            round,
        };
        let collapse = collapse(message, provider);
        let behind = match collapse {
            Some(collapse) => {
                let devices: Vec<DeviceId> = members.iter().map(|member| member.device).collect();
                order::blocker(sql, message.app, key, collapse, &devices)?
            }
            None => None,
        };
        let new = NewPage {
            app: message.app,
            behind,
            class,
            collapse,
            due: UnixMillis(0),
            key,
            unknown: environment == unnamed,
        };
        insert(sql, &new, &members)?;
        lanes.push(LaneKey {
            app: message.app,
            provider,
            environment,
        });
    }
    for (platform, counts) in counted(targets) {
        ledger::add(sql, message.id, provider, platform, &counts)?;
    }
    Ok(lanes)
}

fn counted(targets: &[Target]) -> Vec<(Platform, Counts)> {
    let mut counted: Vec<(Platform, Counts)> = Vec::new();
    for target in targets {
        match counted
            .iter_mut()
            .find(|(platform, _)| *platform == target.platform)
        {
            Some((_, counts)) => counts.targeted += 1,
            None => counted.push((
                target.platform,
                Counts {
                    targeted: 1,
                    ..Counts::default()
                },
            )),
        }
    }
    counted
}

/// A page to be written down.
pub(crate) struct NewPage<'a> {
    pub(crate) app: AppId,
    /// It is ready if it stands behind nothing.
    pub(crate) behind: Option<Blocker>,
    pub(crate) class: Class,
    pub(crate) collapse: Option<&'a str>,
    pub(crate) due: UnixMillis,
    pub(crate) key: PageKey,
    pub(crate) unknown: bool,
}

pub(crate) fn insert(
    sql: &Connection,
    new: &NewPage<'_>,
    members: &[Member],
) -> Result<(), StoreError> {
    let key = new.key;
    let last = members.last().map_or(key.first, |member| member.device);
    let mut insert = sql.prepare_cached(
        "INSERT INTO pages (message, provider, environment, first, round, app, last, count, answered, unknown, class, state, due,
                            collapse, behind, behind_first, detail)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, ?9, ?10, ?11, ?12, ?13, ?14, ?15, x'')",
    )?;
    let state = match new.behind {
        Some(_) => State::Behind,
        None => State::Ready,
    };
    insert.execute(params![
        key.message.0,
        AsCode(key.provider),
        AsCode(key.environment),
        key.first.0,
        key.round,
        new.app.0,
        last.0,
        members.len(),
        new.unknown,
        AsCode(new.class),
        AsCode(state),
        new.due.0,
        new.collapse,
        new.behind.map(|blocker| blocker.message.0),
        new.behind.map(|blocker| blocker.first.0),
    ])?;
    put_members(sql, key, members)
}

pub(crate) fn put_members(
    sql: &Connection,
    key: PageKey,
    members: &[Member],
) -> Result<(), StoreError> {
    let mut put = sql.prepare_cached(
        "INSERT INTO members (message, provider, environment, first, round, devices) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (message, provider, environment, first, round) DO UPDATE SET devices = ?6",
    )?;
    put.execute(params![
        key.message.0,
        AsCode(key.provider),
        AsCode(key.environment),
        key.first.0,
        key.round,
        members::pack(members),
    ])?;
    Ok(())
}

pub(crate) fn members_of(sql: &Connection, key: PageKey) -> Result<Vec<Member>, StoreError> {
    let mut select = sql.prepare_cached(
        "SELECT devices FROM members WHERE message = ?1 AND provider = ?2 AND environment = ?3 AND first = ?4 AND round = ?5",
    )?;
    let packed: Option<Vec<u8>> = select.query_row(by(key), |row| row.get(0)).optional()?;
    let packed = packed
        .ok_or_else(|| StoreError::Stored(format!("the devices of a page of {}", key.message)))?;
    members::unpack(&packed)
}

/// A page's key as the five first parameters of a statement.
pub(crate) fn by(key: PageKey) -> (i64, AsCode<Provider>, AsCode<Option<Environment>>, i64, u32) {
    (
        key.message.0,
        AsCode(key.provider),
        AsCode(key.environment),
        key.first.0,
        key.round,
    )
}

/// A key from the columns message, provider, environment, first, round.
pub(crate) fn read_key(row: &Row<'_>) -> rusqlite::Result<PageKey> {
    Ok(PageKey {
        message: MsgId(row.get(0)?),
        provider: row.get::<_, AsCode<Provider>>(1)?.0,
        environment: row.get::<_, AsCode<Option<Environment>>>(2)?.0,
        first: DeviceId(row.get(3)?),
        round: row.get(4)?,
    })
}

/// What the pages of a message say of a device that is a target of it by `provider`: of those that it has been in, the last.
/// `begins` is the first page that it was in, and its round, where that is known.
pub(crate) fn standing(
    sql: &Connection,
    message: &Message,
    provider: Provider,
    device: DeviceId,
    named: Option<Environment>,
    begins: Option<(DeviceId, u32)>,
) -> Result<Option<PageStanding>, StoreError> {
    let mut found: Option<(u32, PageStanding)> = None;
    let (is_given, least) = (begins.is_some(), begins.map_or(0, |(_, round)| round));
    let begins = match begins {
        Some((first, _)) => Some(first),
        None => range_begins(sql, message.id, provider, device)?,
    };
    let worlds = provider.worlds();
    // Pages of before name none.
    for environment in worlds.chain([None]) {
        // Back from the device to where its range begins: stragglers of it may be in another environment by now, before that one's
        // own page of the range.
        let mut select = sql.prepare_cached(
            "SELECT message, provider, environment, first, round, last, state, due, settled_at, detail, unknown FROM pages
             WHERE message = ?1 AND provider = ?2 AND environment = ?3 AND first <= ?4 ORDER BY first DESC, round DESC",
        )?;
        let mut rows = select.query(params![
            message.id.0,
            AsCode(provider),
            AsCode(environment),
            device.0
        ])?;
        while let Some(row) = rows.next()? {
            let key = read_key(row)?;
            let goes_by_range = is_given || environment.is_some();
            let is_last = match begins {
                Some(begins) if goes_by_range && key.first < begins => break,
                Some(begins) if goes_by_range => key.first == begins && key.round == least,
                _ => key.round == 0,
            };
            let newer = found.as_ref().is_none_or(|(round, _)| *round <= key.round);
            let holds = row.get::<_, i64>(5)? >= device.0 && newer && key.round >= least;
            // A page of a range says nothing of those in it that belong to another environment.
            let belongs = match (key.round, named, environment) {
                (0, Some(named), Some(environment)) => named == environment,
                (0, None, _) => row.get(10)?,
                _ => true,
            };
            if holds
                && belongs
                && let Some(standing) = in_page(sql, row, key, device)?
            {
                found = Some((key.round, standing));
            }
            if is_last {
                break;
            }
        }
    }
    Ok(found.map(|(_, standing)| standing))
}

/// The first device of the part of the audience that was cut together with a device, by the pages whose ranges hold it.
fn range_begins(
    sql: &Connection,
    message: MsgId,
    provider: Provider,
    device: DeviceId,
) -> Result<Option<DeviceId>, StoreError> {
    let mut begins: Option<DeviceId> = None;
    for environment in provider.worlds() {
        let mut select = sql.prepare_cached(
            "SELECT first, round, last FROM pages
             WHERE message = ?1 AND provider = ?2 AND environment = ?3 AND first <= ?4 ORDER BY first DESC, round DESC",
        )?;
        let place = params![message.0, AsCode(provider), AsCode(environment), device.0];
        let mut rows = select.query(place)?;
        while let Some(row) = rows.next()? {
            if row.get::<_, u32>(1)? > 0 {
                continue;
            }
            let first = DeviceId(row.get(0)?);
            if row.get::<_, i64>(2)? >= device.0 {
                begins = Some(begins.map_or(first, |begins| begins.min(first)));
            }
            break;
        }
    }
    Ok(begins)
}

/// What one page says of a device that lies in its range; none when the device is not in it.
fn in_page(
    sql: &Connection,
    row: &Row<'_>,
    key: PageKey,
    device: DeviceId,
) -> Result<Option<PageStanding>, StoreError> {
    let AsCode(state) = row.get::<_, AsCode<State>>(6)?;
    let (due, settled_at): (i64, Option<i64>) = (row.get(7)?, row.get(8)?);
    let detail: Vec<u8> = row.get(9)?;
    let of = |answer, waits| {
        Some(PageStanding {
            answer,
            provider: key.provider,
            waits,
        })
    };
    if state == State::Old {
        return Ok(of(None, None));
    }
    if state == State::Settled {
        let at = UnixMillis(settled_at.unwrap_or(0));
        let answer = match key.round {
            // All of it has gone into later rounds.
            0 if detail.is_empty() => None,
            0 => Some(find_settled(&detail, device, at)?),
            _ if detail.is_empty() => None,
            _ => unpack(&detail)?
                .into_iter()
                .find(|answer| answer.device == device),
        };
        return Ok(answer.and_then(|answer| of(Some(answer), None)));
    }
    let members = members_of(sql, key)?;
    let Ok(index) = members.binary_search_by_key(&device, |member| member.device) else {
        return Ok(None);
    };
    let end = Progress::unpack(&detail)?.end(index, UnixMillis::now());
    let answer = end.map(|end| Answer {
        at: end.at,
        device,
        ending: end.ending,
        reason: end.reason,
        attempts: end.attempts,
    });
    let tried = members[index].tried.as_deref();
    let is_waiting = answer.is_none() && state != State::Out && (tried.is_some() || due > 0);
    let waits = is_waiting.then(|| Waits {
        attempts: tried.map_or(0, crate::Tried::attempts),
        due: UnixMillis(due),
        last: tried.and_then(|tried| tried.last.clone()),
    });
    Ok(of(answer, waits))
}
