//! vivo's push ("Server API", 2.9.2 and the newer tables of 2024 and 2025): JSON, a token in the header `authToken`,
//! `result` as a number with status 200.

mod code;
mod message;

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::batch::{Batch, Sorted, Unreached, new_id, record};
use crate::credentials::Credentials;
use crate::deliveries::DeliveryId;
use crate::device_token::DeviceToken;
use crate::faults::Call;
use crate::makers::bare;
use crate::oauth::new_token;
use crate::provider::Provider;
use crate::receipts::{Content, Event, Receipts};
use crate::signing::{is_now, md5};
use crate::simulator::{Calls, Incoming, Simulator, Verdict};
use crate::state::State;
use crate::vivo::code::{Code, Refusal};

const ME: Provider = Provider::Vivo;

const APP_ID: &str = "100001";
const APP_KEY: &str = "sandbox-app-key-vivo";
const APP_SECRET: &str = "sandbox-app-secret-vivo";

/// Ids of one list.
const LIST_MIN: usize = 2;
const LIST_MAX: usize = 1_000;

/// Milliseconds that a token is good: a day.
const TOKEN_LIFE_MS: i64 = 24 * 60 * 60 * 1_000;

const AUTH_PATH: &str = "/message/auth";

pub(crate) const SIMULATOR: Simulator = Simulator {
    token: DeviceToken::of_text,
    calls: Some(Calls {
        gives_tokens: true,
        owns: |path| path == AUTH_PATH || Path::of(path).is_some(),
        judge,
    }),
    status_of: |reason| Code::of(reason).map(|_| StatusCode::OK),
    reason_for: |_| None,
    is_of_token: |reason| Code::of(reason).is_some_and(Code::is_of_token),
    too_fast: Some("10072"),
    spent: Some("10070"),
    receipts: Some(RECEIPTS),
    fault_status_min: 200,
    client: None,
    credentials,
};

/// That it has arrived, of messages to one phone.
const RECEIPTS: Receipts = Receipts {
    named: |message| message["extra"]["callback"].as_str(),
    param: |message| message["extra"]["callback.param"].as_str(),
    body: |receipt| {
        (receipt.event == Event::Delivered).then_some(())?;
        let told = json!({ "param": receipt.param, "targets": receipt.phones.join(",") });
        Some(Content::Json(json!({ receipt.id: told })))
    },
    of_single_phones: true,
};

fn credentials(_: &Credentials, url: &str) -> Value {
    json!({
        "app_id": APP_ID,
        "app_key": APP_KEY,
        "app_secret": APP_SECRET,
        "endpoint": url,
        "token_endpoint": format!("{url}{AUTH_PATH}"),
    })
}

/// The calls that need a token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Path {
    List,
    Save,
    Single,
}

impl Path {
    fn of(path: &str) -> Option<Self> {
        match path {
            "/message/pushToList" => Some(Self::List),
            "/message/saveListPayload" => Some(Self::Save),
            "/message/send" => Some(Self::Single),
            _ => None,
        }
    }
}

fn judge(state: &State, incoming: &Incoming<'_>) -> Verdict {
    if incoming.head.method != Method::POST {
        return bare(StatusCode::METHOD_NOT_ALLOWED).into();
    }
    let body: Result<Value, _> = serde_json::from_slice(incoming.body);
    let body = body.ok().filter(Value::is_object);
    let body = body.ok_or_else(|| Code::Malformed.refusal("the body is no JSON object"));
    let Some(path) = Path::of(incoming.path()) else {
        let met = state.faults.meet_call(ME, Call::Token);
        return Verdict::under(met, refusal, || {
            let given = body.and_then(|body| auth(state, incoming, &body));
            given.unwrap_or_else(refused_by)
        });
    };
    let ids = body
        .as_ref()
        .map_or_else(|_| Vec::new(), |body| ids(body, path));
    let batch = Batch::new(ME, ids.iter().copied());
    let mut trouble = batch.trouble(state);
    Verdict::under(trouble.whole.take(), refusal, || {
        let sent = || {
            authorized(state, incoming)?;
            let body = body.as_ref().map_err(Clone::clone)?;
            if body.get("appId").is_some_and(|id| text_of(id) != APP_ID) {
                return Err(Code::AppMismatch.into());
            }
            match path {
                Path::Save => save(state, body),
                Path::Single if ids.is_empty() => Err(Code::NoRegid.into()),
                Path::Single => {
                    message::check(body)?;
                    message::check_request_id(body)?;
                    let sorted = batch.sort(state, &trouble, APP_ID);
                    Ok(single(state, incoming, body, sorted))
                }
                Path::List => {
                    message::check_request_id(body)?;
                    let message = listed(state, body, ids.len())?;
                    let sorted = batch.sort(state, &trouble, APP_ID);
                    Ok(list(state, incoming, body, &message, sorted))
                }
            }
        };
        sent().unwrap_or_else(refused_by)
    })
}

/// The ids that a request names.
fn ids(body: &Value, path: Path) -> Vec<&str> {
    let ids = match path {
        Path::Save => return Vec::new(),
        Path::Single => {
            let id = body["regId"].as_str();
            return id.filter(|id| !id.is_empty()).into_iter().collect();
        }
        Path::List => body["regIds"].as_array(),
    };
    let ids = ids.into_iter().flatten();
    ids.map(|id| id.as_str().unwrap_or_default()).collect()
}

