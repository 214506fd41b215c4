//! What Meizu's answers mean: a code of the whole request, and in a success those of the ids that failed. 110010 is "too fast" of
//! a request, and "has switched messages off" of an id.
//! Meizu: [HTTP API](https://github.com/MEIZUPUSH/PushAPI).

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;
use tidings_model::{Outcome, Reason, UnixMillis};

use crate::batch::meaning::{
    Meaning, addresses, by_status, dead, each, id, judge, log_unknown, number,
};
use crate::batch::quota::end_of_day_in_china;
use crate::batch::{Answer, Response};

/// It was handled; the failures are in `value`.
const SUCCESS: i64 = 200;

#[derive(Deserialize)]
struct Body {
    code: Value,
    #[serde(default)]
    value: Value,
    #[serde(default, rename = "msgId")]
    id: Value,
}

pub(super) fn answer(provider: &'static str, response: &Response, ids: &[&str]) -> Answer {
    if !(200..300).contains(&response.status) {
        return by_status(response);
    }
    let body = serde_json::from_slice::<Body>(&response.body).ok();
    let Some((code, body)) = body.and_then(|body| Some((number(&body.code)?, body))) else {
        return by_status(response);
    };
    if code != SUCCESS {
        return judge(provider, response, code, means(code), Meaning::Payload);
    }
    let accepted = Outcome::Accepted { id: id(&body.id) };
    let mut said = HashMap::new();
    for (code, ids) in failures(&body.value) {
        let outcome = of_id(code, &accepted, response.at);
        if outcome.is_none() {
            log_unknown(provider, response);
        }
        let outcome = outcome.unwrap_or_else(|| Outcome::PayloadRejected {
            reason: reason(code),
        });
        said.extend(ids.into_iter().map(|id| (id, outcome.clone())));
    }
    each(ids, &said, &accepted)
}

fn reason(code: i64) -> Reason {
    Reason::heard(&code.to_string())
}

/// The ids that failed, by their codes: as Meizu's page has it, below `respTarget`, or the other way round, as has been seen.
fn failures(value: &Value) -> Vec<(i64, Vec<String>)> {
    let value = match &value["respTarget"] {
        Value::Null => value,
        inner => inner,
    };
    let entries = value.as_object().into_iter().flatten();
    let failure = |(name, value): (&String, &Value)| match (name.parse(), value) {
        (Ok(code), list @ (Value::Array(_) | Value::String(_))) => Some((code, addresses(list))),
        (_, code) => Some((number(code)?, vec![name.clone()])),
    };
    entries.filter_map(failure).collect()
}

fn means(code: i64) -> Option<Meaning> {
    Some(match code {
        // 300 names another host, to which no message is led by an answer.
        300 | 500 | 1001 | 1003 | 110_010 => Meaning::Later,
        1005 | 110_004 | 110_032 | 110_053 => Meaning::Payload,
        // The signature; id, key, package, secret; black-listed.
        1006 | 110_000 | 110_001 | 110_009 | 110_031 | 110_033 => Meaning::Credential,
        110_002 | 110_003 => Meaning::Dead,
        110_019 | 110_051 => Meaning::Tomorrow,
        _ => return None,
    })
}

/// What is said of one id; none when the code is not known.
fn of_id(code: i64, accepted: &Outcome, at: UnixMillis) -> Option<Outcome> {
    let reason = reason(code);
    Some(match code {
        // Too many for this phone in a minute: they are shown as one.
        520 => accepted.clone(),
        501 | 513 | 518 | 519 => Outcome::Throttled {
            reason,
            after: None,
        },
        110_002 | 110_003 => dead(reason),
        // The phone has had what it gets of public messages in a day.
        110_011 => Outcome::Throttled {
            reason,
            after: Some(end_of_day_in_china(at).since(at)),
        },
        // No right; no such alias; the user has switched messages off: the token stays.
        201 | 110_005 | 110_010 => Outcome::PayloadRejected { reason },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::batch::meaning::tests::{check_codes, response, words};

    fn said(status: u16, body: &Value, ids: &[&str]) -> Answer {
        answer("Meizu", &response(status, body), ids)
    }

    fn success(value: &Value) -> Value {
        json!({"code": "200", "message": "", "value": value, "redirect": "", "msgId": "NS1"})
    }

    #[test]
    fn failures_are_told_in_many_forms() {
        for value in [
            json!({"110002": ["2"], "501": ["3", "4"]}),
            json!({"110002": "2", "501": "3,4"}),
            json!({"110002": [2], "501": [3, 4]}),
            json!({"respTarget": {"110002": ["2"], "501": ["3", "4"]}}),
            json!({"2": 110002, "3": 501, "4": 501}),
        ] {
            let said = said(200, &success(&value), &["1", "2", "3", "4"]);
            assert_eq!(
                words(&said),
                ["accepted", "dead", "again", "again"],
                "{value}"
            );
        }
        assert_eq!(
            words(&said(200, &success(&json!({})), &["1"])),
            ["accepted"]
        );
        assert_eq!(
            words(&said(200, &success(&json!("")), &["1"])),
            ["accepted"]
        );
    }

    #[test]
    fn only_the_code_decides_whether_an_answer_can_be_read() {
        for side in [json!(null), json!(7), json!({"a": 1}), json!([])] {
            let body = json!({"code": "200", "message": side, "value": null, "redirect": side, "msgId": side});
            assert_eq!(words(&said(200, &body, &["1"])), ["accepted"], "{side}");
            let body = json!({"code": 1006, "message": side, "msgId": side});
            assert_eq!(words(&said(200, &body, &["1"])), ["credential"], "{side}");
        }
    }

    #[test]
    fn a_success_in_which_every_id_failed_is_none() {
        let said = said(200, &success(&json!({"110003": ["1", "2"]})), &["1", "2"]);
        assert_eq!(words(&said), ["dead", "dead"]);
    }

    #[test]
    fn one_number_means_two_things() {
        let whole = said(200, &json!({"code": "110010", "value": {}}), &["1", "2"]);
        assert_eq!(words(&whole), ["later"], "too fast");
        let of_one = said(200, &success(&json!({"110010": ["1"]})), &["1", "2"]);
        assert_eq!(words(&of_one), ["payload", "accepted"], "switched off");
    }

    #[test]
    fn every_code_asks_for_what_meizu_says() {
        let of_requests: [(&[i64], &str); 5] = [
            (&[300, 500, 1001, 1003, 110010], "later"),
            (&[1005, 110004, 110032, 110053, 4711], "payload"),
            (
                &[1006, 110000, 110001, 110009, 110031, 110033],
                "credential",
            ),
            (&[110002, 110003], "dead"),
            (&[110019, 110051], "tomorrow"),
        ];
        check_codes(&of_requests, |code| {
            said(200, &json!({"code": code.to_string()}), &["x"])
        });
        let of_ids: [(&[i64], &str); 4] = [
            (&[520], "accepted"),
            (&[501, 513, 518, 519, 110011], "again"),
            (&[110002, 110003], "dead"),
            (&[201, 110005, 110010, 4711], "payload"),
        ];
        check_codes(&of_ids, |code| {
            said(200, &success(&json!({code.to_string(): ["x"]})), &["x"])
        });
    }

    #[test]
    fn the_status_goes_before_the_code() {
        assert_eq!(words(&said(500, &success(&json!({})), &["1"])), ["later"]);
    }
}
