//! Stopping with and without patience, and starting again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidings_broker::{Broker, Delivery, Failure, QueueError};
use tidings_providers::Cause;
use tidings_sandbox::{Action, FaultBody};

use crate::support::*;

const PATIENT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_drains_what_was_queued() {
    let sandbox = sandbox().await;
    let config = apns_config(&sandbox, sandbox.addr());
    let (broker, mut events) = Broker::start(config, broker_config()).expect("a broker");
    let mut all = deliveries(5000);
    broker.queue_many(&mut all).await.expect("a running broker");
    let report = broker.stop(PATIENT).await;
    assert!(report.in_time);
    assert_eq!(report.undelivered, 0);
    let settled = collect(&mut events, 5000).await;
    assert_eq!(settled.len(), 5000);
    assert!(settled.values().all(|settled| settled.result.is_ok()));
    assert_eq!(events.recv_many(&mut Vec::new(), 1).await, 0);
    let late = broker.try_queue(deliveries(1).remove(0));
    assert!(matches!(late, Err(QueueError::Stopped(_))));
}

#[tokio::test]
async fn a_stop_with_a_deadline_tells_what_it_cut_short() {
    let sandbox = sandbox().await;
    let body = FaultBody {
        action: Some(Action::Hang),
        ..FaultBody::default()
    };
    fault(&sandbox, body);
    let config = apns_config(&sandbox, sandbox.addr());
    let (broker, mut events) = Broker::start(config, broker_config()).expect("a broker");
    let mut all = deliveries(5000);
    broker.queue_many(&mut all).await.expect("a running broker");
    while broker.status().in_flight == 0 {
        tokio::task::yield_now().await;
    }
    let report = broker.stop(Duration::from_millis(300)).await;
    assert!(!report.in_time);
    assert_eq!(report.undelivered, 5000);
    let settled = collect(&mut events, 5000).await;
    assert_eq!(settled.len(), 5000);
    let (mut sent, mut unsent) = (0, 0);
    for settled in settled.values() {
        match &settled.result {
            Err(Failure::Unanswered(Cause::Shutdown)) => sent += 1,
            Err(Failure::NotSent(Cause::Shutdown)) => unsent += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(
        sent >= 1 && unsent >= 4000,
        "{sent} sent, {unsent} not sent"
    );
}

#[tokio::test]
async fn what_has_not_left_can_be_taken_back() {
    let sandbox = sandbox().await;
    let body = FaultBody {
        action: Some(Action::Hang),
        ..FaultBody::default()
    };
    fault(&sandbox, body);
    let config = apns_config(&sandbox, sandbox.addr());
    let (broker, mut events) = Broker::start(config, broker_config()).expect("a broker");
    let mut all = deliveries(9000);
    broker.queue_many(&mut all).await.expect("a running broker");
    // The client has what it can hold, and the queue the rest; no connection has more than a few as long as none answers.
    while broker.status().in_flight < 8000 {
        tokio::task::yield_now().await;
    }
    let is_odd = |number: &usize| number % 2 == 1;
    let withdrawn = broker.withdraw(is_odd);
    assert!((4000..=4500).contains(&withdrawn.len()));
    for settled in &withdrawn {
        assert!(is_odd(&settled.tag));
        assert_eq!(
            (&settled.result, settled.attempts),
            (&Err(Failure::Withdrawn), 0)
        );
    }
    let left = 9000 - withdrawn.len();
    let status = broker.status();
    assert_eq!(status.in_flight + status.queued, left);
    broker.stop(Duration::ZERO).await;
    let settled = collect(&mut events, left).await;
    assert_eq!(settled.len(), left);
    assert!(withdrawn.iter().all(|one| !settled.contains_key(&one.tag)));
}

#[tokio::test]
async fn a_broker_that_is_dropped_finishes_what_it_has() {
    let sandbox = sandbox().await;
    let config = apns_config(&sandbox, sandbox.addr());
    let (broker, mut events) = Broker::start(config, broker_config()).expect("a broker");
    let mut all = deliveries(500);
    broker.queue_many(&mut all).await.expect("a running broker");
    drop(broker);
    let settled = collect(&mut events, usize::MAX).await;
    assert_eq!(settled.len(), 500);
    assert!(settled.values().all(|settled| settled.result.is_ok()));
}

#[tokio::test]
async fn events_that_nobody_wants_do_not_hold_the_broker_up() {
    let sandbox = sandbox().await;
    let config = apns_config(&sandbox, sandbox.addr());
    let mut small = broker_config();
    small.queue = 100;
    let (broker, events) = Broker::start(config, small).expect("a broker");
    drop(events);
    let mut all = deliveries(1000);
    broker.queue_many(&mut all).await.expect("a running broker");
    assert!(broker.stop(PATIENT).await.in_time);
    assert_eq!(received(&sandbox).len(), 1000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_calls_back_stops_and_starts_again() {
    let sandbox = sandbox().await;
    let config = apns_config(&sandbox, sandbox.addr());
    let accepted = Arc::new(AtomicUsize::new(0));
    let failed = Arc::new(AtomicUsize::new(0));
    let (accepts, fails) = (Arc::clone(&accepted), Arc::clone(&failed));
    let mut service = Broker::builder(config)
        .on_success(move |_| {
            accepts.fetch_add(1, Ordering::Relaxed);
        })
        .on_failure(move |settled, failure| {
            assert_eq!(&*settled.token, "01");
            let reason = failure.reason().map(|reason| reason.as_str());
            assert_eq!(reason, Some("BadDeviceToken"));
            fails.fetch_add(1, Ordering::Relaxed);
        })
        .start()
        .expect("a service");
    let tokens = |range: std::ops::Range<usize>| range.map(token).chain(["01".to_owned()]);
    for round in 1..=3 {
        service.set_scale(round);
        let queued = service.queue_all(&hello(), tokens(0..1500)).await;
        assert_eq!(queued, Ok(1501));
        assert_eq!(service.stop(PATIENT).await.undelivered, 0);
        assert_eq!(accepted.load(Ordering::Relaxed), 1500 * round);
        assert_eq!(failed.load(Ordering::Relaxed), round);
        assert!(service.queue_all(&hello(), ["02"]).await.is_err());
        service.start().expect("a service");
    }
}

/// Panics where it is dropped.
#[derive(Debug)]
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "dropped");
    }
}

#[tokio::test]
async fn a_broker_that_panics_has_ended_and_nobody_waits_for_it() {
    let sandbox = sandbox().await;
    let config = apns_config(&sandbox, sandbox.addr());
    let (broker, events) = Broker::<_, Bomb>::start(config, broker_config()).expect("a broker");
    // Nobody wants to hear of it, so the broker's task drops it.
    drop(events);
    let delivery = deliveries(1).remove(0);
    let delivery = Delivery {
        notification: delivery.notification,
        token: delivery.token,
        id: delivery.id,
        expires: None,
        progress: delivery.progress,
        urgent: false,
        tag: Bomb,
    };
    broker.queue(delivery).await.expect("a running broker");
    broker.stop(PATIENT).await;
}