/// Gives a token for a signature.
fn auth(state: &State, incoming: &Incoming<'_>, body: &Value) -> Result<Answer, Refusal> {
    let needed = |name: &str, code: Code| {
        let text = text_of(&body[name]);
        if text.is_empty() { Err(code) } else { Ok(text) }
    };
    let app_id = needed("appId", Code::NoAppId)?;
    let app_key = needed("appKey", Code::NoAppKey)?;
    let timestamp = needed("timestamp", Code::NoTimestamp)?;
    let sign = needed("sign", Code::NoSign)?;
    if app_id != APP_ID {
        return Err(Code::BadAppId.into());
    }
    if app_key != APP_KEY {
        return Err(Code::BadAppKey.into());
    }
    if !is_now(&timestamp, incoming.now_ms) {
        return Err(Code::BadTimestamp.into());
    }
    if sign != md5(&format!("{app_id}{app_key}{timestamp}{APP_SECRET}")) {
        return Err(Code::BadSign.into());
    }
    let Some(text) = new_token() else {
        return Ok(bare(StatusCode::INTERNAL_SERVER_ERROR));
    };
    let until_ms = incoming.now_ms + TOKEN_LIFE_MS;
    state.access_tokens.give(ME, &app_id, &text, until_ms);
    Ok(accepted([("authToken", json!(text))]))
}

/// A text, or a number as one: clients send either.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

fn authorized(state: &State, incoming: &Incoming<'_>) -> Result<(), Refusal> {
    let text = incoming.header("authtoken").unwrap_or_default();
    let given = state.access_tokens.client(ME, text, incoming.now_ms);
    given.map(drop).map_err(|_| Code::BadToken.into())
}

fn save(state: &State, body: &Value) -> Result<Answer, Refusal> {
    message::check(body)?;
    message::check_request_id(body)?;
    let id = new_id();
    state.saved.put(ME, &id, seen(body).to_string().into());
    Ok(accepted([
        ("requestId", body["requestId"].clone()),
        ("taskId", json!(id)),
    ]))
}

/// A message as a phone gets it.
fn seen(body: &Value) -> Value {
    let mut seen = body.clone();
    if let Some(fields) = seen.as_object_mut() {
        fields.remove("regId");
    }
    seen
}

fn single(state: &State, incoming: &Incoming<'_>, body: &Value, sorted: Sorted<'_>) -> Answer {
    let request_id = ("requestId", body["requestId"].clone());
    if let [(id, why), ..] = &sorted.unreached[..] {
        let code = match why {
            Unreached::Struck(reason) => Code::of(reason).unwrap_or(Code::BadRegid),
            _ => Code::BadRegid,
        };
        let invalid = ("invalidUser", invalid_user(id, why));
        return answer(
            StatusCode::OK,
            code.number(),
            code.meaning(),
            [request_id, invalid],
        );
    }
    let task = new_id();
    record(state, ME, incoming, sorted.reached, &task, &seen(body));
    accepted([request_id, ("taskId", json!(task))])
}

/// The saved message that a list is for.
fn listed(state: &State, body: &Value, ids: usize) -> Result<Arc<str>, Refusal> {
    if ids == 0 {
        return Err(Code::NoRegids.into());
    }
    if !(LIST_MIN..=LIST_MAX).contains(&ids) {
        return Err(Code::BadCount.into());
    }
    let task = text_of(&body["taskId"]);
    if task.is_empty() {
        return Err(Code::NoTask.into());
    }
    let message = state.saved.look_up(ME, &task);
    message.ok_or_else(|| Code::NoSuchTask.into())
}

/// Dead ids do not keep a list from being taken.
fn list(
    state: &State,
    incoming: &Incoming<'_>,
    body: &Value,
    message: &Arc<str>,
    sorted: Sorted<'_>,
) -> Answer {
    let task = Arc::<str>::from(text_of(&body["taskId"]));
    if !sorted.reached.is_empty() {
        let mut recording = state.deliveries.request(ME, incoming.now_ms);
        for token in sorted.reached {
            recording.add(
                token,
                DeliveryId::Text(Arc::clone(&task)),
                Arc::clone(message),
            );
        }
    }
    let invalid = sorted
        .unreached
        .iter()
        .map(|(id, why)| invalid_user(id, why));
    let mut fields = vec![("requestId", body["requestId"].clone())];
    let invalid: Vec<Value> = invalid.collect();
    if !invalid.is_empty() {
        fields.push(("invalidUsers", json!(invalid)));
    }
    accepted(fields)
}

/// Status 1: unknown to this app; 2: uninstalled; 3: inactive.
fn invalid_user(id: &str, why: &Unreached) -> Value {
    let status = match why {
        Unreached::Foreign | Unreached::Malformed => 1,
        Unreached::Struck(reason) if Code::of(reason) == Some(Code::NotNow) => 3,
        Unreached::Gone | Unreached::Struck(_) => 2,
    };
    json!({ "status": status, "userid": id })
}

fn accepted(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Answer {
    answer(
        StatusCode::OK,
        0,
        "\u{8bf7}\u{6c42}\u{6210}\u{529f}",
        fields,
    )
}

fn refused_by(refusal: Refusal) -> Answer {
    let status = match refusal.code {
        Code::Malformed => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    };
    answer(status, refusal.code.number(), &refusal.message, [])
}

/// What a fault answers.
fn refusal(status: StatusCode, reason: Option<&str>) -> Answer {
    match reason.map(str::parse::<i64>) {
        Some(Ok(number)) => {
            let known = reason.and_then(Code::of);
            answer(status, number, known.map_or("fault", Code::meaning), [])
        }
        _ => bare(status),
    }
}

fn answer(
    status: StatusCode,
    result: i64,
    desc: &str,
    fields: impl IntoIterator<Item = (&'static str, Value)>,
) -> Answer {
    let mut body = Map::from_iter([
        ("result".to_owned(), json!(result)),
        ("desc".to_owned(), json!(desc)),
    ]);
    let fields = fields.into_iter();
    body.extend(fields.map(|(name, value)| (name.to_owned(), value)));
    Answer::json(status, &Value::Object(body))
}
