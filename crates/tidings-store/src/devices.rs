//! Devices: what each is, and was.

use rusqlite::{Connection, OptionalExtension, params};
use tidings_model::{
    Alias, AppId, DeviceHistory, DeviceId, Environment, Life, MsgId, Platform, Provider,
    ProviderSet, Reason, Secret, SecretHash, Tag, UnixMillis,
};

use crate::apps::{self, random};
use crate::channels;
use crate::codes::AsCode;
use crate::cursor::{self, Cursor};
use crate::engine::DeviceNews;
use crate::labels::{self, Kind};
use crate::log::Position;
use crate::{Store, StoreError, WriteTx};

/// Lets go of the channels that have ended at this place and saw no message: nobody will ever ask about them.
pub(crate) fn forget_unseen(sql: &Connection, place: Place) -> Result<(), StoreError> {
    let newest = newest_message(sql, place.app)?;
    let forget = "DELETE FROM channels INDEXED BY channels_by_device
                  WHERE app = ?1 AND device = ?2 AND until = ?3 AND since >= ?4";
    sql.prepare_cached(forget)?
        .execute(params![place.app.0, place.device.0, place.at, newest])?;
    Ok(())
}

/// The id of an app's newest message; 0 when it has none.
pub(crate) fn newest_message(sql: &Connection, app: AppId) -> Result<i64, StoreError> {
    let mut newest = sql.prepare_cached(
        "SELECT id FROM messages INDEXED BY messages_by_app WHERE app = ?1 ORDER BY id DESC LIMIT 1",
    )?;
    let newest = newest.query_row(params![app.0], |row| row.get(0));
    Ok(newest.optional()?.unwrap_or(0))
}

/// Lets go of the oldest lives that have ended, when a device has very many, and notes from when on it is still known what
/// it was. `table` is `channels` or `labels`.
pub(crate) fn forget_lives(
    sql: &Connection,
    place: Place,
    table: &str,
    kept: usize,
) -> Result<(), StoreError> {
    // Of those that are ended the one that is too many, newest first.
    let mut oldest = sql.prepare_cached(&format!(
        "SELECT until FROM {table} INDEXED BY {table}_by_device WHERE app = ?1 AND device = ?2 AND until < ?3
         ORDER BY until DESC LIMIT 1 OFFSET ?4"
    ))?;
    let id = (place.app.0, place.device.0);
    let until = oldest.query_row(params![id.0, id.1, Life::ON, kept], |row| {
        row.get::<_, i64>(0)
    });
    let Some(until) = until.optional()? else {
        return Ok(());
    };
    let forget = format!("DELETE FROM {table} WHERE app = ?1 AND device = ?2 AND until <= ?3");
    sql.prepare_cached(&forget)?
        .execute(params![id.0, id.1, until])?;
    let note =
        "UPDATE devices SET forgotten_until = max(forgotten_until, ?3) WHERE app = ?1 AND id = ?2";
    sql.prepare_cached(note)?
        .execute(params![id.0, id.1, until])?;
    Ok(())
}

/// Which device is changed, and at which id of the clock: what begins or ends then holds for messages after, or before it.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) app: AppId,
    pub(crate) at: i64,
    pub(crate) device: DeviceId,
}

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
    /// The secret of the device that has one of the tokens now, if it is that device which comes again.
    pub proof: Option<Secret>,
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
    /// False when it was a known device that came again.
    pub created: bool,
    /// The devices from which a token moved here; each has lost its channels.
    pub former: Vec<DeviceId>,
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

/// What a change of a device brought about beside itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// The devices from which a token moved here; each has lost its channels.
    pub former: Vec<DeviceId>,
}

/// What a device on the link has to be known by.
#[derive(Clone, Debug)]
pub struct Login {
    /// It has no channel of the link since a token of its moved, and is to be given it again ([`Store::welcome`]).
    pub away: bool,
    /// How far its log has been judged.
    pub cursor: Position,
    /// As it is now, and will have been: what it was at the messages that there are is known as far as it has not ended
    /// ([`DeviceHistory::known_from`]). A connection holds it for as long as it lasts.
    pub history: DeviceHistory,
    pub is_on_link: bool,
    /// What was sent and has not ended though the cursor has passed it, in the order of the log.
    pub owed: Vec<Position>,
    pub secret: SecretHash,
}

impl Store {
    /// Registers a device. One whose token is known and that proves itself by its secret is the same device again: it keeps
    /// its id, gets a new secret, and what it names (alias, tags, its channels) is what it has from now on; what it leaves
    /// out stays. Without the proof it is a new device, to which the token moves: whoever knows a token inherits nothing.
    pub async fn register(&self, new: NewDevice) -> Result<Registered, StoreError> {
        self.engine.write(move |tx| register(tx, &new)).await
    }

