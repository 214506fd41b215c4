//! Random bytes: nothing panics, and how the bytes are cut makes no difference.

use std::num::NonZeroU16;
use std::time::Instant;

use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;
use tidings_mqtt::packet::{Header, Packet, Publish};
use tidings_mqtt::server::{ConnectAccepted, Event, PublishReason};
use tidings_mqtt::{Limits, ProtocolError, ServerSession, Version};

use crate::bytes::{PINGREQ, connect_v5, connect_v311, field, packet, puback, publish};

/// Everything a session says and does.
#[derive(Debug, PartialEq)]
struct Trace {
    events: Vec<Event>,
    output: Vec<u8>,
    result: Result<(), ProtocolError>,
}

/// What a session makes of `chunks`, one after the other.
fn run(chunks: &[&[u8]]) -> Trace {
    let now = Instant::now();
    let mut session = ServerSession::new(now, Limits::default());
    let (mut input, mut output, mut events) = (BytesMut::new(), BytesMut::new(), Vec::new());
    for chunk in chunks {
        input.extend_from_slice(chunk);
        loop {
            let left = input.len();
            let result = session.handle_input(now, &mut input);
            session.poll_output(&mut output);
            if result.is_err() {
                return Trace {
                    events,
                    output: output.to_vec(),
                    result,
                };
            }
            let event = session.poll_event();
            match &event {
                Some(Event::Connect(_)) => session.accept(now, ConnectAccepted::default()),
                Some(Event::Publish {
                    packet_id: Some(id),
                    ..
                }) => session.ack_publish(*id, PublishReason::Success),
                Some(_) => {}
                None if left == input.len() => break,
                None => {}
            }
            events.extend(event);
        }
    }
    session.poll_output(&mut output);
    Trace {
        events,
        output: output.to_vec(),
        result: Ok(()),
    }
}

/// A packet that is right, or nearly.
fn any_packet(v5: bool) -> impl Strategy<Value = Vec<u8>> {
    let block: &[u8] = if v5 { &[0] } else { &[] };
    prop_oneof![
        4 => Just(PINGREQ.to_vec()),
        1 => Just(connect_v5(5, &[0x22, 0, 1])),
        8 => ("event|profile|push|a/b", any::<u16>(), "\\PC{0,9}")
            .prop_map(move |(topic, id, payload)| publish(v5, &topic, id, &payload)),
        2 => any::<u16>().prop_map(puback),
        4 => ("push|#|[a-z#+/$]{0,6}", 0..3_u8).prop_map(move |(filter, qos)| {
            packet(0x82, &[&[0, 1], block, &field(&filter), &[qos]].concat())
        }),
        2 => "push|[a-z#+/]{0,6}".prop_map(move |filter| {
            packet(0xA2, &[&[0, 1], block, &field(&filter)].concat())
        }),
        1 => (any::<u8>(), vec(any::<u8>(), 0..20)).prop_map(|(first, body)| packet(first, &body)),
        1 => vec(any::<u8>(), 0..20),
        1 => Just(vec![0xE0, 0]),
    ]
}

fn any_conversation() -> impl Strategy<Value = Vec<u8>> {
    any::<bool>().prop_flat_map(|v5| {
        let connect = if v5 {
            connect_v5(60, &[])
        } else {
            connect_v311(60)
        };
        let first = prop_oneof![8 => Just(connect), 1 => any_packet(v5)];
        (first, vec(any_packet(v5), 0..12))
            .prop_map(|(first, rest)| [first, rest.concat()].concat())
    })
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..300), v5 in any::<bool>()) {
        run(&[&bytes]);
        let connect = if v5 { connect_v5(60, &[]) } else { connect_v311(60) };
        run(&[&connect, &bytes]);
    }

    #[test]
    fn how_the_bytes_are_cut_makes_no_difference(
        bytes in any_conversation(),
        cut in any::<prop::sample::Index>(),
    ) {
        let whole = run(&[&bytes]);
        let singly: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(&whole, &run(&singly));
        let (front, back) = bytes.split_at(cut.index(bytes.len() + 1));
        prop_assert_eq!(&whole, &run(&[front, back]));
    }

    #[test]
    fn one_changed_byte_never_panics(
        bytes in any_conversation(),
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
    ) {
        let mut bytes = bytes;
        let at = at.index(bytes.len());
        bytes[at] = value;
        run(&[&bytes]);
    }

    #[test]
    fn a_publish_comes_back_as_it_was(
        v5 in any::<bool>(),
        topic in "[^#+\0]{1,30}",
        id in any::<u16>(),
        dup in any::<bool>(),
        retain in any::<bool>(),
        alias in any::<u16>(),
        expiry in any::<Option<u32>>(),
        payload in vec(any::<u8>(), 0..300),
    ) {
        let packet_id = NonZeroU16::new(id);
        let version = if v5 { Version::V5 } else { Version::V311 };
        let publish = Publish {
            dup: dup && packet_id.is_some(),
            retain,
            topic: &topic,
            packet_id,
            topic_alias: NonZeroU16::new(alias).filter(|_| v5),
            expiry_secs: expiry.filter(|_| v5),
            payload: &payload,
        };
        let mut bytes = BytesMut::new();
        publish.encode(version, &mut bytes);
        prop_assert_eq!(bytes.len(), publish.encoded_len(version));
        let header = Header::decode(&bytes, 1000).unwrap().unwrap();
        prop_assert_eq!(header.packet_len(), bytes.len());
        let read = Packet::decode(&header, &bytes[header.header_len..], version);
        prop_assert_eq!(read, Ok(Packet::Publish(publish)));
    }
}
