//! Single pushes: how many a second one app dispatches, and how long one waits while a broadcast is under way.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::backend::Device;
use crate::deliveries;
use crate::figures::{Latencies, round};
use crate::phones::{Phones, Seen};
use crate::registry::millis;
use crate::stage::{Stage, pause, wait};

/// Back ends that push at the same time.
const BACK_ENDS: usize = 64;

/// Phones on the link that the singles go to.
const PHONES: usize = 1000;

/// How long singles are pushed as fast as they are accepted.
const RUSH: Duration = Duration::from_secs(10);

pub(crate) fn measure(stage: Stage, devices: usize) -> Result<Value> {
    let iphones = stage.backend.register_as(devices, |number| {
        let channel = json!({"provider": "apns", "token": format!("{number:064x}")});
        json!({"platform": "ios", "tags": ["apple"], "channels": [channel]})
    })?;
    let phones = stage
        .backend
        .register("android", PHONES, |_| json!({"provider": "link"}))?;
    let syncs = stage.syncs_per_sec()?;

    let apple = rush(&stage, &iphones[..PHONES], |pushed| {
        let mut seq = 0;
        let mut seen = 0;
        wait("the singles", || {
            seen += deliveries::drain(&stage.control, &mut seq)?.len();
            Ok(seen >= pushed)
        })?;
        Ok(seen - pushed)
    })?;

    let runtime = tokio::runtime::Runtime::new()?;
    let link = stage.server.ready["link"]
        .trim_start_matches("mqtt://")
        .to_owned();
    let seen: Arc<Vec<Seen>> = Arc::new((0..PHONES).map(|_| Seen::default()).collect());
    let clock = Instant::now();
    let key = &stage.backend.app_key;
    let connected = runtime.block_on(Phones::connect(&link, key, &phones, &seen, 0, clock))?;
    let times = || {
        let times = seen
            .iter()
            .map(|seen| seen.times.load(Ordering::Relaxed) as usize);
        times.sum::<usize>()
    };
    let by_link = rush(&stage, &phones, |pushed| {
        wait("the singles", || Ok(times() >= pushed))?;
        Ok(times() - pushed)
    })?;

    // A broadcast to all iPhones whose answers take 50 ms, and singles of the same app meanwhile.
    stage.fault(&json!({"provider": "apns", "delay_ms": 50}))?;
    let mut seq = 0;
    deliveries::drain(&stage.control, &mut seq)?;
    let broadcast = stage
        .backend
        .push(&json!({"tag": ["apple"]}), "everybody")?;
    let mut accepted_at: HashMap<String, i64> = HashMap::new();
    let mut link_waits = Vec::new();
    let start = Instant::now();
    let mut number = 0;
    while stage.backend.message(&broadcast)?["counts"]["accepted"].as_u64() < Some(devices as u64) {
        ensure!(
            start.elapsed() < Duration::from_secs(300),
            "the broadcast does not end"
        );
        let text = format!("single {number}");
        let to = json!({"registration_id": [iphones[number * 37 % devices].id]});
        stage.backend.push(&to, &text)?;
        accepted_at.insert(text, now());
        let phone = number % PHONES;
        let before = seen[phone].times.load(Ordering::Relaxed);
        stage
            .backend
            .push(&json!({"registration_id": [phones[phone].id]}), "hello")?;
        let accepted = Instant::now();
        while seen[phone].times.load(Ordering::Relaxed) == before {
            ensure!(
                accepted.elapsed() < Duration::from_secs(60),
                "a phone waits in vain"
            );
            pause(Duration::from_micros(500));
        }
        link_waits.push(millis(accepted.elapsed()));
        number += 1;
        pause(Duration::from_millis(20));
    }
    let broadcast_secs = start.elapsed().as_secs_f64();
    let mut waits = Vec::new();
    let mut reached = 0;
    wait("the last singles", || {
        for taken in deliveries::drain(&stage.control, &mut seq)? {
            match accepted_at.get(&taken.text) {
                Some(accepted) => waits.push((taken.at - accepted).max(0) as f64),
                None => reached += 1,
            }
        }
        Ok(waits.len() >= accepted_at.len())
    })?;
    runtime.block_on(connected.disconnect());
    let (to_apple, to_link) = (Latencies::of(&waits), Latencies::of(&link_waits));
    stage.server.terminate()?;
    Ok(json!({
        "iphones": devices,
        "syncs_per_sec_of_the_disk": syncs.round(),
        "apns_accepted_per_sec": apple.accepted.round(),
        "apns_dispatched_per_sec": apple.dispatched.round(),
        "link_accepted_per_sec": by_link.accepted.round(),
        "link_dispatched_per_sec": by_link.dispatched.round(),
        "broadcast_secs": round(broadcast_secs),
        "singles_meanwhile": accepted_at.len(),
        "single_to_apns_ms_p50": to_apple.p50,
        "single_to_apns_ms_p99": to_apple.p99,
        "single_to_link_ms_p50": to_link.p50,
        "single_to_link_ms_p99": to_link.p99,
        "lost": devices.saturating_sub(reached),
        "doubled": reached.saturating_sub(devices) + apple.doubled + by_link.doubled,
        "counts_off_by": 0,
    }))
}

struct Rush {
    accepted: f64,
    dispatched: f64,
    doubled: usize,
}

/// Pushes to one of `devices` at a time for a while, and waits until all have arrived.
fn rush(
    stage: &Stage,
    devices: &[Device],
    arrived: impl FnOnce(usize) -> Result<usize>,
) -> Result<Rush> {
    let (stop, pushed) = (AtomicBool::new(false), AtomicUsize::new(0));
    let failed = Mutex::new(None);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..BACK_ENDS {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let number = pushed.fetch_add(1, Ordering::Relaxed);
                    let to = json!({"registration_id": [devices[number % devices.len()].id]});
                    if let Err(error) = stage.backend.push(&to, "single") {
                        *failed.lock().expect("nobody panics with it") = Some(error);
                        return;
                    }
                }
            });
        }
        pause(RUSH);
        stop.store(true, Ordering::Relaxed);
    });
    if let Some(error) = failed.into_inner().expect("nobody panics with it") {
        return Err(error);
    }
    let pushed = pushed.into_inner();
    let accepted = pushed as f64 / start.elapsed().as_secs_f64();
    let doubled = arrived(pushed)?;
    Ok(Rush {
        accepted,
        dispatched: pushed as f64 / start.elapsed().as_secs_f64(),
        doubled,
    })
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}
