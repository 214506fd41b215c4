//! What vivo's answers mean: HTTP's status first, then `result`, and beside a 0 the phones that it does not reach.

use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tidings_model::{Outcome, Reason, Spent};

use crate::batch::meaning::{self, Meaning, by_status, each, judge, number};
use crate::batch::quota::{end_of_day_in_china, next_hour_in_china};
use crate::batch::{Access, Answer, Response, Unsaved};

/// The phone's address is unknown, or its app is gone.
const DEAD: i64 = 10_302;
/// The phone shows no notifications, or has not been used for long.
const NOT_NOW: i64 = 10_311;
/// Messages that are not a system's are not taken at this time of day.
const OUTSIDE_HOURS: i64 = 10_071;
/// They are from this hour on.
const OPENS_AT: u8 = 7;
/// No more messages are saved today.
const TOO_MANY_SAVED: i64 = 10_252;
/// vivo advises to renew a token every one to two hours, though it is good for a day.
const TOKEN_LIVES: Duration = Duration::from_secs(2 * 60 * 60);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    result: Value,
    #[serde(default)]
    task_id: Value,
    /// Either name has been seen in the answer to either call.
    #[serde(default)]
    invalid_user: Value,
    #[serde(default)]
    invalid_users: Value,
    #[serde(default)]
    auth_token: Value,
}

impl Body {
    fn of(response: &Response) -> Option<(i64, Self)> {
        if !(200..500).contains(&response.status) {
            return None;
        }
        let body: Self = serde_json::from_slice(&response.body).ok()?;
        Some((number(&body.result)?, body))
    }

    /// Addresses that it does not reach, each with its status.
    fn invalid(&self) -> HashMap<String, i64> {
        let list = |value: &Value| match value {
            Value::Array(list) => list.clone(),
            Value::Object(_) => vec![value.clone()],
            _ => Vec::new(),
        };
        let users = [list(&self.invalid_user), list(&self.invalid_users)];
        let users = users.iter().flatten();
        users
            .filter_map(|user| {
                let id = match &user["userid"] {
                    Value::String(id) => id.clone(),
                    Value::Number(id) => id.to_string(),
                    _ => return None,
                };
                Some((id, number(&user["status"]).unwrap_or(0)))
            })
            .collect()
    }
}

/// What a status of a phone means.
fn of_phone(status: i64) -> Outcome {
    let reason = Reason::heard(&format!("invalidUser{status}"));
    match status {
        // Unknown to this app: it may be another's.
        1 => dead(reason, false),
        // Its app is gone, or it has ended its subscription, or its data was cleared.
        2 => dead(reason, true),
        // 3: not used for long; 4: no test device. It is not its address that is wrong.
        _ => Outcome::PayloadRejected { reason },
    }
}

fn dead(reason: Reason, certain: bool) -> Outcome {
    Outcome::Unregistered {
        certain,
        reason,
        since: None,
    }
}

pub(super) fn answer(response: &Response, tokens: &[&str]) -> Answer {
    let Some((result, body)) = Body::of(response) else {
        return by_status(response);
    };
    let reason = || Reason::heard(&result.to_string());
    match result {
        0 => {
            let accepted = Outcome::Accepted {
                id: meaning::id(&body.task_id),
            };
            let said = body.invalid().into_iter();
            let said = said.map(|(id, status)| (id, of_phone(status))).collect();
            each(tokens, &said, &accepted)
        }
        DEAD => {
            let is_gone = body.invalid().values().any(|status| *status == 2);
            Answer::All(dead(reason(), is_gone))
        }
        NOT_NOW => Answer::All(Outcome::PayloadRejected { reason: reason() }),
        OUTSIDE_HOURS => {
            let until = next_hour_in_china(response.at, OPENS_AT);
            Answer::All(Outcome::QuotaSpent(Spent::until(reason(), until)))
        }
        10_151 | 10_152 | 10_155 => Answer::NotSaved(reason()),
        _ => judge("vivo", response, result, means(result), Meaning::Payload),
    }
}

