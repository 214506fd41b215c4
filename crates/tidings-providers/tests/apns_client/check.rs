//! The check of a credential against a peer that does not even let it ask.

use tidings_model::Reason;
use tidings_providers::apns::check::{Finding, Obstacle};
use tidings_providers::apns::{Config, Credential, check};

use crate::peer::Peer;

#[tokio::test]
async fn a_certificate_that_the_peer_refuses_is_rejected_by_the_alert() {
    let peer = Peer::listen_for_certificates().await;
    let p12 = include_bytes!("../fixtures/apns/modern.p12");
    let credential = Credential::from_p12(p12, "secret").expect("a credential");
    let serve = async {
        loop {
            // In TLS 1.3 the client learns of it only when it has already sent.
            assert!(peer.tls().await.is_none(), "the certificate was taken");
        }
    };
    let report = tokio::select! {
        report = check(peer.config_with(credential)) => report,
        () = serve => unreachable!("it serves for ever"),
    };
    let finding = report.expect("a configuration that can work").finding;
    assert_eq!(finding, Finding::Rejected(Reason::known("UnknownCA")));
}

#[tokio::test]
async fn a_peer_that_goes_before_it_answers_is_a_lost_connection() {
    let peer = Peer::listen().await;
    let config = Config {
        topic: Some("com.example.app".to_owned()),
        ..peer.config()
    };
    let serve = async {
        loop {
            drop(peer.http2().await);
        }
    };
    let report = tokio::select! {
        report = check(config) => report,
        () = serve => unreachable!("it serves for ever"),
    };
    match report.expect("a configuration that can work").finding {
        Finding::Unreachable { obstacle, .. } => assert_eq!(obstacle, Obstacle::Lost),
        other => panic!("{other:?}"),
    }
}
