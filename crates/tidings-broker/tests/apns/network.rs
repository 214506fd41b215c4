//! Faults on the way: a provider that is down, cut off, or silent.

use std::time::Duration;

use tidings_broker::{Broker, Failure};
use tidings_model::UnixMillis;
use tidings_providers::Cause;
use tidings_sandbox::FaultBody;

use crate::support::*;

#[tokio::test]
async fn what_one_connection_could_not_do_is_tried_again_on_another() {
    let sandbox = sandbox().await;
    let network = Network::to(sandbox.addr()).await;
    let body = FaultBody {
        status: Some(500),
        count: Some(1),
        ..FaultBody::default()
    };
    fault(&sandbox, body);
    let config = apns_config(&sandbox, network.addr());
    let (broker, mut events) = Broker::start(config, broker_config()).expect("a broker");
    let settled = push(&broker, &mut events, deliveries(1)).await;
    assert_eq!((&settled[&0].result, settled[&0].attempts), (&Ok(()), 2));
    assert_eq!(network.open(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_in_mid_push_and_returns_costs_nothing_but_time() {
    let sandbox = sandbox().await;
    let network = Network::to(sandbox.addr()).await;
    let config = apns_config(&sandbox, network.addr());
    let (broker, mut events) = Broker::start(config, broker_config()).expect("a broker");
    let breaking = async {
        while sandbox.deliveries().count() < 3000 {
            tokio::task::yield_now().await;
        }
        network.turn(Weather::Down);
        // It stays down until the broker has noticed: then deliveries come back and wait.
        while broker.status().waiting == 0 {
            tokio::task::yield_now().await;
        }
        network.turn(Weather::Fair);
    };
    let (settled, ()) = tokio::join!(push(&broker, &mut events, deliveries(10_000)), breaking);
    assert_eq!(settled.len(), 10_000);
    let received = received(&sandbox);
    assert_eq!(received.len(), 10_000);
    for settled in settled.values() {
        assert_eq!(settled.result, Ok(()), "{settled:?}");
        assert!(received[&*settled.token] <= settled.attempts as usize);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_goes_silent_is_replaced() {
    let sandbox = sandbox().await;
    let network = Network::to(sandbox.addr()).await;
    let mut config = apns_config(&sandbox, network.addr());
    config.silence_max = Duration::from_millis(500);
    config.pong_timeout = Duration::from_millis(500);
    // One that is just being opened freezes too.
    config.connect_timeout = Duration::from_secs(2);
    let (broker, mut events) = Broker::start(config, broker_config()).expect("a broker");
    let freezing = async {
        while sandbox.deliveries().count() < 1000 {
            tokio::task::yield_now().await;
        }
        network.turn(Weather::Frozen);
        // Connections that come about from now on work; those that were frozen stay so.
        while broker.status().waiting == 0 {
            tokio::task::yield_now().await;
        }
    };
    let (settled, ()) = tokio::join!(push(&broker, &mut events, deliveries(5000)), freezing);
    assert_eq!(settled.len(), 5000);
    for settled in settled.values() {
        assert_eq!(settled.result, Ok(()), "{settled:?}");
    }
    assert_eq!(received(&sandbox).len(), 5000);
}

#[tokio::test]
async fn what_cannot_be_sent_expires_unsent() {
    let sandbox = sandbox().await;
    let network = Network::to(sandbox.addr()).await;
    network.turn(Weather::Down);
    let config = apns_config(&sandbox, network.addr());
    let (broker, mut events) = Broker::start(config, broker_config()).expect("a broker");
    let mut ten = deliveries(10);
    let soon = UnixMillis::now().plus(Duration::from_secs(1));
    ten.iter_mut()
        .for_each(|delivery| delivery.expires = Some(soon));
    let settled = push(&broker, &mut events, ten).await;
    for settled in settled.values() {
        assert_eq!(settled.result, Err(Failure::Expired { last: None }));
        assert_eq!(settled.attempts, 0);
    }
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_gets_nothing_and_the_cause_is_told() {
    let sandbox = sandbox().await;
    let mut config = apns_config(&sandbox, sandbox.addr());
    config.ca = None;
    // All wait, and none is under way again, when the broker is stopped.
    let mut patient = broker_config();
    patient.retry.unsent_base = Duration::from_secs(3600);
    patient.retry.unsent_cap = Duration::from_secs(3600);
    let (broker, mut events) = Broker::start(config, patient).expect("a broker");
    let mut ten = deliveries(10);
    broker.queue_many(&mut ten).await.expect("a running broker");
    while broker.status().waiting < 10 {
        tokio::task::yield_now().await;
    }
    let report = broker.stop(Duration::ZERO).await;
    assert_eq!(report.undelivered, 10);
    let settled = collect(&mut events, 10).await;
    for settled in settled.values() {
        match &settled.result {
            Err(Failure::NotSent(Cause::TlsFailed(text))) => {
                assert!(text.contains("UnknownIssuer"), "{text}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_follow_the_scale_and_are_kept_when_idle() {
    let sandbox = sandbox().await;
    let network = Network::to(sandbox.addr()).await;
    // With the answers late, streams run out.
    let late = FaultBody {
        delay_ms: Some(50),
        ..FaultBody::default()
    };
    fault(&sandbox, late);
    let mut config = apns_config(&sandbox, network.addr());
    config.streams_max = 100;
    let (broker, mut events) = Broker::start(config, broker_config()).expect("a broker");
    for scale in [4, 1, 2] {
        broker.set_scale(scale);
        let settled = push(&broker, &mut events, deliveries(4000)).await;
        assert!(settled.values().all(|settled| settled.result.is_ok()));
        while network.open() != scale {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(received(&sandbox).values().sum::<usize>(), 12_000);
    // A single delivery goes over one of those that there are.
    push(&broker, &mut events, deliveries(1)).await;
    assert_eq!(network.open(), 2);
    broker.stop(Duration::from_secs(60)).await;
    while network.open() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_is_replaced_in_mid_push_and_nothing_is_lost_or_doubled() {
    let sandbox = sandbox().await;
    let config = apns_config(&sandbox, sandbox.addr());
    let (broker, mut events) = Broker::start(config.clone(), broker_config()).expect("a broker");
    let replacing = async {
        for milestone in [1000, 2000, 4000] {
            while sandbox.deliveries().count() < milestone {
                tokio::task::yield_now().await;
            }
            broker.replace(config.clone()).expect("a configuration");
        }
    };
    let (settled, ()) = tokio::join!(push(&broker, &mut events, deliveries(8000)), replacing);
    assert!(settled.values().all(|settled| settled.result.is_ok()));
    let received = received(&sandbox);
    assert_eq!(received.len(), 8000);
    assert!(received.values().all(|count| *count == 1));
}
