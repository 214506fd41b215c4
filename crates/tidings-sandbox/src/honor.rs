//! Honor's push, which is not Huawei's: another path, a flat body in camelCase, a `timestamp` header, a code that is a
//! number ("Sending downlink messages" on developer.honor.com, and clients that follow it).
//!
//! Codes below 600 come with the HTTP status of the same number, all others with 200: clients have been seen to read
//! both, and Honor does not say.

mod message;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::batch::{Batch, Sorted, Unreached, new_id, record};
use crate::codes::codes;
use crate::credentials::Credentials;
use crate::device_token::DeviceToken;
use crate::fields::{Wrong, raw};
use crate::makers::bare;
use crate::oauth::Oauth;
use crate::provider::Provider;
use crate::receipts::{Content, Event, Receipts};
use crate::simulator::{Calls, Incoming, Simulator, Verdict};
use crate::state::State;

const ME: Provider = Provider::Honor;

const APP_ID: &str = "104400001";
const CLIENT_ID: &str = "sandbox-client-honor";
const CLIENT_SECRET: &str = "sandbox-secret-honor";

/// Tokens of one request (80300010) and bytes of a request without them (80300008).
const TOKENS_MAX: usize = 1_000;
const MESSAGE_MAX: usize = 4_096;

/// Milliseconds since the epoch have so many digits; seconds have not (10207).
const TIMESTAMP_DIGITS: usize = 13;

const OAUTH: Oauth = Oauth {
    provider: ME,
    life_secs: 3_600,
    refused: StatusCode::UNAUTHORIZED,
    escapes_slashes: false,
};
const TOKEN_PATH: &str = "/auth/token";
const OLD_TOKEN_PATH: &str = "/auth/realms/developer/protocol/openid-connect/token";

pub(crate) const SIMULATOR: Simulator = Simulator {
    token: DeviceToken::of_text,
    calls: Some(Calls {
        gives_tokens: true,
        owns: |path| [TOKEN_PATH, OLD_TOKEN_PATH].contains(&path) || app_in(path).is_some(),
        judge,
    }),
    status_of: |reason| match reason {
        EXPIRE_TOKENS | FAIL_TOKENS => Some(StatusCode::OK),
        digits => Code::of(digits).map(status_of),
    },
    reason_for: |_| None,
    is_of_token: |reason| ["80100000", "80300007", EXPIRE_TOKENS, FAIL_TOKENS].contains(&reason),
    too_fast: Some("503"),
    spent: None,
    receipts: Some(RECEIPTS),
    fault_status_min: 200,
    client: Some((CLIENT_ID, CLIENT_SECRET)),
    credentials,
};

/// As Huawei's first form; Honor publishes none, and of its numbers one is known.
const RECEIPTS: Receipts = Receipts {
    named: |_| None,
    param: |message| message["android"]["biTag"].as_str(),
    body: |receipt| {
        (receipt.event == Event::Delivered).then_some(())?;
        let statuses = receipt.phones.iter().map(|token| {
            json!({
                "appid": APP_ID,
                "token": token,
                "status": 40_000_002,
                "timestamp": receipt.at_ms,
                "biTag": receipt.param,
                "requestId": receipt.id,
            })
        });
        let statuses: Vec<Value> = statuses.collect();
        Some(Content::Json(json!({ "statuses": statuses })))
    },
    of_single_phones: false,
};

fn credentials(_: &Credentials, url: &str) -> Value {
    json!({
        "app_id": APP_ID,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "endpoint": url,
        "token_endpoint": format!("{url}{TOKEN_PATH}"),
    })
}

/// The app of a sending path, `/api/v1/{app id}/sendMessage`.
fn app_in(path: &str) -> Option<&str> {
    path.strip_prefix("/api/v1/")?
        .strip_suffix("/sendMessage")
        .filter(|app| !app.is_empty() && !app.contains('/'))
}

