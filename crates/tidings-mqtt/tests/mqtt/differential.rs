//! The codec against two others: what we write, they read as we meant it; what they write, we read as they meant it; and
//! where one of them sees an error, so do we.

use std::num::NonZeroU16;

use bytes::BytesMut;
use mqtt_protocol_core::mqtt as core;
use proptest::collection::vec;
use proptest::prelude::*;
use rumqttc::v5::mqttbytes::v5 as r5;
use rumqttc::{mqttbytes as r4, v5::mqttbytes as r5bytes};
use tidings_mqtt::packet::{
    ConnAck, Granted, Header, Packet, PubAck, Publish, encode_disconnect, encode_pingresp,
    encode_suback, encode_unsuback,
};
use tidings_mqtt::{ProtocolError, Reason, Version};

use crate::bytes::{connect_v5, connect_v311, field, packet, publish};

const TOPIC: &str = "[^#+$\0/][^#+\0]{0,20}";

fn decode(version: Version, bytes: &[u8]) -> Result<Packet<'_>, ProtocolError> {
    let header = Header::decode(bytes, 1 << 20)?.expect("a whole packet");
    Packet::decode(&header, &bytes[header.header_len..], version)
}

/// Writes one packet of ours and has rumqttc read it.
fn theirs_v5(write: impl Fn(Version, &mut BytesMut)) -> r5::Packet {
    let mut bytes = BytesMut::new();
    write(Version::V5, &mut bytes);
    let packet = r5::Packet::read(&mut bytes, None).expect("rumqttc reads what we write");
    assert!(bytes.is_empty());
    packet
}

fn theirs_v311(write: impl Fn(Version, &mut BytesMut)) -> rumqttc::Packet {
    let mut bytes = BytesMut::new();
    write(Version::V311, &mut bytes);
    let packet = rumqttc::Packet::read(&mut bytes, 1 << 20).expect("rumqttc reads what we write");
    assert!(bytes.is_empty());
    packet
}

fn id(value: u16) -> NonZeroU16 {
    NonZeroU16::new(value).expect("not 0 in this test")
}

/// The other implementation's server or client, as far as reading one packet goes: whether it is an error.
fn core_refuses<Role: core::connection::role::RoleType>(
    mut connection: core::Connection<Role>,
    packets: &[&[u8]],
) -> bool {
    packets.iter().any(|bytes| {
        connection
            .recv(&mut core::common::Cursor::new(bytes))
            .iter()
            .any(|event| matches!(event, core::connection::Event::NotifyError(_)))
    })
}

