//! Xiaomi's MiPush, server API ("Server API addresses and parameters", dev.mi.com pId=1559, and its error codes, 1560).
//!
//! Every answer comes with 200 unless a fault says otherwise; `code` is a number.

mod code;
mod message;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::answer::Answer;
use crate::batch::{Batch, Sorted, Unreached, record};
use crate::credentials::Credentials;
use crate::deliveries::DeliveryId;
use crate::device_token::{BadDeviceToken, DeviceToken};
use crate::faults::Call;
use crate::form::Form;
use crate::makers::bare;
use crate::provider::Provider;
use crate::simulator::{Calls, Incoming, Simulator, Verdict};
use crate::state::State;
use crate::xiaomi::code::{Code, Refusal};

const ME: Provider = Provider::Xiaomi;

const PACKAGE: &str = "com.example.app";
const APP_SECRET: &str = "sandbox-secret-xiaomi==";

/// Registration ids of one request.
const REGIDS_MAX: usize = 1_000;

/// Ids in one answer of the feedback call.
const FEEDBACK_MAX: usize = 1_000;

pub(crate) const SIMULATOR: Simulator = Simulator {
    token,
    calls: Some(Calls {
        owns: |path| Path::of(path).is_some(),
        judge,
    }),
    status_of: |reason| Code::of(reason).map(|_| StatusCode::OK),
    reason_for: |_| None,
    is_of_token: |reason| Code::of(reason).is_some_and(Code::is_of_token),
    fault_status_min: 200,
    client: Some((PACKAGE, APP_SECRET)),
    credentials,
};

fn credentials(_: &Credentials, url: &str) -> Value {
    json!({
        "app_secret": APP_SECRET,
        "package_name": PACKAGE,
        "endpoint": url,
    })
}

/// Ids are joined by commas, so none has one.
fn token(text: &str) -> Result<DeviceToken, BadDeviceToken> {
    if text.contains(',') {
        return Err(BadDeviceToken(
            "1 to 512 visible ASCII characters but commas",
        ));
    }
    DeviceToken::of_text(text)
}

/// The calls.
#[derive(Clone, Copy)]
enum Path {
    /// One message to many ids; of `/v3` ids of several packages.
    Regid { packages_max: usize },
    /// Each id its own message.
    Multi,
    /// Dead ids, each told once. Retired by Xiaomi, and still called.
    Feedback,
}

impl Path {
    fn of(path: &str) -> Option<Self> {
        match path {
            "/v2/message/regid" => Some(Self::Regid { packages_max: 1 }),
            "/v3/message/regid" => Some(Self::Regid { packages_max: 10 }),
            "/v2/multi_messages/regids" => Some(Self::Multi),
            "/v1/feedback/fetch_invalid_regids" => Some(Self::Feedback),
            _ => None,
        }
    }
}

/// The parameters of one message: those of a form, `extra.` ones among them.
type Params = BTreeMap<String, String>;

fn judge(state: &State, incoming: &Incoming<'_>) -> Verdict {
    match (Path::of(incoming.path()), &incoming.head.method) {
        (Some(Path::Feedback), _) => {
            let met = state.faults.meet_call(ME, Call::Send);
            Verdict::under(met, refusal, || feedback(state, incoming))
        }
        (Some(_), method) if method != Method::POST => bare(StatusCode::METHOD_NOT_ALLOWED).into(),
        (Some(Path::Regid { packages_max }), _) => regid(state, incoming, packages_max),
        (Some(Path::Multi), _) => multi(state, incoming),
        (None, _) => bare(StatusCode::NOT_FOUND).into(),
    }
}

