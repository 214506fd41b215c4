//! The devices of one of a selection's lists, the one that costs least to go by, in order.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use rusqlite::{Connection, params};
use tidings_model::{AppId, DeviceId, Life, MsgId, Selection};

use crate::StoreError;
use crate::codes::AsCode;
use crate::labels::Kind;
use crate::limits::{PAGE_MAX, SIZES_MAX};
use crate::narrowing::LABELS_ASKED;

/// Rows read of one label at a time, at least, once its first ones are used up: what a page needs is spread over the labels.
const RUN_MIN: usize = 16;

/// Some candidates.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Those that had a label then, each once, in order.
    pub(crate) devices: Vec<i64>,
    /// What was read, lives that had ended among it, or not begun.
    pub(crate) read: usize,
    /// Everyone up to this one has been; none when there are no more.
    pub(crate) reached: Option<i64>,
}

/// Candidates with `after` < id <= `last`, in order.
pub(crate) struct Candidates {
    app: AppId,
    at: MsgId,
    driver: Driver,
    last: DeviceId,
}

enum Driver {
    Aliases(Merge),
    Devices(VecDeque<i64>),
    Tags(Merge),
}

impl Candidates {
    /// The list that costs least to go by, as far as is seen when `look` rows of each are counted.
    pub(crate) fn of(
        sql: &Connection,
        (app, at): (AppId, MsgId),
        selection: &Selection,
        (after, last): (DeviceId, DeviceId),
        look: usize,
    ) -> Result<Self, StoreError> {
        let Selection {
            aliases,
            devices,
            tags,
        } = selection;
        let driver = if !devices.is_empty() {
            let named = devices.iter().map(|device| device.0);
            let mut named: Vec<i64> = named.filter(|id| after.0 < *id && *id <= last.0).collect();
            named.sort_unstable();
            named.dedup();
            Driver::Devices(named.into())
        } else {
            let aliases = Merge::of(Kind::Alias, aliases.iter().map(ToString::to_string), after);
            let tags = Merge::of(Kind::Tag, tags.iter().map(ToString::to_string), after);
            let by_tags = match (aliases.runs.len(), tags.runs.len()) {
                (0, _) => true,
                (_, 0) => false,
                // Each device of the one is looked for under the labels of the other.
                (a, t) => {
                    let (a, t) = (a.min(LABELS_ASKED), t.min(LABELS_ASKED));
                    let look = look.min(SIZES_MAX);
                    let by_tags = tags.size(sql, app, last, look)? * a;
                    by_tags < aliases.size(sql, app, last, look)? * t
                }
            };
            match by_tags {
                true => Driver::Tags(tags),
                false => Driver::Aliases(aliases),
            }
        };
        Ok(Self {
            app,
            at,
            driver,
            last,
        })
    }

    pub(crate) fn drives_aliases(&self) -> bool {
        matches!(self.driver, Driver::Aliases(_))
    }

    pub(crate) fn drives_tags(&self) -> bool {
        matches!(self.driver, Driver::Tags(_))
    }

    /// What comes of the next `wanted` rows, or of some more, so that no device comes in two parts.
    pub(crate) fn next(&mut self, sql: &Connection, wanted: usize) -> Result<Batch, StoreError> {
        let wanted = wanted.clamp(1, PAGE_MAX);
        match &mut self.driver {
            Driver::Devices(named) => {
                let count = wanted.min(named.len());
                let devices: Vec<i64> = named.drain(..count).collect();
                Ok(Batch {
                    read: count,
                    reached: devices.last().copied(),
                    devices,
                })
            }
            Driver::Aliases(merge) | Driver::Tags(merge) => {
                merge.next(sql, (self.app, self.at, self.last), wanted)
            }
        }
    }
}

/// The lists of several labels as one, in the order of the devices.
struct Merge {
    begun: bool,
    /// The head of each list that has one, the least first: the device, the list, and whether the device had the label then.
    heads: BinaryHeap<Reverse<(i64, usize, bool)>>,
    kind: Kind,
    runs: Vec<Run>,
}

/// The devices of one label, read some at a time.
struct Run {
    /// The device and the life that were read last.
    after: (i64, i64),
    label: String,
    /// The label has no more than what was read.
    read_all: bool,
    waiting: VecDeque<(i64, bool)>,
}

impl Merge {
    fn of(kind: Kind, labels: impl Iterator<Item = String>, after: DeviceId) -> Self {
        let mut labels: Vec<String> = labels.collect();
        labels.sort_unstable();
        labels.dedup();
        let run = |label| Run {
            after: (after.0, Life::ON),
            label,
            read_all: false,
            waiting: VecDeque::new(),
        };
        Self {
            begun: false,
            heads: BinaryHeap::new(),
            kind,
            runs: labels.into_iter().map(run).collect(),
        }
    }

