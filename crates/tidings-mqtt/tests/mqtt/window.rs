//! What is in flight, in both directions.

use std::num::NonZeroU16;
use std::time::Duration;

use bytes::Bytes;
use tidings_mqtt::server::{Closed, Event, PublishReason, PublishResult};
use tidings_mqtt::{DeviceTopic, ProtocolError, Reason};

use crate::bytes::{NOTHING, PINGREQ, PINGRESP, connect_v5, field, packet, puback, publish};
use crate::harness::Harness;

const SECOND: Duration = Duration::from_secs(1);

fn acked(tag: u64) -> Event {
    Event::Acked { tag, code: 0 }
}

fn said(topic: DeviceTopic, payload: &'static str, packet_id: Option<u16>) -> Event {
    Event::Publish {
        topic,
        payload: Bytes::from_static(payload.as_bytes()),
        packet_id: packet_id.and_then(NonZeroU16::new),
    }
}

fn id(value: u16) -> NonZeroU16 {
    NonZeroU16::new(value).expect("not 0 in this test")
}

#[test]
fn a_message_goes_out_at_qos_1_and_comes_back_as_its_tag() {
    let mut harness = Harness::open_v5();
    assert_eq!(harness.push("{}", 41), PublishResult::Sent);
    assert_eq!(harness.sent(), packet(0x32, b"\x00\x04push\x00\x2A\x00{}"));
    assert_eq!(harness.feed(&puback(42)), (vec![acked(41)], Ok(())));
    // Each once, and strangers are let pass, in both versions.
    assert_eq!(harness.answer(&puback(42)), NOTHING);
    assert_eq!(Harness::open_v311().answer(&puback(42)), NOTHING);
}

#[test]
fn a_v311_message_has_no_properties() {
    let mut harness = Harness::open_v311();
    let payload = Bytes::from_static(b"{}");
    let result = harness
        .session
        .publish(harness.now, "push", &payload, Some(9), true, 41);
    assert_eq!(result, PublishResult::Sent);
    assert_eq!(harness.sent(), packet(0x3A, b"\x00\x04push\x00\x2A{}"));
}

#[test]
fn expiry_and_dup_are_told_on_v5() {
    let mut harness = Harness::open_v5();
    let payload = Bytes::from_static(b"{}");
    let result = harness
        .session
        .publish(harness.now, "push", &payload, Some(9), true, 41);
    assert_eq!(result, PublishResult::Sent);
    assert_eq!(
        harness.sent(),
        packet(0x3A, b"\x00\x04push\x00\x2A\x05\x02\x00\x00\x00\x09{}")
    );
}

#[test]
fn the_window_is_the_smaller_of_both_sides() {
    for (properties, window) in [
        (&[0x21, 0, 2][..], 2),
        (&[0x21, 0, 1], 1),
        (&[0x21, 1, 0], 16),
        (&[], 16),
    ] {
        let mut harness = Harness::open(&connect_v5(60, properties));
        assert_eq!(harness.session.window_free(), window);
        for tag in 0..u64::from(window) {
            assert_eq!(harness.push("{}", tag), PublishResult::Sent);
        }
        assert!(!harness.session.can_send());
        assert_eq!(harness.push("{}", 99), PublishResult::WindowFull);
        // Everything else goes on at zero quota.
        harness.sent();
        assert_eq!(harness.answer(&PINGREQ), PINGRESP);
        assert_eq!(harness.feed(&puback(1)), (vec![acked(0)], Ok(())));
        assert_eq!(harness.session.window_free(), 1);
        assert_eq!(harness.push("{}", 99), PublishResult::Sent);
    }
    assert_eq!(Harness::open_v311().session.window_free(), 16);
}

#[test]
fn acknowledgements_out_of_order_are_taken_as_they_come() {
    let mut harness = Harness::open_v5();
    for tag in 1..=4 {
        assert_eq!(harness.push("{}", tag), PublishResult::Sent);
    }
    let acks = [puback(5), puback(2), puback(5), puback(3), puback(4)].concat();
    let expected = vec![acked(4), acked(1), acked(2), acked(3)];
    assert_eq!(harness.feed(&acks), (expected, Ok(())));
    assert_eq!(harness.session.window_free(), 16);
}

#[test]
fn a_refusal_by_the_client_ends_the_delivery_too() {
    let mut harness = Harness::open_v5();
    assert_eq!(harness.push("{}", 1), PublishResult::Sent);
    let (events, _) = harness.feed(&packet(0x40, &[0, 2, 0x97]));
    assert_eq!(events, [Event::Acked { tag: 1, code: 0x97 }]);
    assert_eq!(harness.session.window_free(), 16);
}

