//! Messages that are saved first and sent by their ids, and the ids by which a repeated one is known.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::{SAVED_MAX, SEEN_MAX};
use crate::provider::Provider;

/// Saved messages of all providers, the newest up to a bound.
#[derive(Debug, Default)]
pub(crate) struct Saved(Mutex<Messages>);

#[derive(Debug, Default)]
struct Messages {
    saved: HashMap<(Provider, String), Arc<str>>,
    order: VecDeque<(Provider, String)>,
}

impl Saved {
    /// Keeps a message, which is JSON, under an id.
    pub(crate) fn put(&self, provider: Provider, id: &str, message: Arc<str>) {
        let mut messages = self.lock();
        if messages.order.len() >= SAVED_MAX
            && let Some(oldest) = messages.order.pop_front()
        {
            messages.saved.remove(&oldest);
        }
        let key = (provider, id.to_owned());
        messages.order.push_back(key.clone());
        messages.saved.insert(key, message);
    }

    pub(crate) fn look_up(&self, provider: Provider, id: &str) -> Option<Arc<str>> {
        let key = (provider, id.to_owned());
        self.lock().saved.get(&key).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Messages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What has been seen, the newest up to a bound.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<Marks>);

#[derive(Debug, Default)]
struct Marks {
    marks: HashSet<Arc<str>>,
    order: VecDeque<Arc<str>>,
}

impl Seen {
    /// Notes a mark; false when it was there already.
    pub(crate) fn note(&self, mark: &str) -> bool {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if marks.marks.contains(mark) {
            return false;
        }
        if marks.order.len() >= SEEN_MAX
            && let Some(oldest) = marks.order.pop_front()
        {
            marks.marks.remove(&oldest);
        }
        let mark = Arc::<str>::from(mark);
        marks.order.push_back(Arc::clone(&mark));
        marks.marks.insert(mark);
        true
    }
}
