//! Long-lived tasks: one that ends before it was told to is never just missed.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;
use tracing::error;

/// Before a task that has ended is started again: a fault that comes at once again must not fill the log.
const RESTART_PAUSE: Duration = Duration::from_secs(5);

/// The tasks that the server is nothing without: where one ends, what would be accepted goes nowhere, so the server ends too, and
/// whoever runs it starts it anew. Nothing is lost by that.
pub(crate) struct Vital {
    ended: mpsc::Receiver<&'static str>,
    ends: mpsc::Sender<&'static str>,
    watched: JoinSet<()>,
}

impl Vital {
    pub(crate) fn new() -> Self {
        // The first one is enough.
        let (ends, ended) = mpsc::channel(1);
        Self {
            ended,
            ends,
            watched: JoinSet::new(),
        }
    }

    /// Runs `task`; when it ends, by a panic too, [`Self::ended`] says so.
    pub(crate) fn spawn<F>(&self, name: &'static str, task: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        tokio::spawn(self.told(name, task))
    }

    /// The same for tasks that somebody else runs: `end` waits for their end. It is dropped with this.
    pub(crate) fn watch<F>(&mut self, name: &'static str, end: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let told = self.told(name, end);
        self.watched.spawn(told);
    }

    fn told<F: Future<Output = ()>>(
        &self,
        name: &'static str,
        task: F,
    ) -> impl Future<Output = ()> + use<F> {
        let end = End {
            ends: self.ends.clone(),
            name,
        };
        async move {
            let _end = end;
            task.await;
        }
    }

    /// Waits until one of the tasks has ended; its name.
    pub(crate) async fn ended(&mut self) -> &'static str {
        match self.ended.recv().await {
            Some(name) => name,
            None => std::future::pending().await, // not while we hold a sender
        }
    }
}

/// Tells of an end by being dropped, however that comes.
struct End {
    ends: mpsc::Sender<&'static str>,
    name: &'static str,
}

impl Drop for End {
    fn drop(&mut self) {
        // When another has told already, nobody has to hear of this one.
        let _ = self.ends.try_send(self.name);
    }
}

/// Runs a task that can be started again at any time, and does so after a panic, until this is dropped.
pub(crate) async fn restarted<F>(name: &'static str, mut task: impl FnMut() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        // A set ends its tasks when it is dropped, as a handle would not.
        let mut running = JoinSet::new();
        running.spawn(task());
        match running.join_next().await {
            Some(Err(panic)) if panic.is_panic() => {
                error!(%panic, task = name, "ended in a panic, and is started again");
                sleep(RESTART_PAUSE).await;
            }
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_vital_task_that_panics_is_named() {
        let mut vital = Vital::new();
        let stays = vital.spawn("stays", std::future::pending());
        let _panics = vital.spawn("panics", async { panic!("a fault") });
        assert_eq!(vital.ended().await, "panics");
        stays.abort();
        assert_eq!(vital.ended().await, "stays");
        vital.watch("ends", async {});
        assert_eq!(vital.ended().await, "ends");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_started_again_until_it_ends_by_itself() {
        let starts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&starts);
        restarted("test", move || {
            let start = counted.fetch_add(1, Ordering::SeqCst);
            async move { assert_eq!(start, 3, "a fault") }
        })
        .await;
        assert_eq!(starts.load(Ordering::SeqCst), 4);
    }
}
