//! What one try of one delivery came to.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;
use tidings_model::{Outcome, Reason, Spent};

/// One try of one delivery at a provider. What never left may be tried again freely; what left without an answer may
/// have been taken, so whoever tries again must keep the delivery's id and bound the number of times. APNs does not
/// promise to know an id again: where a double hurts, give the notification a collapse id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The provider said this. [`apns::answer::outcome`](crate::apns::answer::outcome) says which reason is which
    /// outcome.
    Answered(Outcome),
    /// The provider has certainly not processed it: it did not leave, or the provider said that it left it untouched.
    NotSent(Cause),
    /// It left, and whether the provider took it is not known.
    Unanswered(Cause),
}

impl Attempt {
    /// Whether the provider took it.
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Answered(outcome) if outcome.is_accepted())
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(outcome) => match outcome.reason() {
                Some(reason) => write!(f, "refused: {reason}"),
                None => f.write_str("accepted"),
            },
            Self::NotSent(cause) => write!(f, "not sent: {cause}"),
            Self::Unanswered(cause) => write!(f, "sent, but not answered: {cause}"),
        }
    }
}

/// Why an attempt has no answer. The texts are for people, and may change.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Cause {
    /// No connection within `connect_timeout`, by DNS, TCP, the proxy or HTTP/2. An
    /// [`apns::Client`](crate::apns::Client) has tried a few times, with pauses. Always [`Attempt::NotSent`].
    #[error("cannot connect: {0}")]
    ConnectFailed(Arc<str>),
    /// The connection ended with the request under way.
    #[error("the connection was lost: {0}")]
    ConnectionLost(Arc<str>),
    /// GOAWAY, and the request was above its last stream id (RFC 9113, section 6.8). A client has sent it again 8
    /// times. Always [`Attempt::NotSent`].
    #[error("the provider is closing its connections (GOAWAY)")]
    GoAway,
    /// This was the provider's word, and whoever sends was stopped before another try. A client does not say this of its
    /// own: it gives the answer.
    #[error("the provider said {0}, and there was no other try")]
    NotNow(Reason),
    /// The provider has said of another that this quota is used up, and so this one has not left. Always
    /// [`Attempt::NotSent`].
    #[error("the provider's quota is used up ({})", .0.reason)]
    QuotaSpent(Spent),
    /// REFUSED_STREAM (RFC 9113, section 8.7). A client has sent it again 8 times. Always [`Attempt::NotSent`].
    #[error("the provider refused the stream")]
    RefusedStream,
    /// RST_STREAM with another code than REFUSED_STREAM.
    #[error("the provider reset the stream: {0}")]
    Reset(Arc<str>),
    /// The client was retired, abandoned or dropped.
    #[error("the client was shut down")]
    Shutdown,
    /// No answer within `answer_timeout`, or no PONG within `pong_timeout`.
    #[error("no answer within the time allowed")]
    TimedOut,
    /// Its time is not over, but so near its end that the provider would not keep to it. Always [`Attempt::NotSent`].
    #[error("it is too late for it ({0})")]
    TooLate(Reason),
    /// The TLS handshake failed: a certificate that is not trusted, another name, no `h2`. A client does not try again
    /// by itself. Always [`Attempt::NotSent`].
    #[error("the TLS handshake failed: {0}")]
    TlsFailed(Arc<str>),
    /// It was to leave once more, and had been taken back meanwhile ([`Client::withdraw`](crate::Client::withdraw)). Always
    /// [`Attempt::NotSent`].
    #[error("it was taken back")]
    Withdrawn,
}
