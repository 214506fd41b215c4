//! The store's calls, on data of a realistic shape: some apps, one of them large, labels that one device has and labels that
//! thousands share, messages of each kind of audience, and what devices and providers say of them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidings_model::{
    AppId, Audience, DeviceId, Environment, Message, MsgId, Notification, Platform, PlatformSet,
    Provider, Push, PushOptions, Reason, Selection, Strategy, UnixMillis,
};

use crate::limits::{ENDED_CHANNELS_MAX, ENDED_LABELS_MAX, PAGE_MAX};
use crate::{
    Accepted, Ack, Acked, Addressed, AppChange, ChannelChange, CredentialSlot, Cursor, Delta,
    DeviceChange, DeviceEvent, End, Ending, EventKind, LaneKey, LeasedPage, Leaving, LinkEnd,
    LinkPlan, LogEnd, NewDevice, OpenPage, PageFlush, Position, Receipt, Removal, Rest, Room, Said,
    Scope, SealKey, Step, Store, TagChange, Turn, Why,
};

const DEVICES: usize = 20_000;
const EXPIRED: i64 = 5000;
const KEPT: Duration = Duration::from_secs(11 * 86_400);

/// The store of a test, and whom it knows.
pub(super) struct Stage {
    pub(super) devices: Vec<DeviceId>,
    pub(super) large: AppId,
    pub(super) small: AppId,
    pub(super) store: Store,
}

/// Thousands of messages whose time is over, and that a lane still has.
fn wait_in_vain(dir: &Path, app: AppId) {
    let push = serde_json::to_string(&push(Audience::All)).expect("JSON");
    let mut sql = rusqlite::Connection::open(dir.join("tidings.db")).expect("opens");
    let transaction = sql.transaction().expect("begins");
    for id in 1..=EXPIRED {
        let message = "INSERT INTO messages (id, app, accepted_at, expires_at, push) VALUES (?1, ?2, 0, ?1, ?3)";
        let task = "INSERT INTO tasks (app, provider, message) VALUES (?2, 1, ?1)";
        let inserted = transaction
            .execute(message, rusqlite::params![id, app.0, push])
            .and_then(|_| transaction.execute(task, [id, app.0]));
        inserted.expect("inserted");
    }
    transaction.commit().expect("commits");
}

/// Every second has a token, every second the link, every sixth both; a quarter shares an alias, the others have their own.
pub(super) fn device(app: AppId, number: usize) -> NewDevice {
    let channel = |provider, token| ChannelChange {
        environment: None,
        provider,
        token,
    };
    let (apns, link) = match number % 6 {
        0 => (true, true),
        1 | 2 => (true, false),
        _ => (false, true),
    };
    let token = format!("{:032x}{number:032x}", app.0);
    let channels = [
        apns.then(|| channel(Provider::Apns, Some(token))),
        link.then(|| channel(Provider::Link, None)),
    ];
    let alias = match number % 4 {
        0 => "guest".to_owned(),
        _ => format!("user{number}"),
    };
    let mut tags = vec!["all".to_owned(), format!("t{}", number % 50)];
    tags.extend((number == 777).then(|| "rare".to_owned()));
    NewDevice {
        alias: Some(alias.parse().expect("an alias")),
        app,
        app_version: Some("1.0".into()),
        channels: channels.into_iter().flatten().collect(),
        locale: Some("en".into()),
        platform: Platform::Ios,
        proof: None,
        tags: tags.iter().map(|tag| tag.parse().expect("a tag")).collect(),
        time_zone: None,
    }
}

