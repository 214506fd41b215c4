//! Credentials: sealed bytes, and beside them what may be shown.

use rusqlite::{OptionalExtension, Row, params};
use serde_json::Value;
use tidings_model::{AppId, AppKey, Environment, Provider, Reason, Spent, UnixMillis};

use crate::codes::AsCode;
use crate::{Store, StoreError, WriteTx, apps, from_json, to_json};

/// The place of a credential: an app has at most one for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CredentialSlot {
    pub app: AppId,
    pub environment: Option<Environment>,
    pub provider: Provider,
}

impl CredentialSlot {
    /// What the sealed bytes are bound to, so that they open nowhere else.
    fn place(self) -> String {
        let environment = self.environment.map_or("", Environment::name);
        format!(
            "credentials/{}/{}/{environment}",
            self.app.0,
            self.provider.name()
        )
    }
}

/// What is known of a credential without opening it.
#[derive(Clone, Debug)]
pub struct CredentialRecord {
    /// The provider has taken something that was sent with it since it was set.
    pub accepted: bool,
    /// Why the provider refused it, if it did since it was set.
    pub rejected: Option<Reason>,
    pub slot: CredentialSlot,
    /// Quotas that were used up when it was last used; those whose time is over are of no account.
    pub spent: Vec<Spent>,
    /// What may be shown: kind, topics, expiry.
    pub summary: Value,
    pub updated_at: UnixMillis,
}

const COLUMNS: &str = "app, provider, environment, summary, rejected, updated_at, spent, accepted";

