//! OPPO's push, for realme and OnePlus too ("Single push" and "Request address, common parameters and return codes" on
//! OPPO's open platform). Form bodies, JSON answers with status 200 and a `code` that is a number.

mod code;
mod message;
mod send;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::access_tokens::BadAccessToken;
use crate::answer::Answer;
use crate::batch::{Batch, Sorted, Unreached, new_id};
use crate::credentials::Credentials;
use crate::deliveries::DeliveryId;
use crate::device_token::DeviceToken;
use crate::faults::Call;
use crate::form::Form;
use crate::makers::bare;
use crate::oauth::new_token;
use crate::oppo::code::{Code, Refusal};
use crate::oppo::message::Kind;
use crate::oppo::send::Send;
use crate::provider::Provider;
use crate::receipts::{Content, Event, Receipts};
use crate::signing::{is_now, sha256};
use crate::simulator::{Calls, Incoming, Simulator, Verdict};
use crate::state::State;

const ME: Provider = Provider::Oppo;

const APP_KEY: &str = "sandboxAppKeyOppo";
const MASTER_SECRET: &str = "sandboxMasterSecretOppo";

/// Messages of a batch, and ids of a broadcast.
const TARGETS_MAX: usize = 1_000;

/// Milliseconds that a token is good: a day.
const TOKEN_LIFE_MS: i64 = 24 * 60 * 60 * 1_000;

/// Ids in one answer of the feedback call.
const FEEDBACK_MAX: usize = 1_000;

const AUTH_PATH: &str = "/server/v1/auth";

pub(crate) const SIMULATOR: Simulator = Simulator {
    token: DeviceToken::of_list,
    calls: Some(Calls {
        gives_tokens: true,
        owns: |path| path == AUTH_PATH || Path::of(path).is_some(),
        judge,
    }),
    status_of: |reason| Code::of(reason).map(|_| StatusCode::OK),
    reason_for: |_| None,
    is_of_token: |reason| Code::of(reason).is_some_and(Code::is_of_token),
    too_fast: Some("55"),
    spent: Some("33"),
    receipts: Some(RECEIPTS),
    fault_status_min: 200,
    client: None,
    credentials,
};

/// A click is not told.
const RECEIPTS: Receipts = Receipts {
    named: |message| message["notification"]["call_back_url"].as_str(),
    param: |message| message["notification"]["call_back_parameter"].as_str(),
    body: |receipt| {
        let event = match receipt.event {
            Event::Clicked => return None,
            Event::Dead => "regid_invalid",
            Event::Delivered => "push_arrive",
            Event::Undelivered => "user_daily_limit",
        };
        Some(Content::Json(json!([{
            "messageId": receipt.id,
            "appId": APP_KEY,
            "taskId": receipt.id,
            "registrationIds": receipt.phones.join(","),
            "eventTime": receipt.at_ms.to_string(),
            "param": receipt.param,
            "eventType": event,
        }])))
    },
    of_single_phones: false,
};

fn credentials(_: &Credentials, url: &str) -> Value {
    json!({
        "app_key": APP_KEY,
        "master_secret": MASTER_SECRET,
        "endpoint": url,
        "token_endpoint": format!("{url}{AUTH_PATH}"),
    })
}

/// The calls that need a token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Path {
    Batch,
    Broadcast,
    Feedback,
    Save,
    Unicast,
}

impl Path {
    fn of(path: &str) -> Option<Self> {
        match path {
            "/server/v1/feedback/fetch_invalid_regidList" => Some(Self::Feedback),
            "/server/v1/message/notification/broadcast" => Some(Self::Broadcast),
            "/server/v1/message/notification/save_message_content" => Some(Self::Save),
            "/server/v1/message/notification/unicast" => Some(Self::Unicast),
            "/server/v1/message/notification/unicast_batch" => Some(Self::Batch),
            _ => None,
        }
    }
}

