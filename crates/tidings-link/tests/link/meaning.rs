//! What the link's endings mean: an acknowledgement is the delivery, and whatever else happens has its own name.

use std::time::Duration;

use tidings_model::{Audience, Parts, Platform, Provider, Selection};
use tidings_store::{
    ChannelChange, DeviceChange, Ending, Judged, LinkPlan, LinkTask, Position, Registered,
    TagChange,
};
use tokio::task::JoinSet;

use crate::client::{Client, Wishes};
use crate::{Stage, push};

fn link() -> ChannelChange {
    ChannelChange {
        environment: None,
        provider: Provider::Link,
        token: None,
    }
}

fn apns(token: &str) -> ChannelChange {
    ChannelChange {
        environment: None,
        provider: Provider::Apns,
        token: Some(token.into()),
    }
}

fn to_tag(tag: &str) -> Audience {
    Audience::Selection(Selection {
        tags: vec![tag.parse().expect("a tag")],
        ..Selection::default()
    })
}

impl Stage {
    /// Changes a device behind the link's back.
    async fn change(&self, device: &Registered, change: DeviceChange) {
        let changed = self.store.change_device(self.app.id, device.id, change);
        changed.await.expect("changed").expect("known");
    }

    async fn set_channels(&self, device: &Registered, channels: Vec<ChannelChange>) {
        let channels = Some(channels);
        let change = DeviceChange {
            channels,
            ..DeviceChange::default()
        };
        self.change(device, change).await;
    }

    /// Waits until what was said of a logged message at a device is written, and returns that.
    async fn judged(&self, message: &str, device: &Registered) -> (Ending, String) {
        for _ in 0..1000 {
            let id = message.parse().expect("an id");
            let journey = self.store.journey(self.app.id, id, device.id).await;
            let link = journey.expect("read").expect("known").link;
            let cursor = link.cursor.expect("on the link");
            match cursor.at(link.position.expect("in the log")) {
                Judged::NotYet => tokio::time::sleep(Duration::from_millis(10)).await,
                Judged::Exception(ending, reason, _) => return (ending, reason.to_string()),
                Judged::Passed => {
                    return (Ending::Delivered, String::new());
                }
                Judged::Forgotten => panic!("{cursor:?}"),
            }
        }
        panic!("message {message} is not judged")
    }

    async fn cursor(&self, device: &Registered) -> Position {
        let login = self.store.login(self.app.id, device.id).await;
        login.expect("read").expect("known").cursor
    }

