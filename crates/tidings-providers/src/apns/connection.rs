//! One connection: the task that owns it, and what ends it.
//!
//! The task polls the HTTP/2 connection and its requests in place. A visit to the queue leaves answers there and takes as
//! many jobs as the peer allows streams: h2 itself would queue without end.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use h2::{Ping, PingPong};
use http::StatusCode;
use tidings_model::{Outcome, Reason, UnixMillis};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tracing::{debug, warn};

use crate::apns::answer::{self, outcome};
use crate::apns::connect::{Connector, Opened};
use crate::apns::flight::{Flights, Heard};
use crate::apns::jobs::Job;
use crate::apns::limits::Limits;
use crate::apns::queue::{Closing, Exchange, Queue, Standing, malformed_token};
use crate::apns::request::Requests;
use crate::apns::token::TokenSource;
use crate::apns::wire::{Alert, Wire, failed_stream, rejection};
use crate::attempt::{Attempt, Cause};

/// How often a delivery that came back unprocessed is sent again before it is given back to the caller.
const GIVEN_BACK_MAX: u8 = 8;
/// How long a connection may be idle before it is asked with a PING whether it is still there: Apple allows one an hour.
const IDLE_MAX: Duration = Duration::from_secs(60 * 60);
/// How long a connection that is done may take to say goodbye.
const GOODBYE_MAX: Duration = Duration::from_secs(2);

/// Refusals in a row for updating the provider token too often, after which a connection is given up: the first may come
/// from the token before.
const UPDATES_REFUSED_MAX: u32 = 2;

/// How a connection ended.
pub(super) struct End {
    /// Requests whose answer was about the delivery, rather than about the connection or its credential.
    pub(super) served: u64,
    /// The peer refused the client's certificate.
    pub(super) rejected: Option<Reason>,
}

pub(super) struct Connection<T> {
    id: u64,
    queue: Arc<Queue<T>>,
    /// None when no more requests will be made: then the HTTP/2 connection says goodbye when its streams have ended.
    sender: Option<SendRequest<Bytes>>,
    wire: client::Connection<Wire, Bytes>,
    alert: Alert,
    ping: Option<PingPong>,
    pinged_at: Option<Instant>,
    requests: Requests,
    tokens: Option<Arc<TokenSource>>,
    /// What the credential was checked for.
    topics: Vec<String>,
    flights: Flights<T>,
    visit: Exchange<T>,
    limits: Limits,
    tick: Interval,
    /// The last answer.
    answered_at: Instant,
    /// The last answer or PONG.
    heard_at: Instant,
    answered: u64,
    served: u64,
    /// Refusals in a row for updating the provider token too often.
    updates_refused: u32,
    /// Answers of 5xx in a row, and whether there was another one since the last visit.
    unwell: u32,
    well: bool,
    /// Takes no more jobs.
    draining: bool,
    /// When it let go of its sender.
    done_at: Option<Instant>,
}

impl<T> Connection<T> {
    /// Joins the queue.
    pub(super) fn new(
        id: u64,
        queue: Arc<Queue<T>>,
        connector: &Connector,
        opened: Opened,
    ) -> Self {
        let mut wire = opened.connection;
        let limits = Limits::of(&connector.config);
        let mut tick = interval(limits.tick());
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        queue.join();
        let now = Instant::now();
        Self {
            id,
            queue,
            sender: Some(opened.sender),
            ping: wire.ping_pong(),
            pinged_at: None,
            wire,
            alert: opened.alert,
            requests: Requests::new(connector.endpoint().authority.clone()),
            tokens: connector.config.credential.token_source().cloned(),
            topics: connector.topics.clone(),
            flights: Flights::new(),
            visit: Exchange::default(),
            limits,
            tick,
            answered_at: now,
            heard_at: now,
            answered: 0,
            served: 0,
            updates_refused: 0,
            unwell: 0,
            well: false,
            draining: false,
            done_at: None,
        }
    }

