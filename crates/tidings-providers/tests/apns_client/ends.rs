//! How connections end, and what each end means for what was under way.

use std::time::Duration;

use tidings_model::{Outcome, Reason};
use tidings_providers::apns::Credential;
use tidings_providers::{Attempt, Cause};

use crate::peer::{GOAWAY, Peer, attempts, submitted};

const ACCEPTED: Attempt = Attempt::Answered(Outcome::Accepted { id: None });

#[tokio::test]
async fn what_is_above_a_goaways_last_id_goes_over_a_new_connection_and_the_rest_is_awaited() {
    let peer = Peer::listen().await;
    let (_client, mut answers) = submitted(peer.config(), 5).await;
    let serve = async {
        let mut old = peer.http2().await;
        old.allow_streams(5).await;
        let mut streams = Vec::new();
        while streams.len() < 5 {
            streams.push(old.request().await.expect("a request"));
        }
        old.go_away(streams[1], 0).await;
        let mut new = peer.http2().await;
        new.allow_streams(5).await;
        for _ in 0..3 {
            let stream = new.request().await.expect("one of the three above");
            new.accept(stream).await;
        }
        // Long after the GOAWAY, those below are answered on the old one.
        old.accept(streams[0]).await;
        old.accept(streams[1]).await;
        assert_eq!(old.request().await, None, "nothing more on the old one");
        assert!(new.is_left_in_peace().await, "one of them was sent twice");
        new
    };
    let (_new, attempts) = tokio::join!(serve, attempts(&mut answers, 5));
    assert!(attempts.iter().all(|attempt| *attempt == ACCEPTED));
}

#[tokio::test]
async fn what_is_below_a_goaways_last_id_and_never_answered_is_not_sent_again() {
    const ENHANCE_YOUR_CALM: u32 = 11;
    for code in [0, ENHANCE_YOUR_CALM] {
        let peer = Peer::listen().await;
        let (_client, mut answers) = submitted(peer.config(), 3).await;
        let serve = async {
            let mut old = peer.http2().await;
            old.allow_streams(3).await;
            let mut streams = Vec::new();
            while streams.len() < 3 {
                streams.push(old.request().await.expect("a request"));
            }
            old.go_away(streams[1], code).await;
            // That there is a new one shows that the client has read the GOAWAY.
            let mut new = peer.http2().await;
            drop(old);
            let stream = new.request().await.expect("the one above");
            new.accept(stream).await;
            assert!(new.is_left_in_peace().await, "one from below");
            new
        };
        let (_new, attempts) = tokio::join!(serve, attempts(&mut answers, 3));
        for attempt in &attempts[..2] {
            let lost = matches!(attempt, Attempt::Unanswered(Cause::ConnectionLost(_)));
            assert!(lost, "code {code}: {attempts:?}");
        }
        assert_eq!(attempts[2], ACCEPTED);
    }
}

#[tokio::test]
async fn what_was_sent_on_a_connection_that_breaks_is_unanswered_and_the_rest_is_sent() {
    let peer = Peer::listen().await;
    let (_client, mut answers) = submitted(peer.config(), 5).await;
    let serve = async {
        let mut old = peer.http2().await;
        old.allow_streams(2).await;
        for _ in 0..2 {
            old.request().await.expect("a request");
        }
        drop(old);
        let mut new = peer.http2().await;
        for _ in 0..3 {
            let stream = new.request().await.expect("a request");
            new.accept(stream).await;
        }
        new
    };
    let (_new, attempts) = tokio::join!(serve, attempts(&mut answers, 5));
    let lost =
        |attempt: &&Attempt| matches!(attempt, Attempt::Unanswered(Cause::ConnectionLost(_)));
    assert_eq!(attempts.iter().filter(lost).count(), 2, "{attempts:?}");
    let accepted = attempts.iter().filter(|attempt| **attempt == ACCEPTED);
    assert_eq!(accepted.count(), 3);
}

#[tokio::test]
async fn a_stream_that_is_refused_each_time_is_not_sent() {
    let peer = Peer::listen().await;
    let (_client, mut answers) = submitted(peer.config(), 1).await;
    let serve = async {
        let mut wire = peer.http2().await;
        let mut refused = 0;
        while let Some(stream) = wire.request().await {
            wire.refuse(stream).await;
            refused += 1;
            if refused == 9 {
                break;
            }
        }
        wire
    };
    let (_wire, attempts) = tokio::join!(serve, attempts(&mut answers, 1));
    assert_eq!(attempts, [Attempt::NotSent(Cause::RefusedStream)]);
}

#[tokio::test]
async fn a_client_that_is_dropped_sends_what_it_has_and_says_goodbye() {
    let peer = Peer::listen().await;
    let (client, mut answers) = submitted(peer.config(), 3).await;
    drop(client);
    let serve = async {
        let mut wire = peer.http2().await;
        for _ in 0..3 {
            let stream = wire.request().await.expect("a request");
            wire.accept(stream).await;
        }
        let last = wire.read().await.expect("a goodbye");
        assert_eq!(last.kind, GOAWAY);
        assert_eq!(last.payload[4..8], [0; 4], "NO_ERROR");
    };
    let ((), attempts) = tokio::join!(serve, attempts(&mut answers, 3));
    assert!(attempts.iter().all(|attempt| *attempt == ACCEPTED));
    assert_eq!(answers.recv_many(&mut Vec::new(), 1).await, 0);
}

