//! One push to iPhones and to devices on the link, connected and away.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use anyhow::Result;
use bench_apns::job::TEXT;
use bench_apns::report::cpu_seconds;
use serde_json::{Value, json};

use crate::backend::Device;
use crate::deliveries::Deliveries;
use crate::figures::{Latencies, off_by, round};
use crate::phones::{Phones, Seen};
use crate::process::descriptors_max;
use crate::stage::{Stage, wait};

/// Descriptors that a process needs besides the phones'.
const DESCRIPTORS_KEPT: usize = 1500;

/// Half of the devices are iPhones.
pub(crate) fn measure(stage: Stage, devices: usize) -> Result<Value> {
    let half = devices / 2;
    let Stage {
        backend,
        server,
        sandbox,
        ..
    } = &stage;
    let start = Instant::now();
    stage.register_iphones(half)?;
    let devices = backend.register("android", half, |_| json!({"provider": "link"}))?;
    let registered_a_sec = (2 * half) as f64 / start.elapsed().as_secs_f64();

    let runtime = tokio::runtime::Runtime::new()?;
    let link = server.ready["link"]
        .trim_start_matches("mqtt://")
        .to_owned();
    let online = half.min(descriptors_max()?.saturating_sub(DESCRIPTORS_KEPT));
    let seen: Arc<Vec<Seen>> = Arc::new((0..half).map(|_| Seen::default()).collect());
    let clock = Instant::now();
    let connect = |devices: &[Device], first| {
        runtime.block_on(Phones::connect(
            &link,
            &backend.app_key,
            devices,
            &seen,
            first,
            clock,
        ))
    };
    let start = Instant::now();
    let phones = connect(&devices[..online], 0)?;
    let connected_a_sec = online as f64 / start.elapsed().as_secs_f64();
    let idle_mib = server.memory_peak_mib()?;
    let stored_before = stage.stored_bytes()?;

    let cpu = [
        server.cpu_secs()?,
        sandbox.cpu_secs()?,
        cpu_seconds("self")?,
    ];
    let message = backend.push_to_all(TEXT)?;
    let (accepted, accepted_at) = (Instant::now(), SystemTime::now());
    let accepted_us = clock.elapsed().as_micros() as u64;
    let mut iphones_secs = 0.0;
    let mut online_secs = 0.0;
    wait("the push", || {
        let counts = backend.message(&message)?["counts"].clone();
        let done = |name: &str, all: usize| counts[name].as_u64() >= Some(all as u64);
        let now = accepted.elapsed().as_secs_f64();
        for (secs, is_done) in [
            (&mut iphones_secs, done("accepted", half)),
            (&mut online_secs, done("delivered", online)),
        ] {
            if is_done && *secs == 0.0 {
                *secs = now;
            }
        }
        Ok(iphones_secs > 0.0 && online_secs > 0.0)
    })?;
    let secs = accepted.elapsed().as_secs_f64();
    let reached = (half + online) as f64;
    let per_100k = |cpu: f64| cpu * 1e5 / reached;
    let cpu_server = per_100k(server.cpu_secs()? - cpu[0]);
    let cpu_sandbox = per_100k(sandbox.cpu_secs()? - cpu[1]);
    let cpu_bench = per_100k(cpu_seconds("self")? - cpu[2]);
    runtime.block_on(phones.disconnect());

    // Those that were away come back in waves, as many as can be connected.
    let start = Instant::now();
    for (wave, away) in devices[online..].chunks(online.max(1)).enumerate() {
        let phones = connect(away, online + wave * online)?;
        wait("a wave", || Ok(phones.received() == away.len()))?;
        runtime.block_on(phones.disconnect());
    }
    let drain_secs = start.elapsed().as_secs_f64();
    wait("the last acknowledgements", || {
        Ok(backend.message(&message)?["counts"]["delivered"] == half)
    })?;

    let seen_by_apple = Deliveries::read(&stage.control, 0, half, accepted_at)?;
    let latency_apns = Latencies::of(&seen_by_apple.millis);
    let firsts: Vec<f64> = seen[..online]
        .iter()
        .map(|seen| {
            u64::from(seen.first_us.load(Ordering::Relaxed)).saturating_sub(accepted_us) as f64
                / 1000.0
        })
        .collect();
    let latency_link = Latencies::of(&firsts);
    let phones = |wanted: fn(u32) -> bool| {
        let times = seen.iter().map(|seen| seen.times.load(Ordering::Relaxed));
        times.filter(|times| wanted(*times)).count()
    };
    let shown = backend.message(&message)?;
    let by_channel = |name: &str| off_by(&shown["channels"][name], half);
    let off = off_by(&shown["counts"], 2 * half) + by_channel("apns") + by_channel("link");
    let memory = server.memory_peak_mib()?;
    let grown = (stage.stored_bytes()? - stored_before) as f64;
    let waited = devices.len() - online;
    stage.server.terminate()?;
    Ok(json!({
        "devices": 2 * half,
        "iphones": half,
        "link_online": online,
        "link_away": waited,
        "registrations_per_sec": registered_a_sec.round(),
        "link_connects_per_sec": connected_a_sec.round(),
        "devices_per_sec": (reached / secs).round(),
        "iphones_per_sec": (half as f64 / iphones_secs).round(),
        "link_online_per_sec": (online as f64 / online_secs).round(),
        "link_away_connect_and_drain_per_sec": if waited == 0 { 0.0 } else { (waited as f64 / drain_secs).round() },
        "cpu_secs_per_100k_server": round(cpu_server),
        "cpu_secs_per_100k_sandbox": round(cpu_sandbox),
        "cpu_secs_per_100k_bench": round(cpu_bench),
        "memory_peak_mib": memory.round(),
        "memory_connected_mib": idle_mib.round(),
        "accept_to_apns_ms_p50": latency_apns.p50,
        "accept_to_apns_ms_p99": latency_apns.p99,
        "accept_to_link_ms_p50": latency_link.p50,
        "accept_to_link_ms_p99": latency_link.p99,
        "store_bytes_a_device": round(grown / (2 * half) as f64),
        "lost": seen_by_apple.lost + phones(|times| times == 0),
        "doubled": seen_by_apple.doubled + phones(|times| times > 1),
        "counts_off_by": off,
    }))
}
