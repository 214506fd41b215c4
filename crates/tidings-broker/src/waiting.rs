//! A delivery that waits for its next try; the one that is due first is the greatest.

use std::cmp::Reverse;
use std::time::Instant;

use crate::queue::Item;

pub(crate) struct Waiting<D> {
    pub(crate) due: Instant,
    /// Keeps those that are due together in order.
    pub(crate) order: u64,
    pub(crate) item: Item<D>,
}

impl<D> Waiting<D> {
    fn key(&self) -> Reverse<(Instant, u64)> {
        Reverse((self.due, self.order))
    }
}

impl<D> PartialEq for Waiting<D> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<D> Eq for Waiting<D> {}

impl<D> PartialOrd for Waiting<D> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<D> Ord for Waiting<D> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}