#[tokio::test]
async fn a_retired_client_awaits_what_has_left_and_gives_back_the_rest() {
    let peer = Peer::listen().await;
    let (client, mut answers) = submitted(peer.config(), 3).await;
    let serve = async {
        let mut wire = peer.http2().await;
        let stream = wire.request().await.expect("a request");
        client.retire();
        wire.accept(stream).await;
        assert_eq!(wire.request().await, None);
    };
    let ((), attempts) = tokio::join!(serve, attempts(&mut answers, 3));
    let given_back = Attempt::NotSent(Cause::Shutdown);
    assert_eq!(attempts, [ACCEPTED, given_back.clone(), given_back]);
}

#[tokio::test]
async fn an_abandoned_client_gives_back_everything_at_once() {
    let peer = Peer::listen().await;
    let (client, mut answers) = submitted(peer.config(), 3).await;
    let serve = async {
        let mut wire = peer.http2().await;
        wire.request().await.expect("a request");
        client.abandon();
        wire
    };
    let (_wire, attempts) = tokio::join!(serve, attempts(&mut answers, 3));
    let given_back = Attempt::NotSent(Cause::Shutdown);
    let sent = Attempt::Unanswered(Cause::Shutdown);
    assert_eq!(attempts, [sent, given_back.clone(), given_back]);
    assert_eq!(answers.recv_many(&mut Vec::new(), 1).await, 0);
}

#[tokio::test]
async fn a_peer_that_neither_answers_nor_pongs_is_left_for_another_connection() {
    let peer = Peer::listen().await;
    let mut config = peer.config();
    config.silence_max = Duration::from_millis(50);
    config.pong_timeout = Duration::from_millis(50);
    let (_client, mut answers) = submitted(config, 2).await;
    let serve = async {
        // Reads nothing more, so it acknowledges no PING either.
        let mute = peer.http2().await;
        let mut new = peer.http2().await;
        let stream = new.request().await.expect("the second");
        new.accept(stream).await;
        (mute, new)
    };
    let (_wires, attempts) = tokio::join!(serve, attempts(&mut answers, 2));
    assert_eq!(attempts, [Attempt::Unanswered(Cause::TimedOut), ACCEPTED]);
}

#[tokio::test]
async fn a_peer_that_pongs_may_take_its_time() {
    let peer = Peer::listen().await;
    let mut config = peer.config();
    config.silence_max = Duration::from_millis(20);
    config.pong_timeout = Duration::from_secs(10);
    let (_client, mut answers) = submitted(config, 1).await;
    let serve = async {
        let mut wire = peer.http2().await;
        let stream = wire.request().await.expect("a request");
        // Acknowledges PINGs meanwhile.
        assert!(wire.is_left_in_peace().await);
        wire.accept(stream).await;
        wire
    };
    let (_wire, attempts) = tokio::join!(serve, attempts(&mut answers, 1));
    assert_eq!(attempts, [ACCEPTED]);
}

#[tokio::test]
async fn a_certificate_that_the_peer_refuses_is_a_rejected_credential() {
    let peer = Peer::listen_for_certificates().await;
    let p12 = include_bytes!("../fixtures/apns/modern.p12");
    let credential = Credential::from_p12(p12, "secret").expect("a credential");
    let (_client, mut answers) = submitted(peer.config_with(credential), 3).await;
    let serve = async {
        loop {
            // In TLS 1.3 the client learns of it only when it has already sent.
            assert!(peer.tls().await.is_none(), "the certificate was taken");
        }
    };
    let attempts = tokio::select! {
        attempts = attempts(&mut answers, 3) => attempts,
        () = serve => Vec::new(),
    };
    for attempt in attempts {
        match attempt {
            Attempt::Answered(Outcome::CredentialRejected { reason }) => {
                assert_eq!(reason.as_str(), "UnknownCA");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_host_that_takes_no_connections_gives_deliveries_back_with_the_cause() {
    let peer = Peer::listen().await;
    let config = peer.config();
    drop(peer);
    let (_client, mut answers) = submitted(config, 3).await;
    for attempt in attempts(&mut answers, 3).await {
        match attempt {
            Attempt::NotSent(Cause::ConnectFailed(text)) => {
                assert!(text.contains("localhost"), "{text}");
                assert!(text.contains("refused"), "{text}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_host_that_says_nothing_gives_deliveries_back_in_time() {
    let peer = Peer::listen().await;
    let mut config = peer.config();
    config.connect_timeout = Duration::from_millis(100);
    let (_client, mut answers) = submitted(config, 1).await;
    let hold = async {
        let mut held = Vec::new();
        loop {
            held.push(peer.tcp().await);
        }
    };
    let attempts = tokio::select! {
        attempts = attempts(&mut answers, 1) => attempts,
        () = hold => Vec::new(),
    };
    match &attempts[..] {
        [Attempt::NotSent(Cause::ConnectFailed(text))] => {
            assert!(text.contains("within 100ms"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_credential_that_is_rejected_by_an_answer_is_not_asked_for_again() {
    let peer = Peer::listen().await;
    let (_client, mut answers) = submitted(peer.config(), 300).await;
    let serve = async {
        let mut wire = peer.http2().await;
        let stream = wire.request().await.expect("a request");
        wire.allow_streams(1).await;
        wire.reject(stream, br#"{"reason":"InvalidProviderToken"}"#)
            .await;
        assert!(wire.is_left_in_peace().await, "another request");
        wire
    };
    let (_wire, attempts) = tokio::join!(serve, attempts(&mut answers, 300));
    let reason = Reason::known("InvalidProviderToken");
    let rejected = Attempt::Answered(Outcome::CredentialRejected { reason });
    assert!(attempts.iter().all(|attempt| *attempt == rejected));
}
