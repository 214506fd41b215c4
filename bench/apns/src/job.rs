//! What a sender of this process has to do.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use tidings_providers::apns::{Credential, Notification};

/// Streams that a sender uses at most on one connection, as Apple has been seen to allow (SETTINGS_MAX_CONCURRENT_STREAMS).
pub const STREAMS: u32 = 1000;
pub const TOPIC: &str = "com.example.app";
pub const TEXT: &str =
    "A text of a length that is usual for notifications, neither short nor very long, to be shown";
pub const KEY_ID: &str = "BENCHKEY01";
pub const TEAM_ID: &str = "BENCHTEAM1";

pub struct Job {
    pub count: usize,
    pub connections: usize,
    pub port: u16,
    /// PEM of the authority to trust.
    pub ca: String,
    pub credential: Credential,
}

impl Job {
    /// Reads what the sink has left in `dir`.
    pub fn read(dir: &Path, port: u16, count: usize, connections: usize) -> Result<Self> {
        let read = |name| fs::read(dir.join(name)).with_context(|| format!("{name} of the sink"));
        Ok(Self {
            count,
            connections,
            port,
            ca: String::from_utf8(read("ca.pem")?)?,
            credential: Credential::from_p8(&read("key.p8")?, KEY_ID, TEAM_ID)?,
        })
    }

    pub fn notification(&self) -> Result<Arc<Notification>> {
        Ok(Arc::new(Notification::alert(TOPIC, TEXT)?))
    }

    pub fn token(number: usize) -> String {
        format!("{number:064x}")
    }

    /// The number that [`Job::token`] was made from.
    pub fn number(token: &str) -> Option<usize> {
        usize::from_str_radix(token.get(48..)?, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_tells_its_number() {
        for number in [0, 1, 15, 16, 999_999, usize::MAX] {
            let token = Job::token(number);
            assert_eq!(token.len(), 64);
            assert_eq!(Job::number(&token), Some(number));
        }
    }
}
