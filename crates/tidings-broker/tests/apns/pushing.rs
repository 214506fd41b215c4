//! What a push comes to when all goes well, and when phones and tokens are wrong.

use std::collections::HashSet;

use tidings_broker::{Broker, BrokerConfig, Events, Failure, QueueError};
use tidings_model::Outcome;
use tidings_providers::apns::{self, Credential, Notification};
use tidings_sandbox::{FaultBody, Phone, Provider, Sandbox};

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_1000_is_accepted_and_received_once() {
    let sandbox = sandbox().await;
    let config = apns_config(&sandbox, sandbox.addr());
    let (broker, mut events) = Broker::start(config, broker_config()).expect("a broker");
    let settled = push(&broker, &mut events, deliveries(1000)).await;
    assert_eq!(settled.len(), 1000);
    for settled in settled.values() {
        assert_eq!(settled.result, Ok(()), "{settled:?}");
        assert_eq!(settled.attempts, 1);
    }
    // Apple's own ids, which it tells in the sandbox environment.
    let told: HashSet<_> = settled
        .values()
        .map(|settled| &settled.provider_id)
        .collect();
    assert_eq!(told.len(), 1000);
    assert!(!told.contains(&None));
    let received = received(&sandbox);
    assert_eq!(received.len(), 1000);
    assert!(received.values().all(|count| *count == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_among_1000_fails_alone() {
    let sandbox = sandbox().await;
    let config = apns_config(&sandbox, sandbox.addr());
    let (broker, mut events) = Broker::start(config, broker_config()).expect("a broker");
    let mut all = deliveries(1000);
    all[500].token = "0123".into();
    all[600].token = "no token at all".into();
    let settled = push(&broker, &mut events, all).await;
    for (number, settled) in &settled {
        match (number, &settled.result) {
            (500 | 600, Err(Failure::Refused(Outcome::Unregistered { reason, .. }))) => {
                assert_eq!(reason.as_str(), "BadDeviceToken");
            }
            (_, result) => assert_eq!(*result, Ok(()), "{number}"),
        }
    }
    assert_eq!(settled.len(), 1000);
    assert_eq!(received(&sandbox).len(), 998);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_20000_is_settled_once_and_the_queue_stays_bounded() {
    let sandbox = sandbox().await;
    let config = apns_config(&sandbox, sandbox.addr());
    let bounded = BrokerConfig {
        queue: 3000,
        ..broker_config()
    };
    let (broker, mut events) = Broker::start(config, bounded).expect("a broker");
    let mut all = deliveries(20_000);
    let mut most = 0;
    let watching = async {
        let mut some = Vec::new();
        let mut settled = 0;
        while settled < 20_000 && events.recv_many(&mut some, 500).await > 0 {
            settled += some.len();
            assert!(some.drain(..).all(|settled| settled.result.is_ok()));
            let status = broker.status();
            most = most.max(status.queued + status.waiting + status.in_flight + status.settled);
        }
        settled
    };
    let (settled, queued) = tokio::join!(watching, broker.queue_many(&mut all));
    assert_eq!(queued, Ok(()));
    assert_eq!(settled, 20_000);
    assert!(most <= 3000, "{most} held at once");
    let received = received(&sandbox);
    assert_eq!(received.len(), 20_000);
    assert!(received.values().all(|count| *count == 1));
    assert_eq!(broker.status(), tidings_broker::Status::default());
}

#[tokio::test]
async fn a_full_queue_is_told() {
    let sandbox = sandbox().await;
    let config = apns_config(&sandbox, sandbox.addr());
    let bounded = BrokerConfig {
        queue: 2,
        ..broker_config()
    };
    let (broker, mut events) = Broker::start(config, bounded).expect("a broker");
    let mut three = deliveries(3).into_iter();
    let mut next = || three.next().expect("one of three");
    assert!(broker.try_queue(next()).is_ok());
    assert!(broker.try_queue(next()).is_ok());
    // Settled ones count until they are fetched, so this is so at any speed.
    let third = match broker.try_queue(next()) {
        Err(QueueError::Full(third)) => third,
        other => panic!("{other:?}"),
    };
    assert_eq!(collect(&mut events, 2).await.len(), 2);
    assert!(broker.try_queue(third).is_ok());
    assert_eq!(collect(&mut events, 1).await.len(), 1);
}

#[tokio::test]
async fn a_phone_that_removed_the_app_is_told_with_its_time() {
    let sandbox = sandbox().await;
    let gone = Phone {
        uninstalled_since: Some(1_700_000_000_123),
        ..Phone::default()
    };
    let address = token(1).parse().expect("a token");
    sandbox
        .phones()
        .put(Provider::Apns, address, gone)
        .expect("room for a phone");
    let config = apns_config(&sandbox, sandbox.addr());
    let (broker, mut events) = Broker::start(config, broker_config()).expect("a broker");
    let settled = push(&broker, &mut events, deliveries(3)).await;
    assert_eq!(settled[&0].result, Ok(()));
    assert_eq!(settled[&2].result, Ok(()));
    match &settled[&1].result {
        Err(Failure::Refused(Outcome::Unregistered { reason, since, .. })) => {
            assert_eq!(reason.as_str(), "Unregistered");
            assert_eq!(since.map(|time| time.0), Some(1_700_000_000_123));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_certificate_sends_and_gets_every_stream() {
    let sandbox = sandbox().await;
    let made = &sandbox.credentials().apns;
    let credential = Credential::from_p12(&made.p12, &made.password).expect("a credential");
    let config = apns::Config {
        credential,
        ..apns_config(&sandbox, sandbox.addr())
    };
    let (broker, mut events) = Broker::start(config, broker_config()).expect("a broker");
    let settled = push(&broker, &mut events, deliveries(300)).await;
    assert!(settled.values().all(|settled| settled.result.is_ok()));
    assert_eq!(received(&sandbox).len(), 300);
}

/// Apple disallows the topic of one of ten.
async fn with_one_disallowed_topic(
    checked_for: Option<&str>,
) -> (
    Sandbox,
    Broker<apns::Config, usize>,
    Events<apns::Config, usize>,
) {
    let sandbox = sandbox().await;
    let body = FaultBody {
        status: Some(400),
        reason: Some("TopicDisallowed".to_owned()),
        token: Some(token(3)),
        ..FaultBody::default()
    };
    fault(&sandbox, body);
    let config = apns::Config {
        topic: checked_for.map(str::to_owned),
        ..apns_config(&sandbox, sandbox.addr())
    };
    let (broker, events) = Broker::start(config, broker_config()).expect("a broker");
    let mut all = deliveries(10);
    broker.queue_many(&mut all).await.expect("a running broker");
    (sandbox, broker, events)
}

#[tokio::test]
async fn a_topic_that_nobody_vouched_for_fails_its_own_notification_only() {
    let (_sandbox, _broker, mut events) = with_one_disallowed_topic(None).await;
    for (number, settled) in collect(&mut events, 10).await {
        match (number, &settled.result) {
            (3, Err(Failure::Refused(Outcome::PayloadRejected { reason }))) => {
                assert_eq!(reason.as_str(), "TopicDisallowed");
            }
            (_, result) => assert_eq!(*result, Ok(()), "{number}"),
        }
    }
}

#[tokio::test]
async fn a_topic_that_the_credential_was_checked_for_parks_the_broker() {
    let (_sandbox, broker, mut events) = with_one_disallowed_topic(Some("com.example.app")).await;
    let settled = collect(&mut events, 9).await;
    assert!(settled.values().all(|settled| settled.result.is_ok()));
    let parked = broker.status().parked.expect("it is parked");
    assert_eq!(parked.as_str(), "TopicDisallowed");
}

#[tokio::test]
async fn a_rejected_credential_parks_the_broker_and_a_new_one_resumes_it() {
    let sandbox = sandbox().await;
    let good = apns_config(&sandbox, sandbox.addr());
    let made = &sandbox.credentials().apns;
    let other_team = Credential::from_p8(made.p8.as_bytes(), &made.key_id, "ANOTHERTEA");
    let wrong = apns::Config {
        credential: other_team.expect("a credential"),
        ..good.clone()
    };
    let (broker, mut events) = Broker::start(wrong, broker_config()).expect("a broker");
    let mut all = deliveries(500);
    broker.queue_many(&mut all).await.expect("a running broker");
    // The first answer parks it; until then the status is looked at again and again.
    let reason = loop {
        match broker.status().parked {
            Some(reason) => break reason,
            None => tokio::task::yield_now().await,
        }
    };
    assert_eq!(reason.as_str(), "InvalidProviderToken");
    assert_eq!(sandbox.deliveries().count(), 0);
    broker.replace(good).expect("a configuration");
    let settled = collect(&mut events, 500).await;
    assert_eq!(settled.len(), 500);
    assert!(settled.values().all(|settled| settled.result.is_ok()));
    let received = received(&sandbox);
    assert_eq!(received.len(), 500);
    assert!(received.values().all(|count| *count == 1));
}

#[tokio::test]
async fn a_rejected_credential_fails_deliveries_where_that_is_wished() {
    let sandbox = sandbox().await;
    let made = &sandbox.credentials().apns;
    let other_team = Credential::from_p8(made.p8.as_bytes(), &made.key_id, "ANOTHERTEA");
    let wrong = apns::Config {
        credential: other_team.expect("a credential"),
        ..apns_config(&sandbox, sandbox.addr())
    };
    let fails = BrokerConfig {
        park: false,
        ..broker_config()
    };
    let (broker, mut events) = Broker::start(wrong, fails).expect("a broker");
    let settled = push(&broker, &mut events, deliveries(10)).await;
    for settled in settled.values() {
        let reason = settled.result.as_ref().err().and_then(Failure::reason);
        assert_eq!(
            reason.map(|reason| reason.as_str()),
            Some("InvalidProviderToken")
        );
    }
}

#[tokio::test]
async fn what_expires_while_it_waits_is_told_with_the_last_word() {
    let sandbox = sandbox().await;
    fault(
        &sandbox,
        FaultBody {
            token: Some(token(1)),
            status: Some(503),
            reason: Some("ServiceUnavailable".to_owned()),
            ..FaultBody::default()
        },
    );
    let config = apns_config(&sandbox, sandbox.addr());
    let mut patient = broker_config();
    patient.retry.retries_max = 10_000;
    let (broker, mut events) = Broker::start(config, patient).expect("a broker");
    let mut three = deliveries(3);
    let now = tidings_model::UnixMillis::now();
    three[1].expires = Some(now.plus(std::time::Duration::from_secs(2)));
    three[2].expires = Some(now);
    let settled = push(&broker, &mut events, three).await;
    assert_eq!(settled[&0].result, Ok(()));
    let expired = |number| match &settled[&number].result {
        Err(Failure::Expired { last }) => last.as_ref().map(|word| word.as_str().to_owned()),
        other => panic!("{other:?}"),
    };
    assert_eq!(expired(1).as_deref(), Some("ServiceUnavailable"));
    assert_eq!(expired(2), None);
    assert_eq!(received(&sandbox).len(), 1);
}

#[tokio::test]
async fn notifications_of_many_kinds_share_a_connection() {
    let sandbox = sandbox().await;
    let config = apns_config(&sandbox, sandbox.addr());
    let (broker, mut events) = Broker::start(config, broker_config()).expect("a broker");
    let mut all = deliveries(100);
    for (number, delivery) in all.iter_mut().enumerate() {
        let text = format!("Hello {number}");
        delivery.notification = Notification::alert(TOPIC, &text).expect("valid").into();
    }
    let settled = push(&broker, &mut events, all).await;
    assert!(settled.values().all(|settled| settled.result.is_ok()));
    let query = tidings_sandbox::DeliveryQuery::default();
    for delivery in sandbox.deliveries().page(&query).deliveries {
        let number = u64::from_str_radix(&delivery.token.to_string(), 16).expect("a number");
        let payload = format!(r#"{{"aps":{{"alert":"Hello {number}"}}}}"#);
        assert_eq!(&*delivery.payload, payload);
    }
}

/// Resident memory of this process in bytes (proc_pid_statm(5)); the pages are of 4 KiB or more.
#[cfg(target_os = "linux")]
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("the memory of this process");
    let pages = statm.split_whitespace().nth(1).expect("its second field");
    pages.parse::<usize>().expect("a number") * 4096
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_does_not_grow_with_the_number_sent() {
    // It keeps few deliveries, because it is in this process too.
    let config = tidings_sandbox::SandboxConfig {
        deliveries_kept: 100,
        ..Default::default()
    };
    let sandbox = Sandbox::start(config).await.expect("a sandbox");
    let config = apns_config(&sandbox, sandbox.addr());
    let (broker, mut events) = Broker::start(config, broker_config()).expect("a broker");
    let mut sizes = Vec::new();
    for _ in 0..6 {
        let pages = (0..2).map(|_| deliveries(10_000));
        for page in pages {
            let settled = push(&broker, &mut events, page).await;
            assert!(settled.values().all(|settled| settled.result.is_ok()));
        }
        sizes.push(resident());
    }
    // A hundred bytes kept of each of the last 80,000 would be 8 MB.
    let grown = sizes[5].saturating_sub(sizes[1]);
    assert!(grown < 6_000_000, "{grown} bytes more: {sizes:?}");
}
