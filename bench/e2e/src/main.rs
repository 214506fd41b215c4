//! One push to many devices through the whole server: `bench/e2e/run`. What the figures mean is in bench/README.md.

mod backend;
mod phones;
mod process;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use backend::{Backend, Device, call};
use bench_apns::bare;
use bench_apns::job::{Job, TEXT};
use bench_apns::report::{Report, Stopwatch, cpu_seconds};
use clap::Parser;
use phones::{Phones, Seen};
use process::{Process, descriptors_max};
use serde_json::{Value, json};
use tidings_providers::apns::Credential;

/// Descriptors that a process needs besides the phones'.
const DESCRIPTORS_KEPT: usize = 1500;
/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(5);

#[derive(Parser)]
struct Args {
    /// Devices, half of them iPhones and half on the link
    #[arg(long, default_value_t = 100_000)]
    devices: usize,
    /// Where to write the figures as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// The server's binary
    #[arg(long, default_value = "target/release/tidings")]
    server: PathBuf,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let report = measure(&args)?;
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

fn measure(args: &Args) -> Result<Value> {
    let half = args.devices / 2;
    let data = tempfile::tempdir()?;
    let sandbox = Process::start(&args.server, &["sandbox"])?;
    let (control, sandbox_url) = (
        sandbox.ready["control"].clone(),
        sandbox.ready["sandbox"].clone(),
    );
    let with_sandbox = format!("--sandbox={control}");
    let path = data.path().to_str().context("a path")?;
    let serve = [
        "serve",
        "--data",
        path,
        "--api",
        "127.0.0.1:0",
        "--link",
        "127.0.0.1:0",
        &with_sandbox,
    ];
    let server = Process::start(&args.server, &serve)?;
    let admin = std::fs::read_to_string(data.path().join("admin.token"))?;
    let backend = Backend::new(&server.ready["api"], admin.trim())?;

    let start = Instant::now();
    let token = |number: usize| json!({"provider": "apns", "token": format!("{number:064x}")});
    backend.register("ios", half, token)?;
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
    let size_before = database_size(data.path())?;

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
        let counts = backend.counts(&message)?;
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
        Ok(backend.counts(&message)?["delivered"] == half)
    })?;

    let latency_apns = Latencies::of(&sandbox_latencies(&control, accepted_at)?);
    let firsts: Vec<f64> = seen[..online]
        .iter()
        .map(|seen| {
            u64::from(seen.first_us.load(Ordering::Relaxed)).saturating_sub(accepted_us) as f64
                / 1000.0
        })
        .collect();
    let latency_link = Latencies::of(&firsts);
    let (lost, doubled) = lost_and_doubled(&control, &seen, half)?;
    let counts = backend.counts(&message)?;
    let sum: u64 = ["accepted", "delivered", "dropped", "expired", "failed"]
        .iter()
        .filter_map(|name| counts[name].as_u64())
        .sum();
    let off = counts["targeted"]
        .as_u64()
        .context("counts")?
        .abs_diff(sum)
        .max(sum.abs_diff(2 * half as u64));
    let memory = server.memory_peak_mib()?;
    let grown = (database_size(data.path())? - size_before) as f64;
    server.terminate()?;

    let floor = floor(&control, &sandbox_url, half)?;
    let floor_cpu = floor.cpu_seconds * 1e5 / half as f64;
    let waited = devices.len() - online;
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
        "cpu_secs_per_100k_bare_h2_loop": round(floor_cpu),
        "ratio_server_to_bare_h2_loop": round(cpu_server / floor_cpu),
        "bare_h2_loop_per_sec": (half as f64 / floor.seconds).round(),
        "memory_peak_mib": memory.round(),
        "memory_connected_mib": idle_mib.round(),
        "accept_to_apns_ms_p50": latency_apns.p50,
        "accept_to_apns_ms_p99": latency_apns.p99,
        "accept_to_link_ms_p50": latency_link.p50,
        "accept_to_link_ms_p99": latency_link.p99,
        "store_bytes_per_device": round(grown / (2 * half) as f64),
        "lost": lost,
        "doubled": doubled,
        "counts_off_by": off,
    }))
}

