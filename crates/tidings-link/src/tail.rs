//! The newest part of an app's log, as its connections share it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tidings_model::{Audience, Message, Parts, Platform, UnixMillis};
use tidings_store::{LogEntry, Position, Store, StoreError};
use tokio::time::Instant;
use tracing::error;

use crate::limits::{ENCODED_KEPT, TAIL_BYTES_MAX, TAIL_MAX};
use crate::payload;
use crate::room::lock;

/// A logged message as it lies in memory: what judging needs, and while it is being sent the message and its payload, encoded once
/// for each kind of device.
#[derive(Debug)]
pub(crate) struct Entry {
    encoded: Mutex<Encoded>,
    pub(crate) logged: LogEntry,
    /// One connection reads; the others wait for what it finds.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Encoded {
    message: Option<Arc<Message>>,
    payloads: Vec<(Platform, Parts, Bytes)>,
    used_at: Option<Instant>,
}

impl Encoded {
    fn find(&mut self, platform: Platform, parts: Parts) -> Option<Bytes> {
        let mut payloads = self.payloads.iter();
        let known = payloads.find(|(of, with, _)| (*of, *with) == (platform, parts));
        let payload = match (known, &self.message) {
            (Some((.., payload)), _) => payload.clone(),
            (None, Some(message)) => {
                let payload = payload::encode(message, platform, parts);
                self.payloads.push((platform, parts, payload.clone()));
                payload
            }
            (None, None) => return None,
        };
        self.used_at = Some(Instant::now());
        Some(payload)
    }
}

impl Entry {
    pub(crate) fn new(logged: LogEntry) -> Arc<Self> {
        Arc::new(Self {
            encoded: Mutex::default(),
            logged,
            reading: tokio::sync::Mutex::default(),
        })
    }

    /// The payload, if the message has been read.
    pub(crate) fn known_payload(&self, platform: Platform, parts: Parts) -> Option<Bytes> {
        lock(&self.encoded).find(platform, parts)
    }

    /// None when the message is not there any more, or cannot be read.
    pub(crate) async fn payload(
        &self,
        store: &Store,
        platform: Platform,
        parts: Parts,
    ) -> Result<Option<Bytes>, StoreError> {
        let known = || self.known_payload(platform, parts);
        if let Some(payload) = known() {
            return Ok(Some(payload));
        }
        let _reading = self.reading.lock().await;
        if let Some(payload) = known() {
            return Ok(Some(payload));
        }
        self.read(store).await?;
        Ok(known())
    }

    /// Reads the message, which is kept for as long as it is being sent: thousands of connections that are woken for it at once
    /// do not have to wait for it.
    pub(crate) async fn read(&self, store: &Store) -> Result<(), StoreError> {
        let id = self.logged.message;
        let message = match store.message(id).await {
            // It would end every connection that comes to it: nobody gets it.
            Err(StoreError::Stored(why)) => {
                error!(why, msg_id = %id, "message {id} cannot be read");
                None
            }
            found => found?,
        };
        let mut encoded = lock(&self.encoded);
        encoded.message = message.map(Arc::new);
        encoded.used_at = Some(Instant::now());
        Ok(())
    }

    /// Bytes that it takes, beside its payloads.
    fn weight(&self) -> usize {
        let texts = match &self.logged.audience {
            Audience::All => 0,
            Audience::Selection(selection) => {
                let aliases = selection.aliases.iter().map(|alias| alias.as_str().len());
                let tags = selection.tags.iter().map(|tag| tag.as_str().len());
                let words: usize = aliases
                    .chain(tags)
                    .map(|len| len + size_of::<String>())
                    .sum();
                words + size_of_val(selection.devices.as_slice())
            }
        };
        size_of::<Self>() + texts
    }

    /// Forgets payloads that nobody has asked for since some seconds.
    fn cool(&self, now: Instant) {
        let mut encoded = lock(&self.encoded);
        let in_use = |at: Instant| now.saturating_duration_since(at) < ENCODED_KEPT;
        if !encoded.used_at.is_some_and(in_use) {
            *encoded = Encoded::default();
        }
    }

    fn encoded_bytes(&self) -> usize {
        let encoded = lock(&self.encoded);
        let payloads = encoded.payloads.iter().map(|(.., bytes)| bytes.len());
        // A message is about as large as what it is encoded to.
        let largest = payloads.clone().max().unwrap_or(0);
        payloads.sum::<usize>() + largest
    }
}

/// All log entries with `from` < position <= `to`.
pub(crate) struct Tail {
    bytes: usize,
    entries: VecDeque<Arc<Entry>>,
    from: Position,
    to: Position,
}

/// What the tail has for a position.
pub(crate) enum TailRead {
    /// These, and whether there may be more.
    Entries(Vec<Arc<Entry>>, bool),
    /// The position lies before the tail: read the store, which has everything up to `to` at least.
    Store { to: Position },
}

