//! From the first byte to the last: CONNECT, keep-alive, DISCONNECT, and every way to be shown the door.

use std::time::Duration;

use tidings_mqtt::server::{
    Closed, ConnectAccepted, ConnectRefusal, DisconnectReason, Event, Password,
};
use tidings_mqtt::{Limits, ProtocolError, Reason, ServerSession, Version};

use crate::bytes::{
    NOTHING, PINGREQ, PINGRESP, connect_v5, connect_v311, field, packet, properties, publish,
};
use crate::harness::Harness;

const SECOND: Duration = Duration::from_secs(1);

fn fresh() -> Harness {
    Harness::new(Limits::default())
}

/// A session whose CONNECT waits for an answer.
fn waiting(connect: &[u8]) -> Harness {
    let mut harness = fresh();
    let (events, result) = harness.feed(connect);
    assert!(matches!(events[..], [Event::Connect(_)]), "{events:?}");
    assert_eq!(result, Ok(()));
    harness
}

#[test]
fn an_idle_session_is_small() {
    let size = size_of::<ServerSession>();
    println!("an idle session takes {size} bytes");
    assert!(size <= 256, "{size}");
}

#[test]
fn a_connect_tells_its_owner_everything_and_prints_no_password() {
    let mut harness = fresh();
    let properties = [0x11, 0, 0, 1, 0, 0x21, 0, 2, 0x27, 0, 0, 4, 0, 0x22, 0, 3];
    let (mut events, _) = harness.feed(&connect_v5(90, &properties));
    let Some(Event::Connect(request)) = events.pop() else {
        panic!("no CONNECT in {events:?}");
    };
    assert_eq!(request.version, Version::V5);
    assert_eq!(request.client_id, "d1");
    assert_eq!(request.username.as_deref(), Some("app"));
    assert_eq!(
        request.password.as_ref().map(Password::expose),
        Some(&b"secret"[..])
    );
    assert_eq!((request.clean_start, request.keep_alive_secs), (true, 90));
    assert_eq!((request.receive_maximum, request.topic_alias_max), (2, 3));
    assert_eq!(
        (request.packet_size_max, request.session_expiry_secs),
        (1024, 256)
    );
    let printed = format!("{request:?}");
    assert!(
        printed.contains("***") && !printed.contains("secret"),
        "{printed}"
    );
    assert!(!printed.contains("115, 101, 99"), "{printed}");
}

#[test]
fn an_accepted_v5_client_is_told_the_limits() {
    let mut harness = waiting(&connect_v5(60, &[]));
    harness.session.accept(
        harness.now,
        ConnectAccepted {
            session_present: true,
            ..ConnectAccepted::default()
        },
    );
    let told = properties(&[
        0x21, 0, 16, 0x24, 1, 0x25, 0, 0x27, 0, 0, 0x40, 0, 0x29, 0, 0x2A, 0,
    ]);
    assert_eq!(harness.sent(), packet(0x20, &[&[1, 0], &told[..]].concat()));
}

#[test]
fn an_accepted_v311_client_is_told_two_bytes() {
    let mut harness = waiting(&connect_v311(60));
    harness
        .session
        .accept(harness.now, ConnectAccepted::default());
    assert_eq!(harness.sent(), [0x20, 2, 0, 0]);
}

#[test]
fn a_v5_keep_alive_that_is_none_or_too_long_is_replaced() {
    let server_keep_alive = |asked: u16, accepted: ConnectAccepted| {
        let mut harness = waiting(&connect_v5(asked, &[]));
        harness.session.accept(harness.now, accepted);
        let sent = harness.sent();
        let at = sent.len().checked_sub(3).filter(|&at| sent[at] == 0x13)?;
        Some(u16::from_be_bytes([sent[at + 1], sent[at + 2]]))
    };
    let ours = ConnectAccepted::default();
    let lower = ConnectAccepted {
        keep_alive_max_secs: Some(60),
        ..ours
    };
    let higher = ConnectAccepted {
        keep_alive_max_secs: Some(9999),
        ..ours
    };
    assert_eq!(server_keep_alive(1800, ours), None);
    assert_eq!(server_keep_alive(1801, ours), Some(1800));
    assert_eq!(server_keep_alive(0, ours), Some(1800));
    assert_eq!(server_keep_alive(120, lower), Some(60));
    assert_eq!(server_keep_alive(60, lower), None);
    assert_eq!(server_keep_alive(0, higher), Some(1800));
}

