//! Asks the provider whether it takes a stored credential, and puts the answer into words.

use std::time::Duration;

use tidings_model::{Environment, Outcome, Reason};
use tidings_providers::Attempt;
use tidings_providers::apns::check::{Doubt, Finding, Report, check as ask};
use tokio::task::{JoinError, spawn_blocking};

use super::{ApnsCredential, words};

/// What a check found.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    /// How long it took to connect; none when there was no connection.
    pub(crate) connecting: Option<Duration>,
    /// `https://HOST` or `https://HOST:PORT`; none when it did not come to connecting.
    pub(crate) endpoint: Option<String>,
    /// The provider's reason.
    pub(crate) reason: Option<Reason>,
    pub(crate) result: CheckResult,
    /// What is wrong and what to do, in one sentence.
    pub(crate) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CheckResult {
    Good,
    Rejected,
    Undecided,
    Unreachable,
}

impl CheckResult {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Rejected => "rejected",
            Self::Undecided => "undecided",
            Self::Unreachable => "unreachable",
        }
    }
}

/// Opens the credential and asks. The question takes 15 s at most, and delivers nothing.
pub(crate) async fn check(
    credential: ApnsCredential,
    environment: Environment,
) -> Result<Checked, JoinError> {
    let config = match spawn_blocking(move || credential.config(environment)).await? {
        Ok(config) => config,
        Err(error) => return Ok(Checked::unusable(error.to_string())),
    };
    Ok(match ask(config).await {
        Ok(report) => report.into(),
        Err(error) => Checked::unusable(error.to_string()),
    })
}

impl Checked {
    /// A credential that is not even shown to the provider: a certificate that has expired, for one.
    pub(crate) fn unusable(text: String) -> Self {
        Self {
            connecting: None,
            endpoint: None,
            reason: None,
            result: CheckResult::Rejected,
            text,
        }
    }

    /// The question is asked of a token that nobody has, so it cannot refute what the provider says of the phones' own.
    pub(crate) fn beside(self, of_tokens: &Reason) -> Self {
        match self.result {
            CheckResult::Good => Self {
                reason: Some(of_tokens.clone()),
                result: CheckResult::Undecided,
                text: words::rejected(of_tokens),
                ..self
            },
            CheckResult::Rejected | CheckResult::Undecided | CheckResult::Unreachable => self,
        }
    }
}

impl From<Report> for Checked {
    fn from(report: Report) -> Self {
        let (result, reason, text) = match &report.finding {
            Finding::Good => {
                let text = words::good(report.topic.as_deref());
                (CheckResult::Good, None, text)
            }
            Finding::Rejected(reason) => {
                let text = words::rejected(reason);
                (CheckResult::Rejected, Some(reason), text)
            }
            Finding::Undecided(doubt) => {
                let reason = match doubt {
                    Doubt::Attempt(Attempt::Answered(outcome)) => Outcome::reason(outcome),
                    Doubt::Attempt(_) | Doubt::NoTopic => None,
                };
                (CheckResult::Undecided, reason, words::undecided(doubt))
            }
            Finding::Unreachable { cause, obstacle } => {
                let text = words::unreachable(*obstacle, &cause.to_string());
                (CheckResult::Unreachable, None, text)
            }
        };
        Self {
            connecting: report.connecting,
            endpoint: Some(format!("https://{}", report.endpoint)),
            reason: reason.cloned(),
            result,
            text,
        }
    }
}
