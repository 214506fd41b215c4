//! Trouble on request: answers, delays and broken connections that matching requests meet.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use thiserror::Error;

use crate::device_token::DeviceToken;
use crate::limits::{FAULT_DELAY_MAX, FAULT_HEADERS_MAX, FAULTS_MAX};
use crate::provider::Provider;
use crate::quotas::{Excess, Place};

/// A fault as the control API takes it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultBody {
    /// The provider whose requests meet it.
    pub provider: String,
    /// Which of the provider's calls; sending when it is not given.
    #[serde(default)]
    pub call: Call,
    /// Only requests to this token. In a batch a reason that is said of single tokens strikes only this one, as long as
    /// no status is given.
    pub token: Option<String>,
    /// Answer with this status, 400 to 599; of makers 200 to 599.
    pub status: Option<u16>,
    /// The provider's word or code for it; may stand alone when the provider's table gives the status.
    pub reason: Option<String>,
    /// Headers of that answer.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Wait before whatever happens; alone it delays the normal answer to a request that has been taken.
    pub delay_ms: Option<u64>,
    /// Instead of an answer: break something.
    pub action: Option<Action>,
    /// How many of the matching requests meet it, above 0 and up to 100; spread evenly.
    pub percent: Option<f64>,
    /// How often it is met before it ends by itself.
    pub count: Option<u64>,
}

/// Which of a provider's calls a fault is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Call {
    /// Everything but fetching an access token.
    #[default]
    Send,
    /// Fetching an access token.
    Token,
}

/// What a fault does to the connection or the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The TCP connection ends at once, with all its streams. Over HTTP/1.1 `goaway` and `refuse_stream` do the same.
    Close,
    /// GOAWAY with a last stream id below the request's, and the debug data `{"reason":"Shutdown"}`: the request and
    /// all later ones on the connection are not processed; earlier ones are answered, then the connection ends.
    Goaway,
    /// The stream is never answered.
    Hang,
    /// RST_STREAM with REFUSED_STREAM.
    RefuseStream,
}

/// A fault that can happen.
#[derive(Clone, Debug)]
pub struct Fault {
    provider: Provider,
    call: Call,
    token: Option<DeviceToken>,
    /// Whether it strikes its token and not the whole request.
    of_token: bool,
    met: Met,
    /// How many of a million matching requests meet it.
    per_million: u32,
    count: Option<u64>,
}

/// What a request that meets a fault is in for.
#[derive(Clone, Debug)]
pub(crate) struct Met {
    pub(crate) delay: Duration,
    pub(crate) effect: Effect,
}

#[derive(Clone, Debug)]
pub(crate) enum Effect {
    Act(Action),
    Answer {
        status: StatusCode,
        reason: Option<String>,
        headers: HeaderMap,
    },
    /// The normal answer, only later.
    Normal,
}

impl Met {
    /// What a request meets that is beyond a limit.
    pub(crate) fn beyond(excess: Excess, provider: Provider) -> Self {
        let simulator = provider.simulator();
        let reason = match excess {
            Excess::Spent => simulator.spent,
            Excess::TooFast => simulator.too_fast,
        };
        let status = reason.and_then(simulator.status_of);
        Self {
            delay: Duration::ZERO,
            effect: Effect::Answer {
                status: status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
                reason: reason.map(str::to_owned),
                headers: HeaderMap::new(),
            },
        }
    }
}

/// What a batch is in for.
#[derive(Debug, Default)]
pub(crate) struct Trouble<'a> {
    /// What it has of the provider's quota.
    pub(crate) place: Option<Place<'a>>,
    /// What the request as a whole meets.
    pub(crate) whole: Option<Met>,
    /// The tokens that are refused, each with its reason.
    pub(crate) tokens: HashMap<DeviceToken, String>,
}

/// A fault that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field}: {message}")]
pub struct FaultError {
    pub field: &'static str,
    pub message: String,
}

/// The faults in force, tried in the order in which they were set; the first that strikes is met.
#[derive(Debug, Default)]
pub struct Faults {
    set: Mutex<FaultSet>,
}

#[derive(Debug, Default)]
struct FaultSet {
    last_id: u64,
    active: Vec<Active>,
}

#[derive(Debug)]
struct Active {
    id: u64,
    fault: Fault,
    /// Millionths of a strike that have gathered.
    charge: u32,
}

const MILLION: u32 = 1_000_000;

