//! Tasks: how far a message's audience has been cut into pages, for one provider. A task that is complete is deleted.
//!
//! Cutting is reading a part of the audience, then writing it down as pages if the task is still where it was. New tasks
//! and begun ones are asked for apart, so that a message to a few does not wait for one to millions.

use std::collections::BTreeSet;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use tidings_model::{AppId, Audience, DeviceId, Environment, Message, MsgId, Provider, Reason};

use crate::codes::AsCode;
use crate::detail::Ending;
use crate::limits::{CHUNK_LOOKS, INBOXES_AT_ONCE, PAGE_MAX, ROWS_TOGETHER};
use crate::pages::{self, Class, LaneKey};
use crate::{
    Scope, Store, StoreError, Target, WriteTx, apps, audience, fallback, ledger, messages, order,
    route,
};

/// No device comes after it.
const LAST_DEVICE: DeviceId = DeviceId(i64::MAX);

/// Which tasks are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Of which something has been cut.
    Begun,
    /// Of which nothing has.
    Fresh,
}

/// A task, the oldest of its turn.
#[derive(Clone, Debug)]
pub struct OpenTask {
    /// The last device that has been.
    pub after: DeviceId,
    /// Where it has [`AHEAD_MAX`](crate::limits::AHEAD_MAX) pages that stand behind older messages with its collapse id.
    pub behind: Vec<Option<Environment>>,
    pub message: Arc<Message>,
}

/// Some tasks of a turn.
#[derive(Debug, Default)]
pub struct OpenTasks {
    pub tasks: Vec<OpenTask>,
    /// Those whose messages cannot be read, and why: they are to be ended.
    pub unreadable: Vec<(MsgId, StoreError)>,
}

/// The next devices of a task, up to a page, in the order of their ids.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// No device comes after them.
    pub ends: bool,
    /// The last device that has been looked at: the task goes on behind it.
    pub reached: DeviceId,
    pub targets: Vec<Target>,
    pub task: OpenTask,
    /// Those of the targets that the link has first.
    pub to_link: BTreeSet<DeviceId>,
}

impl Chunk {
    /// The search ended before it had a page: hardly anybody of those that it looks at is meant.
    pub fn is_thin(&self) -> bool {
        !self.ends && self.targets.len() < PAGE_MAX
    }
}

impl Store {
    /// The oldest tasks of an app and provider, up to `limit`.
    pub async fn open_tasks(
        &self,
        app: AppId,
        provider: Provider,
        turn: Turn,
        limit: usize,
    ) -> Result<OpenTasks, StoreError> {
        let list = move |sql: &Connection| {
            if !apps::lives(sql, app)? {
                return Ok(OpenTasks::default());
            }
            let mut select = sql.prepare_cached(match turn {
                Turn::Begun => {
                    "SELECT message, after, collapse FROM tasks INDEXED BY tasks_begun
                     WHERE app = ?1 AND provider = ?2 AND after > 0 ORDER BY message LIMIT ?3"
                }
                Turn::Fresh => {
                    "SELECT message, after, NULL FROM tasks INDEXED BY tasks_fresh
                     WHERE app = ?1 AND provider = ?2 AND after = 0 ORDER BY message LIMIT ?3"
                }
            })?;
            let rows = select.query_map(params![app.0, AsCode(provider), limit], |row| {
                let collapse: Option<String> = row.get(2)?;
                Ok((MsgId(row.get(0)?), DeviceId(row.get(1)?), collapse))
            })?;
            let mut open = OpenTasks::default();
            for row in rows {
                let (id, after, collapse) = row?;
                let missing = || StoreError::Stored(format!("message {id}"));
                match messages::find(sql, id).and_then(|found| found.ok_or_else(missing)) {
                    Ok(message) => open.tasks.push(OpenTask {
                        after,
                        behind: match collapse {
                            Some(_) => order::behind(sql, provider, id)?,
                            None => Vec::new(),
                        },
                        message: Arc::new(message),
                    }),
                    Err(error) if error.is_lasting() => open.unreadable.push((id, error)),
                    Err(error) => return Err(error),
                }
            }
            Ok(open)
        };
        self.engine.read(list).await
    }

