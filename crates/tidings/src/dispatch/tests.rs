use tempfile::TempDir;
use tidings_link::LinkConfig;
use tidings_model::Environment;
use tidings_store::SealKey;

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
        inbox_max: 1000,
        link: link.expect("listens"),
        sandbox: None,
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
