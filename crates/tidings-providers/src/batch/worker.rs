//! A connection at work: one request at a time.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::time::{sleep_until, timeout};
use tracing::{debug, error};

use crate::attempt::{Attempt, Cause};
use crate::batch::access::{Granted, Keeper};
use crate::batch::exchange::Connection;
use crate::batch::going::Going;
use crate::batch::queue::{Batch, Closing, Queue, Turn};
use crate::batch::saving::Saves;
use crate::batch::sift::Blamed;
use crate::batch::{Config, Protocol};
use crate::net::Dialer;

/// A connection without anything to do is closed after this.
const IDLE_MAX: Duration = Duration::from_secs(60);

pub(super) struct Shared<P: Protocol, T> {
    /// The last message that was refused for its own sake.
    pub(super) blamed: Blamed<P::Notification>,
    pub(super) config: Config<P>,
    pub(super) dialer: Dialer,
    pub(super) keeper: Keeper<P>,
    pub(super) queue: Queue<P, T>,
    pub(super) saves: Saves<P::Notification>,
}

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
                    if let Some(batch) = batch {
                        shared.carry(&mut connection, access, batch).await;
                    }
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
    pub(super) async fn connect<'a>(
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

    /// Sends a batch, and answers each of it once.
    async fn carry(
        self: &Arc<Self>,
        connection: &mut Option<Connection>,
        access: Granted,
        batch: Batch<P::Notification>,
    ) {
        let abandoned = self.queue.abandoned.notified();
        tokio::pin!(abandoned);
        abandoned.as_mut().enable();
        let tokens: Vec<&str> = batch.tokens.iter().map(|token| &**token).collect();
        let cut_short = if self.queue.lock().closing == Closing::Abandoned {
            Some(Cause::Shutdown)
        } else {
            let mut going = Going {
                shared: self,
                connection,
                access,
                number: batch.number,
                notification: &batch.notification,
                tokens: &tokens,
            };
            let going = AssertUnwindSafe(going.go()).catch_unwind();
            tokio::select! {
                gone = going => gone.err().map(|_| panicked::<P>()),
                () = abandoned => Some(Cause::Shutdown),
            }
        };
        if cut_short.is_some() {
            *connection = None;
        }
        let cause = cut_short.unwrap_or(Cause::Shutdown);
        self.queue.end(batch.number, &cause);
    }
}

/// Ours to be right about, and nobody is to wait for it for ever.
fn panicked<P: Protocol>() -> Cause {
    error!("the {} client has panicked over a request", P::NAME);
    Cause::ConnectionLost("the sender broke down over it".into())
}
