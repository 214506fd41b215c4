//! What happens at the same moment as something else, and what a device does that wishes us no good.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_link::{Link, LinkConfig};
use tidings_model::{Audience, Selection};
use tidings_store::{DeviceChange, Registered, TagChange};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::Stage;
use crate::client::{Client, Wishes};

/// Far above what the waited-for takes, far below what would happen without it.
const SOON: Duration = Duration::from_secs(8);

impl Stage {
    /// Gives a device a tag and pushes to it, as the API and dispatch do.
    async fn tag_and_push(&self, device: &Registered, tag: &str) -> String {
        let tag: tidings_model::Tag = tag.parse().expect("a tag");
        let change = DeviceChange {
            tags: Some(TagChange::Replace(vec![tag.clone()])),
            ..DeviceChange::default()
        };
        let changed = self.store.change_device(self.app.id, device.id, change);
        changed.await.expect("changed").expect("known");
        self.link.refresh(self.app.id, device.id);
        let selection = Selection {
            tags: vec![tag],
            ..Selection::default()
        };
        self.push(Audience::Selection(selection), "hi", 3600).await
    }

    async fn forget(&self, device: &Registered) {
        let deleted = self.store.delete_device(self.app.id, device.id);
        assert!(deleted.await.expect("deleted"));
        self.link.close(self.app.id, device.id);
    }

