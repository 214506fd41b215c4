//! What is deleted, or too old: gone at once for everyone who asks, and cleared in slices that let everybody else through.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;
use tidings_model::{
    AppId, Audience, CustomMessage, DeviceId, Environment, MsgId, Platform, Provider, Push,
    UnixMillis,
};
use tidings_store::limits::FINISH_GRACE;

use tidings_store::{
    Accepted, AppChange, Cleared, CredentialSlot, DeviceChange, Ending, LaneKey, NewDevice,
    OpenWork, Room, Scope, Store, StoreError, TagChange, Turn,
};

use crate::support::{self, accept, apns, app, end_tasks, link, open, push};

/// A device with a token, the link, an alias and two tags.
fn device(app: AppId, number: usize) -> NewDevice {
    let channels = vec![apns(&format!("{number:064x}"), None), link()];
    let tags = ["all", &format!("t{}", number % 50)];
    NewDevice {
        alias: Some(format!("user{number}").parse().expect("an alias")),
        tags: tags.map(|tag| tag.parse().expect("a tag")).to_vec(),
        ..support::device(app, Platform::Ios, channels)
    }
}

const DAY: Duration = Duration::from_secs(86_400);

/// Rows that one job may take at most, whatever hangs on what: a slice and its last statement.
const ROWS_MAX: usize = 1100;

fn sql(dir: &Path) -> Connection {
    Connection::open(dir.join("tidings.db")).expect("opens")
}

/// What each table holds.
fn rows(dir: &Path) -> Vec<(String, i64)> {
    let sql = sql(dir);
    let mut tables = sql
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
        .expect("a statement");
    let tables = tables.query_map([], |row| row.get::<_, String>(0));
    let tables = tables.expect("rows").map(|name| name.expect("a name"));
    tables
        .map(|name| {
            let count = format!("SELECT count(*) FROM {name}");
            let count = sql.query_row(&count, [], |row| row.get(0));
            (name, count.expect("a count"))
        })
        .collect()
}

/// Sweeps to the end; what the slices did.
async fn sweep_all(store: &Store) -> Vec<Cleared> {
    let mut slices = Vec::new();
    loop {
        let slice = store.sweep().await.expect("swept");
        slices.push(slice);
        if !slice.more {
            return slices;
        }
    }
}

fn check_slices(slices: &[Cleared], rows_min: usize) {
    let rows: usize = slices.iter().map(|slice| slice.rows).sum();
    let most = slices.iter().map(|slice| slice.rows).max().unwrap_or(0);
    let longest = slices.iter().map(|slice| slice.took).max();
    println!(
        "{rows} rows in {} slices, {most} rows at most, {longest:?} at most",
        slices.len()
    );
    assert!(rows >= rows_min, "{rows} rows");
    assert!(most <= ROWS_MAX, "{most} rows in a slice");
}

