//! Where the link meets bad luck and bad clients: races at the start of a connection, acknowledgements that stay away, and
//! an end while the store does not answer. Real sockets, a real store; the device speaks MQTT 3.1.1 in raw bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;
use tidings_link::{Link, LinkConfig, Uplink};
use tidings_model::{
    AppId, Audience, Message, MsgId, Notification, Platform, PlatformSet, Provider, Push,
    PushOptions, Selection,
};
use tidings_store::{
    Accepted, App, ChannelChange, DeviceChange, NewDevice, Registered, SealKey, Store, TagChange,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// What should come at once has this long, on a busy machine.
const SOON: Duration = Duration::from_secs(10);

const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x32;
const PINGRESP: u8 = 0xd0;

struct Server {
    dir: TempDir,
    link: Link,
    store: Arc<Store>,
    _uplinks: mpsc::Receiver<Uplink>,
}

async fn serve() -> Server {
    let dir = TempDir::new().expect("a directory");
    let key = SealKey::parse(KEY).expect("a key");
    let store = Arc::new(Store::open(dir.path(), key).expect("opens"));
    let (uplinks, uplinked) = mpsc::channel(8);
    let addr = SocketAddr::from(([127, 0, 0, 1], 0));
    let link = Link::bind(addr, Arc::clone(&store), LinkConfig::default(), uplinks);
    Server {
        dir,
        link: link.await.expect("listens"),
        store,
        _uplinks: uplinked,
    }
}

impl Server {
    async fn app(&self) -> App {
        let made = self.store.create_app("test".into()).await;
        made.expect("an app").0
    }

    async fn register(&self, app: AppId) -> Registered {
        let channel = ChannelChange {
            environment: None,
            provider: Provider::Link,
            token: None,
        };
        let device = NewDevice {
            alias: None,
            app,
            app_version: None,
            channels: vec![channel],
            locale: None,
            platform: Platform::Android,
            tags: vec![],
            time_zone: None,
        };
        self.store.register(device).await.expect("registered")
    }

    /// As the server does it: durable first, then told to the link.
    async fn broadcast(&self, app: AppId, audience: Audience) -> MsgId {
        let id = accept(&self.store, app, audience).await.id;
        self.link.route_log(app);
        id
    }
}

async fn accept(store: &Store, app: AppId, audience: Audience) -> Message {
    let push = Push {
        audience,
        message: None,
        notification: Some(Notification {
            alert: Some("hi".into()),
            ..Notification::default()
        }),
        options: PushOptions::default(),
        platforms: PlatformSet::ALL,
    };
    match store.accept(app, push, None).await.expect("accepted") {
        Accepted::New(message) => message,
        Accepted::Repeated(_) => panic!("no cid was given"),
    }
}

fn to_tag(tag: &str) -> Audience {
    Audience::Selection(Selection {
        tags: vec![tag.parse().expect("a tag")],
        ..Selection::default()
    })
}

/// A device, as bytes on a socket.
struct Phone(TcpStream);

impl Phone {
    async fn connect(addr: SocketAddr, app: &App, device: &Registered) -> Self {
        let mut body = b"\x00\x04MQTT\x04\xc2\x00\x3c".to_vec();
        let texts = [
            device.id.to_string(),
            app.key.to_string(),
            device.secret.expose().to_owned(),
        ];
        for text in texts {
            let len = u16::try_from(text.len()).expect("short");
            body.extend(len.to_be_bytes());
            body.extend(text.as_bytes());
        }
        let len = u8::try_from(body.len()).ok().filter(|len| *len < 128);
        let mut connect = vec![0x10, len.expect("a length of one byte")];
        connect.append(&mut body);
        let mut phone = Self(TcpStream::connect(addr).await.expect("connects"));
        phone.0.write_all(&connect).await.expect("written");
        let connack = phone.packet().await;
        assert_eq!(connack, Some((CONNACK, vec![0, 0])));
        phone
    }

    /// The next packet, as its first byte and its body; none when the server has closed.
    async fn packet(&mut self) -> Option<(u8, Vec<u8>)> {
        let read = async {
            let first = self.0.read_u8().await.ok()?;
            let (mut len, mut shift) = (0, 0);
            loop {
                let byte = self.0.read_u8().await.ok()?;
                len |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    break;
                }
            }
            let mut body = vec![0; len];
            self.0.read_exact(&mut body).await.ok()?;
            Some((first, body))
        };
        timeout(SOON, read).await.expect("a packet in time")
    }

    /// The next message, and the identifier under which it is acknowledged.
    async fn message(&mut self) -> (MsgId, [u8; 2]) {
        let (first, body) = self.packet().await.expect("connected");
        assert_eq!(first, PUBLISH);
        publish(&body)
    }

    async fn ack(&mut self, [high, low]: [u8; 2]) {
        let puback = [0x40, 2, high, low];
        self.0.write_all(&puback).await.expect("written");
    }

    /// Every message that the server sends before it answers a ping.
    async fn messages_until_pong(&mut self) -> Vec<(MsgId, [u8; 2])> {
        self.0.write_all(&[0xc0, 0]).await.expect("written");
        let mut messages = vec![];
        loop {
            match self.packet().await.expect("connected") {
                (PINGRESP, _) => return messages,
                (PUBLISH, body) => messages.push(publish(&body)),
                (first, _) => panic!("a packet that nobody asked for: {first:#x}"),
            }
        }
    }
}

