//! Where a message goes over the link: into the inboxes of a few devices, or into the app's log, which all read.
//!
//! The size of the audience decides, as it is found when the message's turn comes; a message to a few devices that are named goes
//! into their inboxes as it is accepted. The decision, what it writes and the counts are one transaction, so a message is in one
//! of the two, whole. A message in the log has its devices counted when it is there already, some at a time: its task stays
//! open until all are, and stands behind those that have been.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use rusqlite::{Connection, params};
use tidings_model::{
    Aim, AppId, Audience, DeviceId, Message, MsgId, Part, Parts, Platform, PlatformSet, Provider,
    Selection,
};
use tracing::error;

use crate::audience::{self, Found, Target};
use crate::codes::AsCode;
use crate::inbox::{self, Row};
use crate::ledger::{self, Counts};
use crate::limits::{LINK_LOOK_TIME, PAGE_MAX};
use crate::log::{self, Position};
use crate::tasks::Turn;
use crate::{Scope, Store, StoreError, WriteTx, apps, messages, to_json};

/// What is to be done about a message, for some of its devices or for all.
#[derive(Clone, Debug)]
pub struct LinkTask {
    pub message: MsgId,
    /// The device behind which the task stands.
    pub from: DeviceId,
    pub plan: LinkPlan,
    /// The device behind which it stands when that is done; none when it ends.
    pub to: Option<DeviceId>,
}

#[derive(Clone, Debug)]
pub enum LinkPlan {
    /// It goes into the inboxes of these.
    Inboxes(Vec<InboxOf>),
    /// It becomes an entry of the log, unless it is one, and these more are counted as targeted.
    Log(Box<Message>, Vec<(Platform, u64)>),
    /// Whether it is for few is not seen in one look: [`Store::decide`].
    Undecided,
}

/// The inbox of a device, and the parts of the message that go into it.
pub type InboxOf = (DeviceId, Platform, Parts);

impl Store {
    /// What is to be done about an app's messages that have yet to go to the link, or whose devices are not all counted: the
    /// oldest of a turn, up to `limit`, that are newer than `after`. One to more than `few` devices, a page at most, is
    /// for the log.
    pub async fn link_tasks(
        &self,
        app: AppId,
        turn: Turn,
        after: MsgId,
        limit: usize,
        few: usize,
    ) -> Result<Vec<LinkTask>, StoreError> {
        let few = few.min(PAGE_MAX);
        self.engine
            .scan(move |sql| link_tasks(sql, app, turn, after, limit, few))
            .await
    }

    /// The same for the oldest message up to `last` of which nothing has been done, however many looks its audience takes.
    pub async fn decide(
        &self,
        app: AppId,
        last: MsgId,
        few: usize,
    ) -> Result<Option<LinkTask>, StoreError> {
        let few = few.min(PAGE_MAX);
        let oldest = move |sql: &Connection| {
            let mut tasks = link_tasks(sql, app, Turn::Fresh, MsgId(0), 1, few)?;
            let Some(task) = tasks.pop().filter(|task| task.message <= last) else {
                return Ok(None);
            };
            let message = messages::find(sql, task.message)?;
            Ok(Some((task, message)))
        };
        let Some((task, message)) = self.engine.scan(oldest).await? else {
            return Ok(None);
        };
        let (LinkPlan::Undecided, Some(message)) = (&task.plan, message) else {
            return Ok(Some(task));
        };
        let targets = match Scope::of(&message, Provider::Link) {
            Some(scope) => self.targets(&scope, task.from, few + 1).await?,
            None => Vec::new(),
        };
        let decided = move |sql: &Connection| {
            let more_after = targets.last().map(|target| target.device);
            let more_after = more_after.filter(|_| targets.len() > few);
            let found = Found {
                found: targets,
                more_after,
            };
            decided(sql, message, task.from, found, few).map(Some)
        };
        self.engine.scan(decided).await
    }

