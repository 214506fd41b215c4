//! What a connection keeps of the configuration.

use std::time::Duration;

use crate::apns::config::Config;

/// How often deadlines are looked at, at most; a tenth of the shortest when that is less.
const TICK_MAX: Duration = Duration::from_millis(500);

/// See the fields of [`Config`].
pub(super) struct Limits {
    pub(super) answer_timeout: Duration,
    pub(super) pong_timeout: Duration,
    pub(super) silence_max: Duration,
    pub(super) streams_max: usize,
}

impl Limits {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            answer_timeout: config.answer_timeout,
            pong_timeout: config.pong_timeout,
            silence_max: config.silence_max,
            streams_max: config.streams_max,
        }
    }

    pub(super) fn tick(&self) -> Duration {
        let shortest = self
            .answer_timeout
            .min(self.pong_timeout)
            .min(self.silence_max);
        (shortest / 10).clamp(Duration::from_millis(1), TICK_MAX)
    }
}
