//! The pool: opens connections when the queue wants them, and waits between tries that fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidings_model::{Outcome, Reason};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, warn};

use crate::apns::connect::{ConnectError, Connector, Opened};
use crate::apns::connection::{Connection, End};
use crate::apns::queue::{Closing, Queue};
use crate::attempt::{Attempt, Cause};
use crate::jitter::{Jitter, doubled};

/// The first pause after a connection that failed, and the longest.
const PAUSE_BASE: Duration = Duration::from_millis(100);
const PAUSE_CAP: Duration = Duration::from_secs(5);
/// Failures in a row after which deliveries no longer wait here but go back to the caller, whose retry decides.
const FAILURES_MAX: u32 = 3;
/// Connections that still have streams but take no more jobs, for each one that does.
const DRAINING_MAX: usize = 4;

/// The number of the next connection: of its own in all of the process, since a delivery may avoid one of another client.
static CONNECTIONS: AtomicU64 = AtomicU64::new(1);

enum Event {
    Opened(Result<Box<Opened>, ConnectError>),
    Ended(End),
}

/// Failures in a row, and when the next try may be made.
struct Pauses {
    failures: u32,
    jitter: Jitter,
    until: Instant,
}

impl Pauses {
    fn failed(&mut self) {
        let ceiling = doubled(PAUSE_BASE, self.failures, PAUSE_CAP);
        self.failures = self.failures.saturating_add(1);
        self.until = Instant::now() + self.jitter.upper_half(ceiling);
    }
}

/// Runs until the client is closed and the last connection has ended.
pub(super) async fn run<T: Send + 'static>(queue: Arc<Queue<T>>, connector: Connector) {
    let connector = Arc::new(connector);
    let mut events = JoinSet::new();
    let mut opening: Vec<AbortHandle> = Vec::new();
    let mut pauses = Pauses {
        failures: 0,
        jitter: Jitter::from_system(),
        until: Instant::now(),
    };
    loop {
        let (closing, idle, wanted, max) = {
            let state = queue.lock();
            (
                state.closing,
                state.jobs.is_empty(),
                state.wants_connections(),
                state.connections_max,
            )
        };
        if closing >= Closing::Retiring {
            opening.drain(..).for_each(|open| open.abort());
        }
        if closing > Closing::Open && idle && events.is_empty() {
            break;
        }
        // While they fail, one at a time.
        let wanted = if pauses.failures == 0 {
            wanted
        } else {
            wanted.min(1)
        };
        let room = (max * (1 + DRAINING_MAX)).saturating_sub(events.len());
        let missing = wanted.saturating_sub(opening.len()).min(room);
        let paused = missing > 0 && Instant::now() < pauses.until;
        if !paused {
            for _ in 0..missing {
                let connector = Arc::clone(&connector);
                let open = async move { Event::Opened(connector.open().await.map(Box::new)) };
                opening.push(events.spawn(open));
            }
        }
        // Each arm is cancel safe: a permit of `notified` that was not taken stays.
        tokio::select! {
            () = queue.pool.notified() => {}
            () = sleep_until(pauses.until), if paused => {}
            Some(event) = events.join_next(), if !events.is_empty() => match event {
                Ok(Event::Opened(result)) => {
                    forget_one(&mut opening);
                    match result {
                        Ok(opened) => {
                            let number = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
                            debug!(connection = number, "APNs connection {number} is open");
                            let queue = Arc::clone(&queue);
                            let connection = Connection::new(number, queue, &connector, *opened);
                            events.spawn(async move { Event::Ended(connection.run().await) });
                        }
                        Err(ConnectError::Rejected(reason)) => {
                            pauses.failed();
                            queue.not_opened();
                            reject(&queue, reason);
                        }
                        Err(ConnectError::Failed { cause, .. }) => {
                            pauses.failed();
                            queue.not_opened();
                            failed(&queue, cause, pauses.failures);
                        }
                    }
                }
                Ok(Event::Ended(End { rejected: Some(reason), .. })) => {
                    pauses.failed();
                    reject(&queue, reason);
                }
                // Also when all that it brought was refusals of its credential: the next would fare no better at once.
                Ok(Event::Ended(End { served: 0, .. })) => pauses.failed(),
                Ok(Event::Ended(_)) => pauses.failures = 0,
                Err(error) if error.is_cancelled() => {}
                Err(error) => {
                    // A panic has taken its deliveries with it, so the client cannot keep its word any more.
                    error!("an APNs connection broke down, and its client ends: {error}");
                    queue.close(Closing::Abandoned);
                }
            },
        }
    }
    queue.end();
}

/// One that was opening has come to an end.
fn forget_one(opening: &mut Vec<AbortHandle>) {
    if let Some(at) = opening.iter().position(AbortHandle::is_finished) {
        opening.swap_remove(at);
    }
}

/// The peer refuses the certificate: so it will for all that waits.
fn reject<T>(queue: &Queue<T>, reason: Reason) {
    warn!(
        reason = reason.as_str(),
        "APNs refuses the certificate: {reason}"
    );
    queue.bounce(&Attempt::Answered(Outcome::CredentialRejected { reason }));
}

/// No connection came about. With none to carry them, deliveries go back after some tries, and at once when trying again
/// cannot help.
fn failed<T>(queue: &Queue<T>, cause: Cause, failures: u32) {
    warn!(failures, "no connection to APNs: {cause}");
    let hopeless = failures >= FAILURES_MAX || matches!(cause, Cause::TlsFailed(_));
    let stranded = queue.lock().live == 0;
    if hopeless && stranded {
        queue.bounce(&Attempt::NotSent(cause));
    }
}