#[test]
fn the_first_message_brings_the_alias_and_the_next_only_use_it() {
    let mut harness = Harness::open(&connect_v5(60, &[0x22, 0, 1]));
    assert_eq!(harness.push("a", 0), PublishResult::Sent);
    assert_eq!(
        harness.sent(),
        packet(0x32, b"\x00\x04push\x00\x01\x03\x23\x00\x01a")
    );
    for tag in [1, 2] {
        assert_eq!(harness.push("b", tag), PublishResult::Sent);
        let rest = [&[0, 0, 0, tag as u8 + 1, 3, 0x23, 0, 1][..], b"b"].concat();
        assert_eq!(harness.sent(), packet(0x32, &rest));
    }
    // Another topic has its own name, and no alias.
    let payload = Bytes::from_static(b"c");
    let result = harness
        .session
        .publish(harness.now, "other", &payload, None, false, 3);
    assert_eq!(result, PublishResult::Sent);
    assert_eq!(harness.sent(), packet(0x32, b"\x00\x05other\x00\x04\x00c"));
}

#[test]
fn a_message_larger_than_the_client_takes_is_not_sent_and_takes_no_window() {
    let mut harness = Harness::open(&connect_v5(60, &[0x27, 0, 0, 0, 64, 0x22, 0, 1]));
    // 64 = header 2, topic 6, identifier 2, properties 4, payload 50.
    assert_eq!(
        harness.push(&"x".repeat(51), 0),
        PublishResult::TooLargeForClient
    );
    assert_eq!(harness.sent(), NOTHING);
    assert_eq!(harness.session.window_free(), 16);
    // The alias was not sent with it, so the next one still brings it.
    assert_eq!(harness.push(&"x".repeat(50), 0), PublishResult::Sent);
    let sent = harness.sent();
    assert_eq!(sent.len(), 64);
    assert_eq!(&sent[2..8], b"\x00\x04push");
}

#[test]
fn nothing_is_sent_before_the_connection_is_open_or_after() {
    let mut harness = Harness::new(tidings_mqtt::Limits::default());
    assert_eq!(harness.push("{}", 1), PublishResult::WindowFull);
    harness
        .feed(&connect_v5(60, &[]))
        .1
        .expect("a right CONNECT");
    assert_eq!(harness.push("{}", 1), PublishResult::WindowFull);
    let mut harness = Harness::open_v5();
    harness.feed(&[0xE0, 0]).1.expect("a right DISCONNECT");
    assert_eq!(harness.push("{}", 1), PublishResult::WindowFull);
    assert_eq!(harness.sent(), NOTHING);
}

#[test]
fn a_client_that_stops_acknowledging_is_closed() {
    let mut harness = Harness::open(&connect_v5(1000, &[]));
    assert_eq!(harness.push("{}", 0), PublishResult::Sent);
    assert_eq!(harness.pass(30 * SECOND), None);
    assert_eq!(harness.push("{}", 1), PublishResult::Sent);
    assert_eq!(harness.feed(&puback(1)).0, [acked(0)]);
    assert_eq!(
        harness.session.poll_timeout(),
        Some(harness.now + 60 * SECOND)
    );
    harness.sent();
    // Pings prove that the client lives, not that it takes messages.
    assert_eq!(harness.pass(59 * SECOND), None);
    assert_eq!(harness.answer(&PINGREQ), PINGRESP);
    assert_eq!(
        harness.pass(SECOND),
        Some(Event::Closed(Closed::AckTimeout))
    );
    assert_eq!(harness.sent(), [0xE0, 2, 0x83, 0]);
}

#[test]
fn a_later_message_does_not_lengthen_the_wait_for_the_first() {
    let mut harness = Harness::open_v311();
    assert_eq!(harness.push("{}", 0), PublishResult::Sent);
    assert_eq!(harness.pass(30 * SECOND), None);
    assert_eq!(harness.push("{}", 1), PublishResult::Sent);
    assert_eq!(harness.pass(29 * SECOND), None);
    assert_eq!(
        harness.pass(SECOND),
        Some(Event::Closed(Closed::AckTimeout))
    );
}

#[test]
fn with_nothing_in_flight_no_acknowledgement_is_due() {
    let mut harness = Harness::open(&connect_v5(1000, &[]));
    assert_eq!(harness.push("{}", 0), PublishResult::Sent);
    assert_eq!(harness.feed(&puback(1)).0, [acked(0)]);
    assert_eq!(
        harness.session.poll_timeout(),
        Some(harness.now + 1500 * SECOND)
    );
}