#[test]
fn a_session_expiry_that_is_granted_is_told() {
    let mut harness = waiting(&connect_v5(60, &[]));
    harness.session.accept(
        harness.now,
        ConnectAccepted {
            session_expiry_secs: Some(86_400),
            ..ConnectAccepted::default()
        },
    );
    let sent = harness.sent();
    assert_eq!(sent[5..10], [0x11, 0, 1, 0x51, 0x80]);
    // And the DISCONNECT may now change it, which one of a session without expiry may not.
    let (events, _) = harness.feed(&packet(0xE0, &[0, 5, 0x11, 0, 0, 0, 9]));
    assert_eq!(
        events,
        [Event::Closed(Closed::ByClient {
            code: 0,
            session_expiry_secs: Some(9)
        })]
    );
    let (error, sent) = Harness::open_v5().refusal(&packet(0xE0, &[0, 5, 0x11, 0, 0, 0, 9]));
    assert_eq!(error, ProtocolError::SessionExpiryRaised);
    assert_eq!(sent, [0xE0, 2, 0x82, 0]);
}

#[test]
fn a_largest_connack_is_as_long_as_is_said() {
    let mut harness = waiting(&connect_v5(0, &[0x27, 0, 0, 0, 29]));
    harness.session.accept(
        harness.now,
        ConnectAccepted {
            session_expiry_secs: Some(1),
            ..ConnectAccepted::default()
        },
    );
    assert_eq!(harness.sent().len(), 29);
}

#[test]
fn a_refused_client_is_told_why_in_its_version() {
    use ConnectRefusal as Refusal;
    for (refusal, v5, v311) in [
        (Refusal::BadCredentials, 0x86, 4),
        (Refusal::Banned, 0x8A, 5),
        (Refusal::ClientIdInvalid, 0x85, 2),
        (Refusal::NotAuthorized, 0x87, 5),
        (Refusal::QuotaExceeded, 0x97, 3),
        (Refusal::RateExceeded, 0x9F, 3),
        (Refusal::ServerBusy, 0x89, 3),
        (Refusal::ServerUnavailable, 0x88, 3),
        (Refusal::UseAnotherServer, 0x9C, 3),
    ] {
        let mut harness = waiting(&connect_v5(60, &[]));
        harness.session.reject(refusal);
        assert_eq!(harness.sent(), [0x20, 3, 0, v5, 0], "{refusal:?}");
        let mut harness = waiting(&connect_v311(60));
        harness.session.reject(refusal);
        assert_eq!(harness.sent(), [0x20, 2, 0, v311], "{refusal:?}");
    }
}

#[test]
fn what_follows_a_refused_connect_is_not_acted_on() {
    let bytes = [connect_v5(60, &[]), publish(true, "event", 1, "{}")].concat();
    let mut harness = waiting(&bytes);
    harness.session.reject(ConnectRefusal::BadCredentials);
    assert_eq!(harness.sent(), [0x20, 3, 0, 0x86, 0]);
    assert_eq!(harness.answer(&PINGREQ), NOTHING);
    assert_eq!(harness.unread(), 0);
    assert_eq!(harness.session.poll_timeout(), None);
}

