//! Huawei's sender against the simulated Huawei.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tidings_model::{Outcome, Reason, Spent, UnixMillis};
use tidings_providers::batch::check::{Finding, check};
use tidings_providers::batch::{Config, Pace};
use tidings_providers::huawei::{Content, Credential, Huawei, Message, Notification, Shown};
use tidings_providers::{Answers, Attempt, Cause, Client, ClientConfig, Delivery, Route};
use tidings_sandbox::{Action, Call, Fault, FaultBody, Sandbox, SandboxConfig};
use tokio::time::timeout;
use uuid::Uuid;

async fn sandbox() -> Sandbox {
    let sandbox = Sandbox::start(SandboxConfig::default()).await;
    sandbox.expect("a sandbox")
}

fn config(sandbox: &Sandbox) -> Config<Huawei> {
    let told = tidings_sandbox::told(sandbox);
    let huawei = &told["huawei"];
    let text = |name: &str| huawei[name].as_str().expect("a text").to_owned();
    let credential = Credential::new(&text("app_id"), &text("app_secret"));
    let protocol = Huawei {
        credential: credential.expect("a credential"),
    };
    Config {
        endpoint: Some(text("endpoint")),
        token_endpoint: Some(text("token_endpoint")),
        ca: Some(told["ca"].as_str().expect("a text").as_bytes().into()),
        ..Config::new(protocol)
    }
}

fn hello(text: &str) -> Arc<Notification> {
    let shown = Shown {
        title: text.to_owned(),
        body: text.to_owned(),
        ..Shown::default()
    };
    let message = Message {
        content: Content::Shown(Box::new(shown)),
        ..Message::default()
    };
    Arc::new(Notification::new(&message).expect("a notification"))
}

fn deliveries(
    notification: &Arc<Notification>,
    numbers: std::ops::Range<usize>,
) -> VecDeque<Delivery<Notification, usize>> {
    let delivery = |number| Delivery {
        token: token(number),
        id: Uuid::new_v4(),
        notification: Arc::clone(notification),
        route: Route::default(),
        tag: number,
    };
    numbers.map(delivery).collect()
}

fn token(number: usize) -> Box<str> {
    format!("token-{number:06}").into()
}

/// All that comes back once nothing more is submitted.
async fn all(mut answers: impl Answers<Notification, usize>) -> HashMap<usize, Attempt> {
    let mut answered = Vec::new();
    let fetching = async { while answers.recv_many(&mut answered, 100).await > 0 {} };
    let within = Duration::from_secs(60);
    timeout(within, fetching).await.expect("an end");
    let count = answered.len();
    let by_tag: HashMap<_, _> = answered
        .into_iter()
        .map(|(delivery, attempt)| (delivery.tag, attempt))
        .collect();
    assert_eq!(by_tag.len(), count, "each comes back once");
    by_tag
}

#[tokio::test]
async fn those_of_one_notification_share_requests() {
    let sandbox = sandbox().await;
    let (client, answers) = config(&sandbox).start::<usize>().expect("a client");
    let mut many = deliveries(&hello("one"), 0..2500);
    many.extend(deliveries(&hello("two"), 2500..2503));
    client.try_submit_many(&mut many);
    assert!(many.is_empty());
    drop(client);
    let answered = all(answers).await;
    assert_eq!(answered.len(), 2503);
    assert!(answered.values().all(Attempt::is_accepted));
    assert_eq!(sandbox.deliveries().count(), 2503);
}

#[tokio::test]
async fn it_sends_no_faster_than_it_may() {
    let sandbox = sandbox().await;
    let config = Config {
        pace: Pace {
            devices: Some(1000),
            requests: None,
        },
        ..config(&sandbox)
    };
    let (client, answers) = config.start::<usize>().expect("a client");
    let mut many = deliveries(&hello("paced"), 0..3000);
    client.try_submit_many(&mut many);
    drop(client);
    let began = tokio::time::Instant::now();
    assert_eq!(all(answers).await.len(), 3000);
    // The last thousand need not be waited for.
    assert!(began.elapsed() > Duration::from_millis(1900));
}

#[tokio::test]
async fn a_client_that_is_retired_gives_back_what_has_not_left() {
    let sandbox = sandbox().await;
    let config = Config {
        pace: Pace {
            devices: Some(1),
            requests: None,
        },
        ..config(&sandbox)
    };
    let (client, answers) = config.start::<usize>().expect("a client");
    client.try_submit_many(&mut deliveries(&hello("slow"), 0..1000));
    client.try_submit_many(&mut deliveries(&hello("slower"), 1000..2000));
    let taken = client.withdraw(|delivery| delivery.tag == 1500);
    assert_eq!(taken.len(), 1);
    client.retire();
    let answered = all(answers).await;
    assert_eq!(answered.len(), 1999);
    let unsent = answered
        .values()
        .filter(|attempt| matches!(attempt, Attempt::NotSent(_)));
    assert!(unsent.count() >= 999, "the second was to wait");
    assert_eq!(client.room(), 0);
}

