//! What back ends call devices by, tags and aliases, each with its life.

use std::collections::HashSet;
use std::fmt::Display;
use std::str::FromStr;

use rusqlite::{Connection, params};
use tidings_model::{AppId, DeviceId, Life};

use crate::StoreError;
use crate::codes::{AsCode, codes};
use crate::devices::{Place, forget_lives, forget_unseen};
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
    let Place { app, at, device } = place;
    let mut insert = sql.prepare_cached(
        "INSERT INTO labels (app, kind, label, device, since, until) SELECT ?1, ?2, ?3, ?4, ?5, ?6
         WHERE NOT EXISTS (SELECT 1 FROM labels WHERE app = ?1 AND kind = ?2 AND label = ?3 AND device = ?4 AND until = ?6)",
    )?;
    let removed: HashSet<&str> = remove.iter().copied().collect();
    for label in add.iter().filter(|label| !removed.contains(*label)) {
        insert.execute(params![app.0, AsCode(kind), label, device.0, at, Life::ON])?;
    }
    let mut end = sql.prepare_cached(
        "UPDATE labels SET until = ?5 WHERE app = ?1 AND kind = ?2 AND label = ?3 AND device = ?4 AND until = ?6",
    )?;
    let mut ended = 0;
    for label in remove {
        ended += end.execute(params![app.0, AsCode(kind), label, device.0, at, Life::ON])?;
    }
    if ended > 0 {
        forget_unseen(sql, place, "labels")?;
        forget_lives(sql, place, "labels", ENDED_LABELS_MAX)?;
    }
    Ok(())
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
    edit(sql, place, kind, &new, &gone)
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

/// Those that a device has and had.
pub(crate) fn lives<T>(
    sql: &Connection,
    app: AppId,
    device: DeviceId,
    kind: Kind,
) -> Result<Vec<(T, Life)>, StoreError>
where
    T: FromStr<Err: Display>,
{
    let mut select = sql.prepare_cached(
        "SELECT label, since, until FROM labels INDEXED BY labels_by_device WHERE app = ?1 AND device = ?2 AND kind = ?3",
    )?;
    let rows = select.query_map(params![app.0, device.0, AsCode(kind)], |row| {
        let (since, until) = (row.get(1)?, row.get(2)?);
        Ok((row.get::<_, String>(0)?, Life { since, until }))
    })?;
    rows.map(|row| {
        let (label, life) = row?;
        Ok((stored(&label)?, life))
    })
    .collect()
}

fn stored<T: FromStr<Err: Display>>(text: &str) -> Result<T, StoreError> {
    text.parse()
        .map_err(|error| StoreError::Stored(format!("{text:?} {error}")))
}
