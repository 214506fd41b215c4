//! A connection at work: one request at a time.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tidings_model::{Outcome, Reason, UnixMillis};
use tokio::time::{sleep_until, timeout};
use tracing::{debug, error, warn};

use crate::attempt::{Attempt, Cause};
use crate::batch::access::{Granted, Keeper};
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

/// Begins as many connections as what waits wants.
pub(super) fn begin<P: Protocol, T: Send + 'static>(shared: &Arc<Shared<P, T>>) {
    for _ in 0..shared.queue.begin() {
        tokio::spawn(run(Arc::clone(shared)));
    }
}

/// Works until there is nothing more to do; the queue has counted it in.
async fn run<P: Protocol, T: Send + 'static>(shared: Arc<Shared<P, T>>) {
    let queue = &shared.queue;
    let mut connection = None;
    loop {
        // Whoever is told between the look and the wait is told.
        let woken = queue.work.notified();
        tokio::pin!(woken);
        woken.as_mut().enable();
        match queue.turn(Instant::now()) {
            Turn::Prepare => match shared.prepare(&mut connection).await {
                Ok(access) => {
                    let batch = queue.take(Instant::now());
                    begin(&shared);
                    shared.carry(&mut connection, access, batch).await;
                }
                Err(attempt) => {
                    connection = None;
                    debug!(provider = P::NAME, %attempt, "cannot send");
                    queue.bounce(&attempt);
                }
            },
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
    /// An access token and a connection, so that what is taken then leaves at once. Or why there is none: nothing has left.
    async fn prepare(&self, connection: &mut Option<Connection>) -> Result<Granted, Attempt> {
        let abandoned = self.queue.abandoned.notified();
        tokio::pin!(abandoned);
        abandoned.as_mut().enable();
        if self.queue.lock().closing == Closing::Abandoned {
            return Err(Attempt::NotSent(Cause::Shutdown));
        }
        let preparing = async {
            let access = self.keeper.access(None).await?;
            self.connect(connection).await?;
            Ok(access)
        };
        let preparing = AssertUnwindSafe(preparing).catch_unwind();
        tokio::select! {
            ready = preparing => ready.unwrap_or_else(|_| Err(Attempt::NotSent(panicked::<P>()))),
            () = abandoned => Err(Attempt::NotSent(Cause::Shutdown)),
        }
    }

    /// Makes sure that there is a connection that is good as far as is known.
    async fn connect<'a>(
        &self,
        connection: &'a mut Option<Connection>,
    ) -> Result<&'a mut Connection, Attempt> {
        let open = match connection.take().filter(Connection::is_good) {
            Some(open) => open,
            None => Connection::open(&self.dialer)
                .await
                .map_err(Attempt::NotSent)?,
        };
        Ok(connection.insert(open))
    }

    /// Sends a batch, if there is something in it, and answers each of it once.
    async fn carry(
        &self,
        connection: &mut Option<Connection>,
        access: Granted,
        batch: Batch<P, T>,
    ) {
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
            let exchange = self.exchange(connection, access, &notification, &tokens, &mut has_left);
            let exchange = AssertUnwindSafe(exchange).catch_unwind();
            tokio::select! {
                said = exchange => said.unwrap_or_else(|_| Err(Attempt::Unanswered(panicked::<P>()))),
                () = abandoned => Err(Attempt::Unanswered(Cause::Shutdown)),
            }
        };
        let said = match said {
            Err(Attempt::Unanswered(cause)) if !has_left => Err(Attempt::NotSent(cause)),
            said => said,
        };
        let said = said.map(|answer| self.heed(answer, P::class(&notification)));
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
                self.answer_all(batch, &attempt);
            }
        }
    }

    /// Keeps what is of `class` back from now on if the answer says that its quota is used up.
    fn heed(&self, mut answer: Answer, class: &str) -> Answer {
        let outcomes = match &mut answer {
            Answer::AccessRefused(_) => &mut [],
            Answer::All(outcome) => std::slice::from_mut(outcome),
            Answer::Each(outcomes) => &mut outcomes[..],
        };
        let mut spent = None;
        for outcome in outcomes {
            if let Outcome::QuotaSpent(of_class) = outcome {
                of_class.class = class.into();
                spent = Some(&*of_class);
            }
        }
        if let Some(spent) = spent {
            warn!(
                provider = P::NAME,
                class,
                reason = %spent.reason,
                until_ms = spent.until.0,
                "a quota is used up: what it is for waits"
            );
            self.queue.spent(spent);
        }
        answer
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
        mut access: Granted,
        notification: &P::Notification,
        tokens: &[&str],
        has_left: &mut bool,
    ) -> Result<Answer, Attempt> {
        let protocol = &self.config.protocol;
        let (mut is_renewed, mut is_stale) = (false, false);
        loop {
            let open = self.connect(connection).await?;
            let now = UnixMillis::now();
            if P::is_over(notification, now) {
                return Err(Attempt::NotSent(Cause::NotNow(OVER)));
            }
            let request = protocol.request(notification, tokens, &access.token, now);
            let by = tokio::time::Instant::now() + self.config.answer_timeout;
            *has_left = true;
            let response = match open.send(&self.dialer, &request, by).await {
                Ok(response) => response,
                Err(Failed::Stale) if !is_stale => {
                    (*has_left, is_stale) = (false, true);
                    *connection = None;
                    continue;
                }
                Err(failed) => return Err(failed.into()),
            };
            *has_left = false;
            match protocol.answer(&response, tokens) {
                Answer::AccessRefused(_) if !is_renewed => {
                    is_renewed = true;
                    access = self.keeper.access(Some(&access)).await?;
                    self.queue.spend(Instant::now(), tokens.len());
                }
                answer => return Ok(answer),
            }
        }
    }
}

/// Its time was over before it left.
const OVER: Reason = Reason::known("Over");

/// Ours to be right about, and nobody is to wait for it for ever.
fn panicked<P: Protocol>() -> Cause {
    error!("the {} client has panicked over a request", P::NAME);
    Cause::ConnectionLost("the sender broke down over it".into())
}
