//! A connection at work: one request at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_model::{Outcome, UnixMillis};
use tokio::time::{sleep_until, timeout};
use tracing::debug;

use crate::attempt::{Attempt, Cause};
use crate::batch::access::Keeper;
use crate::batch::exchange::{Connection, Failed};
use crate::batch::queue::{Closing, Queue, Turn};
use crate::batch::{Answer, Config, Protocol};
use crate::delivery::Delivery;
use crate::net::Dialer;

/// A connection without anything to do is closed after this.
const IDLE_MAX: Duration = Duration::from_secs(60);

pub(super) struct Shared<P: Protocol, T> {
    pub(super) config: Config<P>,
    pub(super) dialer: Dialer,
    pub(super) keeper: Keeper<P>,
    pub(super) queue: Queue<P, T>,
}

type Batch<P, T> = Vec<Delivery<<P as Protocol>::Notification, T>>;

/// Works until there is nothing more to do; the queue has counted it in.
pub(super) async fn run<P: Protocol, T: Send + 'static>(shared: Arc<Shared<P, T>>) {
    let queue = &shared.queue;
    let mut connection = None;
    loop {
        // Whoever is told between the look and the wait is told.
        let woken = queue.work.notified();
        tokio::pin!(woken);
        woken.as_mut().enable();
        match queue.turn(Instant::now()) {
            Turn::Batch(batch) => shared.carry(&mut connection, batch).await,
            Turn::At(at) => tokio::select! {
                () = woken => {}
                () = sleep_until(at.into()) => {}
            },
            Turn::Nothing => {
                queue.lock().idle += 1;
                let waited = timeout(IDLE_MAX, woken).await;
                let mut state = queue.lock();
                state.idle -= 1;
                if waited.is_err() && !state.has_jobs() && state.closing == Closing::Open {
                    state.live -= 1;
                    return;
                }
            }
            Turn::End => return,
        }
    }
}

impl<P: Protocol, T: Send + 'static> Shared<P, T> {
    /// Sends a batch and answers each of it once.
    async fn carry(&self, connection: &mut Option<Connection>, batch: Batch<P, T>) {
        let abandoned = self.queue.abandoned.notified();
        tokio::pin!(abandoned);
        abandoned.as_mut().enable();
        let mut has_left = false;
        let Some(first) = batch.first() else { return };
        let notification = Arc::clone(&first.notification);
        let tokens: Vec<&str> = batch.iter().map(|delivery| &*delivery.token).collect();
        let said = if self.queue.lock().closing == Closing::Abandoned {
            Err(Attempt::NotSent(Cause::Shutdown))
        } else {
            tokio::select! {
                said = self.exchange(connection, &notification, &tokens, &mut has_left) => said,
                () = abandoned => Err(if has_left {
                    Attempt::Unanswered(Cause::Shutdown)
                } else {
                    Attempt::NotSent(Cause::Shutdown)
                }),
            }
        };
        match said {
            Ok(Answer::Each(outcomes)) if outcomes.len() == batch.len() => {
                let outcomes = outcomes.into_iter().map(Attempt::Answered);
                self.queue.answer(batch.into_iter().zip(outcomes));
            }
            Ok(Answer::All(outcome)) => self.answer_all(batch, &Attempt::Answered(outcome)),
            Ok(Answer::AccessRefused(reason)) => {
                let outcome = Outcome::CredentialRejected { reason };
                self.answer_all(batch, &Attempt::Answered(outcome));
            }
            Ok(Answer::Each(outcomes)) => {
                // Ours to be right about: an answer that fits none of the devices is no answer.
                let text = format!("{} outcomes for {} devices", outcomes.len(), batch.len());
                let cause = Cause::ConnectionLost(text.into());
                self.answer_all(batch, &Attempt::Unanswered(cause));
            }
            Err(attempt) => {
                *connection = None;
                // What waits would fare no better now: whoever tries again knows when.
                if matches!(
                    attempt,
                    Attempt::NotSent(Cause::ConnectFailed(_) | Cause::TlsFailed(_))
                ) {
                    debug!(provider = P::NAME, %attempt, "cannot connect");
                    self.queue.bounce(&attempt);
                }
                self.answer_all(batch, &attempt);
            }
        }
    }

    fn answer_all(&self, batch: Batch<P, T>, attempt: &Attempt) {
        let answers = batch
            .into_iter()
            .map(|delivery| (delivery, attempt.clone()));
        self.queue.answer(answers);
    }

    /// One request, again with another access token if it is refused for the sake of that, and again if nothing of it has
    /// left. `has_left` says whether something may have.
    async fn exchange(
        &self,
        connection: &mut Option<Connection>,
        notification: &P::Notification,
        tokens: &[&str],
        has_left: &mut bool,
    ) -> Result<Answer, Attempt> {
        let protocol = &self.config.protocol;
        let mut refused = None;
        let mut stale = false;
        loop {
            let access = self.keeper.access(refused.as_ref()).await?;
            let open = match connection.take().filter(Connection::is_open) {
                Some(open) => open,
                None => Connection::open(&self.dialer)
                    .await
                    .map_err(Attempt::NotSent)?,
            };
            let open = connection.insert(open);
            let now = UnixMillis::now();
            let request = protocol.request(notification, tokens, &access.token, now);
            let by = tokio::time::Instant::now() + self.config.answer_timeout;
            *has_left = true;
            let response = match open.send(&self.dialer, &request, by).await {
                Ok(response) => response,
                Err(Failed::Stale) if !stale => {
                    (*has_left, stale) = (false, true);
                    *connection = None;
                    continue;
                }
                Err(Failed::Stale) => {
                    *has_left = false;
                    let cause = Cause::ConnectionLost("closed before the request".into());
                    return Err(Attempt::NotSent(cause));
                }
                Err(Failed::With(attempt)) => return Err(attempt),
            };
            *has_left = false;
            match protocol.answer(&response, tokens) {
                Answer::AccessRefused(_) if refused.is_none() => refused = Some(access),
                answer => return Ok(answer),
            }
        }
    }
}
