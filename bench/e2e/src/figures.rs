//! How figures are made of what was measured.

use serde_json::Value;

pub(crate) fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

pub(crate) struct Latencies {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Latencies {
    pub(crate) fn of(millis: &[f64]) -> Self {
        let mut sorted = millis.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |part: f64| {
            sorted
                .get(((sorted.len() as f64 * part) as usize).min(sorted.len() - 1))
                .copied()
        };
        Self {
            p50: round(at(0.5).unwrap_or(0.0)),
            p99: round(at(0.99).unwrap_or(0.0)),
        }
    }
}

/// By how much the counts of a message, all of which has ended, differ from each other and from `targeted`.
pub(crate) fn off_by(counts: &Value, targeted: usize) -> u64 {
    let count = |name: &str| counts[name].as_u64().unwrap_or_default();
    let ended = ["accepted", "delivered", "dropped", "expired", "failed"].map(count);
    let sum: u64 = ended.iter().sum();
    let targeted = targeted as u64;
    count("targeted").abs_diff(targeted) + sum.abs_diff(targeted)
}
