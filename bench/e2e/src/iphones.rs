//! One push to iPhones alone: what the way from the registry to the ledger costs beside sending alone.

use std::time::{Instant, SystemTime};

use anyhow::Result;
use bench_apns::job::TEXT;
use bench_apns::report::Report;
use serde_json::{Value, json};

use crate::deliveries::Deliveries;
use crate::figures::{Latencies, off_by, round};
use crate::senders;
use crate::stage::{Stage, wait};

/// The senders without a server send as many, up to this: a device costs them the same then.
const SENT_ALONE_MAX: usize = 400_000;

/// Runs of each, of which the median counts.
const ROUNDS: usize = 5;

pub(crate) fn measure(stage: Stage, iphones: usize) -> Result<Value> {
    let start = Instant::now();
    stage.register_iphones(iphones)?;
    let registered_secs = start.elapsed().as_secs_f64();
    let memory_before = stage.server.memory_peak_mib()?;
    let stored_before = stage.stored_bytes()?;

    let cpu_before = (stage.server.cpu_secs()?, stage.sandbox.cpu_secs()?);
    let message = stage.backend.push_to_all(TEXT)?;
    let (accepted, accepted_at) = (Instant::now(), SystemTime::now());
    wait("the push", || {
        Ok(stage.backend.message(&message)?["counts"]["accepted"] == iphones)
    })?;
    let secs = accepted.elapsed().as_secs_f64();
    let micros = |cpu: f64, count: usize| cpu * 1e6 / count as f64;
    let server = micros(stage.server.cpu_secs()? - cpu_before.0, iphones);
    let sandbox = micros(stage.sandbox.cpu_secs()? - cpu_before.1, iphones);
    let memory = stage.server.memory_peak_mib()?;

    let shown = stage.backend.message(&message)?;
    let off = off_by(&shown["counts"], iphones) + off_by(&shown["channels"]["apns"], iphones);
    let grown = (stage.stored_bytes()? - stored_before) as f64;
    let reached = Deliveries::read(&stage.control, iphones, accepted_at)?;
    let latency = Latencies::of(&reached.millis);

    let alone = iphones.min(SENT_ALONE_MAX);
    let (mut bares, mut brokers) = (Vec::new(), Vec::new());
    // They take turns, so that what else the machine does meets both.
    for _ in 0..ROUNDS {
        bares.push(senders::bare_loop(&senders::job(&stage, alone, 1)?)?);
        brokers.push(senders::broker(&senders::job(&stage, alone, 4)?)?);
    }
    let (bare, broker) = (median(bares), median(brokers));
    let bare_micros = micros(bare.cpu_seconds, alone);
    let broker_micros = micros(broker.cpu_seconds, alone);
    stage.server.terminate()?;
    Ok(json!({
        "iphones": iphones,
        "registrations_per_sec": (iphones as f64 / registered_secs).round(),
        "seconds": round(secs),
        "devices_per_sec": (iphones as f64 / secs).round(),
        "cpu_micros_a_device_server": round(server),
        "cpu_micros_a_device_sandbox": round(sandbox),
        "cpu_micros_a_device_bare_h2_loop": round(bare_micros),
        "cpu_micros_a_device_broker_alone": round(broker_micros),
        "ratio_server_to_bare_h2_loop": round(server / bare_micros),
        "ratio_server_to_broker_alone": round(server / broker_micros),
        "bare_h2_loop_per_sec": (alone as f64 / bare.seconds).round(),
        "broker_alone_per_sec": (alone as f64 / broker.seconds).round(),
        "memory_peak_mib": memory.round(),
        "memory_before_push_mib": memory_before.round(),
        "accept_to_apns_ms_p50": latency.p50,
        "accept_to_apns_ms_p99": latency.p99,
        "store_bytes_a_device": round(grown / iphones as f64),
        "lost": reached.lost,
        "doubled": reached.doubled,
        "counts_off_by": off,
    }))
}

/// The one in the middle, by CPU.
fn median(mut runs: Vec<Report>) -> Report {
    runs.sort_by(|a, b| a.cpu_seconds.total_cmp(&b.cpu_seconds));
    runs.swap_remove(runs.len() / 2)
}
