//! SUBSCRIBE and UNSUBSCRIBE: one topic is to be had, and it comes without asking.

use tidings_mqtt::{ProtocolError, Reason};

use crate::bytes::{connect_v5, field, packet};
use crate::harness::Harness;

fn subscribe(v5: bool, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = vec![0, 9];
    body.extend(v5.then_some(0));
    for (name, options) in filters {
        body.extend(field(name));
        body.push(*options);
    }
    packet(0x82, &body)
}

fn unsubscribe(v5: bool, filters: &[&str]) -> Vec<u8> {
    let mut body = vec![0, 9];
    body.extend(v5.then_some(0));
    for name in filters {
        body.extend(field(name));
    }
    packet(0xA2, &body)
}

const FILTERS: [(&str, u8); 9] = [
    ("push", 0),
    ("push", 1),
    ("push", 2),
    ("#", 2),
    ("test/nosubscribe", 1),
    ("+", 1),
    ("$SYS/#", 0),
    ("a#", 1),
    ("", 0),
];

#[test]
fn push_and_everything_are_granted_at_qos_1_at_most() {
    let answers = [0, 1, 1, 1, 0x87, 0x87, 0x87, 0x8F, 0x8F];
    let sent = Harness::open_v5().answer(&subscribe(true, &FILTERS));
    assert_eq!(sent, packet(0x90, &[&[0, 9, 0][..], &answers].concat()));
}

#[test]
fn v311_has_one_word_for_every_refusal() {
    let answers = [0, 1, 1, 1, 0x80, 0x80, 0x80, 0x80, 0x80];
    let sent = Harness::open_v311().answer(&subscribe(false, &FILTERS));
    assert_eq!(sent, packet(0x90, &[&[0, 9][..], &answers].concat()));
    let sent = Harness::open_v311().answer(&subscribe(false, &[("$share/g/push", 1)]));
    assert_eq!(sent, packet(0x90, &[0, 9, 0x80]));
}

#[test]
fn shared_subscriptions_and_identifiers_were_declined_in_connack() {
    let (error, sent) = Harness::open_v5().refusal(&subscribe(true, &[("$share/g/push", 1)]));
    assert_eq!(
        (error, &sent[..]),
        (ProtocolError::SharedSubscription, &[0xE0, 2, 0x9E, 0][..])
    );
    let with_identifier = packet(
        0x82,
        &[&[0, 9, 2, 0x0B, 1][..], &field("push"), &[1]].concat(),
    );
    let (error, sent) = Harness::open_v5().refusal(&with_identifier);
    assert_eq!(
        (error, &sent[..]),
        (
            ProtocolError::SubscriptionIdentifier,
            &[0xE0, 2, 0xA1, 0][..]
        )
    );
}

#[test]
fn unsubscribing_is_answered_filter_by_filter_on_v5() {
    let filters = ["push", "#", "other", "a#"];
    let sent = Harness::open_v5().answer(&unsubscribe(true, &filters));
    assert_eq!(sent, packet(0xB0, &[0, 9, 0, 0, 0, 0x11, 0x8F]));
    let sent = Harness::open_v311().answer(&unsubscribe(false, &filters));
    assert_eq!(sent, packet(0xB0, &[0, 9]));
}

#[test]
fn an_answer_larger_than_the_client_takes_is_not_sent() {
    let filters = [("push", 1); 60];
    let mut harness = Harness::open(&connect_v5(60, &[0x27, 0, 0, 0, 64]));
    assert_eq!(harness.answer(&subscribe(true, &filters[..59])).len(), 64);
    let (error, sent) = harness.refusal(&subscribe(true, &filters));
    assert_eq!(
        (error.reason(), &sent[..]),
        (Reason::PacketTooLarge, &[0xE0, 2, 0x95, 0][..])
    );
    let mut harness = Harness::open(&connect_v5(60, &[0x27, 0, 0, 0, 64]));
    let (error, _) = harness.refusal(&unsubscribe(true, &["push"; 60]));
    assert_eq!(error.reason(), Reason::PacketTooLarge);
}
