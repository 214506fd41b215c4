//! What goes over the link as its callers see it: inboxes, the log, cursors and what they prove, on real SQLite files.

use std::path::Path;

use serde_json::json;
use tempfile::TempDir;
use tidings_model::{
    Audience, CustomMessage, DeviceId, Message, MsgId, Parts, Platform, Provider, Push,
    PushOptions, UnixMillis,
};
use tidings_store::limits::FINISH_GRACE;

use tidings_store::{
    ACKNOWLEDGED_LATE, Accepted, Ack, Acked, ChannelChange, Counts, Cursor, DeviceChange,
    DeviceEvent, Ending, EventKind, Journey, Judged, Ledger, LinkEnd, LinkPlan, LinkTask, LogEnd,
    NOT_ACKNOWLEDGED, NOT_CONNECTED, NewDevice, OpenWork, Position, SealKey, Step, Store, Stretch,
    TagChange, Turn,
};

use crate::support::{Stage, accept, apns, end_tasks, link, on_link, push, to, to_tags};

const SHOWN: Parts = Parts {
    message: false,
    notification: true,
};
const HANDED: Parts = Parts {
    message: true,
    notification: false,
};

impl Stage {
    async fn register(&self) -> DeviceId {
        let registered = self.store.register(on_link(self.app)).await;
        registered.expect("registered").id
    }

    async fn change(&self, device: DeviceId, change: DeviceChange) {
        let changed = self.store.change_device(self.app, device, change).await;
        changed.expect("changed").expect("known");
    }

    async fn accept(&self, push: Push) -> Message {
        accept(&self.store, self.app, push).await
    }

    /// Makes it an entry of the log, as if it were for many.
    async fn log(&self, message: &Message) -> Position {
        self.begin_log(message).await;
        self.count().await;
        self.store.log_end(self.app).await.expect("read")
    }

    async fn logged(&self, push: Push) -> (Message, Position) {
        let message = self.accept(push).await;
        let position = self.log(&message).await;
        (message, position)
    }

    /// Makes it an entry of the log, of whose devices none has been counted.
    async fn begin_log(&self, message: &Message) {
        let first = LinkTask {
            message: message.id,
            from: DeviceId(0),
            plan: LinkPlan::Log(message.clone().into(), vec![]),
            to: Some(DeviceId(1)),
        };
        let grown = self.store.route(self.app, vec![first]).await;
        assert!(grown.expect("logged"));
    }

    /// Counts the devices of what is in the log.
    async fn count(&self) {
        while self.take(Turn::Begun).await > 0 {}
    }

    /// Does what is found in one look, and returns for how many messages.
    async fn take(&self, turn: Turn) -> usize {
        let tasks = self.store.link_tasks(self.app, turn, MsgId(0), 10, 1000);
        let tasks = tasks.await.expect("read");
        let found = tasks.len();
        self.store.route(self.app, tasks).await.expect("routed");
        found
    }

    async fn waiting(&self, device: DeviceId) -> Vec<(MsgId, Parts)> {
        let waiting = self
            .store
            .inbox_after(self.app, device, Position(0), 10)
            .await;
        let waiting = waiting.expect("read").into_iter();
        waiting.map(|row| (row.message.id, row.parts)).collect()
    }

    async fn judge(&self, device: DeviceId, now: UnixMillis) -> Stretch {
        let after = self.cursor(device).await;
        let judge = self
            .store
            .judge_log(self.app, device, after, MsgId(0), now, 100);
        judge.await.expect("read").expect("known")
    }

    async fn cursor(&self, device: DeviceId) -> Position {
        let login = self.store.login(self.app, device).await;
        login.expect("read").expect("known").cursor
    }

    async fn say(&self, device: DeviceId, what: Acked) {
        let ack = Ack {
            app: self.app,
            device,
            platform: Platform::Android,
            what,
        };
        self.store.acknowledge(vec![ack]).await.expect("remembered");
    }

    async fn end(&self, device: DeviceId, (message, position): (&Message, Position), end: LinkEnd) {
        let ended = Some(LogEnd {
            end,
            message: message.id,
            position,
        });
        let passed = Cursor::to(position);
        self.say(device, Acked::Log { ended, passed }).await;
    }

    /// Ends a row of its inbox.
    async fn end_row(&self, device: DeviceId, message: &Message, parts: Parts, end: LinkEnd) {
        let message = message.id;
        let what = Acked::Inbox {
            end,
            message,
            parts,
        };
        self.say(device, what).await;
    }

    /// Everything of the message that other providers have to do is done, and its time is over.
    async fn finish(&self, message: &Message) -> Ledger {
        end_tasks(&self.store, message).await;
        let over = message.expires_at.plus(FINISH_GRACE);
        let finished = self.store.finish_expired(over).await;
        finished.expect("finished");
        let ledger = self.ledger(message).await;
        assert!(ledger.finished);
        ledger
    }

    async fn ledger(&self, message: &Message) -> Ledger {
        let ledger = self.store.ledger(self.app, message.id).await;
        ledger.expect("read").expect("known")
    }

    async fn total(&self, message: &Message) -> Counts {
        self.ledger(message).await.total()
    }

    async fn journey(&self, message: &Message, device: DeviceId) -> Journey {
        let journey = self.store.journey(self.app, message.id, device).await;
        journey.expect("read").expect("known")
    }
}

