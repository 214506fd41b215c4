//! The store as its callers see it, on real SQLite files.

use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tidings_model::{
    AppId, Audience, CustomMessage, DeviceId, Environment, Message, MsgId, Platform, Provider,
    Push, Reason, Secret, Selection, Spent, UnixMillis,
};
use tidings_store::limits::{FINISH_GRACE, PAGE_MAX};

use tidings_store::{
    Accepted, ChannelChange, CredentialSlot, Device, DeviceChange, DeviceEvent, EventKind,
    NewDevice, OpenWork, Scope, SealKey, Store, StoreError, TagChange, Turn,
};

use crate::support::{
    accept, apns, app, device as new_device, end_tasks, key, on_link, open, push, to_tags,
};

fn iphone(app: AppId, token: &str) -> NewDevice {
    new_device(app, Platform::Ios, vec![apns(token, None)])
}

async fn reached(store: &Store, message: &Message, provider: Provider) -> Vec<DeviceId> {
    let Some(scope) = Scope::of(message, provider) else {
        return vec![];
    };
    let targets = store
        .targets(&scope, DeviceId(0), PAGE_MAX)
        .await
        .expect("targets");
    targets.into_iter().map(|target| target.device).collect()
}

async fn known(store: &Store, app: AppId, device: DeviceId) -> Device {
    let device = store.device(app, device).await.expect("read");
    device.expect("known")
}

#[tokio::test]
async fn a_known_token_with_the_old_secret_is_the_same_device_with_a_new_secret() {
    let dir = TempDir::new().expect("a directory");
    let store = open(dir.path());
    let app = app(&store).await;
    let tagged = NewDevice {
        alias: Some("ann".parse().expect("an alias")),
        tags: vec!["a".parse().expect("a tag")],
        ..iphone(app, "aa")
    };
    let first = store.register(tagged).await.expect("registered");
    let proven = NewDevice {
        proof: Some(first.secret.clone()),
        ..iphone(app, "aa")
    };
    let again = store.register(proven).await.expect("registered");
    assert!(first.created && !again.created && again.former.is_empty());
    assert_eq!(first.id, again.id);
    let found = store.device_by_id(first.id).await.expect("read");
    let (owner, device) = found.expect("known");
    assert_eq!(owner, app);
    assert!(
        device.secret.matches(again.secret.expose())
            && !device.secret.matches(first.secret.expose())
    );
    assert_eq!((device.alias.is_some(), device.tags.len()), (true, 1));
}

#[tokio::test]
async fn whoever_only_knows_a_token_is_a_new_device_and_inherits_nothing() {
    let dir = TempDir::new().expect("a directory");
    let store = open(dir.path());
    let app = app(&store).await;
    let tagged = NewDevice {
        alias: Some("ann".parse().expect("an alias")),
        tags: vec!["a".parse().expect("a tag")],
        ..iphone(app, "aa")
    };
    let first = store.register(tagged).await.expect("registered");
    let wrong = NewDevice {
        proof: Some(Secret::new("guessed")),
        ..iphone(app, "aa")
    };
    let second = store.register(wrong).await.expect("registered");
    assert!(second.created && second.id != first.id);
    assert_eq!(second.former, [first.id]);
    let former = known(&store, app, first.id).await;
    assert!(former.channels.is_empty() && former.secret.matches(first.secret.expose()));
    let newer = known(&store, app, second.id).await;
    assert!(newer.alias.is_none() && newer.tags.is_empty());
    let to_ann = accept(&store, app, push(to_tags(&["a"]))).await;
    assert_eq!(reached(&store, &to_ann, Provider::Apns).await, []);
}