fn publish(body: &[u8]) -> (MsgId, [u8; 2]) {
    let (topic, rest) = body[2..].split_at(usize::from(body[1]));
    assert_eq!(topic, b"push");
    let payload: Value = serde_json::from_slice(&rest[2..]).expect("JSON");
    let id = payload["id"].as_str().and_then(|id| id.parse().ok());
    (MsgId(id.expect("an id")), [rest[0], rest[1]])
}

/// Each round is an app's first connection, while the store is asked for the most.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_tag_that_is_set_while_the_device_connects_counts() {
    let server = serve().await;
    for round in 0_u32..150 {
        let app = server.app().await;
        let device = server.register(app.id).await;
        let change = DeviceChange {
            tags: Some(TagChange::Replace(vec!["vip".parse().expect("a tag")])),
            ..DeviceChange::default()
        };
        let id = device.id;
        let set_tag = async {
            let changed = server.store.change_device(app.id, id, change).await;
            assert!(changed.expect("changed"));
            server.link.refresh(app.id, id);
        };
        let connect = Phone::connect(server.link.local_addr(), &app, &device);
        let (mut phone, ()) = tokio::join!(connect, set_tag);
        let pushed = server.broadcast(app.id, to_tag("vip")).await;
        // The log has been read for the device once it has this one.
        let last = server.broadcast(app.id, Audience::All).await;
        let (first, packet_id) = phone.message().await;
        assert_eq!(first, pushed, "round {round}; {last} came after it");
        phone.ack(packet_id).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_device_that_is_forgotten_while_it_connects_is_closed() {
    let server = serve().await;
    for round in 0_u32..150 {
        let app = server.app().await;
        let device = server.register(app.id).await;
        let (id, addr) = (device.id, server.link.local_addr());
        let forget = async {
            let known = server.store.delete_device(app.id, id).await;
            assert!(known.expect("deleted"));
            server.link.close(app.id, id);
        };
        let (closed, ()) = tokio::join!(closes(addr, &app, &device), forget);
        assert!(closed, "round {round}");
    }
}

/// Whether the server ends a connection that a device opens now.
async fn closes(addr: SocketAddr, app: &App, device: &Registered) -> bool {
    let connected = tokio::spawn({
        let (app, device) = (app.clone(), device.clone());
        async move { Phone::connect(addr, &app, &device).await }
    });
    // Refused, which the phone takes as a failure, or let in and then closed.
    let Ok(mut phone) = connected.await else {
        return true;
    };
    let end = timeout(Duration::from_secs(3), phone.0.read_u8()).await;
    matches!(end, Ok(Err(_)))
}

#[tokio::test]
async fn a_device_that_never_acknowledges_the_first_is_not_fed_for_ever() {
    const SENT: usize = 200;
    let server = serve().await;
    let app = server.app().await;
    let device = server.register(app.id).await;
    let mut phone = Phone::connect(server.link.local_addr(), &app, &device).await;
    for _ in 0..SENT {
        server.broadcast(app.id, Audience::All).await;
    }
    let (first, held) = phone.message().await;
    let mut received = vec![first];
    loop {
        let messages = phone.messages_until_pong().await;
        if messages.is_empty() {
            break;
        }
        for (id, packet_id) in messages {
            received.push(id);
            phone.ack(packet_id).await;
        }
    }
    assert!(received.len() <= 64, "{} of {SENT}", received.len());
    // It goes on, in order and with nothing twice, as soon as the first is acknowledged.
    phone.ack(held).await;
    while received.len() < SENT {
        let (id, packet_id) = phone.message().await;
        received.push(id);
        phone.ack(packet_id).await;
    }
    assert!(received.is_sorted_by(|one, next| one < next));
}

#[tokio::test]
async fn a_drained_link_holds_no_store() {
    let server = serve().await;
    let app = server.app().await;
    let device = server.register(app.id).await;
    let mut phone = Phone::connect(server.link.local_addr(), &app, &device).await;
    let pushed = server.broadcast(app.id, Audience::All).await;
    let (_, packet_id) = phone.message().await;
    phone.ack(packet_id).await;
    assert!(phone.messages_until_pong().await.is_empty());
    server.link.drain(SOON).await;
    assert_eq!(phone.packet().await, None);
    assert_eq!(Arc::strong_count(&server.store), 1);
    let login = server.store.login(app.id, device.id).await;
    assert_eq!(login.expect("read").expect("known").cursor, pushed);
}

#[tokio::test]
async fn a_drain_ends_although_the_store_does_not_answer() {
    let server = serve().await;
    let app = server.app().await;
    let device = server.register(app.id).await;
    let mut phone = Phone::connect(server.link.local_addr(), &app, &device).await;
    server.broadcast(app.id, Audience::All).await;
    let (_, packet_id) = phone.message().await;
    // Somebody else writes, and does not end: a backup that hangs, say.
    let other = Connection::open(server.dir.path().join("tidings.db")).expect("opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    phone.ack(packet_id).await;
    assert!(phone.messages_until_pong().await.is_empty());
    let drained = timeout(Duration::from_secs(20), server.link.drain(SOON)).await;
    drop(other);
    assert!(drained.is_ok());
    assert_eq!(Arc::strong_count(&server.store), 1);
}
