//! The message log: what was accepted, and how far it has been dispatched.

use rusqlite::{Connection, OptionalExtension, Row, params};
use tidings_model::{AppId, Life, Message, MsgId, Provider, Push, UnixMillis};

use crate::codes::AsCode;
use crate::limits::{CID_KEPT, LOOKS_AT_ONCE};
use crate::log::Position;
use crate::{Scope, Store, StoreError, WriteTx, apps, audience, tasks, to_json};

/// What accepting a push gave.
#[derive(Clone, Debug)]
pub enum Accepted {
    New(Message),
    /// The `cid` was seen before: this is the message of that time, and nothing is sent.
    Repeated(Message),
}

const COLUMNS: &str = "id, app, accepted_at, expires_at, push";

impl Store {
    /// Makes a push a message, with a task for each provider that it can go by and that the app's devices have. Durable on return.
    pub async fn accept(
        &self,
        app: AppId,
        push: Push,
        cid: Option<String>,
    ) -> Result<Accepted, StoreError> {
        self.engine
            .write(move |tx| accept(tx, app, push, cid.as_deref()))
            .await
    }

    /// The message that was accepted with this `cid`, while it is remembered.
    pub async fn accepted(&self, app: AppId, cid: String) -> Result<Option<Message>, StoreError> {
        let since = UnixMillis::now().minus(CID_KEPT);
        self.engine
            .read(move |sql| accepted(sql, app, &cid, since))
            .await
    }

    /// An id that no message will have, for a push that has to be answered with one but is not accepted.
    pub async fn void_id(&self) -> Result<MsgId, StoreError> {
        self.engine.write(|tx| Ok(MsgId(tx.ids.next(tx.now)))).await
    }

    pub async fn message(&self, id: MsgId) -> Result<Option<Message>, StoreError> {
        self.engine.read(move |sql| find(sql, id)).await
    }

    /// The greatest id of any message; 0 when there is none.
    pub async fn newest_message(&self) -> Result<MsgId, StoreError> {
        let newest = |sql: &Connection| {
            let mut select = sql.prepare_cached("SELECT max(id) FROM messages")?;
            let newest: Option<i64> = select.query_row([], |row| row.get(0))?;
            Ok(MsgId(newest.unwrap_or(0)))
        };
        self.engine.read(newest).await
    }
}

/// The oldest message of an app that is not yet wholly dispatched; later than every id of today when there is none.
pub(crate) fn first_open(sql: &Connection, app: AppId) -> Result<MsgId, StoreError> {
    let mut first = MsgId(Life::ON);
    for provider in Provider::ALL {
        first = first.min(first_open_of(sql, app, provider)?);
    }
    Ok(first)
}

/// The same by one provider.
pub(crate) fn first_open_of(
    sql: &Connection,
    app: AppId,
    provider: Provider,
) -> Result<MsgId, StoreError> {
    let mut select = sql.prepare_cached(
        "SELECT message FROM tasks WHERE app = ?1 AND provider = ?2 ORDER BY message LIMIT 1",
    )?;
    let open = select.query_row(params![app.0, AsCode(provider)], |row| {
        row.get(0).map(MsgId)
    });
    Ok(open.optional()?.unwrap_or(MsgId(Life::ON)))
}

fn accept(
    tx: &mut WriteTx<'_>,
    app: AppId,
    push: Push,
    cid: Option<&str>,
) -> Result<Accepted, StoreError> {
    apps::must_live(tx.sql, app)?;
    if let Some(cid) = cid
        && let Some(known) = accepted(tx.sql, app, cid, tx.now.minus(CID_KEPT))?
    {
        return Ok(Accepted::Repeated(known));
    }
    let message = Message {
        accepted_at: tx.now,
        app,
        expires_at: Message::expiry(tx.now, &push.options),
        id: MsgId(tx.ids.next(tx.now)),
        push,
    };
    let mut insert = tx.sql.prepare_cached(
        "INSERT INTO messages (id, app, accepted_at, expires_at, push, collapse) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    insert.execute(params![
        message.id.0,
        app.0,
        message.accepted_at.0,
        message.expires_at.0,
        to_json(&message.push)?,
        message.push.options.apns_collapse_id,
    ])?;
    let mut looks = LOOKS_AT_ONCE;
    for provider in message.push.aim().carriers().iter() {
        let used = audience::used(tx.sql, app, provider)?;
        let reached = Scope::of(&message, provider).is_some_and(|scope| {
            used.iter()
                .any(|platform| scope.platforms.contains(platform))
        });
        if reached {
            tasks::open(tx, &message, provider, &mut looks)?;
        }
    }
    if let Some(cid) = cid {
        let mut insert = tx.sql.prepare_cached(
            "INSERT INTO cids (app, cid, message, at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (app, cid) DO UPDATE SET message = ?3, at = ?4",
        )?;
        insert.execute(params![app.0, cid, message.id.0, tx.now.0])?;
    }
    Ok(Accepted::New(message))
}

/// The message that was accepted with a `cid` later than `since`.
fn accepted(
    sql: &Connection,
    app: AppId,
    cid: &str,
    since: UnixMillis,
) -> Result<Option<Message>, StoreError> {
    let mut select =
        sql.prepare_cached("SELECT message FROM cids WHERE app = ?1 AND cid = ?2 AND at > ?3")?;
    let known: Option<i64> = select
        .query_row(params![app.0, cid, since.0], |row| row.get(0))
        .optional()?;
    let Some(known) = known else { return Ok(None) };
    let message = find(sql, MsgId(known))?;
    message
        .map(Some)
        .ok_or_else(|| StoreError::Stored(format!("message {known}")))
}

pub(crate) fn find(sql: &Connection, id: MsgId) -> Result<Option<Message>, StoreError> {
    let mut select =
        sql.prepare_cached(&format!("SELECT {COLUMNS} FROM messages WHERE id = ?1"))?;
    select
        .query_row(params![id.0], |row| Ok(read(row)))
        .optional()?
        .transpose()
}

/// Where a message stands in its app's log; none for one that is not in it.
pub(crate) fn position(sql: &Connection, id: MsgId) -> Result<Option<Position>, StoreError> {
    let mut select = sql.prepare_cached("SELECT position FROM messages WHERE id = ?1")?;
    let found = select.query_row(params![id.0], |row| row.get::<_, Option<i64>>(0));
    Ok(found.optional()?.flatten().map(Position))
}

pub(crate) fn read(row: &Row<'_>) -> Result<Message, StoreError> {
    Ok(Message {
        id: MsgId(row.get(0)?),
        app: AppId(row.get(1)?),
        accepted_at: UnixMillis(row.get(2)?),
        expires_at: UnixMillis(row.get(3)?),
        // A text that is none any more is as unreadable as one that says nothing.
        push: serde_json::from_slice(row.get_ref(4)?.as_bytes().map_err(rusqlite::Error::from)?)
            .map_err(|error| StoreError::Stored(format!("a push: {error}")))?,
    })
}
