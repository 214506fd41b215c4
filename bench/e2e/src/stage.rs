//! A server and the simulated Apple, each in a process of its own.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::backend::{Backend, call};
use crate::process::Process;

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(600);
/// Between two looks at how far a push is: seldom enough to cost the server nothing that shows.
const POLL: Duration = Duration::from_millis(20);

pub(crate) struct Stage {
    pub(crate) admin: String,
    pub(crate) backend: Backend,
    /// The simulated Apple's control port.
    pub(crate) control: String,
    data: TempDir,
    pub(crate) sandbox: Process,
    pub(crate) server: Process,
}

impl Stage {
    pub(crate) fn set(binary: &Path) -> Result<Self> {
        let data = tempfile::tempdir()?;
        let sandbox = Process::start(binary, &["sandbox"])?;
        let control = sandbox.ready["control"].clone();
        let with_sandbox = format!("--sandbox={control}");
        let path = data.path().to_str().context("a path")?;
        let serve = [
            "serve",
            "--data",
            path,
            "--api",
            "127.0.0.1:0",
            "--link",
            "127.0.0.1:0",
            &with_sandbox,
        ];
        let server = Process::start(binary, &serve)?;
        let admin = std::fs::read_to_string(data.path().join("admin.token"))?;
        let admin = admin.trim().to_owned();
        let backend = Backend::new(&server.ready["api"], &admin)?;
        Ok(Self {
            admin,
            backend,
            control,
            data,
            sandbox,
            server,
        })
    }

    /// Registers iPhones with the tokens 0 to `count`.
    pub(crate) fn register_iphones(&self, count: usize) -> Result<()> {
        let token = |number: usize| json!({"provider": "apns", "token": format!("{number:064x}")});
        self.backend.register("ios", count, token).map(drop)
    }

    /// Sets the app's credential for a provider.
    pub(crate) fn set_credential(&self, provider: &str, credential: &Value) -> Result<()> {
        let path = format!("/v1/apps/{}/credentials/{provider}", self.backend.app_key);
        self.backend.put_as(&self.admin, &path, credential)
    }

    /// Has the simulated Apple behave so from now on.
    pub(crate) fn fault(&self, fault: &Value) -> Result<()> {
        let url = format!("{}/v1/sandbox/faults", self.control);
        call(
            &ureq::Agent::new_with_defaults(),
            "POST",
            &url,
            "",
            Some(fault),
        )
        .map(drop)
    }

    /// Ends all faults.
    pub(crate) fn heal(&self) -> Result<()> {
        let url = format!("{}/v1/sandbox/faults", self.control);
        call(&ureq::Agent::new_with_defaults(), "DELETE", &url, "", None).map(drop)
    }

    /// How many commits of a few bytes, each with its sync, this disk takes in a second: no server commits more often.
    pub(crate) fn syncs_per_sec(&self) -> Result<f64> {
        const SYNCS: u32 = 500;
        let path = self.data.path().join("floor");
        let mut file = std::fs::File::create(&path)?;
        let start = Instant::now();
        for _ in 0..SYNCS {
            file.write_all(&[0; 4096])?;
            file.sync_data()?;
        }
        let secs = start.elapsed().as_secs_f64();
        std::fs::remove_file(path)?;
        Ok(f64::from(SYNCS) / secs)
    }

    /// A number that a query of the server's database gives.
    pub(crate) fn stored(&self, query: &str) -> Result<i64> {
        let sql = rusqlite::Connection::open_with_flags(
            self.data.path().join("tidings.db"),
            rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
        )?;
        Ok(sql.query_row(query, [], |row| row.get(0))?)
    }

    /// Bytes in the database, to the byte: pages that are only begun count for what is in them.
    pub(crate) fn stored_bytes(&self) -> Result<i64> {
        self.stored("SELECT sum(pgsize - unused) FROM dbstat WHERE aggregate = TRUE")
    }
}

/// Asks until it is so.
pub(crate) fn wait(what: &str, mut ask: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !ask()? {
        ensure!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        pause(POLL);
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "this thread has nothing else to do"
)]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
