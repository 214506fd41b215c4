//! The connected devices of one app, and the newest part of its log, which they share.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tidings_model::{AppId, DeviceId, Message, MsgId, Parts, Platform, UnixMillis};
use tidings_store::{Store, StoreError};
use tokio::sync::Notify;

use crate::limits::{SHARDS, TAIL_MAX, TAIL_READ};
use crate::payload;

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
    signals: AtomicU8,
    woken: Notify,
}

impl Handle {
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

/// A message as it lies in memory: encoded once for each kind of device.
#[derive(Debug)]
pub(crate) struct Entry {
    encoded: Mutex<Vec<(Platform, Parts, Bytes)>>,
    pub(crate) message: Message,
}

impl Entry {
    pub(crate) fn new(message: Message) -> Arc<Self> {
        Arc::new(Self {
            encoded: Mutex::default(),
            message,
        })
    }

    pub(crate) fn payload(&self, platform: Platform, parts: Parts) -> Bytes {
        let mut encoded = lock(&self.encoded);
        let known = encoded
            .iter()
            .find(|(for_platform, with, _)| (*for_platform, *with) == (platform, parts));
        if let Some((_, _, payload)) = known {
            return payload.clone();
        }
        let payload = payload::encode(&self.message, platform, parts);
        encoded.push((platform, parts, payload.clone()));
        payload
    }
}

pub(crate) struct Room {
    app: AppId,
    devices: [Mutex<HashMap<DeviceId, Arc<Handle>>>; SHARDS],
    tail: Mutex<Option<Tail>>,
}

/// All log entries with `from` < id <= `to`.
struct Tail {
    entries: VecDeque<Arc<Entry>>,
    from: MsgId,
    to: MsgId,
}

/// What the tail has for a position.
pub(crate) enum TailRead {
    /// These, and whether there may be more.
    Entries(Vec<Arc<Entry>>, bool),
    /// The position lies before the tail: read the store, which has everything up to `to` at least.
    Store { to: MsgId },
}

impl Room {
    pub(crate) fn new(app: AppId) -> Self {
        Self {
            app,
            devices: Default::default(),
            tail: Mutex::default(),
        }
    }

    fn shard(&self, device: DeviceId) -> MutexGuard<'_, HashMap<DeviceId, Arc<Handle>>> {
        // The low bits of an id are a counter that is mostly zero; the bits above are milliseconds.
        lock(&self.devices[(device.0 >> 20) as usize % SHARDS])
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

    /// Begins the tail where the log ends now, if there is none yet. When it has begun, the caller must have it extended:
    /// what was committed and routed between the read and the beginning found no tail to come into.
    pub(crate) async fn open_tail(&self, store: &Store) -> Result<bool, StoreError> {
        if lock(&self.tail).is_some() {
            return Ok(false);
        }
        let newest = store.newest_message().await?;
        lock(&self.tail).get_or_insert_with(|| Tail {
            entries: VecDeque::new(),
            from: newest,
            to: newest,
        });
        Ok(true)
    }

    /// Reads what has come to the log since the last time. One caller at a time.
    pub(crate) async fn extend_tail(&self, store: &Store) -> Result<(), StoreError> {
        loop {
            let to = match &*lock(&self.tail) {
                Some(tail) => tail.to,
                None => return Ok(()),
            };
            let new = store
                .log_after(self.app, to, UnixMillis::now(), TAIL_READ)
                .await?;
            let complete = new.len() < TAIL_READ as usize;
            if let Some(tail) = &mut *lock(&self.tail) {
                tail.extend(new);
            }
            if complete {
                return Ok(());
            }
        }
    }

    pub(crate) fn read_tail(&self, after: MsgId, limit: usize) -> TailRead {
        match &*lock(&self.tail) {
            Some(tail) if tail.from <= after => {
                let start = tail
                    .entries
                    .partition_point(|entry| entry.message.id <= after);
                let entries: Vec<_> = tail.entries.range(start..).take(limit).cloned().collect();
                let more = start + entries.len() < tail.entries.len();
                TailRead::Entries(entries, more)
            }
            Some(tail) => TailRead::Store { to: tail.to },
            None => TailRead::Store { to: MsgId(0) },
        }
    }
}

impl Tail {
    fn extend(&mut self, new: Vec<Message>) {
        for message in new {
            self.to = message.id;
            self.entries.push_back(Entry::new(message));
        }
        while self.entries.len() > TAIL_MAX {
            if let Some(oldest) = self.entries.pop_front() {
                self.from = oldest.message.id;
            }
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
