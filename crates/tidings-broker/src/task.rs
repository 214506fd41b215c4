//! The broker's task: from the queue to the client and back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_model::Reason;
use tidings_providers::{Answers, Attempt, Cause, Client, ClientConfig};
use tokio::task::JoinHandle;
use tokio::time::{sleep, sleep_until};
use tracing::{error, info, warn};

use crate::shared::{Carried, Carrier, Shared, Started, load, unload};

/// Answers taken from the client at one time.
const ANSWERS_AT_ONCE: usize = 256;
/// Under load, fewer answers than this are not worth waking another thread for: some more may gather. Meanwhile the
/// client has as many deliveries to send as it has in flight.
const GATHERED: usize = 128;
const GATHERING: Duration = Duration::from_millis(1);

/// A client whose credential was replaced, and the task that takes in what still comes back from it.
type Retired<C, T> = (Arc<ClientOf<C, T>>, JoinHandle<()>);
type ClientOf<C, T> = <C as ClientConfig>::Client<Carried<T>>;
type AnswersOf<C, T> = <C as ClientConfig>::Answers<Carried<T>>;

struct Task<C: ClientConfig, T: Send + 'static> {
    shared: Arc<Shared<C, T>>,
    client: Arc<ClientOf<C, T>>,
    answers: AnswersOf<C, T>,
    retired: Vec<Retired<C, T>>,
    /// Empty but for what the client has not taken.
    outgoing: VecDeque<Carrier<C, T>>,
    /// Why the queue is parked, as far as it has been told.
    parked: Option<Reason>,
}

/// What there is to wait for.
struct Outlook {
    timeout: Option<Instant>,
    in_flight: usize,
    ended: bool,
}

/// Runs until the broker was stopped, or dropped, and all is settled.
pub(crate) async fn run<C: ClientConfig, T: Send + 'static>(
    shared: Arc<Shared<C, T>>,
    client: ClientOf<C, T>,
    answers: AnswersOf<C, T>,
) {
    let _last = Last(Arc::clone(&shared));
    let client = Arc::new(client);
    shared.lock().client = Arc::downgrade(&client);
    let mut task = Task {
        shared,
        client,
        answers,
        retired: Vec::new(),
        outgoing: VecDeque::new(),
        parked: None,
    };
    let mut answered = Vec::new();
    loop {
        task.shared.apply(&mut answered, false);
        let now = Instant::now();
        let outlook = task.turn(now);
        if outlook.ended {
            break;
        }
        let until = outlook.timeout.unwrap_or(now).into();
        // Each arm is cancel safe: answers that were not fetched stay where they are.
        tokio::select! {
            () = task.shared.work.notified() => {}
            () = sleep_until(until), if outlook.timeout.is_some() => {}
            count = task.answers.recv_many(&mut answered, ANSWERS_AT_ONCE) => {
                if count == 0 {
                    task.client_ended().await;
                    break;
                }
                if count < GATHERED && outlook.in_flight > 4 * GATHERED {
                    sleep(GATHERING).await;
                    task.answers.try_recv_many(&mut answered, ANSWERS_AT_ONCE);
                }
            }
        }
    }
    task.end().await;
}

impl<C: ClientConfig, T: Send + 'static> Task<C, T> {
    /// Does whatever is to be done at `now`, and gives the client what it has room for.
    fn turn(&mut self, now: Instant) -> Outlook {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        if let Some(replacement) = state.replacement.take() {
            self.replace(replacement);
            state.client = Arc::downgrade(&self.client);
            state.queue.unpark();
        }
        if let Some(connections_max) = state.connections_max.take() {
            self.client.set_connections_max(connections_max);
        }
        state.queue.handle_timeout(now);
        if state.stopping {
            let late = state.stop_by.is_some_and(|by| by <= now);
            if late && state.in_time && state.queue.unsettled() > 0 {
                state.in_time = false;
                self.client.abandon();
                self.retired.iter().for_each(|(old, _)| old.abandon());
            }
            // What is parked would wait in vain.
            if late || state.queue.is_parked() {
                state.queue.close();
                for carrier in self.outgoing.drain(..) {
                    let unsent = Attempt::NotSent(Cause::Shutdown);
                    state.queue.apply(now, unload::<C, T>(carrier), unsent);
                }
            }
        }
        let room = self.client.room();
        while self.outgoing.len() < room
            && let Some(item) = state.queue.next(now)
        {
            self.outgoing.push_back(load::<C, T>(item));
        }
        // Under the lock, so that whoever withdraws finds each delivery either here or there.
        self.client.try_submit_many(&mut self.outgoing);
        let status = state.queue.status();
        if self.parked != status.parked {
            if let Some(reason) = &status.parked {
                warn!(
                    reason = reason.as_str(),
                    "parked the {} queue: the credential is rejected with {reason}",
                    C::NAME
                );
            }
            self.parked = status.parked;
        }
        state.ended = state.stopping && state.queue.unsettled() == 0;
        let stop_by = state.stop_by.filter(|_| state.in_time);
        let outlook = Outlook {
            timeout: [state.queue.poll_timeout(), stop_by]
                .into_iter()
                .flatten()
                .min(),
            in_flight: status.in_flight,
            ended: state.ended,
        };
        shared.tell(state);
        outlook
    }

    /// Goes on with another client; what has left the old one is awaited.
    fn replace(&mut self, (client, answers): Started<C, T>) {
        let old_client = std::mem::replace(&mut self.client, Arc::new(client));
        let old_answers = std::mem::replace(&mut self.answers, answers);
        old_client.retire();
        let settling = settle_outdated(Arc::clone(&self.shared), old_answers);
        self.retired.retain(|(_, settling)| !settling.is_finished());
        self.retired.push((old_client, tokio::spawn(settling)));
        info!(
            "replaced the {} credential; what has left is awaited on the old connections",
            C::NAME
        );
    }

    /// The client has given everything back and gives no more: it was told to when the stop was late, or it broke down. What
    /// clients of before still have is told before the end.
    async fn client_ended(&mut self) {
        if self.shared.lock().in_time {
            error!(
                "the {} client ended by itself, and its broker with it",
                C::NAME
            );
        }
        for (_, settling) in self.retired.drain(..) {
            // One that panicked has told what it could.
            let _ = settling.await;
        }
    }

    /// Lets everyone know that it is over, and the connections say goodbye.
    async fn end(mut self) {
        self.shared.end();
        // Whoever withdraws holds it for a moment, too.
        drop(self.client);
        let mut none = Vec::new();
        while self.answers.recv_many(&mut none, ANSWERS_AT_ONCE).await > 0 {
            none.clear();
        }
    }
}

/// A task that ends in a panic has ended: nobody waits for it in vain.
struct Last<C: ClientConfig, T: Send + 'static>(Arc<Shared<C, T>>);

impl<C: ClientConfig, T: Send + 'static> Drop for Last<C, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.end();
        }
    }
}

/// Takes in what comes back from a client that has been replaced.
async fn settle_outdated<C: ClientConfig, T: Send + 'static>(
    shared: Arc<Shared<C, T>>,
    mut answers: AnswersOf<C, T>,
) {
    let mut answered = Vec::new();
    while answers.recv_many(&mut answered, ANSWERS_AT_ONCE).await > 0 {
        shared.apply(&mut answered, true);
        shared.work.notify_one();
    }
}