    /// Works until the connection has ended; every job it took has then been answered or given back.
    pub(super) async fn run(mut self) -> End {
        let cause = poll_fn(|cx| self.poll(cx)).await;
        let attempt = self.lost(cause.clone());
        let Self { flights, visit, .. } = &mut self;
        flights.give_up_all(|job| visit.answers.push((job.delivery, attempt.clone())));
        self.queue.deliver(&mut self.visit, self.id);
        self.drain("it ended");
        debug!(
            connection = self.id,
            answered = self.answered,
            "APNs connection {} ended: {cause}",
            self.id
        );
        End {
            served: self.served,
            rejected: self.rejected(),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Cause> {
        loop {
            let wire = Pin::new(&mut self.wire).poll(cx);
            self.land();
            if let Poll::Ready(ended) = wire {
                let text = ended.map_or_else(|error| error.to_string(), |()| "closed".to_owned());
                return Poll::Ready(Cause::ConnectionLost(text.into()));
            }
            self.poll_pong(cx);
            while self.tick.poll_tick(cx).is_ready() {
                if let Some(cause) = self.look_at_deadlines(Instant::now()) {
                    return Poll::Ready(cause);
                }
            }
            if self.call_on_queue(cx) == Closing::Abandoned {
                return Poll::Ready(Cause::Shutdown);
            }
            let sent = self.send(cx);
            let finished = self.finish_if_done();
            if !sent && !finished && self.visit.is_empty() {
                return Poll::Pending;
            }
        }
    }

    /// Takes in the answers that the wire has brought.
    fn land(&mut self) {
        let Self {
            flights,
            visit,
            answered,
            served,
            updates_refused,
            unwell,
            well,
            ..
        } = self;
        let (before, served_before) = (*answered, *served);
        let mut others = Vec::new();
        flights.poll_woken(|job, heard| match heard {
            Heard::Answer {
                status: StatusCode::OK,
                unique_id: id,
                ..
            } => {
                *answered += 1;
                *served += 1;
                (*updates_refused, *unwell, *well) = (0, 0, true);
                let accepted = Attempt::Answered(Outcome::Accepted { id });
                visit.answers.push((job.delivery, accepted));
            }
            other => others.push((job, other)),
        });
        if self.served > served_before
            && let Some(tokens) = &self.tokens
        {
            tokens.accepted(Instant::now());
        }
        for (job, heard) in others {
            match heard {
                Heard::Answer {
                    status,
                    retry_after,
                    body,
                    ..
                } => {
                    self.answered += 1;
                    let outcome = outcome(status.as_u16(), &body, retry_after.as_deref());
                    let job = self.examine(job, status);
                    self.judge(job, outcome);
                }
                Heard::Failed(error) => self.failed(job, &error),
            }
        }
        if self.answered > before {
            self.answered_at = Instant::now();
            self.heard_at = self.answered_at;
        }
    }

    /// A 5xx says that this connection's peer could not, and another's may; one that says nothing else is given up.
    fn examine(&mut self, mut job: Job<T>, status: StatusCode) -> Job<T> {
        if !status.is_server_error() {
            (self.unwell, self.well) = (0, true);
            return job;
        }
        job.delivery.route.avoids = self.id;
        self.unwell += 1;
        if !self.draining && self.unwell >= self.queue.sick_after() {
            warn!(
                connection = self.id,
                "APNs connection {} answers {status} to everything: it is replaced", self.id
            );
            self.queue.sickened();
            self.drain("it answers 5xx to everything");
        }
        job
    }

    /// An answer other than yes: some are about this connection and its token rather than about the delivery.
    fn judge(&mut self, mut job: Job<T>, mut outcome: Outcome) {
        match outcome.reason() {
            Some(reason)
                if *reason == answer::EXPIRED_PROVIDER_TOKEN
                    || *reason == answer::UNRELATED_KEY_ID_IN_TOKEN =>
            {
                let reason = reason.clone();
                self.drain(reason.as_str());
                if let Some(tokens) = &self.tokens {
                    tokens.rejected_expired(UnixMillis::now());
                }
                if !job.renewed {
                    job.renewed = true;
                    self.visit.unprocessed.push(job);
                    return;
                }
                // While the same token is accepted elsewhere, this is Apple's trouble, which passes.
                let is_good =
                    |tokens: &Arc<TokenSource>| tokens.was_accepted_lately(Instant::now());
                if !self.tokens.as_ref().is_some_and(is_good) {
                    outcome = Outcome::CredentialRejected { reason };
                }
            }
            Some(reason) if *reason == answer::TOO_MANY_PROVIDER_TOKEN_UPDATES => {
                if let Some(tokens) = &self.tokens {
                    tokens.too_many_updates(UnixMillis::now());
                }
                // Apple counts for each connection: a new one begins with the token as it is.
                self.updates_refused += 1;
                if self.updates_refused >= UPDATES_REFUSED_MAX {
                    self.drain("it refuses its provider token again and again");
                }
            }
            Some(reason) if *reason == answer::IDLE_TIMEOUT || *reason == answer::SHUTDOWN => {
                let reason = reason.clone();
                self.drain(reason.as_str());
            }
            Some(reason) if *reason == answer::TOPIC_DISALLOWED => {
                let topic = job.delivery.notification.topic();
                if !self.topics.iter().any(|good| topic == good) {
                    let reason = reason.clone();
                    outcome = Outcome::PayloadRejected { reason };
                }
            }
            _ => self.served += u64::from(!is_rejected(&outcome)),
        }
        let rejects_all =
            is_rejected(&outcome) && outcome.reason() != Some(&answer::TOPIC_DISALLOWED);
        let attempt = Attempt::Answered(outcome);
        if rejects_all {
            // What waits would fare no better, and Apple slows those down who ask all the same.
            self.queue.bounce(&attempt);
        }
        self.visit.answers.push((job.delivery, attempt));
    }

    fn failed(&mut self, job: Job<T>, error: &h2::Error) {
        let attempt = match failed_stream(error) {
            Attempt::NotSent(cause) => {
                if cause == Cause::GoAway {
                    // Those below its last id may still be answered.
                    self.drain(&error.to_string());
                }
                return self.give_back(job, cause);
            }
            Attempt::Unanswered(cause @ Cause::ConnectionLost(_)) => self.lost(cause),
            attempt => attempt,
        };
        self.visit.answers.push((job.delivery, attempt));
    }

    /// What became of a request when its connection was lost.
    fn lost(&self, cause: Cause) -> Attempt {
        match self.rejected() {
            Some(reason) => Attempt::Answered(Outcome::CredentialRejected { reason }),
            None => Attempt::Unanswered(cause),
        }
    }

    fn rejected(&self) -> Option<Reason> {
        self.alert.get().copied().and_then(rejection)
    }

    /// The peer has left the job alone, so it goes to the front of the queue, a bounded number of times.
    fn give_back(&mut self, mut job: Job<T>, cause: Cause) {
        job.given_back += 1;
        if job.given_back > GIVEN_BACK_MAX {
            let answer = (job.delivery, Attempt::NotSent(cause));
            self.visit.answers.push(answer);
        } else {
            self.visit.unprocessed.push(job);
        }
    }

    fn poll_pong(&mut self, cx: &mut Context<'_>) {
        let Some(ping) = &mut self.ping else { return };
        if let Poll::Ready(Ok(_)) = ping.poll_pong(cx) {
            self.pinged_at = None;
            self.heard_at = Instant::now();
        }
    }

    /// Gives up what is overdue and asks a silent peer for a sign of life. Says why if the connection is dead.
    fn look_at_deadlines(&mut self, now: Instant) -> Option<Cause> {
        if let Some(done_at) = self.done_at
            && now.duration_since(done_at) >= GOODBYE_MAX
        {
            return Some(Cause::Shutdown);
        }
        if let Some(overdue) = now.checked_sub(self.limits.answer_timeout) {
            let Self { flights, visit, .. } = self;
            let before = visit.answers.len();
            flights.give_up(overdue, |job| {
                let timed_out = Attempt::Unanswered(Cause::TimedOut);
                visit.answers.push((job.delivery, timed_out));
            });
            if visit.answers.len() > before && self.answered_at <= overdue {
                // It has been seen that a connection lives but answers nothing for hours.
                self.drain("it has answered nothing for too long");
            }
        }
        if let Some(pinged_at) = self.pinged_at {
            // Answers are a sign of life, too, even if they overtake the PONG.
            let waited = now.duration_since(pinged_at.max(self.heard_at));
            return (waited >= self.limits.pong_timeout).then(|| {
                warn!(
                    connection = self.id,
                    "APNs connection {} does not answer a PING: it is replaced", self.id
                );
                Cause::TimedOut
            });
        }
        let silent = match self.flights.oldest() {
            Some(sent_at) => {
                now.duration_since(sent_at.max(self.heard_at)) >= self.limits.silence_max
            }
            None => now.duration_since(self.heard_at) >= IDLE_MAX,
        };
        if silent
            && let Some(ping) = &mut self.ping
            && ping.send_ping(Ping::opaque()).is_ok()
        {
            self.pinged_at = Some(now);
        }
        None
    }

    /// Leaves answers at the queue and takes jobs for the streams that are free.
    fn call_on_queue(&mut self, cx: &mut Context<'_>) -> Closing {
        let (free, limit) = self.free_streams(cx);
        let standing = Standing {
            connection: self.id,
            free,
            takes_jobs: !self.draining,
            // Before the first answer the limit may be that of a connection that is not trusted yet.
            crowded: self.answered > 0 && free.saturating_mul(10) < limit,
            well: std::mem::take(&mut self.well),
            waker: cx.waker(),
        };
        let reply = self.queue.exchange(&mut self.visit, &standing);
        if reply.surplus {
            // The queue has counted it out already.
            self.stop_taking("the scale was reduced");
        }
        if reply.closing > Closing::Open && self.visit.jobs.is_empty() && self.flights.len() == 0 {
            self.drain("the client is closing");
        }
        reply.closing
    }

    /// Streams that may be opened, and how many there may be in all.
    fn free_streams(&mut self, cx: &mut Context<'_>) -> (usize, usize) {
        let Some(sender) = self.sender.as_mut().filter(|_| !self.draining) else {
            return (0, 0);
        };
        let limit = sender
            .current_max_send_streams()
            .min(self.limits.streams_max);
        match sender.poll_ready(cx) {
            Poll::Ready(Ok(())) => (limit.saturating_sub(self.flights.len()), limit),
            // A GOAWAY has come, or the stream ids are used up.
            Poll::Ready(Err(error)) => {
                self.drain(&error.to_string());
                (0, limit)
            }
            // A stream waits to be opened, because the peer has lowered its limit or a reset is still to be written.
            Poll::Pending => (0, limit),
        }
    }

    /// Sends the jobs it has taken. Says whether anything was sent.
    fn send(&mut self, cx: &mut Context<'_>) -> bool {
        if self.visit.jobs.is_empty() {
            return false;
        }
        let now = Instant::now();
        if let Some(tokens) = &self.tokens {
            self.requests.authorize(tokens.bearer(UnixMillis::now()));
        }
        let mut sent = false;
        while let Some(job) = self.visit.jobs.pop_front() {
            let Ok(request) = self.requests.request(&job.delivery) else {
                let answer = (job.delivery, malformed_token());
                self.visit.answers.push(answer);
                continue;
            };
            let opened = match &mut self.sender {
                Some(sender) => sender.send_request(request, false),
                None => {
                    self.visit.jobs.push_front(job);
                    self.visit.give_jobs_back();
                    return sent;
                }
            };
            match opened {
                Ok((response, mut stream)) => {
                    let payload = job.delivery.notification.payload().clone();
                    // If this fails, the response fails too and tells why.
                    let _ = stream.send_data(payload, true);
                    self.flights.add(job, response, now);
                    sent = true;
                }
                Err(_) => {
                    let waits = match &mut self.sender {
                        Some(sender) => sender.poll_ready(cx).is_pending(),
                        None => false,
                    };
                    if waits {
                        self.visit.unprocessed.push(job);
                    } else {
                        self.drain("it takes no more requests");
                        self.give_back(job, Cause::RefusedStream);
                    }
                    self.visit.give_jobs_back();
                }
            }
        }
        sent
    }

    /// Takes no more jobs.
    fn drain(&mut self, why: &str) {
        if !self.draining {
            self.queue.leave(self.id);
            self.stop_taking(why);
        }
    }

    fn stop_taking(&mut self, why: &str) {
        self.draining = true;
        debug!(
            connection = self.id,
            "APNs connection {} takes no more: {why}", self.id
        );
    }

    /// Lets go of the sender when nothing is left to do. Says whether it did just now.
    fn finish_if_done(&mut self) -> bool {
        let done = self.draining && self.flights.len() == 0 && self.sender.is_some();
        if done {
            self.sender = None;
            self.done_at = Some(Instant::now());
        }
        done
    }
}

fn is_rejected(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::CredentialRejected { .. })
}
