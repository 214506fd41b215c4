//! What sends for a lane: the broker of its provider, with the credential that the app has for it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tidings_broker::{Broker, BrokerConfig, Delivery, Events, Progress, Settled};
use tidings_model::{Message, MsgId, Provider, Reason, UnixMillis, delivery_id};
use tidings_providers::apns::{self, Notification};
use tidings_store::{CredentialSlot, LaneKey, Tried};
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::guard::Guard;
use super::lanes::book::{Outgoing, Tag, Taken};
use super::limits::{BROKER_QUEUE, DEFER, SETTLED_AT_ONCE};
use super::{Context, render};
use crate::credentials::ApnsCredential;

/// A message without a notification has nothing for a provider that carries notifications only.
const NOTHING_TO_SHOW: Reason = Reason::known("NoNotification");

/// What sends with one credential.
pub(super) struct Sender {
    broker: Arc<Broker<apns::Config, Tag>>,
    /// The broker has stopped, and has told everything.
    ended: bool,
    events: Events<apns::Config, Tag>,
    /// Whether what it says of tokens can be believed.
    pub(super) guard: Guard,
    lane: LaneKey,
    /// As it was logged.
    parked: Option<Reason>,
    /// What the store has of the credential; none for the sandbox's.
    record: Option<Noted>,
    /// The last message's notification: pages of one message follow each other.
    rendered: Option<(MsgId, Result<Arc<Notification>, Reason>)>,
    topic: String,
}

/// What the store says of a credential.
struct Noted {
    as_of: UnixMillis,
    rejected: Option<Reason>,
}

/// What the store should say of a credential, if it is still that of `as_of`.
#[derive(Clone, Debug)]
pub(super) struct Note {
    pub(super) as_of: UnixMillis,
    pub(super) rejected: Option<Reason>,
    pub(super) slot: CredentialSlot,
}

/// Why a delivery has not been queued.
pub(super) enum Unsent {
    /// It cannot be sent.
    Never(Reason),
    /// The broker has ended: by another it can. With what it has behind it.
    NotNow(Option<Box<Tried>>),
}

/// What the lane's credential should be.
enum Wanted {
    /// The one that the sender has.
    Same,
    Other(ApnsCredential, Option<Noted>),
    None,
}

/// Reads the lane's credential and makes `sender` be what it says. One that is there goes on with a new credential and loses
/// nothing; one whose credential is gone is returned, to be ended.
pub(super) async fn load(
    sender: &mut Option<Sender>,
    context: &Context,
    lane: LaneKey,
) -> Result<Option<Sender>> {
    match wanted(sender.as_mut(), context, lane).await? {
        Wanted::Same => Ok(None),
        Wanted::None => Ok(sender.take()),
        Wanted::Other(credential, record) => {
            let equipped = equip(sender, credential, lane, record).await;
            if let Err(error) = equipped {
                let error = format!("{error:#}");
                error!(app = lane.app.0, lane = %name(lane), error, "a credential cannot be used");
                return Ok(sender.take());
            }
            Ok(None)
        }
    }
}

async fn wanted(sender: Option<&mut Sender>, context: &Context, lane: LaneKey) -> Result<Wanted> {
    let mut records = context.store.credentials(lane.app).await?;
    records.retain(|record| record.slot.provider == lane.provider);
    if records.is_empty() {
        // An app without credentials has the sandbox's, where there is a sandbox.
        return Ok(match &context.sandbox {
            Some(_) if sender.is_some_and(|sender| sender.record.is_none()) => Wanted::Same,
            Some(sandbox) => Wanted::Other(sandbox.clone(), None),
            None => Wanted::None,
        });
    }
    let slot = slot(lane);
    let Some(record) = records.into_iter().find(|record| record.slot == slot) else {
        return Ok(Wanted::None);
    };
    let noted = Noted {
        as_of: record.updated_at,
        rejected: record.rejected,
    };
    if sender.is_some_and(|sender| sender.goes_on_as(&noted)) {
        return Ok(Wanted::Same);
    }
    Ok(match open(context, slot).await? {
        Some(credential) => Wanted::Other(credential, Some(noted)),
        None => Wanted::None,
    })
}

