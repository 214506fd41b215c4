//! `tidings serve`: build, announce, run, drain.

use std::fs::DirBuilder;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tidings_link::{Link, LinkConfig};
use tidings_sandbox::{Sandbox, SandboxConfig, control_router};
use tidings_store::Store;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tracing::{error, info, warn};

use crate::api::{self, Api};
use crate::clock::SteadyClock;
use crate::config::{Config, SandboxMode, admin_token, init_log, seal_key};
use crate::dispatch::{self, Dispatch};
use crate::supervise::{Vital, restarted};
use crate::{credentials, retention, sandbox, uplinks};

/// Uplinks that wait to be passed on.
const UPLINKS_MAX: usize = 256;

/// Runs a server until it is told to stop.
pub(crate) async fn serve(config: Config) -> Result<()> {
    init_log(&config.log, config.log_format)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut server = Server::build(&config).await?;
    server.announce();
    let ended = tokio::select! {
        _ = terminate.recv() => {
            info!("told to stop (SIGTERM)");
            None
        }
        _ = interrupt.recv() => {
            info!("told to stop (SIGINT)");
            None
        }
        ended = server.vital.ended() => {
            error!(task = ended, "a task has ended without which nothing goes on: the server stops");
            Some(ended)
        }
    };
    server.drain(config.drain).await;
    match ended {
        None => Ok(()),
        Some(task) => bail!("the task \"{task}\" ended by itself: see the log"),
    }
}

struct Server {
    api: SocketAddr,
    api_task: JoinHandle<()>,
    dispatch: Dispatch,
    expiry: JoinHandle<()>,
    link: Link,
    retention: JoinHandle<()>,
    sandbox: Option<Sandbox>,
    sandbox_url: Option<String>,
    stop: watch::Sender<bool>,
    store: Arc<Store>,
    uplinks: JoinHandle<()>,
    vital: Vital,
}

impl Server {
    /// Binds everything and serves; what it was told to listen on accepts when this returns.
    async fn build(config: &Config) -> Result<Self> {
        let store = open_store(&config.data)?;
        let admin = admin_token(&config.data)?;
        let (sandbox, wiring) = match &config.sandbox {
            SandboxMode::Off => (None, None),
            SandboxMode::Inside => {
                let (sandbox, wiring) = sandbox::start(SandboxConfig::default()).await?;
                (Some(sandbox), Some(wiring))
            }
            SandboxMode::Elsewhere(control) => (None, Some(sandbox::join(control).await?)),
        };
        let (uplinks, uplinked) = mpsc::channel(UPLINKS_MAX);
        let link = Link::bind(
            config.link,
            Arc::clone(&store),
            LinkConfig::default(),
            uplinks,
        )
        .await
        .with_context(|| format!("link: cannot listen on {}", config.link))?;
        let listener = TcpListener::bind(config.api)
            .await
            .with_context(|| format!("api: cannot listen on {}", config.api))?;
        let api_addr = listener.local_addr()?;
        let dispatch = Dispatch::start(dispatch::Context {
            clock: SteadyClock::new(),
            inbox_max: config.inbox_max,
            link: link.clone(),
            sandbox: wiring
                .as_ref()
                .map(|wiring| wiring.credentials.clone())
                .unwrap_or_default(),
            store: Arc::clone(&store),
        });
        let api = Api::new(
            Arc::clone(&store),
            admin.hash(),
            dispatch.commands(),
            config.calls_per_minute,
        )
        .at(config.public_url.as_deref());
        let (stop, mut stopped) = watch::channel(false);
        let router = api::router(api.clone(), sandbox.as_ref().map(control_router));
        let mut vital = Vital::new();
        let stop_serving = async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        let api_task = vital.spawn("api", api::serve(listener, router, stop_serving));
        let commands = dispatch.commands();
        vital.watch("dispatch", async move { commands.closed().await });
        let ending = Arc::clone(&store);
        vital.watch("store", async move { ending.ended().await });
        let ending = link.clone();
        vital.watch("link", async move { ending.ended().await });
        let (expiring, kept, old) = (Arc::clone(&store), config.kept, Arc::clone(&store));
        Ok(Self {
            api: api_addr,
            api_task,
            dispatch,
            expiry: tokio::spawn(restarted("expiry", move || {
                credentials::watch(Arc::clone(&expiring))
            })),
            link,
            retention: tokio::spawn(restarted("retention", move || {
                retention::run(Arc::clone(&old), kept)
            })),
            sandbox,
            sandbox_url: wiring.map(|wiring| wiring.url),
            stop,
            store,
            uplinks: vital.spawn("uplinks", uplinks::take(api, uplinked)),
            vital,
        })
    }

    /// The one line on stdout.
    fn announce(&self) {
        let sandbox = self
            .sandbox_url
            .as_ref()
            .map(|url| format!(" sandbox={url}"))
            .unwrap_or_default();
        println!(
            "ready api=http://{} link=mqtt://{}{sandbox}",
            self.api,
            self.link.local_addr()
        );
    }

    /// Stops taking anything in, then gives what is under way until the grace is over. What is not done by then is in the
    /// store, and goes on at the next start.
    async fn drain(self, grace: Duration) {
        let deadline = Instant::now() + grace;
        let left = || deadline.saturating_duration_since(Instant::now());
        // From here on what ends was told to.
        drop(self.vital);
        self.stop.send_replace(true);
        match timeout(left(), self.api_task).await {
            Ok(Ok(())) => {}
            Ok(Err(panic)) => error!(%panic, "the API ended in a panic"),
            Err(_) => warn!("requests were still open when the grace was over"),
        }
        self.link.drain(left()).await;
        self.uplinks.abort();
        self.dispatch.drain(left()).await;
        self.expiry.abort();
        self.retention.abort();
        if let Some(sandbox) = self.sandbox {
            sandbox.shutdown().await;
        }
        let in_time = !left().is_zero();
        // Closes the database, if nobody holds it any more.
        drop(self.store);
        if in_time {
            info!("stopped, all done");
        } else {
            warn!("stopped when the grace was over; what was under way goes on at the next start");
        }
    }
}

fn open_store(data: &Path) -> Result<Arc<Store>> {
    let context = || format!("data: cannot use {}", data.display());
    // Tokens of devices and hashes of secrets are nobody else's business.
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .with_context(context)?;
    Ok(Arc::new(
        Store::open(data, seal_key(data)?).with_context(context)?,
    ))
}