impl Faults {
    /// Sets a fault and answers its id.
    pub fn add(&self, fault: Fault) -> Result<u64, FaultError> {
        let mut set = self.lock();
        if set.active.len() >= FAULTS_MAX {
            return Err(FaultError::new(
                "fault",
                format!("{FAULTS_MAX} faults are set, which is the most there can be; delete some"),
            ));
        }
        set.last_id += 1;
        let id = set.last_id;
        // Half a strike to begin with: a fault of 50 % strikes the first request, one of 10 % the fifth.
        let charge = MILLION / 2;
        set.active.push(Active { id, fault, charge });
        Ok(id)
    }

    /// Ends a fault; false when there is none of that id.
    pub fn remove(&self, id: u64) -> bool {
        let mut set = self.lock();
        let before = set.active.len();
        set.active.retain(|active| active.id != id);
        set.active.len() < before
    }

    /// Ends all faults.
    pub fn clear(&self) {
        self.lock().active.clear();
    }

    /// What a request meets, if anything. A path without a valid token matches faults that name none.
    pub(crate) fn meet(
        &self,
        provider: Provider,
        token: impl FnOnce() -> Option<DeviceToken>,
    ) -> Option<Met> {
        let mut set = self.lock();
        if set.active.is_empty() {
            return None;
        }
        let token = token();
        set.first(|fault| {
            fault.matches(provider, Call::Send, |wanted| {
                Some(wanted) == token.as_ref()
            })
        })
    }

    /// What a call without tokens meets.
    pub(crate) fn meet_call(&self, provider: Provider, call: Call) -> Option<Met> {
        self.lock()
            .first(|fault| fault.matches(provider, call, |_| false))
    }

    /// What a batch meets: at most one fault as a whole, and any number of those that strike single tokens.
    pub(crate) fn meet_batch<'a>(
        &self,
        provider: Provider,
        tokens: impl Iterator<Item = &'a DeviceToken>,
    ) -> Trouble<'static> {
        let mut set = self.lock();
        if set.active.is_empty() {
            return Trouble::default();
        }
        let tokens: HashSet<&DeviceToken> = tokens.collect();
        let whole = set.first(|fault| {
            !fault.of_token && fault.matches(provider, Call::Send, |wanted| tokens.contains(wanted))
        });
        let mut trouble = Trouble {
            place: None,
            whole,
            tokens: HashMap::new(),
        };
        // What is answered or broken as a whole says nothing of its tokens.
        if matches!(&trouble.whole, Some(met) if !matches!(met.effect, Effect::Normal)) {
            return trouble;
        }
        set.active.retain_mut(|active| {
            let fault = &active.fault;
            let (
                Some(token),
                Effect::Answer {
                    reason: Some(reason),
                    ..
                },
            ) = (&fault.token, &fault.met.effect)
            else {
                return true;
            };
            let strikes = fault.of_token
                && fault.provider == provider
                && !trouble.tokens.contains_key(token)
                && tokens.contains(token);
            if !strikes {
                return true;
            }
            let struck = (token.clone(), reason.clone());
            if active.strikes() {
                trouble.tokens.extend([struck]);
                return !active.is_spent();
            }
            true
        });
        trouble
    }

    fn lock(&self) -> MutexGuard<'_, FaultSet> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FaultSet {
    /// The first that matches and strikes.
    fn first(&mut self, matches: impl Fn(&Fault) -> bool) -> Option<Met> {
        let strikes = |active: &mut Active| matches(&active.fault) && active.strikes();
        let index = self.active.iter_mut().position(strikes)?;
        let met = self.active[index].fault.met.clone();
        if self.active[index].is_spent() {
            self.active.remove(index);
        }
        Some(met)
    }
}

impl Active {
    /// Counts a strike; true when it was the last.
    fn is_spent(&mut self) -> bool {
        let Some(count) = &mut self.fault.count else {
            return false;
        };
        *count -= 1;
        *count == 0
    }

    fn strikes(&mut self) -> bool {
        self.charge += self.fault.per_million;
        if self.charge < MILLION {
            return false;
        }
        self.charge -= MILLION;
        true
    }
}

impl Fault {
    fn matches(
        &self,
        provider: Provider,
        call: Call,
        carries: impl FnOnce(&DeviceToken) -> bool,
    ) -> bool {
        self.provider == provider && self.call == call && self.token.as_ref().is_none_or(carries)
    }
}

impl TryFrom<FaultBody> for Fault {
    type Error = FaultError;

