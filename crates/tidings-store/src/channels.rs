//! The channels of devices, each with its life, and what became of them.

use aws_lc_rs::digest::{SHA256, digest};
use rusqlite::{Connection, OptionalExtension, Row, params};
use tidings_model::{
    AppId, DeviceId, Environment, Life, MsgId, Platform, Provider, ProviderSet, Reason, UnixMillis,
};

use crate::codes::AsCode;
use crate::devices::{ChannelChange, ChannelRecord, Place, forget_lives, forget_unseen};
use crate::engine::DeviceNews;
use crate::limits::{ENDED_CHANNELS_MAX, TOMBSTONES_MAX};
use crate::{StoreError, WriteTx};

/// Why a device has no channels whose token is another's now. It may be the same phone, which was wiped, and would count
/// twice: so it is no target until it shows itself by its secret.
const MOVED: Reason = Reason::known("moved");

/// Makes `channels` the channels of a device, and returns the devices that had one of the tokens: it has moved here, and
/// they have no channel any more.
///
/// A channel whose token changes is the same channel. One whose environment or platform changes is another: pages are
/// cut by both.
pub(crate) fn set(
    tx: &mut WriteTx<'_>,
    place: Place,
    platform: Platform,
    channels: &[ChannelChange],
) -> Result<Vec<DeviceId>, StoreError> {
    let mut former = Vec::new();
    // A device that says what its channels are has shown itself, and wants no other back.
    let known =
        "UPDATE tombstones SET reason = 'replaced' WHERE app = ?1 AND device = ?2 AND reason = ?3";
    tx.sql
        .prepare_cached(known)?
        .execute(params![place.app.0, place.device.0, MOVED.as_str()])?;
    for held in held(tx.sql, place)? {
        let wanted = channels
            .iter()
            .find(|channel| channel.provider == held.provider);
        let stays = wanted.is_some_and(|wanted| {
            (wanted.environment, platform) == (held.environment, held.platform)
        });
        if !stays {
            end(tx, place, held.provider, &Reason::known("replaced"))?;
        }
    }
    for channel in channels {
        match owner_of(tx.sql, place.app, channel)? {
            Some(device) if device != place.device => {
                let theirs = Place { device, ..place };
                for held in held(tx.sql, theirs)? {
                    end(tx, theirs, held.provider, &MOVED)?;
                }
                former.push(device);
            }
            Some(_) | None => {}
        }
        if !renew(tx, place, channel)? {
            begin(tx, place, platform, channel)?;
        }
    }
    Ok(former)
}

/// What a device holds of each provider.
struct Held {
    environment: Option<Environment>,
    platform: Platform,
    provider: Provider,
}

