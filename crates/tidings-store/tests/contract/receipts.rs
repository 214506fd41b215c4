//! What providers report of what they have taken.

use std::collections::BTreeMap;

use tidings_model::{Audience, DeviceId, MsgId, Platform, Provider, Reason, UnixMillis};
use tidings_store::{
    ChannelChange, DeviceChange, DeviceEvent, EventKind, NewDevice, Receipt, Said,
};

use crate::support::{Stage, accept, app, device, push};

fn phone(stage: &Stage, token: &str) -> NewDevice {
    let channel = ChannelChange {
        environment: None,
        provider: Provider::Huawei,
        token: Some(token.into()),
    };
    device(stage.app, Platform::Android, vec![channel])
}

async fn registered(stage: &Stage, token: &str) -> DeviceId {
    let new = phone(stage, token);
    stage.store.register(new).await.expect("registered").id
}

fn receipt(stage: &Stage, message: MsgId, token: &str, said: Said) -> Receipt {
    Receipt {
        app: stage.app,
        at: None,
        message,
        provider: Provider::Huawei,
        said,
        token: token.into(),
    }
}

fn dead() -> Said {
    Said::Dead(Reason::known("5"))
}

async fn holds(stage: &Stage, device: DeviceId) -> bool {
    let found = stage.store.device(stage.app, device).await.expect("read");
    !found.expect("known").channels.is_empty()
}

#[tokio::test]
async fn each_thing_that_a_provider_reports_is_remembered_once() {
    let stage = Stage::new().await;
    let id = registered(&stage, "token").await;
    let message = accept(&stage.store, stage.app, push(Audience::All))
        .await
        .id;
    let opened = DeviceEvent {
        kind: EventKind::Opened,
        message,
    };
    let events = vec![opened];
    let added = stage
        .store
        .add_events(stage.app, id, Platform::Android, events);
    assert_eq!(added.await.expect("added"), 1);
    for said in [Said::Delivered, Said::Opened, Said::Delivered] {
        let receipts = vec![receipt(&stage, message, "token", said)];
        let unknown = stage.store.add_receipts(receipts).await.expect("added");
        assert_eq!(unknown, BTreeMap::new());
    }
    let journey = stage.store.journey(stage.app, message, id).await;
    let journey = journey.expect("read").expect("known");
    let reports: Vec<_> = journey
        .reports
        .iter()
        .map(|report| (report.kind, report.provider))
        .collect();
    assert_eq!(reports, [(EventKind::Delivered, Provider::Huawei)]);
    assert_eq!(journey.events.len(), 1, "the device said so first");
    let ledger = stage.store.ledger(stage.app, message).await.expect("read");
    let total = ledger.expect("known").total();
    assert_eq!(total.opened, 1, "a tap is one, whoever tells");
    assert_eq!(
        (total.reported, total.delivered),
        (0, 0),
        "nothing is accepted yet, and no count goes beyond that"
    );
}

#[tokio::test]
async fn what_fits_no_message_and_device_of_the_app_is_nothing() {
    let stage = Stage::new().await;
    let id = registered(&stage, "token").await;
    let message = accept(&stage.store, stage.app, push(Audience::All))
        .await
        .id;
    let late = registered(&stage, "late").await;
    let other = app(&stage.store).await;
    let foreign = Receipt {
        app: other,
        ..receipt(&stage, message, "token", dead())
    };
    let receipts = vec![
        receipt(&stage, MsgId(message.0 + 1), "token", dead()),
        receipt(&stage, message, "nobody", dead()),
        receipt(&stage, message, "late", dead()),
        foreign,
    ];
    let unknown = stage.store.add_receipts(receipts).await.expect("read");
    assert_eq!(unknown, BTreeMap::from([(Provider::Huawei, 4)]));
    assert!(holds(&stage, id).await && holds(&stage, late).await);
}

#[tokio::test]
async fn a_dead_address_goes_unless_it_has_been_shown_since() {
    let stage = Stage::new().await;
    let first = registered(&stage, "first").await;
    let again = registered(&stage, "again").await;
    let message = accept(&stage.store, stage.app, push(Audience::All)).await;
    let moved = registered(&stage, "first").await;
    assert_ne!(first, moved);
    // Before either was registered.
    let early = Receipt {
        at: Some(UnixMillis(message.accepted_at.0 - 86_400_000)),
        ..receipt(&stage, message.id, "again", dead())
    };
    let receipts = vec![receipt(&stage, message.id, "first", dead()), early];
    stage.store.add_receipts(receipts).await.expect("added");
    assert!(holds(&stage, moved).await, "it is another device's now");
    assert!(holds(&stage, again).await, "it was registered after that");
    let now = Receipt {
        at: Some(UnixMillis(UnixMillis::now().0 + 1)),
        ..receipt(&stage, message.id, "again", dead())
    };
    stage.store.add_receipts(vec![now]).await.expect("added");
    assert!(!holds(&stage, again).await);
    let journey = stage.store.journey(stage.app, message.id, again).await;
    let journey = journey.expect("read").expect("known");
    assert_eq!(journey.tombstones.len(), 1);
    let report = journey.reports.first().expect("a report");
    assert_eq!(
        (report.kind, report.reason.as_ref().map(Reason::as_str)),
        (EventKind::Undelivered, Some("5"))
    );
}

#[tokio::test]
async fn what_comes_of_a_former_token_is_of_the_device_that_had_it_then() {
    let stage = Stage::new().await;
    let changes = registered(&stage, "before").await;
    let taker = registered(&stage, "other").await;
    let leaver = registered(&stage, "leaving").await;
    let message = accept(&stage.store, stage.app, push(Audience::All)).await;
    let (message, accepted_at) = (message.id, message.accepted_at);
    let give = async |device, token: &str| {
        let change = DeviceChange {
            channels: Some(phone(&stage, token).channels),
            ..DeviceChange::default()
        };
        let changed = stage.store.change_device(stage.app, device, change).await;
        changed.expect("changed");
    };
    // What is registered in the message's millisecond could have been so before.
    while UnixMillis::now() <= accepted_at {
        tokio::task::yield_now().await;
    }
    give(changes, "after").await;
    // It is another device's by now, which had another then.
    give(taker, "before").await;
    let nobodys = DeviceChange {
        channels: Some(vec![]),
        ..DeviceChange::default()
    };
    let left = stage.store.change_device(stage.app, leaver, nobodys).await;
    left.expect("changed");
    let receipts =
        ["before", "leaving"].map(|token| receipt(&stage, message, token, Said::Delivered));
    let unknown = stage
        .store
        .add_receipts(receipts.into())
        .await
        .expect("added");
    assert_eq!(unknown, BTreeMap::new());
    for (device, has) in [(changes, true), (taker, false), (leaver, true)] {
        let journey = stage.store.journey(stage.app, message, device).await;
        let reports = journey.expect("read").expect("known").reports;
        assert_eq!(!reports.is_empty(), has, "{device}");
    }
    // It was nobody's before the next message.
    let next = accept(&stage.store, stage.app, push(Audience::All))
        .await
        .id;
    let late = vec![receipt(&stage, next, "leaving", Said::Delivered)];
    let unknown = stage.store.add_receipts(late).await.expect("read");
    assert_eq!(unknown, BTreeMap::from([(Provider::Huawei, 1)]));
    // A former token that is called dead costs no other.
    let gone = vec![receipt(&stage, message, "before", dead())];
    stage.store.add_receipts(gone).await.expect("added");
    assert!(holds(&stage, changes).await && holds(&stage, taker).await);
}