    /// Registers many in one transaction, for imports and tests of size.
    pub async fn register_all(&self, new: Vec<NewDevice>) -> Result<Vec<Registered>, StoreError> {
        self.engine
            .write(move |tx| new.iter().map(|new| register(tx, new)).collect())
            .await
    }

    /// None when the app has no such device.
    pub async fn change_device(
        &self,
        app: AppId,
        id: DeviceId,
        change: DeviceChange,
    ) -> Result<Option<Changed>, StoreError> {
        self.engine
            .write(move |tx| apply_change(tx, app, id, &change))
            .await
    }

    /// Forgets a device and all its data; false when the app has no such device. From now on nobody finds it and nothing is
    /// sent to it; its rows are cleared by [`Self::sweep`].
    pub async fn delete_device(&self, app: AppId, id: DeviceId) -> Result<bool, StoreError> {
        self.engine.write(move |tx| delete(tx, app, id)).await
    }

    pub async fn device(&self, app: AppId, id: DeviceId) -> Result<Option<Device>, StoreError> {
        self.engine.read(move |sql| find(sql, app, id)).await
    }

    /// The app of a device, and that by which the device proves itself: all that is read of one before it has.
    pub async fn device_secret(
        &self,
        id: DeviceId,
    ) -> Result<Option<(AppId, SecretHash)>, StoreError> {
        let find = move |sql: &Connection| {
            let mut select = sql.prepare_cached(
                "SELECT app, secret_hash FROM devices INDEXED BY devices_by_id WHERE id = ?1 AND deleted_at IS NULL",
            )?;
            let found = select.query_row(params![id.0], |row| {
                Ok((AppId(row.get(0)?), SecretHash::from_bytes(row.get(1)?)))
            });
            Ok(match found.optional()? {
                Some((app, secret)) if apps::lives(sql, app)? => Some((app, secret)),
                Some(_) | None => None,
            })
        };
        self.engine.read(find).await
    }

    /// A device and its app; a registration id is unique over all apps.
    pub async fn device_by_id(&self, id: DeviceId) -> Result<Option<(AppId, Device)>, StoreError> {
        let by_id = move |sql: &Connection| {
            let mut select = sql
                .prepare_cached("SELECT app FROM devices INDEXED BY devices_by_id WHERE id = ?1")?;
            let app = select.query_row(params![id.0], |row| row.get(0).map(AppId));
            let Some(app) = app.optional()? else {
                return Ok(None);
            };
            Ok(find(sql, app, id)?.map(|device| (app, device)))
        };
        self.engine.read(by_id).await
    }

    /// From now on `watcher` is told of every device whose record has changed, whoever changed it, and of what comes to its
    /// inbox, by the thread that writes: after the commit, and before anything that is committed later can be seen. It must not
    /// wait. When it returns false it is told no more.
    pub fn watch_devices(
        &self,
        watcher: impl Fn(AppId, DeviceId, DeviceNews) -> bool + Send + 'static,
    ) {
        self.engine.watch(Box::new(watcher));
    }

    /// What a device was and had, for as long as messages are kept; none when the app has no such device.
    pub async fn history(
        &self,
        app: AppId,
        id: DeviceId,
    ) -> Result<Option<DeviceHistory>, StoreError> {
        self.engine.read(move |sql| history(sql, app, id)).await
    }

    /// Gives a device that has proved itself the link again, if it had lost it with a token that moved to another device.
    pub async fn welcome(&self, app: AppId, id: DeviceId) -> Result<(), StoreError> {
        let nothing = DeviceChange::default();
        let welcome = move |tx: &mut WriteTx<'_>| apply_change(tx, app, id, &nothing).map(drop);
        self.engine.write(welcome).await
    }

    /// What the link needs in order to let a device in and to serve it.
    pub async fn login(&self, app: AppId, id: DeviceId) -> Result<Option<Login>, StoreError> {
        self.engine.read(move |sql| login(sql, app, id)).await
    }
}

