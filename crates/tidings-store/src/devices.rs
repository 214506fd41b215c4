//! Devices and their channels.

use aws_lc_rs::digest::{SHA256, digest};
use rusqlite::{Connection, OptionalExtension, Row, params};
use tidings_model::{
    Alias, AppId, DeviceId, Environment, Platform, Provider, ProviderSet, Reason, Secret,
    SecretHash, Tag, UnixMillis,
};

use crate::apps::random;
use crate::codes::AsCode;
use crate::limits::TOMBSTONES_MAX;
use crate::{Store, StoreError, WriteTx};

/// A device that introduces itself.
#[derive(Clone, Debug)]
pub struct NewDevice {
    pub alias: Option<Alias>,
    pub app: AppId,
    pub app_version: Option<String>,
    /// At most one for each provider.
    pub channels: Vec<ChannelChange>,
    pub locale: Option<String>,
    pub platform: Platform,
    pub tags: Vec<Tag>,
    pub time_zone: Option<String>,
}

/// One way to a device, as it is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelChange {
    pub environment: Option<Environment>,
    pub provider: Provider,
    /// None for the link, where the device itself connects.
    pub token: Option<String>,
}

/// What a registration gave.
#[derive(Clone, Debug)]
pub struct Registered {
    /// False when the token was known, and the device with it.
    pub created: bool,
    pub id: DeviceId,
    pub secret: Secret,
}

/// Changes to a device; `None` leaves a field as it is, `Some(None)` clears it.
#[derive(Clone, Debug, Default)]
pub struct DeviceChange {
    pub alias: Option<Option<Alias>>,
    pub app_version: Option<Option<String>>,
    /// The device's channels from now on, all of them.
    pub channels: Option<Vec<ChannelChange>>,
    pub locale: Option<Option<String>>,
    pub tags: Option<TagChange>,
    pub time_zone: Option<Option<String>>,
}

#[derive(Clone, Debug)]
pub enum TagChange {
    Edit { add: Vec<Tag>, remove: Vec<Tag> },
    Replace(Vec<Tag>),
}

/// A device as it is known.
#[derive(Clone, Debug)]
pub struct Device {
    pub alias: Option<Alias>,
    pub app_version: Option<String>,
    pub channels: Vec<ChannelRecord>,
    pub created_at: UnixMillis,
    pub id: DeviceId,
    pub locale: Option<String>,
    pub platform: Platform,
    pub secret: SecretHash,
    pub tags: Vec<Tag>,
    pub time_zone: Option<String>,
}

#[derive(Clone, Debug)]
pub struct ChannelRecord {
    pub environment: Option<Environment>,
    pub provider: Provider,
    pub registered_at: UnixMillis,
    pub token: Option<String>,
}

impl Device {
    pub fn providers(&self) -> ProviderSet {
        self.channels
            .iter()
            .map(|channel| channel.provider)
            .collect()
    }
}

/// What a device on the link has to be known by.
#[derive(Clone, Debug)]
pub struct Login {
    pub cursor: tidings_model::MsgId,
    pub device: Device,
}

impl Store {
    /// Registers a device. One whose token is known already is the same device again: it keeps its id, gets a new
    /// secret, and its record becomes what it says now.
    pub async fn register(&self, new: NewDevice) -> Result<Registered, StoreError> {
        self.engine.write(move |tx| register(tx, &new)).await
    }

    /// Registers many in one transaction, for imports and tests of size.
    pub async fn register_all(&self, new: Vec<NewDevice>) -> Result<Vec<Registered>, StoreError> {
        self.engine
            .write(move |tx| new.iter().map(|new| register(tx, new)).collect())
            .await
    }

    /// False when the app has no such device.
    pub async fn change_device(
        &self,
        app: AppId,
        id: DeviceId,
        change: DeviceChange,
    ) -> Result<bool, StoreError> {
        self.engine
            .write(move |tx| apply_change(tx, app, id, &change))
            .await
    }

