//! The access token that all requests of a client show: one, whoever asks, and one request for it at a time.

use std::sync::Arc;
use std::time::Duration;

use tidings_model::{Outcome, UnixMillis};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::attempt::Attempt;
use crate::batch::config::TokenDialer;
use crate::batch::exchange::{Connection, Failed};
use crate::batch::{Access, Config, ConfigError, Protocol, SignIn};

/// Of its life, the part after which a token is renewed: so that none ends on its way.
const RENEWED_AFTER: f64 = 0.8;
/// A token is taken for one that lives at least so long, or each request would ask for its own.
const LIFE_MIN: Duration = Duration::from_secs(10);
/// After a refusal nobody asks again for so long.
const REFUSED_FOR: Duration = Duration::from_secs(1);

pub(super) struct Keeper<P> {
    protocol: P,
    answer_timeout: Duration,
    /// Where tokens are given, if they are.
    dialer: Option<TokenDialer>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    granted: Option<Granted>,
    number: u64,
    refused: Option<(Instant, Attempt)>,
}

/// A token, and which of those that there have been.
#[derive(Clone)]
pub(super) struct Granted {
    number: u64,
    renew_at: Instant,
    pub(super) token: Arc<str>,
}

impl<P: Protocol> Keeper<P> {
    pub(super) fn new(config: &Config<P>) -> Result<Self, ConfigError> {
        Ok(Self {
            protocol: config.protocol.clone(),
            answer_timeout: config.answer_timeout,
            dialer: config.token_dialer()?,
            kept: Mutex::default(),
        })
    }

    /// A token that is good as far as is known, and another than `refused`. Or what is to be said of what would have shown
    /// it: nothing of that has left.
    pub(super) async fn access(&self, refused: Option<&Granted>) -> Result<Granted, Attempt> {
        let mut kept = self.kept.lock().await;
        let now = Instant::now();
        if let Some(granted) = &kept.granted
            && now < granted.renew_at
            && refused.is_none_or(|refused| refused.number != granted.number)
        {
            return Ok(granted.clone());
        }
        if let Some((until, attempt)) = &kept.refused
            && now < *until
        {
            return Err(attempt.clone());
        }
        match self.ask().await {
            Ok(Access { token, lives }) => {
                kept.number += 1;
                let granted = Granted {
                    number: kept.number,
                    renew_at: now + lives.max(LIFE_MIN).mul_f64(RENEWED_AFTER),
                    token: token.into(),
                };
                kept.granted = Some(granted.clone());
                kept.refused = None;
                Ok(granted)
            }
            Err(attempt) => {
                kept.refused = Some((Instant::now() + REFUSED_FOR, attempt.clone()));
                Err(attempt)
            }
        }
    }

    async fn ask(&self) -> Result<Access, Attempt> {
        let request = match self.protocol.sign_in(UnixMillis::now()) {
            SignIn::Have(access) => return Ok(access),
            SignIn::Ask(request) => request,
        };
        let Some(there) = &self.dialer else {
            // A protocol that asks says where.
            let reason = tidings_model::Reason::known("NoTokenEndpoint");
            return Err(Attempt::Answered(Outcome::CredentialRejected { reason }));
        };
        let connection = Connection::open(&there.dialer).await;
        let mut connection = connection.map_err(Attempt::NotSent)?;
        let by = Instant::now() + self.answer_timeout;
        let answered = connection
            .send(&there.dialer, &there.led(request), by)
            .await;
        let response = answered.map_err(|failed| match failed {
            Failed::With(Attempt::Unanswered(cause) | Attempt::NotSent(cause)) => {
                Attempt::NotSent(cause)
            }
            Failed::With(answered) => answered,
            Failed::Stale => {
                Attempt::NotSent(crate::Cause::ConnectionLost("closed at once".into()))
            }
        })?;
        self.protocol
            .signed_in(&response)
            .map_err(Attempt::Answered)
    }
}
