//! The link: devices connected over MQTT 3.1.1 and 5, where an acknowledgement is the delivery.
//!
//! A connection *pulls*: it is woken, and reads the app's log after its own position and its inbox as its window allows. So
//! there is no queue for each connection, a slow device slows nobody, and what a device misses waits in the store. Sending
//! is persist, then route; connecting is join, then read: each message is seen by one of the two.

mod acks;
mod connection;
mod feed;
mod limits;
mod payload;
mod room;
mod tail;
mod window;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tidings_model::{AppId, DeviceId, Platform, UnixMillis};
use tidings_store::{DeviceNews, Store, StoreError};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, interval, sleep, sleep_until, timeout, timeout_at};
use tracing::{error, info, warn};

use crate::acks::Acks;
use crate::limits::{
    ACCEPT_PAUSE, DESCRIPTORS_KEPT, GOODBYE_EVERY, GOODBYES_MIN, LAST_ACKS_MAX, LOGINS_MAX,
    STORE_PAUSE, TIDY_EVERY,
};
use crate::room::{Handle, Room, Signals, lock};

/// How a link behaves.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// Connections at once; more wait in the kernel's queue. By default what the process's limit of descriptors leaves, less
    /// 1,000 for all else.
    pub connections_max: usize,
}

impl Default for LinkConfig {
    fn default() -> Self {
        let descriptors = descriptors_max().unwrap_or(20_000);
        Self {
            connections_max: descriptors.saturating_sub(DESCRIPTORS_KEPT).max(100),
        }
    }
}

/// The soft limit of descriptors of this process (Linux, proc(5)).
fn descriptors_max() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What a device says. It waits, and is acknowledged, for `done`; at most ten seconds.
#[derive(Debug)]
pub struct Uplink {
    pub app: AppId,
    pub device: DeviceId,
    pub done: oneshot::Sender<UplinkEnd>,
    /// JSON, at most 16 KiB.
    pub payload: Bytes,
    pub platform: Platform,
    pub topic: UplinkTopic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UplinkTopic {
    /// What became of messages.
    Event,
    /// Changes to the device's record.
    Profile,
}

/// What became of what a device said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UplinkEnd {
    /// It is durable.
    Done,
    /// It makes no sense, and would not the next time.
    Invalid(String),
    /// It could not be taken now: the device is asked to come again.
    Later,
}

/// A running link. Clones are the same link.
#[derive(Clone)]
pub struct Link {
    addr: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    /// Where connections' acknowledgements go; none once drained.
    acks: Mutex<Option<Acks>>,
    connected: AtomicUsize,
    /// One of the tasks has ended.
    ended: Notify,
    /// Devices that are being let in.
    logins: Semaphore,
    /// Apps whose log has grown since the router looked.
    news: Mutex<HashSet<AppId>>,
    news_came: Notify,
    rooms: Arc<Rooms>,
    stop: watch::Sender<bool>,
    /// None once drained, so that the store can close while somebody still holds the link.
    store: Mutex<Option<Arc<Store>>>,
    tasks: Mutex<Option<Tasks>>,
    uplinks: mpsc::Sender<Uplink>,
}

type Rooms = Mutex<HashMap<AppId, Arc<Room>>>;

struct Tasks {
    accept: JoinHandle<JoinSet<()>>,
    remember: JoinHandle<()>,
    route: JoinHandle<()>,
}

