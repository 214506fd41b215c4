//! Why a message did or did not reach a device, in one sentence that a person who is asked by a user can pass on.

use serde::Serialize;
use tidings_model::{Audience, DeviceId, Environment, Provider, Reason, Selection, UnixMillis};
use tidings_store::{Answer, Device, Ending, EventKind, Journey, LinkStanding};

use super::rfc3339;

/// How a message and a device stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// The provider took it, which is the last that it tells.
    Accepted,
    /// The device has it.
    Delivered,
    Dropped,
    Expired,
    Failed,
    /// The device has no channel by which it could go.
    NoChannel,
    /// The push asked for other platforms, or has nothing for this one.
    NotForPlatform,
    NotInAudience,
    NotRegistered,
    /// The device, or that by which it is in the audience, is younger than the message.
    RegisteredLater,
    Sending,
    /// For the device to connect to the link.
    Waiting,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) standing: Standing,
    pub(crate) text: String,
}

/// `device` is the device with that `id` as it is registered now; none when the app has no such device.
pub(crate) fn verdict(
    journey: &Journey,
    device: Option<&Device>,
    id: DeviceId,
    now: UnixMillis,
) -> Verdict {
    let (standing, text) = said_by_device(journey)
        .or_else(|| said_by_provider(journey, device))
        .or_else(|| not_targeted(journey, device, id))
        .unwrap_or_else(|| under_way(journey, now));
    Verdict { standing, text }
}

/// What the device itself has told, which is better than what anybody else knows.
fn said_by_device(journey: &Journey) -> Option<(Standing, String)> {
    let told = |wanted| journey.events.iter().find(|(kind, _)| *kind == wanted);
    for (kind, what) in [
        (EventKind::Opened, "opened"),
        (EventKind::Dismissed, "dismissed"),
        (EventKind::Received, "received"),
    ] {
        if let Some((_, at)) = told(kind) {
            let text = format!("It arrived: the device {what} it at {}.", rfc3339(*at));
            return Some((Standing::Delivered, text));
        }
    }
    let LinkStanding {
        acked_at, cursor, ..
    } = journey.link;
    if let Some(at) = acked_at {
        let at = rfc3339(at);
        let text = format!("It arrived over the link: the device acknowledged it at {at}.");
        return Some((Standing::Delivered, text));
    }
    let message = &journey.message;
    let is_behind = cursor.is_some_and(|cursor| cursor >= message.id);
    if is_behind
        && message.push.audience.is_logged()
        && journey.in_audience.contains(&Provider::Link)
    {
        let text = "It arrived over the link: the device has acknowledged it.";
        return Some((Standing::Delivered, text.into()));
    }
    None
}

/// Why the credential that the delivery goes with is rejected, if it is. Where nobody named an environment, it is any.
fn rejected<'a>(journey: &'a Journey, device: Option<&Device>) -> Option<&'a Reason> {
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
    let mut rejected = rejected.filter(|(environment, _)| {
        wanted.is_none() || environment.is_none() || wanted == *environment
    });
    rejected.next().map(|(_, reason)| reason)
}

fn said_by_provider(journey: &Journey, device: Option<&Device>) -> Option<(Standing, String)> {
    let page = journey.page.as_ref()?;
    let provider = match page.provider {
        Provider::Apns => "Apple",
        Provider::Link => "the link",
    };
    let Some(answer) = &page.answer else {
        let text = match rejected(journey, device) {
            Some(reason) => format!(
                "It waits: {provider} rejects the app's credential ({reason}), and goes on when that is replaced."
            ),
            None => format!("It is under way: {provider} has not answered yet."),
        };
        return Some((Standing::Sending, text));
    };
    let Answer {
        at,
        attempts,
        ending,
        ..
    } = answer;
    let at = rfc3339(*at);
    let reason = answer
        .reason
        .as_ref()
        .map_or("no reason given", |reason| reason.as_str());
    Some(match ending {
        Ending::Accepted => (
            Standing::Accepted,
            format!(
                "{provider} accepted it at {at}, which is the last that {provider} tells; if it was not seen, the \
                 device was off or offline until the message expired, or it or the app suppresses notifications."
            ),
        ),
        Ending::Delivered => (Standing::Delivered, format!("It arrived at {at}.")),
        Ending::Dropped
            if device.is_some_and(|device| device.providers().contains(page.provider)) =>
        {
            (
                Standing::Dropped,
                format!(
                    "It was dropped at {at}: {provider} says that the device's token was not good ({reason}). The token is \
                 kept, since it was registered again later, or since the credential may be to blame."
                ),
            )
        }
        Ending::Dropped => (
            Standing::Dropped,
            format!(
                "It was dropped at {at}: {provider} says that the device's token is not good any more ({reason}); \
                 the app has to register the device anew."
            ),
        ),
        Ending::Expired => (
            Standing::Expired,
            format!("It expired at {at} before {provider} took it ({reason})."),
        ),
        Ending::Failed if reason == "NoCredential" => (
            Standing::Failed,
            format!(
                "It was not sent: at {at} the app had no credential for {provider} and the token's environment."
            ),
        ),
        Ending::Failed if *attempts == 0 => (
            Standing::Failed,
            format!(
                "It was not sent: it was given up at {at} before it left for {provider} ({reason})."
            ),
        ),
        Ending::Failed => (
            Standing::Failed,
            format!("It failed at {at}: {provider} refused it or did not answer ({reason})."),
        ),
    })
}

