//! The senders as programs: how each is started, and what one run of it took.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use bench_apns::job::STREAMS;
use bench_apns::job::{KEY_ID, TEAM_ID, TEXT, TOPIC};
use bench_apns::report::{Report, cpu_seconds, has_ended, peak_mib};

/// How often the memory of a sender is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// The floor that all ratios are to.
    Bare,
    H2load,
    /// On one thread.
    Tidings,
    TidingsThreads,
    A2,
    NodeApn,
    Aioapns,
}

/// Where the programs are.
#[derive(Debug)]
pub(crate) struct Places {
    /// Where the sink leaves its certificate and key.
    pub(crate) dir: PathBuf,
    pub(crate) port: u16,
    pub(crate) a2: Option<PathBuf>,
    /// Scripts that send with the libraries in `clients`.
    pub(crate) peers: PathBuf,
    /// A Python venv and node_modules.
    pub(crate) clients: PathBuf,
}

/// One run of a sender.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) count: usize,
    pub(crate) report: Report,
    pub(crate) peak_mib: f64,
}

impl Sender {
    pub(crate) const ALL: [Self; 7] = [
        Self::Bare,
        Self::H2load,
        Self::Tidings,
        Self::TidingsThreads,
        Self::A2,
        Self::NodeApn,
        Self::Aioapns,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare h2 loop",
            Self::H2load => "h2load",
            Self::Tidings => "tidings",
            Self::TidingsThreads => "tidings, 2 threads",
            Self::A2 => "a2",
            Self::NodeApn => "node-apn",
            Self::Aioapns => "aioapns",
        }
    }

    /// How many to send in the first run, from which the count of the others is made.
    pub(crate) fn first_count(self) -> usize {
        self.count_min() / 5
    }

    /// Fewer than this would show what a start costs rather than what a notification does.
    pub(crate) fn count_min(self) -> usize {
        match self {
            Self::Aioapns | Self::NodeApn => 10_000,
            _ => 200_000,
        }
    }

    /// Whether it can send over so many connections.
    pub(crate) fn takes(self, connections: usize) -> bool {
        self != Self::Bare || connections == 1
    }

    /// Runs it once and waits for its end.
    pub(crate) fn run(self, places: &Places, count: usize, connections: usize) -> Result<Run> {
        let mut command = self.command(places, count, connections)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{}: cannot start {command:?}", self.name()))?;
        let (output, cpu_seconds, peak_mib) =
            watch(child).with_context(|| format!("{}: {count} over {connections}", self.name()))?;
        let report = match self {
            Self::H2load => h2load_report(&output, count, cpu_seconds)?,
            _ => serde_json::from_str(&output).with_context(|| format!("{output:?}"))?,
        };
        Ok(Run {
            count,
            report,
            peak_mib,
        })
    }

    fn command(self, places: &Places, count: usize, connections: usize) -> Result<Command> {
        let (port, count) = (places.port.to_string(), count.to_string());
        let connections = connections.to_string();
        let command = match self {
            Self::Bare | Self::Tidings | Self::TidingsThreads => {
                let name = if self == Self::Bare {
                    "bare"
                } else {
                    "tidings"
                };
                let threads = if self == Self::TidingsThreads {
                    "2"
                } else {
                    "1"
                };
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["send", name, "--port", &port, "--count", &count]);
                command.args(["--connections", &connections, "--threads", threads]);
                command.arg("--dir").arg(&places.dir);
                command
            }
            Self::A2 => {
                let mut command = Command::new(places.a2.as_ref().context("a2 was not built")?);
                command.arg(&places.dir).args([&count, &connections]);
                command.args([TOPIC, TEXT, KEY_ID, TEAM_ID]);
                command.env("BENCH_CA", places.dir.join("ca.pem"));
                command
            }
            Self::Aioapns | Self::NodeApn => {
                let (program, script) = match self {
                    Self::Aioapns => (places.clients.join("venv/bin/python"), "aioapns_bulk.py"),
                    _ => ("node".into(), "node-apn_bulk.js"),
                };
                let mut command = Command::new(program);
                command.env("NODE_PATH", places.clients.join("node_modules"));
                command.arg(places.peers.join(script)).arg(&places.dir);
                command.args([&port, &count, &connections]);
                command.args([TOPIC, TEXT, KEY_ID, TEAM_ID]);
                command
            }
            Self::H2load => {
                let body = places.dir.join("body.json");
                std::fs::write(&body, format!(r#"{{"aps":{{"alert":"{TEXT}"}}}}"#))?;
                let mut command = Command::new("h2load");
                command.args(["-n", &count, "-c", &connections, "-t", "1"]);
                command.args(["-m", &STREAMS.to_string(), "-d"]).arg(body);
                command.args(["-H", &format!("apns-topic: {TOPIC}")]);
                command.args(["-H", "apns-push-type: alert", "-H", "apns-priority: 10"]);
                command.args(["-H", "apns-id: 00000000-0000-0000-0000-000000000001"]);
                command.arg(format!("https://localhost:{port}/3/device/{:064x}", 1));
                command
            }
        };
        Ok(command)
    }
}

