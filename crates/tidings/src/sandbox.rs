//! The simulated providers, inside this process or in another, and how apps without credentials reach them.

use std::collections::HashMap;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde_json::Value;
use tidings_model::{Provider, Secret};
use tidings_sandbox::{Sandbox, SandboxConfig, control_router, told};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::http_client::Client;
use crate::providers;

/// What a server needs of the sandbox that it uses.
pub(crate) struct Wiring {
    /// As they would be sealed, of apps that have none of their own.
    pub(crate) credentials: HashMap<Provider, Vec<u8>>,
    /// `https://HOST:PORT` of the simulated providers.
    pub(crate) url: String,
}

/// Starts the providers here.
pub(crate) async fn start(config: SandboxConfig) -> Result<(Sandbox, Wiring)> {
    let sandbox = Sandbox::start(config)
        .await
        .context("cannot start the sandbox")?;
    let wiring = wiring(&told(&sandbox))?;
    Ok((sandbox, wiring))
}

/// The providers behind another process's control port.
pub(crate) async fn join(control: &str) -> Result<Wiring> {
    let client = Client::new(control, None, Secret::new(""))?;
    let told = client
        .get("/v1/sandbox/credentials")
        .await
        .context("cannot join the sandbox")?;
    wiring(&told).with_context(|| format!("{control} is not a sandbox's control port"))
}

/// What a sandbox tells of itself: for each provider its credential's fields, with where it is and whom to trust.
fn wiring(told: &Value) -> Result<Wiring> {
    let mut credentials = HashMap::new();
    let mut url = None;
    for (provider, adapter) in providers::adapters() {
        let mut told_of = told[provider.name()].clone();
        if told_of.is_null() {
            continue;
        }
        if told_of["ca"].is_null() {
            told_of["ca"] = told["ca"].clone();
        }
        url = url.or_else(|| told_of["endpoint"].as_str().map(str::to_owned));
        let credential = adapter.sandbox(&told_of);
        credentials.insert(provider, credential.with_context(|| provider.name())?);
    }
    Ok(Wiring {
        credentials,
        url: url.context("it tells of no provider")?,
    })
}

/// Runs the providers alone until told to stop.
pub(crate) async fn serve(listen: SocketAddr, control: SocketAddr) -> Result<()> {
    crate::config::init_log("info", crate::config::LogFormat::Text)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let sandbox = Sandbox::start(SandboxConfig {
        listen,
        ..SandboxConfig::default()
    })
    .await
    .with_context(|| format!("cannot start the sandbox on {listen}"))?;
    let listener = TcpListener::bind(control)
        .await
        .with_context(|| format!("control: cannot listen on {control}"))?;
    println!(
        "ready sandbox=https://{} control=http://{}",
        sandbox.addr(),
        listener.local_addr()?
    );
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    axum::serve(listener, control_router(&sandbox))
        .with_graceful_shutdown(stop)
        .await?;
    sandbox.shutdown().await;
    Ok(())
}
