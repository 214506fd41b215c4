//! Whether a provider takes a credential, without a push.

use std::time::Duration;

use tidings_model::{Outcome, Reason, UnixMillis};
use tokio::time::{Instant, timeout_at};

use crate::attempt::{Attempt, Cause};
use crate::batch::exchange::Connection;
use crate::batch::{Config, ConfigError, Protocol, SignIn};
use crate::net::{DialError, Obstacle};

/// What a check found.
#[derive(Clone, Debug)]
pub struct Report {
    /// How long it took to connect; none when there was no connection.
    pub connecting: Option<Duration>,
    /// `HOST` or `HOST:PORT` of who was asked.
    pub endpoint: String,
    /// What it came to.
    pub finding: Finding,
}

/// What a check came to.
#[derive(Clone, Debug)]
pub enum Finding {
    /// It gave an access token.
    Good,
    /// The provider has no question that tells, other than a push.
    NoQuestion,
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

/// For all of a check together.
const WITHIN: Duration = Duration::from_secs(15);

/// Asks for an access token, once. Takes 15 s at most.
pub async fn check<P: Protocol>(config: Config<P>) -> Result<Report, ConfigError> {
    config.check()?;
    let (dialer, request) = match (
        config.token_dialer()?,
        config.protocol.sign_in(UnixMillis::now()),
    ) {
        (Some(there), SignIn::Ask(request)) => {
            let request = there.led(request);
            (there.dialer, Some(request))
        }
        _ => (config.dialer()?, None),
    };
    let endpoint = dialer.endpoint.authority.to_string();
    let began = Instant::now();
    let by = began + WITHIN;
    let dialed = timeout_at(by, dialer.dial()).await;
    let report = |connecting, finding| Report {
        connecting,
        endpoint,
        finding,
    };
    let tls = match dialed {
        Ok(Ok((_, tls))) => tls,
        Ok(Err(DialError {
            cause, obstacle, ..
        })) => return Ok(report(None, Finding::Unreachable { cause, obstacle })),
        Err(_) => {
            let (cause, obstacle) = (Cause::TimedOut, Obstacle::Silence);
            return Ok(report(None, Finding::Unreachable { cause, obstacle }));
        }
    };
    let connecting = Some(began.elapsed());
    let Some(request) = request else {
        return Ok(report(connecting, Finding::NoQuestion));
    };
    let asked = async {
        let mut connection = Connection::over(tls).await.map_err(Attempt::NotSent)?;
        let answered = connection.send(&dialer, &request, by).await;
        answered.map_err(Attempt::from)
    };
    let finding = match asked.await {
        Ok(response) => match config.protocol.signed_in(&response) {
            Ok(_) => Finding::Good,
            Err(Outcome::CredentialRejected { reason }) => Finding::Rejected(reason),
            Err(outcome) => Finding::Undecided(Attempt::Answered(outcome)),
        },
        Err(attempt) => Finding::Undecided(attempt),
    };
    Ok(report(connecting, finding))
}
