//! `multi_messages`: each id its own message.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::batch::Batch;
use crate::deliveries::DeliveryId;
use crate::form::Form;
use crate::simulator::{Incoming, Verdict};
use crate::state::State;
use crate::xiaomi::code::Code;
use crate::xiaomi::{
    ME, Params, REGIDS_MAX, accepted, all_bad, authorized, message, new_id, note_gone, refusal,
    refused_by,
};

/// Each target its own message: `messages` is a list of `{"target", "message"}`.
pub(super) fn judge(state: &State, incoming: &Incoming<'_>) -> Verdict {
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
        sent().unwrap_or_else(refused_by)
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
