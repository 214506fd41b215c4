//! A page that is out: who is in it, and what has been answered.

use std::sync::Arc;

use tidings_broker::Failure;
use tidings_model::{Environment, Message, Outcome, Reason, UnixMillis};
use tidings_store::{Answer, Ending, PageKey, Removal, Target};
use tokio::time::Instant;

use super::limits::RENEW_AFTER;

/// Which delivery of which page: travels through the broker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tag {
    pub(super) index: usize,
    pub(super) page: u64,
}

/// What is said of a delivery that nobody could be asked about.
const NO_CREDENTIAL: Reason = Reason::known("NoCredential");
const NOT_SENT: Reason = Reason::known("NotSent");
const UNANSWERED: Reason = Reason::known("Unanswered");

pub(super) struct OutPage {
    answers: Vec<Answer>,
    /// So many of the answers are in the store.
    flushed: usize,
    flushed_at: Instant,
    pub(super) key: PageKey,
    pub(super) message: Arc<Message>,
    /// Dead tokens that are still registered.
    removals: Vec<Removal>,
    /// Tokens that are removed at the end, if the credential of that environment is known to be good.
    removals_in_doubt: Vec<(Environment, Removal)>,
    pub(super) settling: bool,
    /// Those that are to be answered.
    pub(super) targets: Vec<Target>,
    unanswered: usize,
}

impl OutPage {
    /// `answers` are what a dead owner left; `targets` are the others of the page.
    pub(super) fn new(
        key: PageKey,
        message: Arc<Message>,
        targets: Vec<Target>,
        answers: Vec<Answer>,
    ) -> Self {
        Self {
            flushed: answers.len(),
            answers,
            flushed_at: Instant::now(),
            key,
            message,
            removals: Vec::new(),
            removals_in_doubt: Vec::new(),
            settling: false,
            unanswered: targets.len(),
            targets,
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.unanswered == 0
    }

    /// Notes how the delivery to the target at `index` ended, after so many attempts that left.
    pub(super) fn answer(&mut self, index: usize, end: End, attempts: u32, now: UnixMillis) {
        let Some(target) = self.targets.get(index) else {
            return;
        };
        let (ending, reason) = end.summary();
        if let End::Refused(Outcome::Unregistered {
            certain,
            reason,
            since,
        }) = &end
            && let Some(token) = &target.token
        {
            let removal = Removal {
                app: self.message.app,
                device: target.device,
                provider: self.key.provider,
                reason: reason.clone(),
                // Registered again since the page was read counts as later, whatever the provider's clock says.
                registered_before: since.unwrap_or(UnixMillis(target.registered_at.0 + 1)),
                token: token.clone(),
            };
            if *certain {
                self.removals.push(removal);
            } else if let Some(environment) = target.environment {
                self.removals_in_doubt.push((environment, removal));
            }
        }
        self.answers.push(Answer {
            at: now,
            device: target.device,
            ending,
            reason,
            attempts,
        });
        self.unanswered -= 1;
    }

    /// Everything answered so far, and the tokens to remove, when there is something new or the lease wants prolonging.
    pub(super) fn flush(&mut self, now: Instant) -> Option<(PageKey, Vec<Answer>, Vec<Removal>)> {
        let due =
            self.flushed < self.answers.len() || now.duration_since(self.flushed_at) >= RENEW_AFTER;
        if self.settling || !due {
            return None;
        }
        self.flushed = self.answers.len();
        self.flushed_at = now;
        Some((
            self.key,
            self.answers.clone(),
            std::mem::take(&mut self.removals),
        ))
    }

    /// The whole of it, for the store to settle. Copies, since the store may fail. `condemns` says whether a token of that
    /// environment is to be removed on a word that is not certain.
    pub(super) fn settle(
        &mut self,
        condemns: impl Fn(Environment) -> bool,
    ) -> (Vec<Answer>, Vec<Removal>) {
        self.settling = true;
        let mut removals = self.removals.clone();
        for (environment, removal) in &self.removals_in_doubt {
            if condemns(*environment) {
                removals.push(removal.clone());
            }
        }
        (self.answers.clone(), removals)
    }
}

/// How a delivery ended.
#[derive(Debug)]
pub(super) enum End {
    Accepted,
    /// The device no longer holds the channel: why not.
    ChannelEnded(Reason),
    Expired {
        last: Option<Reason>,
    },
    GivenUp(Outcome),
    NoCredential,
    NotSent,
    Refused(Outcome),
    Unanswered,
}

impl End {
    fn summary(&self) -> (Ending, Option<Reason>) {
        match self {
            Self::Accepted => (Ending::Accepted, None),
            Self::ChannelEnded(reason) => (Ending::Dropped, Some(reason.clone())),
            Self::Expired { last } => (Ending::Expired, last.clone()),
            Self::NoCredential => (Ending::Failed, Some(NO_CREDENTIAL)),
            Self::NotSent => (Ending::Failed, Some(NOT_SENT)),
            Self::Refused(outcome @ Outcome::Unregistered { .. }) => {
                (Ending::Dropped, outcome.reason().cloned())
            }
            Self::GivenUp(outcome) | Self::Refused(outcome) => {
                (Ending::Failed, outcome.reason().cloned())
            }
            Self::Unanswered => (Ending::Failed, Some(UNANSWERED)),
        }
    }
}

impl From<Result<(), Failure>> for End {
    fn from(result: Result<(), Failure>) -> Self {
        match result {
            Ok(()) => Self::Accepted,
            Err(Failure::Expired { last }) => Self::Expired { last },
            Err(Failure::GivenUp(outcome)) => Self::GivenUp(outcome),
            // The brokers are not told to put anything away, and nothing is withdrawn.
            Err(Failure::Deferred { .. } | Failure::NotSent(_) | Failure::Withdrawn) => {
                Self::NotSent
            }
            Err(Failure::Refused(outcome)) => Self::Refused(outcome),
            Err(Failure::Unanswered(_)) => Self::Unanswered,
        }
    }
}

#[cfg(test)]
mod tests {
    use tidings_model::{
        AppId, Audience, DeviceId, MsgId, Platform, PlatformSet, Provider, Push, PushOptions,
    };

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn page(environments: &[Option<Environment>]) -> OutPage {
        let message = Message {
            accepted_at: NOW,
            app: AppId(1),
            expires_at: NOW,
            id: MsgId(1000),
            push: Push {
                audience: Audience::All,
                message: None,
                notification: None,
                options: PushOptions::default(),
                platforms: PlatformSet::ALL,
            },
        };
        let target = |(number, environment): (usize, &Option<Environment>)| Target {
            device: DeviceId(number as i64 + 1),
            ended: None,
            environment: *environment,
            platform: Platform::Ios,
            registered_at: UnixMillis(5),
            token: Some("aa".into()),
        };
        let targets = environments.iter().enumerate().map(target).collect();
        let key = PageKey {
            first: DeviceId(1),
            message: message.id,
            provider: Provider::Apns,
        };
        OutPage::new(key, Arc::new(message), targets, vec![])
    }

