//! One client connection: HTTP/2 on a TLS stream, by one task. Requests for other providers are led to them.
//!
//! Apple allows a single stream until the first valid token and changes the limit while the connection runs. The `h2`
//! server sends its SETTINGS once, so here the limit is the same from the start.

use std::future::{Future, poll_fn};
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use h2::RecvStream;
use h2::server::{Builder, Connection, SendResponse};
use http::request::Parts;
use http::{Request, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};
use tracing::debug;

use crate::answer::Answer;
use crate::apns::answer::error_body;
use crate::apns::reason::Reason;
use crate::apns::request::{Auth, IdSource, judge, token_in};
use crate::apns::upload::Upload;
use crate::apns::wire::{Wire, WireControl};
use crate::clock::now_ms;
use crate::faults::{Action, Effect, Met};
use crate::limits::{CONNECTION_WINDOW, DRAIN_GRACE, HANDSHAKE_TIMEOUT, HEADER_LIST_MAX};
use crate::makers;
use crate::provider::Provider;
use crate::sandbox::stopped;
use crate::simulator::{Calls, Outcome, Verdict};
use crate::state::State;

/// Serves a connection until the client ends it, a fault does, or `stop` turns true and its streams are answered.
///
/// Cancel safe in the sense that dropping it closes the connection.
pub(crate) async fn serve<T>(
    io: T,
    auth: Auth,
    state: Arc<State>,
    streams_max: u32,
    mut stop: watch::Receiver<bool>,
) where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (wire, control) = Wire::new(io);
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(streams_max)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADER_LIST_MAX);
    let mut connection = match timeout(HANDSHAKE_TIMEOUT, builder.handshake(wire)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return debug!(%error, "no HTTP/2 connection"),
        Err(_) => return debug!("the client did not begin HTTP/2 in time"),
    };
    let mut session = Session::new(state, auth, control);
    if let Err(error) = exchange(&mut connection, &mut session, &mut stop).await {
        debug!(%error, "the connection broke");
    }
}

async fn exchange<T>(
    connection: &mut Connection<Wire<T>, Bytes>,
    session: &mut Session,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), h2::Error>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut stopping = false;
    loop {
        let flow = tokio::select! {
            () = stopped(stop), if !stopping => {
                stopping = true;
                if session.gone_from.is_none() {
                    connection.graceful_shutdown();
                }
                ControlFlow::Continue(())
            }
            Some(arrived) = session.arriving.next() => session.arrived(arrived),
            Some(judged) = session.judging.next() => session.judged(judged),
            Some(due) = session.delayed.next() => match due {
                Some((respond, outcome)) => session.end(respond, outcome),
                None => ControlFlow::Continue(()),
            },
            accepted = next_request(connection, &session.wire) => match accepted {
                Some(accepted) => {
                    let (request, respond) = accepted?;
                    session.begin(request, respond).await
                }
                None => return Ok(()),
            },
            () = sleep_until(session.deadline.unwrap_or_else(Instant::now)), if session.deadline.is_some() => {
                ControlFlow::Break(())
            }
        };
        if flow.is_break() {
            return flush(connection, &session.wire).await;
        }
        session.set_deadline_when_idle();
    }
}

/// The next request; none when the connection has ended. Answers wait for each other while requests come without a
/// pause, and are written before this waits. Cancel safe.
async fn next_request<T>(
    connection: &mut Connection<Wire<T>, Bytes>,
    wire: &WireControl,
) -> Option<Result<(Request<RecvStream>, SendResponse<Bytes>), h2::Error>>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    poll_fn(|cx| {
        wire.cork(true);
        if let Poll::Ready(accepted) = pin!(connection.accept()).poll(cx) {
            return Poll::Ready(accepted);
        }
        wire.cork(false);
        pin!(connection.accept()).poll(cx)
    })
    .await
}

/// Writes the answers that wait, as far as the socket takes them at once.
async fn flush<T>(
    connection: &mut Connection<Wire<T>, Bytes>,
    wire: &WireControl,
) -> Result<(), h2::Error>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    wire.cork(false);
    poll_fn(|cx| match connection.poll_closed(cx) {
        Poll::Ready(closed) => Poll::Ready(closed),
        Poll::Pending => Poll::Ready(Ok(())),
    })
    .await
}

/// The streams of a connection and what becomes of them.
struct Session {
    state: Arc<State>,
    auth: Auth,
    wire: WireControl,
    ids: IdSource,
    arriving: FuturesUnordered<Arriving>,
    delayed: FuturesUnordered<Delayed>,
    /// Requests for other providers.
    judging: FuturesUnordered<Judging>,
    /// Streams that are never answered. Letting go of one would reset it.
    held: Vec<SendResponse<Bytes>>,
    /// The first stream that the GOAWAY leaves out.
    gone_from: Option<u32>,
    /// When the connection ends, once nothing more is answered on it.
    deadline: Option<Instant>,
}

/// A request and its way back.
struct Exchange {
    head: Parts,
    upload: Upload,
    respond: SendResponse<Bytes>,
    met: Option<Met>,
}

/// A request for another provider; it yields no verdict when the client has reset it.
type Judging = Pin<Box<dyn Future<Output = (SendResponse<Bytes>, Option<Verdict>)> + Send>>;

/// A request whose body is on its way; it is there until the body has ended.
struct Arriving(Option<Exchange>);

/// What happens to a stream after a delay; the stream is there until it is due.
struct Delayed {
    sleep: Pin<Box<Sleep>>,
    stream: Option<(SendResponse<Bytes>, Outcome)>,
}

