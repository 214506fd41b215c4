//! Acknowledgements on their way to the store: many share a commit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tidings_model::DeviceId;
use tidings_store::{Ack, Store};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use tracing::error;

use crate::limits::{ACKS_AT_ONCE, ACKS_MAX, SHARDS, STORE_PAUSE};
use crate::room::{lock, shard_of};

/// The way of acknowledgements to the store. Clones are the same way.
#[derive(Clone)]
pub(crate) struct Acks {
    queue: mpsc::Sender<Said>,
    unwritten: Arc<Unwritten>,
}

enum Said {
    Ack(Ack),
    /// Answered when everything that was said before is durable.
    Mark(oneshot::Sender<()>),
}

/// How many acknowledgements of each device are on their way.
#[derive(Default)]
struct Unwritten([Mutex<HashMap<DeviceId, usize>>; SHARDS]);

impl Unwritten {
    fn add(&self, device: DeviceId) {
        *lock(&self.0[shard_of(device)]).entry(device).or_default() += 1;
    }

    fn remove(&self, device: DeviceId) {
        let mut shard = lock(&self.0[shard_of(device)]);
        if let Some(count) = shard.get_mut(&device) {
            *count -= 1;
            if *count == 0 {
                shard.remove(&device);
            }
        }
    }

    fn has(&self, device: DeviceId) -> bool {
        lock(&self.0[shard_of(device)]).contains_key(&device)
    }
}

/// Opens the way; the task that writes ends when nobody can send any more.
pub(crate) fn open(store: Arc<Store>) -> (Acks, impl Future<Output = ()> + Send) {
    let (queue, said) = mpsc::channel(ACKS_MAX);
    let unwritten = Arc::new(Unwritten::default());
    let acks = Acks {
        queue,
        unwritten: Arc::clone(&unwritten),
    };
    (acks, remember(store, unwritten, said))
}

impl Acks {
    /// Waits while the queue is full. What cannot be sent because the server ends is lost: the device is sent the message
    /// again, and drops it by its id.
    pub(crate) async fn send(&self, ack: Ack) {
        let device = ack.device;
        self.unwritten.add(device);
        if self.queue.send(Said::Ack(ack)).await.is_err() {
            self.unwritten.remove(device);
        }
    }

    /// Returns when what was said of a device before is durable, at once if nothing is on its way.
    pub(crate) async fn written(&self, device: DeviceId) {
        if self.unwritten.has(device) {
            self.all_written().await;
        }
    }

    /// Returns when all that was said before is durable.
    pub(crate) async fn all_written(&self) {
        let (mark, marked) = oneshot::channel();
        if self.queue.send(Said::Mark(mark)).await.is_ok() {
            // Fails only when the server ends.
            let _ = marked.await;
        }
    }
}

/// Writes them down in their order. The one that cannot be written at all is found, and left out: the device is sent the message
/// again.
async fn write(store: &Store, acks: Vec<Ack>) {
    // The next to be written last.
    let mut waiting = vec![acks];
    while let Some(mut acks) = waiting.pop() {
        let Err(error) = store.acknowledge(acks.clone()).await else {
            continue;
        };
        if !error.is_lasting() {
            error!(%error, acks = acks.len(), "acknowledgements wait for the store");
            waiting.push(acks);
            sleep(STORE_PAUSE).await;
        } else if acks.len() > 1 {
            let second = acks.split_off(acks.len() / 2);
            waiting.push(second);
            waiting.push(acks);
        } else if let Some(ack) = acks.pop() {
            let Ack { device, what, .. } = ack;
            error!(%error, device = %device, ?what, "an acknowledgement of device {device} cannot be written, and is lost");
        }
    }
}

/// Remembers what comes until nobody can send any more. What waits during a commit shares the next.
async fn remember(store: Arc<Store>, unwritten: Arc<Unwritten>, mut said: mpsc::Receiver<Said>) {
    let mut batch = Vec::with_capacity(ACKS_AT_ONCE);
    while said.recv_many(&mut batch, ACKS_AT_ONCE).await > 0 {
        let (mut acks, mut marks) = (Vec::with_capacity(batch.len()), Vec::new());
        for said in batch.drain(..) {
            match said {
                Said::Ack(ack) => acks.push(ack),
                Said::Mark(mark) => marks.push(mark),
            }
        }
        let devices: Vec<DeviceId> = acks.iter().map(|ack| ack.device).collect();
        if !acks.is_empty() {
            write(&store, acks).await;
        }
        devices
            .into_iter()
            .for_each(|device| unwritten.remove(device));
        for mark in marks {
            // Whoever waited may have gone.
            let _ = mark.send(());
        }
    }
}
