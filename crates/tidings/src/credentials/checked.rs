//! What a check of a credential found.

use std::time::Duration;

use tidings_model::Reason;

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
    pub(crate) fn beside(self, of_tokens: &Reason, text: String) -> Self {
        match self.result {
            CheckResult::Good => Self {
                reason: Some(of_tokens.clone()),
                result: CheckResult::Undecided,
                text,
                ..self
            },
            CheckResult::Rejected | CheckResult::Undecided | CheckResult::Unreachable => self,
        }
    }
}
