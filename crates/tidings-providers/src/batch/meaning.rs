//! What the makers' answers have in common: a code that asks for one of a few things, and addresses that are named in it.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;
use tidings_model::{Outcome, ProviderId, Reason, Spent};
use tracing::warn;

use crate::batch::quota::end_of_day_in_china;
use crate::batch::{Access, Answer, Response, Unsaved};

/// What a code asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Another access token.
    AccessRefused,
    /// Another credential, or something done at the maker's console.
    Credential,
    /// All addresses of the request are dead, or another app's.
    Dead,
    /// Another try, later.
    Later,
    /// Another message.
    Payload,
    /// Another day, by China's time: the quota is used up.
    Tomorrow,
}

impl Meaning {
    /// What it makes of every device of a request.
    pub(crate) fn answer(self, reason: Reason, response: &Response) -> Answer {
        Answer::All(match self {
            Self::AccessRefused => return Answer::AccessRefused(reason),
            Self::Credential => Outcome::CredentialRejected { reason },
            Self::Dead => dead(reason),
            Self::Later => Outcome::Retry {
                reason,
                after: response.retry_after,
            },
            Self::Payload => Outcome::PayloadRejected { reason },
            Self::Tomorrow => {
                Outcome::QuotaSpent(Spent::until(reason, end_of_day_in_china(response.at)))
            }
        })
    }
}

/// What a code makes of a request; one that is not known is said to the log, and goes by the status, or asks for `otherwise`
/// when that is 200.
pub(crate) fn judge(
    provider: &'static str,
    response: &Response,
    code: i64,
    known: Option<Meaning>,
    otherwise: Meaning,
) -> Answer {
    let reason = Reason::heard(&code.to_string());
    match known {
        Some(meaning) => meaning.answer(reason, response),
        None => {
            log_unknown(provider, response);
            match response.outcome() {
                Some(_) => by_status(response),
                None => otherwise.answer(reason, response),
            }
        }
    }
}

/// The access token of an answer with its code, which is 0, or what the answer says instead.
pub(crate) fn access(
    response: &Response,
    found: Option<(i64, &str)>,
    lives: Duration,
    means: fn(i64) -> Option<Meaning>,
) -> Result<Access, Outcome> {
    if let Some((0, token)) = found
        && !token.is_empty()
        && token.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return Ok(Access {
            token: token.to_owned(),
            lives,
        });
    }
    let later = |reason| Outcome::Retry {
        reason,
        after: response.retry_after,
    };
    Err(match (found, by_status(response)) {
        (Some((code, _)), _) => {
            let reason = Reason::heard(&code.to_string());
            match means(code) {
                Some(Meaning::Credential) => Outcome::CredentialRejected { reason },
                _ => later(reason),
            }
        }
        (None, Answer::All(outcome)) => outcome,
        (None, Answer::AccessRefused(reason) | Answer::NotSaved(reason)) => {
            Outcome::CredentialRejected { reason }
        }
        (None, Answer::Each(_)) => later(Reason::known("NoCode")),
    })
}

/// What an answer to a save without an id means; `no_id` of one that says that it was taken.
pub(crate) fn unsaved(answer: Answer, no_id: &'static str) -> Unsaved {
    match answer {
        Answer::AccessRefused(reason) => Unsaved::AccessRefused(reason),
        Answer::All(Outcome::Accepted { .. }) | Answer::Each(_) => Unsaved::All(Outcome::Retry {
            reason: Reason::known(no_id),
            after: None,
        }),
        Answer::All(outcome) => Unsaved::All(outcome),
        Answer::NotSaved(reason) => Unsaved::All(Outcome::PayloadRejected { reason }),
    }
}

/// An answer whose code is not known, or which does not fit the request.
pub(crate) fn log_unknown(provider: &'static str, response: &Response) {
    let text = String::from_utf8_lossy(&response.body);
    let body: String = text.chars().take(LOGGED_MAX).collect();
    warn!(
        status = response.status,
        body, "{provider} gave an answer that is not known"
    );
}

/// Characters of an answer that go into a log: it may be of any length, and name a thousand addresses.
const LOGGED_MAX: usize = 1000;

/// What the status alone says: a proxy's answer or a front end's has no code.
pub(crate) fn by_status(response: &Response) -> Answer {
    let meaning = match response.status {
        401 | 403 => Meaning::AccessRefused,
        // The path has the app in it, or the endpoint is another.
        404 => Meaning::Credential,
        _ => match response.outcome() {
            Some(outcome) => return Answer::All(outcome),
            None => return Meaning::Later.answer(Reason::known("NoCode"), response),
        },
    };
    let reason = Reason::heard(&format!("HTTP{}", response.status));
    meaning.answer(reason, response)
}