impl Tail {
    /// An empty one.
    pub(crate) fn at(end: Position) -> Self {
        Self {
            bytes: 0,
            entries: VecDeque::new(),
            from: end,
            to: end,
        }
    }

    pub(crate) fn end(&self) -> Position {
        self.to
    }

    pub(crate) fn extend(&mut self, new: Vec<Arc<Entry>>) {
        for entry in new {
            self.to = entry.logged.position;
            self.bytes += entry.weight();
            self.entries.push_back(entry);
        }
        while self.entries.len() > TAIL_MAX || self.bytes > TAIL_BYTES_MAX {
            if self.cut().is_none() {
                return;
            }
        }
    }

    /// Forgets what has expired, and payloads that are not in use; whoever is behind that reads the store.
    pub(crate) fn tidy(&mut self, now: UnixMillis, at: Instant) {
        let is_over = |entry: &Arc<Entry>| entry.logged.expires_at <= now;
        while self.entries.front().is_some_and(is_over) {
            self.cut();
        }
        self.entries.iter().for_each(|entry| entry.cool(at));
        let encoded = |entry: &Arc<Entry>| entry.encoded_bytes();
        while self.entries.iter().map(encoded).sum::<usize>() > TAIL_BYTES_MAX {
            self.cut();
        }
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }

    /// Cuts the oldest entry off.
    fn cut(&mut self) -> Option<()> {
        let oldest = self.entries.pop_front()?;
        self.bytes -= oldest.weight();
        self.from = oldest.logged.position;
        Some(())
    }

    pub(crate) fn read(&self, after: Position, limit: usize) -> TailRead {
        if after < self.from {
            return TailRead::Store { to: self.to };
        }
        let entries = &self.entries;
        let start = entries.partition_point(|entry| entry.logged.position <= after);
        let read: Vec<_> = entries.range(start..).take(limit).cloned().collect();
        let more = start + read.len() < entries.len();
        TailRead::Entries(read, more)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidings_model::{Aim, MsgId};

    use super::*;

    fn logged(position: i64, expires_at: i64, audience: Audience) -> LogEntry {
        LogEntry {
            aim: Aim::default(),
            audience,
            expires_at: UnixMillis(expires_at),
            message: MsgId(position - 1),
            online_only: false,
            position: Position(position),
        }
    }

    fn held(tail: &Tail) -> Vec<i64> {
        let entries = tail.entries.iter();
        entries.map(|entry| entry.logged.position.0).collect()
    }

    #[test]
    fn a_tail_is_bounded_by_number_bytes_and_time() {
        let mut tail = Tail::at(Position(10));
        let many = (11..1000).map(|position| Entry::new(logged(position, position, Audience::All)));
        tail.extend(many.collect());
        assert_eq!(held(&tail).len(), TAIL_MAX);
        let now = Instant::now();
        tail.tidy(UnixMillis(990), now);
        assert_eq!(held(&tail), (991..1000).collect::<Vec<_>>());
        assert!(matches!(
            tail.read(Position(989), 4),
            TailRead::Store { to: Position(999) }
        ));
        let TailRead::Entries(read, true) = tail.read(Position(992), 4) else {
            panic!("it has more")
        };
        assert_eq!(read[0].logged.position, Position(993));

        let devices = vec![tidings_model::DeviceId(1); 10_000];
        let large = Audience::Selection(tidings_model::Selection {
            devices,
            ..Default::default()
        });
        let many = (1000..1100).map(|position| Entry::new(logged(position, 5000, large.clone())));
        tail.extend(many.collect());
        assert!(tail.bytes <= TAIL_BYTES_MAX, "{}", tail.bytes);
        assert!(!held(&tail).is_empty());
        tail.tidy(UnixMillis(5000), now);
        assert_eq!((held(&tail), tail.bytes), (vec![], 0));
        assert!(
            matches!(tail.read(Position(1099), 4), TailRead::Entries(read, false) if read.is_empty())
        );
    }

    #[test]
    fn a_payload_is_kept_while_it_is_in_use() {
        let mut tail = Tail::at(Position(10));
        tail.extend(vec![Entry::new(logged(11, 100, Audience::All))]);
        let now = Instant::now();
        let (platform, parts) = (Platform::Android, Parts::default());
        let known = |tail: &Tail| {
            lock(&tail.entries[0].encoded)
                .find(platform, parts)
                .is_some()
        };
        let payload = (platform, parts, Bytes::from_static(b"{}"));
        lock(&tail.entries[0].encoded).payloads.push(payload);
        assert!(known(&tail));
        tail.tidy(UnixMillis(0), now);
        assert!(known(&tail));
        tail.tidy(UnixMillis(0), now + ENCODED_KEPT + Duration::from_secs(1));
        assert!(!known(&tail));
    }
}
