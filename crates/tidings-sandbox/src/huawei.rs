//! Huawei's Push Kit for Android and HarmonyOS up to 4: API v1 and v2, with OAuth, as "Sending Messages" in the
//! HMSCore references describes them.
//!
//! Huawei does not say which of its codes come with which status. Here what is about tokens or the app comes with 200,
//! a wrong request with 400, authentication with 401; its own Python clients read a code from a 200 only.

pub(crate) mod code;
mod message;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::access_tokens::BadAccessToken;
use crate::answer::Answer;
use crate::batch::{Batch, Sorted, new_id, record};
use crate::credentials::Credentials;
use crate::device_token::DeviceToken;
use crate::fields::{Wrong, raw};
use crate::hmos;
use crate::huawei::code::Code;
use crate::makers::bare;
use crate::oauth::Oauth;
use crate::provider::Provider;
use crate::receipts::{Content, Event, Receipt, Receipts};
use crate::service_account::ServiceAccount;
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

const OAUTH: Oauth = Oauth {
    provider: ME,
    life_secs: 3_600,
    refused: StatusCode::BAD_REQUEST,
    escapes_slashes: true,
};
const TOKEN_PATH: &str = "/oauth2/v3/token";
const OLD_TOKEN_PATH: &str = "/oauth2/v2/token";

pub(crate) const SIMULATOR: Simulator = Simulator {
    token: DeviceToken::of_text,
    calls: Some(Calls {
        gives_tokens: true,
        owns: |path| [TOKEN_PATH, OLD_TOKEN_PATH].contains(&path) || Send::of(path).is_some(),
        judge,
    }),
    status_of: |reason| Code::of(reason).map(Code::status),
    reason_for: |_| None,
    is_of_token: |reason| Code::of(reason).is_some_and(Code::is_of_token),
    too_fast: None,
    spent: None,
    receipts: Some(RECEIPTS),
    fault_status_min: 200,
    client: Some((APP_ID, APP_SECRET)),
    credentials,
};

/// Where its console says, with the tag that the message has; a click is not told.
const RECEIPTS: Receipts = Receipts {
    named: |_| None,
    param: |message| message["android"]["bi_tag"].as_str(),
    body: receipt,
    of_single_phones: false,
};

/// The receipt's second form, which both of Huawei's channels have.
pub(crate) fn receipt(receipt: &Receipt<'_>) -> Option<Content> {
    let result = match receipt.event {
        Event::Clicked => return None,
        Event::Dead => 5,
        Event::Delivered => 0,
        Event::Undelivered => 6,
    };
    let statuses = receipt.phones.iter().map(|token| {
        json!({
            "token": token,
            "pushType": 0,
            "appPackageName": "com.example.app",
            "biTag": receipt.param,
            "requestId": receipt.id,
            "deliveryStatus": { "result": result, "timestamp": receipt.at_ms },
        })
    });
    Some(Content::Json(
        json!({ "statuses": statuses.collect::<Vec<_>>() }),
    ))
}

