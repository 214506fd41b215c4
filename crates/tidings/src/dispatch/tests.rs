use tempfile::TempDir;
use tidings_link::LinkConfig;
use tidings_model::{
    Audience, Environment, Message, MsgId, Notification, Platform, PlatformSet, Push, PushOptions,
    UnixMillis,
};
use tidings_store::{Accepted, ChannelChange, Ledger, NewDevice, Room, SealKey};

use super::cut::Appetite;
use super::*;

const LANE: LaneKey = LaneKey {
    app: AppId(1),
    provider: Provider::Apns,
    environment: Some(Environment::Production),
};

/// Lanes of a store in which there is nothing to do.
async fn lanes() -> (TempDir, Lanes) {
    let dir = TempDir::new().expect("a directory");
    let seal = SealKey::parse(&"0a".repeat(32)).expect("a key");
    let store = Arc::new(Store::open(dir.path(), seal).expect("opens"));
    let (uplinks, _) = mpsc::channel(1);
    let any = "127.0.0.1:0".parse().expect("an address");
    let link = Link::bind(any, Arc::clone(&store), LinkConfig::default(), uplinks).await;
    let (_, draining) = watch::channel(None);
    let context = Context {
        clock: SteadyClock::new(),
        inbox_max: 1000,
        link: link.expect("listens"),
        sandbox: HashMap::new(),
        store,
    };
    (dir, Lanes::new(context, draining))
}

impl Lanes {
    async fn next_ended(&mut self) -> bool {
        let ended = self.running.join_next_with_id().await;
        self.ended(ended.expect("something runs"))
    }
}

#[tokio::test]
async fn a_lane_that_panics_is_started_again_once() {
    let (_dir, mut lanes) = lanes().await;
    lanes.lanes.insert(LANE, Arc::default());
    let panics = lanes.running.spawn(async { panic!("poison") });
    lanes.tasks.insert(panics.id(), Task::Lane(LANE));
    lanes.wake_lane(LANE);
    assert_eq!(lanes.running.len(), 1, "it runs, as far as is known");
    assert!(!lanes.next_ended().await);
    assert!(lanes.lanes.is_empty() && lanes.tasks.is_empty());
    for _ in 0..2 {
        lanes.wake_lane(LANE);
        lanes.wake_task(LANE.app, LANE.provider);
    }
    assert_eq!(lanes.running.len(), 2, "one lane, and one that cuts for it");
}

#[tokio::test]
async fn a_forgotten_app_has_no_lanes_any_more() {
    let (_dir, mut lanes) = lanes().await;
    lanes.wake_lane(LANE);
    lanes.told(&mut vec![Command::AppForgotten(LANE.app)]).await;
    assert!(lanes.next_ended().await);
    lanes.wake_lane(LANE);
    lanes.wake_task(LANE.app, LANE.provider);
    assert!(lanes.running.is_empty());
}

/// An app with an iPhone, and pushes to all of it that are accepted and not cut.
pub(super) struct Waiting {
    pub(super) cutter: Cutter,
    dir: TempDir,
    drain: watch::Sender<Option<Instant>>,
    key: LaneKey,
    lanes: Lanes,
    pub(super) messages: Vec<MsgId>,
    pub(super) store: Arc<Store>,
    pub(super) suspects: Arc<Suspects>,
}

impl Waiting {
    pub(super) async fn new(count: usize) -> Self {
        let (dir, lanes) = lanes().await;
        let store = Arc::clone(&lanes.context.store);
        let app = store.create_app("test".into()).await.expect("an app").0.id;
        let token = ChannelChange {
            environment: None,
            provider: Provider::Apns,
            token: Some("aa".repeat(32)),
        };
        let iphone = NewDevice {
            alias: None,
            app,
            app_version: None,
            channels: vec![token],
            locale: None,
            platform: Platform::Ios,
            proof: None,
            tags: vec![],
            time_zone: None,
        };
        store.register(iphone).await.expect("registered");
        let mut messages = Vec::new();
        for _ in 0..count {
            messages.push(accept(&store, app).await.id);
        }
        let key = LaneKey { app, ..LANE };
        let cutter = Cutter {
            app,
            context: Arc::clone(&lanes.context),
            draining: lanes.draining.clone(),
            failed: None,
            provider: key.provider,
            signal: Arc::default(),
            wakes: Arc::default(),
        };
        Self {
            cutter,
            dir,
            drain: watch::channel(None).0,
            key,
            lanes,
            messages,
            store,
            suspects: Arc::default(),
        }
    }