/// The bare loop on h2 with as many notifications, against the same sandbox; connecting left out.
fn floor(control: &str, sandbox_url: &str, count: usize) -> Result<Report> {
    let agent = ureq::Agent::new_with_defaults();
    let told = call(
        &agent,
        "GET",
        &format!("{control}/v1/sandbox/credentials"),
        "",
        None,
    )?;
    let text = |value: &Value| {
        Ok::<_, anyhow::Error>(value.as_str().context("no credentials")?.to_owned())
    };
    let apns = &told["apns"];
    let (p8, key_id, team_id) = (
        text(&apns["p8"])?,
        text(&apns["key_id"])?,
        text(&apns["team_id"])?,
    );
    let job = Job {
        count,
        connections: 1,
        port: sandbox_url.rsplit(':').next().context("no port")?.parse()?,
        ca: text(&told["ca"])?,
        credential: Credential::from_p8(p8.as_bytes(), &key_id, &team_id)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let connected = bare::connect(&job).await?;
        bare::send(&job, connected, Stopwatch::start()?).await
    })
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

struct Latencies {
    p50: f64,
    p99: f64,
}

impl Latencies {
    fn of(millis: &[f64]) -> Self {
        let mut sorted = millis.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |part: f64| {
            sorted
                .get(((sorted.len() as f64 * part) as usize).min(sorted.len() - 1))
                .copied()
        };
        Self {
            p50: round(at(0.5).unwrap_or(0.0)),
            p99: round(at(0.99).unwrap_or(0.0)),
        }
    }
}

/// Asks until it is so.
fn wait(what: &str, mut ask: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !ask()? {
        ensure!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        pause(POLL);
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "this thread has nothing else to do"
)]
fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// Bytes of the database that are in use, those that are still in its log included.
fn database_size(data: &Path) -> Result<i64> {
    let sql = rusqlite::Connection::open_with_flags(
        data.join("tidings.db"),
        rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
    )?;
    let number = |name: &str| sql.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    Ok((number("page_count")? - number("freelist_count")?) * number("page_size")?)
}

/// All deliveries that reached the simulated phones.
fn deliveries(control: &str) -> Result<Vec<Value>> {
    let agent = ureq::Agent::new_with_defaults();
    let mut all: Vec<Value> = Vec::new();
    loop {
        let after = all
            .last()
            .map_or(0, |delivery| delivery["seq"].as_u64().unwrap_or(0));
        let url = format!("{control}/v1/sandbox/deliveries?after={after}&limit=10000");
        match call(&agent, "GET", &url, "", None)?["deliveries"].as_array_mut() {
            Some(page) if !page.is_empty() => all.append(page),
            _ => return Ok(all),
        }
    }
}

/// Milliseconds from the acceptance to each delivery, by the sandbox's clock, which is this machine's.
fn sandbox_latencies(control: &str, accepted_at: SystemTime) -> Result<Vec<f64>> {
    let accepted_ms = accepted_at.duration_since(UNIX_EPOCH)?.as_millis() as i64;
    let at = |delivery: Value| delivery["at"].as_i64().context("no time");
    deliveries(control)?
        .into_iter()
        .map(|delivery| Ok((at(delivery)? - accepted_ms).max(0) as f64))
        .collect()
}

/// Devices that got nothing, and devices that got more than one.
fn lost_and_doubled(control: &str, seen: &[Seen], iphones: usize) -> Result<(usize, usize)> {
    let mut times: HashMap<String, usize> = HashMap::new();
    for delivery in deliveries(control)? {
        *times
            .entry(delivery["token"].as_str().context("no token")?.to_owned())
            .or_default() += 1;
    }
    let link = |wanted: fn(u32) -> bool| {
        seen.iter()
            .filter(|seen| wanted(seen.times.load(Ordering::Relaxed)))
            .count()
    };
    let lost = iphones.saturating_sub(times.len()) + link(|times| times == 0);
    let doubled = times.values().filter(|times| **times > 1).count() + link(|times| times > 1);
    Ok((lost, doubled))
}
