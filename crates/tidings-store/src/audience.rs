//! An audience as pages of devices, in the order of their ids, as it was at a message's id.
//!
//! Everyone is a walk over one provider's channels. A selection begins with devices as they are named, else with its aliases or
//! its tags, whichever are fewer, as one merge of their lists, each in device order; the candidates that come out are looked up
//! among the channels, some at a time. So a page costs what it holds, whatever is left, and how many share a tag or an alias. Where
//! hardly a candidate is meant, a look ends before the page is full.

use std::collections::VecDeque;

use rusqlite::{Connection, Row, Rows, params};
use tidings_model::{
    AppId, Audience, DeviceId, Environment, Life, Message, MsgId, Platform, PlatformSet, Provider,
    ProviderSet, Push, Selection,
};

use crate::candidates::Candidates;
use crate::codes::{AsCode, Code};
use crate::labels::Kind;
use crate::limits::{CANDIDATES_MAX, PAGE_MAX, REACH_LOOK};
use crate::narrowing::Narrowing;
use crate::{Store, StoreError};

/// Those devices of an app that one message reaches by one provider.
#[derive(Clone, Debug)]
pub struct Scope {
    pub app: AppId,
    /// The message: everything is judged as it was then.
    pub at: MsgId,
    pub audience: Audience,
    pub platforms: PlatformSet,
    pub provider: Provider,
    /// Whether it is asked who has the link as well.
    pub asks_for_link: bool,
    /// Not those that could be reached by one of these, which are taken before.
    pub without: ProviderSet,
}

impl Scope {
    /// None when nothing of the message goes by `provider`.
    pub fn of(message: &Message, provider: Provider) -> Option<Self> {
        Self::at(message.app, &message.push, message.id, provider)
    }

    /// Those that a push would reach as a message with the id `at`.
    fn at(app: AppId, push: &Push, at: MsgId, provider: Provider) -> Option<Self> {
        let reach = push.aim().reach(provider)?;
        Some(Self {
            app,
            at,
            audience: push.audience.clone(),
            asks_for_link: push.options.strategies.of(provider).is_link_first(),
            platforms: reach.platforms,
            provider,
            without: reach.without,
        })
    }
}

/// Later than every id of today: as it is now.
const NOW: MsgId = MsgId(Life::ON - 1);

/// One device of a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub device: DeviceId,
    /// What it named at the message, whatever it names by now.
    pub environment: Option<Environment>,
    /// It has the link as well, where that was asked.
    pub on_link: bool,
    pub platform: Platform,
}

/// A part of a scope.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found<T> {
    pub(crate) found: Vec<T>,
    /// Go on after this device; none when the scope has no more.
    pub(crate) more_after: Option<DeviceId>,
}

impl Store {
    /// The next devices of a scope after `after`, up to `limit`; at the end, fewer.
    pub async fn targets(
        &self,
        scope: &Scope,
        after: DeviceId,
        limit: usize,
    ) -> Result<Vec<Target>, StoreError> {
        let last = DeviceId(scope.at.0);
        self.targets_until(scope, after, last, limit).await
    }

    /// The devices of a scope from `first` to `last`, up to `limit`: a page once more.
    pub async fn targets_between(
        &self,
        scope: &Scope,
        first: DeviceId,
        last: DeviceId,
        limit: usize,
    ) -> Result<Vec<Target>, StoreError> {
        let after = DeviceId(first.0.saturating_sub(1));
        self.targets_until(scope, after, last, limit).await
    }

    async fn targets_until(
        &self,
        scope: &Scope,
        after: DeviceId,
        last: DeviceId,
        limit: usize,
    ) -> Result<Vec<Target>, StoreError> {
        let mut targets = Vec::new();
        let mut after = Some(after);
        // Each part is a read of its own, so that a scope in which few are found holds up no other reader.
        while let Some(from) = after.filter(|_| targets.len() < limit) {
            let (scope, limit) = (scope.clone(), limit - targets.len());
            let part = self
                .engine
                .scan(move |sql| select(sql, &scope, from, last, limit))
                .await?;
            targets.extend(part.found);
            after = part.more_after;
        }
        Ok(targets)
    }