proptest! {
    #[test]
    fn our_publish_is_read_by_others(
        topic in TOPIC, number in 1..=u16::MAX, dup in any::<bool>(),
        expiry in any::<Option<u32>>(), alias in any::<bool>(), payload in vec(any::<u8>(), 1..200),
    ) {
        let publish = Publish {
            dup, retain: false, topic: &topic, packet_id: NonZeroU16::new(number),
            topic_alias: alias.then_some(id(1)), expiry_secs: expiry, payload: &payload,
        };
        let r5::Packet::Publish(read) = theirs_v5(|version, out| publish.encode(version, out)) else {
            panic!("another type of packet");
        };
        prop_assert_eq!((&read.topic[..], read.pkid, read.dup), (topic.as_bytes(), number, dup));
        prop_assert_eq!(read.qos, r5bytes::QoS::AtLeastOnce);
        prop_assert_eq!(&read.payload[..], &payload[..]);
        let properties = read.properties.unwrap_or_default();
        prop_assert_eq!(properties.message_expiry_interval, expiry);
        prop_assert_eq!(properties.topic_alias, alias.then_some(1));

        let rumqttc::Packet::Publish(read) = theirs_v311(|version, out| publish.encode(version, out)) else {
            panic!("another type of packet");
        };
        prop_assert_eq!((&read.topic[..], read.pkid, read.dup), (&topic[..], number, dup));
        prop_assert_eq!(&read.payload[..], &payload[..]);
    }

    #[test]
    fn the_publish_of_others_is_read_by_us(
        topic in TOPIC, number in 1..=u16::MAX, qos_1 in any::<bool>(), retain in any::<bool>(),
        expiry in any::<Option<u32>>(), user in "[a-z]{0,9}", payload in vec(any::<u8>(), 0..200),
    ) {
        let (qos, packet_id) = if qos_1 {
            (r5bytes::QoS::AtLeastOnce, NonZeroU16::new(number))
        } else {
            (r5bytes::QoS::AtMostOnce, None)
        };
        let properties = r5::PublishProperties {
            message_expiry_interval: expiry,
            user_properties: vec![(user.clone(), user.clone()), (user, "again".to_owned())],
            content_type: Some("application/json".to_owned()),
            ..r5::PublishProperties::default()
        };
        let mut theirs = r5::Publish::new(&*topic, qos, payload.clone(), Some(properties));
        (theirs.pkid, theirs.retain) = (number, retain);
        let mut bytes = BytesMut::new();
        theirs.write(&mut bytes).expect("a right packet");
        let expected = Publish {
            dup: false, retain, topic: &topic, packet_id, topic_alias: None,
            expiry_secs: expiry, payload: &payload,
        };
        prop_assert_eq!(decode(Version::V5, &bytes), Ok(Packet::Publish(expected)));

        let qos = if qos_1 { r4::QoS::AtLeastOnce } else { r4::QoS::AtMostOnce };
        let mut theirs = rumqttc::Publish::new(&*topic, qos, payload.clone());
        (theirs.pkid, theirs.retain) = (number, retain);
        let mut bytes = BytesMut::new();
        theirs.write(&mut bytes).expect("a right packet");
        let expected = Publish { expiry_secs: None, ..expected };
        prop_assert_eq!(decode(Version::V311, &bytes), Ok(Packet::Publish(expected)));
    }

    #[test]
    fn the_connect_of_others_is_read_by_us(
        client_id in "[0-9a-f]{0,20}", login in any::<bool>(), will in any::<bool>(),
        clean in any::<bool>(), keep_alive in any::<u16>(), receive in 1..=u16::MAX,
        size in 1..=u32::MAX, alias in any::<u16>(), expiry in any::<u32>(),
    ) {
        let theirs = r5::Connect {
            keep_alive, client_id: client_id.clone(), clean_start: clean,
            properties: Some(r5::ConnectProperties {
                session_expiry_interval: Some(expiry),
                receive_maximum: Some(receive),
                max_packet_size: Some(size),
                topic_alias_max: Some(alias),
                request_problem_info: Some(1),
                user_properties: vec![("k".to_owned(), "v".to_owned())],
                ..r5::ConnectProperties::new()
            }),
        };
        let last_will = r5::LastWill::new("w", "gone", r5bytes::QoS::AtLeastOnce, true, None);
        let user = r5::Login::new("app", "secret");
        let mut bytes = BytesMut::new();
        theirs
            .write(&will.then_some(last_will), &login.then_some(user), &mut bytes)
            .expect("a right packet");
        let Ok(Packet::Connect(read)) = decode(Version::V5, &bytes) else {
            panic!("{:?}", decode(Version::V5, &bytes));
        };
        prop_assert_eq!(read.version, Version::V5);
        prop_assert_eq!((read.client_id, read.clean_start), (&client_id[..], clean));
        prop_assert_eq!((read.keep_alive_secs, read.receive_maximum), (keep_alive, receive));
        prop_assert_eq!((read.packet_size_max, read.topic_alias_max), (size, alias));
        prop_assert_eq!(read.session_expiry_secs, expiry);
        prop_assert_eq!(read.username, login.then_some("app"));
        prop_assert_eq!(read.password, login.then_some(&b"secret"[..]));
        prop_assert_eq!(read.will.map(|will| (will.topic, will.qos, will.retain)), will.then_some(("w", 1, true)));

        let mut theirs = rumqttc::Connect::new(&*client_id);
        (theirs.keep_alive, theirs.clean_session) = (keep_alive, clean);
        if login {
            theirs.set_login("app", "secret");
        }
        let mut bytes = BytesMut::new();
        theirs.write(&mut bytes).expect("a right packet");
        let Ok(Packet::Connect(read)) = decode(Version::V311, &bytes) else {
            panic!("{:?}", decode(Version::V311, &bytes));
        };
        prop_assert_eq!(read.version, Version::V311);
        prop_assert_eq!((read.client_id, read.clean_start), (&client_id[..], clean));
        prop_assert_eq!(read.password, login.then_some(&b"secret"[..]));
    }

    /// Nearly right packets: one byte of a right one is changed, and its length kept.
    #[test]
    fn what_we_accept_the_other_accepts(
        v5 in any::<bool>(), which in 0..6_usize, at in any::<prop::sample::Index>(), value in any::<u8>(),
    ) {
        let block: &[u8] = if v5 { &[0] } else { &[] };
        let mut bytes = match which {
            0 => publish(v5, "event", 7, "payload"),
            1 => packet(0x30, &[&field("event")[..], block, b"payload"].concat()),
            2 => packet(0x82, &[&[0, 7], block, &field("push"), &[1], &field("a"), &[0]].concat()),
            3 => packet(0xA2, &[&[0, 7], block, &field("push"), &field("a/b")].concat()),
            4 if v5 => packet(0x82, &[&[0, 7, 7, 0x26, 0, 1, b'k', 0, 1, b'v'][..], &field("push"), &[1]].concat()),
            4 => vec![0xC0, 0],
            _ if v5 => publish_with_properties(),
            _ => vec![0xE0, 0],
        };
        let len = bytes.len();
        let at = at.index(len);
        bytes[at] = value;
        let version = if v5 { Version::V5 } else { Version::V311 };
        let accepted = match Header::decode(&bytes, 1000) {
            Ok(Some(header)) if header.packet_len() == len => decode(version, &bytes).is_ok(),
            _ => false,
        };
        if accepted {
            let (core_version, connect, connack) = if v5 {
                (core::Version::V5_0, connect_v5(0, &[]), core_connack_v5())
            } else {
                (core::Version::V3_1_1, connect_v311(0), core_connack_v311())
            };
            let mut server = core::Connection::<core::role::Server>::new(core_version);
            server.recv(&mut core::common::Cursor::new(&connect[..]));
            server.send(connack);
            prop_assert!(!core_refuses(server, &[&bytes]), "{:x?}", bytes);
        }
    }
}