pub(super) fn slot(lane: LaneKey) -> CredentialSlot {
    CredentialSlot {
        app: lane.app,
        environment: lane.environment,
        provider: lane.provider,
    }
}

/// As a log says it.
pub(super) fn name(lane: LaneKey) -> String {
    match lane.environment {
        Some(environment) => format!("{} {environment}", lane.provider),
        None => lane.provider.to_string(),
    }
}

/// The stored credential; none when it cannot be used as it is, which is logged.
async fn open(context: &Context, slot: CredentialSlot) -> Result<Option<ApnsCredential>> {
    let stored = match slot.provider {
        Provider::Apns => ApnsCredential::stored(&context.store, slot).await?,
        Provider::Link => None,
    };
    let opened = stored.transpose().inspect_err(|error| {
        let environment = slot.environment.map(tidings_model::Environment::name);
        let error = format!("{error:#}");
        error!(
            app = slot.app.0,
            environment, error, "a credential cannot be opened: set it again"
        );
    });
    Ok(opened.unwrap_or_default())
}

/// Gives `sender` a broker that uses `credential`, or gives it to the broker that is there.
async fn equip(
    sender: &mut Option<Sender>,
    credential: ApnsCredential,
    lane: LaneKey,
    record: Option<Noted>,
) -> Result<()> {
    let Some(environment) = lane.environment else {
        anyhow::bail!("{} has no credential", lane.provider);
    };
    // A .p12 takes a while to open: its password is hardened.
    let config = spawn_blocking(move || credential.config(environment)).await??;
    let now = UnixMillis::now();
    // An expired certificate is still tried: it is Apple that decides, and a parked lane says so better than an error here.
    let topic = match &config.topic {
        Some(topic) => topic.clone(),
        None => config.credential.check(environment, None, now)?.topic,
    };
    match sender {
        Some(sender) => {
            sender.broker.replace(config)?;
            // Whether this one is accepted, or parks the lane for the same reason, is news.
            (sender.guard, sender.parked) = (Guard::default(), None);
            (sender.record, sender.rendered, sender.topic) = (record, None, topic);
        }
        None => {
            let broker_config = BrokerConfig {
                queue: BROKER_QUEUE,
                defer: Some(DEFER),
                ..BrokerConfig::default()
            };
            let (broker, events) = Broker::start(config, broker_config)?;
            *sender = Some(Sender {
                broker: Arc::new(broker),
                ended: false,
                events,
                guard: Guard::default(),
                lane,
                parked: None,
                record,
                rendered: None,
                topic,
            });
        }
    }
    Ok(())
}

impl Sender {
    /// Whether the credential is the one that the broker has, which goes on as it is then. A rejection that a check has ended
    /// is to resume the lane, as a new credential does.
    fn goes_on_as(&mut self, noted: &Noted) -> bool {
        let Some(record) = &mut self.record else {
            return false;
        };
        let is_resumed = record.rejected.is_some() && noted.rejected.is_none();
        if record.as_of != noted.as_of || is_resumed {
            return false;
        }
        if record.rejected != noted.rejected {
            record.rejected.clone_from(&noted.rejected);
            self.guard.overrule();
        }
        true
    }