    /// A lane for it, without a credential.
    pub(super) fn lane(&self) -> Lane {
        Lane::new(
            Arc::clone(&self.cutter.context),
            self.key,
            Arc::default(),
            Arc::default(),
            Arc::default(),
            Arc::clone(&self.suspects),
            self.drain.subscribe(),
        )
    }

    pub(super) async fn ledger(&self, message: MsgId) -> Ledger {
        let ledger = self.store.ledger(self.key.app, message).await;
        ledger.expect("read").expect("known")
    }

    /// Makes of the database what nobody of ours makes of it.
    pub(super) fn damage(&self, statement: &str) {
        let sql = rusqlite::Connection::open(self.dir.path().join("tidings.db")).expect("opens");
        sql.execute_batch(statement).expect("damaged");
    }

    /// The messages that have a page.
    async fn cut(&self) -> Vec<MsgId> {
        self.lease(Duration::from_secs(60)).await
    }

    /// The messages of the pages that are ready, which are out for so long.
    async fn lease(&self, duration: Duration) -> Vec<MsgId> {
        let room = Room {
            long: 1000,
            pages: 100,
            short: 1000,
        };
        let leased = self
            .store
            .lease(self.key, room, duration, UnixMillis::now())
            .await;
        let pages = leased.expect("leased").pages;
        pages.iter().map(|page| page.key.message).collect()
    }

    async fn tasks(&self) -> Vec<(AppId, Provider)> {
        let work = self.store.open_work(Some(vec![self.key.app])).await;
        let mut tasks = work.expect("read").tasks;
        tasks.retain(|(_, provider)| *provider == self.key.provider);
        tasks
    }
}

async fn accept(store: &Store, app: AppId) -> Message {
    let push = Push {
        audience: Audience::All,
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

#[tokio::test]
async fn a_message_that_cannot_be_read_keeps_no_other_of_its_app_waiting() {
    let mut waiting = Waiting::new(3).await;
    let [says_nothing, is_no_text, good] = waiting.messages[..] else {
        panic!("three");
    };
    waiting.damage(&format!(
        "UPDATE messages SET push = '{{' WHERE id = {says_nothing};
         UPDATE messages SET push = CAST(x'7bff' AS TEXT) WHERE id = {is_no_text};"
    ));
    waiting.cutter.step().await.expect("cut");
    assert_eq!(waiting.cut().await, [good]);
    assert_eq!(waiting.tasks().await, []);
}

#[tokio::test]
async fn a_message_that_never_can_be_cut_is_ended_and_the_others_go() {
    let mut waiting = Waiting::new(2).await;
    let [bad, good] = waiting.messages[..] else {
        panic!("two");
    };
    // Its page is there, though it has not been cut.
    waiting.damage(&format!(
        "INSERT INTO pages (message, provider, environment, first, round, app, last, count, answered, unknown, class, state, due, detail)
         SELECT {bad}, 1, 1, id, 0, app, id, 1, 0, 1, 1, 3, 0, x'' FROM devices"
    ));
    assert!(waiting.cutter.step().await.is_err(), "it may pass");
    waiting.cutter.step().await.expect("cut");
    assert_eq!(waiting.cut().await, [good]);
    assert_eq!(waiting.tasks().await, []);
    let ledger = waiting.ledger(bad).await;
    let [(_, _, reason, 0)] = ledger.reasons.as_slice() else {
        panic!("{:?}", ledger.reasons);
    };
    assert_eq!(reason.as_str(), "UncutAudience");
    assert_eq!(ledger.total().targeted, 0);
}

#[tokio::test]
async fn lanes_that_the_store_has_not_heard_keep_their_pages_until_it_has() {
    let mut waiting = Waiting::new(1).await;
    waiting.cutter.step().await.expect("cut");
    assert_eq!(waiting.lease(Duration::ZERO).await, waiting.messages);
    waiting.lanes.wakes.unheard();
    waiting.lanes.free().await;
    assert_eq!(waiting.cut().await, [], "its lane may have it still");
    waiting.lanes.free().await;
    assert_eq!(waiting.cut().await, waiting.messages);
}

#[tokio::test]
async fn a_lane_that_has_nothing_is_cut_for_whatever_there_was_to_cut_before() {
    let mut waiting = Waiting::new(0).await;
    let signal = Arc::clone(&waiting.cutter.signal);
    signal.heard(waiting.key.environment, 0);
    let stepped = waiting.cutter.step().await;
    assert_eq!(stepped.expect("nothing"), Appetite::None);
    // A search that has found nobody in its first part has woken no lane.
    let message = accept(&waiting.store, waiting.key.app).await;
    waiting.damage("UPDATE tasks SET after = 1 WHERE provider = 1");
    waiting.cutter.step().await.expect("cut");
    assert_eq!(waiting.cut().await, [message.id]);
}