    /// Does what was planned, one after the other, counts whom the messages are aimed at, and moves or ends their tasks. One
    /// whose task does not stand where it did is left out: another has done it. Whoever is connected knows of its inbox when
    /// this returns; of the log, whose growing this returns, it is to be told.
    pub async fn route(&self, app: AppId, tasks: Vec<LinkTask>) -> Result<bool, StoreError> {
        let rows = tasks.iter().map(|task| match &task.plan {
            LinkPlan::Inboxes(rows) => rows.len(),
            LinkPlan::Log(..) | LinkPlan::Undecided => 1,
        });
        let rows = rows.sum();
        let route = move |tx: &mut WriteTx<'_>| {
            let mut grown = false;
            for task in &tasks {
                grown |= route(tx, app, task)?;
            }
            Ok(grown)
        };
        self.engine.write_rows(rows, route).await
    }
}

fn link_tasks(
    sql: &Connection,
    app: AppId,
    turn: Turn,
    after: MsgId,
    limit: usize,
    few: usize,
) -> Result<Vec<LinkTask>, StoreError> {
    if !apps::lives(sql, app)? {
        return Ok(Vec::new());
    }
    let mut select = sql.prepare_cached(match turn {
        Turn::Begun => {
            "SELECT message, after FROM tasks INDEXED BY tasks_begun
             WHERE app = ?1 AND provider = ?2 AND after > 0 AND message > ?3 ORDER BY message LIMIT ?4"
        }
        Turn::Fresh => {
            "SELECT message, after FROM tasks INDEXED BY tasks_fresh
             WHERE app = ?1 AND provider = ?2 AND after = 0 AND message > ?3 ORDER BY message LIMIT ?4"
        }
    })?;
    let place = params![app.0, AsCode(Provider::Link), after.0, limit];
    let open = select.query_map(place, |row| Ok((MsgId(row.get(0)?), DeviceId(row.get(1)?))))?;
    let open = open.collect::<Result<Vec<_>, _>>()?;
    let (begun, mut taken) = (Instant::now(), 0);
    let in_time = move |_: &_| {
        taken += 1;
        taken == 1 || begun.elapsed() < LINK_LOOK_TIME
    };
    let tasks = open.into_iter().take_while(in_time);
    let tasks = tasks.map(|(id, from)| match messages::find(sql, id) {
        Ok(Some(message)) => look(sql, message, from, few),
        Ok(None) => Ok(nobody(id, from)),
        Err(StoreError::Stored(why)) => {
            error!(msg_id = %id, why, "message {id} cannot be read, and goes to nobody");
            Ok(nobody(id, from))
        }
        Err(error) => Err(error),
    });
    tasks.collect()
}

/// What ends a task without having done anything.
fn nobody(message: MsgId, from: DeviceId) -> LinkTask {
    LinkTask {
        message,
        from,
        plan: LinkPlan::Inboxes(Vec::new()),
        to: None,
    }
}

/// One look at the audience.
fn look(
    sql: &Connection,
    message: Message,
    from: DeviceId,
    few: usize,
) -> Result<LinkTask, StoreError> {
    let Some(scope) = Scope::of(&message, Provider::Link) else {
        return Ok(nobody(message.id, from));
    };
    let last = DeviceId(message.id.0);
    if messages::position(sql, message.id)?.is_some() {
        let counted = audience::count(sql, &scope, from)?;
        return Ok(LinkTask {
            message: message.id,
            from,
            plan: LinkPlan::Log(message.into(), counted.found),
            to: counted.more_after,
        });
    }
    let is_begun = from > DeviceId(0);
    let most = if is_begun { few } else { few + 1 };
    let found = audience::select(sql, &scope, from, last, most)?;
    decided(sql, message, from, found, few)
}

/// What is to be done for those that were found of a message that is in no log.
fn decided(
    sql: &Connection,
    message: Message,
    from: DeviceId,
    Found { found, more_after }: Found<Target>,
    few: usize,
) -> Result<LinkTask, StoreError> {
    // An older binary filled inboxes by the page, whatever the size: what it began so goes on so.
    let is_begun = from > DeviceId(0);
    let (id, to) = (message.id, more_after);
    let plan = match more_after {
        Some(_) if is_begun => LinkPlan::Inboxes(rows(sql, &message, &found)?),
        Some(_) if found.len() > few => {
            let platforms = found.iter().map(|target| target.platform);
            LinkPlan::Log(message.into(), audience::tally(platforms))
        }
        Some(_) => LinkPlan::Undecided,
        None => LinkPlan::Inboxes(rows(sql, &message, &found)?),
    };
    Ok(LinkTask {
        message: id,
        from,
        plan,
        to,
    })
}

