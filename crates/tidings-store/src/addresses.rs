//! Where the devices of a page are reached now: by the channel that each had at the message's id, with the token that it
//! holds there today.

use rusqlite::{Connection, Row, params};
use tidings_model::{AppId, DeviceId, Environment, Life, MsgId, Provider, Reason, UnixMillis};

use crate::StoreError;
use crate::codes::AsCode;
use crate::members::Member;

/// Channels that a walk over a page's range may meet for each of its members: when it meets more, looking each up costs
/// less.
const MET_FOR_EACH: usize = 2;

/// Where a device is reached now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub device: DeviceId,
    /// Why the device no longer holds the channel by which it is a target; none while it holds it, and then the rest is of
    /// now.
    pub ended: Option<Reason>,
    pub environment: Option<Environment>,
    pub registered_at: UnixMillis,
    /// None on the link.
    pub token: Option<Box<str>>,
}

/// An address, as far as it is that of the message's id.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) address: Address,
    /// Its token names no environment, and that of the message's id named one: it is cut for another lane than it may be
    /// of.
    pub(crate) lost_name: bool,
}

/// For each of the members, which are in the order of their devices, its address; none of a device that is gone.
pub(crate) fn of(
    sql: &Connection,
    app: AppId,
    provider: Provider,
    at: MsgId,
    members: &[Member],
) -> Result<Vec<Option<Place>>, StoreError> {
    let mut found = Found {
        addresses: vec![None; members.len()],
        members,
        place: 0,
    };
    if members.len() > 8 {
        walk(sql, app, provider, at, &mut found)?;
    }
    look_up(sql, app, provider, at, &mut found)?;
    let places = found.addresses.into_iter().map(|address| {
        address
            .map(|address| place(sql, app, provider, address))
            .transpose()
    });
    places.collect()
}

struct Found<'a> {
    addresses: Vec<Option<Address>>,
    members: &'a [Member],
    /// Those before have been looked for.
    place: usize,
}

const COLUMNS: &str = "c.device, c.environment, c.registered_at, c.token, c.ended";

/// A channel that was read as [`COLUMNS`].
fn address(row: &Row<'_>, device: DeviceId) -> rusqlite::Result<Address> {
    Ok(Address {
        device,
        ended: row
            .get::<_, Option<String>>(4)?
            .map(|reason| Reason::heard(&reason)),
        environment: row.get::<_, AsCode<Option<Environment>>>(1)?.0,
        registered_at: UnixMillis(row.get(2)?),
        token: row.get::<_, Option<Box<str>>>(3)?,
    })
}

impl Found<'_> {
    /// Takes a channel, which come in the order of their devices, if it is a member's.
    fn take(&mut self, row: &Row<'_>) -> rusqlite::Result<()> {
        let device = row.get(0).map(DeviceId)?;
        while let Some(member) = self.members.get(self.place)
            && member.device < device
        {
            self.place += 1;
        }
        if self.members.get(self.place).map(|member| member.device) == Some(device) {
            self.addresses[self.place] = Some(address(row, device)?);
            self.place += 1;
        }
        Ok(())
    }
}

/// Meets the channels of the range, as long as most of them are members'.
fn walk(
    sql: &Connection,
    app: AppId,
    provider: Provider,
    at: MsgId,
    found: &mut Found<'_>,
) -> Result<(), StoreError> {
    let (Some(first), Some(last)) = (found.members.first(), found.members.last()) else {
        return Ok(());
    };
    let mut select = sql.prepare_cached(&format!(
        "SELECT {} FROM channels AS c
         WHERE c.app = ?1 AND c.provider = ?2 AND c.device >= ?4 AND c.device <= ?5 AND c.since < ?3 AND c.until > ?3
         ORDER BY c.device LIMIT ?6",
        COLUMNS
    ))?;
    let met_max = found.members.len() * MET_FOR_EACH;
    let mut rows = select.query(params![
        app.0,
        AsCode(provider),
        at.0,
        first.device.0,
        last.device.0,
        met_max
    ])?;
    let mut met = 0;
    while let Some(row) = rows.next()? {
        met += 1;
        found.take(row)?;
    }
    if met < met_max {
        found.place = found.members.len();
    }
    Ok(())
}

/// Looks each up that has not been met.
fn look_up(
    sql: &Connection,
    app: AppId,
    provider: Provider,
    at: MsgId,
    found: &mut Found<'_>,
) -> Result<(), StoreError> {
    let left: Vec<DeviceId> = found.members[found.place..]
        .iter()
        .map(|member| member.device)
        .collect();
    if left.is_empty() {
        return Ok(());
    }
    let left = serde_json::Value::from_iter(left.iter().map(|device| device.0)).to_string();
    let mut select = sql.prepare_cached(&format!(
        "SELECT {} FROM json_each(?4) AS w CROSS JOIN channels AS c
         WHERE c.app = ?1 AND c.provider = ?2 AND c.device = w.value AND c.since < ?3 AND c.until > ?3",
        COLUMNS
    ))?;
    let mut rows = select.query(params![app.0, AsCode(provider), at.0, left])?;
    while let Some(row) = rows.next()? {
        found.take(row)?;
    }
    Ok(())
}

/// The address of a device by its channel. One that has ended and that the device has again: what it holds now is the
/// address.
fn place(
    sql: &Connection,
    app: AppId,
    provider: Provider,
    mut address: Address,
) -> Result<Place, StoreError> {
    let was_named = address.environment.is_some();
    if address.ended.is_some() {
        find_again(sql, app, provider, &mut address)?;
    }
    Ok(Place {
        lost_name: address.ended.is_none() && was_named && address.environment.is_none(),
        address,
    })
}

fn find_again(
    sql: &Connection,
    app: AppId,
    provider: Provider,
    address: &mut Address,
) -> Result<(), StoreError> {
    let mut select = sql.prepare_cached(
        "SELECT environment, registered_at, token FROM channels INDEXED BY channels_by_device
         WHERE app = ?1 AND device = ?2 AND until = ?3 AND provider = ?4",
    )?;
    let place = params![app.0, address.device.0, Life::ON, AsCode(provider)];
    let mut rows = select.query(place)?;
    if let Some(row) = rows.next()? {
        address.ended = None;
        address.environment = row.get::<_, AsCode<Option<Environment>>>(0)?.0;
        address.registered_at = UnixMillis(row.get(1)?);
        address.token = row.get(2)?;
    }
    Ok(())
}
