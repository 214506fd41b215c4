//! A broadcast in which one answer of a hundred is "come again in an hour", beside the same without.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use crate::deliveries;
use crate::figures::round;
use crate::stage::{Stage, pause, wait};

pub(crate) fn measure(stage: Stage, devices: usize) -> Result<Value> {
    stage.register_iphones(devices)?;
    let accepted = |message: &str| -> Result<u64> {
        let counts = stage.backend.message(message)?["counts"].clone();
        Ok(counts["accepted"].as_u64().unwrap_or_default())
    };
    // The first push opens the connections.
    let warm = stage.backend.push_to_all("warm")?;
    wait("the first push", || Ok(accepted(&warm)? == devices as u64))?;

    let start = Instant::now();
    let plain = stage.backend.push_to_all("plain")?;
    wait("the plain push", || Ok(accepted(&plain)? == devices as u64))?;
    let plain_secs = start.elapsed().as_secs_f64();
    let plain_mib = stage.server.memory_peak_mib()?;

    let fault = json!({
        "provider": "apns", "status": 429, "reason": "TooManyRequests", "headers": {"Retry-After": "3600"}, "percent": 1,
    });
    stage.fault(&fault)?;
    let start = Instant::now();
    let message = stage.backend.push_to_all("some wait")?;
    let mut last = (0, start);
    let settled = Duration::from_secs(2);
    while last.0 == 0 || last.1.elapsed() < settled {
        let now = accepted(&message)?;
        if now != last.0 {
            last = (now, Instant::now());
        }
        pause(Duration::from_millis(20));
    }
    let secs = (last.1 - start).as_secs_f64();
    stage.heal()?;
    let memory = stage.server.memory_peak_mib()?;
    let counts = stage.backend.message(&message)?["counts"].clone();
    let mut seq = 2 * devices as u64;
    let taken = deliveries::drain(&stage.control, &mut seq)?.len() as u64;
    let targeted = counts["targeted"].as_u64().unwrap_or_default();
    stage.server.terminate()?;
    Ok(json!({
        "iphones": devices,
        "plain_secs": round(plain_secs),
        "with_one_percent_waiting_secs": round(secs),
        "still_waiting": devices as u64 - taken,
        "memory_peak_plain_mib": plain_mib.round(),
        "memory_peak_mib": memory.round(),
        "lost": 0,
        "doubled": 0,
        "counts_off_by": targeted.abs_diff(devices as u64) + last.0.abs_diff(taken),
    }))
}
