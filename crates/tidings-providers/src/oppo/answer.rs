//! What OPPO's answers mean: HTTP's status first, then `code`, and beneath a 0 the phones that it does not reach.

use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tidings_model::{Outcome, ProviderId, Reason, Spent};

use crate::batch::meaning::{self, Meaning, addresses, by_status, each, judge, number};
use crate::batch::quota::end_of_day_in_china;
use crate::batch::{Access, Answer, Response, Unsaved};

/// The saved message does not exist.
const NO_SUCH_DATA: i64 = 31;
/// It has this message for this phone already.
const DUPLICATE: i64 = 32;
/// No more messages are saved today.
const TOO_MANY_SAVED: i64 = 42;
/// What OPPO says of every token: a day.
const TOKEN_LIVES: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Deserialize)]
struct Body {
    code: Value,
    #[serde(default)]
    data: Value,
}

impl Body {
    fn of(response: &Response) -> Option<(i64, Value)> {
        if !(200..500).contains(&response.status) {
            return None;
        }
        let body: Self = serde_json::from_slice(&response.body).ok()?;
        Some((number(&body.code)?, body.data))
    }
}

/// What is said of one phone, or of all.
fn outcome(code: i64, id: Option<ProviderId>, response: &Response) -> Answer {
    match code {
        0 | DUPLICATE => Answer::All(Outcome::Accepted { id }),
        NO_SUCH_DATA => Answer::NotSaved(Reason::known("31")),
        _ => judge("OPPO", response, code, means(code), Meaning::Payload),
    }
}

pub(super) fn answer(response: &Response, tokens: &[&str]) -> Answer {
    let Some((code, data)) = Body::of(response) else {
        return by_status(response);
    };
    if code != 0 {
        return outcome(code, None, response);
    }
    let accepted = Outcome::Accepted {
        id: ["messageId", "task_id", "message_id"]
            .iter()
            .find_map(|name| data[name].as_str().and_then(ProviderId::heard)),
    };
    let mut said = HashMap::new();
    // An answer to copies has an entry for each: whoever has none is not known to have been taken.
    let otherwise = match &data {
        Value::Array(_) => Outcome::Retry {
            reason: Reason::known("NoEntry"),
            after: response.retry_after,
        },
        _ => accepted,
    };
    match &data {
        // Of copies, each by itself.
        Value::Array(entries) => {
            for entry in entries {
                let code = number(&entry["errorCode"]).unwrap_or(0);
                let id = entry["messageId"].as_str().and_then(ProviderId::heard);
                let of_one = of_phone(code, id, response);
                let names = addresses(&entry["registrationId"]);
                said.extend(names.into_iter().map(|name| (name, of_one.clone())));
            }
        }
        // Of a broadcast, lists of those that it does not reach, by code.
        Value::Object(lists) => {
            for (code, list) in lists {
                let Ok(code) = code.parse() else { continue };
                let of_these = of_phone(code, None, response);
                let names = addresses(list);
                said.extend(names.into_iter().map(|name| (name, of_these.clone())));
            }
        }
        _ => {}
    }
    each(tokens, &said, &otherwise)
}

fn of_phone(code: i64, id: Option<ProviderId>, response: &Response) -> Outcome {
    match outcome(code, id, response) {
        Answer::All(outcome) => outcome,
        // What is about the request is not said of a phone.
        Answer::AccessRefused(reason) | Answer::NotSaved(reason) => Outcome::Retry {
            reason,
            after: response.retry_after,
        },
        Answer::Each(_) => Outcome::Accepted { id: None },
    }
}

fn means(code: i64) -> Option<Meaning> {
    Some(match code {
        // Unavailable; flow control; too many calls, too often; what is saved, of which a copy says nothing; a server's status.
        -1 | -2 | 13 | 55 | TOO_MANY_SAVED | 500..=599 => Meaning::Later,
        // Wrong or too old; missing.
        11 | 29 => Meaning::AccessRefused,
        // App key, signature, time; the address's black list; rights; the app is disabled; a restriction.
        14..=19 | 26 | 27 | 28 | 30 | 69 => Meaning::Credential,
        // Messages of the day.
        33 => Meaning::Tomorrow,
        // It is malformed, unknown, or another app's.
        10_000 => Meaning::Dead,
        // Method, version, encoding; pictures; arguments; template; second link; category; switched off on the phone; aliases.
        12 | 20..=25 | 34 | 40 | 41 | 51 | 54 | 59 | 67 | 10_001..=10_003 => Meaning::Payload,
        _ => return None,
    })
}

/// What the answer to `save_message_content` says.
pub(super) fn saved(response: &Response) -> Result<String, Unsaved> {
    let found = Body::of(response);
    if let Some((0, data)) = &found {
        let id = addresses(&data["message_id"]);
        if let [id] = &id[..] {
            return Ok(id.clone());
        }
    }
    if let Some((TOO_MANY_SAVED, _)) = found {
        let until = end_of_day_in_china(response.at);
        return Err(Unsaved::Spent(Spent::until(Reason::known("42"), until)));
    }
    Err(meaning::unsaved(answer(response, &[]), "NoMessageId"))
}