    /// Ends a task that cannot be cut any further: whoever is not in a page by now is no target. The reason stands among the
    /// message's, with nobody counted for it. Returns the lanes that have more pages now.
    pub async fn fail_task(
        &self,
        app: AppId,
        provider: Provider,
        message: MsgId,
        reason: Reason,
    ) -> Result<Vec<LaneKey>, StoreError> {
        let fail = move |tx: &mut WriteTx<'_>| {
            let mut delete = tx.sql.prepare_cached(
                "DELETE FROM tasks WHERE app = ?1 AND provider = ?2 AND message = ?3 RETURNING collapse",
            )?;
            let place = params![app.0, AsCode(provider), message.0];
            let ended: Option<Option<String>> =
                delete.query_row(place, |row| row.get(0)).optional()?;
            let Some(collapse) = ended else {
                return Ok(Vec::new());
            };
            let (ending, reason) = (Ending::Failed, reason.as_str());
            ledger::add_reason(tx.sql, message, provider, ending, reason, 0)?;
            match collapse {
                Some(collapse) => {
                    order::task_moved(tx.sql, app, provider, &collapse, message, LAST_DEVICE)
                }
                None => Ok(Vec::new()),
            }
        };
        self.engine.write(fail).await
    }

    /// The next devices of a task, as many as some looks find.
    pub async fn chunk(&self, task: OpenTask, provider: Provider) -> Result<Chunk, StoreError> {
        let mut targets = Vec::new();
        let mut more_after = None;
        if let Some(scope) = Scope::of(&task.message, provider) {
            let last = DeviceId(scope.at.0);
            more_after = Some(task.after);
            for _ in 0..CHUNK_LOOKS {
                let Some(from) = more_after.filter(|_| targets.len() <= PAGE_MAX) else {
                    break;
                };
                let (scope, limit) = (scope.clone(), PAGE_MAX + 1 - targets.len());
                let look = move |sql: &Connection| audience::select(sql, &scope, from, last, limit);
                let part = self.engine.scan(look).await?;
                targets.extend(part.found);
                more_after = part.more_after;
            }
        }
        let more = targets.len() > PAGE_MAX;
        targets.truncate(PAGE_MAX);
        let last = targets.last().map(|target| target.device);
        Ok(Chunk {
            ends: !more && more_after.is_none(),
            reached: more_after.filter(|_| !more).or(last).unwrap_or(task.after),
            targets,
            task,
            to_link: BTreeSet::new(),
        })
    }

    /// Makes each chunk pages and moves its task behind it, or ends the task, all or nothing; a chunk that the link has first fills
    /// so many inboxes that each goes by itself. A chunk whose task has moved since it was read is left out: another has cut it.
    /// Returns the lanes that have pages now.
    pub async fn cut(
        &self,
        provider: Provider,
        chunks: Vec<Arc<Chunk>>,
    ) -> Result<BTreeSet<LaneKey>, StoreError> {
        let (by_link, others): (Vec<_>, Vec<_>) = chunks
            .into_iter()
            .partition(|chunk| chunk.to_link.len() > ROWS_TOGETHER);
        let is_any = !others.is_empty();
        let cut_others = move |tx: &mut WriteTx<'_>| {
            let mut lanes = BTreeSet::new();
            for chunk in &others {
                lanes.extend(cut(tx, provider, chunk)?);
            }
            Ok(lanes)
        };
        let mut lanes = match is_any {
            true => self.engine.write(cut_others).await?,
            false => BTreeSet::new(),
        };
        for chunk in by_link {
            let cut = move |tx: &mut WriteTx<'_>| cut(tx, provider, &chunk);
            lanes.extend(self.engine.write_alone(cut).await?);
        }
        Ok(lanes)
    }

    /// What there is to do, for some apps or for all.
    pub async fn open_work(&self, apps: Option<Vec<AppId>>) -> Result<OpenWork, StoreError> {
        self.engine.read(move |sql| open_work(sql, apps)).await
    }
}

/// What there is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenWork {
    /// The lanes that have a page that is ready, now or when it is due.
    pub lanes: Vec<LaneKey>,
    /// The apps and providers that have a task.
    pub tasks: Vec<(AppId, Provider)>,
}

/// From one to the next, however many tasks and pages each has. What belongs to a deleted app is cleared, not done.
fn open_work(sql: &Connection, apps: Option<Vec<AppId>>) -> Result<OpenWork, StoreError> {
    let mut work = OpenWork::default();
    let apps = match apps {
        Some(apps) => apps,
        None => with_work(sql)?,
    };
    for app in apps {
        if apps::lives(sql, app)? {
            open_tasks_of(sql, app, &mut work.tasks)?;
            open_lanes_of(sql, app, &mut work.lanes)?;
        }
    }
    Ok(work)
}

/// The apps that have a task or a page that is ready.
fn with_work(sql: &Connection) -> Result<Vec<AppId>, StoreError> {
    let mut next_task =
        sql.prepare_cached("SELECT app FROM tasks WHERE app > ?1 ORDER BY app LIMIT 1")?;
    let mut next_page = sql.prepare_cached(
        "SELECT app FROM pages INDEXED BY pages_ready WHERE state = 1 AND app > ?1 ORDER BY app LIMIT 1",
    )?;
    let mut apps = Vec::new();
    let mut after = i64::MIN;
    loop {
        let task: Option<i64> = next_task.query_row([after], |row| row.get(0)).optional()?;
        let page: Option<i64> = next_page.query_row([after], |row| row.get(0)).optional()?;
        let Some(next) = task.into_iter().chain(page).min() else {
            return Ok(apps);
        };
        apps.push(AppId(next));
        after = next;
    }
}