    /// Waits until the cursor of a device that has left stands at the end of the log.
    async fn is_judged_to_the_end(&self, device: &Registered) {
        let end = self.store.log_end(self.app.id).await.expect("read");
        for _ in 0..1000 {
            if self.cursor(device).await == end {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?}, not {end:?}", self.cursor(device).await);
    }
}

/// PUBACK with a reason code.
async fn refuse(client: &mut Client, packet_id: u16, code: u8) {
    let [high, low] = packet_id.to_be_bytes();
    client.send(0x40, &[high, low, code]).await;
}

#[tokio::test]
async fn what_was_acknowledged_does_not_come_again_however_soon_the_device_returns() {
    let stage = Stage::new().await;
    let device = stage.register(&[]).await;
    for round in 0..30 {
        let mut client = stage.connect(&device).await;
        let logged = stage.to_all().await;
        assert_eq!(client.take().await, logged);
        let waiting = stage.to(device.id).await;
        assert_eq!(client.take().await, waiting);
        // Says goodbye and is back; every second time it does not even say that.
        if round % 2 == 0 {
            client.send(0xe0, &[]).await;
            drop(client);
        }
        let mut again = stage.connect(&device).await;
        again.ping().await;
    }
}

#[tokio::test]
async fn a_return_begins_behind_what_was_judged_before() {
    let stage = Stage::new().await;
    let device = stage.register(&[]).await;
    for _ in 0..50 {
        stage.push(to_tag("others"), "not mine", 3600).await;
    }
    let mut client = stage.connect(&device).await;
    client.ping().await;
    drop(client);
    stage.is_judged_to_the_end(&device).await;
    // Also while it is connected, and whatever waits in its inbox.
    let mut client = stage.connect(&device).await;
    for _ in 0..50 {
        stage.push(to_tag("others"), "not mine", 3600).await;
    }
    stage.to(device.id).await;
    client.push().await;
    drop(client);
    stage.is_judged_to_the_end(&device).await;
    // But not behind what is in flight.
    let mut client = stage.connect(&device).await;
    client.take().await;
    let own = stage.to_all().await;
    stage.push(to_tag("others"), "not mine", 3600).await;
    assert_eq!(client.push().await.id(), own);
    client.ping().await;
    drop(client);
    let mut client = stage.connect(&device).await;
    assert_eq!(client.take().await, own);
    client.ping().await;
    drop(client);
    stage.is_judged_to_the_end(&device).await;
    stage.delivered(&own, 1).await;
}

#[tokio::test]
async fn what_did_not_arrive_is_called_by_its_own_name() {
    let stage = Stage::new().await;
    let (phone, small) = (stage.register(&[]).await, stage.register(&[]).await);
    let now_only = stage.push(Audience::All, "now", 0).await;
    let short = stage.push(Audience::All, "soon over", 1).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let mut client = stage.connect(&phone).await;
    let arrived = stage.to_all().await;
    assert_eq!(client.take().await, arrived);
    let refused = stage.to_all().await;
    let push = client.push().await;
    refuse(&mut client, push.packet_id, 0x87).await;
    let in_inbox = stage.to(phone.id).await;
    let push = client.push().await;
    refuse(&mut client, push.packet_id, 0x97).await;
    let expected = [
        (&now_only, Ending::Expired, "NotConnected"),
        (&short, Ending::Expired, "NotAcknowledged"),
        (&arrived, Ending::Delivered, ""),
        (&refused, Ending::Dropped, "Refused0x87"),
    ];
    for (message, ending, reason) in expected {
        assert_eq!(
            stage.judged(message, &phone).await,
            (ending, reason.to_owned())
        );
    }
    client.ping().await;
    drop(client);
    let again = stage.connect(&phone).await;
    let id = in_inbox.parse().expect("an id");
    let journey = stage.store.journey(stage.app.id, id, phone.id).await;
    let rows = journey.expect("read").expect("known").link.rows;
    let (ending, reason, _) = rows[0].end.clone().expect("ended");
    assert_eq!(ending, Ending::Dropped);
    assert_eq!(reason.expect("a reason").as_str(), "Refused0x97");
    assert_eq!(stage.counts(&in_inbox).await.dropped, 1);
    drop(again);

    let wishes = Wishes {
        packet_size_max: Some(400),
        receive_max: None,
    };
    let large = stage.push(Audience::All, &"x".repeat(400), 3600).await;
    let (mut client, code) = stage.connect_with(&small, wishes).await;
    assert_eq!(code, 0);
    assert_eq!(
        [client.take().await, client.take().await],
        [arrived, refused]
    );
    let too_large = (Ending::Dropped, "TooLargeForDevice".to_owned());
    assert_eq!(stage.judged(&large, &small).await, too_large);
}

#[tokio::test]
async fn what_ends_behind_a_message_that_the_device_says_nothing_of_is_remembered() {
    let stage = Stage::new().await;
    let device = stage.register(&[]).await;
    let mut client = stage.connect(&device).await;
    let mut messages = Vec::new();
    for _ in 0..4 {
        messages.push(stage.to_all().await);
    }
    let mut pushes = Vec::new();
    for _ in 0..4 {
        pushes.push(client.push().await);
    }
    // Of the first it says nothing.
    client.ack(&pushes[1]).await;
    refuse(&mut client, pushes[2].packet_id, 0x87).await;
    client.ping().await;
    drop(client);
    let refused = (Ending::Dropped, "Refused0x87".to_owned());
    let delivered = (Ending::Delivered, String::new());
    assert_eq!(stage.judged(&messages[1], &device).await, delivered);
    assert_eq!(stage.judged(&messages[2], &device).await, refused);
    // Neither comes again, nor counts again.
    let mut client = stage.connect(&device).await;
    let again = [client.push().await, client.push().await];
    assert_eq!([again[0].id(), again[1].id()], [&messages[0], &messages[3]]);
    client.ping().await;
    client.ack(&again[0]).await;
    client.ack(&again[1]).await;
    client.ping().await;
    drop(client);
    stage.is_judged_to_the_end(&device).await;
    stage.connect(&device).await.ping().await;
    assert_eq!(stage.judged(&messages[1], &device).await, delivered);
    assert_eq!(stage.judged(&messages[2], &device).await, refused);
    for (index, ends) in [(1, 0), (1, 0), (0, 1), (1, 0)].into_iter().enumerate() {
        let counts = stage.counts(&messages[index]).await;
        assert_eq!((counts.delivered, counts.dropped), ends, "{index}");
    }
}

#[tokio::test]
async fn a_message_that_is_never_acknowledged_keeps_no_other_from_coming_and_comes_again() {
    let stage = Stage::new().await;
    let device = stage.register(&[]).await;
    let mut messages = Vec::new();
    for _ in 0..100 {
        messages.push(stage.to_all().await);
    }
    let mut client = stage.connect(&device).await;
    assert_eq!(
        client.push().await.id(),
        messages[0],
        "and nothing is said of it"
    );
    for message in &messages[1..50] {
        assert_eq!(&client.take().await, message);
    }
    stage.delivered(&messages[49], 1).await;
    drop(client);
    // It comes first on each connection, and nothing else again.
    let mut client = stage.connect(&device).await;
    assert_eq!(client.push().await.id(), messages[0]);
    for message in &messages[50..] {
        assert_eq!(&client.take().await, message);
    }
    client.ping().await;
    drop(client);
    stage.is_judged_to_the_end(&device).await;
    let mut client = stage.connect(&device).await;
    assert_eq!(client.take().await, messages[0]);
    let own = stage.to(device.id).await;
    assert_eq!(client.take().await, own);
    client.ping().await;
    drop(client);
    for message in &messages {
        stage.delivered(message, 1).await;
    }
    stage.connect(&device).await.ping().await;
}

#[tokio::test]
async fn what_is_owed_to_a_device_is_missed_when_its_time_is_over() {
    let stage = Stage::new().await;
    let device = stage.register(&[]).await;
    let mut client = stage.connect(&device).await;
    let silent = stage.push(Audience::All, "hi", 1).await;
    assert_eq!(client.push().await.id(), silent);
    let taken = stage.to_all().await;
    assert_eq!(client.take().await, taken);
    stage.delivered(&taken, 1).await;
    drop(client);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let mut client = stage.connect(&device).await;
    let next = stage.to_all().await;
    assert_eq!(client.take().await, next);
    let (ending, reason) = stage.judged(&silent, &device).await;
    assert_eq!(
        (ending, reason.as_str()),
        (Ending::Expired, "NotAcknowledged")
    );
    let counts = stage.counts(&silent).await;
    assert_eq!((counts.targeted, counts.delivered), (1, 0));
}

#[tokio::test]
async fn an_acknowledgement_that_cannot_be_written_holds_up_no_other() {
    let stage = Stage::new().await;
    let mut devices = Vec::new();
    for _ in 0..5 {
        let device = stage.register(&[]).await;
        let client = stage.connect(&device).await;
        devices.push((device, client));
    }
    let ill = devices[2].0.id;
    let sql = rusqlite::Connection::open(stage.data.path().join("tidings.db")).expect("opens");
    sql.execute_batch(&format!(
        "CREATE TRIGGER ill BEFORE UPDATE ON cursors WHEN new.device = {} BEGIN SELECT RAISE(ABORT, 'ill'); END",
        ill.0
    ))
    .expect("made");
    let message = stage.to_all().await;
    for (_, client) in &mut devices {
        assert_eq!(client.take().await, message);
        client.ping().await;
    }
    stage.delivered(&message, 4).await;
    let next = stage.to_all().await;
    for (_, client) in &mut devices {
        assert_eq!(client.take().await, next);
    }
    stage.delivered(&next, 4).await;
    // What was lost is sent again, and has its end then.
    sql.execute_batch("DROP TRIGGER ill").expect("dropped");
    let (device, client) = devices.remove(2);
    drop(client);
    let mut client = stage.connect(&device).await;
    assert_eq!(
        [client.take().await, client.take().await],
        [message.clone(), next.clone()]
    );
    for message in [message, next] {
        stage.delivered(&message, 5).await;
    }
}

#[tokio::test]
async fn a_message_from_before_the_tag_is_not_for_the_device() {
    let stage = Stage::new().await;
    let device = stage.register(&[]).await;
    stage.push(to_tag("vip"), "before", 3600).await;
    let tags = vec!["vip".parse().expect("a tag")];
    let tags = Some(TagChange::Replace(tags));
    let change = DeviceChange {
        tags,
        ..DeviceChange::default()
    };
    stage.change(&device, change).await;
    let after = stage.push(to_tag("vip"), "after", 3600).await;
    let mut client = stage.connect(&device).await;
    assert_eq!(client.take().await, after);
    client.ping().await;
}

#[tokio::test]
async fn a_message_that_waits_comes_though_the_phone_registers_for_apple_then() {
    let stage = Stage::new().await;
    let device = stage.register(&[]).await;
    let waiting = [stage.to_all().await, stage.to(device.id).await];
    stage.set_channels(&device, vec![link(), apns("aa")]).await;
    stage.to_all().await; // goes by Apple
    let mut client = stage.connect(&device).await;
    assert_eq!([client.take().await, client.take().await], waiting);
    client.ping().await;
}

#[tokio::test]
async fn what_went_by_apple_does_not_come_again_when_that_channel_goes() {
    let stage = Stage::new().await;
    let device = stage
        .register_with(vec![link(), apns("aa")], &["vip"])
        .await;
    let mut client = stage.connect(&device).await;
    for _ in 0..3 {
        stage.to_all().await;
    }
    // Nobody tells the link but the store: so would a dead token go, or one that moves to another device.
    stage.set_channels(&device, vec![link()]).await;
    let own = stage.to_all().await;
    assert_eq!(client.take().await, own);
    client.ping().await;
    let moved = stage
        .register_with(vec![link(), apns("bb")], &["vip"])
        .await;
    let mut other = stage.connect(&moved).await;
    stage.register_with(vec![apns("bb")], &[]).await;
    // It is there, and shows itself by that: so it has the link again.
    let is_away = async || {
        let login = stage.store.login(stage.app.id, moved.id).await;
        login.expect("read").expect("known").away
    };
    while is_away().await {
        tokio::task::yield_now().await;
    }
    let own = stage.to_all().await;
    assert_eq!(other.take().await, own);
    assert_eq!(client.take().await, own);
    drop(client);
    let mut client = stage.connect(&device).await;
    client.ping().await;
}

#[tokio::test]
async fn a_connection_knows_of_a_change_before_anything_that_was_pushed_later() {
    let stage = Stage::new().await;
    let device = stage.register(&[]).await;
    let mut client = stage.connect(&device).await;
    for round in 0..50 {
        let tag = format!("round-{round}");
        let tags = vec![tag.parse().expect("a tag")];
        let tags = Some(TagChange::Replace(tags));
        let change = DeviceChange {
            tags,
            ..DeviceChange::default()
        };
        stage.change(&device, change).await;
        let message = stage.push(to_tag(&tag), "hi", 3600).await;
        assert_eq!(client.take().await, message, "{tag}");
    }
}

#[tokio::test]
async fn two_parts_of_a_message_come_and_are_acknowledged_apart() {
    let stage = Stage::new().await;
    let device = stage.register(&[]).await;
    let mut both = push(Audience::All, "hi", 3600);
    both.message = Some(tidings_model::CustomMessage {
        content_type: None,
        extras: Default::default(),
        msg_content: "x".into(),
        shown_instead: None,
        title: None,
    });
    let message = stage.accept(both).await;
    let part = |notification: bool| Parts {
        message: !notification,
        notification,
    };
    // As when the notification went another way, which has ended, and comes over the link after all.
    let rows = [false, true].map(|shown| (device.id, Platform::Android, part(shown)));
    let task = LinkTask {
        message: message.id,
        from: tidings_model::DeviceId(0),
        plan: LinkPlan::Inboxes(rows.to_vec()),
        to: None,
    };
    let routed = stage.store.route(stage.app.id, vec![task]).await;
    routed.expect("filled");
    let mut client = stage.connect(&device).await;
    let (one, other) = (client.push().await, client.push().await);
    assert_eq!(one.id(), other.id());
    assert_ne!(one.packet_id, other.packet_id);
    let has = |push: &crate::client::Push, key: &str| push.payload.get(key).is_some();
    let keys = [&one, &other].map(|push| (has(push, "message"), has(push, "notification")));
    assert!(keys.contains(&(true, false)) && keys.contains(&(false, true)));
    client.ack(&other).await;
    client.ping().await;
    drop(client);
    let mut client = stage.connect(&device).await;
    let again = client.push().await;
    assert_eq!(has(&again, "message"), has(&one, "message"));
    client.ack(&again).await;
    stage.delivered(&message.id.to_string(), 2).await;
    drop(client);
    stage.connect(&device).await.ping().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn returns_and_acknowledgements_at_once_count_each_message_once() {
    const DEVICES: usize = 20;
    let stage = std::sync::Arc::new(Stage::new().await);
    let mut devices = Vec::new();
    for _ in 0..DEVICES {
        devices.push(stage.register(&[]).await);
    }
    let mut messages = Vec::new();
    for _ in 0..20 {
        messages.push(stage.to_all().await);
        stage.push(to_tag("others"), "not mine", 3600).await;
    }
    let mut taking = JoinSet::new();
    for device in devices {
        let (stage, messages) = (std::sync::Arc::clone(&stage), messages.clone());
        taking.spawn(async move {
            let mut taken = 0;
            while taken < messages.len() {
                let mut client = stage.connect(&device).await;
                for message in messages[taken..].iter().take(3) {
                    assert_eq!(&client.take().await, message);
                    taken += 1;
                }
                // The next takes its place with messages in flight: what was acknowledged is not among what that is sent.
            }
        });
    }
    while let Some(taken) = taking.join_next().await {
        taken.expect("taken");
    }
    for message in &messages {
        stage.delivered(message, DEVICES as u64).await;
        assert_eq!(stage.counts(message).await.targeted, DEVICES as u64);
    }
}
