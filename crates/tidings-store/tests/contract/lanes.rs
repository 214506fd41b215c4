//! Tasks, pages, leases and flushes as lanes see them, on real SQLite files.

mod order;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tidings_model::{
    Audience, DeviceId, Environment, Message, MsgId, Platform, Provider, Push, PushOptions, Reason,
    Selection, UnixMillis,
};
use tidings_store::{
    Addressed, ChannelChange, Chunk, Class, Delta, DeviceChange, End, Ending, Flushed, LaneKey,
    Leased, LeasedPage, Leaving, Member, NewDevice, OpenPage, OpenWork, PageFlush, Removal, Rest,
    Room, StoreError, TagChange, Tried, Turn, Why,
};

use crate::support::{self, Stage, accept, device, link, open, push, to, to_tags};

fn apns(token: usize, environment: Option<Environment>) -> ChannelChange {
    support::apns(&format!("{token:064x}"), environment)
}

const LEASE: Duration = Duration::from_secs(60);
const ROOM: Room = Room {
    long: 8000,
    pages: 100,
    short: 2000,
};

impl Stage {
    fn lane(&self) -> LaneKey {
        LaneKey {
            app: self.app,
            provider: Provider::Apns,
            environment: Some(Environment::Production),
        }
    }

    async fn iphones(&self, tokens: std::ops::Range<usize>) -> Vec<DeviceId> {
        let new = tokens.map(|token| self.iphone(token, None));
        let registered = self.store.register_all(new.collect()).await;
        let registered = registered.expect("registered");
        registered.into_iter().map(|device| device.id).collect()
    }

    fn iphone(&self, token: usize, environment: Option<Environment>) -> NewDevice {
        device(self.app, Platform::Ios, vec![apns(token, environment)])
    }

    async fn push(&self, audience: Audience) -> Message {
        self.push_with(audience, PushOptions::default()).await
    }

    async fn push_with(&self, audience: Audience, options: PushOptions) -> Message {
        let push = Push {
            options,
            ..push(audience)
        };
        accept(&self.store, self.app, push).await
    }

    /// The next chunk of the oldest task of a turn.
    async fn chunk(&self, turn: Turn) -> Option<Arc<Chunk>> {
        let open = self
            .store
            .open_tasks(self.app, Provider::Apns, turn, 1)
            .await;
        let task = open.expect("tasks").tasks.pop()?;
        let chunk = self.store.chunk(task, Provider::Apns).await;
        Some(Arc::new(chunk.expect("a chunk")))
    }

    /// Cuts all there is.
    async fn cut_all(&self) {
        for turn in [Turn::Fresh, Turn::Begun] {
            while let Some(chunk) = self.chunk(turn).await {
                let cut = self.store.cut(Provider::Apns, vec![chunk]).await;
                cut.expect("cut");
            }
        }
    }

    async fn lease(&self, room: Room) -> Leased {
        let leased = self
            .store
            .lease(self.lane(), room, LEASE, UnixMillis::now())
            .await;
        leased.expect("a lease")
    }

    /// Everything that is ready, opened.
    async fn out(&self) -> Vec<Out> {
        self.out_in(Environment::Production).await
    }

    async fn out_in(&self, environment: Environment) -> Vec<Out> {
        let lane = LaneKey {
            environment: Some(environment),
            ..self.lane()
        };
        let leased = self.store.lease(lane, ROOM, LEASE, UnixMillis::now()).await;
        let mut out = Vec::new();
        for page in leased.expect("a lease").pages {
            out.push(self.open(&page).await.expect("a page"));
        }
        out
    }

    fn sql(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.dir.path().join("tidings.db")).expect("opens")
    }

    async fn open(&self, page: &LeasedPage) -> Result<Out, StoreError> {
        let opened = self.store.open_pages(vec![page.clone()], HashMap::new());
        let (page, open) = opened.await.expect("read").pop().expect("one");
        let delta = Delta::default();
        open.map(|open| Out { delta, open, page })
    }

    async fn only_out(&self) -> Out {
        let mut out = self.out().await;
        assert_eq!(out.len(), 1);
        out.pop().expect("one")
    }

    async fn flush(&self, flush: PageFlush) -> Flushed {
        let flushed = self.store.flush(vec![flush], vec![]).await;
        flushed.expect("flushed")
    }

    /// (targeted, accepted, dropped, failed, handed on) by a provider.
    async fn counts(&self, message: MsgId, provider: Provider) -> [u64; 5] {
        let ledger = self.store.ledger(self.app, message).await.expect("read");
        let ledger = ledger.expect("a ledger");
        let tallies = ledger.tallies.iter();
        let mut sum = [0; 5];
        for tally in tallies.filter(|tally| tally.provider == provider) {
            let c = tally.counts;
            let more = [c.targeted, c.accepted, c.dropped, c.failed, c.handed_on];
            sum.iter_mut()
                .zip(more)
                .for_each(|(sum, more)| *sum += more);
        }
        sum
    }

    async fn standing(&self, message: MsgId, device: DeviceId) -> Option<Ending> {
        let journey = self.store.journey(self.app, message, device).await;
        let page = journey.expect("read").expect("a journey").pages.pop();
        page.and_then(|page| page.answer)
            .map(|answer| answer.ending)
    }
}

/// A page that is out, and what has ended of it since the last flush.
struct Out {
    delta: Delta,
    open: OpenPage,
    page: LeasedPage,
}