#[tokio::test]
async fn a_device_whose_token_moved_is_no_target_until_it_shows_itself() {
    let dir = TempDir::new().expect("a directory");
    let store = open(dir.path());
    let app = app(&store).await;
    let both = NewDevice {
        channels: [iphone(app, "aa").channels, on_link(app).channels].concat(),
        ..iphone(app, "aa")
    };
    let former = store.register(both).await.expect("registered").id;
    store.register(iphone(app, "aa")).await.expect("registered");
    assert!(known(&store, app, former).await.channels.is_empty());
    let meanwhile = accept(&store, app, push(Audience::All)).await;
    assert_eq!(reached(&store, &meanwhile, Provider::Link).await, []);
    // Also when what it had then is not kept any more.
    let later = UnixMillis::now().plus(Duration::from_secs(30 * 86_400));
    while store
        .purge(later, Duration::ZERO)
        .await
        .expect("purged")
        .more
    {}
    let login = store.login(app, former).await.expect("read");
    assert!(login.expect("known").away);
    store.welcome(app, former).await.expect("welcomed");
    let afterwards = accept(&store, app, push(Audience::All)).await;
    assert_eq!(reached(&store, &afterwards, Provider::Link).await, [former]);
    let login = store.login(app, former).await.expect("read");
    assert!(!login.expect("known").away);

    // One that says itself that it has no link does not get it back.
    let changed = store.register(NewDevice {
        channels: [iphone(app, "bb").channels, on_link(app).channels].concat(),
        ..iphone(app, "bb")
    });
    let former = changed.await.expect("registered").id;
    store.register(iphone(app, "bb")).await.expect("registered");
    let only_apns = DeviceChange {
        channels: Some(iphone(app, "cc").channels),
        ..DeviceChange::default()
    };
    let changed = store.change_device(app, former, only_apns).await;
    changed.expect("changed").expect("known");
    let login = store.login(app, former).await.expect("read");
    assert!(!login.expect("known").away);
}

#[tokio::test]
async fn a_token_that_moves_leaves_a_tombstone_and_is_not_written_to_for_its_former_device() {
    let dir = TempDir::new().expect("a directory");
    let store = open(dir.path());
    let app = app(&store).await;
    let registered = store.register(iphone(app, "aa")).await;
    let old = registered.expect("registered").id;
    let new = store.register(on_link(app)).await.expect("registered").id;
    let before = accept(&store, app, push(Audience::All)).await;
    let change = DeviceChange {
        channels: Some(iphone(app, "aa").channels),
        ..DeviceChange::default()
    };
    let changed = store.change_device(app, new, change).await;
    assert_eq!(changed.expect("changed").expect("known").former, [old]);
    assert!(known(&store, app, old).await.channels.is_empty());
    let message = accept(&store, app, push(Audience::All)).await;
    let journey = store.journey(app, message.id, old).await.expect("read");
    let journey = journey.expect("known");
    assert_eq!(journey.tombstones[0].reason.as_str(), "moved");
    let history = journey.history.expect("a device");
    assert!(history.providers_at(message.id).is_empty());

    // The message of before was for the old device by Apple.
    let scope = Scope::of(&before, Provider::Apns).expect("goes by Apple");
    let targets = store.targets(&scope, DeviceId(0), PAGE_MAX).await;
    let targets = targets.expect("targets").into_iter();
    assert_eq!(
        targets.map(|target| target.device).collect::<Vec<_>>(),
        [old]
    );
}

#[tokio::test]
async fn the_way_of_a_message_is_that_of_its_id() {
    let dir = TempDir::new().expect("a directory");
    let store = open(dir.path());
    let app = app(&store).await;
    let device = store.register(on_link(app)).await.expect("registered").id;
    let with = |channels| DeviceChange {
        channels: Some(channels),
        ..DeviceChange::default()
    };
    let both: Vec<ChannelChange> = [iphone(app, "aa").channels, on_link(app).channels].concat();
    let ways = async |message: &Message| {
        (
            reached(&store, message, Provider::Apns).await.len(),
            reached(&store, message, Provider::Link).await.len(),
        )
    };
    let by_link = accept(&store, app, push(Audience::All)).await;
    let changed = store.change_device(app, device, with(both)).await;
    changed.expect("changed").expect("known");
    let by_apple = accept(&store, app, push(Audience::All)).await;
    let changed = store.change_device(app, device, with(on_link(app).channels));
    changed.await.expect("changed").expect("known");
    let again_by_link = accept(&store, app, push(Audience::All)).await;
    for (message, expected) in [
        (&by_link, (0, 1)),
        (&by_apple, (1, 0)),
        (&again_by_link, (0, 1)),
    ] {
        assert_eq!(ways(message).await, expected);
    }
}

