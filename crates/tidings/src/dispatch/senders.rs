//! What sends for a lane: the broker of its provider, with the credential that the app has for it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tidings_broker::{Failure, Settled};
use tidings_model::{Reason, Spent, UnixMillis};
use tidings_store::{CredentialSlot, LaneKey};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::Context;
use super::carrier::{Carrier, Unsent};
use super::guard::Guard;
use super::lanes::book::{Tag, Taken};
use super::lanes::recalled::Recalled;
use crate::{credentials, providers};

/// What sends with one credential.
pub(super) struct Sender {
    carrier: Box<dyn Carrier>,
    /// How often its credential has been replaced.
    changes: u64,
    /// The broker has stopped, and has told everything.
    ended: bool,
    /// Whether what it says of tokens can be believed.
    pub(super) guard: Guard,
    lane: LaneKey,
    /// As it was logged.
    parked: Option<Reason>,
    /// What the store has of the credential; none for the sandbox's.
    record: Option<Noted>,
    /// Quotas of it that are used up, or were.
    spent: Vec<Spent>,
}

/// What the store says of a credential.
struct Noted {
    as_of: UnixMillis,
    rejected: Option<Reason>,
    used: Used,
}

/// What the use of a credential has shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) accepted: bool,
    pub(super) spent: Vec<Spent>,
}

/// What the store should say of a credential, if it is still that of `as_of`.
#[derive(Clone, Debug)]
pub(super) struct Note {
    pub(super) as_of: UnixMillis,
    /// None where nothing is new.
    pub(super) rejected: Option<Option<Reason>>,
    pub(super) slot: CredentialSlot,
    pub(super) used: Option<Used>,
}

/// What the lane's credential should be.
enum Wanted {
    /// The one that the sender has.
    Same,
    /// As it was sealed.
    Other(Vec<u8>, Option<Noted>),
    None,
}

/// Reads the lane's credential and makes `sender` be what it says. One that is there goes on with a new credential and loses
/// nothing; one whose credential is gone is returned, to be ended.
pub(super) async fn load(
    sender: &mut Option<Sender>,
    context: &Context,
    lane: LaneKey,
    recalled: &Arc<Recalled>,
) -> Result<Option<Sender>> {
    match wanted(sender.as_mut(), context, lane).await? {
        Wanted::Same => Ok(None),
        Wanted::None => Ok(sender.take()),
        Wanted::Other(credential, record) => {
            let equipped = equip(sender, credential, lane, record, recalled).await;
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
        return Ok(match context.sandbox.get(&lane.provider) {
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
        used: Used {
            accepted: record.accepted,
            spent: record.spent,
        },
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
async fn open(context: &Context, slot: CredentialSlot) -> Result<Option<Vec<u8>>> {
    let stored = credentials::stored(&context.store, slot).await?;
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
    credential: Vec<u8>,
    lane: LaneKey,
    record: Option<Noted>,
    recalled: &Arc<Recalled>,
) -> Result<()> {
    let used = record.as_ref().map(|record| record.used.clone());
    let Used { accepted, spent } = used.unwrap_or_default();
    match sender {
        Some(sender) => {
            sender.carrier.replace(credential, spent.clone()).await?;
            sender.changes += 1;
            // Whether this one is accepted, or parks the lane for the same reason, is news.
            (sender.guard, sender.parked) = (Guard::new(lane.provider, accepted), None);
            (sender.record, sender.spent) = (record, spent);
        }
        None => {
            let Some(adapter) = providers::adapter(lane.provider) else {
                anyhow::bail!("{} has no credential", lane.provider);
            };
            let carrier = adapter.carrier(credential, lane.environment, spent.clone());
            let carrier = carrier.await?;
            carrier.recall(Arc::clone(recalled));
            *sender = Some(Sender {
                carrier,
                changes: 0,
                ended: false,
                guard: Guard::new(lane.provider, accepted),
                lane,
                parked: None,
                record,
                spent,
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
        self.carrier.queue(taken, now).await
    }

    /// Waits for settlements and moves them to `into`, or finds that the broker has ended. Cancel safe.
    pub(super) async fn settled(&mut self, into: &mut Vec<Settled<Tag>>) {
        if self.carrier.settled(into).await == 0 {
            self.ended = true;
        }
    }

    /// Changes with each credential that it gets.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// The broker has stopped, and all of it has been fetched.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Nothing goes out, since the credential is rejected: what is queued now would come back.
    pub(super) fn is_held_up(&self) -> bool {
        self.carrier.status().is_held_up()
    }

    /// Takes back what has not left of those that are `meant`.
    pub(super) fn withdraw(&self, mut meant: impl FnMut(&Tag) -> bool) -> Vec<Settled<Tag>> {
        self.carrier.withdraw(&mut meant)
    }

    /// Stops the broker, giving it `within` to settle what it has; what it has settled by then is fetched all the same.
    pub(super) fn stop(&self, within: Duration) {
        tokio::spawn(self.carrier.stop(within));
    }

    /// Takes back what has not left, and waits for what has, but not for long: all that there is to tell of it.
    pub(super) async fn end(mut self, within: Duration) -> Vec<Settled<Tag>> {
        let mut told = self.withdraw(|_| true);
        self.carrier.stop(within).await;
        while !self.ended {
            self.settled(&mut told).await;
        }
        told
    }

    /// What the store should say of the credential and does not, as far as it is known. Logs what has changed.
    pub(super) fn news(&mut self) -> Option<Note> {
        let parked = self.carrier.status().parked;
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
        let record = self.record.as_ref()?;
        let rejected = match parked {
            Some(reason) => Some(Some(reason)),
            None => self.guard.word().map(|word| word.cloned()),
        };
        let rejected = rejected.filter(|rejected| *rejected != record.rejected);
        let used = Used {
            accepted: record.used.accepted || self.guard.has_accepted(),
            spent: self.spent.clone(),
        };
        let used = (used != record.used).then_some(used);
        (rejected.is_some() || used.is_some()).then(|| Note {
            as_of: record.as_of,
            rejected,
            slot: slot(self.lane),
            used,
        })
    }

    /// The store has this now, or has another credential.
    pub(super) fn noted(&mut self, note: Note) {
        if let Some(record) = &mut self.record
            && record.as_of == note.as_of
        {
            if let Some(rejected) = note.rejected {
                record.rejected = rejected;
            }
            if let Some(used) = note.used {
                record.used = used;
            }
        }
    }

    /// Takes note of what became of deliveries, for what is to be believed of the tokens.
    pub(super) fn hear(&mut self, settled: &[Settled<Tag>], now: Instant) {
        for settled in settled {
            self.guard.hear(settled, now);
            if let Err(Failure::QuotaSpent(spent)) = &settled.result
                && !settled.outdated
                && !self.spent.contains(spent)
            {
                spent.enter(&mut self.spent, UnixMillis::now());
            }
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