impl Link {
    /// Listens on `addr` and serves whoever comes. What devices say goes to `uplinks`.
    pub async fn bind(
        addr: SocketAddr,
        store: Arc<Store>,
        config: LinkConfig,
        uplinks: mpsc::Sender<Uplink>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let (acks, remember) = acks::open(Arc::clone(&store));
        let inner = Arc::new(Inner {
            acks: Mutex::new(Some(acks)),
            connected: AtomicUsize::new(0),
            ended: Notify::new(),
            logins: Semaphore::new(LOGINS_MAX),
            news: Mutex::default(),
            news_came: Notify::new(),
            rooms: Arc::default(),
            stop: watch::Sender::new(false),
            store: Mutex::new(Some(Arc::clone(&store))),
            tasks: Mutex::default(),
            uplinks,
        });
        info!(
            connections_max = config.connections_max,
            "the link takes connections on {addr}"
        );
        // Of the rooms only, so that the store is told nothing that could be its last owner.
        let rooms = Arc::downgrade(&inner.rooms);
        store.watch_devices(move |app, device, news| {
            let rooms = rooms.upgrade();
            rooms.is_some_and(|rooms| {
                let signal = match news {
                    DeviceNews::Changed => Signals::REFRESH,
                    DeviceNews::Inbox => Signals::INBOX,
                };
                signal_one(&rooms, app, device, signal);
                true
            })
        });
        let accept = accept(Arc::clone(&inner), listener, config.connections_max);
        let route = route(Arc::clone(&inner), store);
        let tasks = Tasks {
            accept: tokio::spawn(told(&inner, accept)),
            remember: tokio::spawn(told(&inner, remember)),
            route: tokio::spawn(told(&inner, route)),
        };
        *lock(&inner.tasks) = Some(tasks);
        Ok(Self { addr, inner })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Devices that are connected.
    pub fn connected(&self) -> usize {
        self.inner.connected.load(Ordering::Relaxed)
    }

    /// Those of `devices` that are connected.
    pub fn present(
        &self,
        app: AppId,
        devices: impl IntoIterator<Item = DeviceId>,
    ) -> BTreeSet<DeviceId> {
        let Some(room) = self.inner.known_room(app) else {
            return BTreeSet::new();
        };
        let devices = devices.into_iter();
        devices.filter(|device| room.has(*device)).collect()
    }

    /// Returns when what devices have acknowledged before is durable.
    pub async fn acknowledged(&self) {
        let acks = lock(&self.inner.acks).clone();
        if let Some(acks) = acks {
            acks.all_written().await;
        }
    }

    /// Waits until the link does not work any more: it was drained, or one of its tasks has ended in a panic.
    pub async fn ended(&self) {
        self.inner.ended.notified().await;
    }

    /// Tells an app's connected devices that its log has grown. The message must be committed.
    pub fn route_log(&self, app: AppId) {
        self.inner.announce(app);
    }

    /// Tells those of `devices` that are connected of something in their inboxes. It must be committed. The link watches the
    /// store and knows of it by itself, and of changed records; this and [`Self::refresh`] are for those that another process
    /// makes.
    pub fn route_inbox(&self, app: AppId, devices: &[DeviceId]) {
        for device in devices {
            signal_one(&self.inner.rooms, app, *device, Signals::INBOX);
        }
    }

    /// Has a device's record read again.
    pub fn refresh(&self, app: AppId, device: DeviceId) {
        signal_one(&self.inner.rooms, app, device, Signals::REFRESH);
    }

    /// Closes the connection of a device that was forgotten.
    pub fn close(&self, app: AppId, device: DeviceId) {
        signal_one(&self.inner.rooms, app, device, Signals::FORGOTTEN);
    }

    /// Closes the connections of an app that was forgotten.
    pub fn close_app(&self, app: AppId) {
        if let Some(room) = lock(&self.inner.rooms).remove(&app) {
            room.signal_all(Signals::FORGOTTEN);
        }
    }

    /// Takes no more connections, says goodbye to those that are there, spread over half of `grace` so that not all come
    /// back at one moment, and cuts what is left after it. Then the last acknowledgements are remembered.
    /// On return the link holds the store no more.
    pub async fn drain(&self, grace: Duration) {
        let Some(Tasks {
            accept,
            remember,
            route,
        }) = lock(&self.inner.tasks).take()
        else {
            return;
        };
        let deadline = Instant::now() + grace;
        self.inner.stop.send_replace(true);
        end(route).await;
        let mut connections = accept.await.unwrap_or_else(|panic| {
            error!(%panic, "the link's listener ended in a panic");
            JoinSet::new()
        });
        let rooms: Vec<_> = lock(&self.inner.rooms).values().cloned().collect();
        let handles: Vec<_> = rooms.iter().flat_map(|room| room.handles()).collect();
        let rounds = (grace.as_millis() / 2 / GOODBYE_EVERY.as_millis()).max(1);
        let at_once = (handles.len() / usize::try_from(rounds).unwrap_or(1)).max(GOODBYES_MIN);
        for some in handles.chunks(at_once) {
            some.iter()
                .for_each(|handle| handle.signal(Signals::GOODBYE));
            if some.len() == at_once {
                sleep(GOODBYE_EVERY).await;
            }
        }
        let all = async { while connections.join_next().await.is_some() {} };
        if timeout_at(deadline, all).await.is_err() {
            warn!(
                connections = connections.len(),
                "cut connections that did not end in time"
            );
        }
        connections.shutdown().await;
        // Those that were cut left nothing behind them.
        lock(&self.inner.rooms).clear();
        self.inner.connected.store(0, Ordering::Relaxed);
        drop(lock(&self.inner.acks).take());
        let mut remember = remember;
        match timeout(LAST_ACKS_MAX, &mut remember).await {
            Ok(Ok(())) => {}
            Ok(Err(panic)) => error!(%panic, "acknowledgements were lost in a panic"),
            Err(_) => {
                end(remember).await;
                error!("the store did not take the last acknowledgements in time");
            }
        }
        drop(lock(&self.inner.store).take());
    }
}

impl Inner {
    fn store(&self) -> Result<Arc<Store>, StoreError> {
        lock(&self.store).clone().ok_or(StoreError::Closed)
    }

