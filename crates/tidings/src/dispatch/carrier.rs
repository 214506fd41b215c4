//! The broker of any provider, as a lane sees it: which one it is has been settled when it was started.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tidings_broker::{Broker, BrokerConfig, Delivery, Events, Progress, Settled, Status};
use tidings_model::{Environment, Message, Reason, Spent, UnixMillis, delivery_id};
use tidings_providers::ClientConfig;
use tidings_store::Tried;
use tokio::task::spawn_blocking;
use tracing::error;

use super::lanes::book::{Outgoing, Tag, Taken};
use super::lanes::recalled::Recalled;
use super::limits::{BROKER_QUEUE, DEFER, SETTLED_AT_ONCE};
use super::rendered::Rendered;

/// A message without a notification has nothing for a provider that carries notifications only.
const NOTHING_TO_SHOW: Reason = Reason::known("NoNotification");

/// How a provider's client is started, and what it is given.
pub(crate) trait Sends: 'static {
    type Config: ClientConfig;
    /// What of the credential a notification has in it.
    type Place: Send + Sync + 'static;

    /// Opens a stored credential; may take a while.
    fn open(plain: &[u8], world: Option<Environment>) -> Result<(Self::Config, Self::Place)>;

    /// The message as all of the provider's devices get it. None: it has nothing for them. Or why the provider would refuse
    /// it: acceptance has ruled that out but for what depends on the credential.
    fn render(
        message: &Message,
        place: &Self::Place,
    ) -> Option<Result<<Self::Config as ClientConfig>::Notification, Unfit>>;
}

/// A message that the provider would refuse.
#[derive(Clone, Debug)]
pub(crate) struct Unfit {
    pub(crate) reason: Reason,
    pub(crate) text: String,
}

/// Why a delivery has not been queued.
pub(crate) enum Unsent {
    /// It cannot be sent.
    Never(Reason),
    /// The broker has ended: by another it can. With what it has behind it.
    NotNow(Option<Box<Tried>>),
}

pub(crate) trait Carrier: Send {
    /// Goes on with another credential, of which these quotas are used up; nothing is lost.
    fn replace(&mut self, plain: Vec<u8>, spent: Vec<Spent>) -> BoxFuture<'_, Result<()>>;

    /// Queues a page at `now`. Returns those that cannot be sent, and why: none of them has left.
    fn queue(&mut self, taken: Taken, now: UnixMillis) -> BoxFuture<'_, Vec<(Tag, Unsent)>>;

    /// Waits for settlements and moves them to `into`; none says that the broker has ended. Cancel safe.
    fn settled<'a>(&'a mut self, into: &'a mut Vec<Settled<Tag>>) -> BoxFuture<'a, usize>;

    fn status(&self) -> Status;

    /// What is recalled when it comes back is not tried again here.
    fn recall(&self, recalled: Arc<Recalled>);

    /// Takes back what has not left of those that are `meant`.
    fn withdraw(&self, meant: &mut dyn FnMut(&Tag) -> bool) -> Vec<Settled<Tag>>;

    /// Stops the broker, giving it `within` to settle what it has; what it has settled by then is fetched all the same.
    fn stop(&self, within: Duration) -> BoxFuture<'static, ()>;
}

/// Starts the broker of a provider with a stored credential, of which these quotas are used up.
pub(crate) async fn start<S: Sends>(
    plain: Vec<u8>,
    world: Option<Environment>,
    spent: Vec<Spent>,
) -> Result<Box<dyn Carrier>> {
    let (config, place) = spawn_blocking(move || S::open(&plain, world)).await??;
    let broker_config = BrokerConfig {
        queue: BROKER_QUEUE,
        defer: Some(DEFER),
        ..BrokerConfig::default()
    };
    let (broker, events) = Broker::start(config.with_spent(spent), broker_config)?;
    Ok(Box::new(Typed::<S> {
        broker: Arc::new(broker),
        events,
        place,
        rendered: Rendered::default(),
        world,
    }))
}

type NotificationOf<S> = <<S as Sends>::Config as ClientConfig>::Notification;

struct Typed<S: Sends> {
    broker: Arc<Broker<S::Config, Tag>>,
    events: Events<S::Config, Tag>,
    place: S::Place,
    rendered: Rendered<NotificationOf<S>>,
    world: Option<Environment>,
}

