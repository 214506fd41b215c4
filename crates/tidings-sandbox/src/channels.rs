//! The broadcast channels that there are.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::device_token::DeviceToken;
use crate::limits::{CHANNEL_APPS_MAX, CHANNELS_MAX};

/// Bytes of a channel id: as many as a device token has, so that the log of deliveries can name it.
const ID_LEN: usize = 32;

/// The id of a channel; on the wire it is base64.
pub(crate) type ChannelId = [u8; ID_LEN];

/// The channels of every app, in memory.
#[derive(Debug, Default)]
pub(crate) struct Channels(Mutex<BTreeMap<String, BTreeMap<ChannelId, Channel>>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Channel {
    /// Whether it keeps the newest broadcast for phones that are away.
    pub(crate) keeps_newest: bool,
}

impl Channels {
    /// None when the app has as many as it may.
    pub(crate) fn create(&self, app: &str, channel: Channel) -> Option<ChannelId> {
        let mut apps = self.lock();
        if apps.len() >= CHANNEL_APPS_MAX && !apps.contains_key(app) {
            return None;
        }
        let channels = apps.entry(app.to_owned()).or_default();
        if channels.len() >= CHANNELS_MAX {
            return None;
        }
        let mut id = [0; ID_LEN];
        for half in id.chunks_exact_mut(ID_LEN / 2) {
            half.copy_from_slice(Uuid::new_v4().as_bytes());
        }
        channels.insert(id, channel);
        Some(id)
    }

    pub(crate) fn look_up(&self, app: &str, id: &ChannelId) -> Option<Channel> {
        self.lock().get(app)?.get(id).copied()
    }

    /// False when there was none.
    pub(crate) fn delete(&self, app: &str, id: &ChannelId) -> bool {
        let mut apps = self.lock();
        let Some(channels) = apps.get_mut(app) else {
            return false;
        };
        let had = channels.remove(id).is_some();
        if channels.is_empty() {
            apps.remove(app);
        }
        had
    }

    pub(crate) fn list(&self, app: &str) -> Vec<ChannelId> {
        let apps = self.lock();
        let channels = apps.get(app);
        channels.map_or_else(Vec::new, |channels| channels.keys().copied().collect())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<ChannelId, Channel>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How the log of deliveries names a channel: its bytes in hexadecimal.
pub(crate) fn logged(id: &ChannelId) -> Option<DeviceToken> {
    let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    hex.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_has_so_many_channels_and_no_more_until_one_is_deleted() {
        let channels = Channels::default();
        let channel = Channel { keeps_newest: true };
        let create = || channels.create("com.example.app", channel);
        let first = create().expect("the first");
        for _ in 1..CHANNELS_MAX {
            create().expect("room");
        }
        assert_eq!(create(), None);
        assert!(channels.create("com.example.other", channel).is_some());
        assert!(channels.delete("com.example.app", &first));
        assert!(!channels.delete("com.example.app", &first));
        assert!(create().is_some());
        assert_eq!(channels.list("com.example.app").len(), CHANNELS_MAX);
    }
}
