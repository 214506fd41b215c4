//! What became of a message: `/v1/messages/{msg_id}`, and at one device.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use tidings_model::{DeviceId, Message, MsgId, Provider};
use tidings_store::{Counts, Device, Ending, Journey, Ledger};

use super::device::ChannelReply;
use super::rfc3339;
use crate::api::Api;
use crate::api::auth::Caller;
use crate::api::error::{ApiError, Fault, shown};
use crate::verdict::{For, Outcome, Way, verdict};

#[derive(Debug, Serialize)]
pub(crate) struct MessageReply {
    msg_id: String,
    app_key: String,
    accepted_at: String,
    expires_at: String,
    state: Progress,
    /// Nothing more can happen to it, and its counts add up.
    finished: bool,
    counts: CountsReply,
    /// The counts by provider.
    channels: BTreeMap<&'static str, CountsReply>,
    /// The counts by platform.
    platforms: BTreeMap<&'static str, CountsReply>,
    reasons: Vec<ReasonReply>,
    /// Paths of the push's fields that have no effect.
    ignored: Vec<String>,
}

/// How far a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Progress {
    /// Every delivery has ended.
    Finished,
    /// Some devices have yet to be turned to, or answers of a provider are awaited.
    Sending,
    /// Devices on the link have yet to come for it, until it expires.
    Waiting,
}

impl Progress {
    fn of(ledger: &Ledger) -> Self {
        if ledger.finished {
            Self::Finished
        } else if !ledger.dispatched {
            Self::Sending
        } else if under_way(ledger.total()) == 0 {
            Self::Finished
        } else {
            Self::Waiting
        }
    }
}

/// Deliveries that have not ended.
fn under_way(counts: Counts) -> u64 {
    let Counts {
        accepted,
        delivered,
        dropped,
        expired,
        failed,
        handed_on,
        ..
    } = counts;
    counts
        .targeted
        .saturating_sub(accepted + delivered + dropped + expired + failed + handed_on)
}

