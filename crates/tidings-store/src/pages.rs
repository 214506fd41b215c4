//! Pages: leased, sent, and settled in one transaction.

use rusqlite::{Connection, params};
use tidings_model::{AppId, DeviceId, Life, MsgId, Platform, Provider, Reason, UnixMillis};

use crate::channels::{self, token_hash};
use crate::codes::AsCode;
use crate::detail::{Answer, pack, pack_settled, unpack};
use crate::devices::Place;
use crate::ledger::{self, Counts};
use crate::{Store, StoreError, WriteTx, messages};

/// Which page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageKey {
    pub first: DeviceId,
    pub message: MsgId,
    pub provider: Provider,
}

/// A page that is to be taken out.
#[derive(Clone, Copy, Debug)]
pub struct NewPage {
    pub count: usize,
    /// No device of the audience comes after it.
    pub ends_task: bool,
    pub key: PageKey,
    pub last: DeviceId,
}

/// A page that is out.
#[derive(Clone, Debug)]
pub struct Page {
    /// What was answered and flushed before its last owner died; empty for a new page.
    pub answered: Vec<Answer>,
    pub key: PageKey,
    pub last: DeviceId,
}

/// A token that its provider calls dead.
#[derive(Clone, Debug)]
pub struct Removal {
    pub app: AppId,
    pub device: DeviceId,
    pub provider: Provider,
    pub reason: Reason,
    /// Only if it was registered before this: one that was registered again since stays.
    pub registered_before: UnixMillis,
    /// The token that was tried; the device may have another by now.
    pub token: Box<str>,
}

impl Store {
    /// Takes out a page until `until`, and moves its task behind it, or ends the task when this is its last page.
    /// Durable before anything is sent, so that what is sent has a place to be remembered in.
    pub async fn lease_page(
        &self,
        new: NewPage,
        owner: u64,
        until: UnixMillis,
    ) -> Result<(), StoreError> {
        let lease = move |tx: &mut WriteTx<'_>| {
            let key = new.key;
            let mut insert = tx.sql.prepare_cached(
                "INSERT INTO pages (message, provider, first, last, count, owner, lease_until, detail)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, x'')",
            )?;
            insert.execute(params![
                key.message.0,
                AsCode(key.provider),
                key.first.0,
                new.last.0,
                new.count,
                owner as i64,
                until.0
            ])?;
            if new.ends_task {
                messages::finish_task(tx, key.message, key.provider)
            } else {
                move_task(tx, key.message, key.provider, new.last)
            }
        };
        self.engine.write(lease).await
    }

    /// Takes over pages whose owner is not `owner` or whose lease is over, up to `limit`.
    ///
    /// An embedded store has one process, so another's name on a page is that of a dead one.
    pub async fn take_over_pages(
        &self,
        owner: u64,
        until: UnixMillis,
        limit: u32,
    ) -> Result<Vec<Page>, StoreError> {
        let take = move |tx: &mut WriteTx<'_>| {
            let mut select = tx.sql.prepare_cached(
                "SELECT message, provider, first, last, detail FROM pages
                 WHERE owner IS NOT NULL AND (owner <> ?1 OR lease_until < ?2) ORDER BY message, first LIMIT ?3",
            )?;
            let mut rows = select.query(params![owner as i64, tx.now.0, limit])?;
            let mut pages = Vec::new();
            while let Some(row) = rows.next()? {
                let key = PageKey {
                    message: MsgId(row.get(0)?),
                    provider: row.get::<_, AsCode<Provider>>(1)?.0,
                    first: DeviceId(row.get(2)?),
                };
                let detail: Vec<u8> = row.get(4)?;
                let answered = if detail.is_empty() {
                    Vec::new()
                } else {
                    unpack(&detail)?
                };
                pages.push(Page {
                    answered,
                    key,
                    last: DeviceId(row.get(3)?),
                });
            }
            for page in &pages {
                renew(tx.sql, page.key, owner, until)?;
            }
            Ok(pages)
        };
        self.engine.write(take).await
    }

    /// Remembers what has been answered of pages that are out (all of it, each time), prolongs their leases, and
    /// removes the tokens that were called dead. Returns the devices that lost a channel by it.
    pub async fn flush_pages(
        &self,
        owner: u64,
        until: UnixMillis,
        pages: Vec<(PageKey, Vec<Answer>)>,
        removals: Vec<Removal>,
    ) -> Result<Vec<DeviceId>, StoreError> {
        let flush = move |tx: &mut WriteTx<'_>| {
            for (key, mut answered) in pages {
                let mut update = tx.sql.prepare_cached(
                    "UPDATE pages SET detail = ?5, lease_until = ?6
                     WHERE message = ?1 AND provider = ?2 AND first = ?3 AND owner = ?4",
                )?;
                let (message, provider) = (key.message.0, AsCode(key.provider));
                let detail = pack(&mut answered);
                update.execute(params![
                    message,
                    provider,
                    key.first.0,
                    owner as i64,
                    detail,
                    until.0
                ])?;
            }
            remove(tx, &removals)
        };
        self.engine.write(flush).await
    }

    /// Ends a page: its answers, the message's counts and the removals, all or nothing. Returns the devices that lost a
    /// channel by it; none when the page is no longer this owner's, and then nothing is changed.
    pub async fn settle_page(
        &self,
        owner: u64,
        key: PageKey,
        platform: Platform,
        answers: Vec<Answer>,
        removals: Vec<Removal>,
    ) -> Result<Option<Vec<DeviceId>>, StoreError> {
        let settle = move |tx: &mut WriteTx<'_>| {
            let mut answers = answers;
            let mut update = tx.sql.prepare_cached(
                "UPDATE pages SET detail = ?5, settled_at = ?6, count = ?7, owner = NULL, lease_until = NULL
                 WHERE message = ?1 AND provider = ?2 AND first = ?3 AND owner = ?4",
            )?;
            let (message, provider) = (key.message.0, AsCode(key.provider));
            let detail = pack_settled(&mut answers);
            let now = tx.now.0;
            let count = answers.len();
            if update.execute(params![
                message,
                provider,
                key.first.0,
                owner as i64,
                detail,
                now,
                count
            ])? == 0
            {
                return Ok(None);
            }
            let counts = Counts::of(&answers);
            ledger::add(tx.sql, key.message, key.provider, platform, &counts)?;
            ledger::add_reasons(tx.sql, key.message, key.provider, &answers)?;
            Ok(Some(remove(tx, &removals)?))
        };
        self.engine.write(settle).await
    }

    /// What has been answered of all pages of a message, settled or flushed: what a restart would not send again.
    pub async fn remembered(&self, message: MsgId) -> Result<u64, StoreError> {
        let count = move |sql: &Connection| {
            let mut select = sql.prepare_cached(
                "SELECT owner IS NULL, count, detail FROM pages WHERE message = ?1",
            )?;
            let mut rows = select.query(params![message.0])?;
            let mut remembered = 0;
            while let Some(row) = rows.next()? {
                let (settled, count, detail): (bool, u64, Vec<u8>) =
                    (row.get(0)?, row.get(1)?, row.get(2)?);
                remembered += match (settled, detail.is_empty()) {
                    (true, _) => count,
                    (false, true) => 0,
                    (false, false) => unpack(&detail)?.len() as u64,
                };
            }
            Ok(remembered)
        };
        self.engine.read(count).await
    }
}

