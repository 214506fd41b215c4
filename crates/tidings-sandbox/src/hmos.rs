//! Huawei's Push Kit for HarmonyOS 5 and later: API v3 ("Scenario-based push" in the harmonyos-references). Its codes
//! are those of v1 and v2, its body and authentication are not.

mod message;

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::batch::{Batch, Sorted, Unreached, new_id, record};
use crate::credentials::Credentials;
use crate::device_token::DeviceToken;
use crate::fields::raw;
use crate::hmos::message::PushType;
use crate::huawei::code::Code;
use crate::huawei::{self, Refusal};
use crate::makers::bare;
use crate::provider::Provider;
use crate::receipts::Receipts;
use crate::service_account::{BadJwt, PROJECT_ID, ServiceAccount};
use crate::simulator::{Calls, Incoming, Simulator, Verdict};
use crate::state::State;

const ME: Provider = Provider::Hmos;

/// Tokens of one request (80300010), and of a test message (80300030).
const TOKENS_MAX: usize = 1_000;
const TEST_TOKENS_MAX: usize = 10;

/// Bytes of a request without its tokens (80300008).
const MESSAGE_MAX: usize = 4_096;

/// What v3 says of single tokens.
const REASONS: [&str; 10] = [
    TOKEN_FORMAT_ERROR,
    NO_RIGHT,
    "appinfoError",
    "atomicUnableSendUnsubscribedMsg",
    "countryNotSupport",
    "differentImgVerifyPolicy",
    "disableSendHuaweiMsgBecauseOfPenalty",
    "noPushTypeRight",
    "notSupportPlayVoice",
    "tokenPlatformNotSupport",
];
const TOKEN_FORMAT_ERROR: &str = "tokenFormatError";
const NO_RIGHT: &str = "noRight";

pub(crate) const SIMULATOR: Simulator = Simulator {
    token: DeviceToken::of_text,
    calls: Some(Calls {
        gives_tokens: false,
        owns: |path| project_in(path).is_some(),
        judge,
    }),
    status_of: |reason| {
        let of_token = REASONS.contains(&reason).then_some(StatusCode::OK);
        of_token.or_else(|| Code::of(reason).map(Code::status))
    },
    reason_for: |_| None,
    is_of_token: |reason| {
        REASONS.contains(&reason) || Code::of(reason).is_some_and(Code::is_of_token)
    },
    too_fast: None,
    spent: None,
    receipts: Some(RECEIPTS),
    fault_status_min: 200,
    client: None,
    credentials,
};

const RECEIPTS: Receipts = Receipts {
    named: |_| None,
    param: |message| message["pushOptions"]["biTag"].as_str(),
    body: huawei::receipt,
    of_single_phones: false,
};

fn credentials(_: &Credentials, url: &str) -> Value {
    json!({
        "project_id": PROJECT_ID,
        "service_account": ServiceAccount::file(),
        "endpoint": url,
    })
}

/// The project of a sending path, `/v3/{project id}/messages:send`.
fn project_in(path: &str) -> Option<&str> {
    path.strip_prefix("/v3/")?
        .strip_suffix("/messages:send")
        .filter(|project| !project.is_empty() && !project.contains('/'))
}

fn judge(state: &State, incoming: &Incoming<'_>) -> Verdict {
    if incoming.head.method != Method::POST {
        return bare(StatusCode::METHOD_NOT_ALLOWED).into();
    }
    let request = Request::read(incoming.body);
    let tokens = request.as_ref().map_or(&[][..], |request| &request.tokens);
    let batch = Batch::new(ME, tokens.iter().map(String::as_str));
    let mut trouble = batch.trouble(state);
    Verdict::under(trouble.whole.take(), huawei::refusal, || {
        let sent = || {
            authorized(state, incoming)?;
            let push_type = PushType::of(incoming.header("push-type"))?;
            let request = request.as_ref().map_err(Clone::clone)?;
            request.check(push_type)?;
            let sorted = batch.sort(state, &trouble, PROJECT_ID);
            Ok(deliver(state, incoming, &request.seen(push_type), sorted))
        };
        sent().unwrap_or_else(Refusal::answer)
    })
}

