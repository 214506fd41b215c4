//! What the link pays for what is not for a device: a log that it missed, and news that are for another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use crate::backend::Device;
use crate::figures::round;
use crate::phones::{Phones, Seen};
use crate::stage::{Stage, pause, wait};

/// More than a page, so that a message to their tag goes to the log.
const TAGGED: usize = 1100;

/// Pushes of each kind to one of the connected devices.
const PUSHES: usize = 300;

/// Back ends that push at the same time.
const BACK_ENDS: usize = 64;

pub(crate) fn measure(stage: Stage, logged: usize, connected: usize) -> Result<Value> {
    let backend = &stage.backend;
    let away = backend.register("android", 1, |_| json!({"provider": "link"}))?;
    backend.register_as(
        TAGGED,
        |_| json!({"platform": "android", "tags": ["many"], "channels": [{"provider": "link"}]}),
    )?;
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let work = || -> Result<()> {
            while next.fetch_add(1, Ordering::Relaxed) < logged {
                backend.push(&json!({"tag": ["many"]}), "not for you")?;
            }
            Ok(())
        };
        let workers: Vec<_> = (0..BACK_ENDS).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().expect("no panic"))
    })?;
    wait("the log", || {
        Ok(stage.stored("SELECT count(*) FROM tasks")? == 0)
    })?;
    settle(&stage)?;

    let runtime = tokio::runtime::Runtime::new()?;
    let link = stage.server.ready["link"]
        .trim_start_matches("mqtt://")
        .to_owned();
    let connect = |devices: &[Device], seen: &Arc<Vec<Seen>>| {
        let key = &backend.app_key;
        runtime.block_on(Phones::connect(
            &link,
            key,
            devices,
            seen,
            0,
            Instant::now(),
        ))
    };
    let seen: Arc<Vec<Seen>> = Arc::new(vec![Seen::default()]);
    let mut returns = Vec::new();
    for _ in 0..3 {
        let before = stage.server.cpu_secs()?;
        let phone = connect(&away, &seen)?;
        settle(&stage)?;
        runtime.block_on(phone.disconnect());
        settle(&stage)?;
        returns.push((stage.server.cpu_secs()? - before) * 1000.0);
    }

    let phones = backend.register_as(connected, |number| {
        let tags = match number {
            0 => json!(["one"]),
            _ => json!(["others"]),
        };
        json!({"platform": "android", "tags": tags, "channels": [{"provider": "link"}]})
    })?;
    let seen: Arc<Vec<Seen>> = Arc::new((0..connected).map(|_| Seen::default()).collect());
    let held = connect(&phones, &seen)?;
    settle(&stage)?;
    let mut cpu = Vec::new();
    for to in [
        json!({"registration_id": [phones[0].id]}),
        json!({"tag": ["one"]}),
        json!({"registration_id": [phones[0].id]}),
        json!({"tag": ["one"]}),
    ] {
        let before = (
            stage.server.cpu_secs()?,
            seen[0].times.load(Ordering::Relaxed),
        );
        for _ in 0..PUSHES {
            backend.push(&to, "for one")?;
        }
        wait("the pushes", || {
            Ok(seen[0].times.load(Ordering::Relaxed) as usize >= before.1 as usize + PUSHES)
        })?;
        settle(&stage)?;
        cpu.push((stage.server.cpu_secs()? - before.0) * 1000.0 / PUSHES as f64);
    }
    runtime.block_on(held.disconnect());
    let others = seen[1..]
        .iter()
        .filter(|seen| seen.times.load(Ordering::Relaxed) > 0)
        .count();
    let memory = stage.server.memory_peak_mib()?;
    stage.server.terminate()?;
    let (by_id, by_tag) = ((cpu[0] + cpu[2]) / 2.0, (cpu[1] + cpu[3]) / 2.0);
    Ok(json!({
        "logged": logged,
        "first_return_cpu_ms": round(returns[0]),
        "second_return_cpu_ms": round(returns[1]),
        "third_return_cpu_ms": round(returns[2]),
        "connected": connected,
        "push_by_id_cpu_ms": round(by_id),
        "push_by_tag_of_one_cpu_ms": round(by_tag),
        "ratio_tag_to_id": round(by_tag / by_id),
        "memory_peak_mib": memory.round(),
        "lost": 0,
        "doubled": others,
        "counts_off_by": 0,
    }))
}

/// Waits until the server does nothing more.
fn settle(stage: &Stage) -> Result<()> {
    let mut before = stage.server.cpu_secs()?;
    loop {
        pause(Duration::from_millis(700));
        let now = stage.server.cpu_secs()?;
        if now - before < 0.015 {
            return Ok(());
        }
        before = now;
    }
}