#[test]
fn a_device_speaks_on_its_two_topics() {
    for (v5, mut harness) in [(true, Harness::open_v5()), (false, Harness::open_v311())] {
        let bytes = [
            publish(v5, "event", 7, "{\"a\":1}"),
            publish(v5, "profile", 8, ""),
        ]
        .concat();
        let expected = vec![
            said(DeviceTopic::Event, "{\"a\":1}", Some(7)),
            said(DeviceTopic::Profile, "", Some(8)),
        ];
        assert_eq!(harness.feed(&bytes), (expected, Ok(())));
        assert_eq!(
            harness.sent(),
            NOTHING,
            "nothing is acknowledged before it is durable"
        );
        harness.session.ack_publish(id(7), PublishReason::Success);
        assert_eq!(harness.sent(), [0x40, 2, 0, 7]);
        harness.session.ack_publish(id(7), PublishReason::Success);
        assert_eq!(harness.sent(), NOTHING, "once");
        harness.session.ack_publish(id(8), PublishReason::Invalid);
        let refusal: &[u8] = if v5 {
            &[0x40, 3, 0, 8, 0x99]
        } else {
            &[0x40, 2, 0, 8]
        };
        assert_eq!(harness.sent(), refusal);
    }
}

#[test]
fn a_device_may_speak_at_qos_0() {
    let mut harness = Harness::open_v5();
    let body = [&field("event")[..], &[0], b"x"].concat();
    let (events, _) = harness.feed(&packet(0x30, &body));
    assert_eq!(events, [said(DeviceTopic::Event, "x", None)]);
    // The 3.1.1 retain flag asks for something we do not do, and is let pass.
    let (events, _) = Harness::open_v311().feed(&packet(0x31, &field("profile")));
    assert_eq!(events, [said(DeviceTopic::Profile, "", None)]);
    let (error, sent) = harness.refusal(&packet(0x31, &body));
    assert_eq!(
        (error.reason(), &sent[..]),
        (Reason::RetainNotSupported, &[0xE0, 2, 0x9A, 0][..])
    );
}

#[test]
fn other_topics_are_refused_as_gently_as_the_version_allows() {
    let mut harness = Harness::open_v5();
    assert_eq!(
        harness.answer(&publish(true, "push", 9, "")),
        [0x40, 3, 0, 9, 0x87]
    );
    let qos_0 = packet(0x30, &[&field("nowhere")[..], &[0]].concat());
    assert_eq!(harness.answer(&qos_0), NOTHING);
    let mut harness = Harness::open_v311();
    assert_eq!(
        harness.answer(&publish(false, "push", 9, "")),
        [0x40, 2, 0, 9]
    );
    assert_eq!(harness.answer(&packet(0x30, &field("nowhere"))), NOTHING);
}

#[test]
fn answers_keep_the_order_of_the_publishes() {
    let mut harness = Harness::open_v5();
    let bytes = [
        publish(true, "event", 1, ""),
        publish(true, "nowhere", 2, ""),
        publish(true, "event", 3, ""),
    ]
    .concat();
    assert_eq!(harness.feed(&bytes).0.len(), 2);
    harness.session.ack_publish(id(3), PublishReason::Success);
    assert_eq!(harness.sent(), NOTHING, "1 is still open");
    harness.session.ack_publish(id(1), PublishReason::Success);
    let expected = [
        &[0x40, 2, 0, 1][..],
        &[0x40, 3, 0, 2, 0x87],
        &[0x40, 2, 0, 3],
    ]
    .concat();
    assert_eq!(harness.sent(), expected);
}

#[test]
fn a_device_keeps_to_our_receive_maximum() {
    let mut harness = Harness::open_v5();
    for number in 1..=16 {
        assert_eq!(harness.feed(&publish(true, "event", number, "")).0.len(), 1);
    }
    let (error, sent) = harness.refusal(&publish(true, "event", 17, ""));
    assert_eq!(error, ProtocolError::ReceiveMaximumExceeded(16));
    assert_eq!(sent, [0xE0, 2, 0x93, 0]);
    harness.session.ack_publish(id(1), PublishReason::Success);
    assert_eq!(harness.sent(), NOTHING, "nothing follows a DISCONNECT");
}

#[test]
fn a_publish_that_is_sent_again_is_answered_once() {
    let mut harness = Harness::open_v311();
    let first = publish(false, "event", 7, "x");
    let mut again = first.clone();
    again[0] |= 0b1000;
    assert_eq!(harness.feed(&[first.clone(), again].concat()).0.len(), 1);
    harness.session.ack_publish(id(7), PublishReason::Success);
    assert_eq!(harness.sent(), [0x40, 2, 0, 7]);
    // Answered, the identifier is free again; unanswered, it is not.
    assert_eq!(harness.feed(&first).0.len(), 1);
    let (error, _) = harness.refusal(&first);
    assert_eq!(error, ProtocolError::PacketIdInUse(7));
}

#[test]
fn a_topic_alias_of_the_client_is_refused_since_none_was_allowed() {
    let mut harness = Harness::open_v5();
    let body = [&field("event")[..], &[3, 0x23, 0, 1]].concat();
    let (error, sent) = harness.refusal(&packet(0x30, &body));
    assert_eq!(
        (error, &sent[..]),
        (ProtocolError::TopicAlias, &[0xE0, 2, 0x94, 0][..])
    );
}