fn sent(stretch: &Stretch) -> Vec<(MsgId, Parts)> {
    let steps = stretch.steps.iter();
    let sent = steps.filter_map(|step| match step {
        Step::Missed(_) => None,
        Step::Send(_, message, parts) => Some((message.id, *parts)),
    });
    sent.collect()
}

fn missed(stretch: &Stretch) -> Vec<(Position, &str)> {
    let steps = stretch.steps.iter();
    let missed = steps.filter_map(|step| match step {
        Step::Missed(exception) => Some((exception.position, exception.reason.as_str())),
        Step::Send(..) => None,
    });
    missed.collect()
}

#[tokio::test]
async fn an_entry_has_a_position_of_its_own_so_that_no_cursor_has_passed_it() {
    let stage = Stage::new().await;
    let device = stage.register().await;
    let slow = stage.accept(push(Audience::All)).await;
    let (quick, position) = stage.logged(push(Audience::All)).await;
    stage
        .end(device, (&quick, position), LinkEnd::Delivered)
        .await;
    let later = stage.log(&slow).await;
    assert!(slow.id < quick.id && later > position);
    let now = UnixMillis::now();
    let stretch = stage.judge(device, now).await;
    assert_eq!(sent(&stretch), [(slow.id, SHOWN)]);
    stage.end(device, (&slow, later), LinkEnd::Delivered).await;
    assert!(stage.judge(device, now).await.steps.is_empty());
    for message in [slow, quick] {
        assert_eq!(stage.total(&message).await.delivered, 1);
    }
}

