//! Why a message did or did not reach a device: what the database knows of the two.

use rusqlite::{Connection, OptionalExtension, params};
use tidings_model::{
    AppId, DeviceHistory, DeviceId, Environment, Message, MsgId, Provider, Reason, UnixMillis,
};

use crate::codes::AsCode;
use crate::cursor::{self, Cursor};
use crate::detail::{find_settled, unpack};
use crate::inbox::{self, InboxRow};
use crate::ledger::EventKind;
use crate::log::Position;
use crate::{Answer, Store, StoreError, devices, messages};

/// What is known of one message and one device.
#[derive(Clone, Debug)]
pub struct Journey {
    /// Which of the app's credentials the provider refuses, and why: what waits for one waits for a new one.
    pub credentials_rejected: Vec<(Option<Environment>, Reason)>,
    /// What the device said of it, and when.
    pub events: Vec<(EventKind, UnixMillis)>,
    /// Nothing more can happen to the message, and its counts add up.
    pub finished: bool,
    /// What the device was and had; none when the app has no such device.
    pub history: Option<DeviceHistory>,
    pub link: LinkStanding,
    pub message: Message,
    /// Of each provider that turns audiences into pages, what its page says; those that have none are left out.
    pub pages: Vec<PageStanding>,
    /// The providers whose dispatch has not come to the device yet.
    pub to_come: Vec<Provider>,
    pub tombstones: Vec<Tombstone>,
}

/// A channel that the device once had.
#[derive(Clone, Debug)]
pub struct Tombstone {
    pub provider: Provider,
    pub reason: Reason,
    pub added_at: UnixMillis,
    pub removed_at: UnixMillis,
    pub token: Option<String>,
}

/// Where the page of a provider's delivery stands.
#[derive(Clone, Debug)]
pub struct PageStanding {
    /// None while it is out and has not been answered.
    pub answer: Option<Answer>,
    pub provider: Provider,
}

/// What the link knows of a message and a device.
#[derive(Clone, Debug, Default)]
pub struct LinkStanding {
    /// How far the device's log has been judged; none for one that is not on the link.
    pub cursor: Option<Cursor>,
    /// Where the message is in the log; none when it is not.
    pub position: Option<Position>,
    /// What came to the device's inbox of it.
    pub rows: Vec<InboxRow>,
}

impl Store {
    /// None when the app has no such message.
    pub async fn journey(
        &self,
        app: AppId,
        message: MsgId,
        device: DeviceId,
    ) -> Result<Option<Journey>, StoreError> {
        self.engine
            .read(move |sql| journey(sql, app, message, device))
            .await
    }
}

fn journey(
    sql: &Connection,
    app: AppId,
    id: MsgId,
    device: DeviceId,
) -> Result<Option<Journey>, StoreError> {
    let Some(message) = messages::find(sql, id)?.filter(|message| message.app == app) else {
        return Ok(None);
    };
    let mut pages = Vec::new();
    for provider in Provider::ALL {
        pages.extend(page(sql, &message, provider, device)?);
    }
    let mut select = sql.prepare_cached("SELECT finished FROM messages WHERE id = ?1")?;
    Ok(Some(Journey {
        credentials_rejected: rejected(sql, app)?,
        events: events(sql, id, device)?,
        finished: select.query_row(params![id.0], |row| row.get(0))?,
        history: devices::history(sql, app, device)?,
        link: LinkStanding {
            cursor: cursor::find(sql, app, device)?,
            position: messages::position(sql, id)?,
            rows: inbox::rows(sql, app, device, id)?,
        },
        pages,
        to_come: to_come(sql, id, device)?,
        tombstones: tombstones(sql, app, device)?,
        message,
    }))
}

fn rejected(
    sql: &Connection,
    app: AppId,
) -> Result<Vec<(Option<Environment>, Reason)>, StoreError> {
    let mut select = sql.prepare_cached(
        "SELECT environment, rejected FROM credentials WHERE app = ?1 AND rejected IS NOT NULL",
    )?;
    let rows = select.query_map(params![app.0], |row| {
        let environment: AsCode<Option<Environment>> = row.get(0)?;
        let reason: String = row.get(1)?;
        Ok((environment.0, Reason::heard(&reason)))
    })?;
    rows.map(|row| Ok(row?)).collect()
}

/// The page whose range holds the device, provided that the device had such a channel then: the devices of the other
/// providers lie between.
fn page(
    sql: &Connection,
    message: &Message,
    provider: Provider,
    device: DeviceId,
) -> Result<Option<PageStanding>, StoreError> {
    let mut select = sql.prepare_cached(
        "SELECT settled_at, detail FROM pages AS p
         WHERE message = ?1 AND provider = ?4 AND first <= ?2 AND last >= ?2 AND EXISTS (
             SELECT 1 FROM channels AS c WHERE c.app = ?3 AND c.provider = ?4 AND c.device = ?2
                 AND c.since < ?1 AND c.until > ?1)
         LIMIT 1",
    )?;
    let place = params![message.id.0, device.0, message.app.0, AsCode(provider)];
    let found = select.query_row(place, |row| {
        let settled_at: Option<i64> = row.get(0)?;
        Ok((settled_at.map(UnixMillis), row.get::<_, Vec<u8>>(1)?))
    });
    let Some((settled_at, detail)) = found.optional()? else {
        return Ok(None);
    };
    let answer = match settled_at {
        Some(settled_at) => Some(find_settled(&detail, device, settled_at)?),
        None if detail.is_empty() => None,
        None => unpack(&detail)?
            .into_iter()
            .find(|answer| answer.device == device),
    };
    Ok(Some(PageStanding { answer, provider }))
}

fn to_come(
    sql: &Connection,
    message: MsgId,
    device: DeviceId,
) -> Result<Vec<Provider>, StoreError> {
    let mut select =
        sql.prepare_cached("SELECT provider FROM tasks WHERE message = ?1 AND after < ?2")?;
    let rows = select.query_map(params![message.0, device.0], |row| {
        Ok(row.get::<_, AsCode<Provider>>(0)?.0)
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn events(
    sql: &Connection,
    message: MsgId,
    device: DeviceId,
) -> Result<Vec<(EventKind, UnixMillis)>, StoreError> {
    let mut select = sql.prepare_cached(
        "SELECT kind, at FROM events WHERE message = ?1 AND device = ?2 ORDER BY at, kind",
    )?;
    let rows = select.query_map(params![message.0, device.0], |row| {
        Ok((
            row.get::<_, AsCode<EventKind>>(0)?.0,
            UnixMillis(row.get(1)?),
        ))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn tombstones(
    sql: &Connection,
    app: AppId,
    device: DeviceId,
) -> Result<Vec<Tombstone>, StoreError> {
    let mut select = sql.prepare_cached(
        "SELECT removed_at, provider, token, added_at, reason FROM tombstones
         WHERE app = ?1 AND device = ?2 ORDER BY removed_at",
    )?;
    let rows = select.query_map(params![app.0, device.0], |row| {
        Ok(Tombstone {
            removed_at: UnixMillis(row.get(0)?),
            provider: row.get::<_, AsCode<Provider>>(1)?.0,
            token: row.get(2)?,
            added_at: UnixMillis(row.get(3)?),
            reason: Reason::heard(&row.get::<_, String>(4)?),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