#[derive(Clone, Copy, Debug, Serialize)]
struct CountsReply {
    targeted: u64,
    sent: u64,
    accepted: u64,
    delivered: u64,
    /// Of the delivered, those by the provider's word.
    #[serde(skip_serializing_if = "is_zero")]
    reported: u64,
    opened: u64,
    dropped: u64,
    expired: u64,
    failed: u64,
    /// Of a provider only: they went on by another.
    #[serde(skip_serializing_if = "is_zero")]
    handed_on: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl From<Counts> for CountsReply {
    fn from(counts: Counts) -> Self {
        Self {
            targeted: counts.targeted,
            sent: counts.sent,
            accepted: counts.accepted,
            delivered: counts.delivered,
            reported: counts.reported,
            opened: counts.opened,
            dropped: counts.dropped,
            expired: counts.expired,
            failed: counts.failed,
            handed_on: counts.handed_on,
        }
    }
}

#[derive(Debug, Serialize)]
struct ReasonReply {
    provider: &'static str,
    outcome: &'static str,
    reason: String,
    count: u64,
}

/// The message that a path names, if the caller may see it.
async fn message(api: &Api, caller: &Caller, id: &str) -> Result<Message, ApiError> {
    let message = match id.parse::<MsgId>() {
        Ok(id) => api.store.message(id).await?,
        Err(_) => None,
    };
    message
        .filter(|message| caller.may_see(message.app))
        .ok_or_else(|| unknown(id))
}

fn unknown(id: &str) -> ApiError {
    let text = format!(
        "msg_id {} is that of no message, or of one older than what is kept",
        shown(id)
    );
    ApiError::new(Fault::MessageUnknown, text).with_field("msg_id")
}

pub(crate) async fn show(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<MessageReply>, ApiError> {
    let message = message(&api, &caller, &id).await?;
    let app = api.store.app_by_id(message.app).await?;
    let app = app.ok_or_else(|| unknown(&id))?;
    let ledger = api.store.ledger(app.id, message.id).await?;
    let ledger = ledger.ok_or_else(|| unknown(&id))?;
    let sum = |name: fn(&tidings_store::Tally) -> &'static str| {
        let mut sums: BTreeMap<&'static str, Counts> = BTreeMap::new();
        for tally in &ledger.tallies {
            let sum = sums.entry(name(tally)).or_default();
            *sum = sum.plus(tally.counts);
        }
        let sums = sums.into_iter();
        sums.map(|(name, counts)| (name, counts.into())).collect()
    };
    let reasons = ledger.reasons.iter();
    let reasons = reasons.map(|(provider, ending, reason, count)| ReasonReply {
        provider: provider.name(),
        outcome: ending.name(),
        reason: reason.to_string(),
        count: *count,
    });
    Ok(Json(MessageReply {
        msg_id: message.id.to_string(),
        app_key: app.key.to_string(),
        accepted_at: rfc3339(message.accepted_at),
        expires_at: rfc3339(message.expires_at),
        state: Progress::of(&ledger),
        finished: ledger.finished,
        counts: ledger.total().into(),
        channels: sum(|tally| tally.provider.name()),
        platforms: sum(|tally| tally.platform.name()),
        reasons: reasons.collect(),
        ignored: ledger.message.push.options.ignored.clone(),
    }))
}

#[derive(Debug, Serialize)]
pub(crate) struct JourneyReply {
    msg_id: String,
    registration_id: String,
    /// Why it did or did not arrive, in one sentence.
    verdict: String,
    /// How the message and the device stand to each other.
    state: &'static str,
    /// Why, in one word.
    reason: Option<String>,
    /// Of each part that was for the device, the ways that it took, in their order.
    ways: Vec<WayReply>,
    /// The channels that the device has now.
    channels: Vec<ChannelReply>,
    /// The channels that it had.
    history: Vec<TombstoneReply>,
    in_audience: bool,
    /// By which providers it went to the device, or goes.
    providers: Vec<&'static str>,
    delivery: Option<DeliveryReply>,
    /// When it acknowledged the message over the link, as far as the time is kept.
    acknowledged_at: Option<String>,
    events: Vec<EventReply>,
}

/// A way that a part of the message took, or takes.
#[derive(Debug, Serialize)]
struct WayReply {
    provider: &'static str,
    part: &'static str,
    /// When it ended, as far as the time is kept.
    at: Option<String>,
    outcome: &'static str,
    reason: Option<String>,
    /// Times that it left for the provider; the outcome is what came of the last.
    attempts: u32,
    /// When it goes on, if it waits for a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

impl From<&Way> for WayReply {
    fn from(way: &Way) -> Self {
        let end = match &way.outcome {
            Outcome::Ended(end) => Some(end),
            Outcome::Unknown | Outcome::Waiting(_) => None,
        };
        let (until, word) = match &way.outcome {
            Outcome::Waiting(For::Quota { reason, until }) => (Some(*until), Some(reason)),
            Outcome::Waiting(For::Time { last, until }) => (Some(*until), last.as_ref()),
            Outcome::Ended(end) => (None, end.reason.as_ref()),
            Outcome::Unknown | Outcome::Waiting(_) => (None, None),
        };
        Self {
            provider: way.provider.name(),
            part: way.part.name(),
            at: end.and_then(|end| end.at).map(rfc3339),
            outcome: way.outcome.name(),
            reason: word.map(ToString::to_string),
            attempts: end.map_or(0, |end| end.attempts),
            until: until.map(rfc3339),
        }
    }
}

#[derive(Debug, Serialize)]
struct TombstoneReply {
    provider: &'static str,
    registered_at: String,
    removed_at: String,
    reason: String,
}

/// A delivery by a provider; all but its name is null while it is under way.
#[derive(Debug, Serialize)]
struct DeliveryReply {
    provider: &'static str,
    outcome: Option<&'static str>,
    reason: Option<String>,
    at: Option<String>,
    /// Times that it left for the provider; the outcome is what came of the last.
    attempts: Option<u32>,
}

#[derive(Debug, Serialize)]
struct EventReply {
    #[serde(rename = "type")]
    kind: &'static str,
    at: String,
    /// Who says so; none is the device itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

pub(crate) async fn journey(
    State(api): State<Api>,
    caller: Caller,
    Path((msg_id, registration_id)): Path<(String, String)>,
) -> Result<Json<JourneyReply>, ApiError> {
    let message = message(&api, &caller, &msg_id).await?;
    let id: DeviceId = registration_id.parse().map_err(|error| {
        let why = format!("{} is wrong: {error}", shown(&registration_id));
        ApiError::invalid("registration_id", why)
    })?;
    let device = api.store.device(message.app, id).await?;
    let journey = api.store.journey(message.app, message.id, id).await?;
    let journey = journey.ok_or_else(|| unknown(&msg_id))?;
    Ok(Json(reply(&journey, device, id)))
}

fn reply(journey: &Journey, device: Option<Device>, id: DeviceId) -> JourneyReply {
    let verdict = verdict(journey, device.as_ref(), id);
    let history = journey.tombstones.iter().map(|stone| TombstoneReply {
        provider: stone.provider.name(),
        registered_at: rfc3339(stone.added_at),
        removed_at: rfc3339(stone.removed_at),
        reason: stone.reason.to_string(),
    });
    let delivery = journey.pages.first().map(|page| {
        let answer = page.answer.as_ref();
        DeliveryReply {
            provider: page.provider.name(),
            outcome: answer.map(|answer| answer.ending.name()),
            reason: answer.and_then(|answer| Some(answer.reason.as_ref()?.to_string())),
            at: answer.map(|answer| rfc3339(answer.at)),
            attempts: answer.map(|answer| answer.attempts),
        }
    });
    let events = journey.events.iter().map(|(kind, at)| EventReply {
        kind: kind.name(),
        at: rfc3339(*at),
        provider: None,
        reason: None,
    });
    let reports = journey.reports.iter().map(|report| EventReply {
        kind: report.kind.name(),
        at: rfc3339(report.at),
        provider: Some(report.provider.name()),
        reason: report.reason.as_ref().map(ToString::to_string),
    });
    let channels = device.map(|device| device.channels).unwrap_or_default();
    let mut providers: Vec<&str> = verdict.ways.iter().map(|way| way.provider.name()).collect();
    providers.sort_unstable();
    providers.dedup();
    let acknowledged_at = verdict.ways.iter().find_map(|way| match &way.outcome {
        Outcome::Ended(end)
            if end.ending == Ending::Delivered && way.provider == Provider::Link =>
        {
            end.at.map(rfc3339)
        }
        _ => None,
    });
    JourneyReply {
        msg_id: journey.message.id.to_string(),
        registration_id: id.to_string(),
        verdict: verdict.text,
        state: verdict.state.name(),
        reason: verdict.reason.as_ref().map(ToString::to_string),
        ways: verdict.ways.iter().map(Into::into).collect(),
        channels: channels.into_iter().map(Into::into).collect(),
        history: history.collect(),
        in_audience: !providers.is_empty(),
        providers,
        delivery,
        acknowledged_at,
        events: events.chain(reports).collect(),
    }
}
