//! Where a message goes over the link: into the inboxes of a few devices, or into the app's log, which all read.
//!
//! The size of the audience decides, as it is found when the message's turn comes. The decision, what it writes, the counts
//! and the end of the task are one transaction; so a message is in one of the two, whole.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use rusqlite::{Connection, params};
use tidings_model::{
    Aim, AppId, Audience, DeviceId, Message, MsgId, Part, Parts, Platform, PlatformSet, Provider,
    Selection,
};
use tracing::error;

use crate::audience::{self, Target};
use crate::codes::AsCode;
use crate::inbox::{self, Row};
use crate::ledger::{self, Counts};
use crate::limits::{LINK_LOOK_TIME, PAGE_MAX};
use crate::log::Position;
use crate::{Scope, Store, StoreError, WriteTx, apps, messages, to_json};

/// A message of which it is to be decided where it goes over the link.
#[derive(Clone, Debug)]
pub struct LinkTask {
    pub message: MsgId,
    pub plan: LinkPlan,
}

#[derive(Clone, Debug)]
pub enum LinkPlan {
    Inboxes(Inboxes),
    /// Its audience has more devices than a page, or takes more than one look to be found.
    Long(Box<Message>),
}

/// The devices into whose inboxes a message goes, and which of its parts.
#[derive(Clone, Debug)]
pub struct Inboxes {
    /// The device behind which the task stands.
    pub after: DeviceId,
    /// No device comes after these.
    pub ends_task: bool,
    pub rows: Vec<(DeviceId, Platform, Parts)>,
}

impl Store {
    /// The app's messages that have yet to go to the link, oldest first, up to `limit`; without those that are `known`. One to
    /// more than `few` devices, a page at most, is long.
    pub async fn link_tasks(
        &self,
        app: AppId,
        known: Vec<MsgId>,
        limit: usize,
        few: usize,
    ) -> Result<Vec<LinkTask>, StoreError> {
        let few = few.min(PAGE_MAX);
        self.engine
            .scan(move |sql| link_tasks(sql, app, &known, limit, few))
            .await
    }

    /// Puts messages into inboxes, counts whom they are aimed at, and moves or ends their tasks. Of each message, the devices
    /// that were reached; none for one whose task has been moved by somebody else.
    pub async fn fill_inboxes(
        &self,
        app: AppId,
        messages: Vec<(MsgId, Inboxes)>,
    ) -> Result<Vec<Vec<DeviceId>>, StoreError> {
        let fill = move |tx: &mut WriteTx<'_>| {
            let messages = messages.iter();
            let fill = messages.map(|(message, inboxes)| fill(tx, app, *message, inboxes));
            fill.collect()
        };
        self.engine.write(fill).await
    }

    /// The inboxes that a message goes to, however many looks its audience takes; none when it is for the log, being for more
    /// than `few` devices.
    pub async fn inboxes(
        &self,
        message: &Message,
        few: usize,
    ) -> Result<Option<Inboxes>, StoreError> {
        let few = few.min(PAGE_MAX);
        let targets = match Scope::of(message, Provider::Link) {
            Some(scope) => self.targets(&scope, DeviceId(0), few + 1).await?,
            None => Vec::new(),
        };
        if targets.len() > few {
            return Ok(None);
        }
        let message = message.clone();
        let inboxes = move |sql: &Connection| {
            // What an older binary had in the log from the first stays there.
            if messages::position(sql, message.id)?.is_some() {
                return Ok(None);
            }
            Ok(Some(Inboxes {
                after: DeviceId(0),
                ends_task: true,
                rows: rows(sql, &message, &targets)?,
            }))
        };
        self.engine.scan(inboxes).await
    }

    /// Makes a message an entry of the log, counts whom it is aimed at, and ends its task. False when the task was not open
    /// any more; then nothing is changed.
    pub async fn log(
        &self,
        message: &Message,
        targets: Vec<(Platform, u64)>,
    ) -> Result<bool, StoreError> {
        let message = message.clone();
        self.engine
            .write(move |tx| append(tx, &message, &targets))
            .await
    }
}

