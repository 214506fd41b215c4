//! A verdict in sentences that a person who is asked by a user can pass on.

use tidings_model::{
    Audience, DeviceHistory, DeviceId, Environment, Life, Provider, Reason, Selection, Spent,
};
use tidings_store::{
    ACKNOWLEDGED_LATE, Device, Ending, EventKind, Journey, NOT_ACKNOWLEDGED, NOT_CONNECTED,
    TOO_LARGE,
};

use super::{End, For, Outcome, State, Way};
use crate::clock::rfc3339;

/// What became of each part, and what the device itself says.
pub(super) fn told(journey: &Journey, device: Option<&Device>, ways: &[Way]) -> String {
    let mut sentences: Vec<String> = Vec::new();
    for way in ways {
        let sentence = way_told(journey, device, way);
        // Two parts that went the same way and came equally far are told as one.
        if !sentences.contains(&sentence) {
            sentences.push(sentence);
        }
    }
    for report in &journey.reports {
        let (provider, at) = (report.provider.nature().title, rfc3339(report.at));
        let reason = report.reason.as_ref().map_or("", Reason::as_str);
        match report.kind {
            EventKind::Opened => {
                sentences.push(format!("{provider} reports that it was clicked at {at}."))
            }
            EventKind::Undelivered => sentences.push(format!(
                "{provider} reports at {at} that it did not arrive or is not shown ({reason})."
            )),
            // That is how the way ended.
            EventKind::Delivered | EventKind::Dismissed | EventKind::Received => {}
        }
    }
    for (kind, what) in [
        (EventKind::Opened, "opened"),
        (EventKind::Dismissed, "dismissed"),
        (EventKind::Received, "received"),
    ] {
        let mut events = journey.events.iter();
        if let Some((_, at)) = events.find(|(told, _)| *told == kind) {
            sentences.push(format!(
                "The device says that it {what} it at {}.",
                rfc3339(*at)
            ));
        }
    }
    sentences.join(" ")
}

fn has_left_the_link(device: Option<&Device>) -> bool {
    device.is_some_and(|device| !device.providers().contains(Provider::Link))
}

fn way_told(journey: &Journey, device: Option<&Device>, way: &Way) -> String {
    let provider = way.provider.nature().title;
    let expires_at = rfc3339(journey.message.expires_at);
    match &way.outcome {
        Outcome::Ended(end) if way.provider == Provider::Link => link_told(journey, end),
        Outcome::Ended(end) => provider_told(journey, device, way.provider, end),
        Outcome::Unknown => "What became of it is not known any more.".into(),
        Outcome::Waiting(For::Answer) => match rejected(journey, device, way.provider) {
            Some(reason) => format!(
                "It waits: {provider} rejects the app's credential ({reason}), and goes on when that is replaced."
            ),
            None => format!("It is under way: {provider} has not answered yet."),
        },
        Outcome::Waiting(For::Device) if journey.message.is_online_only() => {
            "It is only for devices that were connected when it was sent, and this one has not acknowledged it yet.".into()
        }
        Outcome::Waiting(For::Device) if has_left_the_link(device) => {
            "It is for the link, which the device does not have any more: unless it takes the link again at once, it is dropped.".into()
        }
        Outcome::Waiting(For::Device) => format!(
            "It waits until {expires_at}: the device has not acknowledged it, and gets it when it connects to the link."
        ),
        Outcome::Waiting(For::DeviceFirst { until }) => format!(
            "It waits for the device to acknowledge it over the link; if it has not by {}, it goes on by the device's next way.",
            rfc3339(*until)
        ),
        Outcome::Waiting(For::Quota { reason, until }) => format!(
            "It waits: the app's quota at {provider} is used up ({reason}), and there is another from {} on.",
            rfc3339(*until)
        ),
        Outcome::Waiting(For::Time {
            last: Some(last),
            until,
        }) => format!(
            "It waits: {provider} could not take it ({last}), and is asked again at {}.",
            rfc3339(*until)
        ),
        Outcome::Waiting(For::Time { last: None, until }) => {
            format!("It waits: {provider} is asked again at {}.", rfc3339(*until))
        }
        Outcome::Waiting(For::Turn) => {
            "It is under way: the device's turn has not come yet.".into()
        }
    }
}