fn means(result: i64) -> Option<Meaning> {
    Some(match result {
        // Missing, wrong or too old; of another app.
        10_000 | 10_094 => Meaning::AccessRefused,
        // A limit of resources; too fast; what is saved, of which a list says nothing.
        10_040 | 10_072 | TOO_MANY_SAVED => Meaning::Later,
        // Pushes are switched off; the app is still being reviewed; the app's id, key, signature and time.
        10_043 | 10_045 | 10_200..=10_207 => Meaning::Credential,
        // Operation messages; system messages; messages to everyone.
        10_070 | 10_073 | 10_254 => Meaning::Tomorrow,
        10_050..=10_067
        | 10_082
        | 10_085
        | 10_089
        | 10_095..=10_097
        | 10_103
        | 10_104
        | 10_150
        | 10_153
        | 10_303..=10_306
        | 10_352
        | 10_353
        | 10_800
        | 10_801 => Meaning::Payload,
        _ => return None,
    })
}

/// What the answer to `saveListPayload` says.
pub(super) fn saved(response: &Response) -> Result<String, Unsaved> {
    let found = Body::of(response);
    if let Some((0, body)) = &found {
        let id = match &body.task_id {
            Value::String(id) => id.clone(),
            Value::Number(id) => id.to_string(),
            _ => String::new(),
        };
        if !id.is_empty() {
            return Ok(id);
        }
    }
    if let Some((TOO_MANY_SAVED, _)) = found {
        let reason = Reason::known("10252");
        let until = end_of_day_in_china(response.at);
        return Err(Unsaved::Spent(Spent::until(reason, until)));
    }
    Err(meaning::unsaved(answer(response, &[]), "NoTaskId"))
}

