//! What a request of OPPO's names: messages and ids.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::form::Form;
use crate::oppo::code::{Code, Refusal};
use crate::oppo::message::{self, Kind};
use crate::oppo::{ME, Path, TARGETS_MAX};
use crate::state::State;

/// What is to be sent, and to whom.
pub(super) struct Send {
    /// The messages of a batch, one for each id; the one of a single push; none of a broadcast.
    messages: Vec<Value>,
    pub(super) ids: Vec<String>,
}

impl Send {
    pub(super) fn read(path: Path, form: &Form) -> Result<Self, Refusal> {
        let needed = |name: &str| {
            let text = form.get(name).filter(|text| !text.is_empty());
            text.ok_or_else(|| Code::MissingArgument.refusal(format!("{name} is required")))
        };
        let bad = |what: &str| Code::BadArgument.refusal(what);
        let messages: Vec<Value> = match path {
            Path::Feedback | Path::Save => Vec::new(),
            Path::Unicast => {
                let message = serde_json::from_str(needed("message")?);
                vec![message.map_err(|_| bad("message is no JSON"))?]
            }
            Path::Batch => {
                let messages = serde_json::from_str(needed("messages")?);
                messages.map_err(|_| bad("messages is no JSON array"))?
            }
            Path::Broadcast => {
                if form.get("target_type") != Some("2") {
                    return Err(bad(
                        "target_type: the sandbox knows registration ids, 2, only",
                    ));
                }
                let ids = needed("target_value")?.split(';').map(str::to_owned);
                return Ok(Self {
                    messages: Vec::new(),
                    ids: ids.filter(|id| !id.is_empty()).collect(),
                });
            }
        };
        let id = |message: &Value| {
            let id = message["target_value"].as_str();
            id.unwrap_or_default().to_owned()
        };
        Ok(Self {
            ids: messages.iter().map(id).collect(),
            messages,
        })
    }

    /// Checks all messages; answers what each id gets, of a broadcast the one message.
    pub(super) fn checked(
        &self,
        state: &State,
        path: Path,
        form: &Form,
    ) -> Result<Vec<Arc<str>>, Refusal> {
        if path == Path::Broadcast {
            let id = form.get("message_id").unwrap_or_default();
            let message = state.saved.look_up(ME, id);
            let message = message.ok_or_else(|| Code::NoSuchData.refusal("no such message_id"))?;
            self.check_count()?;
            return Ok(vec![message]);
        }
        self.check_count()?;
        let check = |message: &Value| {
            if message["target_type"] != json!(2) {
                let what = "target_type: the sandbox knows registration ids, 2, only";
                return Err(Code::BadArgument.refusal(what));
            }
            message::check(&message["notification"], Kind::Single)?;
            let mut seen = message.clone();
            if let Some(fields) = seen.as_object_mut() {
                fields.remove("target_value");
            }
            Ok(Arc::from(seen.to_string()))
        };
        self.messages.iter().map(check).collect()
    }

    fn check_count(&self) -> Result<(), Refusal> {
        let count = self.ids.len();
        if (1..=TARGETS_MAX).contains(&count) {
            return Ok(());
        }
        Err(Code::BadArgument.refusal(format!("{count} targets; 1 to {TARGETS_MAX}")))
    }

    /// The id by which OPPO knows a repeated message to one target.
    pub(super) fn app_message_id(&self, index: usize) -> Option<&str> {
        let notification = &self.messages.get(index)?["notification"];
        let id = notification.get("app_message_id");
        id.or_else(|| notification.get("appMessageId"))?.as_str()
    }
}