impl Out {
    fn devices(&self) -> Vec<DeviceId> {
        let members = self.open.members.iter();
        members.map(|member| member.device).collect()
    }

    fn end(&mut self, index: usize, end: &End) {
        assert!(self.open.progress.note(index, end), "{index} had not ended");
        self.delta.add(self.open.members[index].platform, end);
    }

    fn accept(&mut self, indices: std::ops::Range<usize>) {
        indices.for_each(|index| self.end(index, &accepted()));
    }

    fn flush(&mut self) -> PageFlush {
        let flush = PageFlush {
            delta: std::mem::take(&mut self.delta),
            ended: self.page.ended,
            key: self.page.key,
            lease: self.page.lease,
            leaving: vec![],
            members: Arc::clone(&self.open.members),
            message: Arc::clone(&self.open.message),
            progress: self.open.progress.clone(),
            rest: None,
        };
        self.page.ended = self.open.progress.count();
        flush
    }

    fn settle(&mut self, rest: Vec<Rest>) -> PageFlush {
        PageFlush {
            rest: Some(rest),
            ..self.flush()
        }
    }

    /// Whoever has not ended, due at a time.
    fn rest(&self, due: Option<i64>) -> Rest {
        let members = self.open.members.iter().enumerate();
        let members = members.filter(|(index, _)| !self.open.progress.has(*index));
        Rest {
            due: due.map(UnixMillis),
            environment: self.page.key.environment,
            members: members.map(|(_, member)| member.clone()).collect(),
        }
    }

    fn here(&self, index: usize) -> &str {
        match &self.open.places[index] {
            Some(Addressed::Here(target)) => target.token.as_deref().expect("a token"),
            other => panic!("{other:?}"),
        }
    }
}

fn accepted() -> End {
    end(Ending::Accepted, None)
}

fn end(ending: Ending, reason: Option<&'static str>) -> End {
    End {
        at: UnixMillis(1_800_000_000_000),
        attempts: 1,
        ending,
        reason: reason.map(Reason::known),
    }
}

fn collapsing(id: &str) -> PushOptions {
    PushOptions {
        apns_collapse_id: Some(id.into()),
        ..PushOptions::default()
    }
}

#[tokio::test]
async fn an_audience_is_cut_into_pages_and_counted_before_anything_is_sent() {
    let stage = Stage::new().await;
    let devices = stage.iphones(0..2500).await;
    let message = stage.push(Audience::All).await;
    assert_eq!(stage.lease(ROOM).await.pages.len(), 0, "nothing is cut");
    stage.cut_all().await;
    assert_eq!(
        stage.counts(message.id, Provider::Apns).await,
        [2500, 0, 0, 0, 0]
    );
    let out = stage.out().await;
    let classes: Vec<Class> = out.iter().map(|out| out.page.class).collect();
    assert_eq!(classes, [Class::Long; 3]);
    let cut: Vec<DeviceId> = out.iter().flat_map(Out::devices).collect();
    assert_eq!(cut, devices);
    assert_eq!(out[2].here(499), format!("{:064x}", 2499));
    let work = stage.store.open_work(None).await.expect("read");
    assert_eq!(work, OpenWork::default(), "all of it is out");
}

#[tokio::test]
async fn a_device_whose_token_is_anothers_by_now_is_reached_nowhere() {
    let stage = Stage::new().await;
    let former = stage.iphones(1..2).await[0];
    let message = stage.push(Audience::All).await;
    stage.cut_all().await;
    let owner = stage.store.register(stage.iphone(1, None)).await;
    let owner = owner.expect("registered");
    assert_eq!(owner.former, [former]);
    let out = stage.only_out().await;
    assert_eq!(out.page.key.message, message.id);
    let [Some(Addressed::Here(address))] = out.open.places.as_slice() else {
        panic!("{:?}", out.open.places);
    };
    assert_eq!((address.device, &address.token), (former, &None));
    assert_eq!(address.ended.as_ref().map(Reason::as_str), Some("moved"));
}

#[tokio::test]
async fn a_chunk_whose_task_has_moved_is_not_cut_again() {
    let stage = Stage::new().await;
    stage.iphones(0..1500).await;
    let message = stage.push(Audience::All).await;
    let first = stage.chunk(Turn::Fresh).await.expect("a chunk");
    let same = Arc::clone(&first);
    for chunk in [first, same] {
        let cut = stage.store.cut(Provider::Apns, vec![chunk]).await;
        cut.expect("cut");
    }
    assert_eq!(stage.counts(message.id, Provider::Apns).await[0], 1000);
    let last = stage.chunk(Turn::Begun).await.expect("a chunk");
    for chunk in [Arc::clone(&last), last] {
        let cut = stage.store.cut(Provider::Apns, vec![chunk]).await;
        cut.expect("cut");
    }
    assert_eq!(stage.counts(message.id, Provider::Apns).await[0], 1500);
}