#[tokio::test]
async fn a_place_where_nobody_listens_gets_nothing_and_costs_no_try() {
    let sandbox = sandbox().await;
    let config = Config {
        endpoint: Some("https://127.0.0.1:1".to_owned()),
        ..config(&sandbox)
    };
    let (client, answers) = config.start::<usize>().expect("a client");
    client.try_submit_many(&mut deliveries(&hello("lost"), 0..10));
    drop(client);
    let answered = all(answers).await;
    let unsent = answered
        .values()
        .filter(|attempt| matches!(attempt, Attempt::NotSent(_)));
    assert_eq!(unsent.count(), 10);
}

#[tokio::test]
async fn a_check_says_whether_the_credential_is_good() {
    let sandbox = sandbox().await;
    let good = check(config(&sandbox)).await.expect("a configuration");
    assert!(matches!(good.finding, Finding::Good), "{:?}", good.finding);
    let mut wrong = config(&sandbox);
    let app_id = wrong.protocol.credential.app_id().to_owned();
    wrong.protocol.credential = Credential::new(&app_id, "another").expect("a credential");
    let (client, answers) = wrong.clone().start::<usize>().expect("a client");
    let finding = check(wrong).await.expect("a configuration").finding;
    assert!(matches!(finding, Finding::Rejected(_)), "{finding:?}");
    client.try_submit_many(&mut deliveries(&hello("refused"), 0..3));
    drop(client);
    for attempt in all(answers).await.values() {
        let is_rejected = matches!(
            attempt,
            Attempt::Answered(Outcome::CredentialRejected { .. })
        );
        assert!(is_rejected, "{attempt:?}");
    }
    // What the good one asked: any address is a phone here.
    assert_eq!(sandbox.deliveries().count(), 1);
}

#[tokio::test]
async fn what_waits_for_an_access_token_has_not_left() {
    let sandbox = sandbox().await;
    meets(
        &sandbox,
        FaultBody {
            call: Call::Token,
            delay_ms: Some(2_000),
            ..FaultBody::default()
        },
    );
    let (client, answers) = config(&sandbox).start::<usize>().expect("a client");
    client.try_submit_many(&mut deliveries(&hello("waits"), 0..4000));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let taken = client.withdraw(|_| true);
    assert_eq!(taken.len(), 4000);
    drop(client);
    assert!(all(answers).await.is_empty());
    assert_eq!(sandbox.deliveries().count(), 0);
}

#[tokio::test]
async fn what_is_over_does_not_leave() {
    let sandbox = sandbox().await;
    let shown = Shown {
        title: "late".to_owned(),
        body: "late".to_owned(),
        ..Shown::default()
    };
    let message = Message {
        content: Content::Shown(Box::new(shown)),
        expires_at: Some(UnixMillis(UnixMillis::now().0 - 1)),
        ..Message::default()
    };
    let late = Arc::new(Notification::new(&message).expect("a notification"));
    let (client, answers) = config(&sandbox).start::<usize>().expect("a client");
    client.try_submit_many(&mut deliveries(&late, 0..3));
    drop(client);
    for attempt in all(answers).await.values() {
        assert!(matches!(attempt, Attempt::NotSent(_)), "{attempt:?}");
    }
    assert_eq!(sandbox.deliveries().count(), 0);
}

#[tokio::test]
async fn a_token_call_that_fails_costs_no_try_and_one_that_breaks_an_answer_loses_nothing() {
    let sandbox = sandbox().await;
    meets(
        &sandbox,
        FaultBody {
            call: Call::Token,
            status: Some(503),
            count: Some(1),
            ..FaultBody::default()
        },
    );
    let (client, mut answers) = config(&sandbox).start::<usize>().expect("a client");
    client.try_submit_many(&mut deliveries(&hello("early"), 0..10));
    let mut answered = Vec::new();
    while answered.len() < 10 {
        answers.recv_many(&mut answered, 100).await;
    }
    for (_, attempt) in &answered {
        assert!(matches!(attempt, Attempt::NotSent(_)), "{attempt:?}");
    }
    // The connection is cut in the midst of a request: it may have been taken.
    meets(
        &sandbox,
        FaultBody {
            action: Some(Action::Close),
            count: Some(1),
            ..FaultBody::default()
        },
    );
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    client.try_submit_many(&mut deliveries(&hello("cut"), 10..20));
    drop(client);
    let answered = all(answers).await;
    assert_eq!(answered.len(), 10);
    for attempt in answered.values() {
        assert!(matches!(attempt, Attempt::Unanswered(_)), "{attempt:?}");
    }
}

