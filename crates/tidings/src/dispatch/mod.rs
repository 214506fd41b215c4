//! Dispatch: from an accepted message to settled deliveries.
//!
//! What goes by pages is cut ([`cut`]) and taken out by lanes ([`lanes`]), one for each app, provider and environment, so
//! nothing that waits holds up anything else; the link has a lane for each app. What has been done is in the store: a
//! process that is killed goes on where it was.

pub(crate) mod carrier;
mod cut;
mod fallback;
mod guard;
mod lanes;
mod limits;
mod rendered;
mod senders;
mod suspects;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidings_link::Link;
use tidings_model::{AppId, DeviceId, Provider};
use tidings_store::{DeviceNews, LaneKey, OpenWork, Store};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{Id, JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{error, warn};

use crate::clock::SteadyClock;
use cut::{CutSignal, Cutter};
use lanes::pages::Lane;
use limits::{COMMANDS_MAX, LOOK_EVERY, STORE_GRACE};
use suspects::Suspects;

pub(crate) use carrier::{Carrier, Sends, Unfit};

/// What dispatch works with.
pub(crate) struct Context {
    /// Messages expire by it.
    pub(crate) clock: SteadyClock,
    /// Devices up to which a message goes into their inboxes, and above which into the app's log.
    pub(crate) inbox_max: usize,
    pub(crate) link: Link,
    /// For apps that have no credential of their own, as it would be sealed.
    pub(crate) sandbox: HashMap<Provider, Vec<u8>>,
    pub(crate) store: Arc<Store>,
}

/// What dispatch is told: what is in the store, and is to be acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// The app is gone, with its devices and all else.
    AppForgotten(AppId),
    CredentialChanged(AppId, Provider),
    /// A message comes back from the link that is not acknowledged in time.
    FallsBack,
    MessageAccepted(AppId),
}

/// A running dispatch.
pub(crate) struct Dispatch {
    commands: mpsc::Sender<Command>,
    drain: watch::Sender<Option<Instant>>,
    task: JoinHandle<()>,
}

/// How a lane is told that there is something for it.
#[derive(Default)]
struct Signal {
    changed: Notify,
    credential: AtomicBool,
    /// Those that have changed; none while it does not want to hear.
    devices: Mutex<Option<BTreeSet<DeviceId>>>,
    forgotten: AtomicBool,
    /// A device has changed.
    news: Notify,
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

    /// From now on devices that change are kept for [`Self::take_devices`], or not any more.
    fn hear_of_devices(&self, wants: bool) {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        if devices.is_some() != wants {
            *devices = wants.then(BTreeSet::new);
        }
    }

    fn device_changed(&self, device: DeviceId) {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(devices) = &mut *devices {
            devices.insert(device);
            self.news.notify_one();
        }
    }

    fn take_devices(&self) -> BTreeSet<DeviceId> {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        devices.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn forget(&self) {
        self.forgotten.store(true, Ordering::Release);
        self.wake();
    }

    /// The app is gone: nothing of it is to be sent any more.
    fn is_forgotten(&self) -> bool {
        self.forgotten.load(Ordering::Acquire)
    }
}

/// Lanes that have pages, whether they are running or not.
#[derive(Default)]
struct Wakes {
    lanes: Mutex<BTreeSet<LaneKey>>,
    some: Notify,
    /// The store has not taken what a lane had to say of its pages.
    unheard: AtomicBool,
}

impl Wakes {
    fn wake(&self, lanes: impl IntoIterator<Item = LaneKey>) {
        let before = {
            let mut waiting = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
            let before = waiting.len();
            waiting.extend(lanes);
            waiting.len() > before
        };
        if before {
            self.some.notify_one();
        }
    }

    /// A lane could not prolong its leases, or write down what has been answered: it tries again, and should be first.
    fn unheard(&self) {
        self.unheard.store(true, Ordering::Release);
    }

    /// Whether that was so since this was last asked.
    fn take_unheard(&self) -> bool {
        self.unheard.swap(false, Ordering::AcqRel)
    }

