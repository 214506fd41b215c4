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
use crate::credentials::Credentials;
use crate::device_token::DeviceToken;
use crate::fields::{Wrong, raw};
use crate::makers::bare;
use crate::oauth::Oauth;
use crate::provider::Provider;
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
        owns: |path| [TOKEN_PATH, OLD_TOKEN_PATH].contains(&path) || app_in(path).is_some(),
        judge,
    }),
    status_of: |reason| match reason {
        EXPIRE_TOKENS | FAIL_TOKENS => Some(StatusCode::OK),
        digits => Code::of(digits).map(status_of),
    },
    reason_for: |_| None,
    is_of_token: |reason| ["80100000", "80300007", EXPIRE_TOKENS, FAIL_TOKENS].contains(&reason),
    fault_status_min: 200,
    client: Some((CLIENT_ID, CLIENT_SECRET)),
    credentials,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Code(u32);

/// What Honor's answers say; all but what [`judge`] uses come by a fault only.
const CODES: [(u32, &str); 25] = [
    (200, "Success"),
    (400, "Parameter error"),
    (403, "Authentication refused"),
    (404, "Service not found"),
    (500, "Internal error"),
    (502, "Connection abnormal"),
    (503, "QPS exceeded"),
    (10_001, "The timestamp is empty"),
    (10_205, "The app id does not exist"),
    (10_207, "The timestamp is illegal"),
    (10_300, "The push token is empty"),
    (80_100_000, "Part of the tokens are sent to"),
    (80_100_003, "Wrong message structure"),
    (80_200_001, "Wrong access token"),
    (80_200_003, "The access token has expired"),
    (80_200_020, "The receipt id does not match"),
    (80_200_022, "No right for this message type"),
    (80_200_047, "Test messages of the day are used up"),
    (80_200_050, "Marketing messages may not carry an image"),
    (80_200_056, "Sensitive content"),
    (80_300_006, "Duplicate tokens"),
    (80_300_007, "All tokens are invalid"),
    (80_300_008, "The body is too large"),
    (80_300_010, "Too many tokens"),
    (81_000_001, "System error"),
];

const BAD_PARAMETER: Code = Code(400);
const REFUSED: Code = Code(403);
const NO_TIMESTAMP: Code = Code(10_001);
const NO_SUCH_APP: Code = Code(10_205);
const BAD_TIMESTAMP: Code = Code(10_207);
const NO_TOKEN: Code = Code(10_300);
const PARTIAL: Code = Code(80_100_000);
const BAD_STRUCTURE: Code = Code(80_100_003);
const MARKETING_IMAGE: Code = Code(80_200_050);
const DUPLICATES: Code = Code(80_300_006);
const ALL_INVALID: Code = Code(80_300_007);
const TOO_LARGE: Code = Code(80_300_008);
const TOO_MANY: Code = Code(80_300_010);
const SUCCESS: Code = Code(200);

impl Code {
    fn of(digits: &str) -> Option<Self> {
        let number = digits.parse().ok()?;
        CODES
            .iter()
            .any(|(known, _)| *known == number)
            .then_some(Self(number))
    }

    fn meaning(self) -> &'static str {
        let known = CODES.iter().find(|(known, _)| *known == self.0);
        known.map_or("fault", |(_, meaning)| meaning)
    }

    fn refusal(self, message: impl Into<String>) -> Refusal {
        Refusal {
            code: self,
            message: message.into(),
        }
    }
}

fn status_of(Code(number): Code) -> StatusCode {
    let mirrored = u16::try_from(number).ok().filter(|status| *status < 600);
    mirrored
        .and_then(|status| StatusCode::from_u16(status).ok())
        .unwrap_or(StatusCode::OK)
}

/// Why a request is refused as a whole.
#[derive(Clone)]
struct Refusal {
    code: Code,
    message: String,
}

impl From<Wrong> for Refusal {
    fn from(Wrong(message): Wrong) -> Self {
        BAD_PARAMETER.refusal(message)
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
        .ok_or_else(|| REFUSED.refusal("Authorization must be Bearer and an access token"))?
        .map_err(|_| REFUSED.refusal("the access token is malformed or has expired"))?;
    match incoming.header("timestamp").unwrap_or_default() {
        "" => return Err(NO_TIMESTAMP.refusal("the timestamp header is missing")),
        text if text.len() == TIMESTAMP_DIGITS && text.parse::<u64>().is_ok() => {}
        _ => return Err(BAD_TIMESTAMP.refusal("the timestamp is no time in milliseconds")),
    }
    // The apps of other clients are not known.
    if (*client == *CLIENT_ID) != (app == APP_ID) {
        return Err(NO_SUCH_APP.refusal("the client has no app of this id"));
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
            .map_err(|_| BAD_STRUCTURE.refusal("the body is no JSON object"))?;
        let tokens = match fields.remove("token") {
            None | Some(Value::Null) => Vec::new(),
            Some(tokens) => serde_json::from_value(tokens)
                .map_err(|_| BAD_PARAMETER.refusal("token must be an array of strings"))?,
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
            return Err(TOO_LARGE.refusal(message));
        }
        if self.tokens.is_empty() {
            return Err(NO_TOKEN.refusal("token is empty"));
        }
        if self.tokens.len() > TOKENS_MAX {
            let message = format!("{} tokens; {TOKENS_MAX} at most", self.tokens.len());
            return Err(TOO_MANY.refusal(message));
        }
        let mut seen: Vec<&String> = self.tokens.iter().collect();
        seen.sort_unstable();
        if seen.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(DUPLICATES.refusal("a token is named twice"));
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
        (true, _) => SUCCESS,
        (false, true) => PARTIAL,
        (false, false) => ALL_INVALID,
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
    match reason.map(str::parse) {
        Some(Ok(number)) => {
            let code = Code(number);
            body(status, code, code.meaning(), json!({}))
        }
        _ => bare(status),
    }
}

fn answer(code: Code, message: &str, data: Value) -> Answer {
    body(status_of(code), code, message, data)
}

fn body(status: StatusCode, Code(number): Code, message: &str, data: Value) -> Answer {
    let body = json!({ "code": number, "message": message, "data": data });
    Answer::json(status, &body)
}
