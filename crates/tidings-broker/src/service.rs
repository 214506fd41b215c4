//! The broker for a program that only wants to push: callbacks instead of a stream of events, and a start after each
//! stop.

use std::sync::Arc;
use std::time::Duration;

use tidings_providers::ClientConfig;
use tokio::task::JoinHandle;

use crate::broker::{Broker, Events};
use crate::delivery::{BrokerConfig, Delivery, QueueError, Settled, StopReport, Stopped};
use crate::queue::{Failure, Status};

/// Settlements handed to the callbacks at one time.
const EVENTS_AT_ONCE: usize = 256;
/// Deliveries queued at one time.
const PAGE: usize = 1000;

/// Callbacks are kept as trait objects so that a program can name the type of the service it keeps.
type OnSuccess<T> = Arc<dyn Fn(&Settled<T>) + Send + Sync>;
type OnFailure<T> = Arc<dyn Fn(&Settled<T>, &Failure) + Send + Sync>;

/// Collects what a [`Service`] is made of.
#[must_use = "a builder does nothing until `start`"]
pub struct Builder<C, T> {
    provider: C,
    config: BrokerConfig,
    on_success: OnSuccess<T>,
    on_failure: OnFailure<T>,
}

/// A broker with callbacks, which can be stopped and started again. Dropping it lets it finish what it has.
pub struct Service<C: ClientConfig, T: Send + 'static = ()> {
    provider: C,
    config: BrokerConfig,
    on_success: OnSuccess<T>,
    on_failure: OnFailure<T>,
    running: Option<Running<C, T>>,
}

struct Running<C: ClientConfig, T: Send + 'static> {
    broker: Broker<C, T>,
    listening: JoinHandle<()>,
}

impl<C: ClientConfig, T: Send + 'static> Broker<C, T> {
    /// A service that sends with `provider`. A rejected credential fails its deliveries, unless [`Builder::config`] says
    /// that it parks the broker.
    pub fn builder(provider: C) -> Builder<C, T> {
        Builder {
            provider,
            config: BrokerConfig {
                park: false,
                ..BrokerConfig::default()
            },
            on_success: Arc::new(|_| {}),
            on_failure: Arc::new(|_, _| {}),
        }
    }
}

impl<C: ClientConfig, T: Send + 'static> Builder<C, T> {
    /// Another configuration than [`BrokerConfig::default`] with `park: false`.
    pub fn config(mut self, config: BrokerConfig) -> Self {
        self.config = config;
        self
    }

    /// Called once for each delivery that the provider accepted. It runs on the service's own task and must not block.
    pub fn on_success(mut self, call: impl Fn(&Settled<T>) + Send + Sync + 'static) -> Self {
        self.on_success = Arc::new(call);
        self
    }

    /// Called once for each delivery that was not accepted; [`Failure::reason`] is the provider's word. It runs on the
    /// service's own task and must not block.
    pub fn on_failure(
        mut self,
        call: impl Fn(&Settled<T>, &Failure) + Send + Sync + 'static,
    ) -> Self {
        self.on_failure = Arc::new(call);
        self
    }

    /// Starts on the current tokio runtime. Fails and panics as [`Broker::start`] does.
    pub fn start(self) -> Result<Service<C, T>, C::Error> {
        let mut service = Service {
            provider: self.provider,
            config: self.config,
            on_success: self.on_success,
            on_failure: self.on_failure,
            running: None,
        };
        service.start()?;
        Ok(service)
    }
}

