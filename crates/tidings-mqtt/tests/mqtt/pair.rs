//! Our session joined to another implementation's client (mqtt-protocol-core), byte by byte, in simulated time. What is
//! not as the standard says, the client reports.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use mqtt_protocol_core::mqtt as core;
use tidings_mqtt::packet::Version;
use tidings_mqtt::server::{
    Closed, ConnectAccepted, ConnectRefusal, DisconnectReason, Event, PublishReason, PublishResult,
};
use tidings_mqtt::{DeviceTopic, Limits, ServerSession};

use core::connection::Event as ClientEvent;
use core::packet::Packet;

struct Pair {
    now: Instant,
    client: core::Connection<core::role::Client>,
    server: ServerSession,
    input: BytesMut,
    /// What the client was given, newest last.
    received: Vec<Packet>,
    events: Vec<Event>,
}

impl Pair {
    fn new(version: Version) -> Self {
        let now = Instant::now();
        let mut client = core::Connection::new(match version {
            Version::V311 => core::Version::V3_1_1,
            Version::V5 => core::Version::V5_0,
        });
        client.set_auto_pub_response(true);
        Self {
            now,
            client,
            server: ServerSession::new(now, Limits::default()),
            input: BytesMut::new(),
            received: Vec::new(),
            events: Vec::new(),
        }
    }

    /// A pair whose client is connected, with a window of two and one topic alias on MQTT 5.
    fn open(version: Version) -> Self {
        let mut pair = Self::new(version);
        pair.send(connect(version));
        assert!(matches!(pair.events.pop(), Some(Event::Connect(_))));
        let accepted = ConnectAccepted {
            session_present: false,
            ..ConnectAccepted::default()
        };
        pair.server.accept(pair.now, accepted);
        pair.carry();
        assert!(matches!(
            pair.received.pop(),
            Some(Packet::V5_0Connack(_) | Packet::V3_1_1Connack(_))
        ));
        pair
    }

    fn send(&mut self, packet: impl Into<Packet>) {
        let events = self.client.send(packet.into());
        self.act(events);
        self.carry();
    }

    /// Does what the client asks for.
    fn act(&mut self, events: Vec<ClientEvent>) {
        for event in events {
            match event {
                ClientEvent::NotifyPacketReceived(packet) => self.received.push(packet),
                ClientEvent::RequestSendPacket { packet, .. } => {
                    self.input.extend_from_slice(&to_bytes(&packet));
                }
                ClientEvent::NotifyError(error) => panic!("the client saw an error: {error:?}"),
                ClientEvent::NotifyPacketIdReleased(_)
                | ClientEvent::RequestClose
                | ClientEvent::RequestTimerCancel(_)
                | ClientEvent::RequestTimerReset { .. } => {}
            }
        }
    }

    /// Carries bytes both ways, one at a time, until nobody has any.
    fn carry(&mut self) {
        loop {
            let sent = self.input.split();
            let mut input = BytesMut::new();
            for byte in &sent {
                input.extend_from_slice(&[*byte]);
                self.serve(&mut input);
            }
            self.serve(&mut input);
            let mut output = BytesMut::new();
            if !self.server.poll_output(&mut output) && self.input.is_empty() {
                return;
            }
            for byte in &output {
                let events = self
                    .client
                    .recv(&mut core::common::Cursor::new(&[*byte][..]));
                self.act(events);
            }
        }
    }

    fn serve(&mut self, input: &mut BytesMut) {
        self.server
            .handle_input(self.now, input)
            .expect("the client keeps to the standard");
        self.events.extend(self.server.poll_event());
    }

    fn push(&mut self, payload: &'static [u8], tag: u64) -> PublishResult {
        let payload = Bytes::from_static(payload);
        self.server
            .publish(self.now, "push", &payload, Some(60), false, tag)
    }

    /// Topic and payload of the messages the client was given.
    fn messages(&mut self) -> Vec<(String, Vec<u8>)> {
        self.received
            .drain(..)
            .filter_map(|packet| match packet {
                Packet::V3_1_1Publish(publish) => Some((
                    publish.topic_name().to_owned(),
                    publish.payload().as_slice().to_vec(),
                )),
                Packet::V5_0Publish(publish) => Some((
                    publish.topic_name().to_owned(),
                    publish.payload().as_slice().to_vec(),
                )),
                _ => None,
            })
            .collect()
    }
}

fn to_bytes(packet: &Packet) -> Vec<u8> {
    core::packet::GenericPacketTrait::to_continuous_buffer(packet)
}

fn connect(version: Version) -> Packet {
    match version {
        Version::V311 => core::packet::v3_1_1::Connect::builder()
            .client_id("00f0000000000001")
            .expect("a right client id")
            .user_name("app")
            .expect("a right user name")
            .password(b"secret")
            .expect("a right password")
            .keep_alive(60)
            .clean_session(true)
            .build()
            .expect("a right packet")
            .into(),
        Version::V5 => core::packet::v5_0::Connect::builder()
            .client_id("00f0000000000001")
            .expect("a right client id")
            .user_name("app")
            .expect("a right user name")
            .password(b"secret")
            .expect("a right password")
            .keep_alive(60)
            .clean_start(true)
            .props(vec![
                core::packet::ReceiveMaximum::new(2).expect("not 0").into(),
                core::packet::TopicAliasMaximum::new(1).expect("any").into(),
            ])
            .build()
            .expect("a right packet")
            .into(),
    }
}

