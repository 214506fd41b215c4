//! The body of one request, read within a bound.

use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h2::RecvStream;

use crate::apns::request::PAYLOAD_MAX;
use crate::limits::BODY_DRAINED_MAX;

/// A body on its way. It keeps one byte more than the largest payload, so that too large ones show.
#[derive(Debug)]
pub(crate) struct Upload {
    stream: RecvStream,
    body: Bytes,
    received: usize,
}

impl Upload {
    const KEPT_MAX: usize = PAYLOAD_MAX + 1;

    pub(crate) fn new(stream: RecvStream) -> Self {
        Self {
            stream,
            body: Bytes::new(),
            received: 0,
        }
    }

    /// Ready when the body has ended, or is so much too large that its end is not waited for.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        while self.received < BODY_DRAINED_MAX {
            let Some(chunk) = ready!(self.stream.poll_data(cx)) else {
                break;
            };
            let chunk = chunk?;
            self.received += chunk.len();
            self.stream.flow_control().release_capacity(chunk.len())?;
            self.keep(chunk);
        }
        Poll::Ready(Ok(()))
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    fn keep(&mut self, mut chunk: Bytes) {
        chunk.truncate(Self::KEPT_MAX - self.body.len());
        if self.body.is_empty() {
            self.body = chunk;
        } else if !chunk.is_empty() {
            let mut joined = BytesMut::with_capacity(self.body.len() + chunk.len());
            joined.extend_from_slice(&self.body);
            joined.extend_from_slice(&chunk);
            self.body = joined.freeze();
        }
    }
}
