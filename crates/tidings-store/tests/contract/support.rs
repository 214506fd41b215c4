//! What the tests of the store share: devices, pushes and whom they are for.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use tidings_model::{
    AppId, Audience, DeviceId, Environment, Message, Notification, Platform, PlatformSet, Provider,
    Push, PushOptions, Selection,
};
use tidings_store::{Accepted, ChannelChange, Chunk, NewDevice, OpenTask, SealKey, Store};

pub(crate) fn key() -> SealKey {
    SealKey::parse(&"0a".repeat(32)).expect("a key")
}

pub(crate) fn open(dir: &Path) -> Store {
    Store::open(dir, key()).expect("opens")
}

pub(crate) async fn app(store: &Store) -> AppId {
    store.create_app("test".into()).await.expect("an app").0.id
}

/// An app on a store of its own.
pub(crate) struct Stage {
    pub(crate) app: AppId,
    pub(crate) dir: TempDir,
    pub(crate) store: Store,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let dir = TempDir::new().expect("a directory");
        let store = open(dir.path());
        let app = app(&store).await;
        Self { app, dir, store }
    }

    /// As after kill -9: what was committed is there, and the next process has nothing out.
    pub(crate) fn reopened(self) -> Self {
        drop(self.store);
        Self {
            store: open(self.dir.path()),
            ..self
        }
    }
}

pub(crate) fn apns(token: &str, environment: Option<Environment>) -> ChannelChange {
    ChannelChange {
        environment,
        provider: Provider::Apns,
        token: Some(token.into()),
    }
}

pub(crate) fn link() -> ChannelChange {
    ChannelChange {
        environment: None,
        provider: Provider::Link,
        token: None,
    }
}

/// A device that says no more than it has to.
pub(crate) fn device(app: AppId, platform: Platform, channels: Vec<ChannelChange>) -> NewDevice {
    NewDevice {
        alias: None,
        app,
        app_version: None,
        channels,
        locale: None,
        platform,
        proof: None,
        tags: vec![],
        time_zone: None,
    }
}

pub(crate) fn on_link(app: AppId) -> NewDevice {
    device(app, Platform::Android, vec![link()])
}

pub(crate) fn push(audience: Audience) -> Push {
    Push {
        audience,
        message: None,
        notification: Some(Notification {
            alert: Some("hi".into()),
            ..Notification::default()
        }),
        options: PushOptions::default(),
        platforms: PlatformSet::ALL,
    }
}

pub(crate) fn to_tags(tags: &[&str]) -> Audience {
    Audience::Selection(Selection {
        tags: tags.iter().map(|tag| tag.parse().expect("a tag")).collect(),
        ..Selection::default()
    })
}

pub(crate) fn to(devices: &[DeviceId]) -> Audience {
    Audience::Selection(Selection {
        devices: devices.to_vec(),
        ..Selection::default()
    })
}

pub(crate) async fn accept(store: &Store, app: AppId, push: Push) -> Message {
    match store.accept(app, push, None).await.expect("accepted") {
        Accepted::New(message) => message,
        Accepted::Repeated(_) => panic!("no cid was given"),
    }
}

/// Ends the tasks of a message of which nothing has been cut, as if nobody were meant by it.
pub(crate) async fn end_tasks(store: &Store, message: &Message) {
    for provider in Provider::ALL {
        let task = OpenTask {
            after: DeviceId(0),
            behind: vec![],
            message: Arc::new(message.clone()),
        };
        let nobody = Chunk {
            to_link: BTreeSet::new(),
            ends: true,
            reached: DeviceId(0),
            targets: vec![],
            task,
        };
        let ended = store.cut(provider, vec![Arc::new(nobody)]).await;
        ended.expect("ended");
    }
}
