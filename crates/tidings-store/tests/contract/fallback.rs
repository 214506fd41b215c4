//! What the link has first, and a provider if it is not acknowledged in time.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tidings_model::{
    Audience, DeviceId, Message, Part, Parts, Platform, Provider, Reason, Strategy, UnixMillis,
};
use tidings_store::{
    Ack, Acked, Addressed, ChannelChange, Delta, DeviceChange, End, Ending, EventKind, Fallback,
    LaneKey, LeasedPage, Leaving, LinkEnd, OpenPage, PageFlush, Position, Room, Turn, Waiting, Why,
};

use crate::support::{Stage, accept, device, link, push, to};

const LEASE: Duration = Duration::from_secs(60);
const ROOM: Room = Room {
    long: 8000,
    pages: 100,
    short: 2000,
};

fn huawei(token: &str) -> ChannelChange {
    ChannelChange {
        environment: None,
        provider: Provider::Huawei,
        token: Some(token.into()),
    }
}

/// An app whose phones have Huawei, the link, or both.
struct Phones(Stage);

impl Deref for Phones {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        &self.0
    }
}

impl Phones {
    async fn new() -> Self {
        Self(Stage::new().await)
    }

    async fn phone(&self, channels: Vec<ChannelChange>) -> DeviceId {
        let new = device(self.app, Platform::Android, channels);
        self.store.register(new).await.expect("registered").id
    }

    async fn link_first(&self, audience: Audience) -> Message {
        let mut push = push(audience);
        push.options
            .strategies
            .set(Provider::Huawei, Strategy::LinkFirst);
        push.options.fallback_after = Some(30_000);
        accept(&self.store, self.app, push).await
    }

    /// Cuts what is there: the link has all first that have it.
    async fn cut(&self) {
        loop {
            let open = self
                .store
                .open_tasks(self.app, Provider::Huawei, Turn::Fresh, 1);
            let Some(task) = open.await.expect("read").tasks.pop() else {
                return;
            };
            let mut chunk = self
                .store
                .chunk(task, Provider::Huawei)
                .await
                .expect("read");
            let on_link = chunk.targets.iter().filter(|target| target.on_link);
            chunk.to_link = on_link.map(|target| target.device).collect();
            let cut = self
                .store
                .cut(Provider::Huawei, vec![Arc::new(chunk)])
                .await;
            cut.expect("cut");
        }
    }

    async fn route(&self) {
        let tasks = self
            .store
            .link_tasks(self.app, Turn::Fresh, tidings_model::MsgId(0), 9, 1000);
        let tasks = tasks.await.expect("read");
        self.store.route(self.app, tasks).await.expect("routed");
    }

    async fn inbox(&self, device: DeviceId) -> Vec<Waiting> {
        let inbox = self
            .store
            .inbox_after(self.app, device, Position(0), 9)
            .await;
        inbox.expect("read")
    }

    async fn acknowledge(&self, message: &Message, device: DeviceId) {
        let ack = Ack {
            app: self.app,
            device,
            platform: Platform::Android,
            what: Acked::Inbox {
                end: LinkEnd::Delivered,
                message: message.id,
                parts: [Part::Notification].into_iter().collect::<Parts>(),
            },
        };
        self.store.acknowledge(vec![ack]).await.expect("written");
    }

    /// Those whose time will have come within the hour.
    async fn due(&self) -> Vec<Fallback> {
        let later = UnixMillis::now().plus(Duration::from_secs(3600));
        self.store.fallbacks(later).await.expect("read").due
    }

    async fn fall_back(&self) -> Vec<Fallback> {
        let due = self.due().await;
        for fallback in &due {
            while self
                .store
                .fall_back(*fallback)
                .await
                .expect("fell back")
                .more
            {}
        }
        due
    }

    async fn out(&self) -> Vec<(LeasedPage, OpenPage)> {
        let lane = LaneKey {
            app: self.app,
            provider: Provider::Huawei,
            environment: None,
        };
        let leased = self
            .store
            .lease(lane, ROOM, LEASE, UnixMillis::now())
            .await
            .expect("leased");
        let opened = self.store.open_pages(leased.pages, HashMap::new()).await;
        let opened = opened.expect("read").into_iter();
        opened
            .map(|(page, open)| (page, open.expect("a page")))
            .collect()
    }

    /// Settles a page: all have been accepted but for those, which were refused.
    async fn settle(&self, (page, open): (LeasedPage, OpenPage), refused: &[DeviceId]) {
        let end = |ending, reason| End {
            at: UnixMillis::now(),
            attempts: 1,
            ending,
            reason,
        };
        let mut flush = PageFlush {
            delta: Delta::default(),
            ended: page.ended,
            key: page.key,
            lease: page.lease,
            leaving: Vec::new(),
            members: Arc::clone(&open.members),
            message: Arc::clone(&open.message),
            progress: open.progress.clone(),
            rest: Some(Vec::new()),
        };
        for (index, member) in open.members.iter().enumerate() {
            if refused.contains(&member.device) {
                flush.leaving.push(Leaving {
                    why: Why::Ended,
                    end: end(Ending::Failed, Some(Reason::known("Refused"))),
                    index,
                });
            } else {
                let end = end(Ending::Accepted, None);
                assert!(flush.progress.note(index, &end));
                flush.delta.add(member.platform, &end);
            }
        }
        let flushed = self.store.flush(vec![flush], vec![]).await;
        assert_eq!(flushed.expect("flushed").lost, []);
    }

