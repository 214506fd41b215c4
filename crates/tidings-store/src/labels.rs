//! What back ends call devices by, tags and aliases, each with its life.

use std::collections::HashSet;
use std::fmt::Display;
use std::str::FromStr;

use rusqlite::{Connection, OptionalExtension, params};
use tidings_model::{AppId, DeviceId, Life};

use crate::StoreError;
use crate::codes::{AsCode, codes};
use crate::devices::{Place, forget_lives, newest_message};
use crate::limits::ENDED_LABELS_MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Alias,
    Tag,
}

codes!(Kind, Kind::Alias = 1, Kind::Tag = 2);

/// Gives a device labels and takes others; what it has stays as old as it is, and so does what it has not.
pub(crate) fn edit(
    sql: &Connection,
    place: Place,
    kind: Kind,
    add: &[&str],
    remove: &[&str],
) -> Result<(), StoreError> {
    let removed: HashSet<&str> = remove.iter().copied().collect();
    let add: Vec<&str> = add
        .iter()
        .copied()
        .filter(|label| !removed.contains(label))
        .collect();
    let mut select = sql.prepare_cached(
        "SELECT 1 FROM labels WHERE app = ?1 AND kind = ?2 AND label = ?3 AND device = ?4 AND until = ?5",
    )?;
    let mut new = Vec::new();
    for label in add {
        let life = params![place.app.0, AsCode(kind), label, place.device.0, Life::ON];
        if !select.exists(life)? {
            new.push(label);
        }
    }
    end(sql, place, kind, remove)?;
    begin(sql, place, kind, &new)
}

/// Gives a device labels that it has not.
fn begin(sql: &Connection, place: Place, kind: Kind, new: &[&str]) -> Result<(), StoreError> {
    if new.is_empty() {
        return Ok(());
    }
    let mut insert = sql.prepare_cached(
        "INSERT OR IGNORE INTO labels (app, kind, label, device, since, until)
         SELECT ?1, ?2, w.value, ?3, ?4, ?5 FROM json_each(?6) AS w",
    )?;
    let Place { app, at, device } = place;
    insert.execute(params![
        app.0,
        AsCode(kind),
        device.0,
        at,
        Life::ON,
        list(new)
    ])?;
    Ok(())
}

/// Takes labels from a device. What no message has seen is not kept: it would be written once to be ended and once more to go.
fn end(sql: &Connection, place: Place, kind: Kind, gone: &[&str]) -> Result<(), StoreError> {
    if gone.is_empty() {
        return Ok(());
    }
    let Place { app, at, device } = place;
    let newest = newest_message(sql, app)?;
    let mut forget = sql.prepare_cached(
        "DELETE FROM labels WHERE app = ?1 AND kind = ?2 AND device = ?3 AND until = ?4 AND since >= ?5
             AND label IN (SELECT value FROM json_each(?6))",
    )?;
    let gone_list = list(gone);
    let forgotten = forget.execute(params![
        app.0,
        AsCode(kind),
        device.0,
        Life::ON,
        newest,
        gone_list
    ])?;
    if forgotten == gone.len() {
        return Ok(());
    }
    let mut update = sql.prepare_cached(
        "UPDATE labels SET until = ?5 WHERE app = ?1 AND kind = ?2 AND device = ?3 AND until = ?4
             AND label IN (SELECT value FROM json_each(?6))",
    )?;
    let ended = update.execute(params![
        app.0,
        AsCode(kind),
        device.0,
        Life::ON,
        at,
        gone_list
    ])?;
    match ended {
        0 => Ok(()),
        _ => forget_lives(sql, place, "labels", ENDED_LABELS_MAX),
    }
}

/// Labels in one order, which is that of the key, and so of the pages that are written.
fn list(labels: &[&str]) -> String {
    let mut labels = labels.to_vec();
    labels.sort_unstable();
    serde_json::Value::from(labels).to_string()
}

/// Makes `wanted` the labels of a device.
pub(crate) fn replace(
    sql: &Connection,
    place: Place,
    kind: Kind,
    wanted: &[&str],
) -> Result<(), StoreError> {
    let mut select = sql.prepare_cached(
        "SELECT label FROM labels INDEXED BY labels_by_device
         WHERE app = ?1 AND device = ?2 AND until = ?3 AND kind = ?4",
    )?;
    let had = select.query_map(
        params![place.app.0, place.device.0, Life::ON, AsCode(kind)],
        |row| row.get(0),
    )?;
    let had = had.collect::<Result<Vec<String>, _>>()?;
    // A thousand may be exchanged for a thousand: what stays is not looked up again.
    let had: HashSet<&str> = had.iter().map(String::as_str).collect();
    let wanted: HashSet<&str> = wanted.iter().copied().collect();
    let new: Vec<&str> = wanted.difference(&had).copied().collect();
    let gone: Vec<&str> = had.difference(&wanted).copied().collect();
    end(sql, place, kind, &gone)?;
    begin(sql, place, kind, &new)
}

/// Those that a device has, in order.
pub(crate) fn now<T>(
    sql: &Connection,
    app: AppId,
    device: DeviceId,
    kind: Kind,
) -> Result<Vec<T>, StoreError>
where
    T: FromStr<Err: Display>,
{
    let mut select = sql.prepare_cached(
        "SELECT label FROM labels INDEXED BY labels_by_device
         WHERE app = ?1 AND device = ?2 AND until = ?3 AND kind = ?4 ORDER BY label",
    )?;
    let rows = select.query_map(params![app.0, device.0, Life::ON, AsCode(kind)], |row| {
        row.get::<_, String>(0)
    })?;
    rows.map(|row| stored(&row?)).collect()
}

/// The end of the last that ended up to this id of the clock; 0 when none has.
pub(crate) fn ended_until(
    sql: &Connection,
    app: AppId,
    device: DeviceId,
    at: i64,
) -> Result<i64, StoreError> {
    let mut select = sql.prepare_cached(
        "SELECT until FROM labels INDEXED BY labels_by_device WHERE app = ?1 AND device = ?2 AND until <= ?3
         ORDER BY until DESC LIMIT 1",
    )?;
    let last = select.query_row(params![app.0, device.0, at], |row| row.get(0));
    Ok(last.optional()?.unwrap_or(0))
}

/// Those that a device has, and had after this id of the clock.
pub(crate) fn lives<T>(
    sql: &Connection,
    app: AppId,
    device: DeviceId,
    kind: Kind,
    after: i64,
) -> Result<Vec<(T, Life)>, StoreError>
where
    T: FromStr<Err: Display>,
{
    let mut select = sql.prepare_cached(
        "SELECT label, since, until FROM labels INDEXED BY labels_by_device
         WHERE app = ?1 AND device = ?2 AND kind = ?3 AND until > ?4",
    )?;
    let place = params![app.0, device.0, AsCode(kind), after];
    let rows = select.query_map(place, |row| {
        let (since, until) = (row.get(1)?, row.get(2)?);
        Ok((row.get::<_, String>(0)?, Life { since, until }))
    })?;
    let lives = rows.map(|row| {
        let (label, life) = row?;
        Ok((stored(&label)?, life))
    });
    let mut lives = lives.collect::<Result<Vec<_>, StoreError>>()?;
    lives.shrink_to_fit();
    Ok(lives)
}

fn stored<T: FromStr<Err: Display>>(text: &str) -> Result<T, StoreError> {
    text.parse()
        .map_err(|error| StoreError::Stored(format!("{text:?} {error}")))
}