impl<S: Sends> Typed<S> {
    fn render(&mut self, message: &Message) -> Result<Arc<NotificationOf<S>>, Reason> {
        let place = &self.place;
        self.rendered
            .of(message.id, || match S::render(message, place) {
                Some(Ok(notification)) => Ok(Arc::new(notification)),
                Some(Err(Unfit { reason, text })) => {
                    let provider = S::Config::NAME;
                    error!(msg_id = %message.id, text, "cannot be sent by {provider}");
                    Err(reason)
                }
                None => Err(NOTHING_TO_SHOW),
            })
    }

    async fn queue_page(&mut self, taken: Taken, now: UnixMillis) -> Vec<(Tag, Unsent)> {
        let Taken {
            message,
            outgoing,
            urgent,
            ..
        } = taken;
        let notification = match self.render(&message) {
            Ok(notification) => notification,
            Err(reason) => {
                let unsent = outgoing.into_iter();
                return unsent
                    .map(|outgoing| (outgoing.tag, Unsent::Never(reason.clone())))
                    .collect();
            }
        };
        // The broker goes by the wall clock, which may be ahead of what is believed.
        let ahead = UnixMillis::now().since(now);
        let mut unsent = Vec::new();
        let mut deliveries = Vec::with_capacity(outgoing.len());
        for Outgoing {
            address,
            tag,
            tried,
        } in outgoing
        {
            let Some(token) = address.token else {
                unsent.push((tag, Unsent::Never(Reason::known("NoToken"))));
                continue;
            };
            deliveries.push(Delivery {
                notification: Arc::clone(&notification),
                token,
                id: delivery_id(message.id, address.device),
                expires: Some(message.expires_at.plus(ahead)),
                progress: tried.map(|tried| progress(*tried)).unwrap_or_default(),
                urgent,
                tag,
            });
        }
        // There is always room: the book lets out less than the broker takes.
        if self.broker.queue_many(&mut deliveries).await.is_err() {
            let unsent_now = deliveries.into_iter();
            unsent.extend(unsent_now.map(|left| (left.tag, Unsent::NotNow(tried(left.progress)))));
        }
        unsent
    }
}

impl<S: Sends> Carrier for Typed<S> {
    fn replace(&mut self, plain: Vec<u8>, spent: Vec<Spent>) -> BoxFuture<'_, Result<()>> {
        async move {
            let world = self.world;
            let (config, place) = spawn_blocking(move || S::open(&plain, world)).await??;
            self.broker.replace(config.with_spent(spent))?;
            (self.place, self.rendered) = (place, Rendered::default());
            Ok(())
        }
        .boxed()
    }

    fn queue(&mut self, taken: Taken, now: UnixMillis) -> BoxFuture<'_, Vec<(Tag, Unsent)>> {
        self.queue_page(taken, now).boxed()
    }

    fn settled<'a>(&'a mut self, into: &'a mut Vec<Settled<Tag>>) -> BoxFuture<'a, usize> {
        self.events.recv_many(into, SETTLED_AT_ONCE).boxed()
    }

    fn status(&self) -> Status {
        self.broker.status()
    }

    fn recall(&self, recalled: Arc<Recalled>) {
        self.broker.recall(move |tag| recalled.contains(tag));
    }

    fn withdraw(&self, meant: &mut dyn FnMut(&Tag) -> bool) -> Vec<Settled<Tag>> {
        self.broker.withdraw(meant)
    }

    fn stop(&self, within: Duration) -> BoxFuture<'static, ()> {
        let broker = Arc::clone(&self.broker);
        async move {
            broker.stop(within).await;
        }
        .boxed()
    }
}

/// What a delivery has behind it, if there is something.
pub(crate) fn tried(progress: Progress) -> Option<Box<Tried>> {
    (progress.attempts() > 0).then(|| {
        Box::new(Tried {
            last: progress.last,
            retries: progress.retries,
            unanswered: progress.unanswered,
        })
    })
}

fn progress(tried: Tried) -> Progress {
    Progress {
        last: tried.last,
        retries: tried.retries,
        unanswered: tried.unanswered,
    }
}