#[tokio::test]
async fn each_environment_has_pages_of_its_own_and_unnamed_tokens_go_where_the_push_says() {
    let stage = Stage::new().await;
    let named = [
        Some(Environment::Production),
        Some(Environment::Sandbox),
        None,
    ];
    let mut devices = Vec::new();
    for (token, environment) in named.into_iter().enumerate() {
        let registered = stage.store.register(stage.iphone(token, environment)).await;
        devices.push(registered.expect("registered").id);
    }
    for (apns_production, unnamed) in [(Some(false), 1), (Some(true), 0), (None, 0)] {
        let options = PushOptions {
            apns_production,
            ..PushOptions::default()
        };
        let message = stage.push_with(Audience::All, options).await;
        stage.cut_all().await;
        for (lane, environment) in Environment::ALL.into_iter().enumerate() {
            let key = LaneKey {
                environment: Some(environment),
                ..stage.lane()
            };
            let leased = stage
                .store
                .lease(key, ROOM, LEASE, UnixMillis::now())
                .await
                .expect("a lease");
            assert_eq!(leased.pages.len(), 1);
            let mut out = stage.open(&leased.pages[0]).await.expect("a page");
            let expected = match lane == unnamed {
                true => vec![devices[lane], devices[2]],
                false => vec![devices[lane]],
            };
            assert_eq!(out.devices(), expected);
            let reason = environment.name();
            for index in 0..expected.len() {
                out.end(index, &end(Ending::Failed, Some(reason)));
            }
            let settle = out.settle(vec![]);
            stage.flush(settle).await;
        }
        // Of a device that lies in the range of both pages, its own one speaks.
        let journey = stage.store.journey(stage.app, message.id, devices[2]).await;
        let page = journey.expect("read").expect("a journey").pages.pop();
        let reason = page.expect("a page").answer.expect("an answer").reason;
        let lane = Environment::ALL[unnamed].name();
        assert_eq!(reason.as_ref().map(Reason::as_str), Some(lane));
    }
}

#[tokio::test]
async fn a_page_is_its_own_devices_whatever_becomes_of_its_range() {
    let stage = Stage::new().await;
    let devices = stage.iphones(0..60).await;
    let tagged = |devices: Vec<DeviceId>| async {
        for device in devices {
            let change = DeviceChange {
                tags: Some(TagChange::Edit {
                    add: vec!["vip".parse().expect("a tag")],
                    remove: vec![],
                }),
                ..DeviceChange::default()
            };
            let changed = stage.store.change_device(stage.app, device, change).await;
            assert!(changed.expect("changed").is_some());
        }
    };
    tagged(devices.iter().copied().step_by(2).collect()).await;
    let message = stage.push(to_tags(&["vip"])).await;
    stage.cut_all().await;
    let before = stage.only_out().await.devices();
    assert_eq!(before.len(), 30);
    tagged(devices.clone()).await;
    let change = DeviceChange {
        channels: Some(vec![apns(1000, None)]),
        ..DeviceChange::default()
    };
    let changed = stage.store.change_device(stage.app, before[1], change);
    assert!(changed.await.expect("changed").is_some());
    let deleted = stage.store.delete_device(stage.app, before[2]).await;
    assert!(deleted.expect("deleted"));
    while stage.store.sweep().await.expect("swept").more {}

    let stage = stage.reopened();
    let out = stage.only_out().await;
    assert_eq!(out.devices(), before);
    assert_eq!(out.here(0), format!("{:064x}", 0));
    assert_eq!(
        out.here(1),
        format!("{:064x}", 1000),
        "what it holds now is where it is reached"
    );
    assert_eq!(out.open.places[2], Some(Addressed::Gone));
    assert_eq!(out.here(3), format!("{:064x}", 6));
    assert_eq!(stage.counts(message.id, Provider::Apns).await[0], 30);
}

#[tokio::test]
async fn short_messages_do_not_wait_for_long_ones_and_a_lease_is_bounded() {
    let stage = Stage::new().await;
    let devices = stage.iphones(0..5000).await;
    stage.push(Audience::All).await;
    stage.cut_all().await;
    let few = Room {
        long: 2000,
        pages: 10,
        short: 1,
    };
    let leased = stage.lease(few).await;
    assert_eq!((leased.pages.len(), leased.ahead), (2, 3));
    // Cut when it was accepted.
    let single = stage.push(to(&devices[..1])).await;
    let another = stage.push(to(&devices[1..2])).await;
    let leased = stage.lease(few).await;
    let classes: Vec<_> = leased
        .pages
        .iter()
        .map(|page| (page.key.message, page.class))
        .collect();
    assert_eq!(classes[0], (single.id, Class::Short));
    assert_eq!(classes[1].1, Class::Long);
    assert_eq!(classes.len(), 3);
    let leased = stage.lease(Room { long: 0, ..few }).await;
    assert_eq!(leased.pages[0].key.message, another.id);
    let none = stage.lease(Room { pages: 0, ..few }).await;
    assert_eq!(none.pages.len(), 0);
}