fn link_told(journey: &Journey, end: &End) -> String {
    let expires_at = rfc3339(journey.message.expires_at);
    let at = end.at.map(rfc3339);
    let reason = end.reason.as_ref().map_or("", Reason::as_str);
    let is = |word: &Reason| word.as_str() == reason;
    match end.ending {
        Ending::Delivered => match at {
            Some(at) => {
                format!("It arrived over the link: the device acknowledged it at {at}.")
            }
            None => "It arrived over the link: the device has acknowledged it.".into(),
        },
        Ending::Dropped if end.attempts > 0 => format!(
            "It was sent over the link, and the device refused it ({reason})."
        ),
        Ending::Dropped if is(&TOO_LARGE) => format!(
            "It was not sent: it is larger than what the device takes over the link ({reason})."
        ),
        Ending::Dropped => format!(
            "It was dropped at {}: the device had not acknowledged it when it lost the link ({reason}).",
            at.unwrap_or_default()
        ),
        Ending::Expired if is(&ACKNOWLEDGED_LATE) => format!(
            "It expired at {expires_at}; the device acknowledged it after that, when it had been counted as expired."
        ),
        Ending::Expired if is(&NOT_CONNECTED) => {
            "It was for devices that were connected when it was sent, and this one did not acknowledge it then.".into()
        }
        Ending::Expired if is(&NOT_ACKNOWLEDGED) => format!(
            "It expired at {expires_at}: the device did not acknowledge it in time."
        ),
        Ending::HandedOn => format!(
            "The device had not acknowledged it over the link by {}: then it went on by the device's next way.",
            at.unwrap_or_default()
        ),
        Ending::Accepted | Ending::Expired | Ending::Failed => {
            format!("It expired at {expires_at} ({reason}).")
        }
    }
}

fn provider_told(journey: &Journey, device: Option<&Device>, by: Provider, end: &End) -> String {
    let provider = by.nature().title;
    let at = end.at.map(rfc3339).unwrap_or_default();
    let reason = end.reason.as_ref();
    let spent = reason.and_then(|reason| spent(journey, by, reason));
    let reason = reason.map_or("no reason given", Reason::as_str);
    if let (Ending::Failed, Some(spent)) = (end.ending, spent) {
        let until = rfc3339(spent.until);
        return format!(
            "It was not sent: at {at} the app's quota at {provider} was used up ({reason}) until {until}, and it does not live that long."
        );
    }
    match end.ending {
        Ending::Accepted => format!(
            "{provider} accepted it at {at}, which is the last that {provider} tells; if it was not seen, the \
             device was off or offline until the message expired, or it or the app suppresses notifications."
        ),
        Ending::Delivered => format!(
            "{provider} reports that it arrived at {at}; the device itself acknowledges only what comes over the link."
        ),
        Ending::Dropped if reason == "superseded" => format!(
            "It was not sent: by {at}, a newer message with the same collapse id had taken its place."
        ),
        Ending::Dropped if end.attempts == 0 => format!(
            "It was not sent: when its turn came, at {at}, the device no longer had the token for {provider} ({reason})."
        ),
        Ending::Dropped if device.is_some_and(|device| device.providers().contains(by)) => format!(
            "It was dropped at {at}: {provider} says that the device's token was not good ({reason}). The token is \
             kept, since it was registered again later, or since the credential may be to blame."
        ),
        Ending::Dropped => format!(
            "It was dropped at {at}: {provider} says that the device's token is not good any more ({reason}); \
             the app has to register the device anew."
        ),
        Ending::Expired => format!("It expired at {at} before {provider} took it ({reason})."),
        Ending::Failed if reason == "NoCredential" => format!(
            "It was not sent: at {at} the app had no credential for {provider} and the token's environment."
        ),
        Ending::Failed if end.attempts == 0 => format!(
            "It was not sent: it was given up at {at} before it left for {provider} ({reason})."
        ),
        Ending::Failed => {
            format!("It failed at {at}: {provider} refused it or did not answer ({reason}).")
        }
        Ending::HandedOn => format!(
            "It went on by the device's next way at {at}, since {provider} could not take it ({reason})."
        ),
    }
}

/// The quota of which a provider has said so.
fn spent<'a>(journey: &'a Journey, by: Provider, reason: &Reason) -> Option<&'a Spent> {
    let spent = journey.credentials_spent.iter();
    let mut spent = spent
        .filter(|(provider, _)| *provider == by)
        .flat_map(|(_, spent)| spent);
    spent.find(|spent| spent.reason == *reason)
}

