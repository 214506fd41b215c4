//! What a provider's module tells the frame.

use std::time::Duration;

use http::StatusCode;
use http::request::Parts;
use serde_json::Value;

use crate::answer::Answer;
use crate::credentials::Credentials;
use crate::device_token::{BadDeviceToken, DeviceToken};
use crate::faults::{Action, Effect, Met};
use crate::receipts::Receipts;
use crate::state::State;

/// One provider.
pub(crate) struct Simulator {
    /// The address of a phone from its text.
    pub(crate) token: fn(&str) -> Result<DeviceToken, BadDeviceToken>,
    /// How it is called; none for APNs, which has connections of its own and gets what nobody claims.
    pub(crate) calls: Option<Calls>,
    /// The status of one of its reasons or codes; none for what it does not document.
    pub(crate) status_of: fn(&str) -> Option<StatusCode>,
    /// The reason that it most often gives with a status; none where it has many.
    pub(crate) reason_for: fn(StatusCode) -> Option<&'static str>,
    /// Whether a reason can be that of one token in a batch, while the others are taken.
    pub(crate) is_of_token: fn(&str) -> bool,
    /// The reason for which a maker refuses what comes too fast; where there is none, it is a bare 503.
    pub(crate) too_fast: Option<&'static str>,
    /// The reason for which a maker takes no more that day; none where no daily quota is documented.
    pub(crate) spent: Option<&'static str>,
    /// How it tells what became of a message; none when it does not.
    pub(crate) receipts: Option<Receipts>,
    /// Lowest status that a fault may give: makers tell most of their refusals with 200.
    pub(crate) fault_status_min: u16,
    /// Id and secret of the sandbox's own client, where the two are sent.
    pub(crate) client: Option<(&'static str, &'static str)>,
    /// Its credential fields, `endpoint` and `token_endpoint` as the control API shows them; `url` is the sandbox's.
    pub(crate) credentials: fn(&Credentials, url: &str) -> Value,
}

/// The HTTP calls of a provider.
pub(crate) struct Calls {
    /// Whether one of them gives an access token.
    pub(crate) gives_tokens: bool,
    /// Whether a path is this provider's.
    pub(crate) owns: fn(&str) -> bool,
    /// Judges a request, and records the deliveries that it accepts.
    pub(crate) judge: fn(&State, &Incoming<'_>) -> Verdict,
}

/// A request that has been read whole.
pub(crate) struct Incoming<'a> {
    pub(crate) head: &'a Parts,
    pub(crate) body: &'a [u8],
    pub(crate) now_ms: i64,
}

/// What becomes of a request.
pub(crate) struct Verdict {
    pub(crate) delay: Duration,
    pub(crate) outcome: Outcome,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    Act(Action),
    Answer(Answer),
}

impl Incoming<'_> {
    pub(crate) fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// The text after `Bearer` in the `Authorization` header.
    pub(crate) fn bearer(&self) -> Option<&str> {
        let (scheme, text) = self.header("authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| text.trim())
    }

    /// A header's text; none when it is absent or no text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }
}

impl Verdict {
    /// What a fault makes of a request: `refusal` words its answer, `normal` is asked when the fault only delays.
    pub(crate) fn under(
        met: Option<Met>,
        refusal: impl FnOnce(StatusCode, Option<&str>) -> Answer,
        normal: impl FnOnce() -> Answer,
    ) -> Self {
        let delay = met.as_ref().map_or(Duration::ZERO, |met| met.delay);
        let outcome = match met.map(|met| met.effect) {
            Some(Effect::Act(action)) => Outcome::Act(action),
            Some(Effect::Answer {
                status,
                reason,
                headers,
            }) => Outcome::Answer(refusal(status, reason.as_deref()).with_headers(headers)),
            Some(Effect::Normal) | None => Outcome::Answer(normal()),
        };
        Self { delay, outcome }
    }
}

impl From<Answer> for Verdict {
    fn from(answer: Answer) -> Self {
        Self {
            delay: Duration::ZERO,
            outcome: Outcome::Answer(answer),
        }
    }
}
