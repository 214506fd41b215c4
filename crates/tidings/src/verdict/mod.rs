//! What became of a message at one device: a judgement on what the ledger, the pages, the inbox and the log know of the two.
//!
//! Each part of the message that was for the device, as the device was at the message's id, has its ways, and each way its
//! outcome. Delivered is what the device acknowledged, or what the provider reports that the phone has, and nothing else; the
//! way's provider tells the two apart. What cannot be known is said to be unknown. The counts of the message say the same.

mod words;

use tidings_model::{DeviceHistory, DeviceId, Part, Provider, Push, Reason, UnixMillis};
use tidings_store::{
    Answer, Device, Ending, EventKind, InboxRow, Journey, Judged, NOT_ACKNOWLEDGED, NOT_CONNECTED,
    PageStanding, Waits,
};

/// How a message and a device stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    // In the order in which they win where the parts of a message stand differently.
    /// The device has acknowledged it, or its provider reports that it has it.
    Delivered,
    /// The provider took it, which is the last that it tells.
    Accepted,
    /// It may still arrive.
    Waiting,
    /// What became of it is not known, or not any more.
    Unknown,
    Dropped,
    Expired,
    Failed,
    /// It was not for the device.
    NotTargeted,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Delivered => "delivered",
            Self::Dropped => "dropped",
            Self::Expired => "expired",
            Self::Failed => "failed",
            Self::NotTargeted => "not_targeted",
            Self::Unknown => "unknown",
            Self::Waiting => "waiting",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// False when the app has no such device.
    pub(crate) is_device: bool,
    pub(crate) reason: Option<Reason>,
    pub(crate) state: State,
    /// For a person who is asked by a user.
    pub(crate) text: String,
    /// Of each part that was for the device, the ways that it took, in their order.
    pub(crate) ways: Vec<Way>,
}

/// A way that a part took, or takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) outcome: Outcome,
    pub(crate) part: Part,
    pub(crate) provider: Provider,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ended(End),
    /// What became of it is not known any more.
    Unknown,
    Waiting(For),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// None where the time is not kept.
    pub(crate) at: Option<UnixMillis>,
    /// Times that it left for the provider; the end is what came of the last.
    pub(crate) attempts: u32,
    pub(crate) ending: Ending,
    pub(crate) reason: Option<Reason>,
}

/// What a delivery waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum For {
    /// The provider's answer.
    Answer,
    /// That the device comes to the link and acknowledges it.
    Device,
    /// The same, until then: the link has it first, and after that its next way.
    DeviceFirst { until: UnixMillis },
    /// A quota of the provider's, which is used up until then.
    Quota { reason: Reason, until: UnixMillis },
    /// Its next try, which is not before this; the provider's last word, if it has said one.
    Time {
        last: Option<Reason>,
        until: UnixMillis,
    },
    /// That the device's turn comes.
    Turn,
}

impl Outcome {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Ended(end) => end.ending.name(),
            Self::Unknown => State::Unknown.name(),
            Self::Waiting(_) => State::Waiting.name(),
        }
    }

    fn state(&self) -> State {
        match self {
            Self::Ended(end) => match end.ending {
                Ending::Accepted => State::Accepted,
                Ending::Delivered => State::Delivered,
                Ending::Dropped => State::Dropped,
                Ending::Expired => State::Expired,
                Ending::Failed => State::Failed,
                Ending::HandedOn => State::Waiting,
            },
            Self::Unknown => State::Unknown,
            Self::Waiting(_) => State::Waiting,
        }
    }
}

/// `device` is the device with that `id` as it is registered now; none when the app has no such device.
pub(crate) fn verdict(journey: &Journey, device: Option<&Device>, id: DeviceId) -> Verdict {
    let ways = ways(journey);
    let Some((state, reason)) = standing(&ways) else {
        let (state, reason, text) = words::not_targeted(journey, id);
        return Verdict {
            is_device: journey.history.is_some(),
            reason: Some(reason),
            state,
            text,
            ways,
        };
    };
    Verdict {
        is_device: true,
        reason,
        state,
        text: words::told(journey, device, &ways),
        ways,
    }
}

/// How the message stands as a whole: as the part of it that came furthest. None when no part is for the device.
fn standing(ways: &[Way]) -> Option<(State, Option<Reason>)> {
    let last = Part::ALL.into_iter().rev();
    let last = last.filter_map(|part| ways.iter().rfind(|way| way.part == part));
    let best = last.min_by_key(|way| way.outcome.state())?;
    let reason = match &best.outcome {
        Outcome::Ended(end) => end.reason.clone(),
        Outcome::Unknown | Outcome::Waiting(_) => None,
    };
    Some((best.outcome.state(), reason))
}

fn ways(journey: &Journey) -> Vec<Way> {
    let mut ways = Vec::new();
    let Some(history) = &journey.history else {
        return ways;
    };
    if journey.message.id < history.known_from {
        return ways;
    }
    for part in Part::ALL.into_iter().rev() {
        let first = link_first(journey, history, part);
        if !first.is_empty() {
            ways.extend(first);
            continue;
        }
        for provider in ways_of(history, journey, part) {
            let outcome = match provider {
                Provider::Link => by_link(journey, part),
                _ => by_page(journey, provider),
            };
            let goes_on = is_handed_on(&outcome);
            ways.push(Way {
                outcome,
                part,
                provider,
            });
            if !goes_on {
                break;
            }
        }
    }
    ways
}

