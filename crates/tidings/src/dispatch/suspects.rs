//! Pages that a lane was busy with when it panicked. One such page is tried once more, when its lease is over; one with which a
//! lane panics again would do so for ever, and take the others that are out along each time: so it is ended.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tidings_store::PageKey;

/// More than are ever there at once; what is forgotten beyond that is tried once more than it should be.
const SUSPECTS_MAX: usize = 1000;

#[derive(Default)]
pub(super) struct Suspects(Mutex<Known>);

#[derive(Default)]
struct Known {
    once: HashSet<PageKey>,
    twice: HashSet<PageKey>,
}

impl Suspects {
    /// A lane panicked while it was busy with `page`.
    pub(super) fn accuse(&self, page: PageKey) {
        let mut known = self.known();
        let Known { once, twice } = &mut *known;
        for pages in [&mut *once, &mut *twice] {
            if pages.len() >= SUSPECTS_MAX {
                pages.clear();
            }
        }
        if !once.insert(page) {
            twice.insert(page);
        }
    }

    /// Whether a page is to be ended without another try.
    pub(super) fn is_condemned(&self, page: &PageKey) -> bool {
        self.known().twice.contains(page)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