#[tokio::test]
async fn the_log_gives_no_custom_message_to_whoever_has_a_provider_that_has_it_first() {
    let stage = Stage::new().await;
    let huawei = ChannelChange {
        environment: None,
        provider: Provider::Huawei,
        token: Some("a".into()),
    };
    let both = NewDevice {
        channels: vec![huawei, link()],
        platform: Platform::Android,
        ..on_link(stage.app)
    };
    let both = stage.store.register(both).await.expect("registered").id;
    let only_link = stage.register().await;
    let custom = Push {
        message: Some(CustomMessage {
            content_type: None,
            extras: Default::default(),
            msg_content: json!("x"),
            shown_instead: None,
            title: None,
        }),
        notification: None,
        ..push(Audience::All)
    };
    let mut by_huawei = custom.clone();
    by_huawei.options.handed_by = [Provider::Huawei].into();
    let (by_link, _) = stage.logged(custom).await;
    let (handed, _) = stage.logged(by_huawei).await;
    let now = UnixMillis::now();
    for (device, expected) in [
        (both, vec![by_link.id]),
        (only_link, vec![by_link.id, handed.id]),
    ] {
        let stretch = stage.judge(device, now).await;
        let got = sent(&stretch).into_iter().map(|(message, parts)| {
            assert!(parts.message && !parts.notification);
            message
        });
        assert_eq!(got.collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn the_log_is_acknowledged_once_and_in_its_order() {
    let stage = Stage::new().await;
    let device = stage.register().await;
    let mut logged = Vec::new();
    for _ in 0..3 {
        logged.push(stage.logged(push(Audience::All)).await);
    }
    for index in [0, 1, 0, 1] {
        let (message, position) = &logged[index];
        stage
            .end(device, (message, *position), LinkEnd::Delivered)
            .await;
    }
    for (index, delivered) in [1, 1, 0].into_iter().enumerate() {
        let counts = stage.total(&logged[index].0).await;
        assert_eq!((counts.targeted, counts.delivered), (1, delivered));
    }
    assert_eq!(stage.cursor(device).await, logged[1].1);
}

#[tokio::test]
async fn a_device_is_judged_as_it_was_at_each_message() {
    let stage = Stage::new().await;
    let device = stage.register().await;
    let now = UnixMillis::now();
    let before_tag = stage.logged(push(to_tags(&["vip"]))).await;
    let tags = vec!["vip".parse().expect("a tag")];
    let change = DeviceChange {
        tags: Some(TagChange::Replace(tags)),
        ..DeviceChange::default()
    };
    stage.change(device, change).await;
    let with_tag = stage.logged(push(to_tags(&["vip"]))).await;
    // It registers for Apple's way while a message waits, and drops it after one that went by that.
    let change = |channels| DeviceChange {
        channels: Some(channels),
        ..DeviceChange::default()
    };
    stage
        .change(device, change(vec![link(), apns("aa", None)]))
        .await;
    let by_apple = stage.logged(push(to_tags(&["vip"]))).await;
    stage.change(device, change(vec![link()])).await;
    let by_link = stage.logged(push(Audience::All)).await;
    let stretch = stage.judge(device, now).await;
    assert_eq!(
        sent(&stretch),
        [(with_tag.0.id, SHOWN), (by_link.0.id, SHOWN)]
    );
    let targeted = async |message| {
        let tallies = stage.ledger(message).await.tallies;
        let link = tallies
            .iter()
            .find(|tally| tally.provider == Provider::Link);
        link.map_or(0, |tally| tally.counts.targeted)
    };
    assert_eq!(targeted(&before_tag.0).await, 0);
    assert_eq!(targeted(&with_tag.0).await, 1);
    assert_eq!(targeted(&by_apple.0).await, 0);
}

#[tokio::test]
async fn what_was_not_acknowledged_is_an_exception_with_its_reason_and_counts_as_that() {
    let stage = Stage::new().await;
    let device = stage.register().await;
    let witness = stage.register().await;
    let refused = stage.logged(push(Audience::All)).await;
    let large = stage.logged(push(Audience::All)).await;
    let online_only = Push {
        options: PushOptions {
            time_to_live: 0,
            ..PushOptions::default()
        },
        ..push(Audience::All)
    };
    let now_only = stage.logged(online_only).await;
    let expired = stage.logged(push(Audience::All)).await;
    let arrived = stage.logged(push(Audience::All)).await;

    let ends = [
        (&refused, LinkEnd::Refused(0x87)),
        (&large, LinkEnd::TooLarge),
    ];
    for ((message, position), end) in ends {
        stage.end(device, (message, *position), end).await;
    }
    // It comes back when one was only for those who were there and another is over.
    let over = expired.0.expires_at;
    let after = stage.cursor(device).await;
    let joined = arrived.0.id;
    let judge = stage
        .store
        .judge_log(stage.app, device, after, joined, over, 100);
    let stretch = judge.await.expect("read").expect("known");
    assert_eq!(
        missed(&stretch)[..2],
        [(now_only.1, "NotConnected"), (expired.1, "NotAcknowledged")]
    );
    let mut passed = Cursor::default();
    for step in &stretch.steps[..2] {
        let Step::Missed(exception) = step else {
            panic!("{step:?}")
        };
        passed.pass(Cursor {
            exceptions: vec![exception.clone()],
            ..Cursor::to(exception.position)
        });
    }
    let ended = None;
    stage.say(device, Acked::Log { ended, passed }).await;
    stage
        .end(device, (&arrived.0, arrived.1), LinkEnd::Delivered)
        .await;

    let expected = [
        (&refused, Ending::Dropped, "Refused0x87"),
        (&large, Ending::Dropped, "TooLargeForDevice"),
        (&now_only, Ending::Expired, "NotConnected"),
        (&expired, Ending::Expired, "NotAcknowledged"),
    ];
    for ((message, position), ending, reason) in expected {
        let cursor = stage.journey(message, device).await.link.cursor;
        let cursor = cursor.expect("on the link");
        let Judged::Exception(told, why, _) = cursor.at(*position) else {
            panic!("{reason}: {cursor:?}")
        };
        assert_eq!((told, why.as_str()), (ending, reason));
        let ledger = stage.finish(message).await;
        let counts = ledger.total();
        // The witness has never come.
        let of_device = match ending {
            Ending::Dropped => (counts.dropped, counts.expired) == (1, 1),
            _ => (counts.dropped, counts.expired) == (0, 2),
        };
        assert!(of_device, "{reason}: {counts:?}");
        assert_eq!(counts.targeted, 2);
        let told = ledger.reasons.iter();
        let mut told = told.map(|(_, ending, reason, _)| (*ending, reason.as_str()));
        assert!(told.any(|told| told == (ending, reason)));
    }
    let cursor = stage.journey(&arrived.0, device).await.link.cursor;
    assert_eq!(cursor.expect("on the link").at(arrived.1), Judged::Passed);
    let cursor = stage.journey(&arrived.0, witness).await.link.cursor;
    assert_eq!(cursor.expect("on the link").at(arrived.1), Judged::NotYet);
    let counts = stage.total(&large.0).await;
    assert_eq!(counts.sent, 0, "what is too large does not leave");
    assert_eq!(stage.total(&refused.0).await.sent, 1);
}

#[tokio::test]
async fn what_ends_before_an_older_one_counts_once_and_the_older_one_is_owed() {
    let stage = Stage::new().await;
    let device = stage.register().await;
    let silent = stage.logged(push(Audience::All)).await;
    let taken = stage.logged(push(Audience::All)).await;
    let refused = stage.logged(push(Audience::All)).await;
    let ended = async |(message, position): &(Message, Position), end| {
        let ended = LogEnd {
            end,
            message: message.id,
            position: *position,
        };
        let passed = Cursor {
            owed: vec![silent.1],
            ..Cursor::to(*position)
        };
        for _ in 0..2 {
            let (ended, passed) = (Some(ended.clone()), passed.clone());
            stage.say(device, Acked::Log { ended, passed }).await;
        }
    };
    ended(&taken, LinkEnd::Delivered).await;
    ended(&refused, LinkEnd::Refused(0x97)).await;
    let login = stage.store.login(stage.app, device).await.expect("read");
    let login = login.expect("known");
    assert_eq!((login.cursor, login.owed), (refused.1, vec![silent.1]));
    let judge = async |device, owed: &[Position]| {
        let (now, owed) = (UnixMillis::now(), owed.to_vec());
        let judge = stage
            .store
            .judge_owed(stage.app, device, owed, MsgId(0), now);
        judge.await.expect("read").expect("known")
    };
    let owed = judge(device, &[silent.1]).await;
    assert!(matches!(&owed[..], [Step::Send(_, message, _)] if message.id == silent.0.id));
    let gone = judge(device, &[Position(silent.1.0 + 1)]).await;
    assert!(matches!(&gone[..], [Step::Missed(_)]));
    // And again, from a connection that did not know.
    stage
        .end(device, (&taken.0, taken.1), LinkEnd::Delivered)
        .await;
    let ends = async |(message, _): &(Message, Position)| {
        let counts = stage.total(message).await;
        (counts.delivered, counts.dropped)
    };
    assert_eq!(ends(&silent).await, (0, 0));
    assert_eq!(ends(&taken).await, (1, 0));
    assert_eq!(ends(&refused).await, (0, 1));
    let deleted = stage.store.delete_device(stage.app, device).await;
    assert!(deleted.expect("deleted"));
    while stage.store.sweep().await.expect("swept").more {}
    assert_eq!(ends(&silent).await, (0, 1));
    assert_eq!(ends(&refused).await, (0, 1), "it had ended before");
}

#[tokio::test]
async fn of_many_exceptions_the_oldest_are_not_known_any_more() {
    let stage = Stage::new().await;
    let device = stage.register().await;
    let mut logged = Vec::new();
    for _ in 0..70 {
        logged.push(stage.logged(push(Audience::All)).await);
    }
    for (message, position) in &logged {
        stage
            .end(device, (message, *position), LinkEnd::Refused(0x97))
            .await;
    }
    let cursor = stage.journey(&logged[0].0, device).await.link.cursor;
    let cursor = cursor.expect("on the link");
    for (index, (_, position)) in logged.iter().enumerate() {
        let judged = cursor.at(*position);
        match index {
            ..6 => assert_eq!(judged, Judged::Forgotten, "{index}"),
            _ => assert!(
                matches!(judged, Judged::Exception(..)),
                "{index}: {judged:?}"
            ),
        }
    }
}

#[tokio::test]
async fn an_acknowledgement_on_its_way_counts_and_a_late_one_moves_no_count() {
    let stage = Stage::new().await;
    let (prompt, slow) = (stage.register().await, stage.register().await);
    let (logged, position) = stage.logged(push(Audience::All)).await;
    let waiting = stage.accept(push(to(&[prompt, slow]))).await;
    for device in [prompt, slow] {
        assert_eq!(stage.waiting(device).await, [(waiting.id, SHOWN)]);
    }
    // The time is over, the grace is not.
    let finished = stage.store.finish_expired(waiting.expires_at).await;
    assert_eq!(finished.expect("finished"), 0);
    assert!(!stage.ledger(&waiting).await.finished);
    stage
        .end(prompt, (&logged, position), LinkEnd::Delivered)
        .await;
    stage
        .end_row(prompt, &waiting, SHOWN, LinkEnd::Delivered)
        .await;

    for message in [&logged, &waiting] {
        let counts = stage.finish(message).await.total();
        let found = (counts.targeted, counts.delivered, counts.expired);
        assert_eq!(found, (2, 1, 1));
    }
    stage
        .end(slow, (&logged, position), LinkEnd::Delivered)
        .await;
    stage
        .end_row(slow, &waiting, SHOWN, LinkEnd::Delivered)
        .await;
    for message in [&logged, &waiting] {
        let counts = stage.total(message).await;
        let found = (counts.targeted, counts.delivered, counts.expired);
        assert_eq!(found, (2, 1, 1), "no count falls, and none is too many");
    }
    let cursor = stage.journey(&logged, slow).await.link.cursor;
    let cursor = cursor.expect("on the link");
    let Judged::Exception(ending, reason, _) = cursor.at(position) else {
        panic!("{cursor:?}")
    };
    assert_eq!((ending, reason), (Ending::Expired, &ACKNOWLEDGED_LATE));
    let rows = stage.journey(&waiting, slow).await.link.rows;
    let (ending, reason, _) = rows[0].end.clone().expect("ended");
    assert_eq!((ending, reason), (Ending::Expired, Some(ACKNOWLEDGED_LATE)));
}

#[tokio::test]
async fn whoever_has_not_acknowledged_has_expired_when_a_message_is_finished() {
    let stage = Stage::new().await;
    for _ in 0..3 {
        stage.register().await;
    }
    let online_only = Push {
        options: PushOptions {
            time_to_live: 0,
            ..PushOptions::default()
        },
        ..push(Audience::All)
    };
    for (push, reason) in [
        (push(Audience::All), NOT_ACKNOWLEDGED),
        (online_only, NOT_CONNECTED),
    ] {
        let (message, _) = stage.logged(push).await;
        let ledger = stage.finish(&message).await;
        assert_eq!((ledger.total().targeted, ledger.total().expired), (3, 3));
        assert_eq!(
            ledger.reasons,
            [(Provider::Link, Ending::Expired, reason, 3)]
        );
    }
}

#[tokio::test]
async fn the_size_of_an_audience_decides_and_not_its_kind() {
    let stage = Stage::new().await;
    let vip = NewDevice {
        tags: vec!["vip".parse().expect("a tag")],
        ..on_link(stage.app)
    };
    let vip = stage.store.register(vip).await.expect("registered").id;
    let both = NewDevice {
        channels: vec![link(), apns("aa", None)],
        platform: Platform::Ios,
        ..on_link(stage.app)
    };
    let both = stage.store.register(both).await.expect("registered").id;
    let custom = CustomMessage {
        content_type: None,
        extras: Default::default(),
        msg_content: json!("x"),
        shown_instead: None,
        title: None,
    };
    let to_all = stage
        .accept(Push {
            message: Some(custom),
            ..push(Audience::All)
        })
        .await;
    let to_vip = stage.accept(push(to_tags(&["vip"]))).await;
    let to_none = stage.accept(push(to_tags(&["nobody"]))).await;
    let plans = async || {
        // One look takes in as many as it has time for.
        let (mut tasks, mut after) = (Vec::new(), MsgId(0));
        loop {
            let look = stage
                .store
                .link_tasks(stage.app, Turn::Fresh, after, 10, 1000);
            let look = look.await.expect("read");
            let Some(last) = look.last() else {
                break;
            };
            after = last.message;
            tasks.extend(look);
        }
        let plans = tasks.into_iter().map(|task| match task.plan {
            LinkPlan::Inboxes(rows) => {
                let rows = rows.into_iter().map(|(device, _, parts)| (device, parts));
                (task.message, Some(rows.collect::<Vec<_>>()))
            }
            LinkPlan::Log(message, counted) => {
                assert_eq!((message.id, counted[0].1), (task.message, 1001));
                (task.message, None)
            }
            LinkPlan::Undecided => panic!("it is to be seen in one look"),
        });
        plans.collect::<Vec<_>>()
    };
    let all_parts = Parts {
        message: true,
        notification: true,
    };
    assert_eq!(
        plans().await,
        [
            (to_all.id, Some(vec![(vip, all_parts), (both, HANDED)])),
            (to_vip.id, Some(vec![(vip, SHOWN)])),
            (to_none.id, Some(vec![])),
        ]
    );
    let many = (0..1000).map(|_| on_link(stage.app)).collect();
    stage.store.register_all(many).await.expect("registered");
    let to_many = stage.accept(push(Audience::All)).await;
    let (last, plan) = plans().await.pop().expect("a task");
    assert_eq!((last, plan), (to_many.id, None));
}

#[tokio::test]
async fn a_message_goes_to_inboxes_or_to_the_log_once() {
    let stage = Stage::new().await;
    let device = stage.register().await;
    let message = stage.accept(push(Audience::All)).await;
    let task = |plan| LinkTask {
        message: message.id,
        from: DeviceId(0),
        plan,
        to: None,
    };
    let of = (device, Platform::Android);
    for plan in [
        LinkPlan::Inboxes(vec![(of.0, of.1, SHOWN)]),
        LinkPlan::Inboxes(vec![(of.0, of.1, HANDED)]),
        LinkPlan::Log(message.clone().into(), vec![(of.1, 1)]),
    ] {
        let grown = stage.store.route(stage.app, vec![task(plan)]).await;
        assert!(!grown.expect("asked"));
    }
    assert_eq!(stage.total(&message).await.targeted, 1);
    assert_eq!(stage.waiting(device).await, [(message.id, SHOWN)]);
    for _ in 0..2 {
        stage
            .end_row(device, &message, SHOWN, LinkEnd::Delivered)
            .await;
    }
    assert_eq!(stage.waiting(device).await, []);
    assert_eq!(stage.total(&message).await.delivered, 1);
}

#[tokio::test]
async fn what_is_in_the_log_is_counted_in_slices_while_devices_have_it_already() {
    let stage = Stage::new().await;
    let mut devices = Vec::new();
    for _ in 0..5 {
        devices.push(stage.register().await);
    }
    let (prompt, quick) = (devices[0], devices[4]);
    let message = stage.accept(push(Audience::All)).await;
    stage.begin_log(&message).await;
    let position = stage.store.log_end(stage.app).await.expect("read");
    let sent = sent(&stage.judge(quick, UnixMillis::now()).await);
    assert_eq!(sent, [(message.id, SHOWN)]);
    for device in [quick, prompt] {
        stage
            .end(device, (&message, position), LinkEnd::Delivered)
            .await;
    }
    let targeted_and_delivered = async |stage: &Stage| {
        let counts = stage.total(&message).await;
        (counts.targeted, counts.delivered)
    };
    assert_eq!(targeted_and_delivered(&stage).await, (2, 2));
    // Nothing is over before all have been counted.
    let over = message.expires_at.plus(FINISH_GRACE);
    let finished = stage.store.finish_expired(over).await;
    assert_eq!(finished.expect("asked"), 0);
    let slice = |from, to| LinkTask {
        message: message.id,
        from,
        plan: LinkPlan::Log(message.clone().into(), vec![(Platform::Android, 3)]),
        to: Some(to),
    };
    for _ in 0..2 {
        // Told twice, it counts once.
        let first = slice(DeviceId(1), devices[2]);
        let grown = stage.store.route(stage.app, vec![first]).await;
        assert!(!grown.expect("counted"), "it is in the log already");
    }
    assert_eq!(targeted_and_delivered(&stage).await, (3, 2));
    assert!(!stage.ledger(&message).await.dispatched);

    let stage = stage.reopened();
    stage.count().await;
    let ledger = stage.ledger(&message).await;
    assert!(ledger.dispatched);
    assert_eq!(targeted_and_delivered(&stage).await, (5, 2));
    let ledger = stage.finish(&message).await;
    let total = ledger.total();
    let ended = (total.targeted, total.delivered, total.expired);
    assert_eq!(ended, (5, 2, 3));
}

#[tokio::test]
async fn what_is_being_counted_keeps_no_other_message_from_its_turn() {
    let stage = Stage::new().await;
    let device = stage.register().await;
    for _ in 0..300 {
        let message = stage.accept(push(Audience::All)).await;
        stage.begin_log(&message).await;
    }
    let last = stage.accept(push(Audience::All)).await;
    let app = stage.app;
    let next = stage
        .store
        .link_tasks(app, Turn::Fresh, MsgId(0), 1, 1000)
        .await;
    let next = next.expect("read");
    assert_eq!(next[0].message, last.id);
    stage.store.route(app, next).await.expect("routed");
    assert_eq!(stage.waiting(device).await, [(last.id, SHOWN)]);
}

#[tokio::test]
async fn a_push_to_few_that_are_named_is_in_their_inboxes_when_it_is_accepted() {
    let stage = Stage::new().await;
    let (device, other) = (stage.register().await, stage.register().await);
    let custom = CustomMessage {
        content_type: None,
        extras: Default::default(),
        msg_content: json!("x"),
        shown_instead: None,
        title: None,
    };
    let both = NewDevice {
        channels: vec![link(), apns("aa", None)],
        platform: Platform::Ios,
        ..on_link(stage.app)
    };
    let both = stage.store.register(both).await.expect("registered").id;
    let message = Push {
        message: Some(custom),
        ..push(to(&[both, device]))
    };
    let message = stage.accept(message).await;
    let all_parts = Parts {
        message: true,
        notification: true,
    };
    assert_eq!(stage.waiting(device).await, [(message.id, all_parts)]);
    assert_eq!(stage.waiting(both).await, [(message.id, HANDED)]);
    assert_eq!(stage.waiting(other).await, []);
    let OpenWork { tasks, .. } = stage.store.open_work(None).await.expect("read");
    assert_eq!(tasks, [], "nothing of it is left to be done");
    let targeted = stage.ledger(&message).await.tallies.into_iter();
    let by_link = targeted.filter(|tally| tally.provider == Provider::Link);
    let by_link: u64 = by_link.map(|tally| tally.counts.targeted).sum();
    assert_eq!(by_link, 2);
}

#[tokio::test]
async fn the_log_is_read_in_stretches_and_what_is_not_for_the_device_is_passed() {
    let stage = Stage::new().await;
    let device = stage.register().await;
    for _ in 0..10 {
        stage.logged(push(to_tags(&["others"]))).await;
    }
    let own = stage.logged(push(Audience::All)).await;
    let last = stage.logged(push(to_tags(&["others"]))).await;
    let stretch = stage.judge(device, UnixMillis::now()).await;
    assert_eq!(sent(&stretch), [(own.0.id, SHOWN)]);
    assert_eq!((stretch.to, stretch.more), (last.1, false));
    // What was judged moves the cursor, and counts nothing.
    stage.end(device, (&own.0, own.1), LinkEnd::Delivered).await;
    let (ended, passed) = (None, Cursor::to(stretch.to));
    stage.say(device, Acked::Log { ended, passed }).await;
    assert_eq!(stage.cursor(device).await, last.1);
    let counts = stage.total(&last.0).await;
    assert_eq!((counts.targeted, counts.delivered), (0, 0));
}

#[tokio::test]
async fn an_event_is_recorded_where_the_message_went_and_only_for_whom_it_was() {
    let stage = Stage::new().await;
    let both = NewDevice {
        channels: vec![link(), apns("aa", None)],
        platform: Platform::Ios,
        ..on_link(stage.app)
    };
    let both = stage.store.register(both).await.expect("registered").id;
    let other = stage.register().await;
    let custom = CustomMessage {
        content_type: None,
        extras: Default::default(),
        msg_content: json!("x"),
        shown_instead: None,
        title: None,
    };
    let custom = Push {
        message: Some(custom),
        notification: None,
        ..push(to(&[both]))
    };
    let (custom, shown) = (
        stage.accept(custom).await,
        stage.accept(push(to(&[both]))).await,
    );
    let later = stage.register().await;
    let opened = async |device, platform, message: &Message| {
        let event = DeviceEvent {
            kind: EventKind::Opened,
            message: message.id,
        };
        let added = stage
            .store
            .add_events(stage.app, device, platform, vec![event])
            .await;
        added.expect("added")
    };
    for message in [&custom, &shown] {
        for device in [other, later] {
            assert_eq!(opened(device, Platform::Android, message).await, 0);
        }
        assert_eq!(opened(both, Platform::Ios, message).await, 1);
        assert_eq!(opened(both, Platform::Ios, message).await, 0);
    }
    for (message, provider) in [(&custom, Provider::Link), (&shown, Provider::Apns)] {
        let tallies = stage.ledger(message).await.tallies;
        let opened = tallies.iter().filter(|tally| tally.counts.opened > 0);
        let opened: Vec<_> = opened
            .map(|tally| (tally.provider, tally.counts.opened))
            .collect();
        assert_eq!(opened, [(provider, 1)]);
    }
}

#[tokio::test]
async fn what_of_the_log_a_deleted_device_has_not_acknowledged_is_dropped() {
    let stage = Stage::new().await;
    let (gone, stays) = (stage.register().await, stage.register().await);
    let taken = stage.logged(push(Audience::All)).await;
    let waiting = stage.logged(push(Audience::All)).await;
    let over = stage.logged(push(Audience::All)).await;
    let later = stage.accept(push(Audience::All)).await;
    stage
        .end(gone, (&taken.0, taken.1), LinkEnd::Delivered)
        .await;
    let deleted = stage.store.delete_device(stage.app, gone).await;
    assert!(deleted.expect("deleted"));
    // One whose turn comes only now was for the device, too.
    stage.log(&later).await;
    for message in [&taken.0, &waiting.0, &over.0, &later] {
        end_tasks(&stage.store, message).await;
    }
    while stage.store.sweep().await.expect("swept").more {}
    let ends = async |message| {
        let counts = stage.total(message).await;
        (counts.targeted, counts.delivered, counts.dropped)
    };
    assert_eq!(ends(&taken.0).await, (2, 1, 0));
    for message in [&waiting.0, &over.0, &later] {
        assert_eq!(ends(message).await, (2, 0, 1));
        let reasons = stage.ledger(message).await.reasons;
        assert_eq!(reasons[0].2.as_str(), "device_deleted");
    }
    let counts = stage.finish(&later).await.total();
    assert_eq!((counts.dropped, counts.expired), (1, 1));
    let stretch = stage.judge(stays, UnixMillis(0)).await;
    assert_eq!(sent(&stretch).len(), 4);
}

/// What an iPhone that gives the link up says.
fn only_apns() -> DeviceChange {
    DeviceChange {
        channels: Some(vec![apns("aa", None)]),
        ..DeviceChange::default()
    }
}

fn link_and_apns() -> DeviceChange {
    DeviceChange {
        channels: Some(vec![link(), apns("aa", None)]),
        ..DeviceChange::default()
    }
}

#[tokio::test]
async fn what_waits_for_a_device_that_gives_the_link_up_ends_with_the_reason() {
    let stage = Stage::new().await;
    let (left, stays) = (stage.register().await, stage.register().await);
    let taken = stage.accept(push(to(&[left]))).await;
    let kept = stage.accept(push(to(&[left, stays]))).await;
    let passed = stage.logged(push(Audience::All)).await;
    let owed = stage.logged(push(Audience::All)).await;
    let last = stage.logged(push(Audience::All)).await;
    let open = stage.logged(push(Audience::All)).await;
    stage.end_row(left, &taken, SHOWN, LinkEnd::Delivered).await;
    stage
        .end(left, (&passed.0, passed.1), LinkEnd::Delivered)
        .await;
    let ended = Some(LogEnd {
        end: LinkEnd::Delivered,
        message: last.0.id,
        position: last.1,
    });
    let passed_with = Cursor {
        owed: vec![owed.1],
        ..Cursor::to(last.1)
    };
    let said = Acked::Log {
        ended,
        passed: passed_with,
    };
    stage.say(left, said).await;
    // The turn of this one comes when the link has been given up already.
    let late = stage.accept(push(Audience::All)).await;
    stage.change(left, only_apns()).await;
    assert!(!stage.store.sweep().await.expect("swept").more);
    assert_eq!(stage.total(&kept).await.dropped, 0, "one is still to come");
    let late = (late.clone(), stage.log(&late).await);
    while stage.store.sweep().await.expect("swept").more {}

    let is_dropped = async |message: &Message, delivered, targeted| {
        let counts = stage.total(message).await;
        let found = (counts.targeted, counts.delivered, counts.dropped);
        assert_eq!(found, (targeted, delivered, 1));
        let reasons = stage.ledger(message).await.reasons;
        assert_eq!(reasons[0].2.as_str(), "replaced");
    };
    is_dropped(&kept, 0, 2).await;
    let row = stage.journey(&kept, left).await.link.rows.remove(0);
    let (ending, reason, _) = row.end.expect("it has ended");
    assert_eq!(
        (ending, reason.expect("a reason").as_str()),
        (Ending::Dropped, "replaced")
    );
    for (message, position) in [&owed, &open, &late] {
        is_dropped(message, 0, 2).await;
        let cursor = stage.journey(message, left).await.link.cursor.expect("one");
        let Judged::Exception(Ending::Dropped, reason, _) = cursor.at(*position) else {
            panic!("{:?}", cursor.at(*position))
        };
        assert_eq!(reason.as_str(), "replaced");
    }
    for message in [&taken, &passed.0, &last.0] {
        let counts = stage.total(message).await;
        assert_eq!((counts.delivered, counts.dropped), (1, 0));
    }

    // An acknowledgement that was on its way, and a second look, change nothing.
    stage.end_row(left, &kept, SHOWN, LinkEnd::Delivered).await;
    for (message, position) in [&owed, &open] {
        stage
            .end(left, (message, *position), LinkEnd::Delivered)
            .await;
    }
    while stage.store.sweep().await.expect("swept").more {}
    for message in [&kept, &owed.0, &open.0] {
        is_dropped(message, 0, 2).await;
    }
    // With the link again it gets what is new, and nothing of this.
    stage.change(left, link_and_apns()).await;
    assert_eq!(stage.waiting(left).await, []);
    assert_eq!(sent(&stage.judge(left, UnixMillis(0)).await), []);
    let counts = stage.finish(&kept).await.total();
    assert_eq!((counts.dropped, counts.expired), (1, 1));
}

#[tokio::test]
async fn whoever_has_the_link_again_before_it_was_ended_gets_what_waited() {
    let stage = Stage::new().await;
    let device = stage.register().await;
    let row = stage.accept(push(to(&[device]))).await;
    let (logged, _) = stage.logged(push(Audience::All)).await;
    stage.change(device, only_apns()).await;
    stage.change(device, link_and_apns()).await;
    while stage.store.sweep().await.expect("swept").more {}
    assert_eq!(stage.waiting(device).await, [(row.id, SHOWN)]);
    let stretch = stage.judge(device, UnixMillis(0)).await;
    assert_eq!(sent(&stretch), [(logged.id, SHOWN)]);
}

#[tokio::test]
async fn what_waits_for_a_device_whose_token_moved_ends_as_that() {
    let stage = Stage::new().await;
    let device = stage.register().await;
    stage.change(device, link_and_apns()).await;
    let mut custom = push(Audience::All);
    custom.message = Some(CustomMessage {
        content_type: None,
        extras: serde_json::Map::new(),
        msg_content: "hi".into(),
        shown_instead: None,
        title: None,
    });
    custom.notification = None;
    let (logged, _) = stage.logged(custom).await;
    let other = stage.register().await;
    stage.change(other, only_apns()).await;
    let stage = stage.reopened();
    while stage.store.sweep().await.expect("swept").more {}
    let ledger = stage.ledger(&logged).await;
    assert_eq!(ledger.total().dropped, 1);
    assert_eq!(ledger.reasons[0].2.as_str(), "moved");
}

#[tokio::test]
async fn a_device_that_is_deleted_when_it_has_lost_the_link_ends_once() {
    let stage = Stage::new().await;
    let device = stage.register().await;
    let row = stage.accept(push(to(&[device]))).await;
    let (logged, _) = stage.logged(push(Audience::All)).await;
    stage.change(device, only_apns()).await;
    let deleted = stage.store.delete_device(stage.app, device).await;
    assert!(deleted.expect("deleted"));
    for message in [&row, &logged] {
        end_tasks(&stage.store, message).await;
    }
    while stage.store.sweep().await.expect("swept").more {}
    for message in [&row, &logged] {
        let ledger = stage.ledger(message).await;
        assert_eq!(ledger.total().dropped, 1);
        assert_eq!(ledger.reasons[0].2.as_str(), "device_deleted");
    }
}

/// The database of the binary before positions: its cursors stand on message ids.
#[tokio::test]
async fn what_the_first_binary_left_is_read_on() {
    let dir = TempDir::new().expect("a directory");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/first");
    std::fs::copy(fixture.join("tidings.db"), dir.path().join("tidings.db")).expect("copied");
    let key = std::fs::read_to_string(fixture.join("seal.key")).expect("a key");
    let key = SealKey::parse(key.trim()).expect("a key");
    let told = std::fs::read_to_string(fixture.join("fixture.json")).expect("told");
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    let device = |name: &str| -> DeviceId {
        let id = told[name]["registration_id"].as_str().expect("an id");
        id.parse().expect("an id")
    };
    let message = |name: &str| -> MsgId {
        let id = told["ids"][name].as_str().expect("an id");
        id.parse().expect("an id")
    };
    let store = Store::open(dir.path(), key).expect("opens");
    let key = told["app"]["app_key"].as_str().expect("a key");
    let app = store.app(key.parse().expect("a key")).await;
    let app = app.expect("read").expect("known").id;
    let reads = async |device| {
        let login = store.login(app, device).await.expect("read");
        let after = login.expect("known").cursor;
        let now = UnixMillis(0);
        let judge = store.judge_log(app, device, after, MsgId(0), now, 100);
        let stretch = judge.await.expect("read").expect("known");
        let inbox = store.inbox_after(app, device, Position(0), 100).await;
        let inbox = inbox.expect("read").into_iter();
        let inbox: Vec<_> = inbox
            .map(|waiting| (waiting.message.id, waiting.parts))
            .collect();
        (sent(&stretch), inbox)
    };
    let (vip, ann) = ((message("tag_vip"), SHOWN), (message("alias_ann"), SHOWN));
    // It has acknowledged the first broadcast, and has yet to come for two.
    assert_eq!(reads(device("link")).await, (vec![vip], vec![ann]));
    let broadcast = (message("settled"), SHOWN);
    assert_eq!(reads(device("away")).await, (vec![broadcast, vip], vec![]));
    assert_eq!(reads(device("both")).await, (vec![], vec![]));
    // What the old cursor has passed is not known.
    let journey = store.journey(app, message("settled"), device("link")).await;
    let standing = journey.expect("read").expect("known").link;
    let (position, cursor) = (standing.position, standing.cursor);
    assert_eq!(position, Some(Position(message("settled").0)));
    assert_eq!(
        cursor
            .expect("on the link")
            .at(Position(message("settled").0)),
        Judged::Forgotten
    );
    let acked = store
        .journey(app, message("acked_alias"), device("both"))
        .await;
    assert!(acked.expect("read").is_some());
    // And new ones come after all of it.
    let accepted = store.accept(app, push(Audience::All), None).await;
    let Accepted::New(new) = accepted.expect("accepted") else {
        panic!("no cid was given")
    };
    let task = LinkTask {
        message: new.id,
        from: DeviceId(0),
        plan: LinkPlan::Log(new.clone().into(), vec![]),
        to: None,
    };
    assert!(store.route(app, vec![task]).await.expect("logged"));
    let (log, _) = reads(device("link")).await;
    assert_eq!(log, [vip, (new.id, SHOWN)]);
}
