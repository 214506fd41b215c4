//! Apps: a public key, and the hash of the secret that their back ends hold.

use aws_lc_rs::rand;
use rusqlite::{Connection, OptionalExtension, Row, params};
use tidings_model::{AppId, AppKey, Preference, Secret, SecretHash, UnixMillis};
use tracing::error;

use crate::callbacks::CallbackTurn;
use crate::marks::Mark;
use crate::{Store, StoreError, WriteTx, from_json, to_json};

/// One mobile app.
#[derive(Clone, Debug)]
pub struct App {
    /// Of the secret in the addresses of its receipts.
    pub callbacks: CallbackTurn,
    pub created_at: UnixMillis,
    /// Milliseconds after which a provider gets what the link had first, where a push does not say; none is the default.
    pub fallback_after: Option<u32>,
    pub id: AppId,
    pub key: AppKey,
    pub master_secret: SecretHash,
    pub name: String,
    /// In which order providers and the link come, where a push does not say.
    pub strategy: Preference,
}

/// What is to change of an app; none leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct AppChange {
    /// None in it is the default again.
    pub fallback_after: Option<Option<u32>>,
    pub name: Option<String>,
    pub strategy: Option<Preference>,
}

pub(crate) const COLUMNS: &str = "id, app_key, name, master_secret_hash, created_at, fallback_after, strategy, callbacks, callbacks_since";

impl Store {
    /// Makes an app. Its master secret is told here and never again.
    pub async fn create_app(&self, name: String) -> Result<(App, Secret), StoreError> {
        let key = AppKey(random());
        let secret = master_secret();
        let hash = secret.hash();
        let insert = move |tx: &mut WriteTx<'_>| {
            // Not the number of one that is gone: somebody may still hold what was that one's.
            let id = AppId(Mark::App.value(tx.sql)? + 1);
            Mark::App.set(tx.sql, id.0)?;
            tx.sql
                .prepare_cached(
                    "INSERT INTO apps (id, app_key, name, master_secret_hash, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![id.0, key.0, name, hash.as_bytes(), tx.now.0])?;
            Ok(App {
                callbacks: CallbackTurn::default(),
                created_at: tx.now,
                fallback_after: None,
                id,
                key,
                master_secret: hash,
                name,
                strategy: Preference::default(),
            })
        };
        Ok((self.engine.write(insert).await?, secret))
    }

    pub async fn app(&self, key: AppKey) -> Result<Option<App>, StoreError> {
        let find = move |sql: &Connection| {
            let mut select = sql.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM apps WHERE app_key = ?1 AND deleted_at IS NULL"
            ))?;
            Ok(select.query_row(params![key.0], read).optional()?)
        };
        self.engine.read(find).await
    }

    pub async fn app_by_id(&self, id: AppId) -> Result<Option<App>, StoreError> {
        let find = move |sql: &Connection| {
            let mut select = sql.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM apps WHERE id = ?1 AND deleted_at IS NULL"
            ))?;
            Ok(select.query_row(params![id.0], read).optional()?)
        };
        self.engine.read(find).await
    }

    /// Up to `limit` apps in the order in which they were made, after `after`.
    pub async fn apps(&self, after: AppId, limit: u32) -> Result<Vec<App>, StoreError> {
        let list = move |sql: &Connection| {
            let text = format!(
                "SELECT {COLUMNS} FROM apps WHERE id > ?1 AND deleted_at IS NULL ORDER BY id LIMIT ?2"
            );
            let mut select = sql.prepare_cached(&text)?;
            Ok(select
                .query_map(params![after.0, limit], read)?
                .collect::<Result<_, _>>()?)
        };
        self.engine.scan(list).await
    }

    /// None when there is no such app.
    pub async fn change_app(
        &self,
        id: AppId,
        change: AppChange,
    ) -> Result<Option<App>, StoreError> {
        let update = move |tx: &mut WriteTx<'_>| {
            let strategy = change.strategy.as_ref().map(to_json).transpose()?;
            let mut update = tx.sql.prepare_cached(&format!(
                "UPDATE apps SET name = coalesce(?2, name), strategy = coalesce(?3, strategy),
                     fallback_after = iif(?4, ?5, fallback_after)
                 WHERE id = ?1 AND deleted_at IS NULL RETURNING {COLUMNS}"
            ))?;
            let values = params![
                id.0,
                change.name,
                strategy,
                change.fallback_after.is_some(),
                change.fallback_after.flatten()
            ];
            Ok(update.query_row(values, read).optional()?)
        };
        self.engine.write(update).await
    }

    /// A new master secret in place of the old one, which is void at once; none when there is no such app.
    pub async fn rotate_master_secret(&self, id: AppId) -> Result<Option<Secret>, StoreError> {
        let secret = master_secret();
        let hash = secret.hash();
        let update = move |tx: &mut WriteTx<'_>| {
            let mut update = tx.sql.prepare_cached(
                "UPDATE apps SET master_secret_hash = ?2 WHERE id = ?1 AND deleted_at IS NULL",
            )?;
            Ok(update.execute(params![id.0, hash.as_bytes()])? == 1)
        };
        Ok(self.engine.write(update).await?.then_some(secret))
    }

    /// Forgets an app and everything that belongs to it; false when there is no such app. From now on nobody finds it; its rows
    /// are cleared by [`Self::sweep`].
    pub async fn delete_app(&self, id: AppId) -> Result<bool, StoreError> {
        let mark = move |tx: &mut WriteTx<'_>| {
            let mark = "UPDATE apps SET deleted_at = ?2 WHERE id = ?1 AND deleted_at IS NULL";
            let marked = tx
                .sql
                .prepare_cached(mark)?
                .execute(params![id.0, tx.now.0])?;
            // Whatever is still under way for it: never again with these.
            tx.sql
                .prepare_cached("DELETE FROM credentials WHERE app = ?1")?
                .execute(params![id.0])?;
            Ok(marked == 1)
        };
        self.engine.write(mark).await
    }
}

/// Whoever inserts what belongs to an app asks this in the same transaction, or it would stay behind when the app is gone.
pub(crate) fn must_live(sql: &Connection, app: AppId) -> Result<(), StoreError> {
    match lives(sql, app)? {
        true => Ok(()),
        false => Err(StoreError::AppForgotten),
    }
}

pub(crate) fn lives(sql: &Connection, app: AppId) -> Result<bool, StoreError> {
    let mut select =
        sql.prepare_cached("SELECT 1 FROM apps WHERE id = ?1 AND deleted_at IS NULL")?;
    Ok(select.exists(params![app.0])?)
}

pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<App> {
    Ok(App {
        callbacks: CallbackTurn {
            number: row.get(7)?,
            since: row.get::<_, Option<i64>>(8)?.map(UnixMillis),
        },
        id: AppId(row.get(0)?),
        key: AppKey(row.get(1)?),
        name: row.get(2)?,
        master_secret: SecretHash::from_bytes(row.get(3)?),
        created_at: UnixMillis(row.get(4)?),
        fallback_after: row.get(5)?,
        strategy: match row.get::<_, Option<String>>(6)? {
            Some(stored) => strategy(&stored),
            None => Preference::default(),
        },
    })
}

/// What is not readable is the default: an app without its settings is better than none.
fn strategy(stored: &str) -> Preference {
    from_json(stored).unwrap_or_else(|error| {
        error!(%error, "an app's strategy cannot be read: it has the default");
        Preference::default()
    })
}

fn master_secret() -> Secret {
    Secret::new(AppKey(random()).to_string())
}

pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system's random source works");
    bytes
}
