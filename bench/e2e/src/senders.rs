//! Senders without a server, against the same simulated Apple.

use anyhow::{Context, Result};
use bench_apns::job::Job;
use bench_apns::report::{Report, Stopwatch};
use bench_apns::{bare, ours};
use serde_json::Value;
use tidings_providers::apns::Credential;
use tokio::runtime::{Builder, Runtime};

use crate::backend::call;
use crate::stage::Stage;

/// `count` notifications with the sandbox's key.
pub(crate) fn job(stage: &Stage, count: usize, connections: usize) -> Result<Job> {
    let url = format!("{}/v1/sandbox/credentials", stage.control);
    let told = call(&ureq::Agent::new_with_defaults(), "GET", &url, "", None)?;
    let text = |value: &Value| {
        Ok::<_, anyhow::Error>(value.as_str().context("no credentials")?.to_owned())
    };
    let apns = &told["apns"];
    let (p8, key_id, team_id) = (
        text(&apns["p8"])?,
        text(&apns["key_id"])?,
        text(&apns["team_id"])?,
    );
    let sandbox = &stage.sandbox.ready["sandbox"];
    Ok(Job {
        count,
        connections,
        port: sandbox.rsplit(':').next().context("no port")?.parse()?,
        ca: text(&told["ca"])?,
        credential: Credential::from_p8(p8.as_bytes(), &key_id, &team_id)?,
    })
}

/// The bare loop on h2; connecting left out.
pub(crate) fn bare_loop(job: &Job) -> Result<Report> {
    runtime()?.block_on(async {
        let connected = bare::connect(job).await?;
        bare::send(job, connected, Stopwatch::start()?).await
    })
}

/// Our broker with its client, on one thread.
pub(crate) fn broker(job: &Job) -> Result<Report> {
    runtime()?.block_on(ours::run(job))
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}