    fn try_from(body: FaultBody) -> Result<Self, FaultError> {
        let provider: Provider = body
            .provider
            .parse()
            .map_err(|error| FaultError::new("provider", error))?;
        let calls = provider.simulator().calls.as_ref();
        if body.call == Call::Token {
            if !calls.is_some_and(|calls| calls.gives_tokens) {
                let message = format!("{provider} gives no access tokens");
                return Err(FaultError::new("call", message));
            }
            if body.token.is_some() {
                let message = "\"token\" is fetching an access token, which names no device";
                return Err(FaultError::new("call", message));
            }
        }
        let token = match &body.token {
            Some(text) => Some(
                provider
                    .token(text)
                    .map_err(|error| FaultError::new("token", error))?,
            ),
            None => None,
        };
        let of_token = token.is_some()
            && body.status.is_none()
            && body
                .reason
                .as_deref()
                .is_some_and(provider.simulator().is_of_token);
        let delay = Duration::from_millis(body.delay_ms.unwrap_or(0));
        if delay > FAULT_DELAY_MAX {
            let max = FAULT_DELAY_MAX.as_millis();
            return Err(FaultError::new(
                "delay_ms",
                format!("must be {max} at most"),
            ));
        }
        let per_million = match body.percent {
            None => MILLION,
            Some(percent) if percent > 0.0 && percent <= 100.0 => {
                ((percent * 10_000.0).round() as u32).max(1)
            }
            Some(_) => {
                return Err(FaultError::new(
                    "percent",
                    "must be above 0 and at most 100",
                ));
            }
        };
        if body.count == Some(0) {
            return Err(FaultError::new("count", "must be at least 1"));
        }
        let effect = effect(provider, &body)?;
        Ok(Self {
            provider,
            call: body.call,
            token,
            of_token,
            met: Met { delay, effect },
            per_million,
            count: body.count,
        })
    }
}

fn effect(provider: Provider, body: &FaultBody) -> Result<Effect, FaultError> {
    let answers = body.status.is_some() || body.reason.is_some();
    if let Some(action) = body.action {
        if answers || !body.headers.is_empty() {
            return Err(FaultError::new(
                "action",
                "excludes status, reason and headers: an action gives no answer",
            ));
        }
        return Ok(Effect::Act(action));
    }
    if !answers {
        if !body.headers.is_empty() {
            return Err(FaultError::new("headers", "need a status to go with"));
        }
        if body.delay_ms.is_none() {
            return Err(FaultError::new(
                "status",
                "a fault needs a status, a reason, an action or a delay_ms",
            ));
        }
        return Ok(Effect::Normal);
    }
    let simulator = provider.simulator();
    let lowest = simulator.fault_status_min;
    let out_of_range = || FaultError::new("status", format!("must be {lowest} to 599"));
    let known = body.reason.as_deref().and_then(simulator.status_of);
    let status = match (body.status, known) {
        (Some(status), _) if (lowest..=599).contains(&status) => {
            StatusCode::from_u16(status).map_err(|_| out_of_range())?
        }
        (Some(_), _) => return Err(out_of_range()),
        (None, Some(status)) => status,
        (None, None) => {
            return Err(FaultError::new(
                "status",
                "must be given, as the reason is none of the provider's",
            ));
        }
    };
    let usual = || (simulator.reason_for)(status).map(str::to_owned);
    Ok(Effect::Answer {
        status,
        reason: body.reason.clone().or_else(usual),
        headers: headers(&body.headers)?,
    })
}

/// Headers that HTTP/2 can carry and that do not contradict the body.
fn headers(wanted: &BTreeMap<String, String>) -> Result<HeaderMap, FaultError> {
    const REFUSED: [&str; 6] = [
        "connection",
        "content-length",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
    ];
    if wanted.len() > FAULT_HEADERS_MAX {
        let message = format!("must be {FAULT_HEADERS_MAX} at most");
        return Err(FaultError::new("headers", message));
    }
    wanted
        .iter()
        .map(|(name, value)| {
            let bad = |what: &str| FaultError::new("headers", format!("{name:?} {what}"));
            let name: HeaderName = name.parse().map_err(|_| bad("is no header name"))?;
            if REFUSED.contains(&name.as_str()) {
                return Err(bad("cannot be set in an HTTP/2 answer"));
            }
            let value = HeaderValue::from_str(value).map_err(|_| bad("has no valid value"))?;
            Ok((name, value))
        })
        .collect()
}

impl FaultError {
    fn new(field: &'static str, message: impl ToString) -> Self {
        Self {
            field,
            message: message.to_string(),
        }
    }
}