/// Judges the JWT and the project that the path names.
fn authorized(state: &State, incoming: &Incoming<'_>) -> Result<(), Refusal> {
    let text = incoming
        .bearer()
        .ok_or_else(|| Code::AuthError.refusal("Authorization must be Bearer and a JWT"))?;
    if !ServiceAccount::is_jwt(text) {
        return Err(Code::AuthError.refusal("v3 takes a JWT of a service account, no access token"));
    }
    let checked = state.service_account.check(text, incoming.now_ms);
    checked.map_err(refused_jwt)?;
    if project_in(incoming.path()) != Some(PROJECT_ID) {
        return Err(Code::AuthError.refusal("the JWT is of another project than the path names"));
    }
    Ok(())
}

pub(crate) fn refused_jwt(bad: BadJwt) -> Refusal {
    match bad {
        BadJwt::Expired => Code::JwtExpired.refusal("the JWT has expired"),
        BadJwt::LivesTooLong => Code::JwtTooLong.refusal("the JWT lives longer than a day"),
        BadJwt::Unknown => Code::AuthError
            .refusal("the JWT's form, alg PS256, kid, iss, aud, iat or signature is wrong"),
    }
}

/// A sending request taken apart.
struct Request {
    /// All but the tokens.
    message: Value,
    tokens: Vec<String>,
    /// Its bytes without the tokens.
    size: usize,
}

impl Request {
    fn read(body: &[u8]) -> Result<Self, Refusal> {
        let mut fields: Map<String, Value> = serde_json::from_slice(body)
            .map_err(|_| Code::BadStructure.refusal("the body is no JSON object"))?;
        let tokens = match fields
            .get_mut("target")
            .and_then(|target| target.get_mut("token"))
        {
            None | Some(Value::Null) => Vec::new(),
            Some(tokens) => serde_json::from_value(tokens.take()).map_err(|_| {
                Code::BadParameter.refusal("target.token must be an array of strings")
            })?,
        };
        let target = raw(body, "target").unwrap_or_default();
        fields.remove("target");
        Ok(Self {
            message: Value::Object(fields),
            tokens,
            size: body.len() - raw(target.as_bytes(), "token").map_or(0, str::len),
        })
    }

    /// The message as a phone gets it: with its scenario, which came in a header.
    fn seen(&self, push_type: PushType) -> Value {
        let mut message = self.message.clone();
        message["pushType"] = json!(push_type.number());
        message
    }

    fn check(&self, push_type: PushType) -> Result<(), Refusal> {
        if self.size > MESSAGE_MAX {
            let message = format!("{} bytes without tokens; {MESSAGE_MAX} at most", self.size);
            return Err(Code::TooLarge.refusal(message));
        }
        let tokens_max = match push_type {
            PushType::FormUpdate => 1,
            _ => TOKENS_MAX,
        };
        let count = self.tokens.len();
        if !(1..=tokens_max).contains(&count) {
            return Err(Code::TokenCount.refusal(format!("{count} tokens; 1 to {tokens_max}")));
        }
        let is_test = self.message["pushOptions"]["testMessage"] == json!(true);
        if is_test && count > TEST_TOKENS_MAX {
            let message = format!("{count} tokens of a test message; {TEST_TOKENS_MAX} at most");
            return Err(Code::TestTokens.refusal(message));
        }
        message::check(&self.message, push_type)
    }
}

/// Records the message for the phones that it reaches, twice for one that is named twice, and answers for all.
fn deliver(state: &State, incoming: &Incoming<'_>, message: &Value, sorted: Sorted<'_>) -> Answer {
    let id = new_id();
    let success = sorted.reached.len();
    record(state, ME, incoming, sorted.reached, &id, message);
    let failure = sorted.unreached.len();
    if failure == 0 {
        let code = Code::Success;
        return huawei::answer_with(code.status(), code.digits(), code.meaning(), id);
    }
    let mut illegal: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (text, why) in sorted.unreached {
        let reason = match &why {
            Unreached::Struck(reason) if REASONS.contains(&reason.as_str()) => reason.as_str(),
            Unreached::Foreign => NO_RIGHT,
            Unreached::Gone | Unreached::Malformed | Unreached::Struck(_) => TOKEN_FORMAT_ERROR,
        };
        // Stray blanks have been seen in these names.
        let blank = if reason == TOKEN_FORMAT_ERROR {
            ""
        } else {
            " "
        };
        illegal
            .entry(format!("{blank}{reason}"))
            .or_default()
            .push(text);
    }
    let code = match success {
        0 => Code::AllTokensInvalid,
        _ => Code::PartialSuccess,
    };
    let message = json!({ "success": success, "failure": failure, "illegalTokens": illegal });
    huawei::answer_with(code.status(), code.digits(), &message.to_string(), id)
}