#[tokio::test]
async fn counts_move_with_each_flush_and_a_killed_lanes_page_goes_on_where_it_was() {
    let stage = Stage::new().await;
    let devices = stage.iphones(0..100).await;
    let message = stage.push(Audience::All).await;
    stage.cut_all().await;
    let mut out = stage.only_out().await;
    out.accept(0..40);
    let flush = out.flush();
    assert_eq!(stage.flush(flush).await, Flushed::default());
    out.end(40, &end(Ending::Dropped, Some("Unregistered")));
    let flush = out.flush();
    stage.flush(flush.clone()).await;
    let expected = [100, 40, 1, 0, 0];
    assert_eq!(stage.counts(message.id, Provider::Apns).await, expected);
    // The same again, as when nobody knew whether it was committed.
    let flushed = stage.flush(flush).await;
    assert_eq!(flushed.lost, [(out.page.key, out.page.lease)]);
    assert_eq!(stage.counts(message.id, Provider::Apns).await, expected);
    assert_eq!(
        stage.standing(message.id, devices[40]).await,
        Some(Ending::Dropped)
    );
    assert_eq!(stage.standing(message.id, devices[41]).await, None);

    out.accept(41..50);
    let late = out.flush();
    let stage = stage.reopened();
    let mut out = stage.only_out().await;
    let done = (0..100).filter(|index| out.open.progress.has(*index));
    assert_eq!(done.collect::<Vec<_>>(), (0..41).collect::<Vec<_>>());
    // What the dead one would have written has no effect.
    assert_eq!(stage.flush(late).await.lost.len(), 1);
    out.accept(41..100);
    let settle = out.settle(vec![]);
    stage.flush(settle).await;
    assert_eq!(
        stage.counts(message.id, Provider::Apns).await,
        [100, 99, 1, 0, 0]
    );
    let ledger = stage.store.ledger(stage.app, message.id).await;
    let ledger = ledger.expect("read").expect("a ledger");
    assert!(ledger.dispatched);
    assert_eq!(
        ledger.reasons,
        [(
            Provider::Apns,
            Ending::Dropped,
            Reason::known("Unregistered"),
            1
        )]
    );
    assert_eq!(
        stage.standing(message.id, devices[99]).await,
        Some(Ending::Accepted)
    );
}

#[tokio::test]
async fn what_waits_moves_into_a_page_of_stragglers_with_its_own_time() {
    let stage = Stage::new().await;
    let devices = stage.iphones(0..100).await;
    let message = stage.push(Audience::All).await;
    stage.cut_all().await;
    let mut out = stage.only_out().await;
    out.accept(0..98);
    let mut waiting = out.rest(Some(0)).members;
    waiting[1].tried = Some(Box::new(Tried {
        last: Some(Reason::known("TooManyRequests")),
        retries: 3,
        unanswered: 1,
    }));
    let far = UnixMillis::now().plus(Duration::from_secs(3600)).0;
    let rest = |due, member: &Member| Rest {
        due: Some(UnixMillis(due)),
        environment: out.page.key.environment,
        members: vec![member.clone()],
    };
    let rest = vec![rest(1, &waiting[0]), rest(far, &waiting[1])];
    let settle = out.settle(rest);
    stage.flush(settle).await;
    assert_eq!(stage.counts(message.id, Provider::Apns).await[1], 98);
    let leased = stage.lease(ROOM).await;
    assert_eq!(leased.next_due, Some(UnixMillis(far)));
    assert_eq!(leased.pages.len(), 1);
    assert_eq!(leased.pages[0].key.round, 1);
    let mut first = stage.open(&leased.pages[0]).await.expect("a page");
    assert_eq!(first.devices(), [devices[98]]);
    let journey = stage
        .store
        .journey(stage.app, message.id, devices[99])
        .await;
    let page = journey.expect("read").expect("a journey").pages.pop();
    let waits = page.expect("a page").waits.expect("it waits");
    assert_eq!((waits.attempts, waits.due), (4, UnixMillis(far)));
    // It waits once more: nothing has ended, so it stays the page that it was.
    let settle = first.settle(vec![first.rest(Some(2))]);
    stage.flush(settle).await;
    let mut first = stage.only_out().await;
    assert_eq!(first.page.key.round, 1);
    first.end(0, &end(Ending::Failed, Some("TooManyRequests")));
    let settle = first.settle(vec![]);
    stage.flush(settle).await;
    assert_eq!(
        stage.standing(message.id, devices[98]).await,
        Some(Ending::Failed)
    );
    assert_eq!(stage.standing(message.id, devices[99]).await, None);
    assert_eq!(
        stage.standing(message.id, devices[97]).await,
        Some(Ending::Accepted)
    );
}

#[tokio::test]
async fn a_way_that_ends_is_handed_on_to_the_link_and_counted_once() {
    let stage = &Stage::new().await;
    let both = NewDevice {
        channels: vec![apns(1, None), link()],
        ..stage.iphone(1, None)
    };
    let both = stage.store.register(both).await.expect("registered").id;
    let only = stage.store.register(stage.iphone(2, None)).await;
    let only = only.expect("registered").id;
    let message = stage.push(to(&[both, only])).await;
    let mut out = stage.only_out().await;
    let dead = end(Ending::Dropped, Some("Unregistered"));
    let removal = |device, token: usize| Removal {
        app: stage.app,
        device,
        provider: Provider::Apns,
        reason: Reason::known("Unregistered"),
        registered_before: UnixMillis(i64::MAX),
        token: format!("{token:064x}").into(),
    };
    let settle = PageFlush {
        leaving: vec![leaving(0, None, &dead), leaving(1, None, &dead)],
        ..out.settle(vec![])
    };
    let removals = vec![removal(both, 1), removal(only, 77)];
    let flushed = stage.store.flush(vec![settle], removals).await;
    let flushed = flushed.expect("flushed");
    assert_eq!(flushed.inboxes, [both]);
    let channels = |device| async move {
        let device = stage.store.device(stage.app, device).await;
        device.expect("read").expect("known").channels.len()
    };
    assert_eq!(channels(both).await, 1, "its link");
    assert_eq!(
        channels(only).await,
        1,
        "it has another token than the one that is dead"
    );
    let handed_on = End {
        ending: Ending::HandedOn,
        ..dead.clone()
    };
    assert_eq!(
        flushed.left,
        [(out.page.key, vec![(0, handed_on), (1, dead)])]
    );
    assert_eq!(
        stage.counts(message.id, Provider::Apns).await,
        [2, 0, 1, 0, 1]
    );
    assert_eq!(
        stage.counts(message.id, Provider::Link).await,
        [1, 0, 0, 0, 0]
    );
    let ledger = stage.store.ledger(stage.app, message.id).await;
    let total = ledger.expect("read").expect("a ledger").total();
    assert_eq!((total.targeted, total.dropped), (2, 1));
}

