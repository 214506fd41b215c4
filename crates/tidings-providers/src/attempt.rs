//! What one try of one delivery came to.

use std::sync::Arc;

use thiserror::Error;
use tidings_model::Outcome;

/// One try of one delivery at a provider. What never left may be tried again freely; what left without an answer may
/// have been taken, so whoever tries again must keep the delivery's id and bound the number of times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The provider said this.
    Answered(Outcome),
    /// The provider has certainly not processed it: it did not leave, or the provider said that it left it untouched.
    NotSent(Cause),
    /// It left, and whether the provider took it is not known.
    Unanswered(Cause),
}

/// Why an attempt has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Cause {
    #[error("cannot connect: {0}")]
    ConnectFailed(Arc<str>),
    #[error("the connection was lost: {0}")]
    ConnectionLost(Arc<str>),
    #[error("the provider is closing its connections (GOAWAY)")]
    GoAway,
    #[error("the provider refused the stream")]
    RefusedStream,
    #[error("the provider reset the stream: {0}")]
    Reset(Arc<str>),
    #[error("the client was shut down")]
    Shutdown,
    #[error("no answer within the time allowed")]
    TimedOut,
    #[error("the TLS handshake failed: {0}")]
    TlsFailed(Arc<str>),
}
