//! The brokers of one app's lane: one for each environment that there is a credential for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tidings_broker::{Broker, BrokerConfig, Delivery, Events, Progress, Settled};
use tidings_model::{
    AppId, Environment, Message, MsgId, Outcome, Provider, Reason, UnixMillis, delivery_id,
};
use tidings_providers::apns::Notification;
use tidings_store::{CredentialSlot, Target};
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::guard::Guard;
use super::limits::{BROKER_QUEUE, SETTLED_AT_ONCE};
use super::page::{End, Tag};
use super::{Context, render};
use crate::credentials::ApnsCredential;

/// A message without a notification has nothing for a provider that carries notifications only.
const NOTHING_TO_SHOW: Reason = Reason::known("NoNotification");

/// What sends to one environment.
struct Sender {
    broker: Arc<Broker<Tag>>,
    /// The broker has stopped, and has told everything.
    ended: bool,
    events: Events<Tag>,
    /// What has been heard of tokens with this credential.
    guard: Guard,
    /// As it was logged.
    parked: Option<Reason>,
    /// What the store has of the credential; none for the sandbox's.
    record: Option<Noted>,
    /// The last message's notification, or why there is none: pages of one message follow each other.
    rendered: Option<(MsgId, Result<Arc<Notification>, Reason>)>,
    /// Fetched from `events` and not yet passed on.
    settled: Vec<Settled<Tag>>,
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

#[derive(Default)]
pub(super) struct Senders {
    production: Option<Sender>,
    sandbox: Option<Sender>,
}

impl Senders {
    /// Reads the app's credentials and makes the brokers be what they say. A broker that is there goes on with the new
    /// credential and loses nothing; one whose credential is gone is ended, and what it had comes back in `into`. One whose
    /// credential is the same as before is left alone.
    pub(super) async fn load(
        &mut self,
        context: &Context,
        app: AppId,
        into: &mut Vec<Settled<Tag>>,
    ) -> Result<()> {
        let mut records = context.store.credentials(app).await?;
        records.retain(|record| record.slot.provider == Provider::Apns);
        let mut set = HashMap::new();
        let mut same = Vec::new();
        for record in &records {
            let Some(environment) = record.slot.environment else {
                continue;
            };
            let noted = Noted {
                as_of: record.updated_at,
                rejected: record.rejected.clone(),
            };
            if let Some(sender) = self.slot(environment)
                && sender.goes_on_as(&noted)
            {
                same.push(environment);
            } else if let Some(credential) = open(context, record.slot).await? {
                set.insert(environment, (credential, Some(noted)));
            }
        }
        if let (true, Some(sandbox)) = (records.is_empty(), &context.sandbox) {
            for environment in Environment::ALL {
                match self.slot(environment) {
                    Some(sender) if sender.record.is_none() => same.push(environment),
                    _ => drop(set.insert(environment, (sandbox.clone(), None))),
                }
            }
        }
        for environment in Environment::ALL {
            if same.contains(&environment) {
                continue;
            }
            let slot = self.slot(environment);
            let usable = match set.remove(&environment) {
                Some((credential, record)) => equip(slot, credential, environment, record)
                    .await
                    .inspect_err(|error| {
                        let error = format!("{error:#}");
                        error!(app = app.0, %environment, error, "a credential cannot be used");
                    })
                    .is_ok(),
                None => false,
            };
            if let Some(mut gone) = slot.take_if(|_| !usable) {
                gone.broker.stop(Duration::ZERO).await;
                into.append(&mut gone.settled);
                while gone.events.recv_many(into, SETTLED_AT_ONCE).await > 0 {}
            }
        }
        Ok(())
    }

    fn slot(&mut self, environment: Environment) -> &mut Option<Sender> {
        match environment {
            Environment::Production => &mut self.production,
            Environment::Sandbox => &mut self.sandbox,
        }
    }

