//! What Honor's answers mean. It is not Huawei, though it has some of its numbers.
//! Honor: [Sending downlink messages](https://developer.honor.com/cn/docs/11002/reference/downlink-message).

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;
use tidings_model::{Outcome, Reason};

use crate::batch::meaning::{
    Meaning, addresses, by_status, dead, each, id, judge, log_unknown, number,
};
use crate::batch::{Answer, Response};

/// Taken, but for the tokens that it names. Clients have seen the second and the third, too.
const SUCCESSES: [i64; 3] = [200, 0, 80_000_000];
/// Some were taken; the answer names the others.
const PARTIAL: i64 = 80_100_000;

#[derive(Deserialize)]
struct Body {
    code: Value,
    #[serde(default)]
    data: Value,
}

pub(super) fn answer(provider: &'static str, response: &Response, tokens: &[&str]) -> Answer {
    let body = serde_json::from_slice::<Body>(&response.body).ok();
    let Some((code, data)) = body.and_then(|body| Some((number(&body.code)?, body.data))) else {
        return by_status(response);
    };
    let is_good = (200..300).contains(&response.status);
    match code {
        PARTIAL if is_good => {
            let said = said(&data);
            if said.is_empty() {
                // Some were sent, most likely nearly all, and it is not known which: another way would double those.
                log_unknown(provider, response);
            }
            each(tokens, &said, &accepted(&data))
        }
        // Honor says beside it that it sent nothing.
        code if SUCCESSES.contains(&code) && data["sendResult"] == false && is_good => {
            let said = said(&data);
            log_unknown(provider, response);
            let reason = Reason::known("sendResult");
            each(
                tokens,
                &said,
                &Outcome::Retry {
                    reason,
                    after: response.retry_after,
                },
            )
        }
        code if SUCCESSES.contains(&code) => match is_good {
            true => each(tokens, &said(&data), &accepted(&data)),
            false => by_status(response),
        },
        _ => judge(provider, response, code, means(code), Meaning::Payload),
    }
}

fn accepted(data: &Value) -> Outcome {
    Outcome::Accepted {
        id: id(&data["requestId"]),
    }
}

/// What is said of single tokens. Those that failed may do better: if they do not, they are alone in the request then, and
/// Honor says that all of it is bad.
fn said(data: &Value) -> HashMap<String, Outcome> {
    let failed = || Outcome::Throttled {
        reason: Reason::known("failTokens"),
        after: None,
    };
    let failed = addresses(&data["failTokens"])
        .into_iter()
        .map(|token| (token, failed()));
    let expired = addresses(&data["expireTokens"])
        .into_iter()
        .map(|token| (token, dead(Reason::known("expireTokens"))));
    failed.chain(expired).collect()
}

fn means(code: i64) -> Option<Meaning> {
    Some(match code {
        401 | 403 | 80_200_001 | 80_200_003 => Meaning::AccessRefused,
        // The path has the app in it; the time is missing or wrong; there is no such app.
        404 | 10_001 | 10_205 | 10_207 => Meaning::Credential,
        80_300_007 => Meaning::Dead,
        // 503 is too fast.
        429 | 500 | 502..=504 | 81_000_001 => Meaning::Later,
        // A parameter, the structure; receipt, right, test quota, picture, words; tokens that are named twice, bytes, tokens.
        400 | 10_300 | 80_100_003 | 80_200_020 | 80_200_022 | 80_200_047 | 80_200_050
        | 80_200_056 | 80_300_006 | 80_300_008 | 80_300_010 => Meaning::Payload,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::batch::meaning::tests::{check_codes, response, words};

    fn said(status: u16, body: &Value, tokens: &[&str]) -> Answer {
        answer("Honor", &response(status, body), tokens)
    }

    #[test]
    fn tokens_that_are_named_in_a_success_are_none() {
        for code in [json!(200), json!("200"), json!(80100000), json!(0)] {
            let data = json!({"requestId": "r", "failTokens": ["b"], "expireTokens": ["c"]});
            let body = json!({"code": code, "message": "Success", "data": data});
            let said = said(200, &body, &["a", "b", "c"]);
            assert_eq!(words(&said), ["accepted", "again", "dead"], "{body}");
        }
        let data = json!({"failTokens": [], "expireTokens": ["a", "b"]});
        let body = json!({"code": 200, "data": data});
        assert_eq!(words(&said(200, &body, &["a", "b"])), ["dead", "dead"]);
        let body = json!({"code": 200, "data": null});
        assert_eq!(words(&said(200, &body, &["a"])), ["accepted"]);
    }

    #[test]
    fn a_success_that_says_that_nothing_was_sent_is_none() {
        let data = json!({"sendResult": false, "requestId": 7, "expireTokens": ["b"]});
        let body = json!({"code": 200, "data": data});
        assert_eq!(words(&said(200, &body, &["a", "b"])), ["later", "dead"]);
        for side in [json!(null), json!(7), json!({"a": 1})] {
            let data = json!({"sendResult": true, "requestId": side});
            let body = json!({"code": 200, "message": side, "data": data});
            assert_eq!(words(&said(200, &body, &["a"])), ["accepted"], "{side}");
        }
    }

    #[test]
    fn every_code_asks_for_what_honor_says() {
        let cases: [(&[i64], &str); 5] = [
            (&[404, 10001, 10205, 10207], "credential"),
            (&[80300007], "dead"),
            (&[429, 500, 502, 503, 504, 81000001], "later"),
            (
                &[
                    400, 10300, 80100003, 80200020, 80200022, 80200047, 80200050, 80200056,
                    80300006, 80300008, 80300010, 4711,
                ],
                "payload",
            ),
            (&[401, 403, 80200001, 80200003], "access"),
        ];
        check_codes(&cases, |code| said(200, &json!({"code": code}), &["a"]));
    }

    #[test]
    fn a_success_with_a_bad_status_is_none() {
        let taken = json!({"code": 200, "data": {}});
        assert_eq!(words(&said(502, &taken, &["a"])), ["later"]);
    }
}
