//! Packets that must be read, and packets that must not, with the reason for each.

use tidings_mqtt::packet::{Connect, Header, Packet, PacketType};
use tidings_mqtt::{ProtocolError, Reason, Version};

use crate::bytes::{connect_v5, connect_v311, field, packet, properties};

const V311: Version = Version::V311;
const V5: Version = Version::V5;

fn decode(version: Version, bytes: &[u8]) -> Result<Packet<'_>, ProtocolError> {
    let header = Header::decode(bytes, 1 << 20)?.expect("the case holds a whole header");
    assert_eq!(
        header.packet_len(),
        bytes.len(),
        "the case is one whole packet"
    );
    Packet::decode(&header, &bytes[header.header_len..], version)
}

#[track_caller]
fn refused(version: Version, bytes: &[u8], reason: Reason) {
    let error = match decode(version, bytes) {
        Err(error) => error,
        Ok(packet) => panic!("{bytes:x?} was read as {packet:?}"),
    };
    assert_eq!(error.reason(), reason, "{error}");
}

#[track_caller]
fn read(version: Version, bytes: &[u8]) {
    if let Err(error) = decode(version, bytes) {
        panic!("{bytes:x?}: {error}");
    }
}

fn cat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// A CONNECT with these flags and this payload.
fn connect(version: u8, flags: u8, content: &[u8], payload: &[&[u8]]) -> Vec<u8> {
    let block = if version == 5 {
        properties(content)
    } else {
        vec![]
    };
    let head = cat(&[&field("MQTT"), &[version, flags, 0, 60], &block]);
    packet(0x10, &cat(&[&head, &payload.concat()]))
}

fn publish_v5(first: u8, topic: &[u8], rest: &[u8]) -> Vec<u8> {
    packet(first, &cat(&[&field(topic), rest]))
}

#[test]
fn fixed_headers_are_judged_before_the_body() {
    let header = |bytes: &[u8]| Header::decode(bytes, 1000);
    assert_eq!(header(&[]), Ok(None));
    assert_eq!(header(&[0x30]), Ok(None));
    assert_eq!(header(&[0x30, 0x80]), Ok(None));
    let longest = header(&[0x30, 0xE5, 0x07]).expect("1000 bytes are allowed");
    assert_eq!(longest.map(|header| header.packet_len()), Some(1000));
    assert_eq!(
        header(&[0x30, 0xE6, 0x07]),
        Err(ProtocolError::PacketTooLarge {
            packet: PacketType::Publish,
            len: 1001,
            max: 1000
        })
    );
    let malformed: [&[u8]; 9] = [
        &[0x00],
        &[0x0F, 0],
        &[0x30, 0x80, 0x00],
        &[0x30, 0xFF, 0xFF, 0xFF, 0xFF],
        &[0x30, 0xFF, 0xFF, 0xFF, 0x80, 0x01],
        &[0x11],
        &[0x80],
        &[0xA0],
        &[0xC1],
    ];
    for bytes in malformed {
        let error = header(bytes).expect_err("malformed");
        assert_eq!(
            error.reason(),
            Reason::MalformedPacket,
            "{bytes:x?}: {error}"
        );
    }
}

#[test]
fn a_connect_gives_all_it_says() {
    let content = [
        0x11, 0, 0, 0, 30, 0x21, 0, 5, 0x27, 0, 0, 4, 0, 0x22, 0, 9, 0x17, 0, 0x19, 1, 0x26, 0, 1,
        b'k', 0, 1, b'v',
    ];
    let bytes = connect(
        5,
        0b1110_1110,
        &content,
        &[
            &field("d1"),
            &properties(&[0x18, 0, 0, 0, 1, 0x01, 1]),
            &field("gone"),
            &field("bye"),
            &field("app"),
            &field([0, 255]),
        ],
    );
    let Ok(Packet::Connect(connect)) = decode(V5, &bytes) else {
        panic!("this CONNECT is right");
    };
    assert_eq!(connect.version, Version::V5);
    assert_eq!((connect.client_id, connect.username), ("d1", Some("app")));
    assert_eq!(connect.password, Some(&[0, 255][..]));
    assert_eq!((connect.keep_alive_secs, connect.clean_start), (60, true));
    assert_eq!(
        (connect.receive_maximum, connect.packet_size_max),
        (5, 1024)
    );
    assert_eq!(
        (connect.topic_alias_max, connect.session_expiry_secs),
        (9, 30)
    );
    let will = connect.will.clone().expect("there is a will");
    assert_eq!((will.topic, will.payload), ("gone", &b"bye"[..]));
    assert_eq!((will.qos, will.retain), (1, true));
    assert!(
        !format!("{connect:?}").contains("255"),
        "the password prints"
    );
}

