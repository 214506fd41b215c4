//! The access token that all requests of a client show: one, whoever asks, and one request for it at a time.

use std::sync::Arc;
use std::time::Duration;

use tidings_model::{Outcome, UnixMillis};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::debug;

use crate::attempt::{Attempt, Cause};
use crate::batch::config::TokenDialer;
use crate::batch::exchange::Connection;
use crate::batch::{Access, Config, ConfigError, Protocol, SignIn};

/// Of its life, the part after which a token is renewed: so that none ends on its way.
const RENEWED_AFTER: f64 = 0.8;
/// The part after which it is not shown any more.
const ENDS_AFTER: f64 = 0.97;
/// After an attempt to renew one that is still good.
const RENEW_AGAIN: Duration = Duration::from_secs(30);
/// A token is taken for one that lives at least so long, or each request would ask for its own; and at most so long.
const LIFE_MIN: Duration = Duration::from_secs(10);
const LIFE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
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
    /// It is not shown after this.
    ends_at: Instant,
    number: u64,
    renew_at: Instant,
    pub(super) token: Arc<str>,
}

impl Kept {
    fn grant(&mut self, access: Access) -> Granted {
        let lives = access.lives.clamp(LIFE_MIN, LIFE_MAX);
        let now = Instant::now();
        self.number += 1;
        let granted = Granted {
            ends_at: now + lives.mul_f64(ENDS_AFTER),
            number: self.number,
            renew_at: now + lives.mul_f64(RENEWED_AFTER),
            token: access.token.into(),
        };
        self.granted = Some(granted.clone());
        self.refused = None;
        granted
    }
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
        if let Some(granted) = &mut kept.granted
            && now < granted.ends_at
            && refused.is_none_or(|refused| refused.number != granted.number)
        {
            if now < granted.renew_at {
                return Ok(granted.clone());
            }
            // Who comes first renews it; the others go on with what is still good, and so does he if it cannot be had.
            granted.renew_at = now + RENEW_AGAIN;
            let good = granted.clone();
            drop(kept);
            let asked = self.ask().await;
            let mut kept = self.kept.lock().await;
            return Ok(match asked {
                Ok(access) => kept.grant(access),
                Err(attempt) => {
                    debug!(provider = P::NAME, %attempt, "the access token is not renewed yet");
                    good
                }
            });
        }
        if let Some((until, attempt)) = &kept.refused
            && now < *until
        {
            return Err(attempt.clone());
        }
        match self.ask().await {
            Ok(access) => Ok(kept.grant(access)),
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
        let response = answered.map_err(|failed| match failed.into() {
            // What it was asked for has not left.
            Attempt::Unanswered(cause) => Attempt::NotSent(cause),
            attempt => attempt,
        })?;
        let granted = self.protocol.signed_in(&response);
        granted.map_err(|outcome| match outcome {
            // It is not about what would have been sent: that costs no try.
            Outcome::Retry { reason, .. } => Attempt::NotSent(Cause::NotNow(reason)),
            outcome => Attempt::Answered(outcome),
        })
    }
}