fn held(sql: &Connection, place: Place) -> Result<Vec<Held>, StoreError> {
    let mut select = sql.prepare_cached(
        "SELECT provider, platform, environment FROM channels INDEXED BY channels_by_device
         WHERE app = ?1 AND device = ?2 AND until = ?3",
    )?;
    let rows = select.query_map(params![place.app.0, place.device.0, Life::ON], |row| {
        Ok(Held {
            provider: row.get::<_, AsCode<Provider>>(0)?.0,
            platform: row.get::<_, AsCode<Platform>>(1)?.0,
            environment: row.get::<_, AsCode<Option<Environment>>>(2)?.0,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Notes that a device still has a channel, with this token; false when it has not.
fn renew(tx: &mut WriteTx<'_>, place: Place, channel: &ChannelChange) -> Result<bool, StoreError> {
    let Place { app, at, device } = place;
    let provider = AsCode(channel.provider);
    // A token that goes is remembered: an answer to it may still be on its way.
    let bury = "INSERT INTO tombstones (app, device, id, provider, token, added_at, removed_at, reason)
                SELECT app, device, ?4, provider, token, added_at, ?5, 'replaced' FROM channels
                WHERE app = ?1 AND provider = ?2 AND device = ?3 AND until = ?6 AND token IS NOT ?7";
    let buried = tx.sql.prepare_cached(bury)?.execute(params![
        app.0,
        provider,
        device.0,
        at,
        tx.now.0,
        Life::ON,
        channel.token
    ])?;
    if buried > 0 {
        forget_tombstones(tx.sql, app, device)?;
    }
    let renew = "UPDATE channels SET token = ?4, token_hash = ?5, registered_at = ?6, added_at = iif(token IS ?4, added_at, ?6)
                 WHERE app = ?1 AND provider = ?2 AND device = ?3 AND until = ?7";
    let renewed = tx.sql.prepare_cached(renew)?.execute(params![
        app.0,
        provider,
        device.0,
        channel.token,
        channel.token.as_deref().map(token_hash),
        tx.now.0,
        Life::ON
    ])?;
    Ok(renewed > 0)
}

fn begin(
    tx: &mut WriteTx<'_>,
    place: Place,
    platform: Platform,
    channel: &ChannelChange,
) -> Result<(), StoreError> {
    let Place { app, at, device } = place;
    let insert = "INSERT INTO channels
                      (app, provider, device, since, until, platform, environment, token, token_hash, added_at, registered_at)
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10)";
    tx.sql.prepare_cached(insert)?.execute(params![
        app.0,
        AsCode(channel.provider),
        device.0,
        at,
        Life::ON,
        AsCode(platform),
        AsCode(channel.environment),
        channel.token,
        channel.token.as_deref().map(token_hash),
        tx.now.0,
    ])?;
    let used = "INSERT INTO app_providers (app, provider, platform) VALUES (?1, ?2, ?3)
                ON CONFLICT (app, provider, platform) DO NOTHING";
    tx.sql.prepare_cached(used)?.execute(params![
        app.0,
        AsCode(channel.provider),
        AsCode(platform)
    ])?;
    if channel.provider == Provider::Link {
        // What still waits for it there is its own again.
        let back = "UPDATE devices SET left_link = NULL WHERE app = ?1 AND id = ?2 AND left_link IS NOT NULL";
        tx.sql
            .prepare_cached(back)?
            .execute(params![app.0, device.0])?;
        let start = "INSERT INTO cursors (app, device, position) VALUES (?1, ?2, ?3)
                     ON CONFLICT (app, device) DO NOTHING";
        tx.sql
            .prepare_cached(start)?
            .execute(params![app.0, device.0, at])?;
    }
    Ok(())
}

/// Whether a device that has no channel of the link lost it because a token of its moved, and would have it again if it showed
/// itself. The tombstones tell, which stay as long as the device: an ended channel goes with the messages of its time.
pub(crate) fn is_away(sql: &Connection, app: AppId, device: DeviceId) -> Result<bool, StoreError> {
    let mut select = sql.prepare_cached(
        "SELECT provider, reason FROM tombstones WHERE app = ?1 AND device = ?2 ORDER BY id DESC",
    )?;
    let mut rows = select.query(params![app.0, device.0])?;
    while let Some(row) = rows.next()? {
        if row.get::<_, AsCode<Provider>>(0)?.0 == Provider::Link {
            return Ok(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)? == MOVED.as_str());
        }
    }
    Ok(false)
}

/// Gives a device that has shown itself the link again, if a token of its moved; false when there is nothing to give.
pub(crate) fn welcome(
    tx: &mut WriteTx<'_>,
    place: Place,
    platform: Platform,
) -> Result<bool, StoreError> {
    let held = held(tx.sql, place)?;
    let is_on_link = held.iter().any(|held| held.provider == Provider::Link);
    if is_on_link || !is_away(tx.sql, place.app, place.device)? {
        return Ok(false);
    }
    let link = ChannelChange {
        environment: None,
        provider: Provider::Link,
        token: None,
    };
    begin(tx, place, platform, &link)?;
    Ok(true)
}

/// Ends a channel of a device, and leaves a tombstone; false when the device has none. What waits for the device on the link
/// is ended by [`Store::sweep`](crate::Store::sweep), unless the device has the link again by then.
pub(crate) fn end(
    tx: &mut WriteTx<'_>,
    place: Place,
    provider: Provider,
    reason: &Reason,
) -> Result<bool, StoreError> {
    let Place { app, at, device } = place;
    let bury =
        "INSERT INTO tombstones (app, device, id, provider, token, added_at, removed_at, reason)
                SELECT app, device, ?4, provider, token, added_at, ?5, ?6 FROM channels
                WHERE app = ?1 AND provider = ?2 AND device = ?3 AND until = ?7";
    let buried = tx.sql.prepare_cached(bury)?.execute(params![
        app.0,
        AsCode(provider),
        device.0,
        at,
        tx.now.0,
        reason.as_str(),
        Life::ON
    ])?;
    if buried == 0 {
        return Ok(false);
    }
    tx.news.push((app, device, DeviceNews::Changed));
    let end = "UPDATE channels SET until = ?4, token = NULL, token_hash = NULL, ended = ?5
               WHERE app = ?1 AND provider = ?2 AND device = ?3 AND until = ?6";
    tx.sql.prepare_cached(end)?.execute(params![
        app.0,
        AsCode(provider),
        device.0,
        at,
        reason.as_str(),
        Life::ON
    ])?;
    if provider == Provider::Link {
        let left =
            "UPDATE devices SET left_link = ?3 WHERE app = ?1 AND id = ?2 AND deleted_at IS NULL";
        tx.sql
            .prepare_cached(left)?
            .execute(params![app.0, device.0, at])?;
    }
    forget_tombstones(tx.sql, app, device)?;
    forget_unseen(tx.sql, place)?;
    forget_lives(tx.sql, place, "channels", ENDED_CHANNELS_MAX)?;
    Ok(true)
}

/// Ends all channels of a device.
pub(crate) fn end_all(
    tx: &mut WriteTx<'_>,
    place: Place,
    reason: &Reason,
) -> Result<(), StoreError> {
    for held in held(tx.sql, place)? {
        end(tx, place, held.provider, reason)?;
    }
    Ok(())
}

fn forget_tombstones(sql: &Connection, app: AppId, device: DeviceId) -> Result<(), StoreError> {
    let forget = "DELETE FROM tombstones WHERE app = ?1 AND device = ?2 AND id <
                      (SELECT id FROM tombstones WHERE app = ?1 AND device = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3)";
    sql.prepare_cached(forget)?
        .execute(params![app.0, device.0, TOMBSTONES_MAX - 1])?;
    Ok(())
}

/// Which device has a channel's token.
pub(crate) fn owner_of(
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

/// Those that a device holds, in the order of their providers.
pub(crate) fn now(
    sql: &Connection,
    app: AppId,
    device: DeviceId,
) -> Result<Vec<ChannelRecord>, StoreError> {
    let mut select = sql.prepare_cached(
        "SELECT provider, environment, token, registered_at FROM channels INDEXED BY channels_by_device
         WHERE app = ?1 AND device = ?2 AND until = ?3 ORDER BY provider",
    )?;
    let rows = select.query_map(params![app.0, device.0, Life::ON], record)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn record(row: &Row<'_>) -> rusqlite::Result<ChannelRecord> {
    Ok(ChannelRecord {
        provider: row.get::<_, AsCode<Provider>>(0)?.0,
        environment: row.get::<_, AsCode<Option<Environment>>>(1)?.0,
        token: row.get(2)?,
        registered_at: UnixMillis(row.get(3)?),
    })
}

/// The lives of those that a device has and had.
pub(crate) fn lives(
    sql: &Connection,
    app: AppId,
    device: DeviceId,
) -> Result<Vec<(Provider, Life)>, StoreError> {
    let mut select = sql.prepare_cached(
        "SELECT provider, since, until FROM channels INDEXED BY channels_by_device WHERE app = ?1 AND device = ?2",
    )?;
    let rows = select.query_map(params![app.0, device.0], |row| {
        let provider: AsCode<Provider> = row.get(0)?;
        let (since, until) = (row.get(1)?, row.get(2)?);
        Ok((provider.0, Life { since, until }))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The providers by which a device could be reached at a message.
pub(crate) fn held_at(
    sql: &Connection,
    app: AppId,
    device: DeviceId,
    message: MsgId,
) -> Result<ProviderSet, StoreError> {
    let mut select = sql.prepare_cached(
        "SELECT provider FROM channels INDEXED BY channels_by_device
         WHERE app = ?1 AND device = ?2 AND until > ?3 AND since < ?3",
    )?;
    let rows = select.query_map(params![app.0, device.0, message.0], |row| {
        Ok(row.get::<_, AsCode<Provider>>(0)?.0)
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// 16 bytes of SHA-256 stand for a token in the unique index.
pub(crate) fn token_hash(token: &str) -> [u8; 16] {
    let mut hash = [0; 16];
    hash.copy_from_slice(&digest(&SHA256, token.as_bytes()).as_ref()[..16]);
    hash
}
