//! Huawei's OAuth: client credentials for an access token.

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::form::Form;
use crate::huawei::ME;
use crate::makers::bare;
use crate::simulator::Incoming;
use crate::state::State;

pub(super) const PATH: &str = "/oauth2/v3/token";
const OLD_PATH: &str = "/oauth2/v2/token";

/// Seconds that an access token is good.
const LIFE_SECS: i64 = 3_600;

/// The sandbox speaks for Huawei's other products on this host, too: the same client may ask for each.
pub(super) fn is_token_call(path: &str) -> bool {
    [PATH, OLD_PATH].contains(&path)
}

pub(super) fn answer(state: &State, incoming: &Incoming<'_>) -> Answer {
    let form = Form::parse(incoming.body);
    let field = |name| form.get(name).unwrap_or_default();
    let refused = |error: &str, what: &str| error_body(StatusCode::BAD_REQUEST, error, what);
    if field("grant_type") != "client_credentials" {
        let what = "grant_type must be client_credentials";
        return refused("unsupported_grant_type", what);
    }
    let client = field("client_id");
    if !state.clients.admits(ME, client, field("client_secret")) {
        return refused("invalid_client", "client_id or client_secret is wrong");
    }
    let Some(text) = new_token() else {
        return bare(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let until_ms = incoming.now_ms + LIFE_SECS * 1_000;
    state.access_tokens.give(ME, client, &text, until_ms);
    let body = json!({
        "access_token": text,
        "expires_in": LIFE_SECS,
        "token_type": "Bearer",
    });
    // Huawei escapes slashes, which JSON allows and who cuts the text out by hand does not expect.
    Answer::json_text(StatusCode::OK, body.to_string().replace('/', "\\/"))
}

/// What a fault answers; digits are a number, as Huawei has them.
pub(super) fn refusal(status: StatusCode, reason: Option<&str>) -> Answer {
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
fn new_token() -> Option<String> {
    let mut bytes = [0; 48];
    rand::fill(&mut bytes).ok()?;
    Some(format!("DQEB/{}", STANDARD.encode(bytes)))
}