/// Why the credential that the delivery goes with is rejected, if it is. Where nobody named an environment, it is any.
fn rejected<'a>(journey: &'a Journey, device: Option<&Device>, by: Provider) -> Option<&'a Reason> {
    let of_token = device.and_then(|device| {
        let mut channels = device.channels.iter();
        channels.find_map(|channel| channel.environment)
    });
    let wanted = of_token.or_else(|| {
        let is_production = journey.message.push.options.apns_production?;
        Some(if is_production {
            Environment::Production
        } else {
            Environment::Sandbox
        })
    });
    let rejected = journey.credentials_rejected.iter();
    let mut rejected = rejected.filter(|(provider, environment, _)| {
        *provider == by && (wanted.is_none() || environment.is_none() || wanted == *environment)
    });
    rejected.next().map(|(_, _, reason)| reason)
}

/// Why no part of the message was for the device.
pub(super) fn not_targeted(journey: &Journey, id: DeviceId) -> (State, Reason, String) {
    let message = &journey.message;
    let not = |reason, text: String| (State::NotTargeted, Reason::known(reason), text);
    let Some(history) = &journey.history else {
        let text =
            format!("The app has no device {id}: it was never registered, or has been forgotten.");
        return (State::Unknown, Reason::known("NoDevice"), text);
    };
    if message.id < history.known_from {
        let text = "What the device was and had then is not known any more.";
        return (State::Unknown, Reason::known("NotKnown"), text.into());
    }
    if id.0 > message.id.0 {
        let accepted_at = rfc3339(message.accepted_at);
        let text = format!("The device was registered later than the message ({accepted_at}).");
        return not("RegisteredLater", text);
    }
    let platform = history.platform;
    if !message.push.platforms.contains(platform) {
        let text = format!("The push was for other platforms than {platform}.");
        return not("NotForPlatform", text);
    }
    if let Some(why) = outside(journey, history) {
        let text = format!("The device was not in the audience: {why}.");
        return not("NotInAudience", text);
    }
    let aim = message.push.aim();
    if !aim.message.contains(platform) && !aim.notification.contains(platform) {
        let text = format!(
            "The push has nothing for {platform}: no section for it, and no alert for all."
        );
        return not("NotForPlatform", text);
    }
    not("NoChannel", without_channel(journey, history))
}

/// Which of the audience's lists left the device out, as it was then.
fn outside(journey: &Journey, history: &DeviceHistory) -> Option<String> {
    let message = &journey.message;
    let Audience::Selection(Selection {
        aliases,
        devices,
        tags,
    }) = &message.push.audience
    else {
        return None;
    };
    if !devices.is_empty() && !devices.contains(&history.id) {
        return Some("its registration_id is not among those of the push".into());
    }
    let was = |life: &Life| life.holds_at(message.id);
    let mut held = history.aliases.iter().filter(|(_, life)| was(life));
    let alias = held.next().map(|(alias, _)| alias);
    if !aliases.is_empty() && !alias.is_some_and(|alias| aliases.contains(alias)) {
        return Some(match alias {
            Some(alias) => format!("its alias {alias} is not among those of the push"),
            None => "it had no alias then, and the push asks for one".into(),
        });
    }
    let mut held = history.tags.iter().filter(|(_, life)| was(life)).peekable();
    let has_any = held.peek().is_some();
    if !tags.is_empty() && !held.any(|(tag, _)| tags.contains(tag)) {
        return Some(match has_any {
            true => "none of the tags that it had then is among those of the push".into(),
            false => "it had no tags then, and the push asks for some".into(),
        });
    }
    None
}

fn without_channel(journey: &Journey, history: &DeviceHistory) -> String {
    let held = history.providers_at(journey.message.id);
    if !held.is_empty() {
        return "The device had no channel that could carry it: a custom message goes over the link only.".into();
    }
    let id = journey.message.id.0;
    let is_newer = |(_, life): &&(Provider, Life)| life.since > id;
    if history.channels.iter().any(|channel| is_newer(&channel)) {
        return "The device had no channel then: those that it has are newer.".into();
    }
    match journey.tombstones.last() {
        Some(last) => format!(
            "The device had no channel: its last one, {}, was removed at {} ({}).",
            last.provider,
            rfc3339(last.removed_at),
            last.reason
        ),
        None => "The device had no channel.".into(),
    }
}