fn device_publish(version: Version, id: u16) -> Packet {
    match version {
        Version::V311 => core::packet::v3_1_1::Publish::builder()
            .topic_name("event")
            .expect("a right topic")
            .qos(core::packet::Qos::AtLeastOnce)
            .packet_id(id)
            .payload("{}")
            .build()
            .expect("a right packet")
            .into(),
        Version::V5 => core::packet::v5_0::Publish::builder()
            .topic_name("event")
            .expect("a right topic")
            .qos(core::packet::Qos::AtLeastOnce)
            .packet_id(id)
            .payload("{}")
            .build()
            .expect("a right packet")
            .into(),
    }
}

fn push_message(payload: &[u8]) -> (String, Vec<u8>) {
    ("push".to_owned(), payload.to_vec())
}

#[test]
fn messages_reach_the_client_and_its_acknowledgements_come_back() {
    for version in [Version::V311, Version::V5] {
        let mut pair = Pair::open(version);
        for tag in 0..50 {
            assert_eq!(pair.push(b"one", tag), PublishResult::Sent);
            assert_eq!(pair.push(b"two", tag + 1000), PublishResult::Sent);
            pair.carry();
            assert_eq!(
                pair.messages(),
                [push_message(b"one"), push_message(b"two")]
            );
            let expected = [tag, tag + 1000].map(|tag| Event::Acked { tag, code: 0 });
            assert_eq!(std::mem::take(&mut pair.events), expected);
        }
    }
}

#[test]
fn a_client_with_a_window_of_two_is_never_sent_a_third() {
    let mut pair = Pair::open(Version::V5);
    assert_eq!(pair.push(b"a", 1), PublishResult::Sent);
    assert_eq!(pair.push(b"b", 2), PublishResult::Sent);
    assert_eq!(pair.push(b"c", 3), PublishResult::WindowFull);
    pair.carry();
    assert_eq!(pair.events.len(), 2);
    assert_eq!(pair.push(b"c", 3), PublishResult::Sent);
    pair.carry();
    assert_eq!(pair.messages().len(), 3);
}

#[test]
fn what_the_device_says_is_acknowledged_when_it_is_durable() {
    for version in [Version::V311, Version::V5] {
        let mut pair = Pair::open(version);
        let id = pair.client.acquire_packet_id().expect("one is free");
        pair.send(device_publish(version, id));
        let Some(Event::Publish {
            topic: DeviceTopic::Event,
            payload,
            packet_id: Some(packet_id),
        }) = pair.events.pop()
        else {
            panic!("no publish");
        };
        assert_eq!((&payload[..], packet_id.get()), (&b"{}"[..], id));
        assert!(pair.received.is_empty());
        pair.server.ack_publish(packet_id, PublishReason::Success);
        pair.carry();
        assert!(matches!(
            pair.received.pop(),
            Some(Packet::V3_1_1Puback(_) | Packet::V5_0Puback(_))
        ));
        // The client took it as the end of that identifier's use.
        assert_eq!(pair.client.acquire_packet_id().ok(), Some(id));
    }
}

#[test]
fn pings_keep_a_connection_for_a_simulated_week() {
    for version in [Version::V311, Version::V5] {
        let mut pair = Pair::open(version);
        for _ in 0..7 * 24 * 60 {
            pair.now += Duration::from_secs(60);
            pair.server.handle_timeout(pair.now);
            match version {
                Version::V311 => pair.send(core::packet::v3_1_1::Pingreq::new()),
                Version::V5 => pair.send(core::packet::v5_0::Pingreq::new()),
            }
            assert!(matches!(
                pair.received.pop(),
                Some(Packet::V3_1_1Pingresp(_) | Packet::V5_0Pingresp(_))
            ));
        }
        assert_eq!(pair.events, []);
        assert_eq!(
            pair.server.poll_timeout(),
            Some(pair.now + Duration::from_secs(90))
        );
    }
}

#[test]
fn goodbyes_are_understood_on_both_sides() {
    let mut pair = Pair::open(Version::V5);
    pair.server.disconnect(DisconnectReason::SessionTakenOver);
    pair.carry();
    let Some(Packet::V5_0Disconnect(goodbye)) = pair.received.pop() else {
        panic!("no DISCONNECT");
    };
    assert_eq!(
        goodbye.reason_code(),
        Some(core::result_code::DisconnectReasonCode::SessionTakenOver)
    );

    let mut pair = Pair::open(Version::V311);
    pair.send(core::packet::v3_1_1::Disconnect::new());
    let normal = Closed::ByClient {
        code: 0,
        session_expiry_secs: None,
    };
    assert_eq!(pair.events, [Event::Closed(normal)]);
}

#[test]
fn a_refusal_is_understood() {
    for version in [Version::V311, Version::V5] {
        let mut pair = Pair::new(version);
        pair.send(connect(version));
        pair.server.reject(ConnectRefusal::NotAuthorized);
        pair.carry();
        match pair.received.pop() {
            Some(Packet::V3_1_1Connack(connack)) => assert_eq!(
                connack.return_code(),
                core::result_code::ConnectReturnCode::NotAuthorized
            ),
            Some(Packet::V5_0Connack(connack)) => assert_eq!(
                connack.reason_code(),
                core::result_code::ConnectReasonCode::NotAuthorized
            ),
            other => panic!("{other:?}"),
        }
    }
}
