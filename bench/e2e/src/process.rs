//! The processes under measurement.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use bench_apns::report::{cpu_seconds, peak_mib};

/// A `tidings` process. Killed when dropped.
pub(crate) struct Process {
    child: Child,
    /// What its `ready` line says.
    pub(crate) ready: HashMap<String, String>,
}

impl Process {
    pub(crate) fn start(binary: &Path, args: &[&str]) -> Result<Self> {
        let mut child = Command::new(binary)
            .args(args)
            .env("TIDINGS_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no stdout")?).read_line(&mut line)?;
        let mut words = line.trim().split(' ');
        ensure!(words.next() == Some("ready"), "not ready: {line:?}");
        let ready = words
            .filter_map(|word| word.split_once('='))
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        Ok(Self { child, ready })
    }

    /// CPU seconds so far, of all threads, in user and kernel mode (proc(5)).
    pub(crate) fn cpu_secs(&self) -> Result<f64> {
        cpu_seconds(&self.child.id().to_string())
    }

    /// The most memory so far, in MiB.
    pub(crate) fn memory_peak_mib(&self) -> Result<f64> {
        peak_mib(&self.child.id().to_string()).context("it has ended")
    }

    pub(crate) fn terminate(mut self) -> Result<()> {
        let pid = self.child.id().to_string();
        ensure!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()?
                .success(),
            "kill failed"
        );
        ensure!(self.child.wait()?.success(), "it did not end well");
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The soft limit of descriptors.
pub(crate) fn descriptors_max() -> Result<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .context("no limit")?;
    Ok(line
        .split_whitespace()
        .next()
        .context("no limit")?
        .parse()?)
}