fn regid(state: &State, incoming: &Incoming<'_>, packages_max: usize) -> Verdict {
    let mut params: Params = Form::parse(incoming.body).into_iter().collect();
    let ids = params.remove("registration_id").unwrap_or_default();
    let ids: Vec<&str> = ids.split(',').filter(|id| !id.is_empty()).collect();
    let batch = Batch::new(ME, ids.iter().copied());
    let mut trouble = batch.trouble(state);
    Verdict::under(trouble.whole.take(), refusal, || {
        let sent = || {
            let package = authorized(state, incoming, &params, packages_max)?;
            match ids.len() {
                0 => return Err(Code::NothingSupplied.refusal("registration_id is empty")),
                1..=REGIDS_MAX => {}
                many => {
                    let message = format!("{many} registration ids; {REGIDS_MAX} at most");
                    return Err(Code::BadParameter.refusal(message));
                }
            }
            let message = message::check(&params, incoming.now_ms)?;
            let sorted = batch.sort(state, &trouble, &package);
            deliver(state, incoming, &message, sorted)
        };
        sent().unwrap_or_else(Refusal::answer)
    })
}

/// Judges `Authorization: key=…` and the package that it is for; answers the first one.
fn authorized(
    state: &State,
    incoming: &Incoming<'_>,
    params: &Params,
    packages_max: usize,
) -> Result<String, Refusal> {
    let secret = secret(incoming)?;
    let names = params
        .get("restricted_package_name")
        .filter(|names| !names.is_empty())
        .ok_or_else(|| Code::MissingParameter.refusal("restricted_package_name is required"))?;
    let packages: Vec<&str> = names.split(',').collect();
    if packages.len() > packages_max {
        let message = format!("{} packages; {packages_max} at most", packages.len());
        return Err(Code::BadParameter.refusal(message));
    }
    for package in &packages {
        if secret == APP_SECRET && *package != PACKAGE {
            let message = format!("{package} is not the package of this secret");
            return Err(Code::WrongPackage.refusal(message));
        }
        if !state.clients.admits(ME, package, secret) {
            return Err(Code::AuthFailed.refusal("the secret is wrong"));
        }
    }
    Ok(packages.first().copied().unwrap_or_default().to_owned())
}

/// The word before the secret must be in lower case.
fn secret<'a>(incoming: &'a Incoming<'_>) -> Result<&'a str, Refusal> {
    incoming
        .header("authorization")
        .and_then(|header| header.trim().strip_prefix("key="))
        .ok_or_else(|| Code::AuthFailed.refusal("Authorization must be key= and the app secret"))
}

/// Records the message for the ids that it reaches, and answers for all.
fn deliver(
    state: &State,
    incoming: &Incoming<'_>,
    message: &Value,
    sorted: Sorted<'_>,
) -> Result<Answer, Refusal> {
    note_gone(state, &sorted);
    if sorted.reached.is_empty() {
        return Err(all_bad(&sorted.unreached));
    }
    let id = new_id();
    let count = sorted.reached.len();
    record(state, ME, incoming, sorted.reached, &id, message);
    let bad: Vec<&str> = sorted.unreached.iter().map(|(text, _)| *text).collect();
    let mut data = Map::from_iter([("id".to_owned(), json!(id))]);
    if !bad.is_empty() {
        data.insert("bad_regids".to_owned(), json!(bad.join(",")));
    }
    let info = format!("Received push messages for {count} regid");
    Ok(accepted(Value::Object(data), &info))
}

fn note_gone(state: &State, sorted: &Sorted<'_>) {
    for (text, why) in &sorted.unreached {
        if *why == Unreached::Gone {
            state.invalid_ids.note(ME, text);
        }
    }
}

/// What is said when no id is good: the one code of a fault that struck them all, or the usual one.
fn all_bad(unreached: &[(&str, Unreached)]) -> Refusal {
    let code = match unreached {
        [(_, Unreached::Struck(first)), others @ ..] => others
            .iter()
            .all(|(_, why)| matches!(why, Unreached::Struck(reason) if reason == first))
            .then(|| Code::of(first))
            .flatten(),
        _ => None,
    };
    let code = code.unwrap_or(Code::AllRegidsBad);
    code.refusal(code.meaning())
}

