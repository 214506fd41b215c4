//! What comes next for one device: the app's log after its position and its inbox, merged in the order in which they came.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tidings_model::{
    AppId, DeviceHistory, DeviceId, Message, MsgId, Parts, Platform, Reason, UnixMillis,
};
use tidings_store::{
    Cursor, Login, Lot, NOT_ACKNOWLEDGED, NOT_CONNECTED, Position, Step, Store, StoreError, Waiting,
};

use crate::limits::AHEAD_MAX;
use crate::payload;
use crate::room::{Handle, Room, Signals};
use crate::tail::{Entry, TailRead};

pub(crate) struct Feed {
    app: AppId,
    history: DeviceHistory,
    inbox: VecDeque<Waiting>,
    inbox_after: Position,
    inbox_news: bool,
    /// The newest message when the device joined: those that are only for who is there must be newer. Not a time, which
    /// cannot tell before from after within its millisecond; ids are drawn in the order of the commits.
    joined: MsgId,
    log: VecDeque<Logged>,
    log_after: Position,
    log_news: bool,
    /// Of the log, behind the cursor, and yet to be read.
    owed: Vec<Position>,
    /// How far of the log has been handed out.
    passed: Position,
    room: Arc<Room>,
    store: Arc<Store>,
}

/// An entry of the log that was read: from the tail, to be judged, or judged by the store.
enum Logged {
    Judged(Box<Step>),
    Tail(Arc<Entry>),
}

impl Logged {
    /// Boxed: most entries are the tail's, and thousands of connections hold one at once.
    fn judged(step: Step) -> Self {
        Self::Judged(step.into())
    }

    /// Whether it is judged, or can be by this.
    fn is_known(&self, history: &DeviceHistory) -> bool {
        match self {
            Self::Judged(_) => true,
            Self::Tail(entry) => entry.logged.message >= history.known_from,
        }
    }

    fn position(&self) -> Position {
        match self {
            Self::Judged(step) => step.position(),
            Self::Tail(entry) => entry.logged.position,
        }
    }
}

/// What is to be done for the device.
pub(crate) enum Next {
    /// A row of its inbox is over without having been sent.
    Over(MsgId, Parts, Reason),
    /// Of the log nothing more is to be sent up to the cursor's position.
    Passed(Cursor),
    Send(Outgoing),
}

/// A message that is for the device.
pub(crate) struct Outgoing {
    pub(crate) expires_at: UnixMillis,
    pub(crate) message: MsgId,
    pub(crate) parts: Parts,
    /// Its position in the log; none when it comes from the inbox.
    pub(crate) place: Option<Position>,
    source: Source,
}

enum Source {
    Own(Box<Message>),
    Tail(Arc<Entry>),
}

impl Outgoing {
    fn own(message: Box<Message>, parts: Parts, place: Option<Position>) -> Self {
        Self {
            expires_at: message.expires_at,
            message: message.id,
            parts,
            place,
            source: Source::Own(message),
        }
    }

    /// The payload, if it needs no store.
    pub(crate) fn known_payload(&self, platform: Platform) -> Option<Bytes> {
        match &self.source {
            Source::Own(message) => Some(payload::encode(message, platform, self.parts)),
            Source::Tail(entry) => entry.known_payload(platform, self.parts),
        }
    }