    /// Has an app's tail extended, and then its devices told.
    fn announce(&self, app: AppId) {
        lock(&self.news).insert(app);
        self.news_came.notify_one();
    }

    /// Makes a device present in its app's room. A connection that it had is told and returned, and only the newer one counts.
    fn join(
        &self,
        app: AppId,
        device: DeviceId,
        handle: &Arc<Handle>,
    ) -> (Arc<Room>, Option<Arc<Handle>>) {
        // Under the lock of the rooms, so that nobody enters a room that is being dropped.
        let mut rooms = lock(&self.rooms);
        let room = rooms.entry(app).or_insert_with(|| Arc::new(Room::new(app)));
        let older = room.join(device, handle);
        if older.is_none() {
            self.connected.fetch_add(1, Ordering::Relaxed);
        }
        (Arc::clone(room), older)
    }

    /// Leaves, and drops the room with the last: opening it again is one read.
    fn leave(&self, room: &Arc<Room>, device: DeviceId, handle: &Arc<Handle>) {
        let mut rooms = lock(&self.rooms);
        if !room.leave(device, handle) {
            return;
        }
        self.connected.fetch_sub(1, Ordering::Relaxed);
        let is_its = |known: &Arc<Room>| Arc::ptr_eq(known, room);
        if room.is_empty() && rooms.get(&room.app()).is_some_and(is_its) {
            rooms.remove(&room.app());
        }
    }

    fn known_room(&self, app: AppId) -> Option<Arc<Room>> {
        lock(&self.rooms).get(&app).cloned()
    }

