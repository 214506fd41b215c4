//! Pushes through the whole server: `bench/e2e/run`. What the figures mean is in bench/README.md.

mod backend;
mod deliveries;
mod figures;
mod iphones;
mod makers;
mod mixed;
mod phones;
mod process;
mod registry;
mod returns;
mod senders;
mod singles;
mod stage;
mod waiting;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};

use stage::Stage;

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    push: Push,
    /// Where to write the figures as JSON
    #[arg(long, global = true)]
    json: Option<PathBuf>,
    /// The server's binary
    #[arg(long, global = true, default_value = "target/release/tidings")]
    server: PathBuf,
}

#[derive(Subcommand)]
enum Push {
    /// To iPhones alone, beside senders that have no server
    Iphones {
        #[arg(long, default_value_t = 1_000_000)]
        devices: usize,
    },
    /// To the phones of a maker, in batches, beside the sender that has no server
    Makers {
        #[arg(long, value_enum)]
        maker: makers::Maker,
        #[arg(long, default_value_t = 1_000_000)]
        devices: usize,
    },
    /// Half to iPhones and half to devices on the link
    Mixed {
        #[arg(long, default_value_t = 100_000)]
        devices: usize,
    },
    /// Calls, pushes and deletions in a large registry
    Registry {
        #[arg(long, default_value_t = 1_000_000)]
        devices: usize,
        /// Of the app that is deleted meanwhile
        #[arg(long, default_value_t = 300_000)]
        others: usize,
    },
    /// Devices that come back to a log that was not for them, and news that are for one of many
    Returns {
        #[arg(long, default_value_t = 100_000)]
        logged: usize,
        #[arg(long, default_value_t = 8_000)]
        connected: usize,
    },
    /// Single pushes, alone and during a broadcast
    Singles {
        #[arg(long, default_value_t = 1_000_000)]
        devices: usize,
    },
    /// A broadcast in which one answer of a hundred says to come again in an hour
    Waiting {
        #[arg(long, default_value_t = 300_000)]
        devices: usize,
    },
}

fn main() -> Result<()> {
    let args = Args::parse();
    let stage = Stage::set(&args.server)?;
    let report = match args.push {
        Push::Iphones { devices } => iphones::measure(stage, devices)?,
        Push::Makers { maker, devices } => makers::measure(stage, maker, devices)?,
        Push::Mixed { devices } => mixed::measure(stage, devices)?,
        Push::Registry { devices, others } => registry::measure(stage, devices, others)?,
        Push::Returns { logged, connected } => returns::measure(stage, logged, connected)?,
        Push::Singles { devices } => singles::measure(stage, devices)?,
        Push::Waiting { devices } => waiting::measure(stage, devices)?,
    };
    for (name, value) in report.as_object().context("a report")? {
        println!("{name:<42} {value}");
    }
    if let Some(path) = &args.json {
        std::fs::write(path, report.to_string())?;
    }
    let wrong = ["lost", "doubled", "counts_off_by"]
        .into_iter()
        .find(|name| report[name] != 0);
    if let Some(wrong) = wrong {
        bail!("{wrong} is not 0");
    }
    Ok(())
}