#[test]
fn a_connect_that_says_little_means_the_defaults() {
    let cases = [(connect_v5(0, &[]), 0), (connect_v311(0), 0)];
    for (bytes, expiry) in cases {
        let Ok(Packet::Connect(connect)) = decode(V5, &bytes) else {
            panic!("{bytes:x?}");
        };
        assert_eq!(
            (connect.receive_maximum, connect.packet_size_max),
            (u16::MAX, u32::MAX)
        );
        assert_eq!(
            (connect.topic_alias_max, connect.session_expiry_secs),
            (0, expiry)
        );
    }
    let kept = connect(4, 0, &[], &[&field("d1")]);
    let Ok(Packet::Connect(connect)) = decode(V311, &kept) else {
        panic!("{kept:x?}");
    };
    assert_eq!(connect.session_expiry_secs, u32::MAX);
}

#[test]
fn wrong_connects_are_refused() {
    use Reason::{
        MalformedPacket, PayloadFormatInvalid, ProtocolError, UnsupportedProtocolVersion,
    };
    let id = field("d1");
    let id: &[u8] = &id;
    let name = |name: &str, version: u8| {
        packet(0x10, &cat(&[&field(name), &[version, 2, 0, 0], &[0], id]))
    };
    for (bytes, reason) in [
        (name("hj", 5), UnsupportedProtocolVersion),
        (name("mqtt", 5), UnsupportedProtocolVersion),
        (name("MQTT", 3), UnsupportedProtocolVersion),
        (name("MQTT", 6), UnsupportedProtocolVersion),
        (name("MQIsdp", 3), UnsupportedProtocolVersion),
        (name("MQIsdp", 4), UnsupportedProtocolVersion),
        (connect(5, 0b0000_0011, &[], &[id]), MalformedPacket),
        (connect(4, 0b0000_0001, &[], &[id]), MalformedPacket),
        // Will QoS or retain without a will; will QoS 3; will without its fields.
        (connect(5, 0b0000_1000, &[], &[id]), MalformedPacket),
        (connect(4, 0b0010_0000, &[], &[id]), MalformedPacket),
        (
            connect(4, 0b0001_1100, &[], &[id, &field("t"), &field("")]),
            MalformedPacket,
        ),
        (connect(4, 0b0000_0100, &[], &[id]), MalformedPacket),
        (
            connect(4, 0b0000_0100, &[], &[id, &field("a/#"), &field("")]),
            MalformedPacket,
        ),
        (
            connect(4, 0b0000_0100, &[], &[id, &field(""), &field("")]),
            MalformedPacket,
        ),
        (
            connect(
                5,
                0b0000_0100,
                &[],
                &[id, &[2, 1, 1], &field("t"), &field([0xFF])],
            ),
            PayloadFormatInvalid,
        ),
        // A topic alias in a will's properties.
        (
            connect(
                5,
                0b0000_0100,
                &[],
                &[id, &[3, 0x23, 0, 1], &field("t"), &field("")],
            ),
            MalformedPacket,
        ),
        (
            connect(4, 0b0100_0010, &[], &[id, &field("pw")]),
            MalformedPacket,
        ),
        (connect(5, 0b1000_0010, &[], &[id]), MalformedPacket),
        (connect(5, 0b0000_0010, &[], &[id, &[0]]), MalformedPacket),
        (
            connect(5, 0b0000_0010, &[], &[&[0, 3, b'd', b'1']]),
            MalformedPacket,
        ),
        (
            connect(5, 0b0000_0010, &[], &[&field([0xC0, 0x80])]),
            MalformedPacket,
        ),
        (
            connect(5, 0b0000_0010, &[], &[&field([0xED, 0xA0, 0x80])]),
            MalformedPacket,
        ),
        (
            connect(5, 0b0000_0010, &[], &[&field("d\0")]),
            MalformedPacket,
        ),
        // Properties: twice, out of range, of another packet, unknown, cut off, an overlong identifier.
        (
            connect(5, 2, &[0x21, 0, 1, 0x21, 0, 1], &[id]),
            ProtocolError,
        ),
        (connect(5, 2, &[0x21, 0, 0], &[id]), ProtocolError),
        (connect(5, 2, &[0x27, 0, 0, 0, 0], &[id]), ProtocolError),
        (connect(5, 2, &[0x17, 2], &[id]), ProtocolError),
        (connect(5, 2, &[0x19, 0xFF], &[id]), ProtocolError),
        (connect(5, 2, &[0x16, 0, 1, 1], &[id]), ProtocolError),
        (connect(5, 2, &[0x23, 0, 1], &[id]), MalformedPacket),
        (connect(5, 2, &[0x00], &[id]), MalformedPacket),
        (connect(5, 2, &[0x7F, 0], &[id]), MalformedPacket),
        (connect(5, 2, &[0x91, 0x00], &[id]), MalformedPacket),
        (connect(5, 2, &[0x91, 0x01], &[id]), MalformedPacket),
        (connect(5, 2, &[0x21, 0], &[id]), MalformedPacket),
        (connect(5, 2, &[0x26, 0, 1, b'k'], &[id]), MalformedPacket),
        (
            packet(0x10, &cat(&[&field("MQTT"), &[5, 2, 0, 0, 9], id])),
            MalformedPacket,
        ),
        (packet(0x10, &[]), MalformedPacket),
        (
            connect(5, 2, &[0x15, 0, 1, b'x'], &[id]),
            Reason::BadAuthenticationMethod,
        ),
    ] {
        refused(V5, &bytes, reason);
    }
}

