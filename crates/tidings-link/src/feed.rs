//! What comes next for one device: the app's log after its position and its inbox, merged by id.

use std::collections::VecDeque;
use std::sync::Arc;

use tidings_model::{AppId, DeviceHistory, DeviceId, MsgId, Parts, Provider, UnixMillis};
use tidings_store::{AckKind, Login, Store, StoreError};

use crate::limits::AHEAD_MAX;
use crate::room::{Entry, Handle, Room, Signals, TailRead};

pub(crate) struct Feed {
    app: AppId,
    device: DeviceHistory,
    inbox: VecDeque<Arc<Entry>>,
    inbox_after: MsgId,
    inbox_news: bool,
    /// The newest message when the device joined: those that are only for who is there must be newer. Not a time, which
    /// cannot tell before from after within its millisecond; ids are drawn in the order of the commits.
    joined: MsgId,
    log: VecDeque<Arc<Entry>>,
    log_after: MsgId,
    log_news: bool,
    room: Arc<Room>,
    store: Arc<Store>,
}

/// A message that is for the device.
pub(crate) struct Next {
    pub(crate) entry: Arc<Entry>,
    pub(crate) kind: AckKind,
    pub(crate) parts: Parts,
}

impl Feed {
    /// From a device's cursor on. The device must have joined the room before `login` and `joined` were read.
    pub(crate) fn new(
        app: AppId,
        login: Login,
        joined: MsgId,
        room: Arc<Room>,
        store: Arc<Store>,
    ) -> Self {
        Self {
            app,
            inbox: VecDeque::new(),
            inbox_after: MsgId(0),
            inbox_news: true,
            joined,
            log: VecDeque::new(),
            log_after: login.cursor,
            log_news: true,
            device: login.history,
            room,
            store,
        }
    }

    pub(crate) fn device(&self) -> DeviceId {
        self.device.id
    }

    pub(crate) fn set_device(&mut self, device: DeviceHistory) {
        self.device = device;
    }

    pub(crate) fn log_news(&mut self) {
        self.log_news = true;
    }

    pub(crate) fn inbox_news(&mut self) {
        self.inbox_news = true;
    }

    /// The next message for the device; none until there is news, or when the device's record has changed: then it must be
    /// read again first. Not cancel safe: what was read may be lost with it.
    pub(crate) async fn next(&mut self, handle: &Handle) -> Result<Option<Next>, StoreError> {
        loop {
            if self.log.is_empty() && self.log_news {
                self.read_log().await?;
            }
            if self.inbox.is_empty() && self.inbox_news {
                self.read_inbox().await?;
            }
            // After the reads: whoever changed the record and then pushed has signalled before the push could be read.
            if handle.has(Signals::REFRESH) {
                return Ok(None);
            }
            let id = |entry: &Arc<Entry>| entry.message.id;
            let (entry, kind) = match (self.log.front().map(id), self.inbox.front().map(id)) {
                (Some(logged), Some(waiting)) if logged < waiting => {
                    (self.log.pop_front(), AckKind::Logged)
                }
                (Some(_), None) => (self.log.pop_front(), AckKind::Logged),
                (_, Some(_)) => (self.inbox.pop_front(), AckKind::Inbox),
                // A page of the log may have held nothing for the device.
                (None, None) if self.log_news || self.inbox_news => continue,
                (None, None) => return Ok(None),
            };
            if let Some(entry) = entry
                && let Some(parts) = self.parts(&entry, UnixMillis::now())
            {
                return Ok(Some(Next { entry, kind, parts }));
            }
        }
    }