#[tokio::test]
async fn a_deleted_app_is_gone_at_once_for_everyone_who_asks() {
    let dir = TempDir::new().expect("a directory");
    let store = open(dir.path());
    let (known, _) = store.create_app("test".into()).await.expect("an app");
    let app = known.id;
    let id = store.register(device(app, 1)).await.expect("registered").id;
    let slot = CredentialSlot {
        app,
        environment: None,
        provider: Provider::Apns,
    };
    let summary = serde_json::json!({});
    let put = || store.put_credential(slot, &summary, b"secret");
    put().await.expect("set");

    // One message is cut, of another the cutter has just read whom it goes to.
    accept(&store, app, push(Audience::All)).await;
    accept(&store, app, push(Audience::All)).await;
    let mut chunks = Vec::new();
    let open = store.open_tasks(app, Provider::Apns, Turn::Fresh, 9).await;
    for task in open.expect("read").tasks {
        chunks.push(store.chunk(task, Provider::Apns).await.expect("read"));
    }
    let chunk = chunks.pop().expect("the second");
    let cut = store.cut(Provider::Apns, chunks.into_iter().map(Arc::new).collect());
    assert_eq!(cut.await.expect("cut").len(), 1);

    assert!(store.delete_app(app).await.expect("deleted"));
    assert!(!store.delete_app(app).await.expect("asked"), "only once");
    assert!(store.app(known.key).await.expect("read").is_none());
    assert!(store.app_by_id(app).await.expect("read").is_none());
    assert!(store.apps(AppId(0), 10).await.expect("read").is_empty());
    assert!(store.device(app, id).await.expect("read").is_none());
    assert!(store.device_by_id(id).await.expect("read").is_none());
    assert!(store.login(app, id).await.expect("read").is_none());
    assert!(store.history(app, id).await.expect("read").is_none());
    assert!(store.credentials(app).await.expect("read").is_empty());
    let changed = store.change_app(app, AppChange::default()).await;
    assert!(changed.expect("asked").is_none());
    let secret = store.rotate_master_secret(app).await.expect("asked");
    assert!(secret.is_none());

    // Whoever had seen it before inserts nothing that would stay behind.
    let forgotten = |error: StoreError| {
        assert!(matches!(error, StoreError::AppForgotten), "{error}");
    };
    forgotten(store.register(device(app, 2)).await.expect_err("refused"));
    let change = DeviceChange::default();
    forgotten(
        store
            .change_device(app, id, change)
            .await
            .expect_err("refused"),
    );
    forgotten(
        store
            .accept(app, push(Audience::All), None)
            .await
            .expect_err("refused"),
    );
    forgotten(put().await.expect_err("refused"));

    // And nobody turns to what it had.
    assert_eq!(
        store.open_work(None).await.expect("read"),
        OpenWork::default()
    );
    let tasks = store.open_tasks(app, Provider::Apns, Turn::Fresh, 9).await;
    assert!(tasks.expect("read").tasks.is_empty());
    let tasks = store.link_tasks(app, Turn::Fresh, MsgId(0), 9, 1000).await;
    assert!(tasks.expect("read").is_empty());
    let chunk = Arc::new(chunk);
    let lanes = store.cut(Provider::Apns, vec![chunk]).await;
    assert!(lanes.expect("asked").is_empty());
    let lane = LaneKey {
        app,
        environment: Some(Environment::Production),
        provider: Provider::Apns,
    };
    let room = Room {
        long: 9000,
        pages: 9,
        short: 9000,
    };
    let leased = store
        .lease(lane, room, DAY, UnixMillis::now())
        .await
        .expect("asked");
    assert!(leased.pages.is_empty());
}

#[tokio::test]
async fn an_app_of_20_000_devices_goes_in_slices_and_others_pushes_go_on_meanwhile() {
    const DEVICES: usize = 20_000;
    let dir = TempDir::new().expect("a directory");
    let store = open(dir.path());
    let (large, other) = (app(&store).await, app(&store).await);
    let other_device = store.register(device(other, 0)).await.expect("registered");
    for thousand in (0..DEVICES).step_by(1000) {
        let new = (thousand..thousand + 1000).map(|number| device(large, number));
        store.register_all(new.collect()).await.expect("registered");
    }
    let messages = 100;
    for _ in 0..messages {
        accept(&store, large, push(Audience::All)).await;
    }
    let kept = accept(&store, other, push(Audience::All)).await;

    assert!(store.delete_app(large).await.expect("deleted"));
    let others = async {
        let mut pushes = 0;
        loop {
            accept(&store, other, push(Audience::All)).await;
            pushes += 1;
            if sql(dir.path())
                .prepare("SELECT 1 FROM apps WHERE id = ?1")
                .and_then(|mut select| select.exists([large.0]))
                .is_ok_and(|there| !there)
            {
                return pushes;
            }
        }
    };
    let (slices, pushes) = tokio::join!(sweep_all(&store), others);
    // device, two channels, cursor, alias and two tags; message and two tasks
    check_slices(&slices, 7 * DEVICES + messages);
    println!("{pushes} pushes of another app meanwhile");
    assert!(pushes > slices.len() / 20, "{pushes} pushes");

    assert!(store.message(kept.id).await.expect("read").is_some());
    let device = store.device(other, other_device.id).await.expect("read");
    assert_eq!(device.expect("it stays").tags.len(), 2);
    drop(store);
    for (table, left) in rows(dir.path()) {
        let expected = match table.as_str() {
            "apps" | "devices" | "cursors" | "credentials" => 0..=1,
            "channels" | "labels" | "app_providers" | "marks" => 0..=3,
            "messages" => pushes as i64..=pushes as i64 + 1,
            "tasks" => 0..=2 * pushes as i64 + 2,
            _ => 0..=0,
        };
        assert!(expected.contains(&left), "{left} rows in {table}");
    }
}