    /// Forgets what the rooms hold and nobody will read.
    fn tidy(&self) {
        let rooms: Vec<_> = lock(&self.rooms).values().cloned().collect();
        let (now, at) = (UnixMillis::now(), Instant::now());
        rooms.iter().for_each(|room| room.tidy(now, at));
    }
}

/// `task`, whose end is told, by a panic too.
fn told<F: Future>(inner: &Arc<Inner>, task: F) -> impl Future<Output = F::Output> + use<F> {
    struct End(Arc<Inner>);
    impl Drop for End {
        fn drop(&mut self) {
            self.0.ended.notify_one();
        }
    }
    let end = End(Arc::clone(inner));
    async move {
        let _end = end;
        task.await
    }
}

/// Signals a device, if it is connected.
fn signal_one(rooms: &Rooms, app: AppId, device: DeviceId, signal: Signals) {
    let room = lock(rooms).get(&app).cloned();
    if let Some(room) = room {
        room.signal(device, signal);
    }
}

/// Stops a task, and waits until it holds nothing any more.
async fn end(task: JoinHandle<()>) {
    task.abort();
    if let Err(error) = task.await
        && error.is_panic()
    {
        error!(%error, "a task of the link ended in a panic");
    }
}

/// Takes connections, each into a task of its own, until told to stop; then hands the tasks over.
async fn accept(inner: Arc<Inner>, listener: TcpListener, connections_max: usize) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    let mut stop = inner.stop.subscribe();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return connections,
            Some(ended) = connections.join_next() => {
                if let Err(panic) = ended {
                    error!(%panic, "a connection of the link ended in a panic");
                }
                continue;
            }
            accepted = listener.accept(), if connections.len() < connections_max => accepted,
        };
        match accepted {
            Ok((socket, _)) => {
                // Only fails on a socket that is dead already.
                let _ = socket.set_nodelay(true);
                if let Some(acks) = lock(&inner.acks).clone() {
                    connections.spawn(connection::serve(Arc::clone(&inner), acks, socket));
                }
            }
            Err(error) => {
                warn!(%error, "the link took no connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Brings each app's tail up to date before its devices are told of news: one read for all of them.
async fn route(inner: Arc<Inner>, store: Arc<Store>) {
    let mut tidy = interval(TIDY_EVERY);
    // Those whose log could not be read; the others do not wait for them.
    let mut failed = HashSet::new();
    let mut again = Instant::now();
    loop {
        tokio::select! {
            () = inner.news_came.notified() => {}
            _ = tidy.tick() => inner.tidy(),
            () = sleep_until(again), if !failed.is_empty() => {
                lock(&inner.news).extend(failed.drain());
            }
        }
        let apps = std::mem::take(&mut *lock(&inner.news));
        for app in apps {
            // Also when nobody is there: whoever comes next reads the tail, and must not find a gap in it.
            let Some(room) = inner.known_room(app) else {
                continue;
            };
            match room.extend_tail(&store).await {
                Ok(()) => room.signal_all(Signals::LOG),
                Err(error) => {
                    error!(%error, app = app.0, "the link cannot read the log");
                    failed.insert(app);
                    again = Instant::now() + STORE_PAUSE;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use tidings_store::SealKey;

    use super::*;

    /// Bytes of the task of a connection, without its heap: an idle one has its session's and its feed's state there, and
    /// no buffer.
    const CONNECTION_BYTES_MAX: usize = 1536;

    async fn link(data: &TempDir) -> Link {
        let key = SealKey::parse(&"0a".repeat(32)).expect("a key");
        let store = Arc::new(Store::open(data.path(), key).expect("opens"));
        let (uplinks, _) = mpsc::channel(1);
        let config = LinkConfig::default();
        Link::bind(([127, 0, 0, 1], 0).into(), store, config, uplinks)
            .await
            .expect("a link")
    }

    #[tokio::test]
    async fn a_task_that_ends_by_itself_is_told_of() {
        let data = TempDir::new().expect("a directory");
        let link = link(&data).await;
        let tasks = lock(&link.inner.tasks).take().expect("it runs");
        for task in [tasks.remember, tasks.route] {
            task.abort();
            link.ended().await;
        }
        tasks.accept.abort();
        link.ended().await;
    }

    #[tokio::test]
    async fn a_room_goes_with_its_last_device() {
        let data = TempDir::new().expect("a directory");
        let link = link(&data).await;
        let inner = &link.inner;
        let rooms = || lock(&inner.rooms).len();
        let handles = [Arc::new(Handle::default()), Arc::new(Handle::default())];
        let [one, other] = &handles;
        let (app, device) = (AppId(1), DeviceId(1));
        let (room, older) = inner.join(app, device, one);
        assert!(older.is_none());
        let (again, older) = inner.join(app, device, other);
        assert!(Arc::ptr_eq(&room, &again) && older.is_some());
        inner.leave(&room, device, one);
        assert_eq!((rooms(), link.connected()), (1, 1));
        inner.leave(&room, device, other);
        assert_eq!((rooms(), link.connected()), (0, 0));
        // Whoever leaves a room that was dropped touches none that was opened since.
        inner.join(app, device, one);
        inner.leave(&room, device, other);
        assert_eq!((rooms(), link.connected()), (1, 1));
    }

    #[tokio::test]
    async fn a_connection_is_small() {
        let data = TempDir::new().expect("a directory");
        let link = link(&data).await;
        let socket = tokio::net::TcpStream::connect(link.local_addr())
            .await
            .expect("a connection");
        let (acks, _) = acks::open(link.inner.store().expect("a store"));
        let connection = connection::serve(Arc::clone(&link.inner), acks, socket);
        let bytes = size_of_val(&connection);
        println!("a connection is {bytes} bytes");
        assert!(bytes <= CONNECTION_BYTES_MAX, "{bytes} bytes");
    }
}