fn credentials(_: &Credentials, url: &str) -> Value {
    json!({
        "app_id": APP_ID,
        "app_secret": APP_SECRET,
        "endpoint": url,
        "token_endpoint": format!("{url}{}", TOKEN_PATH),
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
#[derive(Clone)]
pub(crate) struct Refusal {
    code: Code,
    message: String,
}

fn judge(state: &State, incoming: &Incoming<'_>) -> Verdict {
    if incoming.head.method != Method::POST {
        return bare(StatusCode::METHOD_NOT_ALLOWED).into();
    }
    let Some(send) = Send::of(incoming.path()) else {
        return OAUTH.judge(state, incoming);
    };
    let request = Request::read(incoming.body);
    let tokens = request.as_ref().map_or(&[][..], |request| &request.tokens);
    let batch = Batch::new(ME, tokens.iter().map(String::as_str));
    let mut trouble = batch.trouble(state);
    Verdict::under(trouble.whole.take(), refusal, || {
        let sent = authorized(state, incoming, &send).and_then(|app| {
            let request = request.as_ref().map_err(Clone::clone)?;
            request.check()?;
            let sorted = batch.sort(state, &trouble, &app);
            Ok(deliver(state, incoming, request, sorted))
        });
        sent.unwrap_or_else(Refusal::answer)
    })
}

/// Judges the access token and answers the app that it was given to. A JWT of the service account is as good.
fn authorized(
    state: &State,
    incoming: &Incoming<'_>,
    send: &Send<'_>,
) -> Result<Box<str>, Refusal> {
    if let Some(jwt) = incoming
        .bearer()
        .filter(|text| ServiceAccount::is_jwt(text))
    {
        let checked = state.service_account.check(jwt, incoming.now_ms);
        checked.map_err(hmos::refused_jwt)?;
        return match send {
            Send::V1(app) if *app != APP_ID => {
                Err(Code::AuthError.refusal("the JWT is of another app than the path names"))
            }
            Send::V1(_) | Send::V2 => Ok(APP_ID.into()),
        };
    }
    let app = OAUTH.client(state, incoming).ok_or_else(|| {
        Code::AuthError.refusal("Authorization must be Bearer and an access token")
    })?;
    let app = app.map_err(|bad| {
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
    message: Value,
    tokens: Vec<String>,
    /// Its bytes without the tokens.
    size: usize,
}

impl Request {
    fn read(body: &[u8]) -> Result<Self, Refusal> {
        let structure = |what: &str| Code::BadStructure.refusal(what);
        let mut whole: Map<String, Value> =
            serde_json::from_slice(body).map_err(|_| structure("the body is no JSON object"))?;
        let mut fields = match whole.remove("message") {
            Some(Value::Object(fields)) => fields,
            // Huawei takes a misspelt field for one that is not there.
            None | Some(Value::Null) => {
                return Err(Code::TokenCount.refusal("message is missing"));
            }
            Some(_) => return Err(structure("message is no object")),
        };
        let message = raw(body, "message").unwrap_or_default();
        let token_bytes = raw(message.as_bytes(), "token").map_or(0, str::len);
        let tokens = match fields.remove("token") {
            None | Some(Value::Null) => Vec::new(),
            Some(tokens) => serde_json::from_value(tokens).map_err(|_| {
                Code::BadParameter.refusal("message.token must be an array of strings")
            })?,
        };
        let validate_only = match whole.remove("validate_only") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(flag)) => flag,
            Some(_) => return Err(Code::BadParameter.refusal("validate_only must be a boolean")),
        };
        Ok(Self {
            validate_only,
            message: Value::Object(fields),
            tokens,
            size: body.len() - token_bytes,
        })
    }

    fn check(&self) -> Result<(), Refusal> {
        if self.size > MESSAGE_MAX {
            let message = format!("{} bytes without tokens; {MESSAGE_MAX} at most", self.size);
            return Err(Code::TooLarge.refusal(message));
        }
        if ["topic", "condition"]
            .iter()
            .any(|name| self.message.get(name).is_some())
        {
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
    sorted: Sorted<'_>,
) -> Answer {
    let success = sorted.reached.len();
    if success == 0 {
        return answer(Code::AllTokensInvalid, Code::AllTokensInvalid.meaning());
    }
    let id = new_id();
    if !request.validate_only {
        record(state, ME, incoming, sorted.reached, &id, &request.message);
    }
    if sorted.unreached.is_empty() {
        let code = Code::Success;
        return answer_with(code.status(), code.digits(), code.meaning(), id);
    }
    let illegal: Vec<&str> = sorted.unreached.iter().map(|(text, _)| *text).collect();
    let message = json!({
        "success": success,
        "failure": illegal.len(),
        "illegal_tokens": illegal,
    });
    let code = Code::PartialSuccess;
    answer_with(code.status(), code.digits(), &message.to_string(), id)
}

/// What a fault answers.
pub(crate) fn refusal(status: StatusCode, reason: Option<&str>) -> Answer {
    match reason {
        Some(digits) => {
            let message = Code::of(digits).map_or("fault", Code::meaning);
            answer_with(status, digits, message, new_id())
        }
        None => bare(status),
    }
}

fn answer(code: Code, message: &str) -> Answer {
    answer_with(code.status(), code.digits(), message, new_id())
}

pub(crate) fn answer_with(status: StatusCode, code: &str, message: &str, id: String) -> Answer {
    let body = json!({ "code": code, "msg": message, "requestId": id });
    Answer::json(status, &body)
}

impl Refusal {
    pub(crate) fn answer(self) -> Answer {
        answer(self.code, &self.message)
    }
}

impl Code {
    pub(crate) fn refusal(self, message: impl Into<String>) -> Refusal {
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
