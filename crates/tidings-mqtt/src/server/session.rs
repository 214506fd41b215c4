//! The state of one connection, and every move of it.

use std::mem;
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::window::{Receiving, Sending};
use super::{
    Closed, ConnectAccepted, ConnectRefusal, DisconnectReason, Event, PublishReason, PublishResult,
};
use crate::limits::{Limits, OUTPUT_PAUSE_BYTES};
use crate::packet::{ConnAck, Granted, PubAck, Publish, Version, encode_disconnect};
use crate::topic::PUSH_TOPIC;
use crate::{ProtocolError, Reason};

/// The server's end of one MQTT connection, without its socket and clock.
///
/// An idle one is at most 256 bytes and holds no heap; a message in flight adds 16 bytes, and unread output its bytes.
#[derive(Debug)]
pub struct ServerSession {
    pub(super) limits: Limits,
    pub(super) client: Client,
    pub(super) state: State,
    /// Whether the client knows the topic alias of `push`.
    pub(super) alias_sent: bool,
    /// When the next packet must have come: CONNECT, then the keep-alive.
    pub(super) input_deadline: Option<Instant>,
    /// When the next acknowledgement must have come, while any is due.
    pub(super) ack_deadline: Option<Instant>,
    pub(super) sending: Sending,
    pub(super) receiving: Receiving,
    pub(super) output: BytesMut,
    pub(super) event: Option<Event>,
    pub(super) closed: Option<Closed>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    AwaitingConnect,
    /// A CONNECT waits for `accept` or `reject`.
    AwaitingAnswer,
    Open,
    Closed,
}

/// What is kept of CONNECT.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    /// `None` until a CONNECT named it: before that there is no language to answer in.
    pub(super) version: Option<Version>,
    pub(super) keep_alive_secs: u16,
    pub(super) window: u16,
    pub(super) packet_size_max: u32,
    pub(super) takes_alias: bool,
    pub(super) session_ends_at_close: bool,
}

/// The topic alias of `push`.
pub(super) const PUSH_ALIAS: NonZeroU16 = NonZeroU16::MIN; // 1

impl ServerSession {
    /// A connection that opened at `now` and has to send CONNECT within the limits' time.
    pub fn new(now: Instant, limits: Limits) -> Self {
        let timeout = Duration::from_secs(limits.connect_timeout_secs.into());
        Self {
            limits,
            client: Client {
                version: None,
                keep_alive_secs: 0,
                window: 0,
                packet_size_max: u32::MAX,
                takes_alias: false,
                session_ends_at_close: true,
            },
            state: State::AwaitingConnect,
            alias_sent: false,
            input_deadline: Some(now + timeout),
            ack_deadline: None,
            sending: Sending::default(),
            receiving: Receiving::default(),
            output: BytesMut::new(),
            event: None,
            closed: None,
        }
    }

    /// Consumes whole packets from `input` and leaves the rest. It stops early at each event, while a CONNECT waits for
    /// its answer, and while 4 KiB of replies are unread: call it again after `poll_event`, `accept` and `poll_output`.
    ///
    /// # Errors
    /// What the client did wrong. The session is then closed and the output holds what the client is to be told, if it
    /// can be: write it, then close. Input after that is thrown away.
    pub fn handle_input(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
    ) -> Result<(), ProtocolError> {
        let result = self.read_packets(now, input);
        if let Err(error) = &result {
            self.refuse(error);
        }
        if self.state == State::Closed {
            input.clear();
        }
        result
    }

    /// Whether `handle_input` would take a packet now. While it would not, leave bytes in the socket.
    pub fn wants_input(&self) -> bool {
        let reading = matches!(self.state, State::AwaitingConnect | State::Open);
        reading && self.event.is_none() && self.output.len() < OUTPUT_PAUSE_BYTES
    }

