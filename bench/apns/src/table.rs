//! The figures, as rows and as a table in Markdown.

use std::io::Write;

use anyhow::Result;
use serde::Serialize;

use crate::sender::{Run, Sender};
use bench_apns::job::STREAMS;

#[derive(Debug, Serialize)]
pub(crate) struct Row {
    sender: &'static str,
    delay_ms: u64,
    connections: usize,
    notifications: usize,
    per_second: f64,
    /// Of the sender's process, for each 100,000 notifications.
    cpu_seconds: f64,
    /// The same for the sink: when it is the slower of the two, it bounds the rate.
    sink_cpu_seconds: f64,
    peak_mib: f64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
}

impl Row {
    /// Each figure is the median of its own.
    pub(crate) fn median_of(
        sender: Sender,
        delay_ms: u64,
        connections: usize,
        runs: Vec<(Run, f64)>,
    ) -> Self {
        let of = |figure: &dyn Fn(&(Run, f64)) -> f64| median(runs.iter().map(figure).collect());
        let maybe = |figure: &dyn Fn(&Run) -> Option<f64>| {
            let figures: Option<Vec<f64>> = runs.iter().map(|(run, _)| figure(run)).collect();
            figures.map(median)
        };
        let hundred_thousands = |run: &Run| run.count as f64 / 1e5;
        Self {
            sender: sender.name(),
            delay_ms,
            connections,
            notifications: runs.first().map_or(0, |(run, _)| run.count),
            per_second: of(&|(run, _)| run.count as f64 / run.report.seconds),
            cpu_seconds: of(&|(run, _)| run.report.cpu_seconds / hundred_thousands(run)),
            sink_cpu_seconds: of(&|(run, sink)| sink / hundred_thousands(run)),
            peak_mib: of(&|(run, _)| run.peak_mib),
            p50_ms: maybe(&|run| run.report.p50_ms),
            p99_ms: maybe(&|run| run.report.p99_ms),
        }
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A ratio of CPU is to the bare loop's single connection under the same delay; `vs a2` is how many times as many
/// notifications a CPU second carries as with a2 over as many connections.
pub(crate) fn print(rows: &[Row], with_a2: bool) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "| delay ms | connections | sender | notifications/s | of stream limit | CPU s per 100,000 | CPU to bare loop | \
         notifications per CPU s to a2 | sink CPU s | peak MiB | p50 ms | p99 ms |"
    )?;
    writeln!(out, "|{}", " ---: |".repeat(12))?;
    for row in rows {
        let beside = |sender: Sender, connections: usize| {
            rows.iter().find(|other| {
                other.sender == sender.name()
                    && other.delay_ms == row.delay_ms
                    && other.connections == connections
            })
        };
        let limit = (row.connections * STREAMS as usize * 1000) as f64 / row.delay_ms as f64;
        let share = (row.delay_ms > 0).then(|| 100.0 * row.per_second / limit);
        // The loop has one connection: what it costs under another load says nothing.
        let bare = beside(Sender::Bare, row.connections);
        let to_bare = bare.map(|bare| row.cpu_seconds / bare.cpu_seconds);
        let to_a2 = beside(Sender::A2, row.connections).map(|a2| a2.cpu_seconds / row.cpu_seconds);
        writeln!(
            out,
            "| {} | {} | {} | {:.0} | {} | {:.3} | {} | {} | {:.3} | {:.0} | {} | {} |",
            row.delay_ms,
            row.connections,
            row.sender,
            row.per_second,
            cell(share, 0, " %"),
            row.cpu_seconds,
            cell(to_bare, 2, ""),
            cell(to_a2, 2, ""),
            row.sink_cpu_seconds,
            row.peak_mib,
            cell(row.p50_ms, 1, ""),
            cell(row.p99_ms, 1, ""),
        )?;
    }
    if !with_a2 {
        writeln!(
            out,
            "\na2 was left out: its patched copy could not be built."
        )?;
    }
    Ok(())
}

fn cell(figure: Option<f64>, digits: usize, unit: &str) -> String {
    figure.map_or_else(
        || "-".to_owned(),
        |figure| format!("{figure:.digits$}{unit}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_heeds_no_outlier() {
        assert_eq!(median(vec![3.0, 100.0, 2.0]), 3.0);
    }
}