    /// None when the message is not there any more.
    pub(crate) async fn payload(
        &self,
        store: &Store,
        platform: Platform,
    ) -> Result<Option<Bytes>, StoreError> {
        match &self.source {
            Source::Own(message) => Ok(Some(payload::encode(message, platform, self.parts))),
            Source::Tail(entry) => entry.payload(store, platform, self.parts).await,
        }
    }
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
        let Login {
            cursor,
            history,
            owed,
            ..
        } = login;
        Self {
            app,
            history,
            inbox: VecDeque::new(),
            inbox_after: Position(0),
            inbox_news: true,
            joined,
            log: VecDeque::new(),
            log_after: cursor,
            log_news: true,
            owed,
            passed: cursor,
            room,
            store,
        }
    }

    pub(crate) fn device(&self) -> DeviceId {
        self.history.id
    }

    pub(crate) fn platform(&self) -> Platform {
        self.history.platform
    }

    pub(crate) fn set_history(&mut self, history: DeviceHistory) {
        self.history = history;
        // What was read from the tail has yet to be judged, and may be older than what is known: then it is read again.
        let first = self.log.front().map(Logged::position);
        if let Some(first) = first
            && self
                .log
                .iter()
                .any(|logged| !logged.is_known(&self.history))
        {
            self.log.clear();
            self.log_after = Position(first.0 - 1);
            self.log_news = true;
        }
    }

    pub(crate) fn log_news(&mut self) {
        self.log_news = true;
    }

    pub(crate) fn inbox_news(&mut self) {
        self.inbox_news = true;
    }

    /// What is next for the device; none until there is news, or when the device's record has changed: then it must be read
    /// again first. Not cancel safe: what was read may be lost with it.
    pub(crate) async fn next(&mut self, handle: &Handle) -> Result<Option<Next>, StoreError> {
        loop {
            if self.log.is_empty() && self.log_news {
                self.read_log().await?;
            }
            if self.inbox.is_empty() && self.inbox_news {
                Box::pin(self.read_inbox()).await?;
            }
            // After the reads: whoever changed the record and then pushed has signalled before the push could be read.
            if handle.has(Signals::REFRESH) {
                return Ok(None);
            }
            let logged = self.log.front().map(Logged::position);
            let waiting = self.inbox.front().map(|waiting| waiting.position);
            let next = match (logged, waiting) {
                (Some(logged), waiting) if waiting.is_none_or(|waiting| logged < waiting) => {
                    let logged = self.log.pop_front();
                    logged.and_then(|logged| self.judge(logged, UnixMillis::now()))
                }
                (_, Some(_)) => {
                    let waiting = self.inbox.pop_front();
                    waiting.and_then(|waiting| self.judge_waiting(waiting, UnixMillis::now()))
                }
                // What was read may have held nothing for the device.
                _ if self.log_news || self.inbox_news => None,
                _ => return Ok(self.rest()),
            };
            if next.is_some() {
                return Ok(next);
            }
        }
    }

    /// Whether there may be something next.
    pub(crate) fn has_next(&self) -> bool {
        let has_read = !self.log.is_empty() || !self.inbox.is_empty();
        has_read || self.log_news || self.inbox_news || self.log_after > self.passed
    }

    /// What of the log was not for the device and has not been handed out yet.
    fn rest(&mut self) -> Option<Next> {
        // An idle connection holds no buffer.
        self.log = VecDeque::new();
        self.inbox = VecDeque::new();
        let is_new = self.log_after > self.passed;
        is_new.then(|| {
            self.passed = self.log_after;
            Next::Passed(Cursor::to(self.passed))
        })
    }

    async fn read_log(&mut self) -> Result<(), StoreError> {
        if !self.owed.is_empty() {
            return Box::pin(self.read_owed()).await;
        }
        // Before the read: news that come during it must not be lost.
        self.log_news = false;
        match self.room.read_tail(self.log_after, AHEAD_MAX) {
            TailRead::Entries(entries, more) => {
                self.log_news = more;
                let entries: Vec<Logged> = entries.into_iter().map(Logged::Tail).collect();
                let Some(last) = entries.last().map(Logged::position) else {
                    return Ok(());
                };
                // A device that has changed of late: the store knows what it was before.
                if entries.iter().any(|entry| !entry.is_known(&self.history)) {
                    return Box::pin(self.judge_log(last)).await;
                }
                self.log.extend(entries);
                self.log_after = last;
            }
            TailRead::Store { to } => Box::pin(self.judge_log(to)).await?,
        }
        Ok(())
    }

    /// Reads on in the store, which has everything up to `to`, the tail's end, at least.
    async fn judge_log(&mut self, to: Position) -> Result<(), StoreError> {
        let (app, device, now) = (self.app, self.history.id, UnixMillis::now());
        let (after, joined) = (self.log_after, self.joined);
        let judge = self
            .store
            .judge_log(app, device, after, joined, now, AHEAD_MAX);
        let judged = judge.await.inspect_err(|_| self.log_news = true)?;
        // A device that is gone gets nothing more; its connection is told.
        let Some(stretch) = judged else {
            return Ok(());
        };
        self.log
            .extend(stretch.steps.into_iter().map(Logged::judged));
        self.log_after = match stretch.more {
            true => stretch.to,
            // Nothing up to the tail's end is left: from here on, the tail serves.
            false => stretch.to.max(to),
        };
        // Once more from behind this stretch, if only to find that the tail goes on from there.
        self.log_news = true;
        Ok(())
    }

    async fn read_owed(&mut self) -> Result<(), StoreError> {
        let (app, device, now) = (self.app, self.history.id, UnixMillis::now());
        let (owed, joined) = (self.owed.clone(), self.joined);
        let judge = self.store.judge_owed(app, device, owed, joined, now);
        let steps = judge.await?.unwrap_or_default();
        self.owed = Vec::new();
        self.log.extend(steps.into_iter().map(Logged::judged));
        Ok(())
    }

    async fn read_inbox(&mut self) -> Result<(), StoreError> {
        self.inbox_news = false;
        let (app, device, after) = (self.app, self.history.id, self.inbox_after);
        let page = self.store.inbox_after(app, device, after, AHEAD_MAX).await;
        let page = page.inspect_err(|_| self.inbox_news = true)?;
        self.inbox_news = page.len() == AHEAD_MAX;
        self.inbox = page.into();
        if let Some(last) = self.inbox.back() {
            self.inbox_after = last.position;
        }
        Ok(())
    }

    fn judge(&mut self, logged: Logged, now: UnixMillis) -> Option<Next> {
        let position = logged.position();
        let next = match logged {
            Logged::Judged(step) => match *step {
                Step::Missed(exception) => missed(exception),
                Step::Send(position, message, parts) => {
                    Next::Send(Outgoing::own(message, parts, Some(position)))
                }
            },
            Logged::Tail(entry) => match entry.logged.lot(&self.history, self.joined, now) {
                Lot::NotForIt => return None,
                Lot::Missed(exception) => missed(exception),
                Lot::Send(parts) => Next::Send(Outgoing {
                    expires_at: entry.logged.expires_at,
                    message: entry.logged.message,
                    parts,
                    place: Some(position),
                    source: Source::Tail(entry),
                }),
            },
        };
        self.passed = self.passed.max(position);
        Some(next)
    }

    /// None for what is about to go to a provider: it is not the link's any more, unless it comes back.
    fn judge_waiting(&self, waiting: Waiting, now: UnixMillis) -> Option<Next> {
        let Waiting {
            message,
            parts,
            until,
            ..
        } = waiting;
        if until.is_some_and(|until| until <= now) {
            return None;
        }
        if message.is_online_only() && message.id <= self.joined {
            return Some(Next::Over(message.id, parts, NOT_CONNECTED));
        }
        if message.expires_at <= now {
            return Some(Next::Over(message.id, parts, NOT_ACKNOWLEDGED));
        }
        Some(Next::Send(Outgoing::own(message.into(), parts, None)))
    }
}