#[test]
fn the_version_is_known_even_of_a_connect_that_is_wrong() {
    let bytes = connect(5, 0xFF, &[], &[]);
    assert_eq!(Connect::version_of(&bytes[2..]), Ok(Version::V5));
    let bytes = connect(4, 0xFF, &[], &[]);
    assert_eq!(Connect::version_of(&bytes[2..]), Ok(Version::V311));
    assert_eq!(
        Connect::version_of(&bytes[2..6]).map_err(|error| error.reason()),
        Err(Reason::MalformedPacket)
    );
}

#[test]
fn publishes_are_read() {
    let bytes = publish_v5(
        0x3B,
        b"event",
        &[0, 7, 7, 0x02, 0, 0, 0, 9, 0x01, 1, b'{', b'}'],
    );
    let Ok(Packet::Publish(publish)) = decode(V5, &bytes) else {
        panic!("{bytes:x?}");
    };
    assert_eq!((publish.topic, publish.payload), ("event", &b"{}"[..]));
    assert_eq!(publish.packet_id.map(u16::from), Some(7));
    assert_eq!((publish.dup, publish.retain), (true, true));
    assert_eq!(publish.expiry_secs, Some(9));
    // QoS 0, empty payload, a leading byte order mark as data, an alias with and without a topic.
    read(V311, &packet(0x30, &field("event")));
    read(V311, &packet(0x30, &field("\u{FEFF}event")));
    read(V5, &publish_v5(0x30, b"event", &[3, 0x23, 0, 1]));
    read(V5, &publish_v5(0x30, b"", &[3, 0x23, 0, 1]));
}