    /// Whether a push would reach anybody now.
    pub async fn reaches_any(&self, app: AppId, push: &Push) -> Result<bool, StoreError> {
        let aim = push.aim();
        let mut scopes = VecDeque::new();
        for provider in aim.carriers().iter() {
            let Some(scope) = Scope::at(app, push, NOW, provider) else {
                continue;
            };
            let used = self
                .engine
                .read(move |sql| used(sql, app, provider))
                .await?;
            let platforms: PlatformSet = scope
                .platforms
                .iter()
                .filter(|platform| used.contains(*platform))
                .collect();
            // Whoever has the channel is reached, if not by this provider then by one that is taken before it.
            let scope = Scope {
                platforms,
                without: ProviderSet::default(),
                ..scope
            };
            if !platforms.is_empty() {
                scopes.push_back((scope, DeviceId(0), REACH_LOOK));
            }
        }
        // A look for each in turn, a short one first: of a million devices with a tag that one provider does not reach, another
        // may reach the first.
        while let Some((scope, after, look)) = scopes.pop_front() {
            let looked = scope.clone();
            let last = DeviceId(scope.at.0);
            let walk = move |sql: &Connection| {
                walk(sql, &looked, after, last, (1, &mut { look }), |_, _| Ok(()))
            };
            // Most pushes are to somebody who is there, and wait for no walk to know it.
            let part = match look == REACH_LOOK {
                true => self.engine.read(walk).await?,
                false => self.engine.scan(walk).await?,
            };
            if !part.found.is_empty() {
                return Ok(true);
            }
            if let Some(after) = part.more_after {
                scopes.push_back((scope, after, (look * 8).min(CANDIDATES_MAX)));
            }
        }
        Ok(false)
    }
}