fn missed(exception: tidings_store::Exception) -> Next {
    Next::Passed(Cursor {
        position: exception.position,
        exceptions: vec![exception],
        ..Cursor::default()
    })
}
#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use tidings_model::{
        Audience, Life, Notification, Platform, PlatformSet, Provider, Push, PushOptions,
        Selection, Tag,
    };
    use tidings_store::{
        Accepted, ChannelChange, DeviceChange, LinkPlan, LinkTask, NewDevice, SealKey, TagChange,
    };

    use super::*;

    /// A device on the link, and its app's room.
    struct Stage {
        app: AppId,
        id: DeviceId,
        room: Arc<Room>,
        store: Arc<Store>,
        _data: TempDir,
    }

    fn tag(tag: &str) -> Tag {
        tag.parse().expect("a tag")
    }

    impl Stage {
        async fn new(tags: &[&str]) -> Self {
            let data = TempDir::new().expect("a directory");
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
                tags: tags.iter().map(|one| tag(one)).collect(),
                time_zone: None,
            };
            let id = store.register(new).await.expect("registered").id;
            let room = Arc::new(Room::new(app));
            room.open_tail(&store).await.expect("opened");
            Self {
                app,
                id,
                room,
                store,
                _data: data,
            }
        }

        async fn login(&self) -> Login {
            let login = self.store.login(self.app, self.id).await;
            login.expect("read").expect("known")
        }

        fn feed(&self, login: Login) -> Feed {
            let (room, store) = (Arc::clone(&self.room), Arc::clone(&self.store));
            Feed::new(self.app, login, MsgId(0), room, store)
        }

        async fn set_tags(&self, tags: &[&str]) {
            let tags = tags.iter().map(|one| tag(one)).collect();
            let change = DeviceChange {
                tags: Some(TagChange::Replace(tags)),
                ..DeviceChange::default()
            };
            let changed = self.store.change_device(self.app, self.id, change).await;
            changed.expect("changed").expect("known");
        }

        /// A message to a tag, which stands in the log and in its tail.
        async fn logged(&self, to: &str) -> MsgId {
            let push = Push {
                audience: Audience::Selection(Selection {
                    tags: vec![tag(to)],
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
            let accepted = self.store.accept(self.app, push, None).await;
            let Accepted::New(message) = accepted.expect("accepted") else {
                panic!("no cid was given")
            };
            let id = message.id;
            let task = LinkTask {
                message: id,
                from: DeviceId(0),
                plan: LinkPlan::Log(message.into(), vec![]),
                to: None,
            };
            let grown = self.store.route(self.app, vec![task]).await;
            assert!(grown.expect("logged"));
            self.room.extend_tail(&self.store).await.expect("extended");
            id
        }
    }

    /// What is sent next, and all after it.
    async fn sent(feed: &mut Feed) -> Vec<MsgId> {
        let mut sent = Vec::new();
        while let Some(next) = feed.next(&Handle::default()).await.expect("read") {
            if let Next::Send(outgoing) = next {
                sent.push(outgoing.message);
            }
        }
        sent
    }

    #[tokio::test]
    async fn a_changed_record_is_read_before_the_next_message_is_judged() {
        let stage = Stage::new(&[]).await;
        let login = stage.login().await;
        let mut changed = login.history.clone();
        changed.tags = vec![(tag("new"), Life::since(stage.id.0))];
        stage.logged("new").await;
        let mut feed = stage.feed(login);
        let handle = Handle::default();
        handle.signal(Signals::REFRESH);
        assert!(feed.next(&handle).await.expect("read").is_none());
        assert!(handle.signals().await.has(Signals::REFRESH));
        feed.set_history(changed);
        let next = feed.next(&handle).await.expect("read");
        assert!(matches!(next, Some(Next::Send(_))));
    }

    /// A connection is as large as what it holds of its device, and anyone can register one that has had thousands of tags.
    #[tokio::test]
    async fn a_connection_holds_nothing_that_has_ended_and_yet_a_device_gets_what_it_was_in() {
        let stage = Stage::new(&["old"]).await;
        let before = stage.logged("old").await;
        stage.set_tags(&["new"]).await;
        let between = stage.logged("new").await;
        stage.logged("old").await;
        let login = stage.login().await;
        let has = |login: &Login| {
            let tags = login.history.tags.iter();
            tags.map(|(tag, _)| tag.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(has(&login), ["new"]);
        let mut feed = stage.feed(login);
        assert_eq!(sent(&mut feed).await, [before, between]);

        // It changes while it is connected, and what it has not been sent yet is older than that.
        let last = stage.logged("new").await;
        feed.log_news();
        feed.read_log().await.expect("read");
        assert_eq!(feed.log.len(), 1);
        stage.set_tags(&["newest"]).await;
        let newest = stage.logged("newest").await;
        let login = stage.login().await;
        assert_eq!(has(&login), ["newest"]);
        feed.set_history(login.history);
        assert_eq!(sent(&mut feed).await, [last, newest]);
    }
}
