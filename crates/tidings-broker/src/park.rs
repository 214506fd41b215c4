//! A queue whose credential is rejected: nothing is sent, but for one delivery now and then that asks whether it still is.

use std::time::{Duration, Instant};

use tidings_model::Reason;
use tidings_providers::jitter::{Jitter, doubled};

/// The ceiling of the first wait before a probe, and the highest one: a rejection that was the provider's own trouble ends
/// by itself, and one request in a quarter of an hour troubles nobody.
const PROBE_BASE: Duration = Duration::from_secs(60);
const PROBE_CAP: Duration = Duration::from_secs(15 * 60);

pub(crate) struct Park {
    pub(crate) reason: Reason,
    pub(crate) since: Instant,
    probe_at: Instant,
    probes: u32,
    /// A probe is in flight.
    probing: bool,
}

impl Park {
    pub(crate) fn new(reason: Reason, now: Instant, jitter: &mut Jitter) -> Self {
        Self {
            reason,
            since: now,
            probe_at: now + jitter.upper_half(PROBE_BASE),
            probes: 0,
            probing: false,
        }
    }

    /// When a delivery may be sent as a probe; none while one is in flight.
    pub(crate) fn probe_at(&self) -> Option<Instant> {
        (!self.probing).then_some(self.probe_at)
    }

    pub(crate) fn probe(&mut self) {
        self.probing = true;
    }

    pub(crate) fn is_probing(&self) -> bool {
        self.probing
    }

    /// The probe has not left.
    pub(crate) fn unprobe(&mut self) {
        self.probing = false;
    }

    /// The probe has not shown that the credential is good.
    pub(crate) fn probed_in_vain(&mut self, now: Instant, jitter: &mut Jitter) {
        self.probing = false;
        self.probes = self.probes.saturating_add(1);
        let ceiling = doubled(PROBE_BASE, self.probes, PROBE_CAP);
        self.probe_at = now + jitter.upper_half(ceiling);
    }
}