#[tokio::test]
async fn what_has_no_other_way_than_one_that_is_shut_stays_in_its_page() {
    let stage = &Stage::new().await;
    let both = NewDevice {
        channels: vec![apns(1, None), link()],
        ..stage.iphone(1, None)
    };
    let both = stage.store.register(both).await.expect("registered").id;
    let only = stage.store.register(stage.iphone(2, None)).await;
    let only = only.expect("registered").id;
    let message = stage.push(to(&[both, only])).await;
    let mut out = stage.only_out().await;
    let spent = end(Ending::Failed, Some("200001"));
    let shut = |index| Leaving {
        why: Why::Shut,
        ..leaving(index, None, &spent)
    };
    let flush = PageFlush {
        leaving: vec![shut(0), shut(1)],
        ..out.flush()
    };
    let flushed = stage.flush(flush).await;
    let handed_on = End {
        ending: Ending::HandedOn,
        ..spent
    };
    assert_eq!(flushed.left, [(out.page.key, vec![(0, handed_on)])]);
    assert_eq!(flushed.again, [(out.page.key, 1)]);
    assert_eq!(flushed.inboxes, [both]);
    assert_eq!(
        stage.counts(message.id, Provider::Apns).await,
        [2, 0, 0, 0, 1]
    );
}

fn leaving(index: usize, dead: Option<usize>, end: &End) -> Leaving {
    Leaving {
        why: dead.map_or(Why::Ended, |token| {
            Why::Dead(format!("{token:064x}").into())
        }),
        end: end.clone(),
        index,
    }
}

#[tokio::test]
async fn a_delivery_stays_in_its_page_when_its_device_holds_another_token_than_the_dead_one() {
    let stage = &Stage::new().await;
    let mut devices = Vec::new();
    for number in [1, 2] {
        let both = NewDevice {
            channels: vec![apns(number, None), link()],
            ..stage.iphone(number, None)
        };
        devices.push(stage.store.register(both).await.expect("registered").id);
    }
    let message = stage.push(to(&devices)).await;
    let mut out = stage.only_out().await;
    let change = DeviceChange {
        channels: Some(vec![apns(3, None), link()]),
        ..DeviceChange::default()
    };
    let changed = stage.store.change_device(stage.app, devices[0], change);
    changed.await.expect("changed");
    let dead = end(Ending::Dropped, Some("Unregistered"));
    let flush = PageFlush {
        leaving: vec![leaving(0, Some(1), &dead), leaving(1, Some(2), &dead)],
        rest: None,
        ..out.settle(vec![])
    };
    let flushed = stage.store.flush(vec![flush], vec![]).await;
    let flushed = flushed.expect("flushed");
    assert_eq!(flushed.again, [(out.page.key, 0)]);
    assert_eq!(flushed.inboxes, [devices[1]]);
    assert_eq!(stage.standing(message.id, devices[0]).await, None);
    assert_eq!(
        stage.counts(message.id, Provider::Apns).await,
        [2, 0, 0, 0, 1]
    );
}

#[tokio::test]
async fn messages_with_one_collapse_id_keep_their_order() {
    let stage = Stage::new().await;
    let devices = stage.iphones(0..1200).await;
    let first = stage.push_with(Audience::All, collapsing("score")).await;
    let second = stage
        .push_with(to(&devices[..1]), collapsing("score"))
        .await;
    let other = stage
        .push_with(to(&devices[..1]), collapsing("weather"))
        .await;
    let messages = |leased: &Leased| -> Vec<MsgId> {
        leased.pages.iter().map(|page| page.key.message).collect()
    };
    let leased = stage.lease(ROOM).await;
    assert_eq!(
        messages(&leased),
        [other.id],
        "the first is still to be cut"
    );
    stage.cut_all().await;
    let mut out = stage.out().await;
    assert_eq!(out.len(), 2);
    out[0].accept(0..1000);
    let settle = out[0].settle(vec![]);
    stage.flush(settle).await;
    let behind = stage.out().await;
    let keys: Vec<_> = behind.iter().map(|out| out.page.key.message).collect();
    assert_eq!(keys, [second.id], "its device has the first by now");
    out[1].accept(0..199);
    let rest = out[1].rest(Some(1));
    let settle = out[1].settle(vec![rest]);
    stage.flush(settle).await;
    let out = stage.out().await;
    let keys: Vec<_> = out.iter().map(|out| out.page.key.message).collect();
    assert_eq!(keys, [first.id]);
    assert_eq!(out[0].devices(), devices[1199..]);
    assert!(matches!(out[0].open.places[0], Some(Addressed::Here(_))));
    // A third for everyone waits for both, and undoes what has yet to go.
    let third = stage.push_with(Audience::All, collapsing("score")).await;
    stage.cut_all().await;
    assert_eq!(stage.lease(ROOM).await.pages.len(), 0);
    let stage = stage.reopened();
    let out = stage.out().await;
    let keys: Vec<_> = out.iter().map(|out| out.page.key.message).collect();
    assert_eq!(keys, [second.id, other.id, first.id]);
    assert_eq!(out[2].open.places[0], Some(Addressed::Superseded));
    assert!(matches!(out[1].open.places[0], Some(Addressed::Here(_))));
    assert!(third.id > first.id);
}