    fn dead(reason: &'static str, since: Option<i64>) -> End {
        End::Refused(Outcome::Unregistered {
            certain: reason == "Unregistered",
            reason: Reason::known(reason),
            since: since.map(UnixMillis),
        })
    }

    /// The devices whose tokens are removed at the end, with the time before which they must have been registered.
    fn removed(page: &mut OutPage) -> Vec<(i64, i64)> {
        let (_, removals) = page.settle(|environment| environment == Environment::Sandbox);
        removals
            .iter()
            .map(|removal| (removal.device.0, removal.registered_before.0))
            .collect()
    }

    #[test]
    fn a_dead_token_is_removed_if_it_was_not_registered_since() {
        let mut page = page(&[None, None]);
        page.answer(0, dead("Unregistered", Some(77)), 1, NOW);
        page.answer(1, dead("Unregistered", None), 1, NOW);
        assert!(page.is_complete());
        assert_eq!(removed(&mut page), [(1, 77), (2, 6)]);
    }

    #[test]
    fn a_bad_token_is_removed_if_its_environment_is_known_and_that_ones_credential_is_good() {
        let (sandbox, production) = (Environment::Sandbox, Environment::Production);
        let mut page = page(&[None, Some(sandbox), Some(production)]);
        for index in 0..3 {
            page.answer(index, dead("BadDeviceToken", None), 1, NOW);
        }
        assert_eq!(removed(&mut page), [(2, 6)]);
    }

    #[test]
    fn a_flush_has_all_answers_and_each_removal_once() {
        let mut page = page(&[None, None, None]);
        let now = Instant::now();
        assert!(page.flush(now).is_none());
        page.answer(1, dead("Unregistered", None), 1, NOW);
        let (_, answers, removals) = page.flush(now).expect("something new");
        assert_eq!((answers.len(), removals.len()), (1, 1));
        page.answer(0, End::NoCredential, 1, NOW);
        let (_, answers, removals) = page.flush(now).expect("something new");
        assert_eq!((answers.len(), removals.len()), (2, 0));
        assert!(page.flush(now).is_none());
        assert!(
            page.flush(now + RENEW_AFTER).is_some(),
            "the lease wants prolonging"
        );
    }
}