    /// Acts on the time: closes the connection if a deadline has passed, with [`Event::Closed`].
    pub fn handle_timeout(&mut self, now: Instant) {
        let passed = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        let (closed, reason) = if passed(self.input_deadline) {
            if self.state == State::Open {
                (Closed::KeepAliveTimeout, Some(Reason::KeepAliveTimeout))
            } else {
                (Closed::ConnectTimeout, None) // never a DISCONNECT before CONNACK
            }
        } else if passed(self.ack_deadline) {
            // The standard has no code for this one.
            let reason = Reason::ImplementationSpecificError;
            (Closed::AckTimeout, Some(reason))
        } else {
            return;
        };
        self.close(reason);
        self.closed = Some(closed);
    }

    /// When `handle_timeout` is next due. Packets only move it later, so a timer may look again when it fires; a message
    /// that is sent into an empty window may bring it nearer.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match (self.input_deadline, self.ack_deadline) {
            (Some(input), Some(ack)) => Some(input.min(ack)),
            (input, ack) => input.or(ack),
        }
    }

    /// Moves all bytes for the client to the end of `output`; false when there were none.
    pub fn poll_output(&mut self, output: &mut BytesMut) -> bool {
        if self.output.is_empty() {
            return false;
        }
        // The buffer goes along rather than waiting here for the next bytes: an idle session holds none.
        let bytes = mem::take(&mut self.output);
        if output.is_empty() && output.capacity() < bytes.len() {
            *output = bytes;
        } else {
            output.extend_from_slice(&bytes);
        }
        true
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.event
            .take()
            .or_else(|| self.closed.take().map(Event::Closed))
    }

    /// Lets the client in. Does nothing unless a CONNECT waits.
    pub fn accept(&mut self, now: Instant, accepted: ConnectAccepted) {
        let (State::AwaitingAnswer, Some(version)) = (self.state, self.client.version) else {
            return;
        };
        self.state = State::Open;
        let ceiling = self.limits.keep_alive_max_secs;
        let ceiling = accepted.keep_alive_max_secs.unwrap_or(ceiling).min(ceiling);
        let asked = self.client.keep_alive_secs;
        // 3.1.1 cannot be told of a ceiling; such a client learns of it by being closed for its silence.
        let keep_alive_secs = (asked == 0 || asked > ceiling).then_some(ceiling);
        self.client.keep_alive_secs = keep_alive_secs.unwrap_or(asked);
        if let Some(secs) = accepted.session_expiry_secs {
            self.client.session_ends_at_close = secs == 0;
        }
        let granted = Granted {
            session_present: accepted.session_present,
            receive_maximum: self.limits.receive_max,
            packet_size_max: self.limits.packet_size_max,
            keep_alive_secs,
            session_expiry_secs: accepted.session_expiry_secs,
        };
        ConnAck::Accepted(granted).encode(version, &mut self.output);
        self.restart_keep_alive(now);
    }

    /// Turns the client away and closes. Does nothing unless a CONNECT waits.
    pub fn reject(&mut self, refusal: ConnectRefusal) {
        if self.state == State::AwaitingAnswer {
            self.close(Some(refusal.reason()));
        }
    }

    /// Answers a QoS 1 publish of the device, once it is handled durably. Answers leave in the order of the publishes; one
    /// given early waits for those before it, a second one to the same publish is ignored.
    pub fn ack_publish(&mut self, packet_id: NonZeroU16, reason: PublishReason) {
        self.receiving.answer(packet_id, reason);
        let Some(version) = self.client.version else {
            return;
        };
        while let Some((packet_id, reason)) = self.receiving.next_answer() {
            let code = reason.reason().code();
            PubAck { packet_id, code }.encode(version, &mut self.output);
        }
    }

    /// Whether [`ServerSession::publish`] would take a message.
    pub fn can_send(&self) -> bool {
        self.window_free() > 0
    }

    /// How many messages may be sent before one is acknowledged; 0 while the connection is not open.
    pub fn window_free(&self) -> u16 {
        if self.state != State::Open {
            return 0;
        }
        self.client.window.saturating_sub(self.sending.len() as u16)
    }

    /// Sends a message to the device at QoS 1. Its acknowledgement comes back as [`Event::Acked`] with `tag`, which also
    /// decides the packet identifier: the same message has the same one on every connection. Set `dup` only when the
    /// message was sent before, on an earlier connection [MQTT-3.3.1-1]. `expiry_secs` is the rest of its life, which only
    /// MQTT 5 can tell.
    pub fn publish(
        &mut self,
        now: Instant,
        topic: &str,
        payload: &Bytes,
        expiry_secs: Option<u32>,
        dup: bool,
        tag: u64,
    ) -> PublishResult {
        let (true, Some(version)) = (self.can_send(), self.client.version) else {
            return PublishResult::WindowFull;
        };
        let takes_alias = self.client.takes_alias && topic == PUSH_TOPIC;
        let packet_id = self.sending.packet_id(tag);
        let publish = Publish {
            dup,
            retain: false,
            topic: if takes_alias && self.alias_sent {
                ""
            } else {
                topic
            },
            packet_id: Some(packet_id),
            topic_alias: takes_alias.then_some(PUSH_ALIAS),
            expiry_secs,
            payload,
        };
        if publish.encoded_len(version) > self.client.packet_size_max as usize {
            return PublishResult::TooLargeForClient;
        }
        publish.encode(version, &mut self.output);
        self.alias_sent |= takes_alias;
        self.sending.push(packet_id, tag);
        if self.ack_deadline.is_none() {
            self.restart_ack_timeout(now);
        }
        PublishResult::Sent
    }

    /// Ends the connection. Before CONNACK, and on 3.1.1, that is without a word. The session is closed at once: write the
    /// output, then close; no event follows.
    pub fn disconnect(&mut self, reason: DisconnectReason) {
        let told = (self.state == State::Open).then(|| reason.reason());
        self.close(told);
    }

    pub(super) fn restart_keep_alive(&mut self, now: Instant) {
        if self.state == State::Open {
            let secs = Duration::from_secs(self.client.keep_alive_secs.into());
            self.input_deadline = Some(now + secs * 3 / 2); // [MQTT-3.1.2-22]
        }
    }

    pub(super) fn restart_ack_timeout(&mut self, now: Instant) {
        let timeout = Duration::from_secs(self.limits.ack_timeout_secs.into());
        self.ack_deadline = (!self.sending.is_empty()).then(|| now + timeout);
    }

    /// Closes for `error`, and tells the client as far as its version and the state allow.
    pub(super) fn refuse(&mut self, error: &ProtocolError) {
        if let (None, ProtocolError::ProtocolVersion(asked)) = (self.client.version, error) {
            // In the older form to older clients, which expect it, and in the newer to those not yet made.
            self.client.version = Some(if *asked < 4 {
                Version::V311
            } else {
                Version::V5
            });
        }
        self.close(Some(error.reason()));
    }

    /// Closes, with CONNACK or DISCONNECT when there is a reason to tell and a version to tell it in.
    pub(super) fn close(&mut self, reason: Option<Reason>) {
        const REFUSAL_LEN: u32 = 5; // of CONNACK; DISCONNECT is shorter
        if self.client.packet_size_max >= REFUSAL_LEN
            && let (Some(reason), Some(version)) = (reason, self.client.version)
        {
            match self.state {
                State::AwaitingConnect | State::AwaitingAnswer => {
                    ConnAck::Refused(reason).encode(version, &mut self.output);
                }
                State::Open => encode_disconnect(version, reason, &mut self.output),
                State::Closed => {}
            }
        }
        self.state = State::Closed;
        self.input_deadline = None;
        self.ack_deadline = None;
        self.sending.clear();
        self.receiving.clear();
    }
}
