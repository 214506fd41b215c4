//! Tidings, as the documentation of `tidings-broker` shows it: queue, pool, retries, outcomes and callbacks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use tidings_broker::Broker;
use tidings_model::Environment;
use tidings_providers::apns::Config;

use crate::job::Job;
use crate::report::{Latencies, Report, Stopwatch};

#[derive(Default)]
struct Counts {
    accepted: usize,
    failed: usize,
}

/// Sends all and waits for what came of each. Connecting is measured, as for all senders.
pub async fn run(job: &Job) -> Result<Report> {
    let stopwatch = Stopwatch::start()?;
    let latencies = Arc::new(Mutex::new(Latencies::of(job.count)));
    let counts = Arc::new(Mutex::new(Counts::default()));
    let config = Config {
        endpoint: Some(format!("https://localhost:{}", job.port)),
        ca: Some(job.ca.as_bytes().into()),
        connections_max: job.connections,
        ..Config::new(job.credential.clone(), Environment::Sandbox)
    };
    let (timed, succeeded, failed) = (latencies.clone(), counts.clone(), counts.clone());
    let mut service = Broker::builder(config)
        .on_success(move |delivery| {
            lock(&succeeded).accepted += 1;
            // The lock is only taken for the few whose time is taken.
            if let Some(number) = Job::number(&delivery.token)
                && Latencies::is_sampled(number)
            {
                lock(&timed).end(number);
            }
        })
        .on_failure(move |_, _| lock(&failed).failed += 1)
        .start()?;
    let tokens = (0..job.count).map(|number| {
        if Latencies::is_sampled(number) {
            lock(&latencies).begin(number);
        }
        Job::token(number)
    });
    service.queue_all(&job.notification()?, tokens).await?;
    service.stop(Duration::from_secs(60)).await;
    let counts = std::mem::take(&mut *lock(&counts));
    ensure!(
        counts.accepted == job.count && counts.failed == 0,
        "{} of {} were accepted and {} failed",
        counts.accepted,
        job.count,
        counts.failed
    );
    let latencies = std::mem::replace(&mut *lock(&latencies), Latencies::of(0));
    stopwatch.stop(latencies)
}

/// Nothing that holds these locks can panic half-way.
fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
