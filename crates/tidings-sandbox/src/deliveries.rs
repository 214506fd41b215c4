//! What the simulated providers accepted, in order of arrival.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::value::RawValue;
use uuid::Uuid;

use crate::device_token::DeviceToken;
use crate::limits::{DELIVERIES_PAGE, DELIVERIES_PAGE_MAX, PAYLOADS_SHARED_MAX};
use crate::provider::Provider;

/// One accepted delivery. A broadcast costs about 130 bytes each: equal payloads are kept once.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Place in the order of arrival, from 1.
    pub seq: u64,
    pub provider: Provider,
    pub token: DeviceToken,
    pub id: DeliveryId,
    /// The number of the HTTP request that carried it, from 1. Only requests with a delivery have one.
    pub request: u64,
    /// Milliseconds since the Unix epoch.
    pub at: i64,
    /// The message as this device gets it, which is JSON.
    pub payload: Arc<str>,
}

/// The provider's delivery id: for APNs the `apns-id`, for a maker the id that its answer named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryId {
    Text(Arc<str>),
    Uuid(Uuid),
}

/// Which deliveries to read.
#[derive(Clone, Debug)]
pub struct DeliveryQuery {
    pub provider: Option<Provider>,
    /// Only those to a token that is written so.
    pub token: Option<String>,
    /// Only those with a greater `seq`.
    pub after: u64,
    /// At most this many, and never more than 10,000.
    pub limit: usize,
}

impl Default for DeliveryQuery {
    fn default() -> Self {
        Self {
            provider: None,
            token: None,
            after: 0,
            limit: DELIVERIES_PAGE,
        }
    }
}

/// One page of deliveries.
#[derive(Clone, Debug)]
pub struct DeliveryPage {
    pub deliveries: Vec<Delivery>,
    /// What to pass as `after` to read on.
    pub next: u64,
    /// How many deliveries after `after` are no longer kept.
    pub dropped: u64,
}

/// The log: the newest deliveries up to a bound. Reading with a token looks at each one that is kept.
#[derive(Debug)]
pub struct Deliveries {
    log: Mutex<Log>,
    kept_max: usize,
}

#[derive(Debug, Default)]
struct Log {
    entries: VecDeque<Entry>,
    /// `seq` of the first entry, less one.
    before_first: u64,
    /// Requests that carried a delivery.
    requests: u64,
    /// Payloads of late, for sharing.
    payloads: HashSet<Arc<str>>,
}

/// One request's deliveries on their way into the log, which waits meanwhile.
pub(crate) struct Recording<'a> {
    log: MutexGuard<'a, Log>,
    kept_max: usize,
    provider: Provider,
    at: i64,
}

#[derive(Debug)]
struct Entry {
    token: DeviceToken,
    payload: Arc<str>,
    id: DeliveryId,
    request: u64,
    at: i64,
    provider: Provider,
}

impl Deliveries {
    pub(crate) fn new(kept_max: usize) -> Self {
        Self {
            log: Mutex::default(),
            kept_max: kept_max.max(1),
        }
    }

    /// Appends the one delivery of a request, unless its payload is no JSON: then it answers false.
    pub(crate) fn record(
        &self,
        provider: Provider,
        token: DeviceToken,
        id: Uuid,
        at: i64,
        payload: &[u8],
    ) -> bool {
        let Ok(text) = str::from_utf8(payload) else {
            return false;
        };
        let mut log = self.lock();
        let Some(payload) = log.shared(text) else {
            return false;
        };
        let mut recording = self.recording(log, provider, at);
        recording.add(token, DeliveryId::Uuid(id), payload);
        true
    }

    /// Begins the deliveries of one request.
    pub(crate) fn request(&self, provider: Provider, at: i64) -> Recording<'_> {
        self.recording(self.lock(), provider, at)
    }

    fn recording<'a>(
        &self,
        mut log: MutexGuard<'a, Log>,
        provider: Provider,
        at: i64,
    ) -> Recording<'a> {
        log.requests += 1;
        Recording {
            log,
            kept_max: self.kept_max,
            provider,
            at,
        }
    }

    /// Deliveries accepted since the start.
    pub fn count(&self) -> u64 {
        let log = self.lock();
        log.before_first + log.entries.len() as u64
    }

    /// A page of those that match, in order of arrival.
    pub fn page(&self, query: &DeliveryQuery) -> DeliveryPage {
        let log = self.lock();
        let limit = query.limit.min(DELIVERIES_PAGE_MAX);
        let skipped = query.after.saturating_sub(log.before_first);
        let start =
            usize::try_from(skipped).map_or(log.entries.len(), |n| n.min(log.entries.len()));
        let mut page = DeliveryPage {
            deliveries: Vec::new(),
            next: query.after,
            dropped: log.before_first.saturating_sub(query.after),
        };
        for (index, entry) in log.entries.range(start..).enumerate() {
            if page.deliveries.len() >= limit {
                break;
            }
            let seq = log.before_first + (start + index) as u64 + 1;
            page.next = seq;
            if entry.matches(query) {
                page.deliveries.push(Delivery {
                    seq,
                    provider: entry.provider,
                    token: entry.token.clone(),
                    id: entry.id.clone(),
                    request: entry.request,
                    at: entry.at,
                    payload: Arc::clone(&entry.payload),
                });
            }
        }
        page
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    /// A payload to keep; none when it is no JSON.
    fn shared(&mut self, text: &str) -> Option<Arc<str>> {
        if let Some(shared) = self.payloads.get(text) {
            return Some(Arc::clone(shared));
        }
        serde_json::from_str::<&RawValue>(text).ok()?;
        if self.payloads.len() >= PAYLOADS_SHARED_MAX {
            self.payloads.clear();
        }
        let payload = Arc::<str>::from(text);
        self.payloads.insert(Arc::clone(&payload));
        Some(payload)
    }
}

