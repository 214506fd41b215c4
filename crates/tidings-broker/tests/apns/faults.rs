//! Faults at the provider: what never left is sent again, what was answered is heeded, and the counts add up.

use std::collections::BTreeMap;
use std::time::Duration;

use tidings_broker::{Broker, Failure};
use tidings_model::Outcome;
use tidings_providers::Cause;
use tidings_sandbox::{Action, FaultBody};

use crate::support::*;

fn action(action: Action, percent: f64, count: u64) -> FaultBody {
    FaultBody {
        action: Some(action),
        percent: Some(percent),
        count: Some(count),
        ..FaultBody::default()
    }
}

fn answer(status: u16, reason: &str, percent: f64, count: u64) -> FaultBody {
    FaultBody {
        status: Some(status),
        reason: Some(reason.to_owned()),
        percent: Some(percent),
        count: Some(count),
        ..FaultBody::default()
    }
}

/// Pushes to `count` phones under `faults`; all are accepted and each phone gets one.
async fn all_arrive_once_despite(count: usize, faults: Vec<FaultBody>) {
    let sandbox = sandbox().await;
    for body in faults {
        fault(&sandbox, body);
    }
    let config = apns_config(&sandbox, sandbox.addr());
    let (broker, mut events) = Broker::start(config, broker_config()).expect("a broker");
    let settled = push(&broker, &mut events, deliveries(count)).await;
    assert_eq!(settled.len(), count);
    for settled in settled.values() {
        assert_eq!(settled.result, Ok(()), "{settled:?}");
    }
    let received = received(&sandbox);
    assert_eq!(received.len(), count);
    let twice = received.values().filter(|count| **count > 1).count();
    assert_eq!(twice, 0, "phones that got more than one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goaway_in_mid_flight_loses_and_doubles_nothing() {
    all_arrive_once_despite(3000, vec![action(Action::Goaway, 0.2, 5)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_streams_are_sent_again() {
    all_arrive_once_despite(3000, vec![action(Action::RefuseStream, 10.0, 300)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_not_now_are_tried_again() {
    let faults = vec![
        answer(429, "TooManyRequests", 2.0, 40),
        answer(500, "InternalServerError", 2.0, 40),
        answer(503, "ServiceUnavailable", 2.0, 40),
        answer(503, "Shutdown", 0.2, 3),
    ];
    all_arrive_once_despite(3000, faults).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_provider_token_is_renewed_on_a_fresh_connection() {
    all_arrive_once_despite(500, vec![answer(403, "ExpiredProviderToken", 100.0, 1)]).await;
}

#[tokio::test]
async fn a_provider_token_that_stays_expired_parks_the_broker() {
    let sandbox = sandbox().await;
    let always = fault(&sandbox, answer(403, "ExpiredProviderToken", 100.0, 1000));
    let config = apns_config(&sandbox, sandbox.addr());
    let (broker, mut events) = Broker::start(config.clone(), broker_config()).expect("a broker");
    let mut all = deliveries(10);
    broker.queue_many(&mut all).await.expect("a running broker");
    let reason = loop {
        match broker.status().parked {
            Some(reason) => break reason,
            None => tokio::task::yield_now().await,
        }
    };
    assert_eq!(reason.as_str(), "ExpiredProviderToken");
    sandbox.faults().remove(always);
    broker.replace(config).expect("a configuration");
    let settled = collect(&mut events, 10).await;
    assert!(settled.values().all(|settled| settled.result.is_ok()));
}

#[tokio::test]
async fn too_many_token_updates_keep_the_token_and_try_again() {
    let faults = vec![answer(429, "TooManyProviderTokenUpdates", 100.0, 5)];
    all_arrive_once_despite(50, faults).await;
}

#[tokio::test]
async fn a_retry_after_is_waited_for() {
    let sandbox = sandbox().await;
    let headers = BTreeMap::from([("retry-after".to_owned(), "1".to_owned())]);
    let body = FaultBody {
        headers,
        ..answer(503, "ServiceUnavailable", 100.0, 1)
    };
    fault(&sandbox, body);
    let config = apns_config(&sandbox, sandbox.addr());
    let (broker, mut events) = Broker::start(config, broker_config()).expect("a broker");
    let before = std::time::Instant::now();
    let settled = push(&broker, &mut events, deliveries(1)).await;
    assert_eq!(settled[&0].result, Ok(()));
    assert_eq!(settled[&0].attempts, 2);
    assert!(before.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_device_that_is_always_throttled_is_given_up_alone() {
    let sandbox = sandbox().await;
    let body = FaultBody {
        token: Some(token(7)),
        percent: None,
        count: None,
        ..answer(429, "TooManyRequests", 100.0, 1)
    };
    fault(&sandbox, body);
    let config = apns_config(&sandbox, sandbox.addr());
    let mut retries = broker_config();
    retries.retry.retries_max = 3;
    let (broker, mut events) = Broker::start(config, retries).expect("a broker");
    let settled = push(&broker, &mut events, deliveries(100)).await;
    for (number, settled) in &settled {
        match (number, &settled.result) {
            (7, Err(Failure::GivenUp(Outcome::Throttled { reason, .. }))) => {
                assert_eq!(reason.as_str(), "TooManyRequests");
                assert_eq!(settled.attempts, 4);
            }
            (_, result) => assert_eq!(*result, Ok(()), "{number}"),
        }
    }
}

#[tokio::test]
async fn a_request_that_is_never_answered_ends_as_unanswered_and_its_neighbours_go_on() {
    let sandbox = sandbox().await;
    let body = FaultBody {
        token: Some(token(7)),
        percent: None,
        count: None,
        ..action(Action::Hang, 100.0, 1)
    };
    fault(&sandbox, body);
    let mut config = apns_config(&sandbox, sandbox.addr());
    config.answer_timeout = Duration::from_secs(1);
    let (broker, mut events) = Broker::start(config, broker_config()).expect("a broker");
    let settled = push(&broker, &mut events, deliveries(1000)).await;
    for (number, settled) in &settled {
        match number {
            7 => {
                let unanswered = Err(Failure::Unanswered(Cause::TimedOut));
                assert_eq!(settled.result, unanswered);
                assert_eq!(settled.attempts, broker_config().retry.unanswered_max);
            }
            _ => assert_eq!(settled.result, Ok(()), "{number}"),
        }
    }
    assert_eq!(settled.len(), 1000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_closed_in_mid_flight_is_replaced() {
    let sandbox = sandbox().await;
    fault(&sandbox, action(Action::Close, 0.05, 2));
    let config = apns_config(&sandbox, sandbox.addr());
    let (broker, mut events) = Broker::start(config, broker_config()).expect("a broker");
    let settled = push(&broker, &mut events, deliveries(5000)).await;
    assert_eq!(settled.len(), 5000);
    for settled in settled.values() {
        assert_eq!(settled.result, Ok(()), "{settled:?}");
    }
    // What was in flight then may have been taken, so it may arrive twice, but never more often than it was sent.
    let received = received(&sandbox);
    assert_eq!(received.len(), 5000);
    for settled in settled.values() {
        let count = received[&*settled.token];
        assert!(count <= settled.attempts as usize, "{settled:?}: {count}");
    }
}