#[tokio::test]
async fn a_page_answers_for_a_device_whose_token_is_of_another_environment_since() {
    let stage = Stage::new().await;
    let sandbox = Some(Environment::Sandbox);
    for (then, now) in [
        (sandbox, None),
        (None, sandbox),
        (sandbox, Some(Environment::Production)),
    ] {
        let device = stage.store.register(stage.iphone(1, then)).await;
        let device = device.expect("registered").id;
        let message = stage.push(Audience::All).await;
        let change = DeviceChange {
            channels: Some(vec![apns(2, now)]),
            ..DeviceChange::default()
        };
        let changed = stage.store.change_device(stage.app, device, change).await;
        assert!(changed.expect("changed").is_some());
        stage.cut_all().await;
        // In one lane it is seen that it belongs into the other.
        for environment in Environment::ALL.into_iter().chain(Environment::ALL) {
            for mut out in stage.out_in(environment).await {
                let rest = match &out.open.places[0] {
                    Some(Addressed::Elsewhere(environment)) => vec![Rest {
                        environment: *environment,
                        ..out.rest(None)
                    }],
                    _ => {
                        assert_eq!(out.here(0), format!("{:064x}", 2));
                        assert_eq!(environment, now.unwrap_or(Environment::Production));
                        out.accept(0..1);
                        vec![]
                    }
                };
                let settle = out.settle(rest);
                stage.flush(settle).await;
            }
        }
        let standing = stage.standing(message.id, device).await;
        assert_eq!(standing, Some(Ending::Accepted), "{then:?} {now:?}");
        assert!(
            stage
                .store
                .delete_device(stage.app, device)
                .await
                .expect("deleted")
        );
    }
}

#[tokio::test]
async fn nothing_of_a_deleted_app_is_taken_out() {
    let stage = Stage::new().await;
    let devices = stage.iphones(0..1001).await;
    stage.push(Audience::All).await;
    stage.push(to(&devices[..1])).await;
    let chunk = stage.chunk(Turn::Fresh).await.expect("a chunk");
    let cut = stage.store.cut(Provider::Apns, vec![chunk]).await;
    assert_eq!(cut.expect("cut").len(), 1);
    let mut out = stage.out().await.pop().expect("a page");
    assert!(stage.store.delete_app(stage.app).await.expect("deleted"));
    let stage = stage.reopened();
    let work = stage.store.open_work(None).await.expect("read");
    assert_eq!(work, OpenWork::default());
    assert_eq!(stage.lease(ROOM).await.pages.len(), 0);
    while stage.store.sweep().await.expect("swept").more {}
    // What comes late changes nothing.
    out.accept(0..1);
    let settle = out.settle(vec![]);
    assert_eq!(stage.flush(settle).await.lost.len(), 1);
}

#[tokio::test]
async fn a_lease_that_runs_out_is_freed_and_can_be_prolonged() {
    let stage = Stage::new().await;
    stage.iphones(0..1).await;
    stage.push(Audience::All).await;
    stage.cut_all().await;
    let over = stage
        .store
        .lease(stage.lane(), ROOM, Duration::ZERO, UnixMillis::now())
        .await;
    let over = over.expect("a lease").pages[0].clone();
    stage
        .store
        .renew_leases(vec![(over.key, over.lease)], LEASE)
        .await
        .expect("renewed");
    assert_eq!(stage.store.free_pages().await.expect("freed"), 0);
    stage
        .store
        .renew_leases(vec![(over.key, over.lease)], Duration::ZERO)
        .await
        .expect("renewed");
    assert_eq!(stage.store.free_pages().await.expect("freed"), 1);
    let work = stage
        .store
        .open_work(Some(vec![stage.app]))
        .await
        .expect("read");
    assert_eq!(work.lanes, [stage.lane()]);
    let again = stage.only_out().await;
    assert_ne!(again.page.lease, over.lease);
    // The first one's word does not count any more.
    stage
        .store
        .renew_leases(vec![(over.key, over.lease)], Duration::ZERO)
        .await
        .expect("renewed");
    assert_eq!(stage.store.free_pages().await.expect("freed"), 0);
}

#[tokio::test]
async fn a_page_that_cannot_be_read_fails_alone() {
    let stage = Stage::new().await;
    stage.iphones(0..1500).await;
    let message = stage.push(Audience::All).await;
    stage.cut_all().await;
    let Stage { app, dir, store } = stage;
    drop(store);
    let sql = rusqlite::Connection::open(dir.path().join("tidings.db")).expect("opens");
    sql.execute(
        "UPDATE members SET devices = x'ffff' WHERE first = (SELECT max(first) FROM members)",
        [],
    )
    .expect("damaged");
    drop(sql);
    let store = open(dir.path());
    let stage = Stage { app, dir, store };
    let leased = stage.lease(ROOM).await;
    let [good, bad] = leased.pages.as_slice() else {
        panic!("{leased:?}")
    };
    assert!(stage.open(good).await.is_ok());
    assert!(stage.open(bad).await.is_err());
    stage
        .store
        .fail_page(bad.key, bad.lease, Reason::known("Unreadable"))
        .await
        .expect("failed");
    assert_eq!(
        stage.counts(message.id, Provider::Apns).await,
        [1500, 0, 0, 500, 0]
    );
}

