//! Deliveries that have left for devices which have changed since: none of them is tried again where it was sent.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::book::Tag;

/// Shared by a lane and its broker.
#[derive(Default)]
pub(crate) struct Recalled {
    /// So it is nearly always, and then nobody waits for the lock.
    some: AtomicBool,
    tags: Mutex<HashSet<Tag>>,
}

impl Recalled {
    pub(in crate::dispatch) fn add(&self, tags: impl IntoIterator<Item = Tag>) {
        let mut all = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(tags);
        self.some.store(!all.is_empty(), Ordering::Release);
    }

    pub(in crate::dispatch) fn contains(&self, tag: &Tag) -> bool {
        let is_any = self.some.load(Ordering::Acquire);
        is_any && {
            let all = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
            all.contains(tag)
        }
    }

    /// It has come back. Returns whether it was to.
    pub(in crate::dispatch) fn remove(&self, tag: &Tag) -> bool {
        let is_any = self.some.load(Ordering::Acquire);
        is_any && {
            let mut all = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
            let was_in = all.remove(tag);
            self.some.store(!all.is_empty(), Ordering::Release);
            was_in
        }
    }
}