/// What the answer to `auth` says.
pub(super) fn access(response: &Response) -> Result<Access, Outcome> {
    let found = Body::of(response);
    let found = found
        .as_ref()
        .map(|(code, data)| (*code, data["auth_token"].as_str().unwrap_or_default()));
    meaning::access(response, found, TOKEN_LIVES, means)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidings_model::UnixMillis;

    use super::*;

    fn response(status: u16, body: &Value) -> Response {
        Response {
            at: UnixMillis(1_800_000_000_000),
            status,
            retry_after: None,
            body: body.to_string().into(),
        }
    }

    fn said(body: &Value, tokens: &[&str]) -> Answer {
        answer(&response(200, body), tokens)
    }

    fn kind(outcome: &Outcome) -> &'static str {
        match outcome {
            Outcome::Accepted { .. } => "accepted",
            Outcome::CredentialRejected { .. } => "credential",
            Outcome::PayloadRejected { .. } => "payload",
            Outcome::QuotaSpent(_) => "quota",
            Outcome::Retry { .. } => "later",
            Outcome::Throttled { .. } => "throttled",
            Outcome::Unregistered { .. } => "dead",
        }
    }

    #[test]
    fn every_code_asks_for_what_oppo_says() {
        let cases: [(&[i64], &str); 8] = [
            (&[-1, -2, 13, 42, 55, 500, 599], "later"),
            (&[11, 29], "access"),
            (&[14, 15, 16, 17, 18, 19, 26, 27, 28, 30, 69], "credential"),
            (&[33], "quota"),
            (&[31], "not saved"),
            (&[0, 32], "accepted"),
            (&[10000], "dead"),
            (
                &[
                    12, 20, 21, 22, 23, 24, 25, 34, 40, 41, 51, 54, 59, 67, 10001, 10002, 10003,
                    10777, 4711,
                ],
                "payload",
            ),
        ];
        for (codes, expected) in cases {
            for code in codes {
                for code in [json!(code), json!(code.to_string())] {
                    let found = match said(&json!({"code": code, "data": {}}), &["a"]) {
                        Answer::AccessRefused(_) => "access",
                        Answer::NotSaved(_) => "not saved",
                        Answer::All(outcome) => kind(&outcome),
                        Answer::Each(_) => "each",
                    };
                    assert_eq!(found, expected, "{code}");
                }
            }
        }
    }

    fn kinds(answer: Answer) -> Vec<&'static str> {
        let Answer::Each(each) = answer else {
            panic!("{answer:?}");
        };
        each.iter().map(kind).collect()
    }

    #[test]
    fn a_success_names_those_that_it_does_not_reach() {
        let body = json!({"code": 0, "data": [
            {"messageId": "m1", "registrationId": "a"},
            {"registrationId": "b", "errorCode": 10000, "errorMessage": "x"},
            {"registrationId": "c", "errorCode": "32"},
            {"registrationId": "d", "errorCode": 33},
            {"registrationId": 7, "errorCode": 10001},
        ]});
        assert_eq!(
            kinds(said(&body, &["a", "b", "c", "d", "7"])),
            ["accepted", "dead", "accepted", "quota", "payload"]
        );
        let body = json!({"code": 0, "data": {"message_id": "m", "task_id": "t", "10000": ["b", "c"], "10001": "d"}});
        assert_eq!(
            kinds(said(&body, &["a", "b", "c", "d"])),
            ["accepted", "dead", "dead", "payload"]
        );
        // Every one of them refused inside a success is no success.
        let body = json!({"code": 0, "data": {"10000": ["a", "b"]}});
        assert_eq!(kinds(said(&body, &["a", "b"])), ["dead", "dead"]);
    }

    #[test]
    fn of_copies_whoever_has_no_entry_was_not_taken() {
        let body = json!({"code": 0, "data": [{"messageId": "m1", "registrationId": "a"}, {"messageId": "m2"}]});
        assert_eq!(kinds(said(&body, &["a", "b"])), ["accepted", "later"]);
        let none = json!({"code": 0, "data": []});
        let none = said(&none, &["a", "b"]);
        assert!(
            matches!(&none, Answer::All(of) if kind(of) == "later"),
            "{none:?}"
        );
    }

    #[test]
    fn the_status_goes_before_the_code() {
        let failed = answer(&response(502, &json!({"code": 0})), &["a"]);
        assert!(matches!(failed, Answer::All(Outcome::Retry { .. })));
        let empty = answer(&response(200, &Value::Null), &["a"]);
        assert!(matches!(empty, Answer::All(Outcome::Retry { .. })));
    }

    #[test]
    fn a_message_is_saved_or_it_is_told_why_not() {
        let saved = |body: Value| saved(&response(200, &body));
        let taken = json!({"code": 0, "data": {"message_id": "m1"}});
        assert_eq!(saved(taken), Ok("m1".into()));
        let spent = saved(json!({"code": 42}));
        assert!(matches!(spent, Err(Unsaved::Spent(_))), "{spent:?}");
        let refused = saved(json!({"code": 11}));
        assert!(matches!(refused, Err(Unsaved::AccessRefused(_))));
        for (body, expected) in [
            (json!({"code": 41}), "payload"),
            (json!({"code": 33}), "quota"),
            (json!({"code": -2}), "later"),
            (json!({"code": 0, "data": {}}), "later"),
        ] {
            let Err(Unsaved::All(outcome)) = saved(body.clone()) else {
                panic!("{body}");
            };
            assert_eq!(kind(&outcome), expected, "{body}");
        }
    }

    #[test]
    fn a_token_is_given_or_it_is_told_why_not() {
        let body = json!({"code": 0, "data": {"auth_token": "abc", "create_time": 1}});
        let given = access(&response(200, &body));
        assert_eq!(given.expect("a token").token, "abc");
        for (body, expected) in [
            (json!({"code": 16}), "credential"),
            (json!({"code": 19}), "credential"),
            (json!({"code": 55}), "later"),
            (json!({"code": 0}), "later"),
        ] {
            let outcome = access(&response(200, &body)).expect_err("refused");
            assert_eq!(kind(&outcome), expected, "{body}");
        }
    }
}
