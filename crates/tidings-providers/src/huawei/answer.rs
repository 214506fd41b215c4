//! What Huawei's answers mean, those of v1 and v3: they have one list of codes.
//! Huawei: [Response codes](https://developer.huawei.com/consumer/en/doc/HMSCore-References/https-send-api-0000001050986197).

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;
use tidings_model::{Outcome, Reason};

use crate::batch::meaning::{
    Meaning, addresses, by_status, dead, each, id, judge, log_unknown, number,
};
use crate::batch::{Answer, Response};

/// All tokens were taken.
const SUCCESS: i64 = 80_000_000;
/// Some were; the message names the others.
const PARTIAL: i64 = 80_100_000;
/// All are wrong: by themselves, or since they are another app's.
const ALL_TOKENS_INVALID: i64 = 80_300_007;

#[derive(Deserialize)]
struct Body {
    code: Value,
    #[serde(default)]
    msg: Value,
    #[serde(default, rename = "requestId")]
    request_id: Value,
}

/// `msg` of a partial success: JSON inside a text, in the form of v1 or of v3; an object has been seen, too.
struct Partial(Value);

impl Partial {
    fn of(msg: &Value) -> Self {
        let inner = msg
            .as_str()
            .and_then(|text| serde_json::from_str(text).ok());
        Self(inner.unwrap_or_else(|| msg.clone()))
    }

    /// Whether it counts none that was taken.
    fn took_none(&self) -> bool {
        let failed = number(&self.0["failure"]).unwrap_or(0);
        number(&self.0["success"]) == Some(0) && failed > 0
    }

    /// What is said of each token that it names; `of_reason` knows v3's reasons.
    fn said(
        &self,
        code: &Reason,
        of_reason: fn(&str) -> Option<Outcome>,
    ) -> HashMap<String, Outcome> {
        let mut said = HashMap::new();
        for token in addresses(&self.0["illegal_tokens"]) {
            said.insert(token, dead(code.clone()));
        }
        for (reason, tokens) in self.0["illegalTokens"].as_object().into_iter().flatten() {
            // Stray blanks have been seen.
            let reason = reason.trim();
            let outcome = of_reason(reason).unwrap_or_else(|| dead(Reason::heard(reason)));
            let tokens = addresses(tokens).into_iter();
            said.extend(tokens.map(|token| (token, outcome.clone())));
        }
        said
    }
}

pub(crate) fn answer(
    provider: &'static str,
    response: &Response,
    tokens: &[&str],
    of_reason: fn(&str) -> Option<Outcome>,
) -> Answer {
    // A proxy's or a front end's answer has no code, and some of the codes come with 4xx.
    let Ok(body) = serde_json::from_slice::<Body>(&response.body) else {
        return by_status(response);
    };
    let Some(code) = number(&body.code) else {
        return by_status(response);
    };
    let accepted = Outcome::Accepted {
        id: id(&body.request_id),
    };
    let reason = Reason::heard(&code.to_string());
    let partial = Partial::of(&body.msg);
    let said = || partial.said(&reason, of_reason);
    match code {
        SUCCESS if (200..300).contains(&response.status) => Answer::All(accepted),
        // None was sent, and whoever is not named may do better.
        PARTIAL if partial.took_none() => {
            let (reason, after) = (reason.clone(), response.retry_after);
            each(tokens, &said(), &Outcome::Retry { reason, after })
        }
        PARTIAL => {
            let said = said();
            if said.is_empty() {
                // Some were sent, most likely nearly all, and it is not known which: another way would double those.
                log_unknown(provider, response);
            }
            each(tokens, &said, &accepted)
        }
        // v3 says why, which need not be the tokens' fault.
        ALL_TOKENS_INVALID => each(tokens, &said(), &dead(reason.clone())),
        _ => judge(provider, response, code, means(code), Meaning::Payload),
    }
}

fn means(code: i64) -> Option<Meaning> {
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
