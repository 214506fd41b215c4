//! A database that an older binary made, killed in the middle of its work, opens under this one and loses nothing.
//!
//! `fixtures/first` was made by b471c3d: six iPhones of which the last is gone, one device that had an APNs token and now has
//! the link, two on the link of which one has acknowledged a broadcast; open are a push to a tag, one to an alias, and a page
//! with two deliveries that Apple had not answered when the process was killed.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;
use tidings_model::{AppKey, DeviceId, MsgId, Provider, Secret, UnixMillis};
use tidings_store::{App, Device, SealKey, Store};

/// The old database as it would be had it been made a moment ago: what was open when it was killed still is.
struct Old {
    facts: Value,
    store: Store,
    _dir: TempDir,
}

impl Old {
    fn open() -> Self {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/first");
        let dir = TempDir::new().expect("a directory");
        let db = dir.path().join("tidings.db");
        std::fs::copy(fixtures.join("tidings.db"), &db).expect("copied");
        let until = UnixMillis::now().plus(Duration::from_secs(86_400));
        let sql = Connection::open(&db).expect("opens");
        let renewed = sql.execute("UPDATE messages SET expires_at = ?1", [until.0]);
        assert_eq!(renewed.expect("renewed"), 6);
        sql.close().expect("closed");
        let read = |name: &str| std::fs::read_to_string(fixtures.join(name)).expect("a fixture");
        let seal = SealKey::parse(read("seal.key").trim()).expect("a key");
        Self {
            facts: serde_json::from_str(&read("fixture.json")).expect("JSON"),
            store: Store::open(dir.path(), seal).expect("opens"),
            _dir: dir,
        }
    }

    fn text(&self, pointer: &str) -> &str {
        let text = self.facts.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_else(|| panic!("no {pointer}"))
    }

    async fn app(&self) -> App {
        let key: AppKey = self.text("/app/app_key").parse().expect("a key");
        self.store.app(key).await.expect("read").expect("known")
    }

    fn message(&self, name: &str) -> MsgId {
        self.text(&format!("/ids/{name}")).parse().expect("an id")
    }

    fn id(&self, device: &str) -> DeviceId {
        let id = self.text(&format!("{device}/registration_id"));
        id.parse().expect("an id")
    }

    async fn device(&self, name: &str) -> Device {
        let found = self.store.device_by_id(self.id(name)).await.expect("read");
        let (app, device) = found.expect("known");
        assert_eq!(app, self.app().await.id);
        let secret = Secret::new(self.text(&format!("{name}/device_secret")));
        assert!(device.secret.matches(secret.expose()), "{name}");
        device
    }
}

#[tokio::test]
async fn the_registry_of_an_old_database_is_whole() {
    let old = Old::open();
    let app = old.app().await;
    assert!(app.master_secret.matches(old.text("/app/master_secret")));
    for number in 0..6 {
        let device = old.device(&format!("/iphones/{number}")).await;
        let tags: Vec<&str> = device.tags.iter().map(|tag| tag.as_str()).collect();
        assert_eq!(tags, ["apple"]);
        let token = format!("{:064x}", number + 1);
        let tokens: Vec<_> = device.channels.iter().map(|had| &had.token).collect();
        match number {
            5 => assert!(tokens.is_empty(), "it was gone"),
            _ => assert_eq!(tokens, [&Some(token)]),
        }
    }
    let both = old.device("/both").await;
    assert_eq!(
        both.alias.map(|alias| alias.to_string()).as_deref(),
        Some("both")
    );
    assert_eq!(both.channels.len(), 1);
    assert_eq!(both.channels[0].provider, Provider::Link);
    let ann = old.device("/link").await;
    assert_eq!((ann.alias.is_some(), ann.tags.len()), (true, 2));
}

#[tokio::test]
async fn the_messages_of_an_old_database_keep_their_ways() {
    let old = Old::open();
    let app = old.app().await.id;
    let went_by = async |message: &str, device: &str| {
        let device = old.id(device);
        let message = old.store.message(old.message(message)).await;
        let message = message.expect("read").expect("kept");
        let history = old.store.history(app, device).await;
        let history = history.expect("read").expect("known");
        let (audience, aim) = (&message.push.audience, message.push.aim());
        let by = |provider: &Provider| {
            !history
                .parts(message.id, audience, aim, *provider)
                .is_empty()
        };
        Provider::ALL.into_iter().filter(by).collect::<Vec<_>>()
    };
    // It had the token then, and has the link now.
    assert_eq!(went_by("settled", "/both").await, [Provider::Apns]);
    assert_eq!(went_by("settled", "/iphones/5").await, [Provider::Apns]);
    assert_eq!(went_by("gone", "/iphones/5").await, [Provider::Apns]);
    assert_eq!(went_by("out", "/iphones/5").await, []);
    assert_eq!(went_by("out", "/iphones/0").await, [Provider::Apns]);
    assert_eq!(went_by("tag_vip", "/away").await, [Provider::Link]);
    assert_eq!(went_by("tag_vip", "/both").await, []);
    assert_eq!(went_by("alias_ann", "/link").await, [Provider::Link]);
}