fn publish_with_properties() -> Vec<u8> {
    let block = [
        18, 0x01, 1, 0x02, 0, 0, 0, 9, 0x03, 0, 1, b'c', 0x08, 0, 1, b'r', 0x09, 0, 0,
    ];
    packet(
        0x32,
        &[&field("event")[..], &[0, 7], &block, b"payload"].concat(),
    )
}

fn core_connack_v5() -> core::packet::Packet {
    core::packet::v5_0::Connack::builder()
        .session_present(false)
        .reason_code(core::result_code::ConnectReasonCode::Success)
        .build()
        .expect("a right packet")
        .into()
}

fn core_connack_v311() -> core::packet::Packet {
    core::packet::v3_1_1::Connack::builder()
        .session_present(false)
        .return_code(core::result_code::ConnectReturnCode::Accepted)
        .build()
        .expect("a right packet")
        .into()
}

#[test]
fn our_connack_is_read_by_others() {
    let granted = Granted {
        session_present: true,
        receive_maximum: 16,
        packet_size_max: 16_384,
        keep_alive_secs: Some(1800),
        session_expiry_secs: Some(86_400),
    };
    let connack = ConnAck::Accepted(granted);
    let r5::Packet::ConnAck(read) = theirs_v5(|version, out| connack.encode(version, out)) else {
        panic!("another type of packet");
    };
    assert!(read.session_present);
    assert_eq!(read.code, r5::ConnectReturnCode::Success);
    let properties = read.properties.expect("there are some");
    assert_eq!(properties.receive_max, Some(16));
    assert_eq!(
        (properties.max_qos, properties.retain_available),
        (Some(1), Some(0))
    );
    assert_eq!(properties.max_packet_size, Some(16_384));
    assert_eq!(properties.topic_alias_max, None);
    assert_eq!(properties.wildcard_subscription_available, None);
    assert_eq!(properties.subscription_identifiers_available, Some(0));
    assert_eq!(properties.shared_subscription_available, Some(0));
    assert_eq!(properties.server_keep_alive, Some(1800));
    assert_eq!(properties.session_expiry_interval, Some(86_400));

    let rumqttc::Packet::ConnAck(read) = theirs_v311(|version, out| connack.encode(version, out))
    else {
        panic!("another type of packet");
    };
    assert!(read.session_present);

    let refused = ConnAck::Refused(Reason::BadUserNameOrPassword);
    let r5::Packet::ConnAck(read) = theirs_v5(|version, out| refused.encode(version, out)) else {
        panic!("another type of packet");
    };
    assert_eq!(read.code, r5::ConnectReturnCode::BadUserNamePassword);
    let rumqttc::Packet::ConnAck(read) = theirs_v311(|version, out| refused.encode(version, out))
    else {
        panic!("another type of packet");
    };
    assert_eq!(read.code, rumqttc::ConnectReturnCode::BadUserNamePassword);
}

