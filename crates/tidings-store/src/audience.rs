//! An audience as pages of devices, in the order of their ids, as it was at a message's id.
//!
//! Everyone is a walk over one provider's channels. A selection begins with devices as they are named, else with its aliases or
//! its tags, whichever are fewer, as one merge of their lists, each in device order; the candidates that come out are looked up
//! among the channels, some at a time. So a page costs what it holds, whatever is left, and how many share a tag or an alias. Where
//! hardly a candidate is meant, a look ends before the page is full.

use std::collections::VecDeque;

use rusqlite::types::ToSql;
use rusqlite::{Connection, Row, params};
use tidings_model::{
    AppId, Audience, DeviceId, Environment, Life, Message, MsgId, Platform, PlatformSet, Provider,
    ProviderSet, Push,
};

use crate::candidates::Candidates;
use crate::codes::{AsCode, Code};
use crate::labels::Kind;
use crate::limits::{CANDIDATES_MAX, PAGE_MAX, REACH_LOOK};
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
            let part = self
                .engine
                .scan(move |sql| walk(sql, &looked, after, last, (1, look), |_, _| Ok(())))
                .await?;
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

/// The devices of a scope with `after` < id <= `last`, in order, up to `limit`, of which some candidates are looked at.
pub(crate) fn select(
    sql: &Connection,
    scope: &Scope,
    after: DeviceId,
    last: DeviceId,
    limit: usize,
) -> Result<Found<Target>, StoreError> {
    walk(sql, scope, after, last, (limit, CANDIDATES_MAX), target)
}

/// The devices of a scope, if it is seen at a look at `most` candidates that there are no more.
pub(crate) fn few(
    sql: &Connection,
    scope: &Scope,
    most: usize,
) -> Result<Option<Vec<Target>>, StoreError> {
    let (all, last) = (DeviceId(0), DeviceId(scope.at.0));
    let few = walk(sql, scope, all, last, (most + 1, most + 1), target)?;
    Ok(few.more_after.is_none().then_some(few.found))
}

/// How many devices of each platform a scope has after `after`, of which some candidates are looked at.
pub(crate) fn count(
    sql: &Connection,
    scope: &Scope,
    after: DeviceId,
) -> Result<Found<(Platform, u64)>, StoreError> {
    let (last, bounds) = (DeviceId(scope.at.0), (usize::MAX, CANDIDATES_MAX));
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
/// Whether the device could be reached by a provider that is taken before.
const OTHERWISE: usize = 3;
/// Whether it could be reached by the link, where that is asked.
const ON_LINK: usize = 4;

/// Reads the channels of a scope, and takes those that belong to it, up to `limit`, or until about `look` have been looked at.
fn walk<T>(
    sql: &Connection,
    scope: &Scope,
    after: DeviceId,
    last: DeviceId,
    (limit, look): (usize, usize),
    mut take: impl FnMut(&Row<'_>, Platform) -> rusqlite::Result<T>,
) -> Result<Found<T>, StoreError> {
    let last = last.min(DeviceId(scope.at.0));
    let before = before(sql, scope)?;
    let otherwise = reached_by(before);
    let link = match scope.asks_for_link {
        true => [Provider::Link].into_iter().collect(),
        false => ProviderSet::default(),
    };
    let on_link = reached_by(link);
    let mut found = Vec::new();
    let mut visit = |row: &Row<'_>| -> rusqlite::Result<bool> {
        let AsCode(platform) = row.get(PLATFORM)?;
        let goes_before = !before.is_empty() && row.get(OTHERWISE)?;
        if scope.platforms.contains(platform) && !goes_before {
            found.push(take(row, platform)?);
        }
        Ok(found.len() < limit)
    };
    let place = (scope.app.0, AsCode(scope.provider), scope.at.0);
    let more_after = match &scope.audience {
        Audience::All => {
            let text = format!(
                "SELECT {COLUMNS}, {otherwise}, {on_link} FROM channels AS c
                 WHERE c.app = ?1 AND c.provider = ?2 AND c.device > ?4 AND c.device <= ?5 AND c.since < ?3 AND c.until > ?3
                 ORDER BY c.device"
            );
            let mut select = sql.prepare_cached(&text)?;
            let mut rows = select.query(params![place.0, place.1, place.2, after.0, last.0])?;
            let mut looked_at = 0;
            loop {
                let Some(row) = rows.next()? else {
                    break None;
                };
                looked_at += 1;
                if !visit(row)? || looked_at == look {
                    break Some(DeviceId(row.get(DEVICE)?));
                }
            }
        }
        Audience::Selection(selection) => {
            let place_of = (scope.app, scope.at);
            let mut candidates = Candidates::of(sql, place_of, selection, (after, last), look)?;
            let aliases = narrowing(&selection.aliases, candidates.drives_aliases());
            let tags = narrowing(&selection.tags, candidates.drives_tags());
            let text = format!(
                "SELECT {COLUMNS}, {otherwise}, {on_link} FROM json_each(?4) AS w CROSS JOIN channels AS c
                 WHERE c.app = ?1 AND c.provider = ?2 AND c.device = w.value AND c.since < ?3 AND c.until > ?3{}{}",
                labelled(Kind::Alias, aliases.as_ref().map(|_| 5)),
                labelled(Kind::Tag, tags.as_ref().map(|_| 5 + usize::from(aliases.is_some()))),
            );
            let mut select = sql.prepare_cached(&text)?;
            let mut looked_at = 0;
            loop {
                let devices = candidates.next(sql, limit.max(look.min(PAGE_MAX)))?;
                let Some(reached) = devices.last().copied() else {
                    break None;
                };
                looked_at += devices.len();
                let devices = serde_json::Value::from(devices).to_string();
                let mut values: Vec<&dyn ToSql> = vec![&place.0, &place.1, &place.2, &devices];
                for list in [&aliases, &tags].into_iter().flatten() {
                    values.push(list);
                }
                let mut rows = select.query(values.as_slice())?;
                let mut reached = DeviceId(reached);
                let mut full = false;
                while let Some(row) = rows.next()? {
                    full = !visit(row)?;
                    if full {
                        reached = DeviceId(row.get(DEVICE)?);
                        break;
                    }
                }
                if full || looked_at >= look {
                    break Some(reached);
                }
            }
        }
    };
    Ok(Found { found, more_after })
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

/// A list that narrows what another list gives, as JSON for the statement; none when it asks for nothing, or is that list.
fn narrowing<T: ToString>(labels: &[T], drives: bool) -> Option<String> {
    let wanted = !labels.is_empty() && !drives;
    wanted.then(|| serde_json::Value::from_iter(labels.iter().map(ToString::to_string)).to_string())
}

/// An SQL condition: that the device had one of the labels in the list that is bound as `list`; nothing when there is none.
fn labelled(kind: Kind, list: Option<usize>) -> String {
    let Some(list) = list else {
        return String::new();
    };
    let kind = kind.code();
    format!(
        " AND EXISTS (SELECT 1 FROM json_each(?{list}) AS g CROSS JOIN labels AS t INDEXED BY sqlite_autoindex_labels_1
              WHERE t.app = ?1 AND t.kind = {kind} AND t.label = g.value AND t.device = c.device
                  AND t.since < ?3 AND t.until > ?3)"
    )
}