    fn take(&self) -> BTreeSet<LaneKey> {
        std::mem::take(&mut *self.lanes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Dispatch {
    /// Goes on with what an earlier process left.
    pub(crate) fn start(context: Context) -> Self {
        let (commands, commanded) = mpsc::channel(COMMANDS_MAX);
        let (drain, draining) = watch::channel(None);
        let task = tokio::spawn(Lanes::new(context, draining).run(commanded));
        Self {
            commands,
            drain,
            task,
        }
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

/// The lanes that run, by their apps: what changes of an app's devices concerns them.
type Listeners = Arc<Mutex<HashMap<AppId, Vec<Arc<Signal>>>>>;

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Task {
    Cutter(AppId, Provider),
    Fallbacks,
    Lane(LaneKey),
    Link(AppId),
}

/// The lanes and cutters that are running: never two of one key.
struct Lanes {
    context: Arc<Context>,
    /// Kept for as long as a lane may ask it for more.
    cutters: HashMap<(AppId, Provider), Arc<CutSignal>>,
    /// Those that are running.
    cutting: HashSet<(AppId, Provider)>,
    draining: watch::Receiver<Option<Instant>>,
    /// Tells what waits for messages to come back; none while it does not run.
    falling_back: Option<Arc<Notify>>,
    /// Apps that are gone; their ids are not given again.
    forgotten: HashSet<AppId>,
    lanes: BTreeMap<LaneKey, Arc<Signal>>,
    listeners: Listeners,
    links: HashMap<AppId, Arc<Signal>>,
    running: JoinSet<()>,
    suspects: Arc<Suspects>,
    tasks: HashMap<Id, Task>,
    wakes: Arc<Wakes>,
}

impl Lanes {
    fn new(context: Context, draining: watch::Receiver<Option<Instant>>) -> Self {
        let listeners = Listeners::default();
        listen(&context.store, Arc::clone(&listeners));
        Self {
            context: Arc::new(context),
            cutters: HashMap::new(),
            cutting: HashSet::new(),
            draining,
            falling_back: None,
            forgotten: HashSet::new(),
            lanes: BTreeMap::new(),
            listeners,
            links: HashMap::new(),
            running: JoinSet::new(),
            suspects: Arc::default(),
            tasks: HashMap::new(),
            wakes: Arc::default(),
        }
    }

    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut draining = self.draining.clone();
        let wakes = Arc::clone(&self.wakes);
        // Commands are only the quick way: what there is to do is in the store.
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looked_at = Instant::now();
        let mut told = Vec::new();
        loop {
            tokio::select! {
                count = commands.recv_many(&mut told, COMMANDS_MAX) => {
                    if count == 0 {
                        break;
                    }
                    self.told(&mut told).await;
                }
                () = wakes.some.notified() => {
                    for lane in wakes.take() {
                        self.wake_lane(lane);
                    }
                }
                Some(ended) = self.running.join_next_with_id() => {
                    // A wake-up may have reached it while it ended. What panicked has to wait: it may do so again.
                    if self.ended(ended) {
                        self.look(None).await;
                    }
                }
                _ = look.tick() => {
                    // After a standstill the lanes first see to what they have out: nobody else has had it.
                    if looked_at.elapsed() < 2 * LOOK_EVERY {
                        self.free().await;
                    }
                    looked_at = Instant::now();
                    self.look(None).await;
                }
                _ = draining.changed() => break,
            }
        }
        while let Some(ended) = self.running.join_next_with_id().await {
            self.ended(ended);
        }
    }

    async fn told(&mut self, told: &mut Vec<Command>) {
        let mut apps = BTreeSet::new();
        for command in told.drain(..) {
            match command {
                Command::AppForgotten(app) => self.forget(app),
                Command::CredentialChanged(app, provider) => {
                    let lanes = self.lanes.iter().filter(|(lane, _)| lane.app == app);
                    let lanes = lanes.filter(|(lane, _)| lane.provider == provider);
                    lanes.for_each(|(_, signal)| signal.credential_changed());
                }
                Command::FallsBack => {
                    if let Some(told) = &self.falling_back {
                        told.notify_one();
                    }
                }
                Command::MessageAccepted(app) => drop(apps.insert(app)),
            }
        }
        if !apps.is_empty() {
            // All at once: each would wait for its turn at the store, and the next app for it.
            self.look(Some(apps.into_iter().collect())).await;
        }
    }

    /// Ends what runs for an app, and the connections of its devices.
    fn forget(&mut self, app: AppId) {
        self.context.link.close_app(app);
        self.forgotten.insert(app);
        let lanes = self.lanes.iter().filter(|(lane, _)| lane.app == app);
        lanes.for_each(|(_, signal)| signal.forget());
    }

    /// Makes pages ready whose leases have run out; but where that is because the store has taken nothing for a while, on a full
    /// disk say, their lanes have them still, and are heard first.
    async fn free(&self) {
        if self.wakes.take_unheard() {
            return;
        }
        match self.context.store.free_pages().await {
            Ok(0) => {}
            Ok(pages) => warn!(pages, "the leases of pages have run out: they go again"),
            Err(error) => error!(%error, "cannot see which leases have run out"),
        }
    }

    /// Wakes or starts whatever has something to do, of some apps or of all.
    async fn look(&mut self, apps: Option<Vec<AppId>>) {
        if self.falling_back.is_none() {
            self.start_fallbacks();
        }
        match self.context.store.open_work(apps).await {
            Ok(OpenWork { lanes, tasks }) => {
                for (app, provider) in tasks {
                    self.wake_task(app, provider);
                }
                for lane in lanes {
                    self.wake_lane(lane);
                }
            }
            Err(error) => error!(%error, "cannot see what is to be dispatched"),
        }
    }

    /// Whoever turns a task into deliveries.
    fn wake_task(&mut self, app: AppId, provider: Provider) {
        if self.forgotten.contains(&app) {
            return;
        }
        match provider {
            Provider::Link => match self.links.get(&app) {
                Some(signal) => signal.wake(),
                None => self.start_link(app),
            },
            _ => {
                if self.cutting.insert((app, provider)) {
                    self.start_cutter(app, provider);
                } else {
                    self.cut_signal(app, provider).wake();
                }
            }
        }
    }

    fn cut_signal(&mut self, app: AppId, provider: Provider) -> Arc<CutSignal> {
        Arc::clone(self.cutters.entry((app, provider)).or_default())
    }

    fn wake_lane(&mut self, lane: LaneKey) {
        match self.lanes.get(&lane) {
            Some(signal) => signal.wake(),
            None if self.forgotten.contains(&lane.app) => {}
            None => self.start_lane(lane),
        }
    }

    fn start_cutter(&mut self, app: AppId, provider: Provider) {
        let cutter = Cutter {
            app,
            context: Arc::clone(&self.context),
            draining: self.draining.clone(),
            failed: None,
            provider,
            signal: self.cut_signal(app, provider),
            wakes: Arc::clone(&self.wakes),
        };
        let task = self.running.spawn(cutter.run());
        self.tasks.insert(task.id(), Task::Cutter(app, provider));
    }

    fn start_lane(&mut self, key: LaneKey) {
        let signal = Arc::new(Signal::default());
        self.lanes.insert(key, Arc::clone(&signal));
        let mut listeners = self
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        listeners
            .entry(key.app)
            .or_default()
            .push(Arc::clone(&signal));
        drop(listeners);
        let lane = Lane::new(
            Arc::clone(&self.context),
            key,
            signal,
            self.cut_signal(key.app, key.provider),
            Arc::clone(&self.wakes),
            Arc::clone(&self.suspects),
            self.draining.clone(),
        );
        let task = self.running.spawn(lane.run());
        self.tasks.insert(task.id(), Task::Lane(key));
    }

    fn start_fallbacks(&mut self) {
        let told = Arc::new(Notify::new());
        self.falling_back = Some(Arc::clone(&told));
        let (context, wakes) = (Arc::clone(&self.context), Arc::clone(&self.wakes));
        let run = fallback::run(context, wakes, told, self.draining.clone());
        let task = self.running.spawn(run);
        self.tasks.insert(task.id(), Task::Fallbacks);
    }

    fn start_link(&mut self, app: AppId) {
        let signal = Arc::new(Signal::default());
        self.links.insert(app, Arc::clone(&signal));
        let (context, draining) = (Arc::clone(&self.context), self.draining.clone());
        let task = self.running.spawn(async move {
            lanes::log::run(context, app, &signal, draining).await;
        });
        self.tasks.insert(task.id(), Task::Link(app));
    }

    /// One has ended: the next look starts another, if there is something for it. What a lane had out when it panicked is
    /// ready again when its leases are over, and not before: what it had handed over may still be on its way. False for a
    /// panic.
    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) -> bool {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        let Some(task) = self.tasks.remove(&id) else {
            return true;
        };
        let well = ended.is_ok();
        if let Err(panic) = ended {
            error!(?task, %panic, "a part of dispatch ended in a panic");
        }
        match task {
            Task::Cutter(app, provider) => {
                self.cutting.remove(&(app, provider));
                self.cutters
                    .retain(|key, signal| *key != (app, provider) || Arc::strong_count(signal) > 1);
            }
            Task::Fallbacks => self.falling_back = None,
            Task::Lane(key) => self.lane_ended(key),
            Task::Link(app) => drop(self.links.remove(&app)),
        }
        well
    }

    fn lane_ended(&mut self, key: LaneKey) {
        let Some(ended) = self.lanes.remove(&key) else {
            return;
        };
        let mut listeners = self
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(signals) = listeners.get_mut(&key.app) {
            signals.retain(|signal| !Arc::ptr_eq(signal, &ended));
            if signals.is_empty() {
                listeners.remove(&key.app);
            }
        }
    }
}

/// Has lanes told of devices whose record changes, by the store's writer.
fn listen(store: &Store, listeners: Listeners) {
    store.watch_devices(move |app, device, news| {
        if news == DeviceNews::Changed {
            let listeners = listeners.lock().unwrap_or_else(PoisonError::into_inner);
            let signals = listeners.get(&app).into_iter().flatten();
            signals.for_each(|signal| signal.device_changed(device));
        }
        true
    });
}
