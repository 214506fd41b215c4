//! What a call costs in a registry of a million devices.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::deliveries;
use crate::figures::{Latencies, round};
use crate::stage::{Stage, pause, wait};

/// Calls of each kind.
const CALLS: usize = 100;

/// `devices` iPhones with an alias each, ten large tags and a thousand small ones; an app of `others` is deleted beside.
pub(crate) fn measure(stage: Stage, devices: usize, others: usize) -> Result<Value> {
    let start = Instant::now();
    let all = stage.backend.register_as(devices, |number| {
        json!({
            "platform": "ios",
            "alias": format!("u{number}"),
            "tags": [format!("t{}", number % 10), format!("g{}", number % 1000)],
            "channels": [{"provider": "apns", "token": format!("{number:064x}")}],
        })
    })?;
    let registered_secs = start.elapsed().as_secs_f64();
    let picked = |call: usize| (call * 7919 + devices / 2) % devices;

    let backend = &stage.backend;
    let known = timed(|call| {
        let device = &all[picked(call)];
        let path = format!("/v1/devices/{}", device.id);
        backend.call_as(&device.secret, "GET", &path).map(drop)
    })?;
    let unknown = timed(|call| {
        let path = format!("/v1/devices/{:016x}", 1 + call);
        ensure!(backend.call_as("made-up", "GET", &path).is_err(), "let in");
        Ok(())
    })?;

    let mut seq = 0;
    let (mut accepts, mut dispatches) = (Vec::new(), Vec::new());
    for call in 0..CALLS {
        let audience = json!({"alias": [format!("u{}", picked(call))]});
        let (accept, dispatch) = push(&stage, &mut seq, &audience, &format!("alias {call}"))?;
        accepts.push(accept);
        dispatches.push(dispatch);
    }
    let (alias_accept, alias_dispatch) = (Latencies::of(&accepts), Latencies::of(&dispatches));

    let mut firsts = Vec::new();
    for round in 0..10 {
        let tags: Vec<String> = (0..10)
            .map(|tag| format!("g{}", 10 * round + tag))
            .collect();
        let (accept, first) = push(
            &stage,
            &mut seq,
            &json!({"tag": tags}),
            &format!("tags {round}"),
        )?;
        firsts.push(accept + first);
        settle(&stage, &mut seq)?;
    }
    let tags_first = Latencies::of(&firsts);

    let deleted = timed(|call| {
        let device = &all[picked(CALLS + call)];
        let path = format!("/v1/devices/{}", device.id);
        backend.call_as(&device.secret, "DELETE", &path).map(drop)
    })?;

    let other = backend.another(&stage.admin)?;
    other.register(
        "ios",
        others,
        |number| json!({"provider": "apns", "token": format!("{number:064x}")}),
    )?;
    let app = stage.stored("SELECT max(id) FROM apps")?;
    let start = Instant::now();
    let path = format!("/v1/apps/{}", other.app_key);
    backend.call_as(&stage.admin, "DELETE", &path)?;
    let delete_answered_secs = start.elapsed().as_secs_f64();
    let left = format!("SELECT count(*) FROM (SELECT 1 FROM devices WHERE app = {app} LIMIT 1)");
    let mut waits = Vec::new();
    let mut checked = Instant::now();
    let mut call = 0;
    loop {
        let audience = json!({"registration_id": [all[picked(2 * CALLS + call)].id]});
        let start = Instant::now();
        backend.push(&audience, "meanwhile")?;
        waits.push(millis(start.elapsed()));
        call += 1;
        if checked.elapsed() > Duration::from_millis(200) {
            if stage.stored(&left)? == 0 {
                break;
            }
            checked = Instant::now();
        }
        pause(Duration::from_millis(2));
    }
    let deletion_secs = start.elapsed().as_secs_f64();
    let meanwhile = Latencies::of(&waits);
    let memory = stage.server.memory_peak_mib()?;
    stage.server.terminate()?;
    Ok(json!({
        "devices": devices,
        "registrations_per_sec": (devices as f64 / registered_secs).round(),
        "device_call_ms_p50": known.p50,
        "device_call_ms_p99": known.p99,
        "unknown_device_call_ms_p50": unknown.p50,
        "alias_accept_ms_p50": alias_accept.p50,
        "alias_accept_ms_p99": alias_accept.p99,
        "alias_dispatched_ms_p50": alias_dispatch.p50,
        "alias_dispatched_ms_p99": alias_dispatch.p99,
        "ten_tags_first_delivery_ms_p50": tags_first.p50,
        "delete_device_ms_p50": deleted.p50,
        "delete_device_ms_p99": deleted.p99,
        "deleted_app_devices": others,
        "delete_app_answered_secs": round(delete_answered_secs),
        "delete_app_ended_secs": round(deletion_secs),
        "accepts_meanwhile": waits.len(),
        "accept_meanwhile_ms_p50": meanwhile.p50,
        "accept_meanwhile_ms_p99": meanwhile.p99,
        "memory_peak_mib": memory.round(),
        "lost": 0,
        "doubled": 0,
        "counts_off_by": 0,
    }))
}

/// Pushes, and says how long the answer took, and from then on the first delivery; both in milliseconds.
fn push(stage: &Stage, seq: &mut u64, audience: &Value, text: &str) -> Result<(f64, f64)> {
    let start = Instant::now();
    stage.backend.push(audience, text)?;
    let accept = millis(start.elapsed());
    let accepted_at = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
    let mut first = None;
    wait("a delivery", || {
        let taken = deliveries::after(&stage.control, *seq, 100)?;
        if let Some(last) = taken.last() {
            *seq = last.seq;
        }
        first = first.or_else(|| {
            let ours = taken.iter().find(|taken| taken.text == text);
            ours.map(|taken| taken.at)
        });
        Ok(first.is_some())
    })?;
    let first = first.context("a delivery")?;
    Ok((accept, (first - accepted_at).max(0) as f64))
}

/// Waits until nothing more comes.
fn settle(stage: &Stage, seq: &mut u64) -> Result<()> {
    loop {
        pause(Duration::from_millis(300));
        if deliveries::drain(&stage.control, seq)?.is_empty() {
            return Ok(());
        }
    }
}

fn timed(mut call: impl FnMut(usize) -> Result<()>) -> Result<Latencies> {
    let mut times = Vec::with_capacity(CALLS);
    for number in 0..CALLS {
        let start = Instant::now();
        call(number)?;
        times.push(millis(start.elapsed()));
    }
    Ok(Latencies::of(&times))
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
