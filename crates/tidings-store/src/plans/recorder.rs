//! What the connections of one database really run: each text, and the most work that one run of it was.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use rusqlite::trace::{TraceEvent, TraceEventCodes};
use rusqlite::{Connection, StatementStatus};

/// What a run may take for each row that it returns, beside [`super::check::STEPS_MAX`].
pub(super) const STEPS_FOR_ROW: i64 = 150;

/// A run of a statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    /// How often it has been planned anew, up to this run.
    pub(super) planned: i64,
    pub(super) rows: i64,
    /// Operations of SQLite's machine, those of triggers and foreign keys included.
    pub(super) steps: i64,
}

impl Run {
    /// The steps that are not explained by the rows that came of them.
    pub(super) fn excess(self) -> i64 {
        self.steps - self.rows * STEPS_FOR_ROW
    }
}

/// By its text, the run of each statement with the greatest excess.
pub(super) type Seen = BTreeMap<String, Run>;

/// The recorders that connections look for, by the path of their database.
static RECORDERS: LazyLock<Mutex<HashMap<PathBuf, Recorder>>> = LazyLock::new(Mutex::default);

#[derive(Clone, Debug, Default)]
pub(super) struct Recorder(Arc<Mutex<Seen>>, Arc<AtomicI64>);

impl Recorder {
    /// Records all connections to `path` that are opened from now on.
    pub(super) fn of(path: &Path) -> Self {
        let recorder = Self::default();
        let mut recorders = RECORDERS.lock().unwrap_or_else(PoisonError::into_inner);
        recorders.insert(path.to_owned(), recorder.clone());
        recorder
    }

    pub(super) fn seen(&self) -> Seen {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// All steps of all runs until now.
    pub(super) fn total(&self) -> i64 {
        self.1.load(Ordering::SeqCst)
    }

    /// Records one connection.
    pub(super) fn listen(&self, sql: &mut Connection) -> rusqlite::Result<()> {
        let (seen, total) = (Arc::clone(&self.0), Arc::clone(&self.1));
        let mut running: HashMap<String, Run> = HashMap::new();
        let mask = TraceEventCodes::SQLITE_TRACE_STMT
            | TraceEventCodes::SQLITE_TRACE_ROW
            | TraceEventCodes::SQLITE_TRACE_PROFILE;
        let note = move |event: TraceEvent<'_>| match event {
            TraceEvent::Stmt(statement, _) => {
                // The counter goes on from run to run; a foreign key's action tells of its statement once more.
                let steps = i64::from(statement.get_status(StatementStatus::VmStep));
                running.entry(statement.sql().into_owned()).or_insert(Run {
                    planned: 0,
                    rows: 0,
                    steps,
                });
            }
            TraceEvent::Row(statement) => {
                if let Some(run) = running.get_mut(&*statement.sql()) {
                    run.rows += 1;
                }
            }
            TraceEvent::Profile(statement, _) => {
                let text = statement.sql().into_owned();
                let steps = i64::from(statement.get_status(StatementStatus::VmStep));
                let Some(begun) = running.remove(&text) else {
                    return;
                };
                let run = Run {
                    planned: i64::from(statement.get_status(StatementStatus::RePrepare)),
                    rows: begun.rows,
                    steps: steps - begun.steps,
                };
                total.fetch_add(run.steps, Ordering::SeqCst);
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                let worst = seen.entry(text).or_insert(run);
                let planned = worst.planned.max(run.planned);
                if run.excess() > worst.excess() {
                    *worst = run;
                }
                worst.planned = planned;
            }
            _ => {}
        };
        sql.trace_v2(mask, Some(note))
    }
}

/// Has a connection recorded when its database is.
pub(crate) fn attach(path: &Path, sql: &mut Connection) -> rusqlite::Result<()> {
    let recorders = RECORDERS.lock().unwrap_or_else(PoisonError::into_inner);
    match recorders.get(path) {
        Some(recorder) => recorder.listen(sql),
        None => Ok(()),
    }
}
