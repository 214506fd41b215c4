//! One push to iPhones alone: what the way from the registry to the ledger costs beside sending alone.

use std::time::{Instant, SystemTime};

use anyhow::Result;
use bench_apns::job::TEXT;
use serde_json::{Value, json};

use crate::deliveries::Deliveries;
use crate::figures::{Latencies, off_by, round};
use crate::senders;
use crate::stage::{Stage, wait};

/// The senders without a server send as many, up to this: a device costs them the same then.
const SENT_ALONE_MAX: usize = 400_000;

/// Runs of each, in turn, of which the median by CPU counts: the machine is not the same from one moment to the next.
const ROUNDS: usize = 3;

/// One push, as the server saw it.
struct Pushed {
    counts_off_by: u64,
    cpu_micros: f64,
    doubled: usize,
    latency: Latencies,
    lost: usize,
    sandbox_cpu_micros: f64,
    seconds: f64,
    stored_bytes: f64,
}

pub(crate) fn measure(stage: Stage, iphones: usize) -> Result<Value> {
    let start = Instant::now();
    stage.register_iphones(iphones)?;
    let registered_secs = start.elapsed().as_secs_f64();
    let memory_before = stage.server.memory_peak_mib()?;

    let alone = iphones.min(SENT_ALONE_MAX);
    let (mut pushes, mut bares, mut brokers) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // Of all that has reached the phones before.
        let seq = round * (iphones + 2 * alone);
        pushes.push(push(&stage, iphones, seq)?);
        bares.push(senders::bare_loop(&senders::job(&stage, alone, 1)?)?);
        brokers.push(senders::broker(&senders::job(&stage, alone, 4)?)?);
    }
    let memory = stage.server.memory_peak_mib()?;
    stage.server.terminate()?;
    let lost: usize = pushes.iter().map(|push| push.lost).sum();
    let doubled: usize = pushes.iter().map(|push| push.doubled).sum();
    let off: u64 = pushes.iter().map(|push| push.counts_off_by).sum();
    let push = median(pushes, |push| push.cpu_micros);
    let bare = median(bares, |bare| bare.cpu_seconds);
    let broker = median(brokers, |broker| broker.cpu_seconds);
    let bare_micros = bare.cpu_seconds * 1e6 / alone as f64;
    let broker_micros = broker.cpu_seconds * 1e6 / alone as f64;
    Ok(json!({
        "iphones": iphones,
        "registrations_per_sec": (iphones as f64 / registered_secs).round(),
        "seconds": round(push.seconds),
        "devices_per_sec": (iphones as f64 / push.seconds).round(),
        "cpu_micros_a_device_server": round(push.cpu_micros),
        "cpu_micros_a_device_sandbox": round(push.sandbox_cpu_micros),
        "cpu_micros_a_device_bare_h2_loop": round(bare_micros),
        "cpu_micros_a_device_broker_alone": round(broker_micros),
        "ratio_server_to_bare_h2_loop": round(push.cpu_micros / bare_micros),
        "ratio_server_to_broker_alone": round(push.cpu_micros / broker_micros),
        "bare_h2_loop_per_sec": (alone as f64 / bare.seconds).round(),
        "broker_alone_per_sec": (alone as f64 / broker.seconds).round(),
        "memory_peak_mib": memory.round(),
        "memory_before_push_mib": memory_before.round(),
        "accept_to_apns_ms_p50": push.latency.p50,
        "accept_to_apns_ms_p99": push.latency.p99,
        "store_bytes_a_device": round(push.stored_bytes / iphones as f64),
        "lost": lost,
        "doubled": doubled,
        "counts_off_by": off,
    }))
}

fn push(stage: &Stage, iphones: usize, seq: usize) -> Result<Pushed> {
    let stored_before = stage.stored_bytes()?;
    let cpu_before = (stage.server.cpu_secs()?, stage.sandbox.cpu_secs()?);
    let message = stage.backend.push_to_all(TEXT)?;
    let (accepted, accepted_at) = (Instant::now(), SystemTime::now());
    wait("the push", || {
        Ok(stage.backend.message(&message)?["counts"]["accepted"] == iphones)
    })?;
    let seconds = accepted.elapsed().as_secs_f64();
    let micros = |cpu: f64| cpu * 1e6 / iphones as f64;
    let cpu_micros = micros(stage.server.cpu_secs()? - cpu_before.0);
    let sandbox_cpu_micros = micros(stage.sandbox.cpu_secs()? - cpu_before.1);
    let shown = stage.backend.message(&message)?;
    let reached = Deliveries::read(&stage.control, seq, iphones, accepted_at)?;
    Ok(Pushed {
        counts_off_by: off_by(&shown["counts"], iphones)
            + off_by(&shown["channels"]["apns"], iphones),
        cpu_micros,
        doubled: reached.doubled,
        latency: Latencies::of(&reached.millis),
        lost: reached.lost,
        sandbox_cpu_micros,
        seconds,
        stored_bytes: (stage.stored_bytes()? - stored_before) as f64,
    })
}

/// The one in the middle.
fn median<T>(mut runs: Vec<T>, by: fn(&T) -> f64) -> T {
    runs.sort_by(|a, b| by(a).total_cmp(&by(b)));
    runs.swap_remove(runs.len() / 2)
}
