//! Dispatch: from an accepted message to settled deliveries.
//!
//! Each app and provider has a lane of its own, a task that takes the app's messages in their order, so a provider that
//! is slow holds up nobody else. A lane resolves the audience page by page. What a lane has done is in the store: a
//! process that is killed goes on where it was.

mod feeder;
mod guard;
mod limits;
mod link;
mod page;
mod render;
mod senders;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidings_link::Link;
use tidings_model::{AppId, DeviceId, MsgId, Provider, UnixMillis};
use tidings_store::{Page, Store, StoreError};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, interval, timeout};
use tracing::{error, info};

use crate::credentials::ApnsCredential;
use feeder::Feeder;
use limits::{COMMANDS_MAX, LEASE, LOOK_EVERY, PAGES_TAKEN_OVER_MAX, STORE_GRACE};

pub(crate) use render::check;

/// What dispatch works with.
pub(crate) struct Context {
    pub(crate) link: Link,
    /// This process, as the owner of pages.
    pub(crate) owner: u64,
    /// For apps that have no credential of their own.
    pub(crate) sandbox: Option<ApnsCredential>,
    pub(crate) store: Arc<Store>,
}

impl Context {
    /// Devices that lost a channel by a provider's answer: their connections learn of it.
    fn tell_lost(&self, app: AppId, lost: &[DeviceId]) {
        for device in lost {
            self.link.refresh(app, *device);
        }
    }
}

/// What dispatch is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Command {
    AppForgotten(AppId),
    CredentialChanged(AppId, Provider),
    MessageAccepted(AppId),
}

/// A running dispatch.
pub(crate) struct Dispatch {
    commands: mpsc::Sender<Command>,
    drain: watch::Sender<Option<Instant>>,
    task: JoinHandle<()>,
}

type LaneKey = (AppId, Provider);

/// How a lane is told that there is something for it.
#[derive(Default)]
struct Signal {
    changed: Notify,
    credential: AtomicBool,
}

impl Signal {
    fn wake(&self) {
        self.changed.notify_one();
    }

    fn credential_changed(&self) {
        self.credential.store(true, Ordering::Release);
        self.wake();
    }

    /// Whether the credential has changed since this was last asked.
    fn take_credential_changed(&self) -> bool {
        self.credential.swap(false, Ordering::AcqRel)
    }
}

impl Dispatch {
    /// Takes over what an earlier process left, and goes on.
    pub(crate) async fn start(context: Context) -> Result<Self, StoreError> {
        let (commands, commanded) = mpsc::channel(COMMANDS_MAX);
        let (drain, draining) = watch::channel(None);
        let mut lanes = Lanes {
            context: Arc::new(context),
            draining,
            orphaned: None,
            running: JoinSet::new(),
            signals: HashMap::new(),
        };
        lanes.take_over().await?;
        let task = tokio::spawn(lanes.run(commanded));
        Ok(Self {
            commands,
            drain,
            task,
        })
    }

    pub(crate) fn commands(&self) -> mpsc::Sender<Command> {
        self.commands.clone()
    }

    /// Takes no more pages out and waits for those that are out, at most for `grace`; what is not answered by then is
    /// sent by the next process.
    pub(crate) async fn drain(self, grace: Duration) {
        self.drain.send_replace(Some(Instant::now() + grace));
        drop(self.commands);
        match timeout(grace + STORE_GRACE, self.task).await {
            Ok(Ok(())) => {}
            Ok(Err(panic)) => error!(%panic, "dispatch ended in a panic"),
            Err(_) => error!("dispatch does not end: its pages go to the next process"),
        }
    }
}

/// The lanes that are running.
struct Lanes {
    context: Arc<Context>,
    draining: watch::Receiver<Option<Instant>>,
    /// When a lane panicked and left pages whose leases have yet to run out.
    orphaned: Option<Instant>,
    running: JoinSet<LaneKey>,
    signals: HashMap<LaneKey, Arc<Signal>>,
}

