//! What a sender tells of itself, one line of JSON on its output.

use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// One in so many deliveries has its time taken.
const SAMPLED: usize = 16;
/// Clock ticks a second in proc_pid_stat(5): USER_HZ, 100 on every Linux that we run on.
const TICKS: f64 = 100.0;

/// One run of one sender.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Report {
    /// From the first notification to the last answer, connecting included.
    pub seconds: f64,
    /// User and system time over the same span.
    pub cpu_seconds: f64,
    /// From handing a notification over to its answer, where the sender can tell.
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
}

/// Takes the time of a run of this process.
pub struct Stopwatch {
    started: Instant,
    cpu: f64,
}

impl Stopwatch {
    pub fn start() -> Result<Self> {
        Ok(Self {
            started: Instant::now(),
            cpu: cpu_seconds("self")?,
        })
    }

    pub fn stop(self, latencies: Latencies) -> Result<Report> {
        let seconds = self.started.elapsed().as_secs_f64();
        let mut taken = latencies.taken;
        taken.sort_unstable();
        let quantile = |part: f64| {
            let at = (taken.len().saturating_sub(1) as f64 * part) as usize;
            taken.get(at).map(|time| time.as_secs_f64() * 1e3)
        };
        Ok(Report {
            seconds,
            cpu_seconds: cpu_seconds("self")? - self.cpu,
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
        })
    }
}

/// Times of some of the deliveries, by their number.
pub struct Latencies {
    begun: Vec<Option<Instant>>,
    taken: Vec<Duration>,
}

impl Latencies {
    pub fn of(count: usize) -> Self {
        let samples = count.div_ceil(SAMPLED);
        Self {
            begun: vec![None; samples],
            taken: Vec::with_capacity(samples),
        }
    }

    pub fn is_sampled(number: usize) -> bool {
        number.is_multiple_of(SAMPLED)
    }

    pub fn begin(&mut self, number: usize) {
        if Self::is_sampled(number) {
            self.begun[number / SAMPLED] = Some(Instant::now());
        }
    }

    pub fn end(&mut self, number: usize) {
        if Self::is_sampled(number)
            && let Some(begun) = self.begun[number / SAMPLED].take()
        {
            self.taken.push(begun.elapsed());
        }
    }
}

impl Report {
    pub fn print(&self) -> Result<()> {
        writeln!(std::io::stdout(), "{}", serde_json::to_string(self)?)?;
        Ok(())
    }
}

/// User and system time of a process so far, also of one that has ended and was not waited for (proc_pid_stat(5)).
pub fn cpu_seconds(process: &str) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").context("no name in stat")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks = |at: usize| -> Result<f64> { Ok(fields.get(at).context("stat")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) / TICKS)
}

/// Whether a process has ended and only its record is left.
pub fn has_ended(process: &str) -> Result<bool> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").context("no name in stat")?;
    Ok(fields.starts_with('Z'))
}

/// Peak of the resident memory in MiB; none when it has ended (proc_pid_status(5)).
pub fn peak_mib(process: &str) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = peak.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1024.0)
}