impl<C: ClientConfig, T: Send + 'static> Service<C, T> {
    /// Starts again after [`Service::stop`]; nothing happens when it is running. Fails and panics as [`Broker::start`]
    /// does.
    pub fn start(&mut self) -> Result<(), C::Error> {
        if self.running.is_none() {
            let (broker, events) = Broker::start(self.provider.clone(), self.config.clone())?;
            let on_success = Arc::clone(&self.on_success);
            let on_failure = Arc::clone(&self.on_failure);
            let listening = tokio::spawn(listen(events, on_success, on_failure));
            self.running = Some(Running { broker, listening });
        }
        Ok(())
    }

    /// Queues `delivery`, waiting for room in the queue. It comes back when the service is stopped.
    pub async fn queue(
        &self,
        delivery: Delivery<C::Notification, T>,
    ) -> Result<(), QueueError<C::Notification, T>> {
        match &self.running {
            Some(running) => running.broker.queue(delivery).await,
            None => Err(QueueError::Stopped(delivery)),
        }
    }

    /// Queues `delivery` if there is room in the queue. It comes back when there is none, or the service is stopped.
    pub fn try_queue(
        &self,
        delivery: Delivery<C::Notification, T>,
    ) -> Result<(), QueueError<C::Notification, T>> {
        match &self.running {
            Some(running) => running.broker.try_queue(delivery),
            None => Err(QueueError::Stopped(delivery)),
        }
    }

    /// Connections at most from now on, also after the next start: 1 to [`ClientConfig::CONNECTIONS_MAX`] (what is outside is taken as the nearest).
    pub fn set_scale(&mut self, connections_max: usize) {
        let connections_max = connections_max.clamp(1, C::CONNECTIONS_MAX);
        self.provider = self.provider.clone().with_connections_max(connections_max);
        if let Some(running) = &self.running {
            running.broker.set_scale(connections_max);
        }
    }

    /// Sends with another credential from now on; nothing is lost. See [`Broker::replace`]. Stopped, it checks nothing
    /// before the next start.
    pub fn replace(&mut self, provider: C) -> Result<(), C::Error> {
        if let Some(running) = &self.running {
            running.broker.replace(provider.clone())?;
        }
        self.provider = provider;
        Ok(())
    }

    /// What is where; nothing anywhere when it is stopped.
    pub fn status(&self) -> Status {
        let running = self.running.as_ref();
        running
            .map(|running| running.broker.status())
            .unwrap_or_default()
    }

    /// Takes no more deliveries, sends what it has, and gives up at the deadline. When this returns, a callback has
    /// been called for each delivery. See [`Broker::stop`].
    pub async fn stop(&mut self, within: Duration) -> StopReport {
        let Some(Running { broker, listening }) = self.running.take() else {
            return StopReport {
                undelivered: 0,
                in_time: true,
            };
        };
        let report = broker.stop(within).await;
        if let Err(error) = listening.await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
        report
    }
}

impl<C: ClientConfig> Service<C, ()> {
    /// Queues `notification` for each of `tokens`, waiting for room in the queue. Says how many were queued: fewer than
    /// all only when the service was stopped.
    pub async fn queue_all<I>(
        &self,
        notification: &Arc<C::Notification>,
        tokens: I,
    ) -> Result<usize, Stopped>
    where
        I: IntoIterator,
        I::Item: Into<Box<str>>,
    {
        let Some(running) = &self.running else {
            return Err(Stopped);
        };
        let mut tokens = tokens.into_iter();
        let mut queued = 0;
        loop {
            let page = tokens.by_ref().take(PAGE);
            let mut page: Vec<_> = page
                .map(|token| Delivery::new(Arc::clone(notification), token))
                .collect();
            if page.is_empty() {
                return Ok(queued);
            }
            queued += page.len();
            running.broker.queue_many(&mut page).await?;
        }
    }
}

async fn listen<C: ClientConfig, T: Send + 'static>(
    mut events: Events<C, T>,
    on_success: OnSuccess<T>,
    on_failure: OnFailure<T>,
) {
    let mut settled = Vec::new();
    while events.recv_many(&mut settled, EVENTS_AT_ONCE).await > 0 {
        for settled in settled.drain(..) {
            match &settled.result {
                Ok(()) => on_success(&settled),
                Err(failure) => on_failure(&settled, failure),
            }
        }
    }
}