impl Lanes {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut draining = self.draining.clone();
        // Commands are only the quick way: what there is to do is in the store.
        let mut look = interval(LOOK_EVERY);
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::MessageAccepted(app)) => {
                        for provider in Provider::ALL {
                            self.wake((app, provider));
                        }
                    }
                    Some(Command::AppForgotten(app)) => {
                        // Its credentials are gone with it.
                        for provider in Provider::ALL {
                            if let Some(signal) = self.signals.get(&(app, provider)) {
                                signal.credential_changed();
                            }
                        }
                    }
                    Some(Command::CredentialChanged(app, provider)) => {
                        if let Some(signal) = self.signals.get(&(app, provider)) {
                            signal.credential_changed();
                        }
                    }
                    None => break,
                },
                Some(ended) = self.running.join_next() => {
                    self.forget(ended);
                    // A command may have reached the lane while it ended.
                    self.look().await;
                }
                _ = look.tick() => self.look().await,
                _ = draining.changed() => break,
            }
        }
        while let Some(ended) = self.running.join_next().await {
            self.forget(ended);
        }
    }

    /// Starts a lane for whatever is open and has none.
    async fn look(&mut self) {
        if let Err(error) = self.look_in_store().await {
            error!(%error, "cannot see what is to be dispatched");
        }
    }

    async fn look_in_store(&mut self) -> Result<(), StoreError> {
        if self.orphaned.is_some_and(|since| since.elapsed() > LEASE) {
            self.take_over().await?;
            self.orphaned = None;
        }
        let open = self.context.store.open_lanes().await?;
        open.into_iter().for_each(|key| self.wake(key));
        Ok(())
    }

    /// Goes on with pages that an earlier process had out, or a lane that panicked.
    async fn take_over(&mut self) -> Result<(), StoreError> {
        let Context { owner, store, .. } = &*self.context;
        let until = UnixMillis::now().plus(LEASE);
        let pages = store
            .take_over_pages(*owner, until, PAGES_TAKEN_OVER_MAX)
            .await?;
        let mut apps: HashMap<MsgId, AppId> = HashMap::new();
        let mut left: HashMap<LaneKey, Vec<Page>> = HashMap::new();
        for page in pages {
            let id = page.key.message;
            let app = match apps.get(&id) {
                Some(app) => *app,
                None => {
                    let message = store.message(id).await?;
                    let message = message
                        .ok_or_else(|| StoreError::Stored(format!("message {id} of a page")))?;
                    *apps.entry(id).or_insert(message.app)
                }
            };
            left.entry((app, page.key.provider)).or_default().push(page);
        }
        for (key, pages) in left {
            info!(app = key.0.0, provider = %key.1, pages = pages.len(), "goes on with pages that were left");
            self.start(key, pages);
        }
        Ok(())
    }

    fn wake(&mut self, key: LaneKey) {
        match self.signals.get(&key) {
            Some(signal) => signal.wake(),
            None => self.start(key, Vec::new()),
        }
    }

    fn start(&mut self, key: LaneKey, left: Vec<Page>) {
        let signal = Arc::new(Signal::default());
        self.signals.insert(key, Arc::clone(&signal));
        let (context, draining) = (Arc::clone(&self.context), self.draining.clone());
        let (app, provider) = key;
        self.running.spawn(async move {
            match provider {
                Provider::Apns => Feeder::new(context, app, signal, draining).run(left).await,
                Provider::Link => link::run(context, app, &signal, draining).await,
            }
            key
        });
    }

    fn forget(&mut self, ended: Result<LaneKey, tokio::task::JoinError>) {
        match ended {
            Ok(key) => drop(self.signals.remove(&key)),
            // Its key is lost with it: it is the one whose signal nobody holds any more.
            Err(panic) => {
                error!(%panic, "a lane ended in a panic");
                self.orphaned = Some(Instant::now());
                self.signals
                    .retain(|_, signal| Arc::strong_count(signal) > 1);
            }
        }
    }
}