fn meets(sandbox: &Sandbox, body: FaultBody) {
    let body = FaultBody {
        provider: "huawei".to_owned(),
        ..body
    };
    let fault = Fault::try_from(body).expect("a fault");
    sandbox.faults().add(fault).expect("room");
}

#[tokio::test]
async fn what_is_left_when_a_request_goes_waits_for_none_that_is_not_answered() {
    let sandbox = sandbox().await;
    // Whoever carries the many is not answered.
    meets(
        &sandbox,
        FaultBody {
            action: Some(Action::Hang),
            token: Some(token(0).into()),
            ..FaultBody::default()
        },
    );
    let (client, mut answers) = config(&sandbox).start::<usize>().expect("a client");
    let mut mixed = deliveries(&hello("many"), 0..500);
    mixed.extend(deliveries(&hello("one"), 500..501));
    client.try_submit_many(&mut mixed);
    let mut answered = Vec::new();
    let fetching = answers.recv_many(&mut answered, 100);
    let count = timeout(Duration::from_secs(10), fetching).await;
    assert_eq!(count, Ok(1));
    assert_eq!(answered[0].0.tag, 500);
    assert!(answered[0].1.is_accepted());
}

#[tokio::test]
async fn what_a_spent_quota_is_for_does_not_leave_before_there_is_another() {
    let sandbox = sandbox().await;
    let until = UnixMillis::now().plus(Duration::from_millis(700));
    let spent = Spent::until(Reason::known("spent"), until);
    let config = config(&sandbox).with_spent(vec![spent.clone()]);
    let (client, mut answers) = config.start::<usize>().expect("a client");
    client.try_submit_many(&mut deliveries(&hello("early"), 0..10));
    let mut answered = Vec::new();
    while answered.len() < 10 {
        answers.recv_many(&mut answered, 100).await;
    }
    for (_, attempt) in &answered {
        assert_eq!(*attempt, Attempt::NotSent(Cause::QuotaSpent(spent.clone())));
    }
    assert_eq!(sandbox.deliveries().count(), 0);
    tokio::time::sleep(until.since(UnixMillis::now())).await;
    client.try_submit_many(&mut deliveries(&hello("later"), 10..20));
    drop(client);
    let answered = all(answers).await;
    assert!(answered.values().all(Attempt::is_accepted), "{answered:?}");
    assert_eq!(answered.len(), 10);
}

/// What came of a batch for so many, by whether it was accepted.
fn accepted(answered: &HashMap<usize, Attempt>) -> usize {
    let accepted = answered.values().filter(|attempt| attempt.is_accepted());
    accepted.count()
}

#[tokio::test]
async fn a_phone_for_whose_sake_a_batch_is_refused_costs_its_neighbours_nothing() {
    let sandbox = sandbox().await;
    // The first and the last, which were thought to speak for all.
    for bad in [0, 137, 138, 499] {
        meets(
            &sandbox,
            FaultBody {
                reason: Some("80100001".to_owned()),
                token: Some(token(bad).into()),
                ..FaultBody::default()
            },
        );
    }
    let (client, answers) = config(&sandbox).start::<usize>().expect("a client");
    client.try_submit_many(&mut deliveries(&hello("all but four"), 0..500));
    drop(client);
    let answered = all(answers).await;
    assert_eq!(accepted(&answered), 496);
    for bad in [0, 137, 138, 499] {
        let is_refused = matches!(
            answered[&bad],
            Attempt::Answered(Outcome::PayloadRejected { .. })
        );
        assert!(is_refused, "{bad}: {:?}", answered[&bad]);
    }
    assert_eq!(sandbox.deliveries().count(), 496, "nobody gets it twice");
}

#[tokio::test]
async fn a_message_that_is_refused_for_its_own_sake_is_not_tried_with_each_phone() {
    let sandbox = sandbox().await;
    // The batch, its parts down to the sixteenths, and the next batch of the same.
    meets(
        &sandbox,
        FaultBody {
            reason: Some("80100001".to_owned()),
            count: Some(32),
            ..FaultBody::default()
        },
    );
    let config = Config {
        connections_max: 1,
        ..config(&sandbox)
    };
    let (client, answers) = config.start::<usize>().expect("a client");
    let bad = hello("bad");
    let mut many = deliveries(&bad, 0..1500);
    many.extend(deliveries(&hello("good"), 1500..1600));
    client.try_submit_many(&mut many);
    drop(client);
    let answered = all(answers).await;
    assert_eq!(accepted(&answered), 100);
    assert!((1500..1600).all(|good| answered[&good].is_accepted()));
}
