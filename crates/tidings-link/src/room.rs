//! The connected devices of one app, and the newest part of its log, which they share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidings_model::{AppId, DeviceId, UnixMillis};
use tidings_store::{Position, Store, StoreError};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::limits::{READ_AHEAD, SHARDS, TAIL_READ};
use crate::tail::{Entry, Tail, TailRead};

/// What a connection is woken for; several may come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signals(u8);

impl Signals {
    /// There is something new in the app's log.
    pub(crate) const LOG: Self = Self(1);
    /// There is something new in the device's inbox.
    pub(crate) const INBOX: Self = Self(2);
    /// The device's record has changed.
    pub(crate) const REFRESH: Self = Self(4);
    /// The device was forgotten.
    pub(crate) const FORGOTTEN: Self = Self(8);
    /// The device has another connection.
    pub(crate) const TAKEN_OVER: Self = Self(16);
    /// The server stops.
    pub(crate) const GOODBYE: Self = Self(32);

    pub(crate) fn has(self, signal: Self) -> bool {
        self.0 & signal.0 != 0
    }
}

/// How a connection is reached by everyone else: no queue, only what it should look at.
#[derive(Debug, Default)]
pub(crate) struct Handle {
    /// Told when the connection has ended, with its last word on its way.
    ended: Notify,
    signals: AtomicU8,
    woken: Notify,
}

impl Handle {
    /// The connection has ended: nothing more comes from it.
    pub(crate) fn end(&self) {
        self.ended.notify_one();
    }

    /// Returns when the connection has ended. One waits for it, the connection that took its place. Cancel safe.
    pub(crate) async fn ended(&self) {
        self.ended.notified().await;
    }

    pub(crate) fn signal(&self, signal: Signals) {
        self.signals.fetch_or(signal.0, Ordering::AcqRel);
        self.woken.notify_one();
    }

    /// Waits for signals and takes them. Cancel safe.
    pub(crate) async fn signals(&self) -> Signals {
        loop {
            let signals = self.signals.swap(0, Ordering::AcqRel);
            if signals != 0 {
                return Signals(signals);
            }
            self.woken.notified().await;
        }
    }

    /// Whether this signal has come and was not yet taken.
    pub(crate) fn has(&self, signal: Signals) -> bool {
        Signals(self.signals.load(Ordering::Acquire)).has(signal)
    }
}

pub(crate) struct Room {
    app: AppId,
    devices: [Mutex<HashMap<DeviceId, Arc<Handle>>>; SHARDS],
    tail: Mutex<Option<Tail>>,
}

impl Room {
    pub(crate) fn new(app: AppId) -> Self {
        Self {
            app,
            devices: Default::default(),
            tail: Mutex::default(),
        }
    }

    pub(crate) fn app(&self) -> AppId {
        self.app
    }

    fn shard(&self, device: DeviceId) -> MutexGuard<'_, HashMap<DeviceId, Arc<Handle>>> {
        lock(&self.devices[shard_of(device)])
    }

    /// Enters; a connection that the device had before is told and returned.
    pub(crate) fn join(&self, device: DeviceId, handle: &Arc<Handle>) -> Option<Arc<Handle>> {
        let older = self.shard(device).insert(device, Arc::clone(handle))?;
        older.signal(Signals::TAKEN_OVER);
        Some(older)
    }

    /// Leaves; false when a newer connection is there, which stays.
    pub(crate) fn leave(&self, device: DeviceId, handle: &Arc<Handle>) -> bool {
        let mut shard = self.shard(device);
        let ours = shard
            .get(&device)
            .is_some_and(|present| Arc::ptr_eq(present, handle));
        if ours {
            shard.remove(&device);
        }
        ours
    }

    pub(crate) fn has(&self, device: DeviceId) -> bool {
        self.shard(device).contains_key(&device)
    }

    pub(crate) fn signal(&self, device: DeviceId, signal: Signals) {
        if let Some(handle) = self.shard(device).get(&device) {
            handle.signal(signal);
        }
    }

    pub(crate) fn signal_all(&self, signal: Signals) {
        for shard in &self.devices {
            lock(shard)
                .values()
                .for_each(|handle| handle.signal(signal));
        }
    }

    pub(crate) fn handles(&self) -> Vec<Arc<Handle>> {
        self.devices
            .iter()
            .flat_map(|shard| lock(shard).values().cloned().collect::<Vec<_>>())
            .collect()
    }

    /// Nobody is there.
    pub(crate) fn is_empty(&self) -> bool {
        self.devices.iter().all(|shard| lock(shard).is_empty())
    }

    /// Begins the tail where the log ends now, if there is none yet. When it has begun, the caller must have it extended:
    /// what was committed and routed between the read and the beginning found no tail to come into.
    pub(crate) async fn open_tail(&self, store: &Store) -> Result<bool, StoreError> {
        if lock(&self.tail).is_some() {
            return Ok(false);
        }
        let end = store.log_end(self.app).await?;
        lock(&self.tail).get_or_insert_with(|| Tail::at(end));
        Ok(true)
    }

    /// Reads what has come to the log since the last time. One caller at a time.
    pub(crate) async fn extend_tail(&self, store: &Store) -> Result<(), StoreError> {
        loop {
            let to = match &*lock(&self.tail) {
                Some(tail) => tail.end(),
                None => return Ok(()),
            };
            let new = store.log_after(self.app, to, TAIL_READ).await?;
            let complete = new.len() < TAIL_READ as usize;
            let new: Vec<_> = new.into_iter().map(Entry::new).collect();
            for entry in new.iter().rev().take(READ_AHEAD) {
                entry.read(store).await?;
            }
            if let Some(tail) = &mut *lock(&self.tail) {
                tail.extend(new);
            }
            if complete {
                return Ok(());
            }
        }
    }

    pub(crate) fn read_tail(&self, after: Position, limit: usize) -> TailRead {
        match &*lock(&self.tail) {
            Some(tail) => tail.read(after, limit),
            None => TailRead::Store { to: Position(0) },
        }
    }

    /// Forgets what of the tail is over or not in use.
    pub(crate) fn tidy(&self, now: UnixMillis, at: Instant) {
        if let Some(tail) = &mut *lock(&self.tail) {
            tail.tidy(now, at);
        }
    }
}

/// Which of the [`SHARDS`] locks is a device's.
pub(crate) fn shard_of(device: DeviceId) -> usize {
    // The low bits of an id are a counter that is mostly zero; the bits above are milliseconds.
    (device.0 >> 20) as usize % SHARDS
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