#[tokio::test]
async fn a_deletion_that_was_interrupted_goes_on_at_the_next_start() {
    let dir = TempDir::new().expect("a directory");
    let store = open(dir.path());
    let large = app(&store).await;
    let new = (0..2000).map(|number| device(large, number));
    store.register_all(new.collect()).await.expect("registered");
    assert!(store.delete_app(large).await.expect("deleted"));
    assert!(store.sweep().await.expect("swept").more);
    drop(store);

    let store = open(dir.path());
    check_slices(&sweep_all(&store).await, 7 * 2000 - ROWS_MAX);
    drop(store);
    for (table, left) in rows(dir.path()) {
        assert!(left == 0 || table == "marks", "{left} rows in {table}");
    }
}

#[tokio::test]
async fn a_deleted_device_is_gone_at_once_and_what_waited_for_it_is_dropped() {
    let dir = TempDir::new().expect("a directory");
    let store = open(dir.path());
    let app = app(&store).await;
    let new = (0..3).map(|number| device(app, number));
    let devices = store.register_all(new.collect()).await.expect("registered");
    let (gone, stays) = (devices[1].id, devices[2].id);
    let to_all = Push {
        message: Some(CustomMessage {
            content_type: None,
            extras: serde_json::Map::new(),
            msg_content: "hi".into(),
            shown_instead: None,
            title: None,
        }),
        notification: None,
        ..push(Audience::All)
    };
    let accepted = store.accept(app, to_all, None).await.expect("accepted");
    let (Accepted::New(message) | Accepted::Repeated(message)) = accepted;

    assert!(store.delete_device(app, gone).await.expect("deleted"));
    assert!(!store.delete_device(app, gone).await.expect("asked"));
    assert!(store.device(app, gone).await.expect("read").is_none());
    assert!(store.device_by_id(gone).await.expect("read").is_none());
    assert!(store.login(app, gone).await.expect("read").is_none());
    let change = DeviceChange::default();
    let changed = store.change_device(app, gone, change).await;
    assert!(changed.expect("asked").is_none());

    // The message is older than the deletion: its turn may still come to the device, and its end is counted then.
    assert!(!store.sweep().await.expect("swept").more);
    let scope = Scope::of(&message, Provider::Link).expect("by the link");
    let targets = store.targets(&scope, DeviceId(0), 10).await.expect("read");
    assert!(targets.len() == 3 && targets[1].device == gone);

    let tasks = store.link_tasks(app, Turn::Fresh, MsgId(0), 9, 1000).await;
    store
        .route(app, tasks.expect("read"))
        .await
        .expect("filled");
    end_tasks(&store, &message).await;
    sweep_all(&store).await;
    let ledger = store.ledger(app, message.id).await.expect("read");
    let ledger = ledger.expect("known");
    let total = ledger.total();
    assert_eq!((total.targeted, total.dropped), (3, 1));
    let [(Provider::Link, Ending::Dropped, reason, 1)] = ledger.reasons.as_slice() else {
        panic!("{:?}", ledger.reasons);
    };
    assert_eq!(reason.as_str(), "device_deleted");
    assert!(store.device(app, stays).await.expect("read").is_some());
    drop(store);
    for table in ["channels", "cursors", "inbox", "labels", "tombstones"] {
        let count = format!("SELECT count(*) FROM {table} WHERE device = ?1");
        let left = sql(dir.path()).query_row(&count, [gone.0], |row| row.get(0));
        assert_eq!(left, Ok(0), "{table}");
    }
    let device = "SELECT count(*) FROM devices WHERE id = ?1";
    let left = sql(dir.path()).query_row(device, [gone.0], |row| row.get(0));
    assert_eq!(left, Ok(0));
}

#[tokio::test]
async fn the_number_of_an_app_is_never_given_again() {
    let dir = TempDir::new().expect("a directory");
    let mut store = open(dir.path());
    let mut last = AppId(0);
    for round in 0..6 {
        let next = app(&store).await;
        assert!(next > last, "{next:?} after {last:?}");
        assert!(store.delete_app(next).await.expect("deleted"));
        if round % 2 == 0 {
            sweep_all(&store).await;
        }
        if round % 3 == 0 {
            drop(store);
            store = open(dir.path());
        }
        last = next;
    }
}