fn login(sql: &Connection, app: AppId, id: DeviceId) -> Result<Option<Login>, StoreError> {
    if !apps::lives(sql, app)? {
        return Ok(None);
    }
    let mut select = sql.prepare_cached(
        "SELECT platform, forgotten_until, secret_hash FROM devices WHERE app = ?1 AND id = ?2 AND deleted_at IS NULL",
    )?;
    let found = select.query_row(params![app.0, id.0], |row| {
        let platform: AsCode<Platform> = row.get(0)?;
        let secret = SecretHash::from_bytes(row.get(2)?);
        Ok((platform.0, MsgId(row.get(1)?), secret))
    });
    let Some((platform, forgotten_until, secret)) = found.optional()? else {
        return Ok(None);
    };
    // Before what it has: what ends from here on ends later than this.
    let newest = newest_message(sql, app)?;
    let known_from = labels::ended_until(sql, app, id, newest)?;
    let mut known_from = forgotten_until.max(MsgId(known_from));
    let mut channels = channels::lives(sql, app, id)?;
    channels.retain(|(_, life)| {
        let is_kept = life.until > newest;
        if !is_kept {
            known_from = known_from.max(MsgId(life.until));
        }
        is_kept
    });
    channels.shrink_to_fit();
    let held = channels.iter().filter(|(_, life)| life.until == Life::ON);
    let is_on_link = held
        .map(|(provider, _)| *provider)
        .any(|held| held == Provider::Link);
    let cursor = cursor::find(sql, app, id)?;
    let cursor = cursor.unwrap_or_else(|| Cursor::to(Position(id.0)));
    Ok(Some(Login {
        away: !is_on_link && channels::is_away(sql, app, id)?,
        cursor: cursor.position,
        history: DeviceHistory {
            aliases: labels::lives(sql, app, id, Kind::Alias, newest)?,
            channels,
            id,
            known_from,
            platform,
            tags: labels::lives(sql, app, id, Kind::Tag, newest)?,
        },
        is_on_link,
        owed: cursor.owed,
        secret,
    }))
}

fn register(tx: &mut WriteTx<'_>, new: &NewDevice) -> Result<Registered, StoreError> {
    apps::must_live(tx.sql, new.app)?;
    let secret = Secret::new(
        random::<16>()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>(),
    );
    let known = proven(tx.sql, new)?;
    let at = tx.ids.next(tx.now);
    let id = known.unwrap_or(DeviceId(at));
    let mut upsert = tx.sql.prepare_cached(
        "INSERT INTO devices (app, id, platform, secret_hash, locale, time_zone, app_version, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)
         ON CONFLICT (app, id) DO UPDATE SET platform = ?3, secret_hash = ?4, locale = coalesce(?5, locale),
             time_zone = coalesce(?6, time_zone), app_version = coalesce(?7, app_version), updated_at = ?8",
    )?;
    upsert.execute(params![
        new.app.0,
        id.0,
        AsCode(new.platform),
        secret.hash().as_bytes(),
        new.locale,
        new.time_zone,
        new.app_version,
        tx.now.0,
    ])?;
    let place = Place {
        app: new.app,
        at,
        device: id,
    };
    if let Some(alias) = &new.alias {
        labels::replace(tx.sql, place, Kind::Alias, &[alias.as_str()])?;
    }
    if !new.tags.is_empty() {
        labels::replace(tx.sql, place, Kind::Tag, &texts(&new.tags))?;
    }
    let former = channels::set(tx, place, new.platform, &new.channels)?;
    tx.news.push((new.app, id, DeviceNews::Changed));
    Ok(Registered {
        created: known.is_none(),
        former,
        id,
        secret,
    })
}

/// The device that has one of the tokens, if the newcomer proves to be that.
fn proven(sql: &Connection, new: &NewDevice) -> Result<Option<DeviceId>, StoreError> {
    let Some(proof) = &new.proof else {
        return Ok(None);
    };
    for channel in &new.channels {
        if let Some(owner) = channels::owner_of(sql, new.app, channel)?
            && let Some(device) = find(sql, new.app, owner)?
            && device.secret.matches(proof.expose())
        {
            return Ok(Some(owner));
        }
    }
    Ok(None)
}

fn apply_change(
    tx: &mut WriteTx<'_>,
    app: AppId,
    id: DeviceId,
    change: &DeviceChange,
) -> Result<Option<Changed>, StoreError> {
    apps::must_live(tx.sql, app)?;
    let mut select = tx.sql.prepare_cached(
        "SELECT platform FROM devices WHERE app = ?1 AND id = ?2 AND deleted_at IS NULL",
    )?;
    let platform = select
        .query_row(params![app.0, id.0], |row| {
            row.get::<_, AsCode<Platform>>(0)
        })
        .optional()?;
    let Some(AsCode(platform)) = platform else {
        return Ok(None);
    };
    let place = Place {
        app,
        at: tx.ids.next(tx.now),
        device: id,
    };
    let update = "UPDATE devices SET updated_at = ?3, locale = iif(?4, ?5, locale), time_zone = iif(?6, ?7, time_zone),
                      app_version = iif(?8, ?9, app_version)
                  WHERE app = ?1 AND id = ?2";
    let text = |change: &Option<Option<String>>| (change.is_some(), change.clone().flatten());
    let (locale, time_zone) = (text(&change.locale), text(&change.time_zone));
    let app_version = text(&change.app_version);
    tx.sql.prepare_cached(update)?.execute(params![
        app.0,
        id.0,
        tx.now.0,
        locale.0,
        locale.1,
        time_zone.0,
        time_zone.1,
        app_version.0,
        app_version.1,
    ])?;
    if let Some(alias) = &change.alias {
        let alias: Vec<&str> = alias.iter().map(Alias::as_str).collect();
        labels::replace(tx.sql, place, Kind::Alias, &alias)?;
    }
    match &change.tags {
        None => {}
        Some(TagChange::Edit { add, remove }) => {
            labels::edit(tx.sql, place, Kind::Tag, &texts(add), &texts(remove))?;
        }
        Some(TagChange::Replace(tags)) => {
            labels::replace(tx.sql, place, Kind::Tag, &texts(tags))?;
        }
    }
    let former = match &change.channels {
        Some(set) => channels::set(tx, place, platform, set)?,
        None => {
            channels::welcome(tx, place, platform)?;
            Vec::new()
        }
    };
    tx.news.push((app, id, DeviceNews::Changed));
    Ok(Some(Changed { former }))
}

