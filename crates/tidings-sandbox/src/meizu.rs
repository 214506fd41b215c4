//! Meizu's push, Flyme ("HTTP API" in MEIZUPUSH/PushAPI): forms signed with MD5, `code` as a text with status 200, and
//! `value` with the ids that failed, by their codes.

mod message;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::batch::{Batch, Sorted, Unreached, new_id};
use crate::credentials::Credentials;
use crate::deliveries::DeliveryId;
use crate::device_token::DeviceToken;
use crate::fields::Wrong;
use crate::form::Form;
use crate::makers::bare;
use crate::provider::Provider;
use crate::receipts::{Content, Event, Receipts};
use crate::signing::md5;
use crate::simulator::{Calls, Incoming, Simulator, Verdict};
use crate::state::State;

const ME: Provider = Provider::Meizu;

const APP_ID: &str = "110001";
const APP_SECRET: &str = "sandbox-app-secret-meizu";

/// Ids of one call.
const IDS_MAX: usize = 100;

/// A code, which is a text on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Code(&'static str);

const SUCCESS: Code = Code("200");
const BAD_PARAMETER: Code = Code("1005");
const BAD_SIGNATURE: Code = Code("1006");
const BAD_APP_ID: Code = Code("110000");
const NOT_REGISTERED: Code = Code("110002");
const BAD_ID: Code = Code("110003");
const EMPTY: Code = Code("110004");
const BAD_TASK: Code = Code("110032");

/// What is said of a whole call; all but those above come by a fault only.
const CODES: [(&str, &str); 18] = [
    ("300", "redirect"),
    ("500", "other error"),
    ("1001", "system error"),
    ("1003", "server busy"),
    ("1005", "parameter error"),
    ("1006", "the signature is wrong"),
    ("110000", "the app id is illegal"),
    ("110001", "the app key is illegal"),
    ("110004", "a parameter is empty"),
    ("110009", "the app is black-listed"),
    ("110010", "the app sends too fast"),
    ("110019", "the daily count is exceeded"),
    ("110031", "the package is illegal"),
    ("110032", "the task id is illegal"),
    ("110033", "the secret is illegal"),
    ("110051", "the app count limit is exceeded"),
    ("110053", "transparent messages over the limit"),
    ("110002", "the push id is not registered"),
];

/// What is said of single ids, in `value`. 110010 means another thing there: the user has switched messages off.
const CODES_OF_IDS: [&str; 11] = [
    "201", "501", "513", "518", "519", "520", "110002", "110003", "110005", "110010", "110011",
];

pub(crate) const SIMULATOR: Simulator = Simulator {
    token: DeviceToken::of_list,
    calls: Some(Calls {
        gives_tokens: false,
        owns: |path| Path::of(path).is_some(),
        judge,
    }),
    status_of: |reason| {
        let is_known =
            CODES_OF_IDS.contains(&reason) || CODES.iter().any(|(code, _)| *code == reason);
        is_known.then_some(StatusCode::OK)
    },
    reason_for: |_| None,
    is_of_token: |reason| CODES_OF_IDS.contains(&reason),
    too_fast: Some("110010"),
    spent: Some("110019"),
    receipts: Some(RECEIPTS),
    fault_status_min: 200,
    client: None,
    credentials,
};

const RECEIPTS: Receipts = Receipts {
    named: |message| message["extra"]["callback"].as_str(),
    param: |message| message["extra"]["callback.param"].as_str(),
    body: |receipt| {
        let kind = match receipt.event {
            Event::Clicked => 2,
            Event::Delivered => 1,
            Event::Dead | Event::Undelivered => return None,
        };
        let told = json!({ "param": receipt.param, "type": kind, "targets": receipt.phones });
        let key = format!("{}-{kind}", receipt.id);
        let fields = vec![
            ("cb", json!({ key: told }).to_string()),
            ("access_token", "sandbox".to_owned()),
        ];
        Some(Content::Form(fields))
    },
    of_single_phones: false,
};