#[tokio::test]
async fn a_device_that_changes_without_end_is_remembered_from_some_point_on() {
    let dir = TempDir::new().expect("a directory");
    let store = open(dir.path());
    let app = app(&store).await;
    let device = store.register(on_link(app)).await.expect("registered").id;
    let history = async || {
        let history = store.history(app, device).await.expect("read");
        history.expect("known")
    };
    let first = accept(&store, app, push(Audience::All)).await;
    for number in 0..500 {
        let token = iphone(app, &format!("{number:02x}")).channels;
        let channels = match number % 2 {
            0 => [token, on_link(app).channels].concat(),
            _ => on_link(app).channels,
        };
        accept(&store, app, push(to_tags(&["nobody"]))).await;
        let change = DeviceChange {
            channels: Some(channels),
            ..DeviceChange::default()
        };
        let changed = store.change_device(app, device, change).await;
        changed.expect("changed").expect("known");
    }
    let last = accept(&store, app, push(Audience::All)).await;
    let known = history().await;
    assert_eq!(known.channels.len(), 201);
    assert!(first.id < known.known_from && known.known_from < last.id);
}

#[tokio::test]
async fn a_message_is_for_those_who_had_the_tag_when_it_was_accepted() {
    let dir = TempDir::new().expect("a directory");
    let store = open(dir.path());
    let app = app(&store).await;
    let device = store.register(on_link(app)).await.expect("registered").id;
    let tags = |tags: &[&str]| DeviceChange {
        tags: Some(TagChange::Replace(
            tags.iter().map(|tag| tag.parse().expect("a tag")).collect(),
        )),
        ..DeviceChange::default()
    };
    let mut messages = Vec::new();
    for (has, expected) in [(&["a"][..], 1), (&["b"], 0), (&["a", "b"], 1)] {
        let changed = store.change_device(app, device, tags(has)).await;
        changed.expect("changed").expect("known");
        messages.push((
            accept(&store, app, push(to_tags(&["a", "x"]))).await,
            expected,
        ));
    }
    for (message, expected) in messages {
        let reached = reached(&store, &message, Provider::Link).await;
        assert_eq!(reached.len(), expected, "{:?}", message.id);
    }
}

#[tokio::test]
async fn an_audience_takes_in_those_it_names_and_no_others() {
    let dir = TempDir::new().expect("a directory");
    let store = open(dir.path());
    let app = app(&store).await;
    let mut ids = Vec::new();
    for (alias, tags) in [
        (Some("ann"), vec!["a"]),
        (None, vec!["a", "b"]),
        (Some("bob"), vec!["c"]),
        (None, vec![]),
    ] {
        let new = NewDevice {
            alias: alias.map(|alias| alias.parse().expect("an alias")),
            tags: tags.iter().map(|tag| tag.parse().expect("a tag")).collect(),
            ..iphone(app, &format!("{:02x}", ids.len()))
        };
        ids.push(store.register(new).await.expect("registered").id);
    }
    let select = |aliases: &[&str], devices: &[usize], tags: &[&str]| {
        Audience::Selection(Selection {
            aliases: aliases
                .iter()
                .map(|alias| alias.parse().expect("an alias"))
                .collect(),
            devices: devices.iter().map(|index| ids[*index]).collect(),
            tags: tags.iter().map(|tag| tag.parse().expect("a tag")).collect(),
        })
    };
    let cases: Vec<(Audience, Vec<usize>)> = vec![
        (Audience::All, vec![0, 1, 2, 3]),
        (select(&[], &[], &["a"]), vec![0, 1]),
        (select(&[], &[], &["b", "c"]), vec![1, 2]),
        (select(&["ann", "bob"], &[], &[]), vec![0, 2]),
        (select(&["ann"], &[], &["c"]), vec![]),
        (select(&[], &[3, 1, 1], &[]), vec![1, 3]),
        (select(&[], &[3, 1], &["a"]), vec![1]),
        (select(&["bob"], &[2, 0], &["c", "a"]), vec![2]),
        (select(&["nobody"], &[], &[]), vec![]),
    ];
    for (audience, expected) in cases {
        let message = accept(&store, app, push(audience.clone())).await;
        let expected: Vec<DeviceId> = expected.into_iter().map(|index| ids[index]).collect();
        assert_eq!(
            reached(&store, &message, Provider::Apns).await,
            expected,
            "{audience:?}"
        );
    }
}