    /// (targeted, accepted, delivered, handed on, expired) by a provider.
    async fn counts(&self, message: &Message, provider: Provider) -> [u64; 5] {
        let ledger = self.store.ledger(self.app, message.id).await.expect("read");
        let ledger = ledger.expect("known");
        let tallies = ledger.tallies.iter();
        let of = tallies.filter(|tally| tally.provider == provider);
        of.fold([0; 5], |sum, tally| {
            let c = tally.counts;
            let more = [c.targeted, c.accepted, c.delivered, c.handed_on, c.expired];
            std::array::from_fn(|index| sum[index] + more[index])
        })
    }

    /// What the provider's pages say of a device.
    async fn standing(&self, message: &Message, device: DeviceId) -> Option<Option<Ending>> {
        let journey = self.store.journey(self.app, message.id, device).await;
        let page = journey.expect("read").expect("known").pages.pop();
        page.map(|page| page.answer.map(|answer| answer.ending))
    }
}

fn devices(open: &OpenPage) -> Vec<DeviceId> {
    open.members.iter().map(|member| member.device).collect()
}

#[tokio::test]
async fn whoever_has_not_acknowledged_gets_it_by_the_provider_once() {
    let stage = Phones::new().await;
    let only_huawei = stage.phone(vec![huawei("a")]).await;
    let hears = stage.phone(vec![huawei("b"), link()]).await;
    let silent = stage.phone(vec![huawei("c"), link()]).await;
    let only_link = stage.phone(vec![link()]).await;
    let last = stage.phone(vec![huawei("d")]).await;
    let message = stage.link_first(Audience::All).await;
    stage.cut().await;
    stage.route().await;

    // The range of the first page holds the others.
    let mut out = stage.out().await;
    assert_eq!(out.len(), 1);
    assert_eq!(devices(&out[0].1), [only_huawei, last]);
    stage.settle(out.remove(0), &[]).await;
    for device in [hears, silent] {
        let inbox = stage.inbox(device).await;
        assert_eq!(inbox.len(), 1);
        assert_eq!(inbox[0].until, message.link_gives_until());
        assert_eq!(stage.standing(&message, device).await, None);
    }
    assert_eq!(stage.inbox(only_link).await[0].until, None);
    stage.acknowledge(&message, hears).await;
    let stage = Phones(stage.0.reopened());
    let none = stage.store.fallbacks(message.accepted_at).await;
    let none = none.expect("read");
    assert_eq!((none.due, none.next), (vec![], message.falls_back_at()));

    let due = stage.fall_back().await;
    assert_eq!(due.len(), 1);
    assert_eq!(Some(due[0].due), message.falls_back_at());
    assert_eq!(stage.fall_back().await, []);
    assert!(stage.inbox(silent).await.is_empty());
    let mut out = stage.out().await;
    assert_eq!(devices(&out[0].1), [silent]);
    let Some(Addressed::Here(address)) = &out[0].1.places[0] else {
        panic!("{:?}", out[0].1.places);
    };
    assert_eq!(address.token.as_deref(), Some("c"));
    stage.settle(out.remove(0), &[]).await;
    // It was on its way: it counts no second time, and is not forgotten.
    stage.acknowledge(&message, silent).await;
    let journey = stage.store.journey(stage.app, message.id, silent).await;
    let events = journey.expect("read").expect("known").events;
    let events: Vec<EventKind> = events.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(events, [EventKind::Received]);

    assert_eq!(
        stage.counts(&message, Provider::Huawei).await,
        [3, 3, 0, 0, 0]
    );
    assert_eq!(
        stage.counts(&message, Provider::Link).await,
        [3, 0, 1, 1, 0]
    );
    assert_eq!(
        stage.standing(&message, silent).await,
        Some(Some(Ending::Accepted))
    );
    assert_eq!(
        stage.standing(&message, last).await,
        Some(Some(Ending::Accepted))
    );
    assert_eq!(stage.standing(&message, hears).await, None);

    let over = message.expires_at.plus(Duration::from_secs(60));
    assert_eq!(stage.store.finish_expired(over).await.expect("finished"), 1);
    assert_eq!(
        stage.counts(&message, Provider::Link).await,
        [3, 0, 1, 1, 1]
    );
    let ledger = stage
        .store
        .ledger(stage.app, message.id)
        .await
        .expect("read");
    assert_eq!(ledger.expect("known").total().targeted, 5);
}

