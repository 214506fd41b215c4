//! What waits for a connection: the urgent ones first, and none for the connection that could not serve it.

use std::collections::VecDeque;

use crate::apns::queue::Delivery;

/// Jobs that are passed over, at most, in one look for those that a connection may take.
const PASSED_OVER_MAX: usize = 256;

/// A delivery on its way, with what has been tried inside the client.
pub(super) struct Job<T> {
    pub(super) delivery: Delivery<T>,
    /// How often the provider gave it back unprocessed.
    pub(super) given_back: u8,
    /// Whether it was refused once for the sake of its provider token and sent again with a new one.
    pub(super) renewed: bool,
}

pub(super) struct Jobs<T> {
    urgent: VecDeque<Job<T>>,
    others: VecDeque<Job<T>>,
}

impl<T> Default for Jobs<T> {
    fn default() -> Self {
        Self {
            urgent: VecDeque::new(),
            others: VecDeque::new(),
        }
    }
}

impl<T> Jobs<T> {
    pub(super) fn len(&self) -> usize {
        self.urgent.len() + self.others.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.others.is_empty()
    }

    fn of_its_kind(&mut self, job: &Job<T>) -> &mut VecDeque<Job<T>> {
        if job.delivery.route.urgent {
            &mut self.urgent
        } else {
            &mut self.others
        }
    }

    pub(super) fn push_back(&mut self, job: Job<T>) {
        self.of_its_kind(&job).push_back(job);
    }

    pub(super) fn push_front(&mut self, job: Job<T>) {
        self.of_its_kind(&job).push_front(job);
    }

    pub(super) fn pop_front(&mut self) -> Option<Job<T>> {
        self.urgent.pop_front().or_else(|| self.others.pop_front())
    }

    /// Moves up to `max` into `into`, all of them when `avoiding` is 0, else but for those that avoid the connection of
    /// that number. Says whether such were passed over.
    pub(super) fn take(&mut self, max: usize, avoiding: u64, into: &mut VecDeque<Job<T>>) -> bool {
        let full = into.len() + max;
        let mut passed_over = Vec::new();
        let mut any = false;
        for jobs in [&mut self.urgent, &mut self.others] {
            while into.len() < full
                && passed_over.len() < PASSED_OVER_MAX
                && let Some(job) = jobs.pop_front()
            {
                if avoiding > 0 && job.delivery.route.avoids == avoiding {
                    passed_over.push(job);
                } else {
                    into.push_back(job);
                }
            }
            any |= !passed_over.is_empty();
            while let Some(job) = passed_over.pop() {
                jobs.push_front(job);
            }
        }
        any
    }

    /// Takes out those that are `meant`; the others keep their order.
    pub(super) fn take_if(
        &mut self,
        mut meant: impl FnMut(&Delivery<T>) -> bool,
    ) -> Vec<Delivery<T>> {
        let mut taken = Vec::new();
        for jobs in [&mut self.urgent, &mut self.others] {
            for job in std::mem::take(jobs) {
                if meant(&job.delivery) {
                    taken.push(job.delivery);
                } else {
                    jobs.push_back(job);
                }
            }
        }
        taken
    }
}