#[tokio::test]
async fn of_stragglers_that_split_and_wait_on_it_is_known_that_they_wait() {
    let stage = Stage::new().await;
    let devices = stage.iphones(0..3).await;
    let message = stage.push(Audience::All).await;
    stage.cut_all().await;
    let mut out = stage.only_out().await;
    out.accept(0..1);
    let rest = out.rest(Some(1));
    let settle = out.settle(vec![rest]);
    stage.flush(settle).await;
    let mut stragglers = stage.only_out().await;
    let apart = |member: &Member, due| Rest {
        due: Some(UnixMillis(due)),
        environment: stragglers.page.key.environment,
        members: vec![member.clone()],
    };
    let members = Arc::clone(&stragglers.open.members);
    // Nothing of the page has ended, and it is none of both.
    let rest = vec![apart(&members[0], 2), apart(&members[1], i64::MAX)];
    let settle = stragglers.settle(rest);
    stage.flush(settle).await;
    for device in &devices[1..] {
        assert_eq!(stage.standing(message.id, *device).await, None);
    }
    let known = stage.standing(message.id, devices[0]).await;
    assert_eq!(known, Some(Ending::Accepted));
}

#[tokio::test]
async fn a_page_that_cannot_be_read_keeps_no_newer_message_with_its_collapse_id_back() {
    let stage = Stage::new().await;
    let devices = stage.iphones(0..2).await;
    stage
        .push_with(to(&devices[..1]), collapsing("score"))
        .await;
    let second = stage
        .push_with(to(&devices[..1]), collapsing("score"))
        .await;
    let leased = stage.lease(ROOM).await;
    let [bad] = leased.pages.as_slice() else {
        panic!("{leased:?}")
    };
    let reason = Reason::known("Unreadable");
    let lanes = stage.store.fail_page(bad.key, bad.lease, reason).await;
    assert_eq!(lanes.expect("failed"), [stage.lane()]);
    let out = stage.only_out().await;
    assert_eq!(out.page.key.message, second.id);
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_finished_like_others_and_undoes_none() {
    let stage = Stage::new().await;
    let devices = stage.iphones(0..2).await;
    let first = stage.push_with(to(&devices), collapsing("score")).await;
    let mut out = stage.only_out().await;
    let rest = out.rest(Some(1));
    let put_back = out.settle(vec![rest]);
    stage.flush(put_back).await;
    let second = stage.push_with(to(&devices), collapsing("score")).await;
    let damage = "UPDATE messages SET push = '{' WHERE id = ?1";
    stage.sql().execute(damage, [second.id.0]).expect("damaged");
    let mut leased = stage.lease(ROOM).await.pages;
    leased.sort_by_key(|page| page.key.message);
    let [old, new] = leased.as_slice() else {
        panic!("{leased:?}");
    };
    // It goes to nobody, so the one before is not undone by it.
    let mut old = stage.open(old).await.expect("can be read");
    assert!(!old.here(0).is_empty());
    old.accept(0..2);
    let settle = old.settle(vec![]);
    stage.flush(settle).await;
    assert!(stage.open(new).await.is_err());
    let reason = Reason::known("Unreadable");
    let failed = stage.store.fail_page(new.key, new.lease, reason).await;
    failed.expect("failed");
    let over = second.expires_at.plus(tidings_store::limits::FINISH_GRACE);
    assert_eq!(stage.store.finish_expired(over).await.expect("done"), 2);
    let ledger = stage.store.ledger(stage.app, first.id).await;
    assert!(ledger.expect("read").expect("known").finished);
}

#[tokio::test]
async fn what_is_put_back_keeps_its_turn_and_its_order_also_when_some_of_it_has_ended() {
    let stage = Stage::new().await;
    let devices = stage.iphones(0..3).await;
    let first = stage.push_with(to(&devices), collapsing("score")).await;
    let mut out = stage.only_out().await;
    out.accept(0..1);
    let rest = out.rest(None);
    let settle = out.settle(vec![rest]);
    stage.flush(settle).await;
    stage.push_with(to(&devices), collapsing("score")).await;
    let again = stage.only_out().await;
    let page = &again.page;
    assert_eq!((page.key.message, page.class), (first.id, Class::Short));
    assert_eq!(again.devices(), devices[1..]);
}

#[tokio::test]
async fn stragglers_that_moved_to_another_environment_are_found_wherever_their_page_begins() {
    let stage = Stage::new().await;
    let (production, sandbox) = (Environment::Production, Environment::Sandbox);
    let mut devices = Vec::new();
    for (token, environment) in [production, sandbox, production].into_iter().enumerate() {
        let new = stage.iphone(token, Some(environment));
        let registered = stage.store.register(new).await;
        devices.push(registered.expect("registered").id);
    }
    let message = stage.push(Audience::All).await;
    stage.cut_all().await;
    for (token, device) in [(10, devices[0]), (12, devices[2])] {
        let change = DeviceChange {
            channels: Some(vec![apns(token, Some(sandbox))]),
            ..DeviceChange::default()
        };
        let changed = stage.store.change_device(stage.app, device, change).await;
        changed.expect("changed");
    }
    let mut out = stage.only_out().await;
    assert_eq!(out.devices(), [devices[0], devices[2]]);
    let rest = Rest {
        environment: Some(sandbox),
        ..out.rest(None)
    };
    let settle = out.settle(vec![rest]);
    stage.flush(settle).await;
    for mut out in stage.out_in(sandbox).await {
        out.accept(0..out.devices().len());
        let settle = out.settle(vec![]);
        stage.flush(settle).await;
    }
    for device in devices {
        let standing = stage.standing(message.id, device).await;
        assert_eq!(standing, Some(Ending::Accepted));
    }
}

#[tokio::test]
async fn a_message_is_superseded_by_what_its_device_got_and_not_by_what_failed() {
    let stage = Stage::new().await;
    let devices = stage.iphones(0..3).await;
    let (both, third) = (to(&devices[..2]), to(&devices[2..]));
    stage.push_with(both.clone(), collapsing("score")).await;
    let mut out = stage.only_out().await;
    let rest = out.rest(Some(1));
    let settle = out.settle(vec![rest]);
    stage.flush(settle).await;
    stage.push_with(both, collapsing("score")).await;
    // An app may use one id for all its users.
    for _ in 0..20 {
        stage.push_with(third.clone(), collapsing("score")).await;
    }
    let pages = stage.lease(ROOM).await.pages;
    let page = |class| pages.iter().find(|page| page.class == class);
    let newer = page(Class::Short).expect("the second");
    let mut newer = stage.open(newer).await.expect("a page");
    newer.accept(0..1);
    newer.end(1, &end(Ending::Failed, Some("PayloadTooLarge")));
    let settle = newer.settle(vec![]);
    stage.flush(settle).await;
    let older = page(Class::Stragglers).expect("what waited");
    let older = stage.open(older).await.expect("a page");
    assert_eq!(older.open.places[0], Some(Addressed::Superseded));
    assert!(matches!(older.open.places[1], Some(Addressed::Here(_))));
}

#[tokio::test]
async fn a_message_behind_another_is_known_for_that_when_enough_of_it_is_cut() {
    let stage = Stage::new().await;
    stage.iphones(0..1500).await;
    for _ in 0..2 {
        stage.push_with(Audience::All, collapsing("score")).await;
    }
    let first = stage.chunk(Turn::Fresh).await.expect("a chunk");
    let cut = stage.store.cut(Provider::Apns, vec![first]).await;
    cut.expect("cut");
    let second = stage.chunk(Turn::Fresh).await.expect("a chunk");
    let message = second.task.message.id;
    let cut = stage.store.cut(Provider::Apns, vec![second]).await;
    cut.expect("cut");
    let behind = async || {
        let open = stage
            .store
            .open_tasks(stage.app, Provider::Apns, Turn::Begun, 2);
        let tasks = open.await.expect("read").tasks;
        let behind = tasks.into_iter().map(|task| task.behind);
        behind.collect::<Vec<_>>()
    };
    assert_eq!(behind().await, [vec![], vec![]]);
    let more = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?2)
                INSERT INTO pages SELECT message, provider, environment, first + n, round, app, last, count, answered, unknown, class,
                    state, due, collapse, lease, lease_until, settled_at, detail, behind, behind_first
                FROM pages, n WHERE message = ?1";
    let pages = tidings_store::limits::AHEAD_MAX as i64 - 1;
    stage
        .sql()
        .execute(more, [message.0, pages])
        .expect("inserted");
    assert_eq!(
        behind().await,
        [vec![], vec![Some(Environment::Production)]]
    );
}