#[test]
fn packets_behind_connect_wait_for_its_answer() {
    let bytes = [&connect_v5(60, &[])[..], &PINGREQ, &PINGREQ].concat();
    let mut harness = waiting(&bytes);
    assert_eq!(harness.unread(), 4);
    assert!(!harness.session.wants_input());
    assert_eq!(harness.sent(), NOTHING);
    harness
        .session
        .accept(harness.now, ConnectAccepted::default());
    let sent = harness.answer(&[]);
    assert_eq!(sent[0], 0x20);
    assert!(sent.ends_with(&[PINGRESP, PINGRESP].concat()), "{sent:x?}");
}

#[test]
fn what_waits_behind_connect_is_bounded() {
    let mut harness = waiting(&connect_v5(60, &[]));
    let (error, sent) = harness.refusal(&[0; 16 * 1024 + 1]);
    assert_eq!(error.reason(), Reason::QuotaExceeded);
    assert_eq!(sent, [0x20, 3, 0, 0x97, 0]);
}

#[test]
fn a_wrong_connect_is_answered_as_its_version_allows() {
    let id = field("d1");
    let connect = |name: &str, level: u8, flags: u8, rest: &[&[u8]]| {
        packet(
            0x10,
            &[&field(name)[..], &[level, flags, 0, 0], &rest.concat()].concat(),
        )
    };
    let cases: [(Vec<u8>, &[u8]); 14] = [
        // Another protocol and nonsense: silence. An older or newer version of this one: words.
        (connect("hj", 4, 2, &[&id]), &[]),
        (packet(0x10, &[]), &[]),
        (connect("MQIsdp", 3, 2, &[&id]), &[0x20, 2, 0, 1]),
        (connect("MQTT", 3, 2, &[&id]), &[0x20, 2, 0, 1]),
        (connect("MQTT", 6, 2, &[&[0], &id]), &[0x20, 3, 0, 0x84, 0]),
        // No client identifier.
        (
            connect("MQTT", 5, 2, &[&[0], &[0, 0]]),
            &[0x20, 3, 0, 0x85, 0],
        ),
        (connect("MQTT", 4, 2, &[&[0, 0]]), &[0x20, 2, 0, 2]),
        // Malformed.
        (connect("MQTT", 5, 3, &[&[0], &id]), &[0x20, 3, 0, 0x81, 0]),
        (connect("MQTT", 4, 3, &[&id]), &[]),
        // Enhanced authentication.
        (
            connect("MQTT", 5, 2, &[&[4, 0x15, 0, 1, b'x'], &id]),
            &[0x20, 3, 0, 0x8C, 0],
        ),
        // A will at QoS 2, a retained one; 3.1.1 may have both, see below.
        (
            connect(
                "MQTT",
                5,
                0b0001_0110,
                &[&[0], &id, &[0], &field("w"), &field("")],
            ),
            &[0x20, 3, 0, 0x9B, 0],
        ),
        (
            connect(
                "MQTT",
                5,
                0b0010_0110,
                &[&[0], &id, &[0], &field("w"), &field("")],
            ),
            &[0x20, 3, 0, 0x9A, 0],
        ),
        // Packet sizes below any CONNACK we have, and below even the refusal.
        (
            connect("MQTT", 5, 2, &[&[5, 0x27, 0, 0, 0, 28], &id]),
            &[0x20, 3, 0, 0x95, 0],
        ),
        (connect("MQTT", 5, 2, &[&[5, 0x27, 0, 0, 0, 4], &id]), &[]),
    ];
    for (bytes, answer) in cases {
        let (_, sent) = fresh().refusal(&bytes);
        assert_eq!(sent, answer, "{bytes:x?}");
    }
    let will = connect("MQTT", 4, 0b0011_0110, &[&id, &field("w"), &field("")]);
    waiting(&will);
}

