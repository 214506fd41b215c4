//! All senders, delays and numbers of connections, one after the other.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::sender::{Places, Run, Sender};
use crate::table::{self, Row};
use bench_apns::report::cpu_seconds;

#[derive(Args)]
pub(crate) struct Options {
    /// Where certificate and key are left meanwhile.
    #[arg(long)]
    dir: PathBuf,
    /// The sink's; a2 is built with it.
    #[arg(long)]
    port: u16,
    /// The program that sends with a2; without it a2 is left out, and the table says so.
    #[arg(long)]
    a2: Option<PathBuf>,
    /// The scripts that send with Python and JavaScript.
    #[arg(long)]
    peers: PathBuf,
    /// A Python venv and node_modules, as tests/clients/setup.sh makes them.
    #[arg(long)]
    clients: PathBuf,
    /// Seconds that a run is to take at least, more or less.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Runs of each sender, of which the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    #[arg(long, value_delimiter = ',', default_value = "0,50")]
    delays: Vec<u64>,
    #[arg(long, value_delimiter = ',', default_value = "1,4")]
    connections: Vec<usize>,
    /// Writes the figures there too.
    #[arg(long)]
    json: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(options.rounds > 0, "rounds: 0; expected at least 1");
    fs::create_dir_all(&options.dir)?;
    let places = Places {
        dir: options.dir.clone(),
        port: options.port,
        a2: options.a2.clone(),
        peers: options.peers.clone(),
        clients: options.clients.clone(),
    };
    let mut rows = Vec::new();
    for &delay_ms in &options.delays {
        let sink = Sink::start(&options.dir, options.port, delay_ms)?;
        for &connections in &options.connections {
            measure(options, &places, &sink, delay_ms, connections, &mut rows)?;
        }
        sink.stop()?;
    }
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_string_pretty(&rows)?)?;
    }
    table::print(&rows, options.a2.is_some())
}

/// The senders take turns, so that what else the machine does meets all of them.
fn measure(
    options: &Options,
    places: &Places,
    sink: &Sink,
    delay_ms: u64,
    connections: usize,
    rows: &mut Vec<Row>,
) -> Result<()> {
    let mut entries = Vec::new();
    for sender in Sender::ALL {
        if !sender.takes(connections) || (sender == Sender::A2 && places.a2.is_none()) {
            continue;
        }
        let first = sender.run(places, sender.first_count(), connections)?;
        let rate = first.count as f64 / first.report.seconds;
        let count = ((rate * options.seconds) as usize).max(sender.count_min());
        entries.push((sender, count, Vec::new()));
    }
    for _ in 0..options.rounds {
        for (sender, count, runs) in &mut entries {
            let before = sink.cpu_seconds()?;
            let run: Run = sender.run(places, *count, connections)?;
            runs.push((run, sink.cpu_seconds()? - before));
        }
    }
    for (sender, _, runs) in entries {
        rows.push(Row::median_of(sender, delay_ms, connections, runs));
        eprintln!("{delay_ms} ms, {connections}: {}", sender.name());
    }
    Ok(())
}

/// The sink, in a process of its own.
struct Sink(Child);

impl Sink {
    fn start(dir: &Path, port: u16, delay_ms: u64) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["sink", "--port", &port.to_string()])
            .args(["--delay-ms", &delay_ms.to_string(), "--dir"])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("its output")?).read_line(&mut line)?;
        ensure!(line.trim() == "ready", "the sink did not start");
        Ok(Self(child))
    }

    fn cpu_seconds(&self) -> Result<f64> {
        cpu_seconds(&self.0.id().to_string())
    }

    /// The end of its input ends it.
    fn stop(mut self) -> Result<()> {
        drop(self.0.stdin.take());
        ensure!(self.0.wait()?.success(), "the sink failed");
        Ok(())
    }
}
