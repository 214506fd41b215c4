//! The peer's limit of streams, which is Apple's way to slow a sender down.

use std::sync::Arc;
use std::time::Duration;

use tidings_model::Outcome;
use tidings_providers::Attempt;
use tidings_providers::apns::{
    Client, Config, Credential, Delivery, Notification, PushType, Route,
};
use uuid::Uuid;

use crate::peer::{HEADERS, Peer, attempts, submitted};

const ACCEPTED: Attempt = Attempt::Answered(Outcome::Accepted { id: None });

#[tokio::test]
async fn one_stream_until_the_peer_says_how_many_and_then_never_more() {
    let peer = Peer::listen().await;
    let (_client, mut answers) = submitted(peer.config(), 40).await;
    let serve = async {
        let mut wire = peer.http2().await;
        let first = wire.request().await.expect("a request before SETTINGS");
        assert!(wire.is_left_in_peace().await, "a second one");
        wire.allow_streams(10).await;
        let mut open = vec![first];
        while open.len() < 10 {
            open.push(wire.request().await.expect("a request"));
        }
        assert!(wire.is_left_in_peace().await, "more than 10");
        // Lowered while 10 are open: none may be opened until but two are left.
        wire.allow_streams(3).await;
        for stream in open.drain(..7) {
            wire.accept(stream).await;
        }
        assert!(wire.is_left_in_peace().await, "more than 3");
        wire.accept(open.remove(0)).await;
        open.push(wire.request().await.expect("the third"));
        assert!(wire.is_left_in_peace().await, "more than 3");
        // And raised again.
        wire.allow_streams(1000).await;
        let mut seen = 11;
        while seen < 40 {
            open.push(wire.request().await.expect("a request"));
            seen += 1;
        }
        for stream in open {
            wire.accept(stream).await;
        }
        wire
    };
    let (_wire, attempts) = tokio::join!(serve, attempts(&mut answers, 40));
    assert!(attempts.iter().all(|attempt| *attempt == ACCEPTED));
}

#[tokio::test]
async fn urgent_ones_are_sent_before_those_that_wait() {
    let peer = Peer::listen().await;
    let (client, mut answers) = submitted(peer.config(), 5).await;
    let mut wire = peer.http2().await;
    wire.allow_streams(1).await;
    let mut open = wire.request().await.expect("the first");
    let hello = Notification::alert("com.example.app", "Hello").expect("a notification");
    let notification = Arc::new(hello);
    let mut route = Route::default();
    route.urgent = true;
    for tag in 5..7 {
        let delivery = Delivery {
            token: format!("{tag:064x}").into(),
            id: Uuid::new_v4(),
            notification: Arc::clone(&notification),
            route,
            tag,
        };
        client.submit(delivery).await.expect("an open client");
    }
    let mut order = Vec::new();
    loop {
        wire.accept(open).await;
        let mut answered = Vec::new();
        answers.recv_many(&mut answered, 10).await;
        order.extend(answered.into_iter().map(|(delivery, _)| delivery.tag));
        if order.len() == 7 {
            break;
        }
        open = wire.request().await.expect("the next");
    }
    assert_eq!(order, [0, 5, 6, 1, 2, 3, 4]);
}

#[tokio::test]
async fn a_backlog_opens_all_its_connections_at_once() {
    let peer = Peer::listen().await;
    let config = Config {
        connections_max: 3,
        streams_max: 10,
        ..peer.config()
    };
    let (client, _answers) = submitted(config, 60).await;
    let mut first = peer.http2().await;
    first.allow_streams(10).await;
    let stream = first.request().await.expect("a request");
    first.accept(stream).await;
    // Neither waits for the other's handshake.
    let others = [peer.tcp().await, peer.tcp().await];
    drop((client, others));
}

#[tokio::test]
async fn a_limit_of_none_holds_everything_back_until_it_is_raised() {
    let peer = Peer::listen().await;
    let (_client, mut answers) = submitted(peer.config(), 3).await;
    let serve = async {
        let mut wire = peer.http2().await;
        let first = wire.request().await.expect("the one that came early");
        wire.allow_streams(0).await;
        wire.accept(first).await;
        assert!(wire.is_left_in_peace().await, "a request");
        wire.allow_streams(1).await;
        for _ in 0..2 {
            let stream = wire.request().await.expect("a request");
            wire.accept(stream).await;
        }
        wire
    };
    let (_wire, attempts) = tokio::join!(serve, attempts(&mut answers, 3));
    assert!(attempts.iter().all(|attempt| *attempt == ACCEPTED));
}

#[tokio::test]
async fn a_body_that_meets_a_closed_window_does_not_stop_the_others() {
    let peer = Peer::listen().await;
    let (_client, mut answers) = submitted(peer.config(), 4).await;
    let serve = async {
        let mut wire = peer.http2().await;
        let first = wire.request().await.expect("a request");
        // INITIAL_WINDOW_SIZE 0: headers come, bodies cannot.
        wire.write(4, 0, 0, &[0, 4, 0, 0, 0, 0]).await;
        wire.accept(first).await;
        for _ in 0..3 {
            let headers = loop {
                let frame = wire.read().await.expect("a frame");
                if frame.kind == HEADERS {
                    break frame;
                }
            };
            wire.accept(headers.stream).await;
        }
        wire
    };
    let (_wire, attempts) = tokio::join!(serve, attempts(&mut answers, 4));
    assert!(attempts.iter().all(|attempt| *attempt == ACCEPTED));
}

#[tokio::test]
async fn a_location_query_with_a_certificate_is_refused_without_asking_apple() {
    let p12 = include_bytes!("../fixtures/apns/keychain.p12");
    let credential = Credential::from_p12(p12, "secret").expect("a certificate");
    let peer = Peer::listen().await;
    let (client, mut answers) = Client::start(peer.config_with(credential)).expect("a client");
    let query = Notification::builder("com.example.app.location-query", "{}")
        .push_type(PushType::Location)
        .build();
    let delivery = Delivery {
        token: "ab".repeat(32).into(),
        id: Uuid::new_v4(),
        notification: Arc::new(query.expect("a notification")),
        route: Route::default(),
        tag: 0,
    };
    client.submit(delivery).await.expect("an open client");
    let attempts = attempts(&mut answers, 1).await;
    let Attempt::Answered(Outcome::PayloadRejected { reason }) = &attempts[0] else {
        panic!("{attempts:?}");
    };
    assert_eq!(reason.as_str(), "TokenRequired");
}

#[tokio::test]
async fn a_duration_of_nothing_is_refused() {
    let peer = Peer::listen().await;
    let config = Config {
        pong_timeout: Duration::ZERO,
        ..peer.config()
    };
    let error = Client::<()>::start(config).err().expect("refused");
    let text = "pong_timeout: is zero; expected a time in which it can be done";
    assert_eq!(error.to_string(), text);
}