fn link_tasks(
    sql: &Connection,
    app: AppId,
    known: &[MsgId],
    limit: usize,
    few: usize,
) -> Result<Vec<LinkTask>, StoreError> {
    if !apps::lives(sql, app)? {
        return Ok(Vec::new());
    }
    let mut select = sql.prepare_cached(
        "SELECT message, after FROM tasks WHERE app = ?1 AND provider = ?2 ORDER BY message LIMIT ?3",
    )?;
    let place = params![app.0, AsCode(Provider::Link), limit + known.len()];
    let open = select.query_map(place, |row| Ok((MsgId(row.get(0)?), DeviceId(row.get(1)?))))?;
    let open = open.collect::<Result<Vec<_>, _>>()?;
    let new = open.into_iter().filter(|(id, _)| !known.contains(id));
    let (begun, mut taken) = (Instant::now(), 0);
    let in_time = move |_: &_| {
        taken += 1;
        taken == 1 || begun.elapsed() < LINK_LOOK_TIME
    };
    let tasks = new.take(limit).take_while(in_time).map(|(message, after)| {
        let plan = match messages::find(sql, message) {
            Ok(Some(found)) => plan(sql, found, after, few)?,
            Ok(None) => nobody(after),
            Err(StoreError::Stored(why)) => {
                error!(msg_id = %message, why, "message {message} cannot be read, and goes to nobody");
                nobody(after)
            }
            Err(error) => return Err(error),
        };
        Ok(LinkTask { message, plan })
    });
    tasks.collect()
}

/// What ends a task without having done anything.
fn nobody(after: DeviceId) -> LinkPlan {
    LinkPlan::Inboxes(Inboxes {
        after,
        ends_task: true,
        rows: Vec::new(),
    })
}

/// One look at the audience.
fn plan(
    sql: &Connection,
    message: Message,
    after: DeviceId,
    few: usize,
) -> Result<LinkPlan, StoreError> {
    let mut targets = Vec::new();
    let mut more = false;
    if let Some(scope) = Scope::of(&message, Provider::Link) {
        let last = DeviceId(message.id.0);
        let found = audience::select(sql, &scope, after, last, few + 1)?;
        more = found.more_after.is_some() || found.found.len() > few;
        targets = found.found;
    }
    // An older binary filled inboxes by the page, whatever the size: what it began so goes on so. And it had what was for
    // the log there from the first.
    let is_begun = after > DeviceId(0);
    if !is_begun && (more || messages::position(sql, message.id)?.is_some()) {
        return Ok(LinkPlan::Long(message.into()));
    }
    targets.truncate(few);
    Ok(LinkPlan::Inboxes(Inboxes {
        after,
        ends_task: !more,
        rows: rows(sql, &message, &targets)?,
    }))
}

/// Which parts go to each of these devices, whose way for one of them at least is the link.
fn rows(
    sql: &Connection,
    message: &Message,
    targets: &[Target],
) -> Result<Vec<(DeviceId, Platform, Parts)>, StoreError> {
    let aim = message.push.aim();
    // Where a push has one part, that is it. Of two, a device may get one another way.
    let shown = match (aim.message.is_empty(), aim.notification.is_empty()) {
        (false, false) => Some(shown(sql, message, aim, targets)?),
        _ => None,
    };
    let rows = targets.iter().map(|target| {
        let goes = |part: &Part| {
            aim.platforms(*part).contains(target.platform)
                && match (part, &shown) {
                    (Part::Notification, Some(shown)) => shown.contains(&target.device),
                    _ => true,
                }
        };
        let parts = Part::ALL.into_iter().filter(goes).collect();
        (target.device, target.platform, parts)
    });
    Ok(rows.collect())
}

/// Those of the targets whose way for what is shown is the link.
fn shown(
    sql: &Connection,
    message: &Message,
    aim: Aim,
    targets: &[Target],
) -> Result<HashSet<DeviceId>, StoreError> {
    let only_shown = Aim {
        message: PlatformSet::default(),
        ..aim
    };
    let mut shown = HashSet::new();
    let (Some(reach), Some(last)) = (only_shown.reach(Provider::Link), targets.last()) else {
        return Ok(shown);
    };
    let scope = Scope {
        app: message.app,
        at: message.id,
        audience: Audience::Selection(Selection {
            devices: targets.iter().map(|target| target.device).collect(),
            ..Selection::default()
        }),
        platforms: reach.platforms,
        provider: Provider::Link,
        without: reach.without,
    };
    let mut after = Some(DeviceId(0));
    while let Some(from) = after {
        let found = audience::select(sql, &scope, from, last.device, PAGE_MAX)?;
        shown.extend(found.found.iter().map(|target| target.device));
        after = found.more_after;
    }
    Ok(shown)
}

