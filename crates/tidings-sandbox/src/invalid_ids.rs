//! Registration ids that a provider has found dead, for those that let senders fetch them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::limits::INVALID_IDS_MAX;
use crate::provider::Provider;

/// Each id is told once; beyond the bound the oldest are forgotten.
#[derive(Debug, Default)]
pub(crate) struct InvalidIds(Mutex<HashMap<Provider, VecDeque<String>>>);

impl InvalidIds {
    pub(crate) fn note(&self, provider: Provider, id: &str) {
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ids = ids.entry(provider).or_default();
        if ids.len() >= INVALID_IDS_MAX {
            ids.pop_front();
        }
        ids.push_back(id.to_owned());
    }

    /// Takes so many at most, the oldest first.
    pub(crate) fn take(&self, provider: Provider, max: usize) -> Vec<String> {
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match ids.get_mut(&provider) {
            Some(ids) => ids.drain(..ids.len().min(max)).collect(),
            None => Vec::new(),
        }
    }
}