fn judge(state: &State, incoming: &Incoming<'_>) -> Verdict {
    let form = Form::parse(incoming.body);
    let Some(path) = Path::of(incoming.path()) else {
        let met = state.faults.meet_call(ME, Call::Token);
        return Verdict::under(met, refusal, || {
            auth(state, incoming, &form).unwrap_or_else(refused_by)
        });
    };
    let method = match path {
        Path::Feedback => Method::GET,
        _ => Method::POST,
    };
    let send = Send::read(path, &form);
    let ids = send.as_ref().map_or(&[][..], |send| &send.ids);
    let batch = Batch::new(ME, ids.iter().map(String::as_str));
    let mut trouble = batch.trouble(state);
    Verdict::under(trouble.whole.take(), refusal, || {
        let sent = || {
            if incoming.head.method != method {
                return Err(Code::WrongMethod.refusal(Code::WrongMethod.meaning()));
            }
            authorized(state, incoming, &form)?;
            match path {
                Path::Feedback => return Ok(feedback(state)),
                Path::Save => return save(state, &form),
                Path::Batch | Path::Broadcast | Path::Unicast => {}
            }
            let send = send.as_ref().map_err(Clone::clone)?;
            let payloads = send.checked(state, path, &form)?;
            let sorted = batch.sort(state, &trouble, APP_KEY);
            Ok(deliver(state, incoming, path, send, &payloads, sorted))
        };
        sent().unwrap_or_else(refused_by)
    })
}

/// Gives a token for a signature.
fn auth(state: &State, incoming: &Incoming<'_>, form: &Form) -> Result<Answer, Refusal> {
    if incoming.head.method != Method::POST {
        return Err(Code::WrongMethod.refusal(Code::WrongMethod.meaning()));
    }
    let needed = |name: &str, code: Code| {
        let text = form.get(name).filter(|text| !text.is_empty());
        text.ok_or_else(|| code.refusal(code.meaning()))
    };
    let app_key = needed("app_key", Code::NoAppKey)?;
    let timestamp = needed("timestamp", Code::NoTimestamp)?;
    let sign = needed("sign", Code::NoSignature)?;
    if app_key != APP_KEY {
        return Err(Code::BadAppKey.refusal(Code::BadAppKey.meaning()));
    }
    if !is_now(timestamp, incoming.now_ms) {
        let what = "timestamp is no time in milliseconds within 10 minutes";
        return Err(Code::BadTimestamp.refusal(what));
    }
    if sign != sha256(&format!("{app_key}{timestamp}{MASTER_SECRET}")) {
        return Err(Code::BadSignature.refusal(Code::BadSignature.meaning()));
    }
    let Some(text) = new_token() else {
        return Ok(bare(StatusCode::INTERNAL_SERVER_ERROR));
    };
    let until_ms = incoming.now_ms + TOKEN_LIFE_MS;
    state.access_tokens.give(ME, app_key, &text, until_ms);
    let data = json!({ "auth_token": text, "create_time": incoming.now_ms });
    Ok(accepted(data))
}

/// Judges the token, in the body or, as one maintained client has it, in a header; of a GET in its query.
fn authorized(state: &State, incoming: &Incoming<'_>, form: &Form) -> Result<(), Refusal> {
    let query = Form::parse(incoming.head.uri.query().unwrap_or_default().as_bytes());
    let text = form
        .get("auth_token")
        .or_else(|| incoming.header("auth_token"))
        .or_else(|| query.get("auth_token"))
        .filter(|text| !text.is_empty())
        .ok_or_else(|| Code::NoToken.refusal(Code::NoToken.meaning()))?;
    let given = state.access_tokens.client(ME, text, incoming.now_ms);
    given.map(drop).map_err(|bad| {
        Code::BadToken.refusal(match bad {
            BadAccessToken::Expired => "the auth token has expired",
            BadAccessToken::Unknown => "the auth token was not given here",
        })
    })
}

/// Saves a message for broadcasts; its fields are those of the form.
fn save(state: &State, form: &Form) -> Result<Answer, Refusal> {
    let fields = form
        .clone()
        .into_iter()
        .filter(|(name, _)| name != "auth_token");
    let fields: Map<String, Value> = fields
        .map(|(name, text)| (name, message::typed(text)))
        .collect();
    let fields = Value::Object(fields);
    message::check(&fields, Kind::Broadcast)?;
    let id = new_id();
    let message = json!({ "notification": fields });
    state.saved.put(ME, &id, message.to_string().into());
    Ok(accepted(json!({ "message_id": id })))
}

