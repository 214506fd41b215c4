//! Asks Apple whether it takes a credential, and puts the answer into words.

use tidings_model::{Environment, Outcome};
use tidings_providers::Attempt;
use tidings_providers::apns::check::{Doubt, Finding, Report, check as ask};
use tokio::task::spawn_blocking;

use super::ApnsCredential;
use crate::credentials::words::{self, Whom};
use crate::credentials::{CheckResult, Checked};

/// Opens the credential and asks.
pub(super) async fn check(credential: ApnsCredential, environment: Environment) -> Checked {
    let opened = spawn_blocking(move || credential.config(environment)).await;
    let config = match opened {
        Ok(Ok(config)) => config,
        Ok(Err(error)) => return Checked::unusable(error.to_string()),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    };
    match ask(config).await {
        Ok(report) => report.into(),
        Err(error) => Checked::unusable(error.to_string()),
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
                let text = words::unreachable(Whom::APPLE, *obstacle, &cause.to_string());
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
