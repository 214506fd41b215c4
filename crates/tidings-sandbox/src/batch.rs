//! One message to many tokens: who is reached, what is recorded.

use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use crate::clock::now_ms;
use crate::deliveries::DeliveryId;
use crate::device_token::DeviceToken;
use crate::faults::{Effect, Met, Trouble};
use crate::provider::Provider;
use crate::simulator::Incoming;
use crate::state::State;

/// The tokens of a request in their order; one that is named twice is there twice.
pub(crate) struct Batch<'a> {
    provider: Provider,
    tokens: Vec<(&'a str, Option<DeviceToken>)>,
}

/// Why a token gets nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unreached {
    /// The token is another app's.
    Foreign,
    /// The phone has removed the app.
    Gone,
    /// A text that is no token.
    Malformed,
    /// A fault strikes it, with this reason.
    Struck(String),
}

/// The tokens by what becomes of them.
#[derive(Default)]
pub(crate) struct Sorted<'a> {
    pub(crate) reached: Vec<DeviceToken>,
    pub(crate) unreached: Vec<(&'a str, Unreached)>,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(provider: Provider, tokens: impl IntoIterator<Item = &'a str>) -> Self {
        let tokens = tokens
            .into_iter()
            .map(|text| (text, provider.token(text).ok()))
            .collect();
        Self { provider, tokens }
    }

    /// The faults that the request meets, and whether it is within the limits.
    pub(crate) fn trouble<'s>(&self, state: &'s State) -> Trouble<'s> {
        let tokens = self.tokens.iter().filter_map(|(_, token)| token.as_ref());
        let mut trouble: Trouble<'s> = state.faults.meet_batch(self.provider, tokens);
        if !matches!(&trouble.whole, Some(met) if !matches!(met.effect, Effect::Normal)) {
            match state
                .quotas
                .take(self.provider, self.tokens.len(), now_ms())
            {
                Ok(place) => trouble.place = Some(place),
                Err(excess) => trouble.whole = Some(Met::beyond(excess, self.provider)),
            }
        }
        trouble
    }

    pub(crate) fn sort(&self, state: &State, trouble: &Trouble<'_>, app: &str) -> Sorted<'a> {
        let mut sorted = Sorted::default();
        for (text, token) in &self.tokens {
            let why = match token {
                None => Unreached::Malformed,
                Some(token) => match trouble.tokens.get(token) {
                    Some(reason) => Unreached::Struck(reason.clone()),
                    None => match state.phones.look_up(self.provider, token) {
                        Some(phone) if phone.topic.as_deref().is_some_and(|topic| topic != app) => {
                            Unreached::Foreign
                        }
                        Some(phone) if phone.uninstalled_since.is_some() => Unreached::Gone,
                        _ => {
                            sorted.reached.push(token.clone());
                            continue;
                        }
                    },
                },
            };
            sorted.unreached.push((text, why));
        }
        if let Some(place) = &trouble.place {
            place.reach(sorted.reached.len());
        }
        sorted
    }
}

/// Records a message, the same for all, under the id that the provider's answer names.
pub(crate) fn record(
    state: &State,
    provider: Provider,
    incoming: &Incoming<'_>,
    tokens: Vec<DeviceToken>,
    id: &str,
    message: &Value,
) {
    if tokens.is_empty() {
        return;
    }
    let id = Arc::<str>::from(id);
    let payload = Arc::<str>::from(message.to_string());
    let mut recording = state.deliveries.request(provider, incoming.now_ms);
    for token in tokens {
        let id = DeliveryId::Text(Arc::clone(&id));
        recording.add(token, id, Arc::clone(&payload));
    }
}

/// A new id of digits, as most makers' are.
pub(crate) fn new_id() -> String {
    let random = Uuid::new_v4().as_u128() % 1_000_000_000_000;
    format!("{}{random:012}", now_ms())
}