fn fill(
    tx: &mut WriteTx<'_>,
    app: AppId,
    message: MsgId,
    inboxes: &Inboxes,
) -> Result<Vec<DeviceId>, StoreError> {
    let Inboxes {
        after,
        ends_task,
        rows,
    } = inboxes;
    let last = rows.last().map_or(*after, |(device, ..)| *device);
    if !move_task(tx.sql, app, message, *after, (!ends_task).then_some(last))? {
        return Ok(Vec::new());
    }
    let position = Position(tx.ids.next(tx.now));
    let mut reached = Vec::with_capacity(rows.len());
    let mut added: HashMap<Platform, u64> = HashMap::new();
    for (device, platform, parts) in rows {
        let row = Row {
            app,
            device: *device,
            message,
            parts: *parts,
            position,
        };
        if inbox::insert(tx.sql, row)? {
            *added.entry(*platform).or_default() += 1;
            reached.push(*device);
        }
    }
    for (platform, targeted) in added {
        target(tx.sql, message, platform, targeted)?;
    }
    Ok(reached)
}

fn append(
    tx: &mut WriteTx<'_>,
    message: &Message,
    targets: &[(Platform, u64)],
) -> Result<bool, StoreError> {
    if !move_task(tx.sql, message.app, message.id, DeviceId(0), None)? {
        return Ok(false);
    }
    // A message of an older binary has had its place since it was accepted.
    if messages::position(tx.sql, message.id)?.is_none() {
        let position = Position(tx.ids.next(tx.now));
        let aim = message.push.aim();
        let audience = match &message.push.audience {
            Audience::All => String::new(),
            selection @ Audience::Selection(_) => to_json(selection)?,
        };
        let mut insert = tx.sql.prepare_cached(
            "INSERT INTO log (app, position, message, expires_at, online_only, message_for, notification_for, audience)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        insert.execute(params![
            message.app.0,
            position.0,
            message.id.0,
            message.expires_at.0,
            message.is_online_only(),
            aim.message.bits(),
            aim.notification.bits(),
            audience,
        ])?;
        let mut place = tx
            .sql
            .prepare_cached("UPDATE messages SET position = ?2 WHERE id = ?1")?;
        place.execute(params![message.id.0, position.0])?;
    }
    for (platform, targeted) in targets {
        target(tx.sql, message.id, *platform, *targeted)?;
    }
    Ok(true)
}

/// Moves a message's task for the link from `after` behind `to`, or ends it; false when it does not stand there.
fn move_task(
    sql: &Connection,
    app: AppId,
    message: MsgId,
    after: DeviceId,
    to: Option<DeviceId>,
) -> Result<bool, StoreError> {
    let (app, link) = (app.0, AsCode(Provider::Link));
    let moved = match to {
        Some(to) => {
            let update = "UPDATE tasks SET after = ?5 WHERE app = ?1 AND provider = ?2 AND message = ?3 AND after = ?4";
            let mut update = sql.prepare_cached(update)?;
            update.execute(params![app, link, message.0, after.0, to.0])?
        }
        None => {
            let delete = "DELETE FROM tasks WHERE app = ?1 AND provider = ?2 AND message = ?3 AND after = ?4";
            let mut delete = sql.prepare_cached(delete)?;
            delete.execute(params![app, link, message.0, after.0])?
        }
    };
    Ok(moved == 1)
}

fn target(
    sql: &Connection,
    message: MsgId,
    platform: Platform,
    targeted: u64,
) -> Result<(), StoreError> {
    let counts = Counts {
        targeted,
        ..Counts::default()
    };
    ledger::add(sql, message, Provider::Link, platform, &counts)
}