/// Of an address that is not registered, as far as can be known: one of another app looks the same.
pub(crate) fn dead(reason: Reason) -> Outcome {
    Outcome::Unregistered {
        certain: false,
        reason,
        since: None,
    }
}

/// Of each device what is said of its address in particular, and of the others `otherwise`.
pub(crate) fn each(
    tokens: &[&str],
    said: &HashMap<String, Outcome>,
    otherwise: &Outcome,
) -> Answer {
    if said.is_empty() {
        return Answer::All(otherwise.clone());
    }
    let of = |token: &&str| said.get(*token).unwrap_or(otherwise).clone();
    Answer::Each(tokens.iter().map(of).collect())
}

/// A code, which makers write as a number or as a text.
pub(crate) fn number(code: &Value) -> Option<i64> {
    let in_text = || code.as_str()?.trim().parse().ok();
    code.as_i64().or_else(in_text)
}

/// An id, which makers write as a text or as a number: what else stands there, or nothing, is none, and makes nothing of the
/// answer unreadable.
pub(crate) fn id(value: &Value) -> Option<ProviderId> {
    match value {
        Value::String(id) => ProviderId::heard(id),
        Value::Number(id) => ProviderId::heard(&id.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Addresses as a list or joined by commas, as texts or as numbers.
pub(crate) fn addresses(list: &Value) -> Vec<String> {
    let own = |text: &str| text.trim().to_owned();
    match list {
        Value::Array(list) => list.iter().flat_map(addresses).collect(),
        Value::Number(number) => vec![number.to_string()],
        Value::String(text) => text
            .split(',')
            .map(own)
            .filter(|text| !text.is_empty())
            .collect(),
        Value::Bool(_) | Value::Null | Value::Object(_) => Vec::new(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;
    use tidings_model::UnixMillis;

    use super::*;

    /// An answer that came at 0.
    pub(crate) fn response(status: u16, body: &Value) -> Response {
        Response {
            at: UnixMillis(0),
            status,
            retry_after: None,
            body: body.to_string().into(),
        }
    }

    /// A word for what an answer says of a device.
    pub(crate) fn word(outcome: &Outcome) -> &'static str {
        match outcome {
            Outcome::Accepted { .. } => "accepted",
            Outcome::CredentialRejected { .. } => "credential",
            Outcome::PayloadRejected { .. } => "payload",
            Outcome::QuotaSpent(_) => "tomorrow",
            Outcome::Retry { .. } => "later",
            Outcome::Throttled { .. } => "again",
            Outcome::Unregistered { .. } => "dead",
        }
    }

    /// Of all, or of each.
    pub(crate) fn words(answer: &Answer) -> Vec<&'static str> {
        match answer {
            Answer::AccessRefused(_) => vec!["access"],
            Answer::All(outcome) => vec![word(outcome)],
            Answer::Each(outcomes) => outcomes.iter().map(word).collect(),
            Answer::NotSaved(_) => vec!["save"],
        }
    }

    /// Whether each code of the cases asks for what they say, as the whole answer to a request with one device.
    #[track_caller]
    pub(crate) fn check_codes(cases: &[(&[i64], &str)], answer: impl Fn(i64) -> Answer) {
        for (codes, expected) in cases {
            for code in *codes {
                assert_eq!(words(&answer(*code)), [*expected], "{code}");
            }
        }
    }

    #[test]
    fn what_is_not_known_goes_by_its_class() {
        let of = |status| {
            let response = response(status, &json!("?"));
            words(&judge("A maker", &response, 4711, None, Meaning::Payload))[0]
        };
        assert_eq!(of(200), "payload");
        assert_eq!(of(502), "later");
        assert_eq!(of(403), "access");
        assert_eq!(of(404), "credential");
        assert_eq!(of(400), "payload");
    }

    #[test]
    fn a_quota_is_used_up_until_midnight_in_china() {
        let answer = Meaning::Tomorrow.answer(Reason::known("200001"), &response(200, &json!({})));
        let Answer::All(Outcome::QuotaSpent(spent)) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(spent.until, UnixMillis(16 * 60 * 60 * 1000));
    }

    #[test]
    fn codes_and_addresses_come_in_many_forms() {
        let numbers = [json!("200"), json!(-1), json!(null)].map(|code| number(&code));
        assert_eq!(numbers, [Some(200), Some(-1), None]);
        for list in [json!("1, b,"), json!([1, "b"]), json!(["1", "b"])] {
            assert_eq!(addresses(&list), ["1", "b"], "{list}");
        }
        assert!(addresses(&json!({})).is_empty());
    }
}