#[tokio::test]
async fn a_search_that_finds_hardly_anybody_goes_on_in_parts() {
    let stage = Stage::new().await;
    // So many that two lists name, and no push reaches.
    let insert = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 100000)
                  INSERT INTO labels SELECT ?1, ?2, ?3, n, 0, 9223372036854775807 FROM n";
    for (kind, label) in [(1, "guest"), (2, "all")] {
        let inserted = stage.sql().execute(insert, (stage.app.0, kind, label));
        inserted.expect("inserted");
    }
    let new = NewDevice {
        alias: Some("guest".parse().expect("an alias")),
        tags: vec!["all".parse().expect("a tag")],
        ..stage.iphone(1, None)
    };
    let device = stage.store.register(new).await.expect("registered").id;
    let audience = Audience::Selection(Selection {
        aliases: vec!["guest".parse().expect("an alias")],
        tags: vec!["all".parse().expect("a tag")],
        ..Selection::default()
    });
    let message = stage.push(audience).await;
    let first = stage.chunk(Turn::Fresh).await.expect("a chunk");
    assert!(first.is_thin() && first.targets.is_empty());
    let cut = stage.store.cut(Provider::Apns, vec![first]).await;
    cut.expect("cut");
    assert!(
        stage.chunk(Turn::Fresh).await.is_none(),
        "others go before it"
    );
    stage.cut_all().await;
    let out = stage.only_out().await;
    assert_eq!(
        (out.page.key.message, out.devices()),
        (message.id, vec![device])
    );
}