/// What the answer to `auth` says.
pub(super) fn access(response: &Response) -> Result<Access, Outcome> {
    let found = Body::of(response);
    let found = found
        .as_ref()
        .map(|(result, body)| (*result, body.auth_token.as_str().unwrap_or_default()));
    meaning::access(response, found, TOKEN_LIVES, means)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidings_model::UnixMillis;

    use super::*;

    /// 2027-01-15, 16:00 in China.
    const AFTERNOON: UnixMillis = UnixMillis(1_800_000_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    fn response(status: u16, body: &Value) -> Response {
        Response {
            at: AFTERNOON,
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
            Outcome::Unregistered { certain: false, .. } => "dead?",
            Outcome::Unregistered { certain: true, .. } => "dead",
        }
    }

    #[test]
    fn only_the_code_decides_whether_an_answer_can_be_read() {
        for side in [json!(null), json!(7), json!({"a": 1}), json!([])] {
            let body = json!({"result": 0, "desc": side, "taskId": side, "authToken": side});
            let said = said(&body, &["a"]);
            assert!(
                matches!(&said, Answer::All(of) if kind(of) == "accepted"),
                "{side}: {said:?}"
            );
        }
    }

    #[test]
    fn every_code_asks_for_what_vivo_says() {
        let cases: [(&[i64], &str); 8] = [
            (&[10000, 10094], "access"),
            (&[10040, 10072, 10252], "later"),
            (
                &[
                    10043, 10045, 10200, 10201, 10202, 10203, 10204, 10205, 10206, 10207,
                ],
                "credential",
            ),
            (&[10070, 10071, 10073, 10254], "quota"),
            (
                &[
                    10050, 10051, 10054, 10055, 10056, 10057, 10058, 10059, 10060, 10061, 10062,
                    10063, 10064, 10065, 10066, 10067, 10082, 10085, 10089, 10095, 10096, 10097,
                    10103, 10104, 10150, 10153, 10303, 10304, 10305, 10306, 10311, 10352, 10353,
                    10800, 10801, 4711,
                ],
                "payload",
            ),
            (&[10151, 10152, 10155], "not saved"),
            (&[10302], "dead?"),
            (&[0], "accepted"),
        ];
        for (codes, expected) in cases {
            for code in codes {
                for result in [json!(code), json!(code.to_string())] {
                    let found = match said(&json!({"result": result, "desc": "x"}), &["a"]) {
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

    #[test]
    fn a_quota_ends_at_midnight_and_closed_hours_at_seven() {
        for (code, hours) in [(10070, 8), (10073, 8), (10071, 15)] {
            let Answer::All(Outcome::QuotaSpent(spent)) = said(&json!({"result": code}), &["a"])
            else {
                panic!("{code}");
            };
            assert_eq!(spent.until, AFTERNOON.plus(HOUR * hours), "{code}");
        }
    }

    #[test]
    fn a_success_names_those_that_it_does_not_reach() {
        for (name, numbers) in [("invalidUsers", true), ("invalidUser", false)] {
            let users = json!([
                {"status": 1, "userid": "a"}, {"status": 2, "userid": "b"}, {"status": "3", "userid": "c"},
                {"status": 4, "userid": "d"}, {"status": 2, "userid": if numbers { json!(7) } else { json!("7") }},
            ]);
            let body = json!({"result": 0, "taskId": "t", name: users});
            let Answer::Each(each) = said(&body, &["a", "b", "c", "d", "e", "7"]) else {
                panic!("{body}");
            };
            let kinds: Vec<_> = each.iter().map(kind).collect();
            let expected = ["dead?", "dead", "payload", "payload", "accepted", "dead"];
            assert_eq!(kinds, expected);
        }
        let body = json!({"result": 10302, "invalidUser": {"status": 2, "userid": "a"}});
        let Answer::All(outcome) = said(&body, &["a"]) else {
            panic!("{body}");
        };
        assert_eq!(kind(&outcome), "dead");
    }

    #[test]
    fn the_status_goes_before_the_code() {
        let body = json!({"result": 0});
        let failed = answer(&response(500, &body), &["a"]);
        assert!(matches!(failed, Answer::All(Outcome::Retry { .. })));
        let empty = answer(&response(200, &Value::Null), &["a"]);
        assert!(matches!(empty, Answer::All(Outcome::Retry { .. })));
    }

    #[test]
    fn a_message_is_saved_or_it_is_told_why_not() {
        let saved = |body: Value| saved(&response(200, &body));
        assert_eq!(saved(json!({"result": 0, "taskId": "t1"})), Ok("t1".into()));
        assert_eq!(saved(json!({"result": 0, "taskId": 12})), Ok("12".into()));
        let spent = saved(json!({"result": 10252}));
        let Err(Unsaved::Spent(spent)) = spent else {
            panic!("{spent:?}");
        };
        assert_eq!(spent.until, AFTERNOON.plus(HOUR * 8));
        assert!(matches!(
            saved(json!({"result": 10000})),
            Err(Unsaved::AccessRefused(_))
        ));
        for (body, expected) in [
            (json!({"result": 10056}), "payload"),
            (json!({"result": 10070}), "quota"),
            (json!({"result": 10040}), "later"),
            (json!({"result": 0}), "later"),
        ] {
            let Err(Unsaved::All(outcome)) = saved(body.clone()) else {
                panic!("{body}");
            };
            assert_eq!(kind(&outcome), expected, "{body}");
        }
    }

    #[test]
    fn a_token_is_given_or_it_is_told_why_not() {
        let given = access(&response(200, &json!({"result": 0, "authToken": "abc"})));
        assert_eq!(given.expect("a token").token, "abc");
        for (body, expected) in [
            (json!({"result": 10206}), "credential"),
            (json!({"result": 10207}), "credential"),
            (json!({"result": 10072}), "later"),
            (json!({"result": 0}), "later"),
            (json!({"result": 4711}), "later"),
        ] {
            let outcome = access(&response(200, &body)).expect_err("refused");
            assert_eq!(kind(&outcome), expected, "{body}");
        }
        let outcome = access(&response(502, &Value::Null)).expect_err("refused");
        assert_eq!(kind(&outcome), "later");
    }
}
