//! The socket under HTTP/2, with two things that the `h2` crate does not offer: writing once per batch of answers, and
//! a GOAWAY of our choice.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The connection's end of the wire: what the task says to the socket that `h2` owns.
#[derive(Clone, Debug, Default)]
pub(crate) struct WireControl {
    injected: Arc<Injected>,
}

#[derive(Debug, Default)]
struct Injected {
    waiting: AtomicBool,
    frame: Mutex<BytesMut>,
}

impl WireControl {
    /// Has a GOAWAY frame written (RFC 9113, section 6.8) after the frames that `h2` has queued: streams above
    /// `last_stream_id` were not processed. `h2` itself can only name the last stream that it has received, and no
    /// debug data. It goes out when the connection is next polled.
    pub(crate) fn go_away(&self, last_stream_id: u32, debug_data: &Bytes) {
        const GOAWAY: u8 = 0x7;
        const NO_ERROR: u32 = 0;
        let length = u32::try_from(8 + debug_data.len()).expect("a reason is short");
        let mut frame = self
            .injected
            .frame
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        frame.put_uint(length.into(), 3);
        frame.put_u8(GOAWAY);
        frame.put_u8(0);
        frame.put_u32(0);
        frame.put_u32(last_stream_id);
        frame.put_u32(NO_ERROR);
        frame.extend_from_slice(debug_data);
        self.injected.waiting.store(true, Ordering::Release);
    }
}

/// A byte stream that writes injected frames between those of `h2`.
///
/// `h2` flushes only when every frame it has encoded is written whole, so a flush is a frame boundary.
#[derive(Debug)]
pub(crate) struct Wire<T> {
    io: T,
    injected: Arc<Injected>,
}

impl<T> Wire<T> {
    pub(crate) fn new(io: T) -> (Self, WireControl) {
        let control = WireControl::default();
        let injected = Arc::clone(&control.injected);
        (Self { io, injected }, control)
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
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.injected.waiting.load(Ordering::Acquire) {
            let mut frame = this
                .injected
                .frame
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            while !frame.is_empty() {
                let written = ready!(Pin::new(&mut this.io).poll_write(cx, &frame))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                frame.advance(written);
            }
            this.injected.waiting.store(false, Ordering::Release);
        }
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
