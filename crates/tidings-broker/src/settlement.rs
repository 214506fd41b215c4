//! How deliveries end.

use std::time::Instant;

use thiserror::Error;
use tidings_model::{Outcome, ProviderId, Reason, Spent};
use tidings_providers::Cause;

use crate::queue::Item;
use crate::retry::Progress;

/// Why a delivery was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// It has not ended, but would wait for longer than [`BrokerConfig::defer`](crate::BrokerConfig::defer): put it away,
    /// and bring it back with its progress.
    #[error("put off: the provider wants it later, or rejects the credential")]
    Deferred {
        /// When the provider wants it. None: it stands behind a rejected credential, so when
        /// [`Status::parked`](crate::Status::parked) has come to an end.
        until: Option<Instant>,
    },
    /// Its time was over before the provider took it.
    #[error("it expired{}", last.as_ref().map(|word| format!("; the last answer was {word}")).unwrap_or_default())]
    Expired {
        /// The provider's last word on it.
        last: Option<Reason>,
    },
    /// The provider wanted it later, [`RetryPolicy::retries_max`](crate::RetryPolicy::retries_max) times and once more: its last answer.
    #[error("given up after too many answers of {}", word(.0))]
    GivenUp(Outcome),
    /// It did not leave, or the provider did not take it, and the broker was stopped before another try. Trying again
    /// doubles nothing.
    #[error("not sent: {0}")]
    NotSent(Cause),
    /// A quota of the provider is used up: this may go after [`Spent::until`], and nothing of its class before.
    #[error("a quota is used up ({})", .0.reason)]
    QuotaSpent(Spent),
    /// The provider refused it, or its address, or the credential: its answer.
    #[error("refused: {}", word(.0))]
    Refused(Outcome),
    /// It left, [`RetryPolicy::unanswered_max`](crate::RetryPolicy::unanswered_max) times or until the broker was stopped, and whether the provider took it
    /// is not known.
    #[error("sent, but not answered: {0}")]
    Unanswered(Cause),
    /// [`Broker::withdraw`](crate::Broker::withdraw) has taken it back before this attempt left, or before it left once more.
    #[error("withdrawn")]
    Withdrawn,
}

fn word(outcome: &Outcome) -> &str {
    outcome.reason().map_or("Accepted", Reason::as_str)
}

impl Failure {
    /// The provider's own word, if it said one.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Expired { last } => last.as_ref(),
            Self::GivenUp(outcome) | Self::Refused(outcome) => outcome.reason(),
            Self::QuotaSpent(spent) => Some(&spent.reason),
            Self::NotSent(Cause::TooLate(word)) => Some(word),
            Self::NotSent(Cause::NotNow(word)) | Self::Unanswered(Cause::NotNow(word)) => {
                Some(word)
            }
            Self::Deferred { .. } | Self::NotSent(_) | Self::Unanswered(_) | Self::Withdrawn => {
                None
            }
        }
    }
}

/// The end of a delivery.
#[derive(Debug)]
pub struct Settlement<D> {
    /// What was queued.
    pub delivery: D,
    /// Accepted, or why not.
    pub result: Result<(), Failure>,
    /// Attempts that left.
    pub attempts: u32,
    /// It was answered to a credential that had been replaced by then.
    pub outdated: bool,
    /// What it has behind it, if it is to go on.
    pub progress: Progress,
    /// The provider's own id of it, when it was accepted and the provider told one.
    pub provider_id: Option<ProviderId>,
}

impl<D> Settlement<D> {
    /// `uncounted` are attempts that are not yet in the item's progress.
    pub(crate) fn of(
        item: Item<D>,
        result: Result<(), Failure>,
        provider_id: Option<ProviderId>,
        uncounted: u32,
    ) -> Self {
        let progress = item.state.progress;
        Self {
            attempts: progress.attempts() + uncounted,
            delivery: item.delivery,
            outdated: item.state.outdated,
            progress,
            provider_id,
            result,
        }
    }

    pub(crate) fn withdrawn(item: Item<D>) -> Self {
        Self::of(item, Err(Failure::Withdrawn), None, 0)
    }
}