/// The ways of a part that the link had first; empty when it had not.
fn link_first(journey: &Journey, history: &DeviceHistory, part: Part) -> Vec<Way> {
    let mut rows = journey.link.rows.iter();
    let row = rows.find(|row| row.link_first && row.parts.contains(part));
    let second = ways_of(history, journey, part).next();
    let (Some(row), Some(second)) = (row, second) else {
        return Vec::new();
    };
    let way = |provider, outcome| Way {
        outcome,
        part,
        provider,
    };
    let falls_back_at = journey.message.falls_back_at();
    if row.went.is_none() {
        let outcome = match (by_row(journey, row), falls_back_at) {
            (Outcome::Waiting(For::Device), Some(until)) => {
                Outcome::Waiting(For::DeviceFirst { until })
            }
            (outcome, _) => outcome,
        };
        return vec![way(Provider::Link, outcome)];
    }
    // When it has come back to the link, the row says that.
    let at = match &row.end {
        Some((Ending::HandedOn, _, at)) => Some(*at),
        _ => falls_back_at,
    };
    let handed_on = Outcome::Ended(End {
        at,
        attempts: 0,
        ending: Ending::HandedOn,
        reason: Some(NOT_ACKNOWLEDGED),
    });
    let by_second = by_page(journey, second);
    let comes_back = is_handed_on(&by_second);
    let mut ways = vec![way(Provider::Link, handed_on), way(second, by_second)];
    if comes_back {
        ways.push(way(Provider::Link, by_row(journey, row)));
    }
    ways
}

fn ways_of(
    history: &DeviceHistory,
    journey: &Journey,
    part: Part,
) -> impl Iterator<Item = Provider> {
    let Push { audience, .. } = &journey.message.push;
    let aim = journey.message.push.aim();
    history.ways(journey.message.id, audience, aim, part)
}

/// Whether the delivery went on by the device's next way.
fn is_handed_on(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Ended(end) if end.ending == Ending::HandedOn)
}

/// What the page of a provider says.
fn by_page(journey: &Journey, provider: Provider) -> Outcome {
    let mut pages = journey.pages.iter();
    match pages.find(|page| page.provider == provider) {
        Some(PageStanding {
            answer: Some(answer),
            ..
        }) => {
            let Answer {
                at,
                attempts,
                ending,
                reason,
                ..
            } = answer.clone();
            if ending == Ending::Accepted
                && let Some(at) = reported_at(journey, provider)
            {
                return Outcome::Ended(End {
                    at: Some(at),
                    attempts,
                    ending: Ending::Delivered,
                    reason: None,
                });
            }
            Outcome::Ended(End {
                at: Some(at),
                attempts,
                ending,
                reason,
            })
        }
        Some(PageStanding {
            waits: Some(waits), ..
        }) if waits.due.0 > 0 => Outcome::Waiting(until(journey, provider, waits)),
        Some(PageStanding { answer: None, .. }) => Outcome::Waiting(For::Answer),
        None if journey.to_come.contains(&provider) => Outcome::Waiting(For::Turn),
        None => Outcome::Unknown,
    }
}

/// What it waits for that is not to go before its time.
fn until(journey: &Journey, by: Provider, waits: &Waits) -> For {
    let until = waits.due;
    let spent = journey.credentials_spent.iter();
    let mut spent = spent
        .filter(|(provider, _)| *provider == by)
        .flat_map(|(_, spent)| spent);
    match spent.find(|spent| spent.until == until) {
        Some(spent) => For::Quota {
            reason: spent.reason.clone(),
            until,
        },
        None => For::Time {
            last: waits.last.clone(),
            until,
        },
    }
}

/// When a provider reports that the device got it.
fn reported_at(journey: &Journey, provider: Provider) -> Option<UnixMillis> {
    let mut reports = journey.reports.iter();
    let report = reports
        .find(|report| (report.provider, report.kind) == (provider, EventKind::Delivered))?;
    Some(report.at)
}

/// What the device's inbox, or its cursor in the log, says.
fn by_link(journey: &Journey, part: Part) -> Outcome {
    let link = &journey.link;
    let mut rows = link.rows.iter();
    if let Some(row) = rows.find(|row| row.parts.contains(part)) {
        return by_row(journey, row);
    }
    let judged = match (link.position, &link.cursor) {
        (Some(position), Some(cursor)) => cursor.at(position),
        _ if journey.to_come.contains(&Provider::Link) => return Outcome::Waiting(For::Turn),
        _ => return Outcome::Unknown,
    };
    match judged {
        Judged::Exception(ending, reason, at) => {
            over_the_link(ending, Some(reason.clone()), Some(at))
        }
        Judged::Forgotten => Outcome::Unknown,
        Judged::NotYet => open(journey),
        Judged::Passed => over_the_link(Ending::Delivered, None, None),
    }
}

/// It has not ended at the device. When the message is finished it is counted as expired.
fn by_row(journey: &Journey, row: &InboxRow) -> Outcome {
    match &row.end {
        Some((ending, reason, at)) => over_the_link(*ending, reason.clone(), Some(*at)),
        None => open(journey),
    }
}

fn open(journey: &Journey) -> Outcome {
    if !journey.finished {
        return Outcome::Waiting(For::Device);
    }
    let reason = match journey.message.is_online_only() {
        true => NOT_CONNECTED,
        false => NOT_ACKNOWLEDGED,
    };
    over_the_link(
        Ending::Expired,
        Some(reason),
        Some(journey.message.expires_at),
    )
}

fn over_the_link(ending: Ending, reason: Option<Reason>, at: Option<UnixMillis>) -> Outcome {
    let was_refused = reason
        .as_ref()
        .is_some_and(|reason| reason.as_str().starts_with("Refused"));
    Outcome::Ended(End {
        at,
        attempts: u32::from(ending == Ending::Delivered || was_refused),
        ending,
        reason,
    })
}

#[cfg(test)]
mod tests;