#[test]
fn wrong_publishes_are_refused() {
    use Reason::{
        MalformedPacket, PayloadFormatInvalid, ProtocolError, QosNotSupported, TopicAliasInvalid,
    };
    for (version, bytes, reason) in [
        (
            V5,
            publish_v5(0x30, b"event", &[3, 0x23, 0, 0]),
            TopicAliasInvalid,
        ),
        (V5, publish_v5(0x34, b"event", &[0, 1, 0]), QosNotSupported),
        (V311, publish_v5(0x34, b"event", &[0, 1]), QosNotSupported),
        (V5, publish_v5(0x36, b"event", &[0, 1, 0]), MalformedPacket),
        (V5, publish_v5(0x38, b"event", &[0]), MalformedPacket),
        (V5, publish_v5(0x32, b"event", &[0, 0, 0]), ProtocolError),
        (V311, publish_v5(0x32, b"event", &[0, 0]), ProtocolError),
        (V5, publish_v5(0x32, b"event", &[0]), MalformedPacket),
        (V5, publish_v5(0x30, b"event", &[]), MalformedPacket),
        (V5, publish_v5(0x30, b"", &[0]), ProtocolError),
        (V311, publish_v5(0x30, b"", &[]), ProtocolError),
        (V5, publish_v5(0x30, b"a/+", &[0]), MalformedPacket),
        (V311, publish_v5(0x30, b"#", &[]), MalformedPacket),
        (V5, publish_v5(0x30, b"a\0", &[0]), MalformedPacket),
        (
            V5,
            publish_v5(0x30, &[0xED, 0xBF, 0xBF], &[0]),
            MalformedPacket,
        ),
        (V311, publish_v5(0x30, &[0xFF], &[]), MalformedPacket),
        (
            V5,
            publish_v5(0x30, b"event", &[2, 0x01, 1, 0xFF]),
            PayloadFormatInvalid,
        ),
        (V5, publish_v5(0x30, b"event", &[2, 0x01, 2]), ProtocolError),
        (
            V5,
            publish_v5(0x30, b"event", &[4, 0x01, 1, 0x01, 1]),
            ProtocolError,
        ),
        (
            V5,
            publish_v5(0x30, b"event", &[4, 0x08, 0, 1, b'#']),
            ProtocolError,
        ),
        (
            V5,
            publish_v5(0x30, b"event", &[2, 0x0B, 1]),
            MalformedPacket,
        ),
        (
            V5,
            publish_v5(0x30, b"event", &[3, 0x21, 0, 1]),
            MalformedPacket,
        ),
        (
            V5,
            publish_v5(0x30, b"event", &[5, 0x01, 1]),
            MalformedPacket,
        ),
    ] {
        refused(version, &bytes, reason);
    }
}

#[test]
fn acknowledgements_are_read_in_each_of_their_forms() {
    let forms: [(Version, &[u8], u8); 6] = [
        (V311, &[0, 9], 0),
        (V5, &[0, 9], 0),
        (V5, &[0, 9, 0x10], 0x10),
        (V5, &[0, 9, 0x80], 0x80),
        (V5, &[0, 9, 0x97, 0], 0x97),
        (V5, &[0, 9, 0x83, 4, 0x1F, 0, 1, b'x'], 0x83),
    ];
    for (version, body, code) in forms {
        let bytes = packet(0x40, body);
        let Ok(Packet::PubAck(puback)) = decode(version, &bytes) else {
            panic!("{body:x?}");
        };
        assert_eq!((puback.packet_id.get(), puback.code), (9, code));
    }
}

