//! What Xiaomi's answers mean.
//! Xiaomi: [server error codes](https://dev.mi.com/console/doc/detail?pId=1560), and what comes with a success (pId 1559).

use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tidings_model::{Outcome, ProviderId, Reason};

use crate::batch::meaning::{
    Meaning, addresses, by_status, dead, each, judge, log_unknown, number,
};
use crate::batch::{Answer, Response};

/// It was not found or is not on line: its token stays, and at once it would fare no better.
const NOT_FOUND_NOW: i64 = 65_003;
const NOT_FOUND_AFTER: Duration = Duration::from_secs(10 * 60);

#[derive(Deserialize)]
struct Body {
    code: Value,
    #[serde(default)]
    data: Value,
}

pub(super) fn answer(provider: &'static str, response: &Response, ids: &[&str]) -> Answer {
    if !(200..300).contains(&response.status) {
        return by_status(response);
    }
    let body = serde_json::from_slice::<Body>(&response.body).ok();
    let Some((code, data)) = body.and_then(|body| Some((number(&body.code)?, body.data))) else {
        return by_status(response);
    };
    match code {
        0 => {
            let accepted = Outcome::Accepted {
                id: data["id"].as_str().and_then(ProviderId::heard),
            };
            let bad = || dead(Reason::known("bad_regids"));
            let bad: HashMap<String, Outcome> = addresses(&data["bad_regids"])
                .into_iter()
                .map(|id| (id, bad()))
                .collect();
            if !bad.is_empty() && !ids.iter().any(|id| bad.contains_key(*id)) {
                log_unknown(provider, response);
            }
            each(ids, &bad, &accepted)
        }
        NOT_FOUND_NOW => Answer::All(Outcome::Throttled {
            reason: Reason::known("65003"),
            after: Some(NOT_FOUND_AFTER),
        }),
        _ => judge(provider, response, code, means(code), class(code)),
    }
}

fn means(code: i64) -> Option<Meaning> {
    Some(match code {
        // Unknown, internal, busy, remote, database; too often, at too high a rate; the request took too long.
        -1 | 1 | 10_001 | 10_002 | 10_003 | 10_027 | 10_037 | 20_607 | 22_102 | 26_003 | 26_004
        | 65_029 | 65_030 | 200_002 => Meaning::Later,
        // The channel's quota; the app's.
        200_001 | 10_034 => Meaning::Tomorrow,
        // Every id is bad: of other apps or regions, or gone.
        20_301 | 10_029 | 66_007 => Meaning::Dead,
        // The white list of addresses; black-listed, forbidden, illegal; the secret; the app's id, key and package.
        10_022 | 10_031 | 10_033 | 10_036 | 22_000 | 21_301..=21_303 | 22_006 | 22_007 | 22_022 => {
            Meaning::Credential
        }
        // A parameter; texts that are not allowed; channel, template and audit; lengths; callbacks.
        10_008
        | 10_012
        | 10_016
        | 10_017
        | 10_041
        | 20_209
        | 20_215
        | 20_216
        | 20_315
        | 21_305
        | 26_006
        | 27_001
        | 65_006..=65_017
        | 65_028
        | 65_036..=65_038 => Meaning::Payload,
        _ => return None,
    })
}

/// What a code that is not listed asks for: Xiaomi numbers its own troubles from 10000.
fn class(code: i64) -> Meaning {
    match code {
        i64::MIN..20_000 => Meaning::Later,
        _ => Meaning::Payload,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::batch::meaning::tests::{check_codes, response, words};

    fn said(status: u16, body: &Value, ids: &[&str]) -> Answer {
        answer("Xiaomi", &response(status, body), ids)
    }

    #[test]
    fn bad_ids_come_as_texts_lists_and_numbers() {
        for bad in [json!("2,4"), json!([2, 4]), json!(["2", "4"])] {
            let data = json!({"id": "scm1", "bad_regids": bad});
            let body = json!({"result": "ok", "code": 0, "data": data});
            let said = said(200, &body, &["1", "2", "3", "4"]);
            assert_eq!(
                words(&said),
                ["accepted", "dead", "accepted", "dead"],
                "{body}"
            );
        }
    }

    #[test]
    fn a_success_in_which_every_id_is_bad_is_none() {
        let body = json!({"code": "0", "data": {"id": "scm1", "bad_regids": "1,2"}});
        assert_eq!(words(&said(200, &body, &["1", "2"])), ["dead", "dead"]);
        let body = json!({"code": 20301, "reason": "no valid targets"});
        assert_eq!(words(&said(200, &body, &["1", "2"])), ["dead"]);
    }

    #[test]
    fn every_code_asks_for_what_xiaomi_says() {
        let cases: [(&[i64], &str); 6] = [
            (
                &[
                    -1, 1, 10001, 10002, 10003, 10027, 10037, 20607, 22102, 26003, 26004, 65029,
                    65030, 200002, 10099,
                ],
                "later",
            ),
            (&[200001, 10034], "tomorrow"),
            (&[20301, 10029, 66007], "dead"),
            (
                &[
                    10022, 10031, 10033, 10036, 21301, 21302, 21303, 22000, 22006, 22007, 22022,
                ],
                "credential",
            ),
            (
                &[
                    10008, 10012, 10016, 10017, 10041, 20209, 20215, 20216, 20315, 21305, 26006,
                    27001, 65006, 65007, 65008, 65009, 65010, 65011, 65012, 65013, 65014, 65015,
                    65016, 65017, 65028, 65036, 65037, 65038, 65099,
                ],
                "payload",
            ),
            (&[65003], "again"),
        ];
        check_codes(&cases, |code| said(200, &json!({"code": code}), &["1"]));
    }

    #[test]
    fn the_status_goes_before_the_code() {
        let taken = json!({"code": 0, "data": {"id": "scm1"}});
        assert_eq!(words(&said(503, &taken, &["1"])), ["later"]);
        assert_eq!(words(&said(401, &taken, &["1"])), ["access"]);
    }
}
