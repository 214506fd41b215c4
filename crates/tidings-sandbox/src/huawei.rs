//! Huawei's Push Kit for Android and HarmonyOS up to 4: API v1 and v2, with OAuth, as "Sending Messages" in the
//! HMSCore references describes them.
//!
//! Huawei does not say which of its codes come with which status. Here what is about tokens or the app comes with 200,
//! a wrong request with 400, authentication with 401; its own Python clients read a code from a 200 only.

mod code;
mod message;
mod oauth;

use std::sync::Arc;

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::access_tokens::BadAccessToken;
use crate::answer::Answer;
use crate::clock::now_ms;
use crate::credentials::Credentials;
use crate::deliveries::DeliveryId;
use crate::device_token::DeviceToken;
use crate::faults::Call;
use crate::fields::Wrong;
use crate::huawei::code::Code;
use crate::makers::bare;
use crate::provider::Provider;
use crate::simulator::{Calls, Incoming, Simulator, Verdict};
use crate::state::State;

const ME: Provider = Provider::Huawei;

/// The sandbox's own app, and the project that it is in.
const APP_ID: &str = "104000001";
const APP_SECRET: &str = "5a6e64626f78485541574549617070536563726574302f3132333435363738";

/// Tokens of one request (80300010).
const TOKENS_MAX: usize = 1_000;

/// Bytes of a request without its tokens (80300008).
const MESSAGE_MAX: usize = 4_096;

pub(crate) const SIMULATOR: Simulator = Simulator {
    token: DeviceToken::of_text,
    calls: Some(Calls {
        owns: |path| oauth::is_token_call(path) || Send::of(path).is_some(),
        judge,
    }),
    status_of: |reason| Code::of(reason).map(Code::status),
    reason_for: |_| None,
    is_of_token: |reason| Code::of(reason).is_some_and(Code::is_of_token),
    fault_status_min: 200,
    client: Some((APP_ID, APP_SECRET)),
    credentials,
};

fn credentials(_: &Credentials, url: &str) -> Value {
    json!({
        "app_id": APP_ID,
        "app_secret": APP_SECRET,
        "endpoint": url,
        "token_endpoint": format!("{url}{}", oauth::PATH),
    })
}

/// The sending call: `/v1/{app id}/messages:send`, `/v2/{project id}/messages:send`.
enum Send<'a> {
    /// Names the app.
    V1(&'a str),
    /// Names the project, of which nothing is known here.
    V2,
}

impl<'a> Send<'a> {
    fn of(path: &'a str) -> Option<Self> {
        let rest = path.strip_suffix("/messages:send")?;
        let is_id = |id: &&str| !id.is_empty() && !id.contains('/');
        match rest.strip_prefix("/v1/").filter(is_id) {
            Some(app) => Some(Self::V1(app)),
            None => rest
                .strip_prefix("/v2/")
                .filter(is_id)
                .map(|_project| Self::V2),
        }
    }
}

/// Why a request is refused as a whole.
struct Refusal {
    code: Code,
    message: String,
}

fn judge(state: &State, incoming: &Incoming<'_>) -> Verdict {
    if incoming.head.method != Method::POST {
        return bare(StatusCode::METHOD_NOT_ALLOWED).into();
    }
    let Some(send) = Send::of(incoming.path()) else {
        let met = state.faults.meet_call(ME, Call::Token);
        return Verdict::under(met, oauth::refusal, || oauth::answer(state, incoming));
    };
    let request = Request::read(incoming.body);
    let tokens = request.as_ref().map_or(&[][..], |request| &request.tokens);
    let known: Vec<DeviceToken> = tokens
        .iter()
        .filter_map(|text| DeviceToken::of_text(text).ok())
        .collect();
    let trouble = state.faults.meet_batch(ME, &known);
    Verdict::under(trouble.whole, refusal, || {
        let sent = authorized(state, incoming, &send).and_then(|app| {
            let request = request?;
            request.check()?;
            let is_reached = |token: &DeviceToken| {
                !trouble.tokens.contains_key(token) && state.phones.has_app(ME, token, &app)
            };
            Ok(deliver(state, incoming, &request, is_reached))
        });
        sent.unwrap_or_else(|refusal| refusal.answer())
    })
}

/// Judges the access token and answers the app that it was given to.
fn authorized(
    state: &State,
    incoming: &Incoming<'_>,
    send: &Send<'_>,
) -> Result<Box<str>, Refusal> {
    let header = incoming.header("authorization").unwrap_or_default();
    let text = header
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, text)| text.trim())
        .ok_or_else(|| {
            Code::AuthError.refusal("Authorization must be Bearer and an access token")
        })?;
    let app = state
        .access_tokens
        .client(ME, text, incoming.now_ms)
        .map_err(|bad| {
            Code::TokenExpired.refusal(match bad {
                BadAccessToken::Expired => "the access token has expired",
                BadAccessToken::Unknown => "the access token is malformed or was not given here",
            })
        })?;
    match send {
        Send::V1(named) if **named != *app => {
            Err(Code::AuthError.refusal("the access token is of another app than the path names"))
        }
        Send::V1(_) | Send::V2 => Ok(app),
    }
}

/// A sending request taken apart.
struct Request {
    validate_only: bool,
    message: Map<String, Value>,
    tokens: Vec<String>,
    /// Its bytes without the tokens.
    size: usize,
}