fn open_tasks_of(
    sql: &Connection,
    app: AppId,
    tasks: &mut Vec<(AppId, Provider)>,
) -> Result<(), StoreError> {
    let mut select =
        sql.prepare_cached("SELECT 1 FROM tasks WHERE app = ?1 AND provider = ?2 LIMIT 1")?;
    for provider in Provider::ALL {
        if select.exists(params![app.0, AsCode(provider)])? {
            tasks.push((app, provider));
        }
    }
    Ok(())
}

fn open_lanes_of(sql: &Connection, app: AppId, lanes: &mut Vec<LaneKey>) -> Result<(), StoreError> {
    let mut select = sql.prepare_cached(
        "SELECT 1 FROM pages INDEXED BY pages_ready
         WHERE state = 1 AND app = ?1 AND provider = ?2 AND environment = ?3 LIMIT 1",
    )?;
    for provider in Provider::ALL {
        for environment in provider.worlds() {
            let lane = params![app.0, AsCode(provider), AsCode(environment)];
            if select.exists(lane)? {
                lanes.push(LaneKey {
                    app,
                    provider,
                    environment,
                });
            }
        }
    }
    Ok(())
}

/// What is to be done for a message that was accepted, by one of its providers. A few devices that are named become a page
/// at once, or get it into their inboxes, if `looks` shows them; anything else becomes a task.
pub(crate) fn open(
    tx: &mut WriteTx<'_>,
    message: &Message,
    provider: Provider,
    looks: &mut usize,
) -> Result<(), StoreError> {
    let Some(scope) = Scope::of(message, provider) else {
        return Ok(());
    };
    fallback::expect(tx.sql, message, provider)?;
    // The writer is held: whoever shares the alias with thousands is looked for beside it. Who is connected is not known here.
    if is_named(&message.push.audience)
        && !scope.asks_for_link
        && !route::waits_for_others(tx.sql, message.app, provider)?
        && let Some(few) = audience::few(tx.sql, &scope, at_once(provider), looks)?
    {
        return match provider.is_remote() {
            true => pages::cut(tx.sql, message, provider, Class::Short, 0, &few).map(drop),
            false => route::fill_at_once(tx, message, &few),
        };
    }
    let mut insert = tx.sql.prepare_cached(
        "INSERT INTO tasks (app, provider, message, collapse) VALUES (?1, ?2, ?3, ?4)",
    )?;
    insert.execute(params![
        message.app.0,
        AsCode(provider),
        message.id.0,
        pages::collapse(message, provider)
    ])?;
    Ok(())
}

/// Whether an audience is a list of devices, or of aliases, which few share.
fn is_named(audience: &Audience) -> bool {
    match audience {
        Audience::All => false,
        Audience::Selection(selection) => {
            !selection.devices.is_empty() || !selection.aliases.is_empty()
        }
    }
}

/// Devices that are turned to inside the accept: a page takes one row, inboxes one for each device.
fn at_once(provider: Provider) -> usize {
    match provider.is_remote() {
        true => PAGE_MAX,
        false => INBOXES_AT_ONCE,
    }
}

fn cut(
    tx: &mut WriteTx<'_>,
    provider: Provider,
    chunk: &Chunk,
) -> Result<Vec<LaneKey>, StoreError> {
    let message = &chunk.task.message;
    if !apps::lives(tx.sql, message.app)? {
        return Ok(Vec::new());
    }
    let was = chunk.task.after;
    let moved = match chunk.ends {
        false => {
            let mut update = tx.sql.prepare_cached(
                "UPDATE tasks SET after = ?4 WHERE app = ?1 AND provider = ?2 AND message = ?3 AND after = ?5",
            )?;
            update.execute(params![
                message.app.0,
                AsCode(provider),
                message.id.0,
                chunk.reached.0,
                was.0
            ])?
        }
        true => {
            let mut delete = tx.sql.prepare_cached(
                "DELETE FROM tasks WHERE app = ?1 AND provider = ?2 AND message = ?3 AND after = ?4",
            )?;
            delete.execute(params![
                message.app.0,
                AsCode(provider),
                message.id.0,
                was.0
            ])?
        }
    };
    if moved == 0 {
        return Ok(Vec::new());
    }
    let class = match chunk.ends && was == DeviceId(0) {
        true => Class::Short,
        false => Class::Long,
    };
    let mut lanes = if chunk.to_link.is_empty() {
        pages::cut(tx.sql, message, provider, class, 0, &chunk.targets)?
    } else {
        let targets = chunk.targets.iter().cloned();
        let (by_link, others): (Vec<_>, Vec<_>) =
            targets.partition(|target| chunk.to_link.contains(&target.device));
        route::fill_first(tx, message, provider, &by_link)?;
        pages::cut(tx.sql, message, provider, class, 0, &others)?
    };
    if let Some(collapse) = pages::collapse(message, provider) {
        let reached = match chunk.ends {
            true => LAST_DEVICE,
            false => chunk.reached,
        };
        let (app, id) = (message.app, message.id);
        lanes.extend(order::task_moved(
            tx.sql, app, provider, collapse, id, reached,
        )?);
    }
    Ok(lanes)
}
