//! OAuth 2.0 client credentials for an access token (RFC 6749, section 4.4), as some makers have it.

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::{Value, json};

use crate::access_tokens::BadAccessToken;
use crate::answer::Answer;
use crate::faults::Call;
use crate::form::Form;
use crate::makers::bare;
use crate::provider::Provider;
use crate::simulator::{Incoming, Verdict};
use crate::state::State;

/// A provider's token call.
pub(crate) struct Oauth {
    pub(crate) provider: Provider,
    /// Seconds that an access token is good.
    pub(crate) life_secs: i64,
    /// The status of a wrong id or secret.
    pub(crate) refused: StatusCode,
    /// Whether slashes are escaped, which JSON allows and who cuts the text out by hand does not expect.
    pub(crate) escapes_slashes: bool,
}

impl Oauth {
    /// Judges a request for a token.
    pub(crate) fn judge(&self, state: &State, incoming: &Incoming<'_>) -> Verdict {
        let met = state.faults.meet_call(self.provider, Call::Token);
        Verdict::under(met, refusal, || self.answer(state, incoming))
    }

    /// The client whose access token comes with a request; none when it comes with none.
    pub(crate) fn client(
        &self,
        state: &State,
        incoming: &Incoming<'_>,
    ) -> Option<Result<Box<str>, BadAccessToken>> {
        let text = incoming.bearer()?;
        let now_ms = incoming.now_ms;
        Some(state.access_tokens.client(self.provider, text, now_ms))
    }

    fn answer(&self, state: &State, incoming: &Incoming<'_>) -> Answer {
        let form = Form::parse(incoming.body);
        let field = |name| form.get(name).unwrap_or_default();
        if field("grant_type") != "client_credentials" {
            let what = "grant_type must be client_credentials";
            return error_body(StatusCode::BAD_REQUEST, "unsupported_grant_type", what);
        }
        let client = field("client_id");
        let secret = field("client_secret");
        if !state.clients.admits(self.provider, client, secret) {
            let what = "client_id or client_secret is wrong";
            return error_body(self.refused, "invalid_client", what);
        }
        let Some(text) = new_token() else {
            return bare(StatusCode::INTERNAL_SERVER_ERROR);
        };
        let until_ms = incoming.now_ms + self.life_secs * 1_000;
        state
            .access_tokens
            .give(self.provider, client, &text, until_ms);
        let body = json!({
            "access_token": text,
            "expires_in": self.life_secs,
            "token_type": "Bearer",
        });
        let mut body = body.to_string();
        if self.escapes_slashes {
            body = body.replace('/', "\\/");
        }
        Answer::json_text(StatusCode::OK, body)
    }
}

/// What a fault answers; digits are a number, as Huawei has them.
fn refusal(status: StatusCode, reason: Option<&str>) -> Answer {
    match reason {
        Some(error) => error_body(status, error, "fault"),
        None => bare(status),
    }
}

fn error_body(status: StatusCode, error: &str, description: &str) -> Answer {
    let error = match error.parse::<u32>() {
        Ok(number) => Value::from(number),
        Err(_) => Value::from(error),
    };
    let body = json!({ "error": error, "error_description": description });
    Answer::json(status, &body)
}

/// Base64 with a slash in it.
pub(crate) fn new_token() -> Option<String> {
    let mut bytes = [0; 48];
    rand::fill(&mut bytes).ok()?;
    Some(format!("DQEB/{}", STANDARD.encode(bytes)))
}