#[tokio::test]
async fn pages_follow_each_other_and_leave_out_who_came_later() {
    let dir = TempDir::new().expect("a directory");
    let store = open(dir.path());
    let app = app(&store).await;
    let new = (0..25)
        .map(|index| iphone(app, &format!("{index:02x}")))
        .collect();
    let ids: Vec<DeviceId> = store
        .register_all(new)
        .await
        .expect("registered")
        .iter()
        .map(|r| r.id)
        .collect();
    let message = accept(&store, app, push(Audience::All)).await;
    store.register(iphone(app, "ff")).await.expect("registered");
    let scope = Scope::of(&message, Provider::Apns).expect("a scope");
    let mut seen = Vec::new();
    loop {
        let after = seen.last().copied().unwrap_or(DeviceId(0));
        let page = store.targets(&scope, after, 10).await.expect("a page");
        seen.extend(page.iter().map(|target| target.device));
        if page.len() < 10 {
            break;
        }
    }
    assert_eq!(seen, ids);
}

#[tokio::test]
async fn a_device_with_a_token_gets_a_notification_by_apns_and_a_message_by_the_link() {
    let dir = TempDir::new().expect("a directory");
    let store = open(dir.path());
    let app = app(&store).await;
    let both = NewDevice {
        channels: [iphone(app, "aa").channels, on_link(app).channels].concat(),
        ..iphone(app, "aa")
    };
    let both = store.register(both).await.expect("registered").id;
    let link = store.register(on_link(app)).await.expect("registered").id;
    let shown = accept(&store, app, push(Audience::All)).await;
    assert_eq!(reached(&store, &shown, Provider::Apns).await, [both]);
    assert_eq!(reached(&store, &shown, Provider::Link).await, [link]);
    let message = CustomMessage {
        content_type: None,
        extras: Default::default(),
        msg_content: json!("x"),
        shown_instead: None,
        title: None,
    };
    let custom = Push {
        message: Some(message),
        notification: None,
        ..push(Audience::All)
    };
    let custom = accept(&store, app, custom).await;
    assert!(Scope::of(&custom, Provider::Apns).is_none());
    assert_eq!(reached(&store, &custom, Provider::Link).await, [both, link]);
}

#[tokio::test]
async fn a_repeated_cid_is_the_first_message() {
    let dir = TempDir::new().expect("a directory");
    let store = open(dir.path());
    let app = app(&store).await;
    for device in [iphone(app, "aa"), on_link(app)] {
        store.register(device).await.expect("registered");
    }
    let first = store
        .accept(app, push(Audience::All), Some("c1".into()))
        .await
        .expect("accepted");
    let again = store
        .accept(app, push(Audience::All), Some("c1".into()))
        .await
        .expect("accepted");
    let (Accepted::New(first), Accepted::Repeated(again)) = (first, again) else {
        panic!("wrong kinds")
    };
    assert_eq!(first.id, again.id);
    // One for each provider that the app has.
    for provider in [Provider::Apns, Provider::Link] {
        let open = store.open_tasks(app, provider, Turn::Fresh, 10).await;
        let tasks = open.expect("read").tasks;
        let messages: Vec<MsgId> = tasks.iter().map(|task| task.message.id).collect();
        assert_eq!(messages, [first.id]);
    }
    end_tasks(&store, &first).await;
    assert_eq!(
        store.open_work(None).await.expect("read"),
        OpenWork::default(),
        "nothing came of the second"
    );
}

#[tokio::test]
async fn events_count_once_and_only_for_the_apps_own_messages() {
    let dir = TempDir::new().expect("a directory");
    let store = open(dir.path());
    let (mine, other) = (app(&store).await, app(&store).await);
    let device = store
        .register(iphone(mine, "aa"))
        .await
        .expect("registered")
        .id;
    let own = accept(&store, mine, push(Audience::All)).await.id;
    let foreign = accept(&store, other, push(Audience::All)).await.id;
    let opened = |message| DeviceEvent {
        kind: EventKind::Opened,
        message,
    };
    let events = vec![opened(own), opened(own), opened(foreign), opened(MsgId(1))];
    assert_eq!(
        store
            .add_events(mine, device, Platform::Ios, events)
            .await
            .expect("added"),
        1
    );
    assert_eq!(
        store
            .ledger(mine, own)
            .await
            .expect("read")
            .expect("known")
            .total()
            .opened,
        1
    );
    assert!(store.ledger(mine, foreign).await.expect("read").is_none());
}