fn delete(tx: &mut WriteTx<'_>, app: AppId, id: DeviceId) -> Result<bool, StoreError> {
    let place = Place {
        app,
        at: tx.ids.next(tx.now),
        device: id,
    };
    let mark = "UPDATE devices SET deleted_at = ?3, secret_hash = x'', locale = NULL, time_zone = NULL, app_version = NULL, left_link = NULL
                WHERE app = ?1 AND id = ?2 AND deleted_at IS NULL";
    let marked = tx
        .sql
        .prepare_cached(mark)?
        .execute(params![app.0, id.0, place.at])?;
    if marked == 0 {
        return Ok(false);
    }
    channels::end_all(tx, place, &Reason::known("device_deleted"))?;
    tx.news.push((app, id, DeviceNews::Changed));
    tx.sql
        .prepare_cached("UPDATE tombstones SET token = NULL WHERE app = ?1 AND device = ?2")?
        .execute(params![app.0, id.0])?;
    Ok(true)
}

fn texts(tags: &[Tag]) -> Vec<&str> {
    tags.iter().map(Tag::as_str).collect()
}

pub(crate) fn find(
    sql: &Connection,
    app: AppId,
    id: DeviceId,
) -> Result<Option<Device>, StoreError> {
    if !apps::lives(sql, app)? {
        return Ok(None);
    }
    let mut select = sql.prepare_cached(
        "SELECT platform, secret_hash, locale, time_zone, app_version, created_at
         FROM devices WHERE app = ?1 AND id = ?2 AND deleted_at IS NULL",
    )?;
    let found = select.query_row(params![app.0, id.0], |row| {
        Ok(Device {
            id,
            platform: row.get::<_, AsCode<Platform>>(0)?.0,
            alias: None,
            secret: SecretHash::from_bytes(row.get(1)?),
            locale: row.get(2)?,
            time_zone: row.get(3)?,
            app_version: row.get(4)?,
            created_at: UnixMillis(row.get(5)?),
            channels: Vec::new(),
            tags: Vec::new(),
        })
    });
    let Some(mut device) = found.optional()? else {
        return Ok(None);
    };
    device.alias = labels::now(sql, app, id, Kind::Alias)?.pop();
    device.tags = labels::now(sql, app, id, Kind::Tag)?;
    device.channels = channels::now(sql, app, id)?;
    Ok(Some(device))
}

pub(crate) fn history(
    sql: &Connection,
    app: AppId,
    id: DeviceId,
) -> Result<Option<DeviceHistory>, StoreError> {
    if !apps::lives(sql, app)? {
        return Ok(None);
    }
    let mut select = sql.prepare_cached(
        "SELECT 1 FROM devices WHERE app = ?1 AND id = ?2 AND deleted_at IS NOT NULL",
    )?;
    if select.exists(params![app.0, id.0])? {
        return Ok(None);
    }
    history_of_any(sql, app, id)
}

/// The same, also of a device that has been deleted and is still to be cleared.
pub(crate) fn history_of_any(
    sql: &Connection,
    app: AppId,
    id: DeviceId,
) -> Result<Option<DeviceHistory>, StoreError> {
    let mut select = sql.prepare_cached(
        "SELECT platform, forgotten_until FROM devices WHERE app = ?1 AND id = ?2",
    )?;
    let found = select.query_row(params![app.0, id.0], |row| {
        Ok((row.get::<_, AsCode<Platform>>(0)?.0, MsgId(row.get(1)?)))
    });
    let Some((platform, known_from)) = found.optional()? else {
        return Ok(None);
    };
    Ok(Some(DeviceHistory {
        aliases: labels::lives(sql, app, id, Kind::Alias, 0)?,
        channels: channels::lives(sql, app, id)?,
        id,
        known_from,
        platform,
        tags: labels::lives(sql, app, id, Kind::Tag, 0)?,
    }))
}