/// The platforms of an app's devices that a provider has ever reached.
pub(crate) fn used(
    sql: &Connection,
    app: AppId,
    provider: Provider,
) -> Result<PlatformSet, StoreError> {
    let mut select =
        sql.prepare_cached("SELECT platform FROM app_providers WHERE app = ?1 AND provider = ?2")?;
    let rows = select.query_map(params![app.0, AsCode(provider)], |row| {
        Ok(row.get::<_, AsCode<Platform>>(0)?.0)
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The devices of a scope with `after` < id <= `last`, in order, up to `limit`, as far as some looks go.
pub(crate) fn select(
    sql: &Connection,
    scope: &Scope,
    after: DeviceId,
    last: DeviceId,
    limit: usize,
) -> Result<Found<Target>, StoreError> {
    walk(
        sql,
        scope,
        after,
        last,
        (limit, &mut { CANDIDATES_MAX }),
        target,
    )
}

/// The devices of a scope, if `looks`, which are used up by it, show that there are no more than `most`.
pub(crate) fn few(
    sql: &Connection,
    scope: &Scope,
    most: usize,
    looks: &mut usize,
) -> Result<Option<Vec<Target>>, StoreError> {
    if *looks == 0 {
        return Ok(None);
    }
    let (all, last) = (DeviceId(0), DeviceId(scope.at.0));
    let few = walk(sql, scope, all, last, (most + 1, looks), target)?;
    Ok(few.more_after.is_none().then_some(few.found))
}

/// How many devices of each platform a scope has after `after`, as far as some looks go.
pub(crate) fn count(
    sql: &Connection,
    scope: &Scope,
    after: DeviceId,
) -> Result<Found<(Platform, u64)>, StoreError> {
    let mut looks = CANDIDATES_MAX;
    let (last, bounds) = (DeviceId(scope.at.0), (usize::MAX, &mut looks));
    let platform = |_: &Row<'_>, platform| Ok(platform);
    let Found { found, more_after } = walk(sql, scope, after, last, bounds, platform)?;
    Ok(Found {
        found: tally(found.into_iter()),
        more_after,
    })
}

/// How often each platform comes.
pub(crate) fn tally(platforms: impl Iterator<Item = Platform>) -> Vec<(Platform, u64)> {
    let mut counts: Vec<(Platform, u64)> = Vec::new();
    for platform in platforms {
        match counts.iter_mut().find(|(known, _)| *known == platform) {
            Some((_, count)) => *count += 1,
            None => counts.push((platform, 1)),
        }
    }
    counts
}

fn target(row: &Row<'_>, platform: Platform) -> rusqlite::Result<Target> {
    Ok(Target {
        device: DeviceId(row.get(DEVICE)?),
        environment: row.get::<_, AsCode<Option<Environment>>>(ENVIRONMENT)?.0,
        on_link: row.get(ON_LINK)?,
        platform,
    })
}

const COLUMNS: &str = "c.device, c.platform, c.environment";
const DEVICE: usize = 0;
const PLATFORM: usize = 1;
const ENVIRONMENT: usize = 2;
/// Whether it held the channel then: lives that ended before, or began later, come as well, since they are read.
const HELD: usize = 3;
/// Whether the device could be reached by a provider that is taken before.
const OTHERWISE: usize = 4;
/// Whether it could be reached by the link, where that is asked.
const ON_LINK: usize = 5;

/// Takes what a scope has, in order, until it is enough or the looks are used up: each is a row that is read, or a search.
struct Walk<'a, T, F> {
    before: ProviderSet,
    found: Vec<T>,
    limit: usize,
    looks: &'a mut usize,
    platforms: PlatformSet,
    take: F,
}

impl<T, F: FnMut(&Row<'_>, Platform) -> rusqlite::Result<T>> Walk<'_, T, F> {
    /// Channels in the order of their devices. Where each is `found`, looking for it has been counted, and what is read beside it
    /// may be a page. Returns the last device that has been, if others may come.
    fn pass(&mut self, mut rows: Rows<'_>, found: bool) -> Result<Option<DeviceId>, StoreError> {
        let mut spare = match found {
            true => PAGE_MAX.max(*self.looks),
            false => *self.looks,
        };
        let mut last = None;
        while let Some(row) = rows.next()? {
            let device = DeviceId(row.get(DEVICE)?);
            if spare == 0 && last.is_some_and(|last| last != device) {
                return Ok(last);
            }
            if !found || last == Some(device) {
                spare = spare.saturating_sub(1);
                self.look();
            }
            last = Some(device);
            if row.get(HELD)? && !self.visit(row)? {
                return Ok(last);
            }
        }
        Ok(None)
    }

    fn look(&mut self) {
        *self.looks = self.looks.saturating_sub(1);
    }

    /// False when that was the last one wanted.
    fn visit(&mut self, row: &Row<'_>) -> Result<bool, StoreError> {
        let AsCode(platform) = row.get(PLATFORM)?;
        let goes_before = !self.before.is_empty() && row.get(OTHERWISE)?;
        if self.platforms.contains(platform) && !goes_before {
            self.found.push((self.take)(row, platform)?);
        }
        Ok(self.found.len() < self.limit)
    }
}

/// Reads the channels of a scope, and takes those that belong to it, up to `limit`, or until the looks are used up, of which
/// there is one at least. It gets on by a device at least.
fn walk<T>(
    sql: &Connection,
    scope: &Scope,
    after: DeviceId,
    last: DeviceId,
    (limit, looks): (usize, &mut usize),
    take: impl FnMut(&Row<'_>, Platform) -> rusqlite::Result<T>,
) -> Result<Found<T>, StoreError> {
    let last = last.min(DeviceId(scope.at.0));
    let before = before(sql, scope)?;
    let link = match scope.asks_for_link {
        true => [Provider::Link].into_iter().collect(),
        false => ProviderSet::default(),
    };
    let held = "c.since < ?3 AND c.until > ?3";
    let columns = format!(
        "{COLUMNS}, {held}, {held} AND {}, {held} AND {}",
        reached_by(before),
        reached_by(link)
    );
    let mut walk = Walk {
        before,
        found: Vec::new(),
        limit,
        looks,
        platforms: scope.platforms,
        take,
    };
    let place = (scope.app.0, AsCode(scope.provider), scope.at.0);
    let more_after = match &scope.audience {
        Audience::All => {
            let text = format!(
                "SELECT {columns} FROM channels AS c
                 WHERE c.app = ?1 AND c.provider = ?2 AND c.device > ?4 AND c.device <= ?5 ORDER BY c.device"
            );
            let mut select = sql.prepare_cached(&text)?;
            walk.pass(
                select.query(params![place.0, place.1, place.2, after.0, last.0])?,
                false,
            )?
        }
        Audience::Selection(selection) => {
            let place_of = (scope.app, scope.at);
            let range = (after, last);
            let mut candidates = Candidates::of(sql, place_of, selection, range, *walk.looks)?;
            let narrowings = narrowings(selection, &candidates);
            let text = format!(
                "SELECT {columns} FROM json_each(?4) AS w CROSS JOIN channels AS c
                 WHERE c.app = ?1 AND c.provider = ?2 AND c.device = w.value"
            );
            let mut select = sql.prepare_cached(&text)?;
            loop {
                let batch = candidates.next(sql, limit.max((*walk.looks).min(PAGE_MAX)))?;
                let Some(mut reached) = batch.reached.map(DeviceId) else {
                    break None;
                };
                let ended = batch.read - batch.devices.len();
                *walk.looks = walk.looks.saturating_sub(ended);
                let mut devices = Vec::with_capacity(batch.devices.len());
                for device in batch.devices {
                    walk.look();
                    let mut is_meant = true;
                    for narrowing in &narrowings {
                        is_meant = is_meant
                            && narrowing.holds(sql, place_of, DeviceId(device), walk.looks)?;
                    }
                    if is_meant {
                        devices.push(device);
                    }
                    if *walk.looks == 0 {
                        reached = DeviceId(device);
                        break;
                    }
                }
                let devices = serde_json::Value::from(devices).to_string();
                let rows = select.query(params![place.0, place.1, place.2, devices])?;
                if let Some(device) = walk.pass(rows, true)? {
                    break Some(device);
                }
                if *walk.looks == 0 {
                    break Some(reached);
                }
            }
        }
    };
    Ok(Found {
        found: walk.found,
        more_after,
    })
}

/// The lists of a selection that narrow what the one gives by which it goes.
fn narrowings(selection: &Selection, candidates: &Candidates) -> Vec<Narrowing> {
    let mut narrowings = Vec::new();
    if !selection.aliases.is_empty() && !candidates.drives_aliases() {
        let aliases = selection.aliases.iter().map(ToString::to_string).collect();
        narrowings.push(Narrowing::of(Kind::Alias, aliases));
    }
    if !selection.tags.is_empty() && !candidates.drives_tags() {
        let tags = selection.tags.iter().map(ToString::to_string).collect();
        narrowings.push(Narrowing::of(Kind::Tag, tags));
    }
    narrowings
}

/// Those of the providers that are taken before the scope's by which any device of the app has ever been reached.
fn before(sql: &Connection, scope: &Scope) -> Result<ProviderSet, StoreError> {
    if scope.without.is_empty() {
        return Ok(scope.without);
    }
    let mut select =
        sql.prepare_cached("SELECT DISTINCT provider FROM app_providers WHERE app = ?1")?;
    let rows = select.query_map([scope.app.0], |row| {
        Ok(row.get::<_, AsCode<Provider>>(0)?.0)
    })?;
    let used: ProviderSet = rows.collect::<Result<_, _>>()?;
    Ok(scope.without.and(used))
}

/// An SQL expression: whether the device could be reached by one of these.
fn reached_by(any: ProviderSet) -> String {
    if any.is_empty() {
        return "0".into();
    }
    let codes: Vec<String> = any.iter().map(|one| one.code().to_string()).collect();
    format!(
        "EXISTS (SELECT 1 FROM channels AS o INDEXED BY channels_by_device
             WHERE o.app = ?1 AND o.device = c.device AND o.until > ?3 AND o.since < ?3 AND o.provider IN ({}))",
        codes.join(", ")
    )
}