#[tokio::test]
async fn what_the_provider_refuses_then_is_in_the_inbox_again() {
    let stage = Phones::new().await;
    let phone = stage.phone(vec![huawei("a"), link()]).await;
    let message = stage.link_first(to(&[phone])).await;
    stage.cut().await;
    assert_eq!(stage.inbox(phone).await.len(), 1);
    stage.fall_back().await;
    let mut out = stage.out().await;
    stage.settle(out.remove(0), &[phone]).await;
    assert_eq!(
        stage.standing(&message, phone).await,
        Some(Some(Ending::HandedOn))
    );
    let inbox = stage.inbox(phone).await;
    assert_eq!((inbox.len(), inbox[0].until), (1, None));
    stage.acknowledge(&message, phone).await;
    assert!(stage.inbox(phone).await.is_empty());
    assert_eq!(
        stage.counts(&message, Provider::Huawei).await,
        [1, 0, 0, 1, 0]
    );
    assert_eq!(
        stage.counts(&message, Provider::Link).await,
        [2, 0, 1, 1, 0]
    );
    let ledger = stage
        .store
        .ledger(stage.app, message.id)
        .await
        .expect("read");
    let total = ledger.expect("known").total();
    assert_eq!((total.targeted, total.delivered), (1, 1));
}

#[tokio::test]
async fn a_message_is_not_finished_before_its_turn_at_the_provider() {
    let stage = Phones::new().await;
    let phone = stage.phone(vec![huawei("a"), link()]).await;
    let message = stage.link_first(Audience::All).await;
    let over = message.expires_at.plus(Duration::from_secs(60));
    stage.cut().await;
    stage.route().await;
    assert_eq!(stage.store.finish_expired(over).await.expect("asked"), 0);
    stage.acknowledge(&message, phone).await;
    stage.fall_back().await;
    assert_eq!(stage.store.finish_expired(over).await.expect("finished"), 1);
    assert!(stage.out().await.is_empty());
}

#[tokio::test]
async fn a_message_that_is_still_being_cut_is_looked_at_again() {
    let stage = Phones::new().await;
    let phone = stage.phone(vec![huawei("a"), link()]).await;
    let message = stage.link_first(Audience::All).await;
    let due = stage.fall_back().await;
    let later = stage.due().await;
    assert!(later.len() == 1 && later[0].due != due[0].due);
    stage.cut().await;
    stage.fall_back().await;
    assert_eq!(stage.due().await, []);
    assert_eq!(devices(&stage.out().await[0].1), [phone]);
    assert_eq!(
        stage.counts(&message, Provider::Link).await,
        [1, 0, 0, 1, 0]
    );
}

#[tokio::test]
async fn strategies_say_who_of_provider_and_link_gets_it() {
    let stage = Phones::new().await;
    let both = stage.phone(vec![huawei("a"), link()]).await;
    let only_link = stage.phone(vec![link()]).await;
    let cases = [
        (Strategy::ProviderFirst, vec![both], vec![only_link]),
        (Strategy::ProviderOnly, vec![both], vec![only_link]),
        (Strategy::LinkOnly, vec![], vec![both, only_link]),
    ];
    for (strategy, by_huawei, by_link) in cases {
        let mut push = push(Audience::All);
        push.options.strategies.set(Provider::Huawei, strategy);
        let message = accept(&stage.store, stage.app, push).await;
        stage.cut().await;
        stage.route().await;
        let mut out = stage.out().await;
        let paged: Vec<DeviceId> = out.iter().flat_map(|(_, open)| devices(open)).collect();
        assert_eq!(paged, by_huawei, "{strategy:?}");
        for device in [both, only_link] {
            let inbox = stage.inbox(device).await;
            let has = inbox.iter().any(|waiting| waiting.message.id == message.id);
            assert_eq!(has, by_link.contains(&device), "{strategy:?}");
        }
        // Where the provider does not take it, the link has it, or nobody.
        if let Some(page) = out.pop() {
            stage.settle(page, &[both]).await;
            let inbox = stage.inbox(both).await;
            let has = inbox.iter().any(|waiting| waiting.message.id == message.id);
            assert_eq!(has, strategy == Strategy::ProviderFirst, "{strategy:?}");
        }
    }
}

#[tokio::test]
async fn what_has_a_way_after_the_link_takes_it_when_the_device_gives_the_link_up() {
    let phones = Phones::new().await;
    let phone = phones.phone(vec![link(), huawei("a")]).await;
    let message = phones.link_first(to(&[phone])).await;
    phones.cut().await;
    assert_eq!(phones.inbox(phone).await.len(), 1);
    let change = DeviceChange {
        channels: Some(vec![huawei("a")]),
        ..DeviceChange::default()
    };
    let changed = phones.store.change_device(phones.app, phone, change).await;
    changed.expect("changed").expect("known");
    phones.route().await;
    while phones.store.sweep().await.expect("swept").more {}
    assert_eq!(phones.inbox(phone).await.len(), 1, "it is not dropped");
    let due = phones.due().await;
    assert_eq!(due.len(), 1);
    let fell = phones.store.fall_back(due[0]).await.expect("fell back");
    assert_eq!(fell.lanes.len(), 1);
    let ledger = phones.store.ledger(phones.app, message.id).await;
    let total = ledger.expect("read").expect("known").total();
    assert_eq!((total.targeted, total.dropped), (1, 0));
}