    /// Forgets a device and all its data; false when the app has no such device.
    pub async fn delete_device(&self, app: AppId, id: DeviceId) -> Result<bool, StoreError> {
        let delete = move |tx: &mut WriteTx<'_>| {
            let mut delete = tx
                .sql
                .prepare_cached("DELETE FROM devices WHERE app = ?1 AND id = ?2")?;
            let known = delete.execute(params![app.0, id.0])? == 1;
            tx.sql
                .prepare_cached("DELETE FROM events WHERE device = ?1")?
                .execute(params![id.0])?;
            Ok(known)
        };
        self.engine.write(delete).await
    }

    pub async fn device(&self, app: AppId, id: DeviceId) -> Result<Option<Device>, StoreError> {
        self.engine.read(move |sql| find(sql, app, id)).await
    }

    /// Which app a device belongs to; a registration id is unique over all apps.
    pub async fn app_of_device(&self, id: DeviceId) -> Result<Option<AppId>, StoreError> {
        let owner = move |sql: &Connection| {
            let mut select = sql.prepare_cached(
                "SELECT apps.id FROM apps JOIN devices ON devices.app = apps.id WHERE devices.id = ?1",
            )?;
            Ok(select
                .query_row(params![id.0], |row| row.get(0).map(AppId))
                .optional()?)
        };
        self.engine.read(owner).await
    }

    /// What the link needs in order to let a device in and to serve it.
    pub async fn login(&self, app: AppId, id: DeviceId) -> Result<Option<Login>, StoreError> {
        let login = move |sql: &Connection| {
            let Some(device) = find(sql, app, id)? else {
                return Ok(None);
            };
            let mut select =
                sql.prepare_cached("SELECT position FROM cursors WHERE app = ?1 AND device = ?2")?;
            let cursor: Option<i64> = select
                .query_row(params![app.0, id.0], |row| row.get(0))
                .optional()?;
            Ok(Some(Login {
                cursor: tidings_model::MsgId(cursor.unwrap_or(id.0)),
                device,
            }))
        };
        self.engine.read(login).await
    }
}

fn register(tx: &mut WriteTx<'_>, new: &NewDevice) -> Result<Registered, StoreError> {
    let secret = Secret::new(
        random::<16>()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>(),
    );
    let known = new
        .channels
        .iter()
        .find_map(|channel| owner_of(tx.sql, new.app, channel).transpose())
        .transpose()?;
    let id = known.unwrap_or_else(|| DeviceId(tx.ids.next(tx.now)));
    let mut upsert = tx.sql.prepare_cached(
        "INSERT INTO devices (app, id, platform, alias, secret_hash, locale, time_zone, app_version, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)
         ON CONFLICT DO UPDATE SET platform = ?3, alias = coalesce(?4, alias), secret_hash = ?5, locale = coalesce(?6, locale),
             time_zone = coalesce(?7, time_zone), app_version = coalesce(?8, app_version), updated_at = ?9",
    )?;
    upsert.execute(params![
        new.app.0,
        id.0,
        AsCode(new.platform),
        new.alias.as_ref().map(Alias::as_str),
        secret.hash().as_bytes(),
        new.locale,
        new.time_zone,
        new.app_version,
        tx.now.0,
    ])?;
    add_tags(tx.sql, new.app, id, &new.tags)?;
    set_channels(tx, new.app, id, new.platform, &new.channels)?;
    Ok(Registered {
        created: known.is_none(),
        id,
        secret,
    })
}