#[test]
fn our_other_answers_are_read_by_others() {
    let answers = [Reason::GrantedQos1, Reason::NotAuthorized, Reason::Success];
    let write = |version, out: &mut BytesMut| {
        encode_suback(version, id(9), answers.iter().copied(), out);
    };
    let r5::Packet::SubAck(read) = theirs_v5(write) else {
        panic!("another type of packet");
    };
    assert_eq!(read.pkid, 9);
    assert_eq!(
        read.return_codes,
        [
            r5::SubscribeReasonCode::Success(r5bytes::QoS::AtLeastOnce),
            r5::SubscribeReasonCode::NotAuthorized,
            r5::SubscribeReasonCode::Success(r5bytes::QoS::AtMostOnce),
        ]
    );
    let rumqttc::Packet::SubAck(read) = theirs_v311(write) else {
        panic!("another type of packet");
    };
    assert_eq!(
        read.return_codes,
        [
            rumqttc::SubscribeReasonCode::Success(r4::QoS::AtLeastOnce),
            rumqttc::SubscribeReasonCode::Failure,
            rumqttc::SubscribeReasonCode::Success(r4::QoS::AtMostOnce),
        ]
    );

    let answers = [Reason::Success, Reason::NoSubscriptionExisted];
    let write = |version, out: &mut BytesMut| {
        encode_unsuback(version, id(9), answers.iter().copied(), out);
    };
    let r5::Packet::UnsubAck(read) = theirs_v5(write) else {
        panic!("another type of packet");
    };
    assert_eq!(
        read.reasons,
        [
            r5::UnsubAckReason::Success,
            r5::UnsubAckReason::NoSubscriptionExisted
        ]
    );
    assert!(matches!(theirs_v311(write), rumqttc::Packet::UnsubAck(read) if read.pkid == 9));

    let refused = PubAck {
        packet_id: id(9),
        code: 0x87,
    };
    let r5::Packet::PubAck(read) = theirs_v5(|version, out| refused.encode(version, out)) else {
        panic!("another type of packet");
    };
    assert_eq!(
        (read.pkid, read.reason),
        (9, r5::PubAckReason::NotAuthorized)
    );
    let read = theirs_v311(|version, out| refused.encode(version, out));
    assert!(matches!(read, rumqttc::Packet::PubAck(read) if read.pkid == 9));

    let goodbye = theirs_v5(|version, out| {
        encode_disconnect(version, Reason::SessionTakenOver, out);
    });
    let r5::Packet::Disconnect(read) = goodbye else {
        panic!("another type of packet");
    };
    assert_eq!(read.reason_code, r5::DisconnectReasonCode::SessionTakenOver);

    let ping = |_, out: &mut BytesMut| encode_pingresp(out);
    assert!(matches!(theirs_v5(ping), r5::Packet::PingResp(_)));
    assert!(matches!(theirs_v311(ping), rumqttc::Packet::PingResp));
}

#[test]
fn the_other_requests_of_others_are_read_by_us() {
    let mut filter = r5::Filter::new("push", r5bytes::QoS::ExactlyOnce);
    filter.preserve_retain = true;
    filter.retain_forward_rule = r5::RetainForwardRule::Never;
    let mut theirs = r5::Subscribe::new_many([filter], None);
    theirs.pkid = 9;
    let mut bytes = BytesMut::new();
    theirs.write(&mut bytes).expect("a right packet");
    let Ok(Packet::Subscribe(read)) = decode(Version::V5, &bytes) else {
        panic!("{bytes:x?}");
    };
    assert_eq!(read.packet_id, id(9));
    assert_eq!(
        read.filters
            .map(|filter| (filter.name, filter.qos))
            .collect::<Vec<_>>(),
        [("push", 2)]
    );

    let mut theirs = r5::Unsubscribe::new("push", None);
    theirs.pkid = 9;
    let mut bytes = BytesMut::new();
    theirs.write(&mut bytes).expect("a right packet");
    let Ok(Packet::Unsubscribe(read)) = decode(Version::V5, &bytes) else {
        panic!("{bytes:x?}");
    };
    assert_eq!(read.filters.collect::<Vec<_>>(), ["push"]);

    let mut theirs = r5::PubAck::new(9, None);
    theirs.reason = r5::PubAckReason::QuotaExceeded;
    let mut bytes = BytesMut::new();
    theirs.write(&mut bytes).expect("a right packet");
    let expected = PubAck {
        packet_id: id(9),
        code: 0x97,
    };
    assert_eq!(decode(Version::V5, &bytes), Ok(Packet::PubAck(expected)));

    let mut theirs = rumqttc::Subscribe::new("push", r4::QoS::AtLeastOnce);
    theirs.pkid = 9;
    let mut bytes = BytesMut::new();
    theirs.write(&mut bytes).expect("a right packet");
    assert!(matches!(
        decode(Version::V311, &bytes),
        Ok(Packet::Subscribe(_))
    ));
}