#[tokio::test]
async fn credentials_are_sealed_and_bound_to_their_place() {
    let dir = TempDir::new().expect("a directory");
    let store = open(dir.path());
    let app = app(&store).await;
    let slot = CredentialSlot {
        app,
        environment: Some(Environment::Sandbox),
        provider: Provider::Apns,
    };
    store
        .put_credential(slot, &json!({"kind": "token"}), b"the very secret key")
        .await
        .expect("put");
    assert_eq!(
        store
            .open_credential(slot)
            .await
            .expect("opened")
            .expect("set"),
        b"the very secret key"
    );
    let production = CredentialSlot {
        environment: Some(Environment::Production),
        ..slot
    };
    assert!(
        store
            .open_credential(production)
            .await
            .expect("opened")
            .is_none()
    );
    let set_at = store.credentials(app).await.expect("listed")[0].updated_at;
    let reason = || Some(Reason::known("InvalidProviderToken"));
    let earlier = UnixMillis(set_at.0 - 1);
    for (as_of, is_noted) in [(earlier, false), (set_at, true)] {
        let noted = store.note_credential(slot, reason(), as_of).await;
        assert_eq!(noted.expect("noted"), is_noted);
    }
    let records = store.credentials(app).await.expect("listed");
    assert_eq!(
        records[0].rejected,
        Some(Reason::known("InvalidProviderToken"))
    );
    drop(store);
    for entry in std::fs::read_dir(dir.path()).expect("a directory") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("a file");
        assert!(!bytes.windows(15).any(|window| window == b"very secret key"));
    }
    let other_key = SealKey::parse(&SealKey::generate()).expect("a key");
    let store = Store::open(dir.path(), other_key).expect("opens");
    assert!(matches!(
        store.open_credential(slot).await,
        Err(StoreError::Seal(_))
    ));
}

#[tokio::test]
async fn a_store_has_one_owner_and_ids_go_on_after_a_restart() {
    let dir = TempDir::new().expect("a directory");
    let store = open(dir.path());
    let app = app(&store).await;
    assert!(matches!(
        Store::open(dir.path(), key()),
        Err(StoreError::InUse)
    ));
    let device = store
        .register(iphone(app, "aa"))
        .await
        .expect("registered")
        .id;
    let message = accept(&store, app, push(to_tags(&["x"]))).await.id;
    assert!(message.0 > device.0);
    drop(store);
    let store = open(dir.path());
    assert!(accept(&store, app, push(Audience::All)).await.id > message);
}

#[tokio::test]
async fn a_deleted_app_takes_everything_with_it() {
    let dir = TempDir::new().expect("a directory");
    let store = open(dir.path());
    let app = app(&store).await;
    let device = NewDevice {
        tags: vec!["a".parse().expect("a tag")],
        ..on_link(app)
    };
    let device = store.register(device).await.expect("registered").id;
    let message = accept(&store, app, push(Audience::All)).await;
    assert!(store.delete_app(app).await.expect("deleted"));
    while store.sweep().await.expect("swept").more {}
    assert!(store.device(app, device).await.expect("read").is_none());
    assert!(store.message(message.id).await.expect("read").is_none());
    assert_eq!(
        store.open_work(None).await.expect("read"),
        OpenWork::default()
    );
}

