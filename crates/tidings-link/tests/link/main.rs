//! The link as a phone sees it: real sockets, a real store.

mod client;
mod drain;
mod library;
mod meaning;
mod races;

use std::sync::Arc;
use std::time::Duration;

use client::{Client, Wishes};
use tempfile::TempDir;
use tidings_link::{Link, LinkConfig, Uplink, UplinkEnd, UplinkTopic};
use tidings_model::{
    Audience, DeviceId, Message, MsgId, Notification, Platform, PlatformSet, Provider, Push,
    PushOptions, Selection,
};
use tidings_store::{
    Accepted, App, ChannelChange, Counts, DeviceChange, LinkPlan, LinkTask, NewDevice, Registered,
    SealKey, Store, TagChange, Turn,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

struct Stage {
    app: App,
    data: TempDir,
    link: Link,
    store: Arc<Store>,
    uplinks: mpsc::Receiver<Uplink>,
}

impl Stage {
    async fn new() -> Self {
        Self::with(LinkConfig::default()).await
    }

    async fn with(config: LinkConfig) -> Self {
        let data = TempDir::new().expect("a directory");
        let store = Store::open(data.path(), SealKey::parse(KEY).expect("a key")).expect("opens");
        let store = Arc::new(store);
        let app = store.create_app("test".into()).await.expect("an app").0;
        let (uplink, uplinks) = mpsc::channel(8);
        let addr = ([127, 0, 0, 1], 0).into();
        let link = Link::bind(addr, Arc::clone(&store), config, uplink)
            .await
            .expect("a link");
        Self {
            app,
            data,
            link,
            store,
            uplinks,
        }
    }

    async fn register(&self, tags: &[&str]) -> Registered {
        let channel = ChannelChange {
            environment: None,
            provider: Provider::Link,
            token: None,
        };
        self.register_with(vec![channel], tags).await
    }

    async fn register_with(&self, channels: Vec<ChannelChange>, tags: &[&str]) -> Registered {
        let new = NewDevice {
            alias: None,
            app: self.app.id,
            app_version: None,
            channels,
            locale: None,
            platform: Platform::Android,
            proof: None,
            tags: tags.iter().map(|tag| tag.parse().expect("a tag")).collect(),
            time_zone: None,
        };
        self.store.register(new).await.expect("registered")
    }

    async fn connect(&self, device: &Registered) -> Client {
        let (client, code) = self.connect_with(device, Wishes::default()).await;
        assert_eq!(code, 0);
        client
    }

    async fn connect_with(&self, device: &Registered, wishes: Wishes) -> (Client, u8) {
        let (id, secret) = (device.id.to_string(), device.secret.expose());
        Client::connect(
            self.link.local_addr(),
            &self.app.key.to_string(),
            &id,
            secret,
            wishes,
        )
        .await
    }

    /// Accepts a push and routes it, as dispatch does.
    async fn push(&self, audience: Audience, text: &str, time_to_live: u32) -> String {
        let message = self.accept(push(audience, text, time_to_live)).await;
        self.route(&message).await;
        message.id.to_string()
    }

    async fn accept(&self, push: Push) -> Message {
        let accepted = self.store.accept(self.app.id, push, None).await;
        match accepted.expect("accepted") {
            Accepted::New(message) => message,
            Accepted::Repeated(_) => panic!("no cid was given"),
        }
    }

    /// Puts it into the log as if many had the tag or the app; what names its devices is in their inboxes already.
    async fn route(&self, message: &Message) {
        let is_small = matches!(&message.push.audience, Audience::Selection(selection) if selection.tags.is_empty());
        if is_small {
            return;
        }
        let first = LinkTask {
            message: message.id,
            from: DeviceId(0),
            plan: LinkPlan::Log(message.clone().into(), vec![]),
            to: Some(DeviceId(1)),
        };
        let mut tasks = vec![first];
        while !tasks.is_empty() {
            if self.store.route(self.app.id, tasks).await.expect("routed") {
                self.link.route_log(self.app.id);
            }
            let app = self.app.id;
            let left = self.store.link_tasks(app, Turn::Begun, MsgId(0), 10, 1000);
            tasks = left.await.expect("read");
        }
    }

    async fn to_all(&self) -> String {
        self.push(Audience::All, "hi", 3600).await
    }

    async fn to(&self, device: DeviceId) -> String {
        let selection = Selection {
            devices: vec![device],
            ..Selection::default()
        };
        self.push(Audience::Selection(selection), "hi", 3600).await
    }

    async fn counts(&self, message: &str) -> Counts {
        let id = message.parse().expect("an id");
        self.store
            .ledger(self.app.id, id)
            .await
            .expect("read")
            .expect("known")
            .total()
    }

    /// Waits until so many devices have acknowledged.
    async fn delivered(&self, message: &str, count: u64) {
        for _ in 0..1000 {
            if self.counts(message).await.delivered == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?}", self.counts(message).await);
    }
}

fn push(audience: Audience, text: &str, time_to_live: u32) -> Push {
    Push {
        audience,
        message: None,
        notification: Some(Notification {
            alert: Some(text.into()),
            ..Notification::default()
        }),
        options: PushOptions {
            time_to_live,
            ..PushOptions::default()
        },
        platforms: PlatformSet::ALL,
    }
}

#[tokio::test]
async fn a_connected_device_gets_a_broadcast_and_its_own_and_each_is_counted() {
    let stage = Stage::new().await;
    let device = stage.register(&[]).await;
    let mut client = stage.connect(&device).await;
    for message in [stage.to_all().await, stage.to(device.id).await] {
        let push = client.push().await;
        assert_eq!(push.id(), message);
        assert_eq!(push.payload["notification"]["alert"], "hi");
        assert!(
            push.expiry_secs
                .is_some_and(|secs| (3590..=3600).contains(&secs))
        );
        client.ack(&push).await;
        stage.delivered(&message, 1).await;
    }
    assert!(client.is_quiet().await);
}

#[tokio::test]
async fn what_was_missed_comes_in_order_and_only_what_is_meant() {
    let stage = Stage::new().await;
    let device = stage.register(&["a"]).await;
    let tag = |tag: &str| {
        Audience::Selection(Selection {
            tags: vec![tag.parse().expect("a tag")],
            ..Selection::default()
        })
    };
    let mut expected = Vec::new();
    for _ in 0..40 {
        expected.push(stage.to_all().await);
        stage.push(tag("b"), "not mine", 3600).await;
        expected.push(stage.to(device.id).await);
        expected.push(stage.push(tag("a"), "mine", 3600).await);
        stage
            .push(Audience::All, "for those who are there", 0)
            .await;
    }
    let mut client = stage.connect(&device).await;
    for message in expected {
        assert_eq!(client.take().await, message);
    }
    assert!(client.is_quiet().await);
}

#[tokio::test]
async fn a_device_far_behind_catches_up_and_then_lives_from_the_tail() {
    let stage = Stage::new().await;
    let device = stage.register(&[]).await;
    let early = stage.register(&[]).await;
    // Somebody is connected all the time, so the tail grows and is cut.
    let mut witness = stage.connect(&early).await;
    let mut messages = Vec::new();
    for _ in 0..700 {
        messages.push(stage.to_all().await);
        witness.take().await;
    }
    let mut client = stage.connect(&device).await;
    for message in &messages {
        assert_eq!(&client.take().await, message);
    }
    let last = stage.to_all().await;
    assert_eq!(client.take().await, last);
    assert_eq!(witness.take().await, last);
    stage.delivered(&last, 2).await;
}

#[tokio::test]
async fn a_message_that_was_not_acknowledged_comes_again() {
    let stage = Stage::new().await;
    let device = stage.register(&[]).await;
    let mut client = stage.connect(&device).await;
    let messages = [
        stage.to_all().await,
        stage.to_all().await,
        stage.to_all().await,
    ];
    let pushes = [
        client.push().await,
        client.push().await,
        client.push().await,
    ];
    client.ack(&pushes[2]).await;
    client.ack(&pushes[0]).await;
    client.ping().await;
    stage.delivered(&messages[0], 1).await;
    drop(client);
    let mut client = stage.connect(&device).await;
    assert_eq!(client.take().await, messages[1]);
    client.ping().await;
    for message in &messages {
        stage.delivered(message, 1).await;
    }
}

#[tokio::test]
async fn a_newer_connection_takes_the_place_of_the_older() {
    let stage = Stage::new().await;
    let device = stage.register(&[]).await;
    let mut older = stage.connect(&device).await;
    let message = stage.to_all().await;
    older.push().await;
    let mut newer = stage.connect(&device).await;
    assert_eq!(older.goodbye().await, 0x8e);
    assert_eq!(newer.take().await, message);
    stage.delivered(&message, 1).await;
    assert_eq!(stage.link.connected(), 1);
}

#[tokio::test]
async fn a_small_window_is_honoured_and_a_large_message_dropped() {
    let stage = Stage::new().await;
    let device = stage.register(&[]).await;
    let wishes = Wishes {
        packet_size_max: Some(400),
        receive_max: Some(2),
    };
    let (mut client, code) = stage.connect_with(&device, wishes).await;
    assert_eq!(code, 0);
    let large = stage.push(Audience::All, &"x".repeat(400), 3600).await;
    let messages = [
        stage.to_all().await,
        stage.to_all().await,
        stage.to_all().await,
    ];
    let first = client.push().await;
    assert_eq!(first.id(), messages[0]);
    assert_eq!(client.push().await.id(), messages[1]);
    assert!(client.is_quiet().await, "two are in flight");
    client.ack(&first).await;
    assert_eq!(client.push().await.id(), messages[2]);
    stage.delivered(&messages[0], 1).await;
    assert_eq!(stage.counts(&large).await.dropped, 1);
}

#[tokio::test]
async fn who_is_not_let_in_learns_no_more_than_that() {
    let stage = Stage::new().await;
    let device = stage.register(&[]).await;
    let nowhere = stage.register_with(vec![], &[]).await;
    let link = stage.link.local_addr();
    let (key, id, secret) = (
        stage.app.key.to_string(),
        device.id.to_string(),
        device.secret.expose(),
    );
    let unknown = "02f0000000000001";
    let cases = [
        (key.as_str(), id.as_str(), "wrong", 0x86),
        (&key, unknown, secret, 0x86),
        (&key, "not an id", secret, 0x86),
        ("000000000000000000000000", &id, secret, 0x86),
        (&key, &nowhere.id.to_string(), nowhere.secret.expose(), 0x87),
        (&key, &id, secret, 0),
    ];
    for (key, id, secret, expected) in cases {
        let (_, code) = Client::connect(link, key, id, secret, Wishes::default()).await;
        assert_eq!(code, expected, "{key} {id}");
    }
}

#[tokio::test]
async fn only_its_own_topic_may_be_subscribed() {
    let stage = Stage::new().await;
    let device = stage.register(&[]).await;
    let mut client = stage.connect(&device).await;
    for (filter, granted) in [("push", 1), ("#", 1), ("event", 0x87), ("push/#", 0x87)] {
        let mut body = vec![0, 1, 0];
        body.extend(u16::try_from(filter.len()).expect("short").to_be_bytes());
        body.extend(filter.as_bytes());
        body.push(1);
        client.send(0x82, &body).await;
        let suback = client.packet().await.expect("SUBACK");
        assert_eq!(
            (suback.first, suback.body.last()),
            (0x90, Some(&granted)),
            "{filter}"
        );
    }
}

#[tokio::test]
async fn what_a_device_says_is_acknowledged_when_it_is_durable() {
    let mut stage = Stage::new().await;
    let device = stage.register(&[]).await;
    let mut client = stage.connect(&device).await;
    let say = |topic: &str| {
        let mut body = u16::try_from(topic.len())
            .expect("short")
            .to_be_bytes()
            .to_vec();
        body.extend(topic.as_bytes());
        body.extend([0, 9, 0]);
        body.extend(b"{}");
        body
    };
    let ends = [
        ("event", UplinkTopic::Event, UplinkEnd::Done, 0x00),
        (
            "profile",
            UplinkTopic::Profile,
            UplinkEnd::Invalid("no".into()),
            0x99,
        ),
    ];
    for (topic, expected, end, code) in ends {
        client.send(0x32, &say(topic)).await;
        let uplink = stage.uplinks.recv().await.expect("an uplink");
        assert_eq!(
            (uplink.topic, uplink.device, &uplink.payload[..]),
            (expected, device.id, &b"{}"[..])
        );
        assert!(client.is_quiet().await);
        uplink.done.send(end).expect("somebody waits");
        let puback = client.packet().await.expect("PUBACK");
        assert_eq!((puback.first, &puback.body[..2]), (0x40, &[0, 9][..]));
        assert_eq!(puback.body.get(2).copied().unwrap_or(0), code);
    }
    client.send(0x32, &say("event")).await;
    stage
        .uplinks
        .recv()
        .await
        .expect("an uplink")
        .done
        .send(UplinkEnd::Later)
        .expect("somebody waits");
    assert_eq!(client.goodbye().await, 0x89);
}

#[tokio::test]
async fn a_changed_device_is_served_as_it_is_now_and_a_forgotten_one_not_at_all() {
    let stage = Stage::new().await;
    let device = stage.register(&[]).await;
    let mut client = stage.connect(&device).await;
    let tags = vec!["new".parse().expect("a tag")];
    let change = DeviceChange {
        tags: Some(TagChange::Replace(tags.clone())),
        ..DeviceChange::default()
    };
    let changed = stage.store.change_device(stage.app.id, device.id, change);
    changed.await.expect("changed").expect("known");
    stage.link.refresh(stage.app.id, device.id);
    let audience = Audience::Selection(Selection {
        tags,
        ..Selection::default()
    });
    let message = stage.push(audience, "hi", 3600).await;
    assert_eq!(client.take().await, message);

    assert!(
        stage
            .store
            .delete_device(stage.app.id, device.id)
            .await
            .expect("deleted")
    );
    stage.link.close(stage.app.id, device.id);
    assert_eq!(client.goodbye().await, 0x98);
    let (_, code) = stage.connect_with(&device, Wishes::default()).await;
    assert_eq!(code, 0x86);
}

/// The channels of a phone that has a token and is on the link, too.
fn apns_and_link() -> [ChannelChange; 2] {
    let channel = |provider, token| ChannelChange {
        environment: None,
        provider,
        token,
    };
    [
        channel(Provider::Apns, Some("aa".into())),
        channel(Provider::Link, None),
    ]
}

#[tokio::test]
async fn a_device_whose_token_moved_has_the_link_again_when_it_shows_itself() {
    let stage = Stage::new().await;
    let [apns, link] = apns_and_link();
    let both = vec![apns.clone(), link];
    let device = stage.register_with(both.clone(), &[]).await;
    let has_link = async || {
        let known = stage.store.device(stage.app.id, device.id).await;
        known.expect("read").expect("known").channels.len() == 1
    };
    let other = stage.register_with(vec![apns.clone()], &[]).await;
    assert_eq!(other.former, [device.id]);
    assert!(!has_link().await);
    let mut client = stage.connect(&device).await;
    let message = stage.to_all().await;
    assert_eq!(client.take().await, message);

    // And it stays, if it is there when its token moves.
    let change = DeviceChange {
        channels: Some(both),
        ..DeviceChange::default()
    };
    let changed = stage.store.change_device(stage.app.id, device.id, change);
    changed.await.expect("changed").expect("known");
    stage.register_with(vec![apns], &[]).await;
    stage.link.refresh(stage.app.id, device.id);
    while !has_link().await {
        tokio::task::yield_now().await;
    }
    let message = stage.to_all().await;
    assert_eq!(client.take().await, message);
}

#[tokio::test]
async fn a_connection_ends_when_its_device_gets_another_secret() {
    let stage = Stage::new().await;
    let [apns, link] = apns_and_link();
    let device = stage
        .register_with(vec![apns.clone(), link.clone()], &[])
        .await;
    let mut client = stage.connect(&device).await;
    let again = NewDevice {
        alias: None,
        app: stage.app.id,
        app_version: None,
        channels: vec![apns, link],
        locale: None,
        platform: Platform::Android,
        proof: Some(device.secret.clone()),
        tags: vec![],
        time_zone: None,
    };
    let again = stage.store.register(again).await.expect("registered");
    assert_eq!(again.id, device.id);
    stage.link.refresh(stage.app.id, device.id);
    assert_eq!(client.goodbye().await, 0x87);
}

#[tokio::test]
async fn a_stopping_link_says_goodbye_and_keeps_what_was_acknowledged() {
    let stage = Stage::new().await;
    let device = stage.register(&[]).await;
    let mut client = stage.connect(&device).await;
    let message = stage.to_all().await;
    client.take().await;
    client.ping().await;
    let link = stage.link.clone();
    let drained = tokio::spawn(async move { link.drain(Duration::from_secs(10)).await });
    assert_eq!(client.goodbye().await, 0x8b);
    drained.await.expect("drained");
    assert_eq!(stage.counts(&message).await.delivered, 1);
    assert_eq!(stage.link.connected(), 0);
    assert!(
        tokio::net::TcpStream::connect(stage.link.local_addr())
            .await
            .is_err()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_devices_get_a_broadcast_once_each() {
    const DEVICES: usize = 500;
    let stage = Stage::new().await;
    let mut clients = Vec::new();
    for _ in 0..DEVICES {
        let device = stage.register(&[]).await;
        clients.push(stage.connect(&device).await);
    }
    assert_eq!(stage.link.connected(), DEVICES);
    let message = stage.to_all().await;
    let mut taking = JoinSet::new();
    for mut client in clients {
        let message = message.clone();
        taking.spawn(async move {
            assert_eq!(client.take().await, message);
            assert!(client.is_quiet().await);
        });
    }
    while let Some(taken) = taking.join_next().await {
        taken.expect("taken");
    }
    stage.delivered(&message, DEVICES as u64).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_falls_between_a_connect_and_a_push() {
    let stage = Arc::new(Stage::new().await);
    for _ in 0..100 {
        let device = stage.register(&[]).await;
        let pushing = tokio::spawn({
            let (stage, id) = (Arc::clone(&stage), device.id);
            async move { [stage.to_all().await, stage.to(id).await] }
        });
        let mut client = stage.connect(&device).await;
        let messages = pushing.await.expect("pushed");
        let mut taken = [client.take().await, client.take().await];
        taken.sort();
        assert_eq!(taken, messages);
    }
}
