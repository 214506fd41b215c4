//! What a session does with each packet of the client.

use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};

use super::session::{PUSH_ALIAS, ServerSession, State};
use super::{Closed, ConnectRequest, Event, PublishReason};
use crate::packet::{
    ConnAck, Connect, Disconnect, Header, Packet, PacketType, PubAck, Publish, Subscribe,
    Unsubscribe, Version, encode_pingresp, encode_suback, encode_unsuback,
};
use crate::topic::{DeviceTopic, covers_push, is_filter, is_shared};
use crate::{ProtocolError, Reason};

impl ServerSession {
    pub(super) fn read_packets(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
    ) -> Result<(), ProtocolError> {
        while self.wants_input() {
            let Some(header) = Header::decode(input, self.limits.packet_size_max)? else {
                break;
            };
            match (self.state, header.packet_type) {
                (State::AwaitingConnect, PacketType::Connect) => {}
                (State::AwaitingConnect, other) => {
                    return Err(ProtocolError::ExpectedConnect(other));
                }
                (_, PacketType::Connect) => return Err(ProtocolError::SecondConnect),
                _ => {}
            }
            if input.len() < header.packet_len() {
                break;
            }
            let body = &input[header.header_len..header.packet_len()];
            self.handle_packet(now, &header, body)?;
            input.advance(header.packet_len());
        }
        // A caller that heeds wants_input never comes here with more.
        let max = self.limits.packet_size_max;
        if self.state == State::AwaitingAnswer && input.len() > max as usize {
            let len = input.len();
            return Err(ProtocolError::HeldTooMuch { len, max });
        }
        Ok(())
    }

    fn handle_packet(
        &mut self,
        now: Instant,
        header: &Header,
        body: &[u8],
    ) -> Result<(), ProtocolError> {
        let version = match self.client.version {
            Some(version) => version,
            None => *self.client.version.insert(Connect::version_of(body)?),
        };
        let packet = Packet::decode(header, body, version)?;
        self.restart_keep_alive(now);
        match packet {
            Packet::Connect(connect) => self.handle_connect(&connect),
            Packet::Disconnect(disconnect) => self.handle_disconnect(disconnect),
            Packet::PingReq => {
                encode_pingresp(&mut self.output);
                Ok(())
            }
            Packet::PubAck(puback) => {
                self.handle_puback(now, puback);
                Ok(())
            }
            Packet::Publish(publish) => self.handle_publish(version, &publish),
            Packet::Subscribe(subscribe) => self.handle_subscribe(version, subscribe),
            Packet::Unsubscribe(unsubscribe) => self.handle_unsubscribe(version, &unsubscribe),
        }
    }

    fn handle_connect(&mut self, connect: &Connect<'_>) -> Result<(), ProtocolError> {
        self.client.packet_size_max = connect.packet_size_max;
        if connect.client_id.is_empty() {
            return Err(ProtocolError::ClientIdEmpty);
        }
        // [MQTT-3.2.2-12, 3.2.2-13]; a 3.1.1 client had no way to know, and its will is never sent anyway.
        if let (Version::V5, Some(will)) = (connect.version, &connect.will) {
            if will.qos == 2 {
                return Err(ProtocolError::QosUnsupported(PacketType::Connect));
            }
            if will.retain {
                return Err(ProtocolError::RetainUnsupported(PacketType::Connect));
            }
        }
        // No packet above the client's maximum may be sent [MQTT-3.1.2-24], and CONNACK cannot be made smaller.
        if (connect.packet_size_max as usize) < ConnAck::LEN_MAX {
            return Err(ProtocolError::ReplyTooLarge {
                len: ConnAck::LEN_MAX,
                max: connect.packet_size_max,
            });
        }
        self.client.keep_alive_secs = connect.keep_alive_secs;
        self.client.window = connect.receive_maximum.min(self.limits.in_flight_max);
        self.client.takes_alias = connect.topic_alias_max >= PUSH_ALIAS.get();
        self.client.session_ends_at_close = connect.session_expiry_secs == 0;
        self.state = State::AwaitingAnswer;
        self.input_deadline = None;
        self.event = Some(Event::Connect(Box::new(ConnectRequest::from(connect))));
        Ok(())
    }