/// Records the messages for the phones that they reach, and answers as the call does.
fn deliver(
    state: &State,
    incoming: &Incoming<'_>,
    path: Path,
    send: &Send,
    payloads: &[Arc<str>],
    sorted: Sorted<'_>,
) -> Answer {
    let mut reached = sorted.reached.into_iter().peekable();
    let mut unreached = sorted.unreached.into_iter().peekable();
    let task = new_id();
    let mut recording = None;
    // By id in the order of the request: the delivery's id, or the code of its refusal.
    let mut outcomes = Vec::with_capacity(send.ids.len());
    for (index, id) in send.ids.iter().enumerate() {
        if let Some((_, why)) = unreached.next_if(|(text, _)| *text == id.as_str()) {
            if why == Unreached::Gone {
                state.invalid_ids.note(ME, id);
            }
            outcomes.push(Err(code_of(&why)));
            continue;
        }
        let Some(token) = reached.next_if(|token| token.is_written(id)) else {
            continue;
        };
        let is_new = send
            .app_message_id(index)
            .is_none_or(|mark| state.seen.note(&format!("oppo {mark} {id}")));
        if !is_new {
            outcomes.push(Err(Code::Duplicate));
            continue;
        }
        let delivery = match path {
            Path::Broadcast => task.clone(),
            _ => format!("{APP_KEY}-1-1-{task}{index:04}"),
        };
        let payload = payloads.get(index).or_else(|| payloads.first()).cloned();
        let recording =
            recording.get_or_insert_with(|| state.deliveries.request(ME, incoming.now_ms));
        let named = DeliveryId::Text(Arc::from(delivery.as_str()));
        recording.add(token, named, payload.unwrap_or_else(|| Arc::from("{}")));
        outcomes.push(Ok(delivery));
    }
    drop(recording);
    match path {
        Path::Batch => {
            let told = send
                .ids
                .iter()
                .zip(&outcomes)
                .map(|(id, outcome)| match outcome {
                    Ok(delivery) => json!({ "messageId": delivery, "registrationId": id }),
                    Err(code) => json!({
                        "registrationId": id,
                        "errorCode": code.number(),
                        "errorMessage": code.meaning(),
                    }),
                });
            accepted(told.collect())
        }
        Path::Broadcast => {
            let mut refused: BTreeMap<i64, Vec<&str>> = BTreeMap::new();
            for (id, outcome) in send.ids.iter().zip(&outcomes) {
                if let Err(code) = outcome {
                    refused.entry(code.number()).or_default().push(id);
                }
            }
            let mut data = json!({ "message_id": task, "task_id": task });
            for (code, ids) in refused {
                data[code.to_string()] = json!(ids);
            }
            accepted(data)
        }
        Path::Feedback | Path::Save | Path::Unicast => match outcomes.pop() {
            Some(Ok(delivery)) => accepted(json!({ "messageId": delivery })),
            Some(Err(code)) => refused_by(code.refusal(code.meaning())),
            None => bare(StatusCode::INTERNAL_SERVER_ERROR),
        },
    }
}

fn code_of(why: &Unreached) -> Code {
    match why {
        Unreached::Struck(reason) => Code::of(reason).unwrap_or(Code::BadRegid),
        Unreached::Foreign | Unreached::Gone | Unreached::Malformed => Code::BadRegid,
    }
}

fn feedback(state: &State) -> Answer {
    let ids = state.invalid_ids.take(ME, FEEDBACK_MAX);
    accepted(json!({ "registration_ids": ids, "totalCount": ids.len() }))
}

fn accepted(data: Value) -> Answer {
    answer(StatusCode::OK, 0, "Success", data)
}

/// What a fault answers.
fn refusal(status: StatusCode, reason: Option<&str>) -> Answer {
    match reason.map(str::parse::<i64>) {
        Some(Ok(number)) => {
            let known = reason.and_then(Code::of);
            answer(
                status,
                number,
                known.map_or("fault", Code::meaning),
                Value::Null,
            )
        }
        _ => bare(status),
    }
}

fn refused_by(refusal: Refusal) -> Answer {
    let number = refusal.code.number();
    answer(StatusCode::OK, number, &refusal.message, Value::Null)
}

fn answer(status: StatusCode, code: i64, message: &str, data: Value) -> Answer {
    let data = match data {
        Value::Null => json!({}),
        data => data,
    };
    Answer::json(
        status,
        &json!({ "code": code, "message": message, "data": data }),
    )
}
