//! The simulated providers, inside this process or in another, and how apps without credentials reach them.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde::Deserialize;
use tidings_model::Secret;
use tidings_sandbox::{Sandbox, SandboxConfig, control_router};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::credentials::{ApnsCredential, ApnsFile};
use crate::http_client::Client;

/// The topic of apps that have no credential: the sandbox's token key is good for any.
const TOPIC: &str = "com.example.app";

/// What a server needs of the sandbox that it uses.
pub(crate) struct Wiring {
    pub(crate) credential: ApnsCredential,
    /// `https://HOST:PORT` of the simulated APNs.
    pub(crate) url: String,
}

/// Starts the providers here.
pub(crate) async fn start(config: SandboxConfig) -> Result<(Sandbox, Wiring)> {
    let sandbox = Sandbox::start(config)
        .await
        .context("cannot start the sandbox")?;
    let credentials = sandbox.credentials();
    let apns = &credentials.apns;
    let wiring = wiring(
        format!("https://{}", sandbox.addr()),
        credentials.ca.clone(),
        ApnsFile::P8 {
            key_id: apns.key_id.clone(),
            pem: apns.p8.clone(),
            team_id: apns.team_id.clone(),
        },
    );
    Ok((sandbox, wiring))
}

/// The providers behind another process's control port.
pub(crate) async fn join(control: &str) -> Result<Wiring> {
    #[derive(Deserialize)]
    struct Credentials {
        apns: Apns,
        ca: String,
    }
    #[derive(Deserialize)]
    struct Apns {
        key_id: String,
        p8: String,
        team_id: String,
        url: String,
    }
    let client = Client::new(control, None, Secret::new(""))?;
    let told = client
        .get("/v1/sandbox/credentials")
        .await
        .context("cannot join the sandbox")?;
    let Credentials { apns, ca } = serde_json::from_value(told)
        .with_context(|| format!("{control} is not a sandbox's control port"))?;
    let file = ApnsFile::P8 {
        key_id: apns.key_id,
        pem: apns.p8,
        team_id: apns.team_id,
    };
    Ok(wiring(apns.url, ca, file))
}

fn wiring(url: String, ca: String, file: ApnsFile) -> Wiring {
    let credential = ApnsCredential {
        ca: Some(ca),
        endpoint: Some(url.clone()),
        file,
        proxy: None,
        topic: Some(TOPIC.into()),
    };
    Wiring { credential, url }
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
