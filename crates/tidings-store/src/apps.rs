//! Apps: a public key, and the hash of the secret that their back ends hold.

use aws_lc_rs::rand;
use rusqlite::{OptionalExtension, Row, params};
use tidings_model::{AppId, AppKey, Secret, SecretHash, UnixMillis};

use crate::{Store, StoreError, WriteTx};

/// One mobile app.
#[derive(Clone, Debug)]
pub struct App {
    pub created_at: UnixMillis,
    pub id: AppId,
    pub key: AppKey,
    pub master_secret: SecretHash,
    pub name: String,
}

const COLUMNS: &str = "id, app_key, name, master_secret_hash, created_at";

/// What hangs on a message.
pub(crate) const BY_MESSAGE: [&str; 6] = ["counts", "events", "inbox", "pages", "reasons", "tasks"];

/// What hangs on an app.
const BY_APP: [&str; 9] = [
    "app_providers",
    "channels",
    "cids",
    "credentials",
    "cursors",
    "devices",
    "labels",
    "messages",
    "tombstones",
];

impl Store {
    /// Makes an app. Its master secret is told here and never again.
    pub async fn create_app(&self, name: String) -> Result<(App, Secret), StoreError> {
        let key = AppKey(random());
        let secret = master_secret();
        let hash = secret.hash();
        let insert = move |tx: &mut WriteTx<'_>| {
            tx.sql
                .prepare_cached("INSERT INTO apps (app_key, name, master_secret_hash, created_at) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![key.0, name, hash.as_bytes(), tx.now.0])?;
            let id = AppId(tx.sql.last_insert_rowid());
            Ok(App {
                created_at: tx.now,
                id,
                key,
                master_secret: hash,
                name,
            })
        };
        Ok((self.engine.write(insert).await?, secret))
    }

    pub async fn app(&self, key: AppKey) -> Result<Option<App>, StoreError> {
        let find = move |sql: &rusqlite::Connection| {
            let mut select =
                sql.prepare_cached(&format!("SELECT {COLUMNS} FROM apps WHERE app_key = ?1"))?;
            Ok(select.query_row(params![key.0], read).optional()?)
        };
        self.engine.read(find).await
    }

    pub async fn app_by_id(&self, id: AppId) -> Result<Option<App>, StoreError> {
        let find = move |sql: &rusqlite::Connection| {
            let mut select =
                sql.prepare_cached(&format!("SELECT {COLUMNS} FROM apps WHERE id = ?1"))?;
            Ok(select.query_row(params![id.0], read).optional()?)
        };
        self.engine.read(find).await
    }

    /// Up to `limit` apps in the order in which they were made, after `after`.
    pub async fn apps(&self, after: AppId, limit: u32) -> Result<Vec<App>, StoreError> {
        let list = move |sql: &rusqlite::Connection| {
            let text = format!("SELECT {COLUMNS} FROM apps WHERE id > ?1 ORDER BY id LIMIT ?2");
            let mut select = sql.prepare_cached(&text)?;
            Ok(select
                .query_map(params![after.0, limit], read)?
                .collect::<Result<_, _>>()?)
        };
        self.engine.scan(list).await
    }

    /// False when there is no such app.
    pub async fn rename_app(&self, id: AppId, name: String) -> Result<bool, StoreError> {
        let update = move |tx: &mut WriteTx<'_>| {
            let mut update = tx
                .sql
                .prepare_cached("UPDATE apps SET name = ?2 WHERE id = ?1")?;
            Ok(update.execute(params![id.0, name])? == 1)
        };
        self.engine.write(update).await
    }

    /// A new master secret in place of the old one, which is void at once; none when there is no such app.
    pub async fn rotate_master_secret(&self, id: AppId) -> Result<Option<Secret>, StoreError> {
        let secret = master_secret();
        let hash = secret.hash();
        let update = move |tx: &mut WriteTx<'_>| {
            let mut update = tx
                .sql
                .prepare_cached("UPDATE apps SET master_secret_hash = ?2 WHERE id = ?1")?;
            Ok(update.execute(params![id.0, hash.as_bytes()])? == 1)
        };
        Ok(self.engine.write(update).await?.then_some(secret))
    }

    /// Forgets an app and everything that belongs to it; false when there is no such app.
    pub async fn delete_app(&self, id: AppId) -> Result<bool, StoreError> {
        let delete = move |tx: &mut WriteTx<'_>| {
            for table in BY_MESSAGE {
                let delete = format!(
                    "DELETE FROM {table} WHERE message IN (SELECT id FROM messages WHERE app = ?1)"
                );
                tx.sql.prepare_cached(&delete)?.execute(params![id.0])?;
            }
            for table in BY_APP {
                let delete = format!("DELETE FROM {table} WHERE app = ?1");
                tx.sql.prepare_cached(&delete)?.execute(params![id.0])?;
            }
            Ok(tx
                .sql
                .prepare_cached("DELETE FROM apps WHERE id = ?1")?
                .execute(params![id.0])?
                == 1)
        };
        self.engine.write(delete).await
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<App> {
    Ok(App {
        id: AppId(row.get(0)?),
        key: AppKey(row.get(1)?),
        name: row.get(2)?,
        master_secret: SecretHash::from_bytes(row.get(3)?),
        created_at: UnixMillis(row.get(4)?),
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
