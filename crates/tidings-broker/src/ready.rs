//! Deliveries that are ready to be sent: the urgent ones first, and else in the order in which they came.

use std::collections::VecDeque;
use std::time::Instant;

use crate::queue::Item;

pub(crate) struct Ready<D> {
    urgent: VecDeque<Item<D>>,
    others: VecDeque<Item<D>>,
}

impl<D> Default for Ready<D> {
    fn default() -> Self {
        Self {
            urgent: VecDeque::new(),
            others: VecDeque::new(),
        }
    }
}

impl<D> Ready<D> {
    pub(crate) fn len(&self) -> usize {
        self.urgent.len() + self.others.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.others.is_empty()
    }

    fn of_its_kind(&mut self, item: &Item<D>) -> &mut VecDeque<Item<D>> {
        if item.state.urgent {
            &mut self.urgent
        } else {
            &mut self.others
        }
    }

    pub(crate) fn push_back(&mut self, item: Item<D>) {
        self.of_its_kind(&item).push_back(item);
    }

    pub(crate) fn push_front(&mut self, item: Item<D>) {
        self.of_its_kind(&item).push_front(item);
    }

    pub(crate) fn pop_front(&mut self) -> Option<Item<D>> {
        self.urgent.pop_front().or_else(|| self.others.pop_front())
    }

    /// All but the first `kept`.
    pub(crate) fn split_off(&mut self, kept: usize) -> Vec<Item<D>> {
        let urgent = kept.min(self.urgent.len());
        let others = (kept - urgent).min(self.others.len());
        let mut taken = Vec::from(self.urgent.split_off(urgent));
        taken.extend(self.others.drain(others..));
        taken
    }

    /// Takes out those that are `meant`; the others keep their order.
    pub(crate) fn take_if(&mut self, mut meant: impl FnMut(&Item<D>) -> bool) -> Vec<Item<D>> {
        let mut taken = Vec::new();
        for items in [&mut self.urgent, &mut self.others] {
            for item in std::mem::take(items) {
                if meant(&item) {
                    taken.push(item);
                } else {
                    items.push_back(item);
                }
            }
        }
        taken
    }

    /// When the first of them expires.
    pub(crate) fn expires_first(&self) -> Option<Instant> {
        let items = self.urgent.iter().chain(&self.others);
        items.filter_map(|item| item.state.expires).min()
    }
}