/// Names of the lists in an answer. As the reason of a fault they put a token there while the code stays 200.
const EXPIRE_TOKENS: &str = "expireTokens";
const FAIL_TOKENS: &str = "failTokens";

codes! {
    Success = 200 "Success",
    BadParameter = 400 "Parameter error",
    Refused = 403 "Authentication refused",
    NotFound = 404 "Service not found",
    Internal = 500 "Internal error",
    Connection = 502 "Connection abnormal",
    TooFast = 503 "QPS exceeded",
    NoTimestamp = 10_001 "The timestamp is empty",
    NoSuchApp = 10_205 "The app id does not exist",
    BadTimestamp = 10_207 "The timestamp is illegal",
    NoToken = 10_300 "The push token is empty",
    Partial = 80_100_000 "Part of the tokens are sent to",
    BadStructure = 80_100_003 "Wrong message structure",
    BadAccessToken = 80_200_001 "Wrong access token",
    ExpiredAccessToken = 80_200_003 "The access token has expired",
    ReceiptMismatch = 80_200_020 "The receipt id does not match",
    NoRight = 80_200_022 "No right for this message type",
    TestQuota = 80_200_047 "Test messages of the day are used up",
    MarketingImage = 80_200_050 "Marketing messages may not carry an image",
    Sensitive = 80_200_056 "Sensitive content",
    Duplicates = 80_300_006 "Duplicate tokens",
    AllInvalid = 80_300_007 "All tokens are invalid",
    TooLarge = 80_300_008 "The body is too large",
    TooMany = 80_300_010 "Too many tokens",
    System = 81_000_001 "System error",
}

type Refusal = crate::codes::Refusal<Code>;

/// Codes that are HTTP statuses come with them.
fn status_of(code: Code) -> StatusCode {
    let mirrored = u16::try_from(code.number()).ok();
    mirrored
        .filter(|status| *status < 600)
        .and_then(|status| StatusCode::from_u16(status).ok())
        .unwrap_or(StatusCode::OK)
}

impl From<Wrong> for Refusal {
    fn from(Wrong(message): Wrong) -> Self {
        Code::BadParameter.refusal(message)
    }
}

fn judge(state: &State, incoming: &Incoming<'_>) -> Verdict {
    if incoming.head.method != Method::POST {
        return bare(StatusCode::METHOD_NOT_ALLOWED).into();
    }
    let Some(app) = app_in(incoming.path()) else {
        return OAUTH.judge(state, incoming);
    };
    let request = Request::read(incoming.body);
    let tokens = request.as_ref().map_or(&[][..], |request| &request.tokens);
    let batch = Batch::new(ME, tokens.iter().map(String::as_str));
    let mut trouble = batch.trouble(state);
    Verdict::under(trouble.whole.take(), refusal, || {
        let sent = authorized(state, incoming, app).and_then(|()| {
            let request = request.as_ref().map_err(Clone::clone)?;
            request.check()?;
            let sorted = batch.sort(state, &trouble, app);
            Ok(deliver(state, incoming, request, sorted))
        });
        sent.unwrap_or_else(|refusal| answer(refusal.code, &refusal.message, json!({})))
    })
}

/// Judges access token, timestamp and app id.
fn authorized(state: &State, incoming: &Incoming<'_>, app: &str) -> Result<(), Refusal> {
    let client = OAUTH
        .client(state, incoming)
        .ok_or_else(|| Code::Refused.refusal("Authorization must be Bearer and an access token"))?
        .map_err(|_| Code::Refused.refusal("the access token is malformed or has expired"))?;
    match incoming.header("timestamp").unwrap_or_default() {
        "" => return Err(Code::NoTimestamp.refusal("the timestamp header is missing")),
        text if text.len() == TIMESTAMP_DIGITS && text.parse::<u64>().is_ok() => {}
        _ => return Err(Code::BadTimestamp.refusal("the timestamp is no time in milliseconds")),
    }
    // The apps of other clients are not known.
    if (*client == *CLIENT_ID) != (app == APP_ID) {
        return Err(Code::NoSuchApp.refusal("the client has no app of this id"));
    }
    Ok(())
}

