//! What Huawei's answers mean.
//! Huawei: [Response codes](https://developer.huawei.com/consumer/en/doc/HMSCore-References/https-send-api-0000001050986197).

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tidings_model::{Outcome, ProviderId, Reason};
use tracing::warn;

use crate::batch::{Access, Answer, Response};

/// All tokens were taken.
const SUCCESS: u32 = 80_000_000;
/// Some were; the message names the others.
const PARTIAL: u32 = 80_100_000;
/// All are wrong: by themselves, or since they are another app's.
const ALL_TOKENS_INVALID: u32 = 80_300_007;

#[derive(Deserialize)]
struct Body {
    code: Value,
    #[serde(default)]
    msg: String,
    #[serde(default, rename = "requestId")]
    request_id: String,
}

/// `msg` of a partial success: JSON inside a text, in the form of v1 or of v3.
#[derive(Deserialize)]
struct Partial {
    #[serde(default)]
    illegal_tokens: HashSet<String>,
    #[serde(default, rename = "illegalTokens")]
    by_reason: HashMap<String, Vec<String>>,
}

impl Partial {
    fn tokens(self) -> HashSet<String> {
        let by_reason = self.by_reason.into_values().flatten();
        self.illegal_tokens.into_iter().chain(by_reason).collect()
    }
}

/// Characters of a message that go into a log: it may be of any length, and hold tokens.
const LOGGED_MAX: usize = 200;

fn cut(text: &str) -> String {
    text.chars().take(LOGGED_MAX).collect()
}

pub(super) fn answer(response: &Response, tokens: &[&str]) -> Answer {
    // A proxy's or a front end's answer has no code, and some of the codes come with 4xx.
    let Ok(body) = serde_json::from_slice::<Body>(&response.body) else {
        return by_status(response);
    };
    let Some(code) = number(&body.code) else {
        return by_status(response);
    };
    let accepted = || Outcome::Accepted {
        id: ProviderId::heard(&body.request_id),
    };
    let reason = Reason::heard(&code.to_string());
    match code {
        SUCCESS if (200..300).contains(&response.status) => Answer::All(accepted()),
        PARTIAL => match serde_json::from_str(&body.msg).map(Partial::tokens) {
            Ok(illegal_tokens) if !illegal_tokens.is_empty() => {
                let outcome = |token: &&str| {
                    if illegal_tokens.contains(*token) {
                        dead(reason.clone())
                    } else {
                        accepted()
                    }
                };
                Answer::Each(tokens.iter().map(outcome).collect())
            }
            // Some were sent, most likely nearly all, and it is not known which: another way would double those.
            Ok(_) | Err(_) => {
                warn!(
                    msg = cut(&body.msg),
                    "Huawei names no token in a partial success"
                );
                Answer::All(accepted())
            }
        },
        ALL_TOKENS_INVALID => Answer::All(dead(reason)),
        _ => Answer::All(match means(code) {
            Some(Meaning::AccessRefused) => return Answer::AccessRefused(reason),
            Some(Meaning::Credential) => Outcome::CredentialRejected { reason },
            Some(Meaning::Payload) => Outcome::PayloadRejected { reason },
            Some(Meaning::Later) => Outcome::Retry {
                reason,
                after: response.retry_after,
            },
            None => {
                warn!(
                    code,
                    msg = cut(&body.msg),
                    "Huawei answered with a code that is not known"
                );
                return match response.outcome() {
                    Some(_) => by_status(response),
                    None => Answer::All(Outcome::PayloadRejected { reason }),
                };
            }
        }),
    }
}

fn dead(reason: Reason) -> Outcome {
    Outcome::Unregistered {
        // A token of another app looks the same.
        certain: false,
        reason,
        since: None,
    }
}

enum Meaning {
    AccessRefused,
    Credential,
    Later,
    Payload,
}

fn means(code: u32) -> Option<Meaning> {
    Some(match code {
        // Header missing or unreadable; expired; the JWT expired; the request to the OAuth service failed.
        80_200_001 | 80_200_003 | 80_200_005 | 80_600_003 => Meaning::AccessRefused,
        // Push is not enabled for the app; the JWT lives too long; a penalty.
        80_300_002 | 80_300_036 | 80_300_037 => Meaning::Credential,
        // Topic messages, test messages, and an internal error.
        80_100_017 | 80_300_029 | 81_000_001 => Meaning::Later,
        80_100_001..=80_100_004
        | 80_100_013
        | 80_100_016
        | 80_100_018
        | 80_100_022
        | 80_300_008
        | 80_300_010
        | 80_300_011
        | 80_300_013
        | 80_300_030
        | 82_000_001..=82_000_013 => Meaning::Payload,
        _ => return None,
    })
}

fn by_status(response: &Response) -> Answer {
    match (response.status, response.outcome()) {
        (401, _) => Answer::AccessRefused(Reason::known("HTTP401")),
        // The path has the app's id in it.
        (404, _) => Answer::All(Outcome::CredentialRejected {
            reason: Reason::known("HTTP404"),
        }),
        (_, Some(outcome)) => Answer::All(outcome),
        (_, None) => Answer::All(Outcome::Retry {
            reason: Reason::known("NoCode"),
            after: response.retry_after,
        }),
    }
}

/// Huawei's codes are texts of eight digits; some have seen numbers.
fn number(code: &Value) -> Option<u32> {
    match code {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => u32::try_from(number.as_u64()?).ok(),
        _ => None,
    }
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default)]
    expires_in: Value,
}

/// What Huawei says of every token: an hour.
const EXPIRES_IN: u64 = 3600;

fn seconds(value: &Value) -> u64 {
    let text = value.as_str().and_then(|text| text.parse().ok());
    value.as_u64().or(text).unwrap_or(EXPIRES_IN)
}

#[derive(Deserialize)]
struct Refused {
    error: Value,
}

/// What the token endpoint says (RFC 6749, section 5).
pub(super) fn access(response: &Response) -> Result<Access, Outcome> {
    if response.status == 200
        && let Ok(granted) = serde_json::from_slice::<Granted>(&response.body)
        && !granted.access_token.is_empty()
        && granted
            .access_token
            .bytes()
            .all(|byte| byte.is_ascii_graphic())
    {
        return Ok(Access {
            token: granted.access_token,
            lives: Duration::from_secs(seconds(&granted.expires_in)),
        });
    }
    let told = serde_json::from_slice::<Refused>(&response.body).ok();
    let word = told.map(|refused| match refused.error {
        Value::String(word) => word,
        other => other.to_string(),
    });
    let is_ours =
        matches!(response.status, 200 | 400..=499) && !matches!(response.status, 408 | 425 | 429);
    let reason = match &word {
        Some(word) => Reason::heard(word),
        None => Reason::heard(&format!("HTTP{}", response.status)),
    };
    Err(if is_ours && (word.is_some() || response.status != 200) {
        Outcome::CredentialRejected { reason }
    } else {
        Outcome::Retry {
            reason,
            after: response.retry_after,
        }
    })
}