impl Recording<'_> {
    /// Appends a delivery of the request; its payload is JSON.
    pub(crate) fn add(&mut self, token: DeviceToken, id: DeliveryId, payload: Arc<str>) {
        let log = &mut *self.log;
        if log.entries.len() >= self.kept_max {
            log.entries.pop_front();
            log.before_first += 1;
        }
        log.entries.push_back(Entry {
            token,
            payload,
            id,
            request: log.requests,
            at: self.at,
            provider: self.provider,
        });
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Uuid(uuid) => uuid.fmt(f),
        }
    }
}

impl Entry {
    fn matches(&self, query: &DeliveryQuery) -> bool {
        query.provider.is_none_or(|wanted| wanted == self.provider)
            && query
                .token
                .as_ref()
                .is_none_or(|wanted| self.token.is_written(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(byte: u8) -> DeviceToken {
        format!("{byte:02x}").repeat(32).parse().unwrap()
    }

    fn filled(kept_max: usize, count: u8) -> Deliveries {
        let deliveries = Deliveries::new(kept_max);
        for n in 0..count {
            let payload = format!("{{\"n\":{}}}", n % 2);
            assert!(deliveries.record(
                Provider::Apns,
                token(n % 3),
                Uuid::from_u128(n.into()),
                1_000 + i64::from(n),
                payload.as_bytes(),
            ));
        }
        deliveries
    }

    fn seqs(page: &DeliveryPage) -> Vec<u64> {
        page.deliveries
            .iter()
            .map(|delivery| delivery.seq)
            .collect()
    }

    #[test]
    fn pages_follow_each_other_until_the_end() {
        let deliveries = filled(100, 5);
        let mut query = DeliveryQuery {
            limit: 2,
            ..DeliveryQuery::default()
        };
        let mut seen = Vec::new();
        for _ in 0..4 {
            let page = deliveries.page(&query);
            seen.push(seqs(&page));
            query.after = page.next;
        }
        assert_eq!(seen, [vec![1, 2], vec![3, 4], vec![5], vec![]]);
        assert_eq!(query.after, 5);
    }

    #[test]
    fn a_token_filter_skips_the_others_and_still_reads_on() {
        let deliveries = filled(100, 9);
        let query = DeliveryQuery {
            token: Some(token(1).to_string()),
            limit: 2,
            ..DeliveryQuery::default()
        };
        let first = deliveries.page(&query);
        assert_eq!(seqs(&first), [2, 5]);
        let second = deliveries.page(&DeliveryQuery {
            after: first.next,
            ..query
        });
        assert_eq!((seqs(&second), second.next), (vec![8], 9));
    }

    #[test]
    fn the_deliveries_of_a_batch_share_its_request() {
        let deliveries = filled(100, 2);
        let mut batch = deliveries.request(Provider::Huawei, 7);
        for text in ["a", "b"] {
            let id = DeliveryId::Text("batch".into());
            batch.add(DeviceToken::of_text(text).unwrap(), id, "{}".into());
        }
        drop(batch);
        let page = deliveries.page(&DeliveryQuery::default());
        let requests: Vec<u64> = page.deliveries.iter().map(|d| d.request).collect();
        assert_eq!(requests, [1, 2, 3, 3]);
        assert_eq!(page.deliveries[3].id.to_string(), "batch");
    }

    #[test]
    fn the_oldest_are_dropped_and_it_says_so() {
        let deliveries = filled(3, 10);
        let page = deliveries.page(&DeliveryQuery {
            after: 2,
            ..DeliveryQuery::default()
        });
        assert_eq!((seqs(&page), page.dropped), (vec![8, 9, 10], 5));
        assert_eq!(deliveries.count(), 10);
        let beyond = deliveries.page(&DeliveryQuery {
            after: u64::MAX,
            ..DeliveryQuery::default()
        });
        assert_eq!((beyond.next, beyond.dropped), (u64::MAX, 0));
    }

    #[test]
    fn equal_payloads_are_kept_once_and_only_json_is_taken() {
        let deliveries = filled(100, 4);
        let page = deliveries.page(&DeliveryQuery::default());
        assert!(Arc::ptr_eq(
            &page.deliveries[0].payload,
            &page.deliveries[2].payload
        ));
        assert!(!deliveries.record(Provider::Apns, token(0), Uuid::nil(), 0, b"{"));
        assert!(!deliveries.record(Provider::Apns, token(0), Uuid::nil(), 0, b"\xff"));
        assert_eq!(deliveries.count(), 4);
    }
}