fn credentials(_: &Credentials, url: &str) -> Value {
    json!({
        "app_id": APP_ID,
        "app_secret": APP_SECRET,
        "endpoint": url,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Path {
    /// A message to ids.
    Ids,
    /// Saves a message.
    NewTask,
    /// A saved message to ids.
    Task,
}

impl Path {
    fn of(path: &str) -> Option<Self> {
        match path.strip_prefix("/garcia/api/server/push/")? {
            "pushTask/getTaskId" => Some(Self::NewTask),
            "task/varnished/pushByPushId" => Some(Self::Task),
            "varnished/pushByPushId" => Some(Self::Ids),
            _ => None,
        }
    }
}

type Refusal = crate::codes::Refusal<Code>;

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
        BAD_PARAMETER.refusal(message)
    }
}

fn judge(state: &State, incoming: &Incoming<'_>) -> Verdict {
    let Some(path) = Path::of(incoming.path()).filter(|_| incoming.head.method == Method::POST)
    else {
        return bare(StatusCode::METHOD_NOT_ALLOWED).into();
    };
    let form = Form::parse(incoming.body);
    let ids = match path {
        Path::NewTask => "",
        Path::Ids | Path::Task => form.get("pushIds").unwrap_or_default(),
    };
    let ids: Vec<&str> = ids.split(',').filter(|id| !id.is_empty()).collect();
    let batch = Batch::new(ME, ids.iter().copied());
    let mut trouble = batch.trouble(state);
    Verdict::under(trouble.whole.take(), refusal, || {
        let sent = || {
            authorized(&form)?;
            if path == Path::NewTask {
                return save(state, &form);
            }
            if ids.is_empty() {
                return Err(EMPTY.refusal("pushIds is empty"));
            }
            if ids.len() > IDS_MAX {
                let message = format!("{} pushIds; {IDS_MAX} at most", ids.len());
                return Err(BAD_PARAMETER.refusal(message));
            }
            let message = match path {
                Path::Task => {
                    let task = form.get("taskId").unwrap_or_default();
                    let message = state.saved.look_up(ME, task);
                    message.ok_or_else(|| BAD_TASK.refusal("no such taskId"))?
                }
                Path::Ids | Path::NewTask => message(&form)?,
            };
            let sorted = batch.sort(state, &trouble, APP_ID);
            Ok(deliver(state, incoming, &message, sorted))
        };
        sent().unwrap_or_else(|refusal| {
            body(
                StatusCode::OK,
                refusal.code.0,
                &refusal.message,
                json!({}),
                "",
            )
        })
    })
}

/// Judges app id and signature: all other parameters by name, `name=value` without anything between, then the secret.
fn authorized(form: &Form) -> Result<(), Refusal> {
    if form.get("appId").is_none_or(str::is_empty) {
        return Err(EMPTY.refusal("appId is empty"));
    }
    if form.get("appId") != Some(APP_ID) {
        return Err(BAD_APP_ID.refusal("the app id is unknown"));
    }
    let mut fields: Vec<(String, String)> = form.clone().into_iter().collect();
    fields.retain(|(name, _)| name != "sign");
    fields.sort();
    let mut text: String = fields
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    text.push_str(APP_SECRET);
    if form.get("sign") != Some(&md5(&text)) {
        return Err(BAD_SIGNATURE.refusal("the signature is wrong"));
    }
    Ok(())
}

/// The message of a form, checked.
fn message(form: &Form) -> Result<Arc<str>, Refusal> {
    let text = form.get("messageJson").unwrap_or_default();
    if text.is_empty() {
        return Err(EMPTY.refusal("messageJson is empty"));
    }
    let message: Value =
        serde_json::from_str(text).map_err(|_| BAD_PARAMETER.refusal("messageJson is no JSON"))?;
    message::check(&message)?;
    Ok(message.to_string().into())
}

fn save(state: &State, form: &Form) -> Result<Answer, Refusal> {
    if form.get("pushType") != Some("0") {
        return Err(BAD_PARAMETER.refusal("pushType: the sandbox knows notifications, 0, only"));
    }
    let id = new_id();
    state.saved.put(ME, &id, message(form)?);
    let value = json!({ "taskId": id, "pushType": 0, "appId": APP_ID });
    Ok(body(StatusCode::OK, SUCCESS.0, "", value, ""))
}

/// Records the message for the ids that it reaches, and answers the others by code.
fn deliver(
    state: &State,
    incoming: &Incoming<'_>,
    message: &Arc<str>,
    sorted: Sorted<'_>,
) -> Answer {
    let id = format!("NS{}", new_id());
    if !sorted.reached.is_empty() {
        let shared_id = Arc::<str>::from(id.as_str());
        let mut recording = state.deliveries.request(ME, incoming.now_ms);
        for token in sorted.reached {
            let id = DeliveryId::Text(Arc::clone(&shared_id));
            recording.add(token, id, Arc::clone(message));
        }
    }
    let mut value: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (text, why) in sorted.unreached {
        let code = match why {
            Unreached::Gone => NOT_REGISTERED.0.to_owned(),
            Unreached::Foreign | Unreached::Malformed => BAD_ID.0.to_owned(),
            Unreached::Struck(reason) => reason,
        };
        value.entry(code).or_default().push(text);
    }
    body(StatusCode::OK, SUCCESS.0, "", json!(value), &id)
}

/// What a fault answers.
fn refusal(status: StatusCode, reason: Option<&str>) -> Answer {
    match reason {
        Some(code) => {
            let known = CODES.iter().find(|(known, _)| *known == code);
            let message = known.map_or("fault", |(_, meaning)| meaning);
            body(status, code, message, json!({}), "")
        }
        None => bare(status),
    }
}

fn body(status: StatusCode, code: &str, message: &str, value: Value, id: &str) -> Answer {
    let body = json!({
        "code": code,
        "message": message,
        "value": value,
        "redirect": "",
        "msgId": id,
    });
    Answer::json(status, &body)
}