impl Request {
    fn read(body: &[u8]) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        struct Body<'a> {
            #[serde(borrow)]
            message: Option<&'a RawValue>,
            validate_only: Option<Value>,
        }
        #[derive(Deserialize)]
        struct Addressed<'a> {
            #[serde(borrow)]
            token: Option<&'a RawValue>,
        }
        let structure = |what: &str| Code::BadStructure.refusal(what);
        let whole: Body<'_> =
            serde_json::from_slice(body).map_err(|_| structure("the body is no JSON object"))?;
        // Huawei takes a misspelt field for one that is not there.
        let message = whole
            .message
            .ok_or_else(|| Code::TokenCount.refusal("message is missing"))?;
        let bad_message = |_| structure("message is no object");
        let addressed: Addressed<'_> = serde_json::from_str(message.get()).map_err(bad_message)?;
        let mut fields: Map<String, Value> =
            serde_json::from_str(message.get()).map_err(bad_message)?;
        let tokens = match fields.remove("token") {
            None | Some(Value::Null) => Vec::new(),
            Some(tokens) => serde_json::from_value(tokens).map_err(|_| {
                Code::BadParameter.refusal("message.token must be an array of strings")
            })?,
        };
        let validate_only = match whole.validate_only {
            None => false,
            Some(Value::Bool(flag)) => flag,
            Some(_) => return Err(Code::BadParameter.refusal("validate_only must be a boolean")),
        };
        Ok(Self {
            validate_only,
            message: fields,
            tokens,
            size: body.len() - addressed.token.map_or(0, |token| token.get().len()),
        })
    }

    fn check(&self) -> Result<(), Refusal> {
        if self.size > MESSAGE_MAX {
            let message = format!("{} bytes without tokens; {MESSAGE_MAX} at most", self.size);
            return Err(Code::TooLarge.refusal(message));
        }
        if self.message.contains_key("topic") || self.message.contains_key("condition") {
            return Err(Code::BadParameter.refusal("the sandbox knows no topics"));
        }
        if !(1..=TOKENS_MAX).contains(&self.tokens.len()) {
            let message = format!("{} tokens; 1 to {TOKENS_MAX}", self.tokens.len());
            return Err(Code::TokenCount.refusal(message));
        }
        message::check(&self.message)
    }
}

/// Records the message for the phones that it reaches, twice for one that is named twice, and answers for all.
fn deliver(
    state: &State,
    incoming: &Incoming<'_>,
    request: &Request,
    is_reached: impl Fn(&DeviceToken) -> bool,
) -> Answer {
    let mut reached = Vec::new();
    let mut illegal = Vec::new();
    for text in &request.tokens {
        match DeviceToken::of_text(text) {
            Ok(token) if is_reached(&token) => reached.push(token),
            _ => illegal.push(text),
        }
    }
    if reached.is_empty() {
        return answer(Code::AllTokensInvalid, "All the tokens are invalid");
    }
    let id = request_id(incoming.now_ms);
    if !request.validate_only {
        let payload = Arc::<str>::from(Value::Object(request.message.clone()).to_string());
        let shared_id = Arc::<str>::from(id.as_str());
        let success = reached.len();
        let mut recording = state.deliveries.request(ME, incoming.now_ms);
        for token in reached.drain(..) {
            let id = DeliveryId::Text(Arc::clone(&shared_id));
            recording.add(token, id, Arc::clone(&payload));
        }
        drop(recording);
        return told(id, success, &illegal);
    }
    told(id, reached.len(), &illegal)
}

fn told(id: String, success: usize, illegal: &[&String]) -> Answer {
    if illegal.is_empty() {
        return answer_with(
            Code::Success.status(),
            Code::Success.digits(),
            "Success",
            id,
        );
    }
    let message = json!({
        "success": success,
        "failure": illegal.len(),
        "illegal_tokens": illegal,
    });
    let code = Code::PartialSuccess;
    answer_with(code.status(), code.digits(), &message.to_string(), id)
}

/// What a fault answers.
fn refusal(status: StatusCode, reason: Option<&str>) -> Answer {
    match reason {
        Some(digits) => {
            let message = Code::of(digits).map_or("fault", Code::meaning);
            answer_with(status, digits, message, request_id(now_ms()))
        }
        None => bare(status),
    }
}

fn answer(code: Code, message: &str) -> Answer {
    answer_with(code.status(), code.digits(), message, request_id(now_ms()))
}

fn answer_with(status: StatusCode, code: &str, message: &str, id: String) -> Answer {
    let body = json!({ "code": code, "msg": message, "requestId": id });
    Answer::json(status, &body)
}

/// Digits, as Huawei's are.
fn request_id(now_ms: i64) -> String {
    let random = Uuid::new_v4().as_u128() % 1_000_000_000_000;
    format!("{now_ms}{random:012}")
}

impl Refusal {
    fn answer(&self) -> Answer {
        answer(self.code, &self.message)
    }
}

impl Code {
    fn refusal(self, message: impl Into<String>) -> Refusal {
        Refusal {
            code: self,
            message: message.into(),
        }
    }
}

impl From<Wrong> for Refusal {
    fn from(Wrong(message): Wrong) -> Self {
        Code::BadParameter.refusal(message)
    }
}
