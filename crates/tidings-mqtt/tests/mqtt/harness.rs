//! One session with a clock that stands still until it is told.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tidings_mqtt::server::{ConnectAccepted, Event, PublishResult};
use tidings_mqtt::{Limits, PUSH_TOPIC, ProtocolError, ServerSession};

use crate::bytes::{connect_v5, connect_v311};

#[derive(Debug)]
pub(crate) struct Harness {
    pub(crate) now: Instant,
    pub(crate) session: ServerSession,
    input: BytesMut,
    output: BytesMut,
}

impl Harness {
    pub(crate) fn new(limits: Limits) -> Self {
        let now = Instant::now();
        Self {
            now,
            session: ServerSession::new(now, limits),
            input: BytesMut::new(),
            output: BytesMut::new(),
        }
    }

    /// An open connection; CONNECT and CONNACK are behind it.
    pub(crate) fn open(connect: &[u8]) -> Self {
        let mut harness = Self::new(Limits::default());
        let (events, result) = harness.feed(connect);
        assert!(matches!(events[..], [Event::Connect(_)]), "{events:?}");
        assert_eq!(result, Ok(()));
        harness
            .session
            .accept(harness.now, ConnectAccepted::default());
        assert_eq!(harness.sent()[0], 0x20, "CONNACK");
        harness
    }

    pub(crate) fn open_v5() -> Self {
        Self::open(&connect_v5(60, &[]))
    }

    pub(crate) fn open_v311() -> Self {
        Self::open(&connect_v311(60))
    }

    /// Gives bytes to the session as a connection would: on and on until no event comes.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> (Vec<Event>, Result<(), ProtocolError>) {
        self.input.extend_from_slice(bytes);
        let mut events = Vec::new();
        loop {
            let left = self.input.len();
            let result = self.session.handle_input(self.now, &mut self.input);
            let event = self.session.poll_event();
            self.session.poll_output(&mut self.output);
            if result.is_err() {
                return (events, result);
            }
            let idle = event.is_none() && left == self.input.len();
            events.extend(event);
            if idle {
                return (events, result);
            }
        }
    }

    /// Bytes that are to be accepted and make no event; what is sent back.
    pub(crate) fn answer(&mut self, bytes: &[u8]) -> Vec<u8> {
        assert_eq!(self.feed(bytes), (vec![], Ok(())));
        self.sent()
    }

    /// Bytes that are to be refused; the error and what is sent back.
    pub(crate) fn refusal(&mut self, bytes: &[u8]) -> (ProtocolError, Vec<u8>) {
        let (events, result) = self.feed(bytes);
        assert_eq!(events, vec![]);
        let error = result.expect_err("these bytes are refused");
        (error, self.sent())
    }

    /// All bytes for the client since the last call.
    pub(crate) fn sent(&mut self) -> Vec<u8> {
        self.session.poll_output(&mut self.output);
        self.output.split().to_vec()
    }

    /// Lets time pass, and acts on it.
    pub(crate) fn pass(&mut self, time: Duration) -> Option<Event> {
        self.now += time;
        self.session.handle_timeout(self.now);
        self.session.poll_event()
    }

    pub(crate) fn push(&mut self, payload: &str, tag: u64) -> PublishResult {
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        self.session
            .publish(self.now, PUSH_TOPIC, &payload, None, false, tag)
    }

    /// How much the session has not consumed.
    pub(crate) fn unread(&self) -> usize {
        self.input.len()
    }
}