impl Store {
    /// Sets the credential of a slot, replacing what was there; its health starts anew.
    pub async fn put_credential(
        &self,
        slot: CredentialSlot,
        summary: &Value,
        plain: &[u8],
    ) -> Result<(), StoreError> {
        let sealed = self.seal.seal(&slot.place(), plain);
        let summary = summary.to_string();
        let put = move |tx: &mut WriteTx<'_>| {
            apps::must_live(tx.sql, slot.app)?;
            let mut put = tx.sql.prepare_cached(
                "INSERT INTO credentials (app, provider, environment, summary, sealed, updated_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (app, provider, environment) DO UPDATE SET summary = ?4, sealed = ?5, updated_at = ?6, rejected = NULL,
                     spent = NULL, accepted = 0",
            )?;
            let (provider, environment) = (AsCode(slot.provider), AsCode(slot.environment));
            put.execute(params![
                slot.app.0,
                provider,
                environment,
                summary,
                sealed,
                tx.now.0
            ])?;
            Ok(())
        };
        self.engine.write(put).await
    }

    /// The credential itself, opened; none when none is set.
    pub async fn open_credential(
        &self,
        slot: CredentialSlot,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let find = move |sql: &rusqlite::Connection| {
            let mut select = sql.prepare_cached(
                "SELECT sealed FROM credentials WHERE app = ?1 AND provider = ?2 AND environment = ?3",
            )?;
            let (provider, environment) = (AsCode(slot.provider), AsCode(slot.environment));
            let found = select.query_row(params![slot.app.0, provider, environment], |row| {
                row.get::<_, Vec<u8>>(0)
            });
            Ok(found.optional()?)
        };
        match self.engine.read(find).await? {
            Some(sealed) => Ok(Some(self.seal.open(&slot.place(), &sealed)?)),
            None => Ok(None),
        }
    }

    /// All credentials of an app.
    pub async fn credentials(&self, app: AppId) -> Result<Vec<CredentialRecord>, StoreError> {
        let list = move |sql: &rusqlite::Connection| {
            let mut select =
                sql.prepare_cached(&format!("SELECT {COLUMNS} FROM credentials WHERE app = ?1"))?;
            let rows = select.query_map(params![app.0], |row| Ok(read(row)))?;
            rows.map(|row| row?).collect()
        };
        self.engine.read(list).await
    }

    /// All credentials of all apps, each with its app's key: at most two for each app and provider.
    pub async fn all_credentials(&self) -> Result<Vec<(AppKey, CredentialRecord)>, StoreError> {
        let list = |sql: &rusqlite::Connection| {
            let mut select = sql.prepare_cached(&format!(
                "SELECT {COLUMNS}, (SELECT app_key FROM apps WHERE apps.id = app) FROM credentials
                 ORDER BY app, provider, environment"
            ))?;
            let rows = select.query_map([], |row| {
                let key = AppKey(row.get(8)?);
                Ok(read(row).map(|record| (key, record)))
            })?;
            rows.map(|row| row?).collect()
        };
        self.engine.scan(list).await
    }

    /// Notes that the provider refused a credential, or (`None`) that it is good again, if it is still the one that was set
    /// at `as_of`; false when it is not.
    pub async fn note_credential(
        &self,
        slot: CredentialSlot,
        rejected: Option<Reason>,
        as_of: UnixMillis,
    ) -> Result<bool, StoreError> {
        let update = move |tx: &mut WriteTx<'_>| {
            let mut update = tx.sql.prepare_cached(
                "UPDATE credentials SET rejected = ?4
                 WHERE app = ?1 AND provider = ?2 AND environment = ?3 AND updated_at = ?5",
            )?;
            let (provider, environment) = (AsCode(slot.provider), AsCode(slot.environment));
            let noted = update.execute(params![
                slot.app.0,
                provider,
                environment,
                rejected.as_ref().map(Reason::as_str),
                as_of.0
            ])?;
            Ok(noted == 1)
        };
        self.engine.write(update).await
    }

    /// Notes what the use of a credential has shown, if it is still the one that was set at `as_of`; false when it is not.
    pub async fn note_use(
        &self,
        slot: CredentialSlot,
        accepted: bool,
        spent: &[Spent],
        as_of: UnixMillis,
    ) -> Result<bool, StoreError> {
        let spent = match spent.is_empty() {
            true => None,
            false => Some(to_json(&spent)?),
        };
        let update = move |tx: &mut WriteTx<'_>| {
            let mut update = tx.sql.prepare_cached(
                "UPDATE credentials SET spent = ?4, accepted = ?5
                 WHERE app = ?1 AND provider = ?2 AND environment = ?3 AND updated_at = ?6",
            )?;
            let (provider, environment) = (AsCode(slot.provider), AsCode(slot.environment));
            let noted = update.execute(params![
                slot.app.0,
                provider,
                environment,
                spent,
                accepted,
                as_of.0
            ])?;
            Ok(noted == 1)
        };
        self.engine.write(update).await
    }

    /// False when there was none.
    pub async fn delete_credential(&self, slot: CredentialSlot) -> Result<bool, StoreError> {
        let delete = move |tx: &mut WriteTx<'_>| {
            let mut delete = tx.sql.prepare_cached(
                "DELETE FROM credentials WHERE app = ?1 AND provider = ?2 AND environment = ?3",
            )?;
            Ok(delete.execute(params![
                slot.app.0,
                AsCode(slot.provider),
                AsCode(slot.environment)
            ])? == 1)
        };
        self.engine.write(delete).await
    }
}

fn read(row: &Row<'_>) -> Result<CredentialRecord, StoreError> {
    let rejected: Option<String> = row.get(4)?;
    let spent: Option<String> = row.get(6)?;
    Ok(CredentialRecord {
        accepted: row.get(7)?,
        slot: CredentialSlot {
            app: AppId(row.get(0)?),
            provider: row.get::<_, AsCode<Provider>>(1)?.0,
            environment: row.get::<_, AsCode<Option<Environment>>>(2)?.0,
        },
        summary: from_json(&row.get::<_, String>(3)?)?,
        rejected: rejected.as_deref().map(Reason::heard),
        spent: spent.as_deref().map_or_else(|| Ok(Vec::new()), from_json)?,
        updated_at: UnixMillis(row.get(5)?),
    })
}