/// Why the message is not for the device, as the device is registered now.
fn not_targeted(
    journey: &Journey,
    device: Option<&Device>,
    id: DeviceId,
) -> Option<(Standing, String)> {
    let message = &journey.message;
    let Some(device) = device else {
        let text =
            format!("The app has no device {id}: it was never registered, or has been forgotten.");
        return Some((Standing::NotRegistered, text));
    };
    let accepted_at = rfc3339(message.accepted_at);
    if device.id.0 > message.id.0 {
        let at = rfc3339(device.created_at);
        let text =
            format!("The device was registered at {at}, later than the message ({accepted_at}).");
        return Some((Standing::RegisteredLater, text));
    }
    let platform = device.platform;
    if !message.push.platforms.contains(platform) {
        let text = format!("The push was for other platforms than {platform}.");
        return Some((Standing::NotForPlatform, text));
    }
    if let Some(why) = outside(&message.push.audience, device) {
        let text = format!("The device is not in the audience: {why}.");
        return Some((Standing::NotInAudience, text));
    }
    let shows = message
        .push
        .notification
        .as_ref()
        .is_some_and(|notification| notification.is_for(platform));
    if !shows && message.push.message.is_none() {
        let text = format!(
            "The push has nothing for {platform}: no section for it, and no alert for all."
        );
        return Some((Standing::NotForPlatform, text));
    }
    if journey.in_audience.is_empty() {
        return Some((Standing::NoChannel, without_channel(journey, device)));
    }
    None
}

/// Which of the audience's lists leaves the device out.
fn outside(audience: &Audience, device: &Device) -> Option<String> {
    let Audience::Selection(Selection {
        aliases,
        devices,
        tags,
    }) = audience
    else {
        return None;
    };
    if !devices.is_empty() && !devices.contains(&device.id) {
        return Some("its registration_id is not among those of the push".into());
    }
    let alias = device.alias.as_ref();
    if !aliases.is_empty() && !alias.is_some_and(|alias| aliases.contains(alias)) {
        return Some(match alias {
            Some(alias) => format!("its alias {alias} is not among those of the push"),
            None => "it has no alias, and the push asks for one".into(),
        });
    }
    if !tags.is_empty() && !tags.iter().any(|tag| device.tags.contains(tag)) {
        return Some(match device.tags.is_empty() {
            true => "it has no tags, and the push asks for some".into(),
            false => "none of its tags is among those of the push".into(),
        });
    }
    None
}

fn without_channel(journey: &Journey, device: &Device) -> String {
    if !device.channels.is_empty() {
        return "The device has no channel that can carry it: a custom message goes over the link only.".into();
    }
    match journey.tombstones.last() {
        Some(last) => format!(
            "The device has no channel: its last one, {}, was removed at {} ({}).",
            last.provider,
            rfc3339(last.removed_at),
            last.reason
        ),
        None => "The device has no channel.".into(),
    }
}

/// It is for the device, and there is no answer.
fn under_way(journey: &Journey, now: UnixMillis) -> (Standing, String) {
    let message = &journey.message;
    let expires_at = rfc3339(message.expires_at);
    let is_over = now >= message.expires_at;
    let is_to_come = |provider| journey.to_come.contains(&provider);
    // The log is read by whoever connects; an inbox is filled once.
    let by_link = journey.in_audience.contains(&Provider::Link)
        && (message.push.audience.is_logged()
            || journey.link.in_inbox
            || is_to_come(Provider::Link));
    let by_apns = journey.in_audience.contains(&Provider::Apns) && is_to_come(Provider::Apns);
    match (by_link, by_apns, is_over) {
        (true, _, true) if message.is_online_only() => (
            Standing::Expired,
            "It was for devices that were connected when it was sent, and this one was not.".into(),
        ),
        (true, _, true) => (
            Standing::Expired,
            format!(
                "It expired at {expires_at}: the device did not come to the link for it in time."
            ),
        ),
        (true, _, false) if message.is_online_only() => (
            Standing::Sending,
            "It is only for devices that are connected now, and this one has not acknowledged it yet.".into(),
        ),
        (true, _, false) => (
            Standing::Waiting,
            format!(
                "It waits until {expires_at}: the device has not acknowledged it, and gets it when it connects to the \
                 link."
            ),
        ),
        (false, true, true) => (
            Standing::Expired,
            format!("It expired at {expires_at}, before the device's turn came."),
        ),
        (false, true, false) => (
            Standing::Sending,
            "It is under way: the device's turn has not come yet.".into(),
        ),
        (false, false, _) => (
            Standing::RegisteredLater,
            "It was not for the device when the device's turn came: the channel, alias or tags by which it would be \
             now are newer."
                .into(),
        ),
    }
}

#[cfg(test)]
mod tests;
