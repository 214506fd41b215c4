//! One push to the phones of a maker, in batches: the whole way, beside the sender alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bench_apns::report::{Latencies, Report, Stopwatch};
use clap::ValueEnum;
use serde_json::{Value, json};
use tidings_broker::{Broker, BrokerConfig, Delivery, Progress, Settled};
use tidings_model::delivery_id;
use tidings_model::{DeviceId, MsgId};
use tidings_providers::batch::{Config, Pace, Protocol};
use tidings_providers::{huawei, xiaomi};
use tokio::runtime::Builder;

use crate::backend::call;
use crate::figures::{off_by, round};
use crate::stage::{Stage, wait};

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Maker {
    Huawei,
    Xiaomi,
}

/// Rounds of each, in turn, of which the median by CPU counts.
const ROUNDS: usize = 3;
const TEXT: &str = "Hello";
/// Deliveries that wait in the broker of the sender alone.
const QUEUE: usize = 20_000;

/// One push, as the server saw it.
struct Pushed {
    counts_off_by: u64,
    cpu_micros: f64,
    sandbox_cpu_micros: f64,
    seconds: f64,
}

pub(crate) fn measure(stage: Stage, maker: Maker, phones: usize) -> Result<Value> {
    let name = match maker {
        Maker::Huawei => "huawei",
        Maker::Xiaomi => "xiaomi",
    };
    let told = told(&stage, name)?;
    // As fast as it goes: what is measured is what it costs.
    let mut credential = told.clone();
    let fast = json!({"devices_per_second": 1_000_000, "requests_per_second": 10_000});
    credential["rate"] = fast;
    stage.set_credential(name, &credential)?;
    let start = Instant::now();
    let channel = |number: usize| json!({"provider": name, "token": token(number)});
    stage.backend.register("android", phones, channel)?;
    let registered_secs = start.elapsed().as_secs_f64();
    let memory_before = stage.server.memory_peak_mib()?;
    let (mut pushes, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        alone.push(match maker {
            Maker::Huawei => by_huawei(&told, phones)?,
            Maker::Xiaomi => by_xiaomi(&told, phones)?,
        });
        pushes.push(push(&stage, name, phones)?);
    }
    let memory = stage.server.memory_peak_mib()?;
    // The sandbox does not keep all of them: the last push is looked at.
    let reached = reached(&stage, name, (2 * ROUNDS - 1) * phones)?;
    let lost = (0..phones)
        .filter(|number| !reached.contains_key(&token(*number)))
        .count();
    let doubled = reached.values().filter(|times| **times > 1).count();
    stage.server.terminate()?;
    let off: u64 = pushes.iter().map(|push| push.counts_off_by).sum();
    pushes.sort_by(|a, b| a.cpu_micros.total_cmp(&b.cpu_micros));
    alone.sort_by(|a, b| a.cpu_seconds.total_cmp(&b.cpu_seconds));
    let (push, alone) = (&pushes[ROUNDS / 2], &alone[ROUNDS / 2]);
    let alone_micros = alone.cpu_seconds * 1e6 / phones as f64;
    Ok(json!({
        "maker": name,
        "phones": phones,
        "registrations_per_sec": (phones as f64 / registered_secs).round(),
        "seconds": round(push.seconds),
        "devices_per_sec": (phones as f64 / push.seconds).round(),
        "cpu_micros_a_device_server": round(push.cpu_micros),
        "cpu_micros_a_device_sandbox": round(push.sandbox_cpu_micros),
        "cpu_micros_a_device_sender_alone": round(alone_micros),
        "ratio_server_to_sender_alone": round(push.cpu_micros / alone_micros),
        "sender_alone_per_sec": (phones as f64 / alone.seconds).round(),
        "memory_peak_mib": memory.round(),
        "memory_before_push_mib": memory_before.round(),
        "lost": lost,
        "doubled": doubled,
        "counts_off_by": off,
    }))
}

fn token(number: usize) -> String {
    format!("phone-{number:010}")
}

/// The maker's credential as the sandbox tells it, with its roots.
fn told(stage: &Stage, name: &str) -> Result<Value> {
    let url = format!("{}/v1/sandbox/credentials", stage.control);
    let all = call(&ureq::Agent::new_with_defaults(), "GET", &url, "", None)?;
    let mut told = all[name].clone();
    told["ca"] = all["ca"].clone();
    Ok(told)
}