#[test]
fn wrong_small_packets_are_refused() {
    use Reason::{MalformedPacket, ProtocolError};
    let cases: [(Version, u8, &[u8], Reason); 34] = [
        (V5, 0x40, &[0, 0], ProtocolError),
        (V5, 0x40, &[9], MalformedPacket),
        (V5, 0x40, &[], MalformedPacket),
        (V5, 0x40, &[0, 9, 0x01], ProtocolError),
        (V5, 0x40, &[0, 9, 0, 0, 0], MalformedPacket),
        (V5, 0x40, &[0, 9, 0, 3, 0x23, 0, 1], MalformedPacket),
        (V311, 0x40, &[0, 9, 0], MalformedPacket),
        (V5, 0xC0, &[0], MalformedPacket),
        (V311, 0xC0, &[0], MalformedPacket),
        (V311, 0xE0, &[0], MalformedPacket),
        (V5, 0xE0, &[0x8E], ProtocolError),
        (V5, 0xE0, &[0x01], ProtocolError),
        (V5, 0xE0, &[0, 0, 0], MalformedPacket),
        (V5, 0xE0, &[0, 4, 0x1C, 0, 1, b's'], MalformedPacket),
        (
            V5,
            0xE0,
            &[0, 10, 0x11, 0, 0, 0, 1, 0x11, 0, 0, 0, 1],
            ProtocolError,
        ),
        // A filter list that is empty, a packet identifier of 0, a cut filter, bad options.
        (V5, 0x82, &[0, 1, 0], ProtocolError),
        (V311, 0x82, &[0, 1], ProtocolError),
        (V5, 0x82, &[0, 0, 0, 0, 1, b'a', 0], ProtocolError),
        (V5, 0x82, &[0, 1, 0, 0, 2, b'a'], MalformedPacket),
        (V5, 0x82, &[0, 1, 0, 0, 1, b'a'], MalformedPacket),
        (V5, 0x82, &[0, 1, 0, 0, 1, b'a', 3], ProtocolError),
        (V311, 0x82, &[0, 1, 0, 1, b'a', 3], ProtocolError),
        (V5, 0x82, &[0, 1, 0, 0, 1, b'a', 0x30], ProtocolError),
        (V5, 0x82, &[0, 1, 0, 0, 1, b'a', 0x40], MalformedPacket),
        (V311, 0x82, &[0, 1, 0, 1, b'a', 4], MalformedPacket),
        (V5, 0x82, &[0, 1, 2, 0x0B, 0, 0, 1, b'a', 0], ProtocolError),
        (V5, 0xA2, &[0, 1, 0], ProtocolError),
        (V311, 0xA2, &[0, 1], ProtocolError),
        (V5, 0xA2, &[0, 1, 0, 0, 1, 0xFF], MalformedPacket),
        (V5, 0xA2, &[0, 0, 0, 0, 1, b'a'], ProtocolError),
        // Not for a client to send, or not in our profile.
        (V5, 0x20, &[0, 0, 0], ProtocolError),
        (V5, 0x50, &[0, 1], ProtocolError),
        (V5, 0x62, &[0, 1], ProtocolError),
        (V5, 0xF0, &[], ProtocolError),
    ];
    for (version, first, body, reason) in cases {
        refused(version, &packet(first, body), reason);
    }
    let no_local = cat(&[&[0, 1, 0], &field("$share/g/push"), &[0b101]]);
    refused(V5, &packet(0x82, &no_local), ProtocolError);
}

#[test]
fn subscriptions_are_read_filter_by_filter() {
    let bytes = packet(
        0x82,
        &cat(&[&[0, 9, 0], &field("push"), &[0x2D], &field("a/#"), &[2]]),
    );
    let Ok(Packet::Subscribe(subscribe)) = decode(V5, &bytes) else {
        panic!("{bytes:x?}");
    };
    assert!(!subscribe.has_identifier);
    let filters: Vec<_> = subscribe
        .filters
        .map(|filter| (filter.name, filter.qos))
        .collect();
    assert_eq!(filters, [("push", 1), ("a/#", 2)]);

    let bytes = packet(0xA2, &cat(&[&[0, 9], &field("push"), &field("")]));
    let Ok(Packet::Unsubscribe(unsubscribe)) = decode(V311, &bytes) else {
        panic!("{bytes:x?}");
    };
    assert_eq!(unsubscribe.filters.collect::<Vec<_>>(), ["push", ""]);
}