/// A sending request taken apart.
struct Request {
    message: Value,
    tokens: Vec<String>,
    /// Its bytes without the tokens.
    size: usize,
}

impl Request {
    fn read(body: &[u8]) -> Result<Self, Refusal> {
        let mut fields: Map<String, Value> = serde_json::from_slice(body)
            .map_err(|_| Code::BadStructure.refusal("the body is no JSON object"))?;
        let tokens = match fields.remove("token") {
            None | Some(Value::Null) => Vec::new(),
            Some(tokens) => serde_json::from_value(tokens)
                .map_err(|_| Code::BadParameter.refusal("token must be an array of strings"))?,
        };
        Ok(Self {
            message: Value::Object(fields),
            tokens,
            size: body.len() - raw(body, "token").map_or(0, str::len),
        })
    }

    fn check(&self) -> Result<(), Refusal> {
        if self.size > MESSAGE_MAX {
            let message = format!("{} bytes without tokens; {MESSAGE_MAX} at most", self.size);
            return Err(Code::TooLarge.refusal(message));
        }
        if self.tokens.is_empty() {
            return Err(Code::NoToken.refusal("token is empty"));
        }
        if self.tokens.len() > TOKENS_MAX {
            let message = format!("{} tokens; {TOKENS_MAX} at most", self.tokens.len());
            return Err(Code::TooMany.refusal(message));
        }
        let mut seen: Vec<&String> = self.tokens.iter().collect();
        seen.sort_unstable();
        if seen.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Code::Duplicates.refusal("a token is named twice"));
        }
        message::check(&self.message)
    }
}

/// Records the message for the phones that it reaches, and answers for all.
fn deliver(
    state: &State,
    incoming: &Incoming<'_>,
    request: &Request,
    sorted: Sorted<'_>,
) -> Answer {
    let mut expired = Vec::new();
    let mut failed = Vec::new();
    let mut is_quiet = true;
    for (text, why) in sorted.unreached {
        let list = match &why {
            Unreached::Malformed => &mut failed,
            Unreached::Struck(reason) if ["80100000", FAIL_TOKENS].contains(&reason.as_str()) => {
                &mut failed
            }
            Unreached::Foreign | Unreached::Gone | Unreached::Struck(_) => &mut expired,
        };
        let names_list = |reason: &String| [EXPIRE_TOKENS, FAIL_TOKENS].contains(&reason.as_str());
        is_quiet &= matches!(&why, Unreached::Struck(reason) if names_list(reason));
        list.push(text);
    }
    let sends = !sorted.reached.is_empty();
    let code = match (is_quiet, sends) {
        (true, _) => Code::Success,
        (false, true) => Code::Partial,
        (false, false) => Code::AllInvalid,
    };
    let id = new_id();
    record(state, ME, incoming, sorted.reached, &id, &request.message);
    let data = json!({
        "sendResult": sends,
        "requestId": id,
        "failTokens": failed,
        "expireTokens": expired,
    });
    answer(code, code.meaning(), data)
}

/// What a fault answers.
fn refusal(status: StatusCode, reason: Option<&str>) -> Answer {
    match reason.map(|reason| (reason.parse(), Code::of(reason))) {
        Some((Ok(number), known)) => body(
            status,
            number,
            known.map_or("fault", Code::meaning),
            json!({}),
        ),
        _ => bare(status),
    }
}

fn answer(code: Code, message: &str, data: Value) -> Answer {
    body(status_of(code), code.number(), message, data)
}

fn body(status: StatusCode, number: i64, message: &str, data: Value) -> Answer {
    let body = json!({ "code": number, "message": message, "data": data });
    Answer::json(status, &body)
}