/// Reads the output of `child`, and its CPU time and peak memory in MiB before they are gone.
fn watch(mut child: Child) -> Result<(String, f64, f64)> {
    let process = child.id().to_string();
    let mut output = child.stdout.take().context("its output")?;
    let (told, telling) = mpsc::channel();
    let (_open, pause) = mpsc::channel::<()>();
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        let read = output.read_to_string(&mut text).map(|_| text);
        // Nobody listens only when watching has failed.
        let _ = told.send(read);
    });
    let mut peak: f64 = 0.0;
    let text = loop {
        peak = peak.max(peak_mib(&process).unwrap_or(0.0));
        match telling.recv_timeout(LOOK_EVERY) {
            Ok(text) => break text?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break String::new(),
        }
    };
    // Its times stay readable until it is waited for.
    while !has_ended(&process)? {
        let _ = pause.recv_timeout(Duration::from_millis(1));
    }
    let cpu = cpu_seconds(&process)?;
    let status = child.wait()?;
    let _ = reading.join();
    ensure!(status.success(), "{status}");
    Ok((text, cpu, peak))
}

/// From `finished in 1.23s, …` and `requests: … N succeeded`.
fn h2load_report(output: &str, count: usize, cpu_seconds: f64) -> Result<Report> {
    ensure!(
        output.contains(&format!(" {count} succeeded")),
        "h2load: not all succeeded: {output}"
    );
    let seconds = output
        .lines()
        .find_map(|line| line.strip_prefix("finished in "))
        .and_then(|rest| rest.split(',').next())
        .and_then(seconds_of)
        .with_context(|| format!("h2load: no time in {output:?}"))?;
    Ok(Report {
        seconds,
        cpu_seconds,
        p50_ms: None,
        p99_ms: None,
    })
}

/// `950.12ms` or `1.23s`.
fn seconds_of(text: &str) -> Option<f64> {
    for (unit, per_second) in [("us", 1e6), ("ms", 1e3), ("s", 1.0)] {
        if let Some(Ok(number)) = text.strip_suffix(unit).map(str::parse::<f64>) {
            return Some(number / per_second);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h2load_tells_seconds_in_its_own_units() {
        for (text, expected) in [
            ("1.50s", Some(1.5)),
            ("250.00ms", Some(0.25)),
            ("10us", Some(1e-5)),
            ("soon", None),
        ] {
            assert_eq!(seconds_of(text), expected, "{text}");
        }
    }

    #[test]
    fn a_failed_request_fails_the_run() {
        let text = "finished in 1.50s, 66 req/s\nrequests: 100 total, 100 done, 99 succeeded\n";
        assert!(h2load_report(text, 100, 1.0).is_err());
        assert!(h2load_report(text, 99, 1.0).is_ok());
    }
}
