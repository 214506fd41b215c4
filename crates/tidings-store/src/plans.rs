//! No statement walks: each is judged by its plan and by the steps that its runs really take, on the SQLite that is linked in
//! and on data of a realistic shape.
//!
//! A plan alone does not tell: of the faults that this is here for, two printed as a SEARCH that bound fewer columns of a key
//! than the statement named, and one was a foreign key's action, which stands in no plan.

mod check;
mod drive;
mod recorder;

pub(crate) use recorder::attach;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::path::Path;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use rusqlite::Connection;
    use tempfile::TempDir;
    use tidings_model::{
        Audience, DeviceId, Environment, Platform, Provider, Reason, Selection, UnixMillis,
    };

    use super::check::{Excused, complaints};
    use super::drive::{Stage, accept, device, push};
    use super::recorder::Recorder;
    use crate::engine::{Role, connect};
    use crate::limits::{
        CANDIDATES_MAX, ENDED_LABELS_MAX, LOOKS_AT_ONCE, PAGE_MAX, SCAN_READERS, SIZES_MAX,
        STEP_ROWS,
    };
    use crate::{
        Delta, DeviceChange, DeviceEvent, End, Ending, EventKind, LaneKey, Leaving, NewDevice,
        PageFlush, Room, Scope, TagChange,
    };

    /// Tags that a device may have.
    const TAGS_MAX: i64 = 1000;

    /// Statements that walk, and by what their walk is bounded.
    const EXCUSED: [Excused; 14] = [
        Excused {
            text: "FROM json_each(?4) AS w CROSS JOIN channels AS c",
            steps: 150 * PAGE_MAX as i64,
            plan: &["does not search by provider"],
            why: "looks at up to a page of candidates, of which few may be taken, and at what channels each has",
        },
        Excused {
            text: "FROM channels AS o INDEXED BY channels_by_device",
            steps: 0,
            plan: &["does not search by provider"],
            why: "what channels each device has, in one search for any number of providers",
        },
        Excused {
            text: "LIMIT ?2)",
            steps: 100 * STEP_ROWS as i64,
            plan: &[],
            why: "deletes some rows, and counts as returning none",
        },
        Excused {
            text: "FROM credentials ORDER BY app, provider, environment",
            steps: 0,
            plan: &["SCAN credentials"],
            why: "all credentials, once a day, on a reader for scans",
        },
        Excused {
            text: "FROM labels INDEXED BY labels_by_device WHERE app = ?1 AND device = ?2 AND kind = ?3",
            steps: 50 * ENDED_LABELS_MAX as i64,
            plan: &["does not search by kind"],
            why: "what a device has and had, as much as is kept of it",
        },
        Excused {
            text: "WHERE app = ?1 AND device = ?2 AND until <= ?3",
            steps: 30 * TAGS_MAX,
            plan: &[],
            why: "what one change of a device has ended",
        },
        Excused {
            text: "AND label IN (SELECT value FROM json_each(?6))",
            steps: 75 * TAGS_MAX,
            plan: &[],
            why: "what one change of a device ends",
        },
        Excused {
            text: "SELECT ?1, ?2, w.value, ?3, ?4, ?5 FROM json_each(?6) AS w",
            steps: 60 * TAGS_MAX,
            plan: &[],
            why: "what one change of a device begins",
        },
        Excused {
            text: "SELECT count(*) FROM (SELECT 1 FROM labels",
            steps: 10 * SIZES_MAX as i64,
            plan: &[],
            why: "counts that far, and saves a walk",
        },
        Excused {
            text: "ORDER BY until DESC LIMIT 1 OFFSET ?4",
            steps: 5 * ENDED_LABELS_MAX as i64,
            plan: &[],
            why: "what is kept of a device, of which the last is looked for",
        },
        Excused {
            text: "FROM events WHERE message = ?1 AND device = ?2 ORDER BY at, kind",
            steps: 0,
            plan: &["sorts"],
            why: "of one device and message there are as many events as kinds",
        },
        Excused {
            text: "FROM reasons WHERE message = ?1 ORDER BY count DESC",
            steps: 0,
            plan: &["sorts"],
            why: "as many as providers have words",
        },
        Excused {
            text: "AND behind_first = ?4 AND last <= ?5 ORDER BY message LIMIT ?6",
            steps: 0,
            plan: &["sorts"],
            why: "as many pages stand behind one as it has devices",
        },
        Excused {
            text: "FROM tombstones WHERE app = ?1 AND device = ?2 ORDER BY removed_at",
            steps: 0,
            plan: &["sorts"],
            why: "as many as are kept of a device",
        },
    ];

    #[tokio::test]
    async fn no_statement_of_the_store_walks() {
        let dir = TempDir::new().expect("a directory");
        let path = dir.path().join("tidings.db");
        // What comes of migrations and of bulk is not looked at: both may walk.
        let stage = Stage::set(dir.path()).await;
        let recorder = Recorder::of(&path);
        let stage = stage.reopen(dir.path());
        stage.apps().await;
        stage.devices().await;
        stage.messages().await;
        stage.link().await;
        stage.lanes().await;
        stage.end().await;
        drop(stage);
        let seen = recorder.seen();
        println!("{} statements", seen.len());
        let sql = connect(&path, Role::Point).expect("opens");
        let complaints = complaints(&sql, &seen, &EXCUSED);
        assert!(complaints.is_empty(), "{}", complaints.join("\n\n"));
    }

    /// A call that is not driven is not seen.
    #[test]
    fn every_call_of_the_store_is_driven() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let drive = std::fs::read_to_string(source.join("plans/drive.rs")).expect("read");
        // Two conveniences for tests, and one that asks no database.
        let left_out = ["remembered", "ended"];
        let mut missed = Vec::new();
        for file in std::fs::read_dir(&source).expect("a folder") {
            let path = file.expect("a file").path();
            let is_source = path.extension().is_some_and(|extension| extension == "rs");
            if !is_source || path.ends_with("plans.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("read");
            for call in text.split("    pub async fn ").skip(1) {
                let name = call.split(['(', '<']).next().expect("a name");
                if !drive.contains(&format!(".{name}(")) && !left_out.contains(&name) {
                    missed.push(name.to_owned());
                }
            }
        }
        assert!(missed.is_empty(), "{missed:?}");
    }

    /// Every push asks that before it is accepted.
    #[tokio::test]
    async fn a_push_is_accepted_at_once_though_one_provider_reaches_none_of_many_who_share_a_label()
    {
        let dir = TempDir::new().expect("a directory");
        let recorder = Recorder::of(&dir.path().join("tidings.db"));
        let store = Stage::open(dir.path());
        let app = store.create_app("test".into()).await.expect("an app").0.id;
        let iphone = device(app, 1);
        let phones = (0..4000).map(|number| {
            let mut phone = device(app, 3 + 6 * number);
            phone.tags = vec!["phones".parse().expect("a tag")];
            phone.alias = Some("phone".parse().expect("an alias"));
            phone
        });
        let new = phones.chain([iphone]).collect();
        store.register_all(new).await.expect("registered");
        let before = recorder.total();
        let tags = vec!["phones".parse().expect("a tag")];
        let push = push(Audience::Selection(Selection {
            tags,
            ..Selection::default()
        }));
        assert!(store.reaches_any(app, &push).await.expect("asked"));
        let steps = recorder.total() - before;
        assert!(steps < 10_000, "{steps} steps");

        let before = recorder.total();
        let aliases = vec!["phone".parse().expect("an alias")];
        let shared = Audience::Selection(Selection {
            aliases,
            ..Selection::default()
        });
        accept(&store, app, super::drive::push(shared)).await;
        let steps = recorder.total() - before;
        assert!(steps < 70_000, "{steps} steps");
    }

    /// The writer is held meanwhile, for all apps.
    #[tokio::test]
    async fn whether_a_push_reaches_somebody_who_is_there_waits_for_no_walk() {
        let dir = TempDir::new().expect("a directory");
        let store = Stage::open(dir.path());
        let app = store.create_app("test".into()).await.expect("an app").0.id;
        let phone = store.register(device(app, 1)).await.expect("registered").id;
        let (open, closed) = std::sync::mpsc::channel::<()>();
        let closed = Arc::new(Mutex::new(closed));
        let walks = (0..SCAN_READERS).map(|_| {
            let closed = Arc::clone(&closed);
            store.engine.scan(move |_| {
                let _ = closed.lock().expect("no panic").recv();
                Ok(())
            })
        });
        let mut walks: Vec<_> = walks.map(Box::pin).collect();
        std::future::poll_fn(|context| {
            for walk in &mut walks {
                assert!(walk.as_mut().poll(context).is_pending());
            }
            std::task::Poll::Ready(())
        })
        .await;
        let audience = Audience::Selection(Selection {
            devices: vec![phone],
            ..Selection::default()
        });
        let (named, all) = (push(audience), push(Audience::All));
        for push in [&named, &all] {
            let reaches = store.reaches_any(app, push).await;
            assert!(reaches.expect("read"));
        }
        drop(open);
        for walk in walks {
            walk.await.expect("walked");
        }
    }

    #[tokio::test]
    async fn an_accept_looks_at_some_rows_however_long_the_lists_of_its_audience_are() {
        let dir = TempDir::new().expect("a directory");
        let recorder = Recorder::of(&dir.path().join("tidings.db"));
        let store = Stage::open(dir.path());
        let app = store.create_app("test".into()).await.expect("an app").0.id;
        let phones = (0..1000).map(|number| device(app, 6 * number + 1));
        let registered = store.register_all(phones.collect()).await;
        let devices: Vec<DeviceId> = registered
            .expect("registered")
            .iter()
            .map(|new| new.id)
            .collect();
        let texts = |name: &str, count| {
            (0..count)
                .map(|number| format!("{name}{number}"))
                .collect::<Vec<_>>()
        };
        let named = Selection {
            devices,
            ..Selection::default()
        };
        let aliased = Selection {
            aliases: texts("user", 1000)
                .iter()
                .map(|alias| alias.parse().expect("an alias"))
                .collect(),
            ..named.clone()
        };
        let tagged = Selection {
            tags: texts("t", 20)
                .iter()
                .map(|tag| tag.parse().expect("a tag"))
                .collect(),
            ..aliased.clone()
        };
        let looks = 80 * LOOKS_AT_ONCE as i64;
        let meant = |tags: usize| {
            let numbers = (0..1000).map(|number| 6 * number + 1);
            let numbers = numbers.filter(move |number| *number < 1000 && number % 50 < tags);
            numbers.count()
        };
        for (selection, expected) in [(named, 1000), (aliased, meant(50)), (tagged, meant(20))] {
            let before = recorder.total();
            let message = accept(&store, app, push(Audience::Selection(selection))).await;
            let steps = recorder.total() - before;
            assert!(steps < looks, "{steps} steps");
            let scope = Scope::of(&message, Provider::Apns).expect("goes by it");
            let targets = store.targets(&scope, DeviceId(0), PAGE_MAX + 1).await;
            assert_eq!(targets.expect("read").len(), expected);
        }
        // Beside the writer each device is asked for what it has, not each alias for each device.
        let steps = recorder.total();
        assert!(steps < 1_000_000, "{steps} steps");
    }

    /// Everyone is a guest before the log-in.
    #[tokio::test]
    async fn an_accept_does_not_walk_over_those_who_had_an_alias_once() {
        let dir = TempDir::new().expect("a directory");
        let path = dir.path().join("tidings.db");
        let recorder = Recorder::of(&path);
        let store = Stage::open(dir.path());
        let app = store.create_app("test".into()).await.expect("an app").0.id;
        let guest = || vec!["guest".parse().expect("an alias")];
        let phones = (0..20_000).map(|number| NewDevice {
            alias: guest().pop(),
            ..device(app, 6 * number)
        });
        store
            .register_all(phones.collect())
            .await
            .expect("registered");
        accept(&store, app, push(Audience::All)).await;
        drop(store);
        let sql = connect(&path, Role::Writer).expect("opens");
        let end = "UPDATE labels SET until = (SELECT max(id) FROM messages) + 1 WHERE kind = 1";
        sql.execute(end, []).expect("ended");
        drop(sql);
        let store = Stage::open(dir.path());
        let one = NewDevice {
            alias: guest().pop(),
            ..device(app, 6 * 20_000)
        };
        let one = store.register(one).await.expect("registered").id;
        let before = recorder.total();
        let selection = Selection {
            aliases: guest(),
            ..Selection::default()
        };
        let message = accept(&store, app, push(Audience::Selection(selection))).await;
        let steps = recorder.total() - before;
        assert!(steps < 80 * LOOKS_AT_ONCE as i64, "{steps} steps");
        // It is found beside the writer.
        let scope = Scope::of(&message, Provider::Apns).expect("goes by it");
        let targets = store
            .targets(&scope, DeviceId(0), PAGE_MAX)
            .await
            .expect("read");
        assert_eq!(
            targets
                .iter()
                .map(|target| target.device)
                .collect::<Vec<_>>(),
            [one]
        );
    }

    /// The looks of a reader count what they read: it is given free for others.
    #[tokio::test]
    async fn a_look_at_everyone_ends_also_where_nobody_has_the_channel_any_more() {
        let dir = TempDir::new().expect("a directory");
        let path = dir.path().join("tidings.db");
        let recorder = Recorder::of(&path);
        let store = Stage::open(dir.path());
        let app = store.create_app("test".into()).await.expect("an app").0.id;
        let phones = (0..2 * CANDIDATES_MAX).map(|number| device(app, 6 * number + 1));
        store
            .register_all(phones.collect())
            .await
            .expect("registered");
        let message = accept(&store, app, push(Audience::All)).await;
        drop(store);
        let sql = connect(&path, Role::Writer).expect("opens");
        let end = "UPDATE channels SET until = device + 1, since = device";
        sql.execute(end, []).expect("ended");
        drop(sql);
        let store = Stage::open(dir.path());
        let scope = Scope::of(&message, Provider::Apns).expect("goes by it");
        let targets = store
            .targets(&scope, DeviceId(0), PAGE_MAX)
            .await
            .expect("read");
        assert_eq!(targets, []);
        let seen = recorder.seen();
        let walk = seen
            .iter()
            .find(|(text, _)| text.contains("c.device > ?4 AND c.device <= ?5"));
        let (_, run) = walk.expect("walked");
        assert!(run.steps < 30 * CANDIDATES_MAX as i64, "{run:?}");
    }

    /// The writer is held meanwhile, and whoever has an app's key can register such a device.
    #[tokio::test]
    async fn what_a_device_was_is_read_once_however_much_it_says() {
        let dir = TempDir::new().expect("a directory");
        let recorder = Recorder::of(&dir.path().join("tidings.db"));
        let store = Stage::open(dir.path());
        let app = store.create_app("test".into()).await.expect("an app").0.id;
        let id = store.register(device(app, 3)).await.expect("registered").id;
        for round in 0..3 {
            let tags = (0..1000).map(|number| format!("r{}", round * 1000 + number));
            let tags = tags.map(|tag| tag.parse().expect("a tag")).collect();
            let change = DeviceChange {
                tags: Some(TagChange::Replace(tags)),
                ..DeviceChange::default()
            };
            store.change_device(app, id, change).await.expect("changed");
        }
        let message = accept(&store, app, push(Audience::All)).await;
        let opened = DeviceEvent {
            kind: EventKind::Opened,
            message: message.id,
        };
        let before = recorder.total();
        let added = store.add_events(app, id, Platform::Ios, vec![opened; 100]);
        assert_eq!(added.await.expect("added"), 1);
        let steps = recorder.total() - before;
        assert!(steps < 200_000, "{steps} steps");
    }

    /// Anyone may ask for it, and anyone can register such a device.
    #[tokio::test]
    async fn nothing_of_a_device_is_read_before_it_has_proved_itself_and_then_nothing_that_has_ended()
     {
        let dir = TempDir::new().expect("a directory");
        let recorder = Recorder::of(&dir.path().join("tidings.db"));
        let store = Stage::open(dir.path());
        let app = store.create_app("test".into()).await.expect("an app").0.id;
        let id = store.register(device(app, 3)).await.expect("registered").id;
        for round in 0..4 {
            let tags = (0..1000).filter(|_| round < 3);
            let tags = tags.map(|number| format!("r{}", round * 1000 + number));
            let tags = tags.map(|tag| tag.parse().expect("a tag")).collect();
            let change = DeviceChange {
                tags: Some(TagChange::Replace(tags)),
                ..DeviceChange::default()
            };
            store.change_device(app, id, change).await.expect("changed");
            accept(&store, app, push(Audience::All)).await;
        }
        let history = store.history(app, id).await.expect("read").expect("known");
        assert!(history.tags.len() >= ENDED_LABELS_MAX);
        let before = recorder.total();
        store.device_secret(id).await.expect("read").expect("known");
        let secret = recorder.total() - before;
        let login = store.login(app, id).await.expect("read").expect("known");
        let all = recorder.total() - before - secret;
        println!("{secret} steps for the secret, {all} for all");
        assert!(secret < 100 && all < 500, "{secret} and {all} steps");
        assert_eq!(login.history.tags, []);
        assert!(login.is_on_link);
    }

    /// Some hundred leave in one job of the writer, and whoever has an app's key can register such devices.
    #[tokio::test]
    async fn what_a_delivery_that_leaves_its_page_takes_does_not_grow_with_the_devices_tags() {
        let dir = TempDir::new().expect("a directory");
        let recorder = Recorder::of(&dir.path().join("tidings.db"));
        let store = Stage::open(dir.path());
        let app = store.create_app("test".into()).await.expect("an app").0.id;
        for number in [0, 6] {
            let registered = store.register(device(app, number)).await;
            let id = registered.expect("registered").id;
            for round in 0..number / 2 {
                let tags = (0..1000).map(|number| format!("r{}", round * 1000 + number));
                let tags = tags.map(|tag| tag.parse().expect("a tag")).collect();
                let change = DeviceChange {
                    tags: Some(TagChange::Replace(tags)),
                    ..DeviceChange::default()
                };
                store.change_device(app, id, change).await.expect("changed");
                accept(&store, app, push(Audience::All)).await;
            }
            let (few, many) = (vec![id], vec!["r2000".parse().expect("a tag")]);
            let selection = Selection {
                devices: few,
                tags: if number == 0 { vec![] } else { many },
                ..Selection::default()
            };
            accept(&store, app, push(Audience::Selection(selection))).await;
        }
        let lane = LaneKey {
            app,
            environment: Some(Environment::Production),
            provider: Provider::Apns,
        };
        let room = Room {
            long: 9,
            pages: 9,
            short: 9,
        };
        let lease = store.lease(lane, room, Duration::from_secs(60), UnixMillis::now());
        let pages = lease.await.expect("leased").pages;
        assert_eq!(pages.len(), 2);
        let mut took = Vec::new();
        for (page, open) in store.open_pages(pages, HashMap::new()).await.expect("read") {
            let open = open.expect("a page");
            let leaving = Leaving {
                why: crate::Why::Ended,
                end: End {
                    at: UnixMillis::now(),
                    attempts: 1,
                    ending: Ending::Dropped,
                    reason: Some(Reason::known("Unregistered")),
                },
                index: 0,
            };
            let flush = PageFlush {
                delta: Delta::default(),
                ended: 0,
                key: page.key,
                lease: page.lease,
                leaving: vec![leaving],
                members: open.members,
                message: open.message,
                progress: open.progress,
                rest: Some(vec![]),
            };
            let before = recorder.total();
            let flushed = store.flush(vec![flush], vec![]).await.expect("flushed");
            assert_eq!(flushed.inboxes.len(), 1);
            took.push(recorder.total() - before);
        }
        println!("{took:?} steps");
        assert!(took.iter().all(|took| *took < 2000), "{took:?} steps");
    }

    /// Whoever has an app's key, which is public, can do so, and the writer is held meanwhile.
    #[tokio::test]
    async fn tags_are_exchanged_by_a_handful_of_statements_and_written_once_where_no_message_came()
    {
        let dir = TempDir::new().expect("a directory");
        let recorder = Recorder::of(&dir.path().join("tidings.db"));
        let store = Stage::open(dir.path());
        let app = store.create_app("test".into()).await.expect("an app").0.id;
        let texts =
            |round: usize| (0..1000).map(move |number| format!("r{}", round * 1000 + number));
        let tags = |round| {
            texts(round)
                .map(|tag| tag.parse().expect("a tag"))
                .collect()
        };
        let mut took = recorder.total();
        let mut steps = || {
            let total = recorder.total();
            total - std::mem::replace(&mut took, total)
        };
        let new = NewDevice {
            tags: tags(0),
            ..device(app, 3)
        };
        steps();
        let id = store.register(new).await.expect("registered").id;
        let registered = steps();
        for round in 1..3 {
            let change = DeviceChange {
                tags: Some(TagChange::Replace(tags(round))),
                ..DeviceChange::default()
            };
            store.change_device(app, id, change).await.expect("changed");
        }
        let unseen = steps() / 2;
        accept(&store, app, push(Audience::All)).await;
        steps();
        let change = DeviceChange {
            tags: Some(TagChange::Edit {
                add: tags(4),
                remove: tags(2),
            }),
            ..DeviceChange::default()
        };
        store.change_device(app, id, change).await.expect("changed");
        let seen = steps();
        println!("{registered} registered, {unseen} exchanged unseen, {seen} exchanged and kept");
        let found = store.device(app, id).await.expect("read").expect("known");
        let mut expected: Vec<String> = texts(4).collect();
        expected.sort_unstable();
        assert_eq!(
            found
                .tags
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
            expected
        );
        let history = store.history(app, id).await.expect("read").expect("known");
        assert_eq!(history.tags.len(), 2000, "what no message saw is not kept");
        assert!(registered < 60_000 && unseen < 120_000 && seen < 155_000);
    }

    const DEVICES: i64 = 5000;

    /// The first schema, where its faults were, with some thousand devices.
    fn first_schema() -> (Connection, Recorder) {
        let mut sql = Connection::open_in_memory().expect("opens");
        sql.execute_batch("PRAGMA foreign_keys = ON;").expect("on");
        sql.execute_batch(include_str!("../migrations/sqlite/0001_first.sql"))
            .expect("a schema");
        let transaction = sql.transaction().expect("begins");
        transaction
            .execute_batch(
                "INSERT INTO apps VALUES (1, x'01', 'one', x'', 0), (2, x'02', 'two', x'', 0);",
            )
            .expect("apps");
        for id in 1..=DEVICES {
            let device =
                "INSERT INTO devices VALUES (2, ?1, 3, 'user' || ?1, x'', NULL, NULL, NULL, 0, 0)";
            transaction.execute(device, [id]).expect("a device");
            let channel =
                "INSERT INTO channels VALUES (2, 1, ?1, 3, 1, 't' || ?1, randomblob(16), 0, 0)";
            transaction.execute(channel, [id]).expect("a channel");
        }
        transaction.commit().expect("commits");
        let recorder = Recorder::default();
        recorder.listen(&mut sql).expect("listens");
        (sql, recorder)
    }

    fn complaints_of(text: &str, excused: &[Excused]) -> Vec<String> {
        let (sql, recorder) = first_schema();
        let mut statement = sql.prepare(text).expect("a statement");
        let rows = statement.raw_query().mapped(|_| Ok(())).count();
        println!("{rows} rows");
        drop(statement);
        complaints(&sql, &recorder.seen(), excused)
    }

    /// Each of `expected` is part of a complaint of its own, and there is no other.
    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let complaints = complaints_of(text, &[]);
        assert_eq!(complaints.len(), expected.len(), "{complaints:#?}");
        for (complaint, expected) in complaints.iter().zip(expected) {
            assert!(complaint.contains(expected), "{complaint}");
        }
    }

    #[test]
    fn the_faults_that_were_are_refused() {
        // Whose a device is.
        check(
            "SELECT apps.id FROM apps JOIN devices ON devices.app = apps.id WHERE devices.id = 4999",
            &["steps for 1 rows", "a scan: SCAN devices"],
        );
        // A push to an alias.
        check(
            "SELECT c.device FROM devices AS d CROSS JOIN channels AS c
             WHERE d.app = 2 AND d.alias IN (SELECT value FROM json_each('[\"user4999\"]')) AND c.app = 2 AND c.provider = 1
                 AND d.id > 0 AND d.id <= 100000 AND c.device = d.id ORDER BY d.id LIMIT 1000",
            &["steps for 1 rows", "does not search by alias: SEARCH d USING PRIMARY KEY (app=? AND id>?"],
        );
        // A device goes, and its channels with it: nothing of that stands in the plan.
        check(
            "DELETE FROM devices WHERE app = 2 AND id = 4999",
            &["steps for 0 rows"],
        );
        check(
            "DELETE FROM channels WHERE app = 2 AND device = 4999",
            &[
                "steps for 0 rows",
                "does not search by device: SEARCH channels USING PRIMARY KEY (app=?)",
            ],
        );
        // An alias that many share is sorted anew for each page.
        check(
            "SELECT d.id FROM devices AS d INDEXED BY devices_by_alias
             WHERE d.app = 2 AND d.alias IN ('user1', 'user2') ORDER BY d.id LIMIT 1",
            &["sorts: USE TEMP B-TREE FOR ORDER BY"],
        );
    }

    #[test]
    fn what_is_found_by_a_key_is_let_through() {
        for text in [
            "SELECT alias FROM devices WHERE app = 2 AND id = 4999",
            "SELECT id FROM devices INDEXED BY devices_by_alias WHERE app = 2 AND alias = 'user7' ORDER BY id",
            "SELECT device FROM channels WHERE app = 2 AND provider = 1 AND device > 70 ORDER BY device LIMIT 1000",
            "UPDATE devices SET alias = 'x', locale = 'y' WHERE app = 2 AND id = 7",
            "SELECT w.value, (SELECT c.token FROM channels AS c WHERE c.app = 2 AND c.provider = 1 AND c.device = w.value)
             FROM json_each('[1, 2, 3]') AS w",
            "INSERT INTO events (message, device, kind, at) SELECT 1, 1, 1, 1 WHERE 1 = 0",
            "SELECT max(id) FROM messages",
            "PRAGMA page_count",
        ] {
            check(text, &[]);
        }
    }

    #[test]
    fn an_excuse_holds_for_what_it_says_and_only_while_it_is_needed() {
        let all = "SELECT count(*) FROM devices WHERE locale IS NULL";
        let excuse = Excused {
            text: "FROM devices WHERE locale IS NULL",
            steps: 100_000,
            plan: &["SCAN devices"],
            why: "the test's",
        };
        assert_eq!(complaints_of(all, &[excuse]), Vec::<String>::new());
        let fewer = Excused {
            steps: 1000,
            ..excuse
        };
        assert_eq!(complaints_of(all, &[fewer]).len(), 1);
        let other = Excused {
            text: "FROM channels",
            ..excuse
        };
        // The steps, the scan, and the excuse that nobody needs.
        assert_eq!(complaints_of(all, &[other]).len(), 3);
    }
}