/// Each target its own message: `messages` is a list of `{"target", "message"}`.
fn multi(state: &State, incoming: &Incoming<'_>) -> Verdict {
    let form = Form::parse(incoming.body);
    let entries: Vec<Value> =
        serde_json::from_str(form.get("messages").unwrap_or_default()).unwrap_or_default();
    let target = |entry: &Value| entry["target"].as_str().unwrap_or_default().to_owned();
    let targets: Vec<String> = entries.iter().map(target).collect();
    let batch = Batch::new(ME, targets.iter().map(String::as_str));
    let mut trouble = batch.trouble(state);
    Verdict::under(trouble.whole.take(), refusal, || {
        let sent = || {
            if !(1..=REGIDS_MAX).contains(&entries.len()) {
                let message = format!("messages must be a JSON array of 1 to {REGIDS_MAX}");
                return Err(Code::BadParameter.refusal(message));
            }
            let mut package = String::new();
            let mut messages = Vec::with_capacity(entries.len());
            for entry in &entries {
                let params = flattened(&entry["message"]);
                package = authorized(state, incoming, &params, 1)?;
                messages.push(message::check(&params, incoming.now_ms)?);
            }
            let sorted = batch.sort(state, &trouble, &package);
            note_gone(state, &sorted);
            if sorted.reached.is_empty() {
                return Err(all_bad(&sorted.unreached));
            }
            let id = new_id();
            let shared_id = Arc::<str>::from(id.as_str());
            let mut recording = state.deliveries.request(ME, incoming.now_ms);
            // Those that are reached are in the order of the entries.
            let mut reached = sorted.reached.into_iter().peekable();
            for (text, message) in targets.iter().zip(&messages) {
                let named = reached.next_if(|token| token.is_written(text));
                if let Some(token) = named {
                    let payload = Arc::<str>::from(message.to_string());
                    recording.add(token, DeliveryId::Text(Arc::clone(&shared_id)), payload);
                }
            }
            drop(recording);
            let bad: Vec<&str> = sorted.unreached.iter().map(|(text, _)| *text).collect();
            let mut data = Map::from_iter([("id".to_owned(), json!(id))]);
            if !bad.is_empty() {
                data.insert("bad_regids".to_owned(), json!(bad.join(",")));
            }
            Ok(accepted(Value::Object(data), "Received push messages"))
        };
        sent().unwrap_or_else(Refusal::answer)
    })
}

/// The parameters of a message that is an object: as in a form, with what is in `extra` under `extra.`.
fn flattened(message: &Value) -> Params {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut params = Params::new();
    for (name, value) in message.as_object().into_iter().flatten() {
        match value {
            Value::Object(extra) if name == "extra" => {
                let named = |(name, value)| (format!("extra.{name}"), text(value));
                params.extend(extra.iter().map(named));
            }
            value => drop(params.insert(name.clone(), text(value))),
        }
    }
    params
}

fn feedback(state: &State, incoming: &Incoming<'_>) -> Answer {
    match secret(incoming) {
        Ok(secret) if secret == APP_SECRET => {
            let list = state.invalid_ids.take(ME, FEEDBACK_MAX);
            accepted(json!({ "list": list }), "Ok")
        }
        Ok(_) => Code::AuthFailed.refusal("the secret is wrong").answer(),
        Err(refusal) => refusal.answer(),
    }
}

fn accepted(data: Value, info: &str) -> Answer {
    let body = json!({
        "result": "ok",
        "trace_id": trace_id(),
        "code": 0,
        "data": data,
        "description": "\u{6210}\u{529f}",
        "info": info,
    });
    Answer::json(StatusCode::OK, &body)
}

/// What a fault answers.
fn refusal(status: StatusCode, reason: Option<&str>) -> Answer {
    match reason.map(str::parse::<i64>) {
        Some(Ok(number)) => {
            let known = reason.and_then(Code::of);
            refused(status, number, known.map_or("fault", Code::meaning))
        }
        _ => bare(status),
    }
}

fn refused(status: StatusCode, number: i64, reason: &str) -> Answer {
    let body = json!({
        "result": "error",
        "reason": reason,
        "trace_id": trace_id(),
        "code": number,
        "description": reason,
        "info": reason,
    });
    Answer::json(status, &body)
}

fn new_id() -> String {
    format!("scm{}", trace_id())
}

fn trace_id() -> String {
    Uuid::new_v4().simple().to_string()
}