/// Moves a task behind `last`.
pub(crate) fn move_task(
    tx: &mut WriteTx<'_>,
    message: MsgId,
    provider: Provider,
    last: DeviceId,
) -> Result<(), StoreError> {
    let mut update = tx
        .sql
        .prepare_cached("UPDATE tasks SET after = ?3 WHERE message = ?1 AND provider = ?2")?;
    update.execute(params![message.0, AsCode(provider), last.0])?;
    Ok(())
}

fn renew(sql: &Connection, key: PageKey, owner: u64, until: UnixMillis) -> Result<(), StoreError> {
    let mut update = sql.prepare_cached(
        "UPDATE pages SET owner = ?4, lease_until = ?5 WHERE message = ?1 AND provider = ?2 AND first = ?3",
    )?;
    update.execute(params![
        key.message.0,
        AsCode(key.provider),
        key.first.0,
        owner as i64,
        until.0
    ])?;
    Ok(())
}

/// Ends the channels whose tokens were called dead, unless the device has another token now or has said since that it is
/// this. Returns the devices that lost theirs.
fn remove(tx: &mut WriteTx<'_>, removals: &[Removal]) -> Result<Vec<DeviceId>, StoreError> {
    let mut lost = Vec::new();
    for removal in removals {
        let mut select = tx.sql.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM channels WHERE app = ?1 AND provider = ?2 AND device = ?3 AND until = ?4
                 AND token_hash = ?5 AND registered_at < ?6)",
        )?;
        let is_dead = select.query_row(
            params![
                removal.app.0,
                AsCode(removal.provider),
                removal.device.0,
                Life::ON,
                token_hash(&removal.token),
                removal.registered_before.0
            ],
            |row| row.get(0),
        )?;
        let place = Place {
            app: removal.app,
            at: tx.ids.next(tx.now),
            device: removal.device,
        };
        if is_dead && channels::end(tx, place, removal.provider, &removal.reason)? {
            lost.push(removal.device);
        }
    }
    Ok(lost)
}