#[tokio::test]
async fn what_hangs_on_an_old_message_goes_in_slices_and_what_is_new_stays() {
    const EVENTS: i64 = 20_000;
    let dir = TempDir::new().expect("a directory");
    let store = open(dir.path());
    let app = app(&store).await;
    let (old, new) = (
        accept(&store, app, push(Audience::All)).await,
        accept(&store, app, push(Audience::All)).await,
    );
    drop(store);
    let over = UnixMillis::now().plus(30 * DAY);
    let mut tx = sql(dir.path());
    let tx = tx.transaction().expect("begins");
    for number in 0..EVENTS {
        let insert = "INSERT INTO events (message, device, kind, at) VALUES (?1, ?2, 1, 0)";
        tx.execute(insert, [old.id.0, number]).expect("an event");
    }
    tx.execute_batch("DELETE FROM tasks").expect("dispatched");
    let later = "UPDATE messages SET accepted_at = ?2, expires_at = ?2 WHERE id = ?1";
    tx.execute(later, [new.id.0, over.0]).expect("later");
    tx.commit().expect("commits");

    let store = open(dir.path());
    assert_eq!(store.finish_expired(over).await.expect("finished"), 1);
    let mut slices = Vec::new();
    loop {
        let slice = store.purge(over, 20 * DAY).await.expect("purged");
        slices.push(slice);
        if !slice.more {
            break;
        }
    }
    check_slices(&slices, EVENTS as usize + 1);
    assert!(slices.len() > EVENTS as usize / ROWS_MAX);
    assert!(store.message(old.id).await.expect("read").is_none());
    assert!(store.message(new.id).await.expect("read").is_some());
}

#[tokio::test]
async fn a_clock_that_once_ran_ahead_does_not_switch_retention_off() {
    let dir = TempDir::new().expect("a directory");
    drop(open(dir.path()));
    // An id was drawn 400 days ahead, and whatever had it is gone.
    let ahead = UnixMillis::now().plus(400 * DAY);
    let ahead = tidings_model::IdClock::floor(ahead);
    let mark = "UPDATE marks SET value = ?1 WHERE name = 'id'";
    sql(dir.path()).execute(mark, [ahead]).expect("set");

    let store = open(dir.path());
    let app = app(&store).await;
    let message = accept(&store, app, push(Audience::All)).await;
    assert!(message.id.0 > ahead);
    let mut now = message.expires_at.plus(FINISH_GRACE);
    store.finish_expired(now).await.expect("finished");
    while store.purge(now, 11 * DAY).await.expect("purged").more {}
    assert!(store.message(message.id).await.expect("read").is_some());
    now = now.plus(11 * DAY);
    while store.purge(now, 11 * DAY).await.expect("purged").more {}
    assert!(store.message(message.id).await.expect("read").is_none());
}

#[tokio::test]
async fn a_life_that_has_ended_stays_as_long_as_a_message_may_be_asked_about() {
    let dir = TempDir::new().expect("a directory");
    let store = open(dir.path());
    let app = app(&store).await;
    let id = store.register(device(app, 1)).await.expect("registered").id;
    let before = accept(&store, app, push(Audience::All)).await;
    let change = DeviceChange {
        channels: Some(vec![]),
        tags: Some(TagChange::Replace(vec![])),
        ..DeviceChange::default()
    };
    store.change_device(app, id, change).await.expect("changed");
    let ended = || {
        let count = "SELECT (SELECT count(*) FROM labels WHERE until < 9223372036854775807)
                          + (SELECT count(*) FROM channels WHERE until < 9223372036854775807)";
        sql(dir.path()).query_row(count, [], |row| row.get::<_, i64>(0))
    };
    let now = before.accepted_at;
    while store.purge(now, DAY).await.expect("purged").more {}
    assert_eq!(ended(), Ok(4));
    let history = store.history(app, id).await.expect("read").expect("known");
    assert!(history.providers_at(before.id).contains(Provider::Apns));

    let later = accept(&store, app, push(Audience::All)).await;
    let finish = format!(
        "UPDATE messages SET finished = 1 WHERE id = {}",
        before.id.0
    );
    sql(dir.path()).execute_batch(&finish).expect("finished");
    while store
        .purge(now.plus(2 * DAY), DAY)
        .await
        .expect("purged")
        .more
    {}
    assert!(store.message(before.id).await.expect("read").is_none());
    assert!(store.message(later.id).await.expect("read").is_some());
    assert_eq!(ended(), Ok(0));
    let device = store.device(app, id).await.expect("read").expect("known");
    assert!(device.alias.is_some(), "what it still has stays");
}