fn apply_change(
    tx: &mut WriteTx<'_>,
    app: AppId,
    id: DeviceId,
    change: &DeviceChange,
) -> Result<bool, StoreError> {
    let mut select = tx
        .sql
        .prepare_cached("SELECT platform FROM devices WHERE app = ?1 AND id = ?2")?;
    let platform = select
        .query_row(params![app.0, id.0], |row| {
            row.get::<_, AsCode<Platform>>(0)
        })
        .optional()?;
    let Some(AsCode(platform)) = platform else {
        return Ok(false);
    };
    let texts = [
        (
            "alias",
            change
                .alias
                .as_ref()
                .map(|alias| alias.as_ref().map(Alias::as_str)),
        ),
        ("locale", change.locale.as_ref().map(Option::as_deref)),
        ("time_zone", change.time_zone.as_ref().map(Option::as_deref)),
        (
            "app_version",
            change.app_version.as_ref().map(Option::as_deref),
        ),
    ];
    for (column, value) in texts {
        if let Some(value) = value {
            let text = format!("UPDATE devices SET {column} = ?3 WHERE app = ?1 AND id = ?2");
            tx.sql
                .prepare_cached(&text)?
                .execute(params![app.0, id.0, value])?;
        }
    }
    match &change.tags {
        None => {}
        Some(TagChange::Edit { add, remove }) => {
            add_tags(tx.sql, app, id, add)?;
            let mut delete = tx.sql.prepare_cached(
                "DELETE FROM device_tags WHERE app = ?1 AND tag = ?2 AND device = ?3",
            )?;
            for tag in remove {
                delete.execute(params![app.0, tag.as_str(), id.0])?;
            }
        }
        Some(TagChange::Replace(tags)) => {
            let delete = "DELETE FROM device_tags WHERE app = ?1 AND device = ?2";
            tx.sql
                .prepare_cached(delete)?
                .execute(params![app.0, id.0])?;
            add_tags(tx.sql, app, id, tags)?;
        }
    }
    if let Some(channels) = &change.channels {
        set_channels(tx, app, id, platform, channels)?;
    }
    let touch = "UPDATE devices SET updated_at = ?3 WHERE app = ?1 AND id = ?2";
    tx.sql
        .prepare_cached(touch)?
        .execute(params![app.0, id.0, tx.now.0])?;
    Ok(true)
}

/// Makes `channels` the channels of a device. A token that another device had moves here.
fn set_channels(
    tx: &mut WriteTx<'_>,
    app: AppId,
    id: DeviceId,
    platform: Platform,
    channels: &[ChannelChange],
) -> Result<(), StoreError> {
    for provider in Provider::ALL {
        if !channels.iter().any(|channel| channel.provider == provider) {
            remove_channel(tx, app, id, provider, &Reason::known("replaced"))?;
        }
    }
    for channel in channels {
        match owner_of(tx.sql, app, channel)? {
            Some(owner) if owner != id => {
                remove_channel(tx, app, owner, channel.provider, &Reason::known("moved"))?;
            }
            Some(_) | None => {}
        }
        let mut upsert = tx.sql.prepare_cached(
            "INSERT INTO channels (app, provider, device, platform, environment, token, token_hash, added_at, registered_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)
             ON CONFLICT DO UPDATE SET platform = ?4, environment = ?5, token = ?6, token_hash = ?7, registered_at = ?8,
                 added_at = iif(token IS ?6, added_at, ?8)",
        )?;
        upsert.execute(params![
            app.0,
            AsCode(channel.provider),
            id.0,
            AsCode(platform),
            AsCode(channel.environment),
            channel.token,
            channel.token.as_deref().map(token_hash),
            tx.now.0,
        ])?;
        if channel.provider == Provider::Link {
            let start = "INSERT INTO cursors (app, device, position) VALUES (?1, ?2, ?2) ON CONFLICT DO NOTHING";
            tx.sql
                .prepare_cached(start)?
                .execute(params![app.0, id.0])?;
        }
    }
    Ok(())
}

/// Takes a channel from a device and leaves a tombstone in its place.
pub(crate) fn remove_channel(
    tx: &mut WriteTx<'_>,
    app: AppId,
    device: DeviceId,
    provider: Provider,
    reason: &Reason,
) -> Result<(), StoreError> {
    let place = params![app.0, AsCode(provider), device.0, tx.now.0, reason.as_str()];
    let bury = "INSERT INTO tombstones (app, device, removed_at, provider, token, added_at, reason)
                SELECT app, device, ?4, provider, token, added_at, ?5 FROM channels
                WHERE app = ?1 AND provider = ?2 AND device = ?3
                ON CONFLICT DO NOTHING";
    if tx.sql.prepare_cached(bury)?.execute(place)? == 0 {
        return Ok(());
    }
    let delete = "DELETE FROM channels WHERE app = ?1 AND provider = ?2 AND device = ?3";
    tx.sql
        .prepare_cached(delete)?
        .execute(params![app.0, AsCode(provider), device.0])?;
    let forget = "DELETE FROM tombstones WHERE app = ?1 AND device = ?2 AND removed_at <
                      (SELECT removed_at FROM tombstones WHERE app = ?1 AND device = ?2
                       ORDER BY removed_at DESC LIMIT 1 OFFSET ?3)";
    tx.sql
        .prepare_cached(forget)?
        .execute(params![app.0, device.0, TOMBSTONES_MAX - 1])?;
    Ok(())
}