#[tokio::test]
async fn tags_are_added_removed_and_replaced() {
    let dir = TempDir::new().expect("a directory");
    let store = open(dir.path());
    let app = app(&store).await;
    let id = store.register(on_link(app)).await.expect("registered").id;
    let tags = |list: &[&str]| {
        list.iter()
            .map(|tag| tag.parse().expect("a tag"))
            .collect::<Vec<_>>()
    };
    let changes = [
        (TagChange::Replace(tags(&["a", "b"])), tags(&["a", "b"])),
        (
            TagChange::Edit {
                add: tags(&["c", "b"]),
                remove: tags(&["a", "z"]),
            },
            tags(&["b", "c"]),
        ),
        (TagChange::Replace(vec![]), vec![]),
    ];
    for (change, expected) in changes {
        let change = DeviceChange {
            tags: Some(change),
            ..DeviceChange::default()
        };
        let changed = store.change_device(app, id, change).await;
        changed.expect("changed").expect("known");
        assert_eq!(
            store
                .device(app, id)
                .await
                .expect("read")
                .expect("known")
                .tags,
            expected
        );
    }
}

#[tokio::test]
async fn what_is_old_is_forgotten() {
    let dir = TempDir::new().expect("a directory");
    let store = open(dir.path());
    let app = app(&store).await;
    let message = accept(&store, app, push(Audience::All)).await;
    end_tasks(&store, &message).await;
    let kept = Duration::from_secs(3600);
    let over = message.expires_at.plus(FINISH_GRACE);
    assert_eq!(store.finish_expired(over).await.expect("finished"), 1);
    let purged = store.purge(over, kept).await.expect("purged");
    assert!(!purged.more);
    assert!(store.message(message.id).await.expect("read").is_none());
}

#[tokio::test]
async fn a_life_that_saw_no_message_leaves_nothing() {
    let dir = TempDir::new().expect("a directory");
    let store = open(dir.path());
    let app = app(&store).await;
    let new = store.register(on_link(app)).await.expect("registered");
    let device = new.id;
    let sql = rusqlite::Connection::open(dir.path().join("tidings.db")).expect("opens");
    let lives = |table: &str| -> i64 {
        let count = format!("SELECT count(*) FROM {table}");
        let count = sql.query_row(&count, [], |row| row.get(0));
        count.expect("counted")
    };
    let turn = async |on: bool| {
        let tag = "flips".parse().expect("a tag");
        let tags = match on {
            true => vec![tag],
            false => vec![],
        };
        let mut channels = on_link(app).channels;
        if on {
            channels.extend(iphone(app, "aa").channels);
        }
        let change = DeviceChange {
            channels: Some(channels),
            tags: Some(TagChange::Replace(tags)),
            ..DeviceChange::default()
        };
        let changed = store.change_device(app, device, change).await;
        changed.expect("changed").expect("known");
    };
    for _ in 0..10 {
        turn(true).await;
        turn(false).await;
    }
    assert_eq!((lives("labels"), lives("channels")), (0, 1));
    turn(true).await;
    let message = accept(&store, app, push(to_tags(&["flips"]))).await;
    for _ in 0..10 {
        turn(false).await;
        turn(true).await;
    }
    turn(false).await;
    // The one that the message saw, and the link.
    assert_eq!((lives("labels"), lives("channels")), (1, 2));
    assert_eq!(reached(&store, &message, Provider::Apns).await, [device]);
}

#[tokio::test]
async fn what_the_use_of_a_credential_has_shown_ends_with_it() {
    let dir = TempDir::new().expect("a directory");
    let store = open(dir.path());
    let app = app(&store).await;
    let slot = CredentialSlot {
        app,
        environment: None,
        provider: Provider::Huawei,
    };
    let summary = json!({});
    let set = store.put_credential(slot, &summary, b"secret").await;
    set.expect("set");
    let set_at = store.credentials(app).await.expect("listed")[0].updated_at;
    let spent = [Spent {
        class: "operation".into(),
        reason: Reason::known("10070"),
        until: UnixMillis(1_800_000_000_000),
    }];
    for (as_of, is_noted) in [(UnixMillis(set_at.0 - 1), false), (set_at, true)] {
        let noted = store.note_use(slot, true, &spent, as_of).await;
        assert_eq!(noted.expect("noted"), is_noted);
    }
    drop(store);
    let store = open(dir.path());
    let record = &store.credentials(app).await.expect("listed")[0];
    assert_eq!((record.accepted, &record.spent[..]), (true, &spent[..]));
    let set = store.put_credential(slot, &summary, b"another").await;
    set.expect("set");
    let record = &store.credentials(app).await.expect("listed")[0];
    assert_eq!((record.accepted, &record.spent[..]), (false, &[][..]));
}