    /// Queues a page at `now`. Returns those that cannot be sent, and why: none of them has left.
    pub(super) async fn queue(&mut self, taken: Taken, now: UnixMillis) -> Vec<(Tag, Unsent)> {
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
        for Outgoing { tag, target, tried } in outgoing {
            let Some(token) = target.token else {
                unsent.push((tag, Unsent::Never(Reason::known("NoToken"))));
                continue;
            };
            deliveries.push(Delivery {
                notification: Arc::clone(&notification),
                token,
                id: delivery_id(message.id, target.device),
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

    /// The message as this lane's devices get it, or why the provider would refuse it: acceptance has ruled that out but for
    /// what depends on the credential.
    fn render(&mut self, message: &Message) -> Result<Arc<Notification>, Reason> {
        match &self.rendered {
            Some((id, notification)) if *id == message.id => notification.clone(),
            Some(_) | None => {
                let notification = match render::apns(message, &self.topic) {
                    Some(Ok(notification)) => Ok(notification),
                    Some(Err(error)) => {
                        error!(msg_id = %message.id, %error, "cannot be sent to iPhones");
                        Err(error.reason())
                    }
                    None => Err(NOTHING_TO_SHOW),
                };
                self.rendered = Some((message.id, notification.clone()));
                notification
            }
        }
    }

    /// Waits for settlements and moves them to `into`, or finds that the broker has ended. Cancel safe.
    pub(super) async fn settled(&mut self, into: &mut Vec<Settled<Tag>>) {
        if self.events.recv_many(into, SETTLED_AT_ONCE).await == 0 {
            self.ended = true;
        }
    }

    /// The broker has stopped, and all of it has been fetched.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Nothing goes out, since the credential is rejected: what is queued now would come back.
    pub(super) fn is_held_up(&self) -> bool {
        self.broker.status().is_held_up()
    }

    /// Takes back what has not left of those that are `meant`.
    pub(super) fn withdraw(&self, meant: impl FnMut(&Tag) -> bool) -> Vec<Settled<Tag>> {
        self.broker.withdraw(meant)
    }

    /// Stops the broker, giving it `within` to settle what it has; what it has settled by then is fetched all the same.
    pub(super) fn stop(&self, within: Duration) {
        let broker = Arc::clone(&self.broker);
        tokio::spawn(async move { broker.stop(within).await });
    }

    /// Takes back what has not left, and waits for what has, but not for long: all that there is to tell of it.
    pub(super) async fn end(mut self, within: Duration) -> Vec<Settled<Tag>> {
        let mut told = self.withdraw(|_| true);
        self.broker.stop(within).await;
        while !self.ended {
            self.settled(&mut told).await;
        }
        told
    }

    /// What the store should say of the credential and does not, as far as it is known. Logs what has changed.
    pub(super) fn news(&mut self) -> Option<Note> {
        let parked = self.broker.status().parked;
        if parked != self.parked {
            let (app, lane) = (self.lane.app.0, name(self.lane));
            match &parked {
                Some(reason) => warn!(
                    app,
                    %reason,
                    "parked lane {lane}: credential rejected; it resumes when the credential is replaced, or found good again"
                ),
                None => info!(app, "lane {lane} resumes"),
            }
            self.parked.clone_from(&parked);
        }
        let rejected = match parked {
            Some(reason) => Some(reason),
            None => self.guard.word()?.cloned(),
        };
        let record = self.record.as_ref()?;
        (rejected != record.rejected).then(|| Note {
            as_of: record.as_of,
            rejected,
            slot: slot(self.lane),
        })
    }

    /// The store has this now, or has another credential.
    pub(super) fn noted(&mut self, note: Note) {
        if let Some(record) = &mut self.record
            && record.as_of == note.as_of
        {
            record.rejected = note.rejected;
        }
    }

    /// Takes note of what became of deliveries, for what is to be believed of the tokens.
    pub(super) fn hear(&mut self, settled: &[Settled<Tag>], now: Instant) {
        for settled in settled {
            self.guard.hear(settled, now);
        }
    }
}

impl Drop for Sender {
    /// A lane that ended in a panic sends nothing more: its pages are another's soon.
    fn drop(&mut self) {
        if !self.ended && tokio::runtime::Handle::try_current().is_ok() {
            self.stop(Duration::ZERO);
        }
    }
}

/// What a delivery has behind it, if there is something.
pub(super) fn tried(progress: Progress) -> Option<Box<Tried>> {
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