fn owner_of(
    sql: &Connection,
    app: AppId,
    channel: &ChannelChange,
) -> Result<Option<DeviceId>, StoreError> {
    let Some(token) = &channel.token else {
        return Ok(None);
    };
    let mut select = sql.prepare_cached(
        "SELECT device FROM channels WHERE app = ?1 AND provider = ?2 AND token_hash = ?3",
    )?;
    let found = select.query_row(
        params![app.0, AsCode(channel.provider), token_hash(token)],
        |row| row.get(0),
    );
    Ok(found.optional()?.map(DeviceId))
}

fn add_tags(sql: &Connection, app: AppId, id: DeviceId, tags: &[Tag]) -> Result<(), StoreError> {
    let add =
        "INSERT INTO device_tags (app, tag, device) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    let mut add = sql.prepare_cached(add)?;
    for tag in tags {
        add.execute(params![app.0, tag.as_str(), id.0])?;
    }
    Ok(())
}

fn token_hash(token: &str) -> [u8; 16] {
    let mut hash = [0; 16];
    hash.copy_from_slice(&digest(&SHA256, token.as_bytes()).as_ref()[..16]);
    hash
}

fn find(sql: &Connection, app: AppId, id: DeviceId) -> Result<Option<Device>, StoreError> {
    let mut select = sql.prepare_cached(
        "SELECT platform, alias, secret_hash, locale, time_zone, app_version, created_at
         FROM devices WHERE app = ?1 AND id = ?2",
    )?;
    let Some(mut device) = select
        .query_row(params![app.0, id.0], |row| Ok(read(row, id)))
        .optional()?
        .transpose()?
    else {
        return Ok(None);
    };
    let mut tags = sql.prepare_cached(
        "SELECT tag FROM device_tags INDEXED BY device_tags_by_device WHERE app = ?1 AND device = ?2 ORDER BY tag",
    )?;
    for tag in tags.query_map(params![app.0, id.0], |row| row.get::<_, String>(0))? {
        device.tags.push(stored(&tag?)?);
    }
    let mut channels = sql.prepare_cached(
        "SELECT provider, environment, token, registered_at FROM channels INDEXED BY channels_by_device
         WHERE app = ?1 AND device = ?2 ORDER BY provider",
    )?;
    let channels = channels.query_map(params![app.0, id.0], |row| {
        Ok(ChannelRecord {
            provider: row.get::<_, AsCode<Provider>>(0)?.0,
            environment: row.get::<_, AsCode<Option<Environment>>>(1)?.0,
            token: row.get(2)?,
            registered_at: UnixMillis(row.get(3)?),
        })
    })?;
    device.channels = channels.collect::<Result<_, _>>()?;
    Ok(Some(device))
}

fn read(row: &Row<'_>, id: DeviceId) -> Result<Device, StoreError> {
    let alias: Option<String> = row.get(1)?;
    Ok(Device {
        id,
        platform: row.get::<_, AsCode<Platform>>(0)?.0,
        alias: alias.as_deref().map(stored).transpose()?,
        secret: SecretHash::from_bytes(row.get(2)?),
        locale: row.get(3)?,
        time_zone: row.get(4)?,
        app_version: row.get(5)?,
        created_at: UnixMillis(row.get(6)?),
        channels: Vec::new(),
        tags: Vec::new(),
    })
}

fn stored<T: std::str::FromStr>(text: &str) -> Result<T, StoreError>
where
    T::Err: std::fmt::Display,
{
    text.parse()
        .map_err(|error| StoreError::Stored(format!("{text:?} {error}")))
}
