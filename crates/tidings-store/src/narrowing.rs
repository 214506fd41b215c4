//! Whether a device had one of some labels at a message's id, and what it cost to find out.

use std::collections::HashSet;

use rusqlite::{Connection, params};
use tidings_model::{AppId, DeviceId, Life, MsgId};

use crate::StoreError;
use crate::codes::AsCode;
use crate::labels::Kind;

/// A device is looked for under each of so many labels. Where there are more, what it had is read and compared: most have few.
pub(crate) const LABELS_ASKED: usize = 32;

/// A list that narrows what another list gives.
pub(crate) struct Narrowing {
    kind: Kind,
    labels: Vec<String>,
    /// The labels once more, where there are many.
    set: HashSet<String>,
}

impl Narrowing {
    pub(crate) fn of(kind: Kind, labels: Vec<String>) -> Self {
        let set = match labels.len() > LABELS_ASKED {
            true => labels.iter().cloned().collect(),
            false => HashSet::new(),
        };
        Self { kind, labels, set }
    }

    /// Whether a device had one of the labels; takes from `looks` a search or row each.
    pub(crate) fn holds(
        &self,
        sql: &Connection,
        (app, at): (AppId, MsgId),
        device: DeviceId,
        looks: &mut usize,
    ) -> Result<bool, StoreError> {
        let mut look = || *looks = looks.saturating_sub(1);
        if self.set.is_empty() {
            let mut select = sql.prepare_cached(
                "SELECT since, until FROM labels WHERE app = ?1 AND kind = ?2 AND label = ?3 AND device = ?4",
            )?;
            for label in &self.labels {
                look();
                let mut rows = select.query(params![app.0, AsCode(self.kind), label, device.0])?;
                while let Some(row) = rows.next()? {
                    look();
                    let (since, until) = (row.get(0)?, row.get(1)?);
                    if (Life { since, until }).holds_at(at) {
                        return Ok(true);
                    }
                }
            }
            return Ok(false);
        }
        look();
        let mut select = sql.prepare_cached(
            "SELECT kind, label, since FROM labels INDEXED BY labels_by_device WHERE app = ?1 AND device = ?2 AND until > ?3",
        )?;
        let mut rows = select.query(params![app.0, device.0, at.0])?;
        while let Some(row) = rows.next()? {
            look();
            let AsCode(kind) = row.get::<_, AsCode<Kind>>(0)?;
            let label = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
            if kind == self.kind && row.get::<_, i64>(2)? < at.0 && self.set.contains(label) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