#[test]
fn the_first_packet_is_connect_and_there_is_one() {
    for first in [
        PINGREQ.to_vec(),
        publish(true, "event", 1, ""),
        vec![0xE0, 0],
    ] {
        let (error, sent) = fresh().refusal(&first);
        assert!(
            matches!(error, ProtocolError::ExpectedConnect(_)),
            "{error}"
        );
        assert_eq!(sent, NOTHING, "never a word before CONNACK");
    }
    let (error, sent) = Harness::open_v5().refusal(&connect_v5(60, &[]));
    assert_eq!(
        (error, &sent[..]),
        (ProtocolError::SecondConnect, &[0xE0, 2, 0x82, 0][..])
    );
    let (error, sent) = Harness::open_v311().refusal(&connect_v311(60));
    assert_eq!((error, &sent[..]), (ProtocolError::SecondConnect, &[][..]));
}

#[test]
fn a_packet_that_is_too_large_is_refused_from_its_first_bytes() {
    let (error, sent) = Harness::open_v5().refusal(&[0x32, 0xFF, 0xFF, 0x7F]);
    assert_eq!(error.reason(), Reason::PacketTooLarge);
    assert_eq!(sent, [0xE0, 2, 0x95, 0]);
    let (_, sent) = Harness::open_v311().refusal(&[0x32, 0xFF, 0xFF, 0x7F]);
    assert_eq!(sent, NOTHING);
    let (_, sent) = fresh().refusal(&[0x10, 0xFF, 0xFF, 0x7F]);
    assert_eq!(sent, NOTHING);
}

#[test]
fn errors_after_connack_are_told_to_v5_only() {
    for (bytes, code) in [
        (
            &[0x34, 9, 0, 5, b'e', b'v', b'e', b'n', b't', 0, 1][..],
            0x9B,
        ),
        (&[0x36, 0], 0x81),
        (&[0xF0, 0], 0x82),
        (&[0x50, 2, 0, 1], 0x82),
        (&[0xC0, 1, 0], 0x81),
        (&[0x00], 0x81),
    ] {
        let (_, sent) = Harness::open_v5().refusal(bytes);
        assert_eq!(sent, [0xE0, 2, code, 0], "{bytes:x?}");
        let (_, sent) = Harness::open_v311().refusal(bytes);
        assert_eq!(sent, NOTHING, "{bytes:x?}");
    }
}

#[test]
fn a_client_that_never_connects_is_closed_in_silence() {
    let mut harness = fresh();
    assert_eq!(
        harness.session.poll_timeout(),
        Some(harness.now + 10 * SECOND)
    );
    harness
        .feed(&connect_v5(60, &[])[..5])
        .1
        .expect("half a CONNECT is no error");
    assert_eq!(harness.pass(9 * SECOND), None);
    assert_eq!(
        harness.pass(SECOND),
        Some(Event::Closed(Closed::ConnectTimeout))
    );
    assert_eq!(harness.sent(), NOTHING);
    assert_eq!(harness.session.poll_timeout(), None);
}

#[test]
fn no_clock_runs_while_the_owner_makes_up_its_mind() {
    let mut harness = waiting(&connect_v5(60, &[]));
    assert_eq!(harness.session.poll_timeout(), None);
    assert_eq!(harness.pass(60 * SECOND), None);
    harness
        .session
        .accept(harness.now, ConnectAccepted::default());
    assert_eq!(
        harness.session.poll_timeout(),
        Some(harness.now + 90 * SECOND)
    );
}

#[test]
fn silence_is_allowed_for_one_and_a_half_keep_alives() {
    let mut harness = Harness::open_v5();
    assert_eq!(harness.pass(89 * SECOND), None);
    assert_eq!(harness.answer(&PINGREQ), PINGRESP);
    assert_eq!(harness.pass(89 * SECOND), None);
    // Half a packet is no packet.
    assert_eq!(harness.answer(&PINGREQ[..1]), NOTHING);
    assert_eq!(
        harness.pass(SECOND),
        Some(Event::Closed(Closed::KeepAliveTimeout))
    );
    assert_eq!(harness.sent(), [0xE0, 2, 0x8D, 0]);
    assert_eq!(harness.answer(&PINGREQ), NOTHING);
    assert_eq!(harness.pass(3600 * SECOND), None);
}

