//! Xiaomi's MiPush, server API ("Server API addresses and parameters", dev.mi.com pId=1559, and its error codes, 1560).
//!
//! Every answer comes with 200 unless a fault says otherwise; `code` is a number.

mod code;
mod message;
mod multi;

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::answer::Answer;
use crate::batch::{Batch, Sorted, Unreached, record};
use crate::credentials::Credentials;
use crate::device_token::DeviceToken;
use crate::faults::Call;
use crate::form::Form;
use crate::makers::bare;
use crate::provider::Provider;
use crate::receipts::{Content, Event, Receipts};
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
    token: DeviceToken::of_list,
    calls: Some(Calls {
        gives_tokens: false,
        owns: |path| Path::of(path).is_some(),
        judge,
    }),
    status_of: |reason| Code::of(reason).map(|_| StatusCode::OK),
    reason_for: |_| None,
    is_of_token: |reason| Code::of(reason).is_some_and(Code::is_of_token),
    too_fast: Some("200002"),
    spent: Some("200001"),
    receipts: Some(RECEIPTS),
    fault_status_min: 200,
    client: Some((PACKAGE, APP_SECRET)),
    credentials,
};

const RECEIPTS: Receipts = Receipts {
    named: |message| message["extra.callback"].as_str(),
    param: |message| message["extra.callback.param"].as_str(),
    body: |receipt| {
        let kind = match receipt.event {
            Event::Clicked => 2,
            Event::Dead => 16,
            Event::Delivered => 1,
            Event::Undelivered => 32,
        };
        let told = json!({
            "type": kind,
            "targets": receipt.phones.join(","),
            "param": receipt.param,
            "jobkey": "",
            "barStatus": "Enable",
            "timestamp": receipt.at_ms,
        });
        let data = json!({ receipt.id: told }).to_string();
        Some(Content::Form(vec![("data", data)]))
    },
    of_single_phones: false,
};

fn credentials(_: &Credentials, url: &str) -> Value {
    json!({
        "app_secret": APP_SECRET,
        "package_name": PACKAGE,
        "endpoint": url,
    })
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
        (Some(Path::Multi), _) => multi::judge(state, incoming),
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
        sent().unwrap_or_else(refused_by)
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

fn feedback(state: &State, incoming: &Incoming<'_>) -> Answer {
    match secret(incoming) {
        Ok(secret) if secret == APP_SECRET => {
            let list = state.invalid_ids.take(ME, FEEDBACK_MAX);
            accepted(json!({ "list": list }), "Ok")
        }
        Ok(_) => refused_by(Code::AuthFailed.refusal("the secret is wrong")),
        Err(refusal) => refused_by(refusal),
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

fn refused_by(refusal: Refusal) -> Answer {
    refused(StatusCode::OK, refusal.code.number(), &refusal.message)
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