    /// The environment of a device's token: what the device said, else what the push says, else the one that there is a
    /// credential for.
    fn environment(&self, target: &Target, message: &Message) -> Environment {
        match (target.environment, message.push.options.apns_production) {
            (Some(environment), _) => environment,
            (None, Some(true)) => Environment::Production,
            (None, Some(false)) => Environment::Sandbox,
            (None, None) if self.production.is_none() && self.sandbox.is_some() => {
                Environment::Sandbox
            }
            (None, None) => Environment::Production,
        }
    }

    /// Queues a page, and returns the indices of those that cannot be sent, and why.
    pub(super) async fn queue(
        &mut self,
        message: &Message,
        page: u64,
        targets: &[Target],
    ) -> Vec<(usize, End)> {
        let mut without = Vec::new();
        let mut queued: HashMap<Environment, Vec<Delivery<Tag>>> = HashMap::new();
        for (index, target) in targets.iter().enumerate() {
            if let Some(reason) = &target.ended {
                without.push((index, End::ChannelEnded(reason.clone())));
                continue;
            }
            let environment = self.environment(target, message);
            let sender = self.slot(environment).as_mut();
            let (Some(sender), Some(token)) = (sender, &target.token) else {
                without.push((index, End::NoCredential));
                continue;
            };
            let notification = match sender.render(message) {
                Ok(notification) => notification,
                Err(reason) => {
                    let outcome = Outcome::PayloadRejected { reason };
                    without.push((index, End::Refused(outcome)));
                    continue;
                }
            };
            queued
                .entry(environment)
                .or_insert_with(|| Vec::with_capacity(targets.len()))
                .push(Delivery {
                    notification,
                    token: token.clone(),
                    id: delivery_id(message.id, target.device),
                    expires: Some(message.expires_at),
                    progress: Progress::default(),
                    urgent: false,
                    tag: Tag { index, page },
                });
        }
        for (environment, mut deliveries) in queued {
            if let Some(sender) = self.slot(environment)
                && sender.broker.queue_many(&mut deliveries).await.is_err()
            {
                let unsent = deliveries.iter();
                without.extend(unsent.map(|delivery| (delivery.tag.index, End::NoCredential)));
            }
        }
        without
    }

    /// Waits for settlements and moves them to `into`. Waits for ever when there is no broker. Cancel safe.
    pub(super) async fn settled(&mut self, into: &mut Vec<Settled<Tag>>) {
        let Self {
            production,
            sandbox,
        } = self;
        tokio::select! {
            () = settled(production) => {}
            () = settled(sandbox) => {}
        }
        for slot in [production, sandbox] {
            if let Some(sender) = slot {
                into.append(&mut sender.settled);
                if sender.ended {
                    *slot = None;
                }
            }
        }
    }

    /// Whether a token of that environment is to be removed on a word that is not certain.
    pub(super) fn condemns(&self, environment: Environment, now: Instant) -> bool {
        let sender = match environment {
            Environment::Production => &self.production,
            Environment::Sandbox => &self.sandbox,
        };
        sender
            .as_ref()
            .is_some_and(|sender| sender.guard.condemns(now))
    }

    /// What the store should say of the credentials and does not, as far as it is known. Logs what has changed.
    pub(super) fn news(&mut self, app: AppId) -> Vec<Note> {
        let mut notes = Vec::new();
        for environment in Environment::ALL {
            let Some(sender) = self.slot(environment) else {
                continue;
            };
            let parked = sender.broker.status().parked;
            if parked != sender.parked {
                match &parked {
                    Some(reason) => warn!(
                        app = app.0,
                        %environment,
                        %reason,
                        "parked lane apns: credential rejected; it resumes when the credential is replaced, or found good again"
                    ),
                    None => info!(app = app.0, %environment, "lane apns resumes"),
                }
                sender.parked = parked;
            }
            if let (Some(rejected), Some(record)) = (sender.rejected(), &sender.record)
                && rejected != record.rejected
            {
                notes.push(Note {
                    as_of: record.as_of,
                    rejected,
                    slot: credential_slot(app, environment),
                });
            }
        }
        notes
    }

