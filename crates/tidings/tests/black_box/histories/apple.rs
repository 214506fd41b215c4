//! What the server says of a way by APNs, and what Apple has: the judgement of both.

use std::collections::HashMap;

use super::judge::Case;
use super::judge::Way;
use super::oracle::{Provider, Trouble};
use super::run::Run;
use super::world::{Delivery, End, Restart};

/// What was heard is durable within this time, on a server that answers at once (see `batch.rs`); what was heard sooner before a
/// kill may be forgotten.
const DURABLE_MS: i64 = 2000;
/// The same, where the server ends in order: what comes while it does may not be heard.
const LAST_WORDS_MS: i64 = 1000;

impl Run {
    pub(super) fn judge_apns(&self, case: &Case<'_>, device: usize, way: &Way) -> Option<String> {
        let id = self.delivery_id(case.message, device);
        let arrived: Vec<&Delivery> = case.deliveries.iter().filter(|one| one.id == id).collect();
        let its = &self.oracle.devices[device];
        let trouble: Vec<Trouble> = its.trouble(case.message).collect();
        let has = |wanted: Trouble| trouble.contains(&wanted);
        // What Apple took just before the end of a server may not have been heard of; then the repeat decides.
        let certain = arrived
            .iter()
            .any(|delivery| is_certain(delivery.at, case.restarts));
        let push = &self.oracle.messages[case.message].push;
        if way.outcome != "accepted" && certain {
            return Some("Apple delivered it".into());
        }
        let on_link = its.is_on_link_since(case.message)
            && self.oracle.messages[case.message].expected[device]
                .notification
                .contains(&Provider::Link);
        match way.outcome.as_str() {
            "accepted" => arrived.is_empty().then(|| "Apple had it never".into()),
            "waiting" => Some("Apple was to be asked long ago".into()),
            "expired" => (push.time_to_live > 60).then(|| "its time is not over".into()),
            "dropped" | "failed" if on_link => {
                Some(format!("{}: the link was its next way", way.reason))
            }
            "dropped" | "failed" | "handed_on" => {
                // What had left when its token moved meets what the next owner of the token meets.
                let is_right = match way.reason.as_str() {
                    "Unregistered" => has(Trouble::Dead) || has(Trouble::Moved),
                    "BadPriority" => has(Trouble::Refused) || has(Trouble::Moved),
                    "moved" => has(Trouble::Moved),
                    "replaced" => has(Trouble::Changed),
                    _ => false,
                };
                (!is_right).then(|| format!("{}, where it met {trouble:?}", way.reason))
            }
            _ => Some("no such outcome".into()),
        }
    }

    /// What Apple delivered that was not for this device, or not once.
    pub(super) fn judge_deliveries(&self, deliveries: &[Delivery], wrongs: &mut Vec<String>) {
        let mut known: HashMap<String, (usize, usize)> = HashMap::new();
        for (number, message) in self.oracle.messages.iter().enumerate() {
            if !message.id.is_empty() {
                for device in 0..message.expected.len() {
                    known.insert(self.delivery_id(number, device), (number, device));
                }
            }
        }
        let restarts = self.world.restarts();
        let mut first: HashMap<&str, i64> = HashMap::new();
        for delivery in deliveries {
            let Some((number, device)) = known.get(&delivery.id) else {
                let message = &delivery.message;
                wrongs.push(format!(
                    "Apple delivered {message} to somebody for whom it was not"
                ));
                continue;
            };
            let message = &self.oracle.messages[*number];
            if delivery.message != message.id {
                wrongs.push(format!("Apple delivered {} as m{number}", delivery.message));
            }
            if !message.expected[*device]
                .notification
                .contains(&Provider::Apns)
            {
                wrongs.push(format!(
                    "m{number} d{device}: Apple delivered it, and was not its way"
                ));
            }
            if let Some(before) = first.insert(&delivery.id, delivery.at) {
                let between = |restart: &Restart| {
                    restart.at <= delivery.at && before <= restart.ready.unwrap_or(i64::MAX)
                };
                if !restarts.iter().any(between) {
                    wrongs.push(format!("m{number} d{device}: Apple delivered it twice"));
                }
            }
        }
    }

    pub(super) fn delivery_id(&self, message: usize, device: usize) -> String {
        let message = self.oracle.messages[message].id.parse().expect("an id");
        let device = self.id(device).parse().expect("an id");
        tidings_model::delivery_id(message, device).to_string()
    }
}

/// Whether the server has heard what happened at this time, and still knows it.
pub(super) fn is_certain(at: i64, restarts: &[Restart]) -> bool {
    let is_lost_by = |restart: &Restart| {
        let before = match restart.by {
            End::Kill => DURABLE_MS,
            End::Terminate => LAST_WORDS_MS,
        };
        at >= restart.at - before && restart.ready.is_none_or(|ready| at <= ready)
    };
    !restarts.iter().any(is_lost_by)
}