pub(super) fn push(audience: Audience) -> Push {
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

/// One audience of each kind, and some of each size.
pub(super) fn audiences(devices: &[DeviceId]) -> Vec<Audience> {
    let tags = |tags: &[&str]| Selection {
        tags: tags.iter().map(|tag| tag.parse().expect("a tag")).collect(),
        ..Selection::default()
    };
    let aliases = |aliases: &[&str]| Selection {
        aliases: aliases
            .iter()
            .map(|alias| alias.parse().expect("an alias"))
            .collect(),
        ..Selection::default()
    };
    let named = |devices: &[DeviceId]| Selection {
        devices: devices.to_vec(),
        ..Selection::default()
    };
    let selections = [
        tags(&["rare"]),
        tags(&["all"]),
        tags(&["t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9", "t10"]),
        tags(&["nobody", "none"]),
        aliases(&["user777"]),
        aliases(&["guest"]),
        aliases(&["user1", "user19999", "guest"]),
        named(&devices[..1]),
        named(&devices[..PAGE_MAX]),
        Selection {
            tags: tags(&["all", "t1"]).tags,
            ..aliases(&["guest"])
        },
        Selection {
            tags: tags(&["rare"]).tags,
            ..aliases(&["guest"])
        },
        Selection {
            tags: tags(&["rare", "t5"]).tags,
            ..named(&devices[..PAGE_MAX])
        },
    ];
    let selections = selections.into_iter().map(Audience::Selection);
    std::iter::once(Audience::All).chain(selections).collect()
}

pub(super) async fn accept(store: &Store, app: AppId, push: Push) -> Message {
    match store.accept(app, push, None).await.expect("accepted") {
        Accepted::New(message) => message,
        Accepted::Repeated(_) => panic!("no cid was given"),
    }
}

impl Stage {
    pub(super) fn open(dir: &Path) -> Store {
        Store::open(dir, SealKey::parse(&"0a".repeat(32)).expect("a key")).expect("opens")
    }

    pub(super) async fn set(dir: &Path) -> Self {
        let store = Self::open(dir);
        let small = store.create_app("small".into()).await.expect("an app").0.id;
        let large = store.create_app("large".into()).await.expect("an app").0.id;
        let new = (0..300).map(|number| device(small, number));
        store.register_all(new.collect()).await.expect("registered");
        let mut devices = Vec::new();
        for thousand in (0..DEVICES).step_by(1000) {
            let new = (thousand..thousand + 1000).map(|number| device(large, number));
            let registered = store.register_all(new.collect()).await.expect("registered");
            devices.extend(registered.iter().map(|registered| registered.id));
        }
        Self {
            devices,
            large,
            small,
            store,
        }
    }

    pub(super) fn reopen(self, dir: &Path) -> Self {
        drop(self.store);
        wait_in_vain(dir, self.small);
        Self {
            store: Self::open(dir),
            ..self
        }
    }

    pub(super) async fn apps(&self) {
        let store = &self.store;
        let (app, _) = store.create_app("x".into()).await.expect("an app");
        store.app(app.key).await.expect("read").expect("known");
        store.app_by_id(app.id).await.expect("read").expect("known");
        store.apps(AppId(0), 100).await.expect("read");
        let change = AppChange {
            name: Some("y".into()),
            ..AppChange::default()
        };
        let changed = store.change_app(app.id, change).await;
        changed.expect("changed").expect("known");
        store.rotate_master_secret(app.id).await.expect("rotated");
        let rotated = store.rotate_callback_secret(app.id).await;
        rotated.expect("rotated").expect("known");
        for environment in [None, Some(Environment::Sandbox)] {
            let slot = CredentialSlot {
                app: app.id,
                environment,
                provider: Provider::Apns,
            };
            let summary = serde_json::json!({});
            store
                .put_credential(slot, &summary, b"secret")
                .await
                .expect("set");
            store.open_credential(slot).await.expect("opened");
            store.credentials(app.id).await.expect("read");
            let as_of = UnixMillis(0);
            store
                .note_credential(slot, None, as_of)
                .await
                .expect("noted");
            store.note_use(slot, true, &[], as_of).await.expect("noted");
            store.delete_credential(slot).await.expect("deleted");
        }
        store.all_credentials().await.expect("read");
    }

    pub(super) async fn devices(&self) {
        let (store, app) = (&self.store, self.large);
        for (number, id) in self.devices.iter().copied().enumerate().step_by(1999) {
            store.device(app, id).await.expect("read").expect("known");
            store.device_by_id(id).await.expect("read").expect("known");
            store.device_secret(id).await.expect("read").expect("known");
            store.history(app, id).await.expect("read").expect("known");
            store.login(app, id).await.expect("read").expect("known");
            let edit = TagChange::Edit {
                add: vec!["new".parse().expect("a tag")],
                remove: vec!["all".parse().expect("a tag")],
            };
            let replaced = device(app, DEVICES + number);
            let changes = [
                DeviceChange {
                    tags: Some(edit),
                    ..DeviceChange::default()
                },
                DeviceChange {
                    alias: Some(None),
                    channels: Some(replaced.channels),
                    locale: Some(None),
                    tags: Some(TagChange::Replace(replaced.tags)),
                    ..DeviceChange::default()
                },
            ];
            for change in changes {
                store.change_device(app, id, change).await.expect("changed");
            }
            store.welcome(app, id).await.expect("welcome");
            // It comes again with its token and no proof, so that the token moves to a newcomer.
            let newcomer = NewDevice {
                alias: None,
                tags: vec![],
                ..device(app, DEVICES + number)
            };
            store.register(newcomer).await.expect("registered");
        }
        self.restless().await;
        let nobody = DeviceId(7);
        assert!(store.device_by_id(nobody).await.expect("read").is_none());
    }

    /// A device that exchanges all it has, again and again.
    async fn restless(&self) {
        let (store, app, id) = (&self.store, self.large, self.devices[1]);
        let tags = |round: usize| {
            let tags = (0..1000).map(|number| format!("r{}", round * 1000 + number));
            tags.map(|tag| tag.parse().expect("a tag")).collect()
        };
        // A life that no message saw is not kept.
        let nobody = Audience::Selection(Selection {
            devices: vec![DeviceId(7)],
            ..Selection::default()
        });
        for round in 0..=ENDED_LABELS_MAX / 1000 + 1 {
            accept(store, app, push(nobody.clone())).await;
            let change = DeviceChange {
                tags: Some(TagChange::Replace(tags(round))),
                ..DeviceChange::default()
            };
            store.change_device(app, id, change).await.expect("changed");
        }
        for round in 10..12 {
            let change = DeviceChange {
                tags: Some(TagChange::Replace(tags(round))),
                ..DeviceChange::default()
            };
            store.change_device(app, id, change).await.expect("changed");
        }
        for round in 0..ENDED_CHANNELS_MAX + 5 {
            accept(store, app, push(nobody.clone())).await;
            let environment = match round % 2 {
                0 => Environment::Sandbox,
                _ => Environment::Production,
            };
            let channel = ChannelChange {
                environment: Some(environment),
                provider: Provider::Apns,
                token: Some(format!("{round:064x}")),
            };
            let change = DeviceChange {
                channels: Some(vec![channel]),
                ..DeviceChange::default()
            };
            store.change_device(app, id, change).await.expect("changed");
        }
        store.login(app, id).await.expect("read").expect("known");
    }

    /// Pushes to each kind of audience, and walks over who is meant.
    pub(super) async fn messages(&self) {
        let (store, app) = (&self.store, self.large);
        for audience in audiences(&self.devices) {
            let push = push(audience);
            store.reaches_any(app, &push).await.expect("asked");
            let message = accept(store, app, push).await;
            for provider in Provider::ALL {
                let Some(scope) = Scope::of(&message, provider) else {
                    continue;
                };
                let mut after = DeviceId(0);
                // The first pages, and the last.
                for _ in 0..3 {
                    let page = store.targets(&scope, after, PAGE_MAX).await.expect("read");
                    let [first, .., last] = page.as_slice() else {
                        break;
                    };
                    let (first, last) = (first.device, last.device);
                    let again = store.targets_between(&scope, first, last, PAGE_MAX);
                    assert_eq!(again.await.expect("read"), page);
                    after = last.max(self.devices[DEVICES - PAGE_MAX]);
                }
            }
            store
                .message(message.id)
                .await
                .expect("read")
                .expect("known");
            store
                .ledger(app, message.id)
                .await
                .expect("read")
                .expect("known");
            for (number, id) in self.devices.iter().enumerate().step_by(5000) {
                store.journey(app, message.id, *id).await.expect("read");
                let opened = DeviceEvent {
                    kind: EventKind::Opened,
                    message: message.id,
                };
                let added = store.add_events(app, *id, Platform::Ios, vec![opened]);
                added.await.expect("added");
                let receipts = [
                    Said::Delivered,
                    Said::Opened,
                    Said::Dead(Reason::known("16")),
                ];
                let receipts = receipts.map(|said| Receipt {
                    app,
                    at: None,
                    message: message.id,
                    provider: Provider::Apns,
                    said,
                    token: format!("{:032x}{number:032x}", app.0).into(),
                });
                // The second time the address is a former one.
                for receipts in [receipts.clone(), receipts] {
                    let added = store.add_receipts(receipts.into());
                    added.await.expect("added");
                }
            }
        }
        let cid = || Some("cid".to_owned());
        let again = push(Audience::All);
        for _ in 0..2 {
            let accepted = store.accept(self.small, again.clone(), cid()).await;
            accepted.expect("accepted");
        }
        store.accepted(app, "cid".into()).await.expect("read");
        store.void_id().await.expect("drawn");
        store.newest_message().await.expect("read");
    }

    /// What goes over the link, and what connections say of it.
    pub(super) async fn link(&self) {
        let (store, app) = (&self.store, self.large);
        for turn in [Turn::Fresh, Turn::Begun] {
            // One look takes in as many as it has time for.
            loop {
                let tasks = store.link_tasks(app, turn, MsgId(0), 100, 1000).await;
                let mut tasks = tasks.expect("read");
                if tasks.is_empty() {
                    break;
                }
                if let Some(LinkPlan::Undecided) = tasks.first().map(|task| &task.plan) {
                    let decided = store.decide(app, tasks[0].message, 1000).await;
                    tasks = vec![decided.expect("decided").expect("is there")];
                }
                store.route(app, tasks).await.expect("routed");
            }
        }
        let message = accept(store, app, push(audiences(&self.devices).remove(0))).await;
        store.decide(app, message.id, 1000).await.expect("decided");
        store.log_end(app).await.expect("read");
        store.log_after(app, Position(0), 10).await.expect("read");
        for id in self.devices.iter().copied().take(2 * PAGE_MAX).step_by(97) {
            let login = store.login(app, id).await.expect("read").expect("known");
            let now = UnixMillis::now();
            let judge = store.judge_log(app, id, login.cursor, MsgId(0), now, 32);
            let stretch = judge.await.expect("read").expect("known");
            let owed = stretch.steps.iter().map(Step::position).collect();
            let judge = store.judge_owed(app, id, owed, MsgId(0), now);
            judge.await.expect("read").expect("known");
            let inbox = store.inbox_after(app, id, Position(0), 32).await;
            let rows = inbox
                .expect("read")
                .into_iter()
                .map(|waiting| Acked::Inbox {
                    end: LinkEnd::Delivered,
                    message: waiting.message.id,
                    parts: waiting.parts,
                });
            let steps = stretch.steps.iter().filter_map(|step| match step {
                Step::Missed(_) => None,
                Step::Send(position, message, _) => Some((*position, message.id)),
            });
            let logged = steps.map(|(position, message)| Acked::Log {
                ended: Some(LogEnd {
                    end: LinkEnd::Refused(0x87),
                    message,
                    position,
                }),
                passed: Cursor::to(position),
            });
            let acks = rows.chain(logged).map(|what| Ack {
                app,
                device: id,
                platform: Platform::Ios,
                what,
            });
            store.acknowledge(acks.collect()).await.expect("remembered");
        }
    }

    /// What lanes do with the messages: cut, lease, flush, settle, and what becomes of the rest.
    pub(super) async fn lanes(&self) {
        let (store, app, provider) = (&self.store, self.large, Provider::Apns);
        let collapsing = |audience| {
            let mut push = push(audience);
            push.options.apns_collapse_id = Some("score".into());
            push
        };
        let audiences = audiences(&self.devices);
        let everyone = accept(store, app, collapsing(audiences[0].clone())).await;
        accept(store, app, collapsing(audiences[8].clone())).await;
        let mut link_first = collapsing(audiences[8].clone());
        link_first
            .options
            .strategies
            .set(provider, Strategy::LinkFirst);
        link_first.options.fallback_after = Some(1);
        accept(store, app, link_first).await;
        store.open_work(None).await.expect("read");
        store.open_work(Some(vec![app])).await.expect("read");
        for turn in [Turn::Fresh, Turn::Begun] {
            for _ in 0..30 {
                let tasks = store.open_tasks(app, provider, turn, 1).await;
                let Some(task) = tasks.expect("read").tasks.pop() else {
                    break;
                };
                let mut chunk = store.chunk(task, provider).await.expect("read");
                let on_link = chunk.targets.iter().filter(|target| target.on_link);
                chunk.to_link = on_link.map(|target| target.device).collect();
                let cut = store.cut(provider, vec![Arc::new(chunk)]).await;
                cut.expect("cut");
            }
        }
        let later = UnixMillis::now().plus(Duration::from_secs(60));
        for fallback in store.fallbacks(later).await.expect("read").due {
            while store.fall_back(fallback).await.expect("fell back").more {}
        }
        let push = push(Audience::All);
        let uncut = accept(store, app, push).await.id;
        let reason = Reason::known("UncutAudience");
        let failed = store.fail_task(app, provider, uncut, reason).await;
        failed.expect("failed");
        let lane = LaneKey {
            app,
            provider,
            environment: Some(Environment::Production),
        };
        for round in 0..20 {
            let room = Room {
                long: 2 * PAGE_MAX,
                pages: 20,
                short: PAGE_MAX,
            };
            let leased = store
                .lease(lane, room, Duration::from_secs(60), UnixMillis::now())
                .await;
            let pages = leased.expect("leased").pages;
            let leases = pages.iter().map(|page| (page.key, page.lease)).collect();
            let renewed = store.renew_leases(leases, Duration::from_secs(60)).await;
            renewed.expect("renewed");
            for (number, page) in pages.iter().enumerate() {
                let opened = store.open_pages(vec![page.clone()], HashMap::new()).await;
                let (page, open) = opened.expect("read").pop().expect("one");
                let open = open.expect("a page");
                self.settle(page, &open, number + round).await;
            }
        }
        store.free_pages().await.expect("freed");
        for id in self.devices.iter().step_by(1000) {
            store.journey(app, everyone.id, *id).await.expect("read");
        }
    }

    /// Some answers, then the end, with some whose way has ended, some that wait, and a token that is dead.
    async fn settle(&self, page: LeasedPage, open: &OpenPage, number: usize) {
        let store = &self.store;
        if number % 7 == 6 {
            let reason = Reason::known("UnreadablePage");
            let failed = store.fail_page(page.key, page.lease, reason).await;
            failed.expect("failed");
            return;
        }
        let end = |ending, reason| End {
            at: UnixMillis::now(),
            attempts: 1,
            ending,
            reason,
        };
        let (accepted, gone) = (
            end(Ending::Accepted, None),
            end(Ending::Dropped, Some(Reason::known("Unregistered"))),
        );
        let mut flush = PageFlush {
            delta: Delta::default(),
            ended: page.ended,
            key: page.key,
            lease: page.lease,
            leaving: Vec::new(),
            members: Arc::clone(&open.members),
            message: Arc::clone(&open.message),
            progress: open.progress.clone(),
            rest: None,
        };
        let (mut rest, mut removals) = (Vec::new(), Vec::new());
        for (index, member) in open.members.iter().enumerate() {
            match index % 100 {
                7 if number % 7 < 3 => rest.push(member.clone()),
                8 => {
                    let mut why = Why::Ended;
                    if let Some(Addressed::Here(target)) = &open.places[index]
                        && let Some(token) = &target.token
                    {
                        why = Why::Dead(token.clone());
                        removals.push(Removal {
                            app: open.message.app,
                            device: member.device,
                            provider: page.key.provider,
                            reason: Reason::known("Unregistered"),
                            registered_before: UnixMillis(i64::MAX),
                            token: token.clone(),
                        });
                    }
                    flush.leaving.push(Leaving {
                        end: gone.clone(),
                        index,
                        why,
                    });
                }
                _ if flush.progress.note(index, &accepted) => {
                    flush.delta.add(member.platform, &accepted);
                }
                _ => {}
            }
        }
        // Of those that may leave the first does, while the page is out; the others with its end.
        let others = flush.leaving.split_off(flush.leaving.len().min(1));
        let ended = flush.progress.count() + flush.leaving.len();
        let first = flush.clone();
        for leaving in std::mem::replace(&mut flush.leaving, others) {
            flush.progress.note(leaving.index, &leaving.end);
        }
        store.flush(vec![first], vec![]).await.expect("flushed");
        let waits = !rest.is_empty();
        let rest = Rest {
            due: Some(UnixMillis(1)),
            environment: page.key.environment,
            members: rest,
        };
        let last = PageFlush {
            delta: Delta::default(),
            ended,
            rest: Some(waits.then_some(rest).into_iter().collect()),
            ..flush
        };
        let flushed = store.flush(vec![last], removals).await.expect("settled");
        assert_eq!(flushed.lost, []);
    }

    /// Time passes, and much is deleted.
    pub(super) async fn end(&self) {
        let (store, app) = (&self.store, self.large);
        for id in self.devices.iter().step_by(2222) {
            assert!(store.delete_device(app, *id).await.expect("deleted"));
        }
        while store.sweep().await.expect("swept").more {}
        for days in [1, 30] {
            let now = UnixMillis::now().plus(Duration::from_secs(days * 86_400));
            store.finish_expired(now).await.expect("finished");
            while store.purge(now, KEPT).await.expect("purged").more {}
        }
        assert!(store.delete_app(app).await.expect("deleted"));
        while store.sweep().await.expect("swept").more {}
    }
}
