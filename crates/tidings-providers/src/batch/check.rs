//! Whether a provider takes a credential, without a push that reaches anybody.

use std::time::Duration;

use tidings_model::{Outcome, Reason, UnixMillis};
use tokio::time::{Instant, timeout_at};

use crate::attempt::{Attempt, Cause};
use crate::batch::exchange::Connection;
use crate::batch::{Answer, Config, ConfigError, Protocol, Request, Response, SignIn};
use crate::net::{DialError, Dialer, Obstacle};

/// What a check found.
#[derive(Clone, Debug)]
pub struct Report {
    /// How long it took to connect; none when there was no connection.
    pub connecting: Option<Duration>,
    /// `HOST` or `HOST:PORT` of who was asked last.
    pub endpoint: String,
    /// What it came to.
    pub finding: Finding,
}

/// What a check came to.
#[derive(Clone, Debug)]
pub enum Finding {
    /// It gave an access token, and had nothing to say against the app.
    Good,
    /// It refused the credential.
    Rejected(Reason),
    /// It said something else.
    Undecided(Attempt),
    /// There was no connection.
    Unreachable {
        /// In words.
        cause: Cause,
        /// What was in the way.
        obstacle: Obstacle,
    },
}

/// An address of the form that all makers take, which nobody has.
const NOBODY: &str = "tidings-check";

/// For all of a check together.
const WITHIN: Duration = Duration::from_secs(15);

/// Asks for an access token, once, and what the provider says to a push to an address that nobody has
/// ([`Protocol::probe`]), as far as there are such questions. Takes 15 s at most.
pub async fn check<P: Protocol>(config: Config<P>) -> Result<Report, ConfigError> {
    config.check()?;
    let protocol = &config.protocol;
    let by = Instant::now() + WITHIN;
    let now = UnixMillis::now();
    let (mut report, access) = match (config.token_dialer()?, protocol.sign_in(now)) {
        (Some(there), SignIn::Ask(request)) => {
            let (report, response) = ask(&there.dialer, &there.led(request), by).await;
            let Some(response) = response else {
                return Ok(report);
            };
            match protocol.signed_in(&response) {
                Ok(access) => (report, access),
                Err(outcome) => return Ok(report.found(said(outcome))),
            }
        }
        (_, SignIn::Have(access)) => {
            let endpoint = config.dialer()?.endpoint.authority.to_string();
            (Report::of(endpoint), access)
        }
        // A protocol that asks says where.
        (None, SignIn::Ask(_)) => {
            let reason = Reason::known("NoTokenEndpoint");
            return Ok(Report::of(String::new()).found(Finding::Rejected(reason)));
        }
    };
    if let Some(notification) = protocol.probe() {
        let request = protocol.request(&notification, &[NOBODY], &access.token, now);
        let (asked, response) = ask(&config.dialer()?, &request, by).await;
        report = asked;
        if let Some(response) = response {
            report.finding = match protocol.answer(&response, &[NOBODY]) {
                Answer::AccessRefused(reason) | Answer::NotSaved(reason) => {
                    Finding::Rejected(reason)
                }
                Answer::All(outcome) => said(outcome),
                Answer::Each(outcomes) => outcomes.into_iter().next().map_or(Finding::Good, said),
            };
        }
    }
    Ok(report)
}

/// What an answer shows of the credential.
fn said(outcome: Outcome) -> Finding {
    match outcome {
        // It complains of the address and of nothing else; or it has such a phone, as a simulator.
        Outcome::Accepted { .. } | Outcome::Unregistered { .. } => Finding::Good,
        Outcome::CredentialRejected { reason } => Finding::Rejected(reason),
        outcome => Finding::Undecided(Attempt::Answered(outcome)),
    }
}

impl Report {
    fn of(endpoint: String) -> Self {
        Self {
            connecting: None,
            endpoint,
            finding: Finding::Good,
        }
    }

    fn found(self, finding: Finding) -> Self {
        Self { finding, ..self }
    }
}

/// One request over a connection of its own: its answer, or a report of why there is none.
async fn ask(dialer: &Dialer, request: &Request, by: Instant) -> (Report, Option<Response>) {
    let report = Report::of(dialer.endpoint.authority.to_string());
    let began = Instant::now();
    let tls = match timeout_at(by, dialer.dial()).await {
        Ok(Ok((_, tls))) => tls,
        Ok(Err(DialError {
            cause, obstacle, ..
        })) => return (report.found(Finding::Unreachable { cause, obstacle }), None),
        Err(_) => {
            let (cause, obstacle) = (Cause::TimedOut, Obstacle::Silence);
            return (report.found(Finding::Unreachable { cause, obstacle }), None);
        }
    };
    let report = Report {
        connecting: Some(began.elapsed()),
        ..report
    };
    let asked = async {
        let mut connection = Connection::over(tls).await.map_err(Attempt::NotSent)?;
        let answered = connection.send(dialer, request, by).await;
        answered.map_err(Attempt::from)
    };
    match asked.await {
        Ok(response) => (report, Some(response)),
        Err(attempt) => (report.found(Finding::Undecided(attempt)), None),
    }
}