    /// Waits until so many devices are connected.
    async fn connected(&self, count: usize) {
        let reached = async {
            while self.link.connected() != count {
                tokio::task::yield_now().await;
            }
        };
        let reached = timeout(SOON, reached).await;
        assert!(reached.is_ok(), "{} connected", self.link.connected());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_connection_of_an_app_misses_nothing() {
    let mut stage = Stage::new().await;
    for _ in 0..100 {
        let (uplinks, _) = mpsc::channel(1);
        let addr = ([127, 0, 0, 1], 0).into();
        let store = Arc::clone(&stage.store);
        stage.link = Link::bind(addr, store, LinkConfig::default(), uplinks)
            .await
            .expect("a link");
        let device = stage.register(&[]).await;
        let (mut client, message) = tokio::join!(stage.connect(&device), stage.to_all());
        assert_eq!(client.take().await, message);
        drop(client);
        stage.link.drain(Duration::from_secs(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_while_the_device_connects_is_seen() {
    let stage = Stage::new().await;
    for _ in 0..100 {
        let device = stage.register(&[]).await;
        let (mut client, message) =
            tokio::join!(stage.connect(&device), stage.tag_and_push(&device, "new"));
        assert_eq!(client.take().await, message);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_while_the_device_catches_up_is_seen() {
    let stage = Stage::new().await;
    let device = stage.register(&[]).await;
    let mut client = stage.connect(&device).await;
    for round in 0..100 {
        let tag = format!("round-{round}");
        let ((), message) = tokio::join!(
            async {
                for _ in 0..5 {
                    stage.to_all().await;
                }
            },
            stage.tag_and_push(&device, &tag)
        );
        let mut taken = Vec::new();
        for _ in 0..6 {
            taken.push(client.take().await);
        }
        assert!(taken.contains(&message), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_is_forgotten_while_it_connects_does_not_stay() {
    let stage = Stage::new().await;
    for _ in 0..100 {
        let device = stage.register(&[]).await;
        let ((mut client, code), ()) = tokio::join!(
            stage.connect_with(&device, Wishes::default()),
            stage.forget(&device)
        );
        match code {
            0 => assert_eq!(client.goodbye().await, 0x98),
            // A read that the deletion comes into finds a device without channels.
            refused => assert!([0x86, 0x87].contains(&refused), "{refused:#x}"),
        }
    }
    stage.connected(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_take_over_each_other_are_one_device() {
    let stage = Stage::new().await;
    let device = stage.register(&[]).await;
    let mut clients = Vec::new();
    let link = stage.link.clone();
    let (done, mut watched) = tokio::sync::oneshot::channel::<()>();
    let watch = tokio::spawn(async move {
        while watched.try_recv().is_err() {
            assert!(link.connected() <= 1);
            tokio::task::yield_now().await;
        }
    });
    for _ in 0..20 {
        let (one, other) = tokio::join!(stage.connect(&device), stage.connect(&device));
        clients.extend([one, other]);
        assert_eq!(stage.link.connected(), 1);
    }
    done.send(()).expect("somebody watches");
    watch.await.expect("never more than one");
    let message = stage.to_all().await;
    let mut served = 0;
    for client in &mut clients {
        let packet = client.packet().await.expect("a packet");
        match packet.first {
            0xe0 => assert_eq!(packet.body[0], 0x8e),
            _ => served += 1,
        }
    }
    assert_eq!(served, 1);
    assert_eq!(stage.counts(&message).await.delivered, 0);
    drop(clients);
    stage.connected(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_link_does_not_wait_for_those_who_only_knock() {
    let stage = Stage::new().await;
    let mut connected = Vec::new();
    for _ in 0..50 {
        let device = stage.register(&[]).await;
        connected.push(stage.connect(&device).await);
    }
    let link = stage.link.local_addr();
    let mut silent = TcpStream::connect(link).await.expect("a connection");
    // Whoever is accepted after the silent one shows that the silent one has been accepted.
    let device = stage.register(&[]).await;
    connected.push(stage.connect(&device).await);
    let started = Instant::now();
    let told = async {
        for client in &mut connected {
            assert_eq!(client.goodbye().await, 0x8b);
        }
        drop(connected);
        assert!(!matches!(silent.read(&mut [0]).await, Ok(1..)));
    };
    tokio::join!(stage.link.drain(Duration::from_secs(30)), told);
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    assert_eq!(stage.link.connected(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_link_does_not_wait_for_those_who_come_late() {
    let mut stage = Stage::new().await;
    let mut devices = Vec::new();
    for _ in 0..16 {
        devices.push(stage.register(&[]).await);
    }
    for _ in 0..30 {
        let (uplinks, _) = mpsc::channel(1);
        let addr = ([127, 0, 0, 1], 0).into();
        let store = Arc::clone(&stage.store);
        stage.link = Link::bind(addr, store, LinkConfig::default(), uplinks)
            .await
            .expect("a link");
        let key = stage.app.key.to_string();
        let mut coming = JoinSet::new();
        for device in &devices {
            let (addr, key, id) = (stage.link.local_addr(), key.clone(), device.id.to_string());
            let secret = device.secret.expose().to_owned();
            coming.spawn(async move {
                let wishes = Wishes::default();
                match Client::try_connect(addr, &key, &id, &secret, wishes).await {
                    Some((mut client, 0)) => assert_eq!(client.goodbye().await, 0x8b),
                    Some((_, refused)) => assert_eq!(refused, 0x88),
                    None => {}
                }
            });
        }
        let any = async {
            while stage.link.connected() == 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, any).await.expect("one has come");
        let started = Instant::now();
        stage.link.drain(Duration::from_secs(30)).await;
        assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
        while let Some(came) = coming.join_next().await {
            came.expect("told");
        }
    }
}

/// As many as may be let in at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_the_store_keeps_nobody_out() {
    const WAITING: usize = 64;
    let stage = Stage::new().await;
    let mut devices = Vec::new();
    for _ in 0..WAITING {
        let device = stage.register(&[]).await;
        let client = stage.connect(&device).await;
        devices.push((device, client));
    }
    let other = stage.register(&[]).await;
    stage.to_all().await;
    // From here on nothing can be written.
    let backup = rusqlite::Connection::open(stage.data.path().join("tidings.db")).expect("opens");
    backup.execute_batch("BEGIN IMMEDIATE").expect("begins");
    let mut waiting = JoinSet::new();
    for (device, mut client) in devices {
        client.take().await;
        client.ping().await;
        let (link, key) = (stage.link.local_addr(), stage.app.key.to_string());
        let (id, secret) = (device.id.to_string(), device.secret.expose().to_owned());
        waiting.spawn(async move {
            Client::connect(link, &key, &id, &secret, Wishes::default())
                .await
                .1
        });
    }
    // Nothing tells that they are all in line; a device that comes sooner proves less.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let entered = timeout(Duration::from_secs(3), stage.connect(&other)).await;
    backup.execute_batch("ROLLBACK").expect("ends");
    assert!(entered.is_ok(), "nobody is let in");
    while let Some(code) = waiting.join_next().await {
        assert_eq!(code.expect("no panic"), 0);
    }
}

#[tokio::test]
async fn a_goodbye_arrives_though_the_device_was_talking() {
    let stage = Stage::new().await;
    for _ in 0..50 {
        let device = stage.register(&[]).await;
        let mut client = stage.connect(&device).await;
        stage.link.close(stage.app.id, device.id);
        for _ in 0..20 {
            client.send(0xc0, &[]).await;
        }
        let goodbye = loop {
            let packet = client.packet().await.expect("DISCONNECT, not a reset");
            if packet.first != 0xd0 {
                break packet;
            }
        };
        assert_eq!((goodbye.first, goodbye.body[0]), (0xe0, 0x98));
        assert!(client.is_at_end().await, "no reset");
    }
}

#[tokio::test]
async fn a_message_for_those_who_are_there_goes_to_nobody_else() {
    let stage = Stage::new().await;
    let (there, away) = (stage.register(&[]).await, stage.register(&[]).await);
    for _ in 0..20 {
        let mut client = stage.connect(&there).await;
        let message = stage.push(Audience::All, "now", 0).await;
        assert_eq!(client.take().await, message);
        stage.delivered(&message, 1).await;
    }
    let mut late = stage.connect(&away).await;
    assert!(late.is_quiet().await);
    // Nor to one that comes within the millisecond: what it is owed leaves with the CONNACK, before any answer to a ping.
    for _ in 0..100 {
        stage.push(Audience::All, "now", 0).await;
        stage.connect(&away).await.ping().await;
    }
}

#[tokio::test]
async fn above_the_limit_a_connection_waits_its_turn() {
    let stage = Stage::with(LinkConfig { connections_max: 2 }).await;
    let (first, second, third) = (
        stage.register(&[]).await,
        stage.register(&[]).await,
        stage.register(&[]).await,
    );
    let one = stage.connect(&first).await;
    let _two = stage.connect(&second).await;
    let three = stage.connect(&third);
    tokio::pin!(three);
    let early = timeout(Duration::from_millis(200), &mut three).await;
    assert!(early.is_err(), "there is no room");
    drop(one);
    let _three: Client = three.await;
    stage.connected(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_reads_nothing_holds_up_nobody() {
    let stage = Stage::new().await;
    let (deaf, other) = (stage.register(&[]).await, stage.register(&[]).await);
    let _deaf = stage.connect(&deaf).await;
    let mut other = stage.connect(&other).await;
    for _ in 0..100 {
        let message = stage.push(Audience::All, &"x".repeat(3000), 3600).await;
        assert_eq!(other.take().await, message);
    }
    let started = Instant::now();
    stage.link.drain(Duration::from_secs(2)).await;
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
}