    async fn read_log(&mut self) -> Result<(), StoreError> {
        // Before the read: news that come during it must not be lost.
        self.log_news = false;
        match self.room.read_tail(self.log_after, AHEAD_MAX as usize) {
            TailRead::Entries(entries, more) => {
                self.log_news = more;
                self.log.extend(entries);
            }
            TailRead::Store { to } => {
                let page = self
                    .store
                    .log_after(self.app, self.log_after, UnixMillis::now(), AHEAD_MAX)
                    .await;
                let page = page.inspect_err(|_| self.log_news = true)?;
                let complete = page.len() < AHEAD_MAX as usize;
                self.log.extend(page.into_iter().map(Entry::new));
                if complete && self.log.is_empty() {
                    // Nothing up to the tail's end is left: from here on, the tail serves.
                    self.log_after = self.log_after.max(to);
                } else {
                    // Once more from behind this page, if only to find that the tail goes on from there.
                    self.log_news = true;
                }
            }
        }
        if let Some(last) = self.log.back() {
            self.log_after = last.message.id;
        }
        Ok(())
    }

    async fn read_inbox(&mut self) -> Result<(), StoreError> {
        self.inbox_news = false;
        let (app, device, after) = (self.app, self.device.id, self.inbox_after);
        let page = self
            .store
            .inbox_after(app, device, after, UnixMillis::now(), AHEAD_MAX)
            .await;
        let page = page.inspect_err(|_| self.inbox_news = true)?;
        self.inbox_news = page.len() == AHEAD_MAX as usize;
        self.inbox.extend(page.into_iter().map(Entry::new));
        if let Some(last) = self.inbox.back() {
            self.inbox_after = last.message.id;
        }
        Ok(())
    }

    /// What of a message is for the device; none when nothing is, or no longer.
    fn parts(&self, entry: &Entry, now: UnixMillis) -> Option<Parts> {
        let message = &entry.message;
        let in_time =
            message.expires_at > now && (!message.is_online_only() || message.id > self.joined);
        let push = &message.push;
        let parts = self
            .device
            .parts(message.id, &push.audience, push.aim(), Provider::Link);
        (in_time && !parts.is_empty()).then_some(parts)
    }
}

#[cfg(test)]
mod tests {
    use tidings_model::{
        Audience, Life, Notification, Platform, PlatformSet, Push, PushOptions, Selection, Tag,
    };
    use tidings_store::{ChannelChange, NewDevice, SealKey};

    use super::*;

    #[tokio::test]
    async fn a_changed_record_is_read_before_the_next_message_is_judged() {
        let data = tempfile::TempDir::new().expect("a directory");
        let key = SealKey::parse(&"0a".repeat(32)).expect("a key");
        let store = Arc::new(Store::open(data.path(), key).expect("opens"));
        let app = store.create_app("test".into()).await.expect("an app").0.id;
        let channel = ChannelChange {
            environment: None,
            provider: Provider::Link,
            token: None,
        };
        let new = NewDevice {
            alias: None,
            app,
            app_version: None,
            channels: vec![channel],
            locale: None,
            platform: Platform::Android,
            proof: None,
            tags: vec![],
            time_zone: None,
        };
        let id = store.register(new).await.expect("registered").id;
        let login = store.login(app, id).await.expect("read").expect("known");
        let tag: Tag = "new".parse().expect("a tag");
        let mut changed = login.history.clone();
        changed.tags = vec![(tag.clone(), Life::since(id.0))];
        let push = Push {
            audience: Audience::Selection(Selection {
                tags: vec![tag],
                ..Selection::default()
            }),
            message: None,
            notification: Some(Notification {
                alert: Some("hi".into()),
                ..Notification::default()
            }),
            options: PushOptions::default(),
            platforms: PlatformSet::ALL,
        };
        store.accept(app, push, None).await.expect("accepted");

        let room = Arc::new(Room::new(app));
        let mut feed = Feed::new(app, login, MsgId(0), room, store);
        let handle = Handle::default();
        handle.signal(Signals::REFRESH);
        assert!(feed.next(&handle).await.expect("read").is_none());
        assert!(handle.signals().await.has(Signals::REFRESH));
        feed.set_device(changed);
        assert!(feed.next(&handle).await.expect("read").is_some());
    }
}
