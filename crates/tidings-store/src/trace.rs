//! Why a message did or did not reach a device: what the database knows of the two.

use rusqlite::{Connection, OptionalExtension, params};
use tidings_model::{
    AppId, DeviceHistory, DeviceId, Environment, Message, MsgId, Provider, Reason, Spent,
    UnixMillis,
};

use crate::codes::AsCode;
use crate::cursor::{self, Cursor};
use crate::inbox::{self, InboxRow};
use crate::ledger::EventKind;
use crate::log::Position;
use crate::pages::{self, PageStanding};
use crate::receipts::Report;
use crate::{Store, StoreError, devices, from_json, messages};

/// What is known of one message and one device.
#[derive(Clone, Debug)]
pub struct Journey {
    /// Which of the app's credentials the provider refuses, and why: what waits for one waits for a new one.
    pub credentials_rejected: Vec<(Provider, Option<Environment>, Reason)>,
    /// The quotas of the app's credentials that were used up, as far as that has been noted.
    pub credentials_spent: Vec<(Provider, Vec<Spent>)>,
    /// What the device itself said of it, and when.
    pub events: Vec<(EventKind, UnixMillis)>,
    /// Nothing more can happen to the message, and its counts add up.
    pub finished: bool,
    /// What the device was and had; none when the app has no such device.
    pub history: Option<DeviceHistory>,
    pub link: LinkStanding,
    pub message: Message,
    /// Of each provider that turns audiences into pages, what its page says; those that have none are left out.
    pub pages: Vec<PageStanding>,
    /// What providers reported of it.
    pub reports: Vec<Report>,
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
    let (events, reports) = told(sql, id, device)?;
    Ok(Some(Journey {
        credentials_rejected: rejected(sql, app)?,
        credentials_spent: spent(sql, app)?,
        events,
        finished: select.query_row(params![id.0], |row| row.get(0))?,
        history: devices::history(sql, app, device)?,
        link: LinkStanding {
            cursor: cursor::find(sql, app, device)?,
            position: messages::position(sql, id)?,
            rows: inbox::rows(sql, app, device, id)?,
        },
        pages,
        reports,
        to_come: to_come(sql, id, device)?,
        tombstones: tombstones(sql, app, device)?,
        message,
    }))
}

fn rejected(
    sql: &Connection,
    app: AppId,
) -> Result<Vec<(Provider, Option<Environment>, Reason)>, StoreError> {
    let mut select = sql.prepare_cached(
        "SELECT provider, environment, rejected FROM credentials WHERE app = ?1 AND rejected IS NOT NULL",
    )?;
    let rows = select.query_map(params![app.0], |row| {
        let provider: AsCode<Provider> = row.get(0)?;
        let environment: AsCode<Option<Environment>> = row.get(1)?;
        let reason: String = row.get(2)?;
        Ok((provider.0, environment.0, Reason::heard(&reason)))
    })?;
    rows.map(|row| Ok(row?)).collect()
}

fn spent(sql: &Connection, app: AppId) -> Result<Vec<(Provider, Vec<Spent>)>, StoreError> {
    let mut select = sql.prepare_cached(
        "SELECT provider, spent FROM credentials WHERE app = ?1 AND spent IS NOT NULL",
    )?;
    let rows = select.query_map(params![app.0], |row| {
        let provider: AsCode<Provider> = row.get(0)?;
        Ok((provider.0, row.get::<_, String>(1)?))
    })?;
    rows.map(|row| {
        let (provider, spent) = row?;
        Ok((provider, from_json(&spent)?))
    })
    .collect()
}

/// What the pages of a provider say of the device, if it had such a channel at the message.
pub(crate) fn page(
    sql: &Connection,
    message: &Message,
    provider: Provider,
    device: DeviceId,
) -> Result<Option<PageStanding>, StoreError> {
    let mut select = sql.prepare_cached(
        "SELECT environment FROM channels
         WHERE app = ?1 AND provider = ?4 AND device = ?2 AND since < ?3 AND until > ?3",
    )?;
    let place = params![message.app.0, device.0, message.id.0, AsCode(provider)];
    let named = select.query_row(place, |row| {
        Ok(row.get::<_, AsCode<Option<Environment>>>(0)?.0)
    });
    let Some(named) = named.optional()? else {
        return Ok(None);
    };
    let mut went = None;
    if message.push.options.strategies.of(provider).is_link_first() {
        let rows = inbox::rows(sql, message.app, device, message.id)?;
        let mut first = rows.iter().filter(|row| row.link_first);
        went = first.next().map(|row| row.went);
    }
    match went {
        // Pages say of all in their range how they fared; of this one they know nothing.
        Some(None) => Ok(None),
        Some(Some(page)) => pages::standing(sql, message, provider, device, named, Some((page, 1))),
        None => pages::standing(sql, message, provider, device, named, None),
    }
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

type DeviceSaid = (EventKind, UnixMillis);

/// What was said of it: by the device itself, and by providers.
fn told(
    sql: &Connection,
    message: MsgId,
    device: DeviceId,
) -> Result<(Vec<DeviceSaid>, Vec<Report>), StoreError> {
    let mut select = sql.prepare_cached(
        "SELECT kind, at, provider, reason FROM events WHERE message = ?1 AND device = ?2 ORDER BY at, kind",
    )?;
    let (mut events, mut reports) = (Vec::new(), Vec::new());
    let mut rows = select.query(params![message.0, device.0])?;
    while let Some(row) = rows.next()? {
        let (kind, at) = (
            row.get::<_, AsCode<EventKind>>(0)?.0,
            UnixMillis(row.get(1)?),
        );
        let provider: Option<AsCode<Provider>> = row.get(2)?;
        let reason: Option<String> = row.get(3)?;
        match provider {
            None => events.push((kind, at)),
            Some(AsCode(provider)) => reports.push(Report {
                at,
                kind,
                provider,
                reason: reason.as_deref().map(Reason::heard),
            }),
        }
    }
    Ok((events, reports))
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
