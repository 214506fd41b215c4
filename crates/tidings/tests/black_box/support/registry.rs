//! The store of a server that is not running.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tidings_model::{AppKey, Environment, MsgId, Platform, Provider, Reason, Spent, UnixMillis};
use tidings_store::{ChannelChange, CredentialSlot, NewDevice, SealKey, Store};
use tokio::runtime::Runtime;

use super::server::{App, token};

/// Registers iPhones: a hundred thousand calls would take the time.
pub(crate) fn register_iphones(data: &Path, app: &App, numbers: Range<usize>) {
    let (store, runtime) = open(data);
    let key: AppKey = app.key.parse().expect("a key");
    runtime.block_on(async {
        let app = store.app(key).await.expect("read").expect("known").id;
        let end = numbers.end;
        for thousand in numbers.step_by(1000) {
            let new = (thousand..end.min(thousand + 1000)).map(|number| NewDevice {
                alias: None,
                app,
                app_version: None,
                channels: vec![ChannelChange {
                    environment: None,
                    provider: Provider::Apns,
                    token: Some(token(number)),
                }],
                locale: None,
                platform: Platform::Ios,
                proof: None,
                tags: vec![],
                time_zone: None,
            });
            store.register_all(new.collect()).await.expect("registered");
        }
    });
}

/// Sets a signing key for the sandbox environment, which nobody looks at.
pub(crate) fn set_credential(data: &Path, app: &App, key: &Value, topic: &str) {
    let (store, runtime) = open(data);
    let app_key: AppKey = app.key.parse().expect("a key");
    let p8 = json!({"pem": key["p8"], "key_id": key["key_id"], "team_id": key["team_id"]});
    let plain = json!({"file": {"p8": p8}, "topic": topic}).to_string();
    runtime.block_on(async {
        let slot = CredentialSlot {
            app: store.app(app_key).await.expect("read").expect("known").id,
            environment: Some(Environment::Sandbox),
            provider: Provider::Apns,
        };
        let summary = json!({});
        let set = store.put_credential(slot, &summary, plain.as_bytes());
        set.await.expect("set");
    });
}

/// Notes that a quota of the app's credential is used up for so long from now on.
pub(crate) fn note_spent(data: &Path, app: &App, provider: &str, class: &str, lasts: Duration) {
    let (store, runtime) = open(data);
    let key: AppKey = app.key.parse().expect("a key");
    let slot = |app| CredentialSlot {
        app,
        environment: None,
        provider: provider.parse().expect("a provider"),
    };
    let spent = Spent {
        class: class.into(),
        ..Spent::until(Reason::known("spent"), UnixMillis::now().plus(lasts))
    };
    runtime.block_on(async {
        let app = store.app(key).await.expect("read").expect("known").id;
        let slot = slot(app);
        let records = store.credentials(app).await.expect("read");
        let record = records.iter().find(|record| record.slot == slot);
        let as_of = record.expect("a credential").updated_at;
        let noted = store.note_use(slot, true, &[spent], as_of).await;
        assert!(noted.expect("noted"));
    });
}

/// How many deliveries of a message a dead server has written down: those that it would not send again.
pub(crate) fn remembered(data: &Path, app: &App, message: &str) -> u64 {
    let (store, runtime) = open(data);
    let app: AppKey = app.key.parse().expect("a key");
    let message: MsgId = message.parse().expect("an id");
    let total = runtime.block_on(async {
        let app = store.app(app).await.expect("read").expect("known").id;
        let ledger = store.ledger(app, message).await.expect("read");
        ledger.expect("a ledger").total()
    });
    total.accepted + total.dropped + total.failed
}

fn open(data: &Path) -> (Store, Runtime) {
    let key = std::fs::read_to_string(data.join("seal.key")).expect("a key");
    let store = Store::open(data, SealKey::parse(&key).expect("a key")).expect("opens");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    (store, runtime)
}
