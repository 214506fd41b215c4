//! A connection whose peer cannot, beside others that could.

use tidings_model::Outcome;
use tidings_providers::Attempt;
use tidings_providers::apns::{Answers, Client, Config, Delivery};

use crate::peer::{Peer, Wire, attempts, submitted};

const ACCEPTED: Attempt = Attempt::Answered(Outcome::Accepted { id: None });

fn could_not(attempt: &Attempt) -> bool {
    matches!(attempt, Attempt::Answered(Outcome::Retry { .. }))
}

/// Answers 500 to all that comes, until the client leaves; says how many that were.
async fn be_sick(wire: &mut Wire) -> usize {
    let mut answered = 0;
    while let Some(stream) = wire.request().await {
        wire.fail(stream).await;
        answered += 1;
    }
    answered
}

/// A client with one delivery, which the connection that comes with it has answered with 500, and the delivery again.
async fn refused_once(
    peer: &Peer,
    connections_max: usize,
) -> (Client<usize>, Answers<usize>, Wire, Delivery<usize>) {
    let config = Config {
        connections_max,
        ..peer.config()
    };
    let (client, mut answers) = submitted(config, 1).await;
    let mut wire = peer.http2().await;
    wire.allow_streams(100).await;
    let stream = wire.request().await.expect("the first try");
    wire.fail(stream).await;
    let mut answered = Vec::new();
    answers.recv_many(&mut answered, 1).await;
    let (delivery, attempt) = answered.remove(0);
    assert!(could_not(&attempt), "{attempt:?}");
    (client, answers, wire, delivery)
}

#[tokio::test]
async fn what_a_connection_could_not_do_goes_by_another() {
    let peer = Peer::listen().await;
    let (client, mut answers, mut sick, delivery) = refused_once(&peer, 2).await;
    client.submit(delivery).await.expect("an open client");
    let mut other = peer.http2().await;
    let stream = other.request().await.expect("the second try");
    other.accept(stream).await;
    assert_eq!(attempts(&mut answers, 1).await, [ACCEPTED]);
    assert!(sick.is_left_in_peace().await);
}

#[tokio::test]
async fn where_there_may_be_but_one_connection_it_has_to_do() {
    let peer = Peer::listen().await;
    let (client, mut answers, mut wire, delivery) = refused_once(&peer, 1).await;
    client.submit(delivery).await.expect("an open client");
    let stream = wire.request().await.expect("the second try");
    wire.accept(stream).await;
    assert_eq!(attempts(&mut answers, 1).await, [ACCEPTED]);
}

#[tokio::test]
async fn when_no_other_can_be_opened_the_one_there_is_has_to_do() {
    let peer = Peer::listen().await;
    let (client, mut answers, mut wire, delivery) = refused_once(&peer, 2).await;
    client.submit(delivery).await.expect("an open client");
    drop(peer.tcp().await);
    let stream = wire.request().await.expect("the second try");
    wire.accept(stream).await;
    assert_eq!(attempts(&mut answers, 1).await, [ACCEPTED]);
}

#[tokio::test]
async fn a_client_that_closes_opens_another_connection_for_what_its_only_one_could_not_do() {
    let peer = Peer::listen().await;
    let (client, mut answers, mut sick, delivery) = refused_once(&peer, 2).await;
    client.submit(delivery).await.expect("an open client");
    drop(client);
    let mut other = peer.http2().await;
    let stream = other.request().await.expect("the second try");
    other.accept(stream).await;
    assert_eq!(attempts(&mut answers, 1).await, [ACCEPTED]);
    assert_eq!(be_sick(&mut sick).await, 0);
}

#[tokio::test]
async fn a_connection_that_answers_500_to_everything_is_replaced() {
    let peer = Peer::listen().await;
    let (_client, mut answers) = submitted(peer.config(), 100).await;
    let serve = async {
        let mut sick = peer.http2().await;
        sick.allow_streams(1).await;
        assert_eq!(be_sick(&mut sick).await, 16);
        let mut well = peer.http2().await;
        well.allow_streams(100).await;
        for _ in 16..100 {
            let stream = well.request().await.expect("one of the rest");
            well.accept(stream).await;
        }
        well
    };
    let (_well, attempts) = tokio::join!(serve, attempts(&mut answers, 100));
    assert_eq!(attempts.iter().filter(|one| could_not(one)).count(), 16);
    assert_eq!(attempts.iter().filter(|one| **one == ACCEPTED).count(), 84);
}

#[tokio::test]
async fn a_connection_that_now_and_then_answers_otherwise_is_kept() {
    let peer = Peer::listen().await;
    let (_client, mut answers) = submitted(peer.config(), 100).await;
    let serve = async {
        let mut wire = peer.http2().await;
        wire.allow_streams(1).await;
        for number in 0..100 {
            let stream = wire.request().await.expect("all of them");
            if number % 10 == 9 {
                wire.accept(stream).await;
            } else {
                wire.fail(stream).await;
            }
        }
        wire
    };
    let (_wire, attempts) = tokio::join!(serve, attempts(&mut answers, 100));
    assert_eq!(attempts.iter().filter(|one| could_not(one)).count(), 90);
}

/// When Apple itself is sick, its connections are not opened and closed all the time for it.
#[tokio::test]
async fn each_that_is_as_sick_as_the_one_before_is_kept_for_longer() {
    let peer = Peer::listen().await;
    let (client, mut answers) = submitted(peer.config(), 16 + 32 + 64).await;
    drop(client);
    let serve = async {
        let mut served = Vec::new();
        for _ in 0..3 {
            let mut sick = peer.http2().await;
            sick.allow_streams(1).await;
            served.push(be_sick(&mut sick).await);
        }
        served
    };
    let (served, attempts) = tokio::join!(serve, attempts(&mut answers, 16 + 32 + 64));
    assert_eq!(served, [16, 32, 64]);
    assert!(attempts.iter().all(could_not));
}
