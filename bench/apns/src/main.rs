//! What a push costs: Tidings' APNs sender beside other senders and beside the floor, all against one sink.

mod compare;
mod sender;
mod sink;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};

use bench_apns::job::Job;
use bench_apns::report::Stopwatch;
use bench_apns::{bare, ours};

#[derive(Parser)]
#[command(about = "Measures APNs senders against one sink")]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Runs all senders, one after the other, and prints the table.
    Compare(compare::Options),
    /// Answers every request, until its input ends.
    Sink {
        #[arg(long)]
        dir: PathBuf,
        #[arg(long)]
        port: u16,
        #[arg(long, default_value_t = 0)]
        delay_ms: u64,
    },
    /// Sends from this process and reports on itself.
    Send {
        sender: Ours,
        #[arg(long)]
        dir: PathBuf,
        #[arg(long)]
        port: u16,
        #[arg(long)]
        count: usize,
        #[arg(long, default_value_t = 1)]
        connections: usize,
        /// Worker threads of the runtime; 1 runs everything on the main thread.
        #[arg(long, default_value_t = 1)]
        threads: usize,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Ours {
    Bare,
    Tidings,
}

fn main() -> Result<()> {
    match Args::parse().verb {
        Verb::Compare(options) => compare::run(&options),
        Verb::Sink {
            dir,
            port,
            delay_ms,
        } => runtime(1)?.block_on(sink::run(&dir, port, Duration::from_millis(delay_ms))),
        Verb::Send {
            sender,
            dir,
            port,
            count,
            connections,
            threads,
        } => {
            let job = Job::read(&dir, port, count, connections)?;
            let report = runtime(threads)?.block_on(async {
                match sender {
                    Ours::Bare => {
                        // As for all senders, connecting is measured too.
                        let stopwatch = Stopwatch::start()?;
                        bare::send(&job, bare::connect(&job).await?, stopwatch).await
                    }
                    Ours::Tidings => ours::run(&job).await,
                }
            })?;
            report.print()
        }
    }
}

fn runtime(threads: usize) -> std::io::Result<tokio::runtime::Runtime> {
    match threads {
        1 => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build(),
        _ => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build(),
    }
}