/// Which parts go to each of these devices, whose way for one of them at least is the link.
fn rows(
    sql: &Connection,
    message: &Message,
    targets: &[Target],
) -> Result<Vec<InboxOf>, StoreError> {
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
        asks_for_link: false,
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

/// True when the log has grown by it.
fn route(tx: &mut WriteTx<'_>, app: AppId, task: &LinkTask) -> Result<bool, StoreError> {
    let LinkTask {
        message,
        from,
        plan,
        to,
    } = task;
    if matches!(plan, LinkPlan::Undecided) || !move_task(tx.sql, app, *message, *from, *to)? {
        return Ok(false);
    }
    match plan {
        LinkPlan::Inboxes(rows) => fill(tx, app, *message, rows, None).map(|()| false),
        LinkPlan::Log(message, targets) => {
            for (platform, targeted) in targets {
                target(tx.sql, message.id, *platform, *targeted)?;
            }
            append(tx, message)
        }
        LinkPlan::Undecided => Ok(false),
    }
}

/// Whether a message that is accepted now has to wait for its turn, so that no inbox gets it before an older one.
pub(crate) fn waits_for_others(
    sql: &Connection,
    app: AppId,
    provider: Provider,
) -> Result<bool, StoreError> {
    if provider.is_remote() {
        return Ok(false);
    }
    let mut select = sql.prepare_cached(
        "SELECT 1 FROM tasks INDEXED BY tasks_fresh WHERE app = ?1 AND provider = ?2 AND after = 0 LIMIT 1",
    )?;
    Ok(select.exists(params![app.0, AsCode(provider)])?)
}

/// Puts a message that is being accepted into the inboxes of those that it is for.
pub(crate) fn fill_at_once(
    tx: &mut WriteTx<'_>,
    message: &Message,
    targets: &[Target],
) -> Result<(), StoreError> {
    let rows = rows(tx.sql, message, targets)?;
    fill(tx, message.app, message.id, &rows, None)
}

/// Puts what providers have of a message into the inboxes of those that have it by the link first, and by a provider if they do not
/// acknowledge it in time.
pub(crate) fn fill_first(
    tx: &mut WriteTx<'_>,
    message: &Message,
    second: Provider,
    targets: &[Target],
) -> Result<(), StoreError> {
    let parts: Parts = [message.push.aim().offered()].into_iter().collect();
    let rows: Vec<InboxOf> = targets
        .iter()
        .map(|target| (target.device, target.platform, parts))
        .collect();
    fill(tx, message.app, message.id, &rows, Some(second))
}

fn fill(
    tx: &mut WriteTx<'_>,
    app: AppId,
    message: MsgId,
    rows: &[InboxOf],
    second: Option<Provider>,
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let position = Position(tx.ids.next(tx.now));
    let mut added: HashMap<Platform, u64> = HashMap::new();
    for (device, platform, parts) in rows {
        let row = Row {
            app,
            device: *device,
            message,
            parts: *parts,
            position,
            second,
        };
        if inbox::insert(tx, row)? {
            *added.entry(*platform).or_default() += 1;
        }
    }
    for (platform, targeted) in added {
        target(tx.sql, message, platform, targeted)?;
    }
    Ok(())
}

/// Makes a message an entry of the log; false when it is one.
fn append(tx: &mut WriteTx<'_>, message: &Message) -> Result<bool, StoreError> {
    if messages::position(tx.sql, message.id)?.is_some() {
        return Ok(false);
    }
    let position = Position(tx.ids.next(tx.now));
    let aim = message.push.aim();
    let audience = match &message.push.audience {
        Audience::All => String::new(),
        selection @ Audience::Selection(_) => to_json(selection)?,
    };
    let mut insert = tx.sql.prepare_cached(
        "INSERT INTO log (app, position, message, expires_at, online_only, message_for, notification_for, audience, link_only, message_by)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
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
        log::link_only(&aim.strategies),
        log::bits(aim.message_by.iter()),
    ])?;
    let mut place = tx
        .sql
        .prepare_cached("UPDATE messages SET position = ?2 WHERE id = ?1")?;
    place.execute(params![message.id.0, position.0])?;
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