impl Session {
    fn new(state: Arc<State>, auth: Auth, wire: WireControl) -> Self {
        Self {
            state,
            auth,
            wire,
            ids: IdSource::new(),
            arriving: FuturesUnordered::new(),
            delayed: FuturesUnordered::new(),
            judging: FuturesUnordered::new(),
            held: Vec::new(),
            gone_from: None,
            deadline: None,
        }
    }

    /// Takes a new stream. Most bodies came in the same read as their headers and are judged at once, without a task
    /// or an allocation of their own.
    async fn begin(
        &mut self,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
    ) -> ControlFlow<()> {
        if self
            .gone_from
            .is_some_and(|first| u32::from(respond.stream_id()) >= first)
        {
            self.held.push(respond);
            return ControlFlow::Continue(());
        }
        let (head, body) = request.into_parts();
        if let Some(calls) = Provider::calls_at(head.uri.path()) {
            self.judge(calls, head, body, respond);
            return ControlFlow::Continue(());
        }
        let met = self
            .state
            .faults
            .meet(Provider::Apns, || token_in(head.uri.path()));
        if let Some(Met {
            delay,
            effect: Effect::Act(action),
        }) = met
        {
            return self.settle(respond, Outcome::Act(action), delay);
        }
        let mut arriving = Arriving(Some(Exchange {
            head,
            upload: Upload::new(body),
            respond,
            met,
        }));
        match poll_fn(|cx| Poll::Ready(Pin::new(&mut arriving).poll(cx))).await {
            Poll::Ready(arrived) => self.arrived(arrived),
            Poll::Pending => {
                self.arriving.push(arriving);
                ControlFlow::Continue(())
            }
        }
    }

    /// Takes a request for another provider.
    fn judge(
        &mut self,
        calls: &'static Calls,
        head: Parts,
        body: RecvStream,
        respond: SendResponse<Bytes>,
    ) {
        let state = Arc::clone(&self.state);
        self.judging.push(Box::pin(async move {
            let verdict = makers::serve(&state, calls, &head, makers::read(body)).await;
            (respond, verdict)
        }));
    }

    fn judged(
        &mut self,
        (respond, verdict): (SendResponse<Bytes>, Option<Verdict>),
    ) -> ControlFlow<()> {
        match verdict {
            Some(Verdict { delay, outcome }) => self.settle(respond, outcome, delay),
            None => ControlFlow::Continue(()),
        }
    }

    /// Judges a request whose body is here. The client may have reset the stream instead.
    fn arrived(&mut self, arrived: Option<Exchange>) -> ControlFlow<()> {
        let Some(exchange) = arrived else {
            return ControlFlow::Continue(());
        };
        let Exchange {
            head,
            upload,
            respond,
            met,
        } = exchange;
        let now_ms = now_ms();
        let delay = met.as_ref().map_or(Duration::ZERO, |met| met.delay);
        let answer = match met.map(|met| met.effect) {
            Some(Effect::Answer {
                status,
                reason,
                headers,
            }) => {
                let timestamp = (status == StatusCode::GONE).then_some(now_ms);
                let apns_id = self.ids.answer_id(&head.headers);
                Answer::error(apns_id, status, reason.as_deref(), timestamp).with_headers(headers)
            }
            _ => judge(
                &self.state,
                &mut self.auth,
                &mut self.ids,
                &head,
                upload.body(),
                now_ms,
            ),
        };
        self.settle(respond, Outcome::Answer(answer), delay)
    }

    fn settle(
        &mut self,
        respond: SendResponse<Bytes>,
        outcome: Outcome,
        delay: Duration,
    ) -> ControlFlow<()> {
        if delay.is_zero() {
            return self.end(respond, outcome);
        }
        self.delayed.push(Delayed {
            sleep: Box::pin(sleep(delay)),
            stream: Some((respond, outcome)),
        });
        ControlFlow::Continue(())
    }

    /// Ends a stream; breaks when that ends the connection.
    fn end(&mut self, mut respond: SendResponse<Bytes>, outcome: Outcome) -> ControlFlow<()> {
        match outcome {
            Outcome::Answer(answer) => answer.send(&mut respond),
            Outcome::Act(Action::Close) => {
                self.held.push(respond);
                return ControlFlow::Break(());
            }
            Outcome::Act(Action::Goaway) => {
                self.go_away(respond.stream_id().into());
                self.held.push(respond);
            }
            Outcome::Act(Action::Hang) => self.held.push(respond),
            Outcome::Act(Action::RefuseStream) => respond.send_reset(h2::Reason::REFUSED_STREAM),
        }
        ControlFlow::Continue(())
    }

    /// Says that the stream and all later ones are not processed.
    fn go_away(&mut self, first: u32) {
        if self.gone_from.is_none() {
            self.gone_from = Some(first);
            // Clients use odd ids (RFC 9113, section 5.1.1), so the one before is two less, or none.
            let last = first.saturating_sub(2);
            self.wire
                .go_away(last, &error_body(Reason::Shutdown.name(), None));
        }
    }

    /// Gives the connection a deadline once a GOAWAY is out and every earlier stream is answered. The client usually
    /// closes first.
    fn set_deadline_when_idle(&mut self) {
        if self.gone_from.is_some()
            && self.deadline.is_none()
            && self.arriving.is_empty()
            && self.delayed.is_empty()
            && self.judging.is_empty()
        {
            self.deadline = Some(Instant::now() + DRAIN_GRACE);
        }
    }
}

impl Future for Arriving {
    /// None when the client has reset the stream.
    type Output = Option<Exchange>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Exchange>> {
        let Some(exchange) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let ended = ready!(exchange.upload.poll_end(cx));
        Poll::Ready(self.0.take().filter(|_| ended.is_ok()))
    }
}

impl Future for Delayed {
    type Output = Option<(SendResponse<Bytes>, Outcome)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(self.sleep.as_mut().poll(cx));
        Poll::Ready(self.stream.take())
    }
}