    /// How many entries the lists have, counted up to `most`.
    fn size(
        &self,
        sql: &Connection,
        app: AppId,
        last: DeviceId,
        most: usize,
    ) -> Result<usize, StoreError> {
        let mut select = sql.prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM labels
             WHERE app = ?1 AND kind = ?2 AND label = ?3 AND device > ?4 AND device <= ?5 LIMIT ?6)",
        )?;
        let mut size = 0;
        for run in &self.runs {
            let place = params![
                app.0,
                AsCode(self.kind),
                run.label,
                run.after.0,
                last.0,
                most - size
            ];
            size += select.query_row(place, |row| row.get::<_, usize>(0))?;
            if size >= most {
                break;
            }
        }
        Ok(size)
    }

    fn next(
        &mut self,
        sql: &Connection,
        (app, at, last): (AppId, MsgId, DeviceId),
        wanted: usize,
    ) -> Result<Batch, StoreError> {
        let share = (2 * wanted / self.runs.len().max(1)).clamp(1, PAGE_MAX);
        let at_once = match self.begun {
            false => share,
            true => share.max(RUN_MIN.min(wanted)),
        };
        let mut select = sql.prepare_cached(
            "SELECT device, since, until FROM labels
             WHERE app = ?1 AND kind = ?2 AND label = ?3 AND (device, since) > (?4, ?5) AND device <= ?6
             ORDER BY device, since LIMIT ?7",
        )?;
        let kind = AsCode(self.kind);
        let mut advance = |run: &mut Run| -> Result<Option<(i64, bool)>, StoreError> {
            if run.waiting.is_empty() && !run.read_all {
                let (device, since) = run.after;
                let place = params![app.0, kind, run.label, device, since, last.0, at_once];
                let mut rows = select.query(place)?;
                while let Some(row) = rows.next()? {
                    let (device, since) = (row.get(0)?, row.get(1)?);
                    let until = row.get(2)?;
                    run.after = (device, since);
                    let held = (Life { since, until }).holds_at(at);
                    run.waiting.push_back((device, held));
                }
                run.read_all = run.waiting.len() < at_once;
            }
            Ok(run.waiting.pop_front())
        };
        if !self.begun {
            self.begun = true;
            for (number, run) in self.runs.iter_mut().enumerate() {
                if let Some((device, held)) = advance(run)? {
                    self.heads.push(Reverse((device, number, held)));
                }
            }
        }
        let mut batch = Batch::default();
        while let Some(Reverse((device, number, held))) = self.heads.peek().copied()
            && (batch.read < wanted || batch.reached == Some(device))
        {
            self.heads.pop();
            batch.read += 1;
            batch.reached = Some(device);
            // A device that has several of the labels comes once for each.
            if held && batch.devices.last() != Some(&device) {
                batch.devices.push(device);
            }
            if let Some((device, held)) = advance(&mut self.runs[number])? {
                self.heads.push(Reverse((device, number, held)));
            }
        }
        Ok(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_goes_by_the_list_that_costs_least() {
        let mut sql = Connection::open_in_memory().expect("opens");
        crate::schema::migrate(&mut sql).expect("migrated");
        let insert = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?3)
                      INSERT INTO labels SELECT 1, ?1, ?2, n, 0, 9223372036854775807 FROM n";
        for (kind, label, count) in [
            (Kind::Alias, "guest", 500),
            (Kind::Alias, "ann", 1),
            (Kind::Tag, "all", 500),
            (Kind::Tag, "rare", 3),
        ] {
            let labels = params![AsCode(kind), label, count];
            sql.execute(insert, labels).expect("inserted");
        }
        let others: Vec<String> = (0..400).map(|number| format!("user{number}")).collect();
        let mut many: Vec<&str> = others.iter().map(String::as_str).collect();
        many.push("ann");
        for (aliases, tags, by_tags) in [
            (vec!["guest"], vec!["rare"], true),
            (vec!["ann"], vec!["rare"], false),
            (vec!["ann"], vec!["all"], false),
            (vec!["guest"], vec![], false),
            (vec![], vec!["all"], true),
            // Three devices, each looked for under some hundred aliases, or one under one tag.
            (many, vec!["rare"], false),
        ] {
            let selection = Selection {
                aliases: aliases
                    .iter()
                    .map(|alias| alias.parse().expect("an alias"))
                    .collect(),
                devices: vec![],
                tags: tags.iter().map(|tag| tag.parse().expect("a tag")).collect(),
            };
            let all = (DeviceId(0), DeviceId(i64::MAX));
            let candidates = Candidates::of(&sql, (AppId(1), MsgId(1)), &selection, all, SIZES_MAX);
            let drives_tags = candidates.expect("read").drives_tags();
            assert_eq!(drives_tags, by_tags, "{selection:?}");
        }
    }
}