#[test]
fn a_v311_client_without_keep_alive_is_held_to_the_ceiling_all_the_same() {
    for asked in [0, 65_535] {
        let mut harness = Harness::open(&connect_v311(asked));
        assert_eq!(harness.pass(2699 * SECOND), None);
        assert_eq!(
            harness.pass(SECOND),
            Some(Event::Closed(Closed::KeepAliveTimeout))
        );
        assert_eq!(harness.sent(), NOTHING, "3.1.1 cannot be told");
    }
}

#[test]
fn a_client_may_say_goodbye_in_each_form() {
    for (bytes, code) in [
        (&[0xE0, 0][..], 0),
        (&[0xE0, 1, 0x04], 4),
        (&[0xE0, 2, 0x80, 0], 0x80),
        (&[0xE0, 6, 0, 4, 0x1F, 0, 1, b'x'], 0),
    ] {
        let mut harness = Harness::open_v5();
        let goodbye = Event::Closed(Closed::ByClient {
            code,
            session_expiry_secs: None,
        });
        let (events, result) = harness.feed(&[bytes, &PINGREQ].concat());
        assert_eq!((events, result), (vec![goodbye], Ok(())));
        assert_eq!(harness.sent(), NOTHING, "nothing is said after a goodbye");
        assert_eq!(harness.unread(), 0);
    }
}

#[test]
fn a_client_that_is_sent_away_is_told_on_v5() {
    use DisconnectReason as Reason;
    for (reason, code) in [
        (Reason::AdministrativeAction, 0x98),
        (Reason::NotAuthorized, 0x87),
        (Reason::QuotaExceeded, 0x97),
        (Reason::ServerBusy, 0x89),
        (Reason::ServerShuttingDown, 0x8B),
        (Reason::SessionTakenOver, 0x8E),
        (Reason::UseAnotherServer, 0x9C),
    ] {
        let mut harness = Harness::open_v5();
        harness.session.disconnect(reason);
        assert_eq!(harness.sent(), [0xE0, 2, code, 0]);
        harness.session.disconnect(reason);
        assert_eq!(harness.sent(), NOTHING, "once is enough");
        let mut harness = Harness::open_v311();
        harness.session.disconnect(reason);
        assert_eq!(harness.sent(), NOTHING);
        assert!(!harness.session.can_send());
        let mut harness = waiting(&connect_v5(60, &[]));
        harness.session.disconnect(reason);
        assert_eq!(harness.sent(), NOTHING, "never a DISCONNECT before CONNACK");
    }
}

#[test]
fn answers_out_of_turn_change_nothing() {
    let mut harness = fresh();
    harness
        .session
        .accept(harness.now, ConnectAccepted::default());
    harness.session.reject(ConnectRefusal::Banned);
    assert_eq!(harness.sent(), NOTHING);
    assert!(harness.session.wants_input());
    let mut harness = Harness::open_v5();
    harness
        .session
        .accept(harness.now, ConnectAccepted::default());
    harness.session.reject(ConnectRefusal::Banned);
    assert_eq!(harness.sent(), NOTHING);
    assert_eq!(harness.answer(&PINGREQ), PINGRESP);
}

#[test]
fn a_client_that_does_not_read_its_answers_is_not_read_either() {
    let mut harness = Harness::open_v5();
    let mut input = bytes::BytesMut::from(&PINGREQ.repeat(4000)[..]);
    harness
        .session
        .handle_input(harness.now, &mut input)
        .expect("pings are right");
    assert_eq!(input.len(), 4000 * 2 - 4096);
    assert!(!harness.session.wants_input());
    assert_eq!(harness.sent().len(), 4096);
    harness
        .session
        .handle_input(harness.now, &mut input)
        .expect("pings are right");
    assert!(input.is_empty());
}