    fn handle_disconnect(&mut self, disconnect: Disconnect) -> Result<(), ProtocolError> {
        let Disconnect {
            code,
            session_expiry_secs,
        } = disconnect;
        // Section 3.14.2.2.2.
        if self.client.session_ends_at_close && session_expiry_secs.is_some_and(|secs| secs > 0) {
            return Err(ProtocolError::SessionExpiryRaised);
        }
        self.close(None);
        self.closed = Some(Closed::ByClient {
            code,
            session_expiry_secs,
        });
        Ok(())
    }

    /// An identifier that is not in flight is let pass: an acknowledgement may cross with our own clean-up.
    fn handle_puback(&mut self, now: Instant, puback: PubAck) {
        if let Some(tag) = self.sending.acknowledge(puback.packet_id) {
            self.restart_ack_timeout(now);
            let code = puback.code;
            self.event = Some(Event::Acked { tag, code });
        }
    }

    fn handle_publish(
        &mut self,
        version: Version,
        publish: &Publish<'_>,
    ) -> Result<(), ProtocolError> {
        if publish.topic_alias.is_some() {
            return Err(ProtocolError::TopicAlias); // CONNACK allowed none
        }
        if publish.retain && version == Version::V5 {
            return Err(ProtocolError::RetainUnsupported(PacketType::Publish)); // [MQTT-3.2.2-14]
        }
        if let Some(packet_id) = publish.packet_id {
            if self.receiving.contains(packet_id) {
                // Sent again while its answer is on the way; that one will do for both.
                return if publish.dup {
                    Ok(())
                } else {
                    Err(ProtocolError::PacketIdInUse(packet_id.get()))
                };
            }
            if self.receiving.len() >= usize::from(self.limits.receive_max) {
                let max = self.limits.receive_max;
                return Err(ProtocolError::ReceiveMaximumExceeded(max));
            }
            self.receiving.push(packet_id);
        }
        match (DeviceTopic::from_name(publish.topic), publish.packet_id) {
            (Some(topic), packet_id) => {
                self.event = Some(Event::Publish {
                    topic,
                    payload: Bytes::copy_from_slice(publish.payload), // the receive buffer is not to be pinned
                    packet_id,
                });
            }
            // Any other topic is refused. 3.1.1 could say so only by closing, which is harsh: there it is acknowledged
            // and ignored, as PUBACK has no code in that version.
            (None, Some(packet_id)) => self.ack_publish(packet_id, PublishReason::NotAuthorized),
            (None, None) => {}
        }
        Ok(())
    }

    fn handle_subscribe(
        &mut self,
        version: Version,
        subscribe: Subscribe<'_>,
    ) -> Result<(), ProtocolError> {
        if subscribe.has_identifier {
            return Err(ProtocolError::SubscriptionIdentifier); // section 3.2.2.3.12
        }
        // Section 3.2.2.3.13. To 3.1.1 such a filter is a topic like any other, and not granted.
        if version == Version::V5
            && subscribe
                .filters
                .clone()
                .any(|filter| is_shared(filter.name))
        {
            return Err(ProtocolError::SharedSubscription);
        }
        let answers = subscribe.filters.map(|filter| match filter.qos {
            _ if !is_filter(filter.name) => Reason::TopicFilterInvalid,
            _ if !covers_push(filter.name) => Reason::NotAuthorized,
            0 => Reason::Success,
            _ => Reason::GrantedQos1,
        });
        let start = self.output.len();
        encode_suback(version, subscribe.packet_id, answers, &mut self.output);
        self.check_reply(start)
    }

    fn handle_unsubscribe(
        &mut self,
        version: Version,
        unsubscribe: &Unsubscribe<'_>,
    ) -> Result<(), ProtocolError> {
        // Messages come without a subscription, so none is kept: ending one that could exist always succeeds.
        let answers = unsubscribe.filters.clone().map(|name| match name {
            _ if !is_filter(name) => Reason::TopicFilterInvalid,
            _ if covers_push(name) => Reason::Success,
            _ => Reason::NoSubscriptionExisted,
        });
        let start = self.output.len();
        encode_unsuback(version, unsubscribe.packet_id, answers, &mut self.output);
        self.check_reply(start)
    }

    /// Takes back the reply that begins at `start` if it is more than the client takes [MQTT-3.1.2-24].
    fn check_reply(&mut self, start: usize) -> Result<(), ProtocolError> {
        let (len, max) = (self.output.len() - start, self.client.packet_size_max);
        if len > max as usize {
            self.output.truncate(start);
            return Err(ProtocolError::ReplyTooLarge { len, max });
        }
        Ok(())
    }
}