    /// The store has this now, or has another credential.
    pub(super) fn noted(&mut self, note: Note) {
        let sender = note
            .slot
            .environment
            .map(|environment| self.slot(environment));
        if let Some(Some(sender)) = sender
            && let Some(record) = &mut sender.record
            && record.as_of == note.as_of
        {
            record.rejected = note.rejected;
        }
    }

    /// Stops the brokers, giving them `within` to settle what they have; what they have settled by then is fetched all
    /// the same.
    pub(super) fn stop(&self, within: Duration) {
        for sender in [&self.production, &self.sandbox].into_iter().flatten() {
            let broker = Arc::clone(&sender.broker);
            tokio::spawn(async move { broker.stop(within).await });
        }
    }

    /// Whether all brokers have stopped and been emptied.
    pub(super) fn is_empty(&self) -> bool {
        self.production.is_none() && self.sandbox.is_none()
    }
}

fn credential_slot(app: AppId, environment: Environment) -> CredentialSlot {
    CredentialSlot {
        app,
        environment: Some(environment),
        provider: Provider::Apns,
    }
}

/// The stored credential; none when it cannot be used as it is, which is logged.
async fn open(context: &Context, slot: CredentialSlot) -> Result<Option<ApnsCredential>> {
    let stored = ApnsCredential::stored(&context.store, slot).await?;
    let opened = stored.transpose().inspect_err(|error| {
        let environment = slot.environment.map(Environment::name);
        let error = format!("{error:#}");
        error!(
            app = slot.app.0,
            environment, error, "a credential cannot be opened: set it again"
        );
    });
    Ok(opened.unwrap_or_default())
}

/// Gives `slot` a broker that uses `credential`, or gives it to the broker that is there.
async fn equip(
    slot: &mut Option<Sender>,
    credential: ApnsCredential,
    environment: Environment,
    record: Option<Noted>,
) -> Result<()> {
    // A .p12 takes a while to open: its password is hardened.
    let config = spawn_blocking(move || credential.config(environment)).await??;
    let now = UnixMillis::now();
    // An expired certificate is still tried: it is Apple that decides, and a parked lane says so better than an error here.
    let topic = match &config.topic {
        Some(topic) => topic.clone(),
        None => config.credential.check(environment, None, now)?.topic,
    };
    match slot {
        Some(sender) => {
            sender.broker.replace(config)?;
            // Whether this one is accepted, or parks the lane for the same reason, is news.
            (sender.guard, sender.parked) = (Guard::default(), None);
            (sender.record, sender.rendered, sender.topic) = (record, None, topic);
        }
        None => {
            let broker_config = BrokerConfig {
                queue: BROKER_QUEUE,
                ..BrokerConfig::default()
            };
            let (broker, events) = Broker::start(config, broker_config)?;
            *slot = Some(Sender {
                broker: Arc::new(broker),
                ended: false,
                events,
                guard: Guard::default(),
                parked: None,
                record,
                rendered: None,
                settled: Vec::new(),
                topic,
            });
        }
    }
    Ok(())
}

impl Sender {
    /// Why the credential is rejected, or that it is not; none when nothing has shown either.
    fn rejected(&self) -> Option<Option<Reason>> {
        match self.broker.status().parked {
            Some(reason) => Some(Some(reason)),
            None => self.guard.word().map(Option::<&Reason>::cloned),
        }
    }

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

    /// The message as this environment's devices get it, or why Apple would refuse it: acceptance has ruled that out but for
    /// what the topic does not take.
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
}

async fn settled(slot: &mut Option<Sender>) {
    match slot {
        Some(sender) => {
            sender.ended = sender
                .events
                .recv_many(&mut sender.settled, SETTLED_AT_ONCE)
                .await
                == 0;
            let now = Instant::now();
            for settled in &sender.settled {
                sender.guard.hear(settled, now);
            }
        }
        None => std::future::pending().await,
    }
}