fn push(stage: &Stage, name: &str, phones: usize) -> Result<Pushed> {
    let cpu_before = (stage.server.cpu_secs()?, stage.sandbox.cpu_secs()?);
    let message = stage.backend.push_to_all(TEXT)?;
    let accepted = Instant::now();
    wait("the push", || {
        Ok(stage.backend.message(&message)?["counts"]["accepted"] == phones)
    })?;
    let seconds = accepted.elapsed().as_secs_f64();
    let micros = |cpu: f64| cpu * 1e6 / phones as f64;
    let cpu_micros = micros(stage.server.cpu_secs()? - cpu_before.0);
    let sandbox_cpu_micros = micros(stage.sandbox.cpu_secs()? - cpu_before.1);
    let shown = stage.backend.message(&message)?;
    Ok(Pushed {
        counts_off_by: off_by(&shown["counts"], phones) + off_by(&shown["channels"][name], phones),
        cpu_micros,
        sandbox_cpu_micros,
        seconds,
    })
}

/// How often each phone was reached after the delivery `seq`.
fn reached(stage: &Stage, name: &str, seq: usize) -> Result<HashMap<String, u64>> {
    let agent = ureq::Agent::new_with_defaults();
    let (mut reached, mut after) = (HashMap::new(), seq as u64);
    loop {
        let url = format!(
            "{}/v1/sandbox/deliveries?provider={name}&after={after}&limit=10000",
            stage.control
        );
        let page = call(&agent, "GET", &url, "", None)?;
        let page = page["deliveries"].as_array().context("no deliveries")?;
        for delivery in page {
            let token = delivery["token"].as_str().context("no token")?;
            *reached.entry(token.to_owned()).or_default() += 1;
            after = delivery["seq"].as_u64().context("no seq")?;
        }
        if page.is_empty() {
            return Ok(reached);
        }
    }
}

fn by_huawei(told: &Value, phones: usize) -> Result<Report> {
    let credential = huawei::Credential::new(text(told, "app_id")?, text(told, "app_secret")?)?;
    let shown = huawei::Shown {
        title: TEXT.to_owned(),
        body: TEXT.to_owned(),
        ..huawei::Shown::default()
    };
    let message = huawei::Message {
        content: huawei::Content::Shown(Box::new(shown)),
        ..huawei::Message::default()
    };
    let notification = huawei::Notification::new(&message)?;
    alone(told, huawei::Huawei { credential }, notification, phones)
}

fn by_xiaomi(told: &Value, phones: usize) -> Result<Report> {
    let (package, secret) = (text(told, "package_name")?, text(told, "app_secret")?);
    let credential = xiaomi::Credential::new(package, secret)?;
    let shown = xiaomi::Shown {
        title: TEXT.to_owned(),
        description: TEXT.to_owned(),
        ..xiaomi::Shown::default()
    };
    let message = xiaomi::Message {
        shown: Some(shown),
        ..xiaomi::Message::default()
    };
    let notification = xiaomi::Notification::new(&message)?;
    alone(told, xiaomi::Xiaomi { credential }, notification, phones)
}

/// The broker with the maker's client, and no server, on one thread.
fn alone<P: Protocol>(
    told: &Value,
    protocol: P,
    notification: P::Notification,
    phones: usize,
) -> Result<Report> {
    let config = Config {
        endpoint: Some(text(told, "endpoint")?.to_owned()),
        token_endpoint: told["token_endpoint"].as_str().map(str::to_owned),
        ca: Some(text(told, "ca")?.as_bytes().into()),
        pace: Pace::FREE,
        ..Config::new(protocol)
    };
    let notification = Arc::new(notification);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stopwatch = Stopwatch::start()?;
        let broker_config = BrokerConfig {
            queue: QUEUE,
            ..BrokerConfig::default()
        };
        let (broker, mut events) = Broker::start(config, broker_config)?;
        let queue = async {
            for thousand in (0..phones).step_by(1000) {
                let numbers = thousand..phones.min(thousand + 1000);
                let mut deliveries: Vec<_> = numbers
                    .map(|number| Delivery {
                        notification: Arc::clone(&notification),
                        token: token(number).into(),
                        id: delivery_id(MsgId(1), DeviceId(number as i64)),
                        expires: None,
                        progress: Progress::default(),
                        urgent: false,
                        tag: (),
                    })
                    .collect();
                broker.queue_many(&mut deliveries).await?;
            }
            anyhow::Ok(())
        };
        let settle = async {
            let (mut settled, mut accepted) = (Vec::<Settled<()>>::new(), 0);
            while accepted < phones {
                let count = events.recv_many(&mut settled, 1000).await;
                ensure!(count > 0, "the broker has ended");
                for settled in settled.drain(..) {
                    settled.result?;
                    accepted += 1;
                }
            }
            Ok(())
        };
        tokio::try_join!(queue, settle)?;
        stopwatch.stop(Latencies::of(0))
    })
}

fn text<'a>(told: &'a Value, name: &str) -> Result<&'a str> {
    told[name].as_str().with_context(|| format!("no {name}"))
}
