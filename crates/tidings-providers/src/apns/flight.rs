//! Requests in flight on one connection: each in a slot of its own, with a waker of its own that is made once.
//!
//! The connection's task polls the HTTP/2 connection, which wakes the slots whose answers it read, and then polls those
//! slots and no others. So a request costs neither a task nor a channel, nor does an answer cost a look at all slots.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use h2::RecvStream;
use h2::client::ResponseFuture;
use http::header::RETRY_AFTER;
use http::{HeaderName, Response, StatusCode};
use tidings_model::ProviderId;
use tokio::time::Instant;

use crate::apns::jobs::Job;

/// Bytes of an answer's body that are read; Apple's are below 100.
const BODY_LEN_MAX: usize = 4096;

/// In the sandbox environment only, where it finds the notification in Apple's Push Notifications Console.
pub(super) const APNS_UNIQUE_ID: HeaderName = HeaderName::from_static("apns-unique-id");

/// What came of a request.
pub(super) enum Heard {
    Answer {
        status: StatusCode,
        retry_after: Option<String>,
        unique_id: Option<ProviderId>,
        body: Vec<u8>,
    },
    Failed(h2::Error),
}

struct Flight<T> {
    job: Job<T>,
    sent_at: Instant,
    phase: Phase,
}

enum Phase {
    Head(ResponseFuture),
    Body {
        status: StatusCode,
        retry_after: Option<String>,
        unique_id: Option<ProviderId>,
        stream: RecvStream,
        read: Vec<u8>,
    },
}

impl Phase {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Heard> {
        if let Self::Head(response) = self {
            let response = match std::task::ready!(Pin::new(response).poll(cx)) {
                Ok(response) => response,
                Err(error) => return Poll::Ready(Heard::Failed(error)),
            };
            *self = Self::body(response);
        }
        let Self::Body {
            status,
            retry_after,
            unique_id,
            stream,
            read,
        } = self
        else {
            return Poll::Pending;
        };
        // The status is what counts: a body that breaks off is taken as it is.
        while read.len() < BODY_LEN_MAX
            && !stream.is_end_stream()
            && let Some(Ok(data)) = std::task::ready!(stream.poll_data(cx))
        {
            let kept = data.len().min(BODY_LEN_MAX - read.len());
            read.extend_from_slice(&data[..kept]);
            // Fails only when the stream is gone, and then there is no window to give back.
            let _ = stream.flow_control().release_capacity(data.len());
        }
        Poll::Ready(Heard::Answer {
            status: *status,
            retry_after: retry_after.take(),
            unique_id: unique_id.take(),
            body: std::mem::take(read),
        })
    }

    fn body(response: Response<RecvStream>) -> Self {
        let (head, stream) = response.into_parts();
        let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        Self::Body {
            status: head.status,
            retry_after: text(RETRY_AFTER).map(str::to_owned),
            unique_id: text(APNS_UNIQUE_ID).and_then(ProviderId::heard),
            stream,
            read: Vec::new(),
        }
    }
}

/// Slots that were woken. Only the connection's own task locks it, so the lock is never waited for.
#[derive(Default)]
struct Woken(Mutex<Vec<usize>>);

struct SlotWaker {
    slot: usize,
    woken: Arc<Woken>,
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut woken = self.woken.0.lock().unwrap_or_else(PoisonError::into_inner);
        woken.push(self.slot);
    }
}

pub(super) struct Flights<T> {
    slots: Vec<(Option<Flight<T>>, Waker)>,
    free: Vec<usize>,
    woken: Arc<Woken>,
    /// Kept for its memory.
    polled: Vec<usize>,
}

impl<T> Flights<T> {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            woken: Arc::default(),
            polled: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Takes in a request that was handed to the HTTP/2 connection.
    pub(super) fn add(&mut self, job: Job<T>, response: ResponseFuture, sent_at: Instant) {
        let slot = self.free.pop().unwrap_or_else(|| {
            let slot = self.slots.len();
            let woken = Arc::clone(&self.woken);
            let waker = Waker::from(Arc::new(SlotWaker { slot, woken }));
            self.slots.push((None, waker));
            slot
        });
        let flight = Flight {
            job,
            sent_at,
            phase: Phase::Head(response),
        };
        self.slots[slot].0 = Some(flight);
        // The first poll is what asks to be woken.
        self.woken.lock().push(slot);
    }

    /// Polls what was woken and hands over what has come to an end.
    pub(super) fn poll_woken(&mut self, mut ended: impl FnMut(Job<T>, Heard)) {
        std::mem::swap(&mut *self.woken.lock(), &mut self.polled);
        for slot in self.polled.drain(..) {
            let (flight, waker) = &mut self.slots[slot];
            let Some(in_flight) = flight else { continue };
            let polled = in_flight.phase.poll(&mut Context::from_waker(waker));
            if let Poll::Ready(heard) = polled
                && let Some(landed) = flight.take()
            {
                self.free.push(slot);
                ended(landed.job, heard);
            }
        }
    }

    /// Gives up the requests that were sent at or before `sent_at`; their streams are reset.
    pub(super) fn give_up(&mut self, sent_at: Instant, mut given_up: impl FnMut(Job<T>)) {
        for (slot, (flight, _)) in self.slots.iter_mut().enumerate() {
            if let Some(overdue) = flight.take_if(|flight| flight.sent_at <= sent_at) {
                self.free.push(slot);
                given_up(overdue.job);
            }
        }
    }

    /// Gives up all requests.
    pub(super) fn give_up_all(&mut self, mut given_up: impl FnMut(Job<T>)) {
        for (slot, (flight, _)) in self.slots.iter_mut().enumerate() {
            if let Some(left) = flight.take() {
                self.free.push(slot);
                given_up(left.job);
            }
        }
    }

    /// When the request that has been out for longest was sent.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let flights = self.slots.iter().filter_map(|(flight, _)| flight.as_ref());
        flights.map(|flight| flight.sent_at).min()
    }
}

impl Woken {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
