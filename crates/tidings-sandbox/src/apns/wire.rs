//! The socket under HTTP/2, with two things that the `h2` crate does not offer: writing once per batch of answers, and
//! a GOAWAY of our choice.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::limits::WRITE_BUFFER_MAX;

/// What the connection's task says to the wire that `h2` owns.
#[derive(Clone, Debug, Default)]
pub(crate) struct WireControl {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    corked: AtomicBool,
    /// Whether `injected` holds anything, so that the usual flush takes no lock.
    injects: AtomicBool,
    injected: Mutex<BytesMut>,
}

impl WireControl {
    /// While corked, flushing waits; a full buffer is written all the same. `h2` flushes whenever it is asked for the
    /// next request, which would cost a system call per answer.
    pub(crate) fn cork(&self, corked: bool) {
        self.shared.corked.store(corked, Ordering::Relaxed);
    }

    /// Has a GOAWAY frame written (RFC 9113, section 6.8) after the frames that `h2` has queued: streams above
    /// `last_stream_id` were not processed. `h2` itself can only name the last stream that it has received, and no
    /// debug data. It goes out when the connection is next polled.
    pub(crate) fn go_away(&self, last_stream_id: u32, debug_data: &[u8]) {
        const GOAWAY: u8 = 0x7;
        const NO_FLAGS: u8 = 0;
        const CONNECTION: u32 = 0;
        const NO_ERROR: u32 = 0;
        let mut frame = self.shared.injected();
        frame.put_uint(8 + debug_data.len() as u64, 3);
        frame.put_u8(GOAWAY);
        frame.put_u8(NO_FLAGS);
        frame.put_u32(CONNECTION);
        frame.put_u32(last_stream_id);
        frame.put_u32(NO_ERROR);
        frame.extend_from_slice(debug_data);
        self.shared.injects.store(true, Ordering::Release);
    }
}

impl Shared {
    fn injected(&self) -> MutexGuard<'_, BytesMut> {
        self.injected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A byte stream that gathers what is written until it is flushed, and puts injected frames between those of `h2`.
#[derive(Debug)]
pub(crate) struct Wire<T> {
    io: T,
    buffer: BytesMut,
    shared: Arc<Shared>,
}

impl<T: AsyncWrite + Unpin> Wire<T> {
    pub(crate) fn new(io: T) -> (Self, WireControl) {
        let control = WireControl::default();
        let wire = Self {
            io,
            buffer: BytesMut::new(),
            shared: Arc::clone(&control.shared),
        };
        (wire, control)
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.buffer.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.buffer))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.buffer.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Wire<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Wire<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.buffer.len() >= WRITE_BUFFER_MAX {
            ready!(self.poll_drain(cx))?;
        }
        let taken = bytes.len().min(WRITE_BUFFER_MAX - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    /// `h2` flushes only when every frame it has encoded is written whole, so this is a frame boundary.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.shared.injects.swap(false, Ordering::Acquire) {
            this.buffer.unsplit(this.shared.injected().split());
        }
        if this.shared.corked.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
