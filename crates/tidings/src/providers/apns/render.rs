//! A message as Apple is given it.

use super::ios;

use tidings_model::{Message, MsgId, Platform, Push};
use tidings_providers::apns::{Expiration, Notification, NotificationError, PushType};

/// The notification that every iPhone of a message gets, encoded once. None when the message has none for iPhones.
pub(super) fn apns(
    message: &Message,
    topic: &str,
) -> Option<Result<Notification, NotificationError>> {
    let expiration = if message.is_online_only() {
        Expiration::Once
    } else {
        Expiration::At(message.expires_at)
    };
    notification(&message.push, message.id, topic, expiration)
}

/// Whether Apple would take what a push becomes: asked when it is accepted, so that nothing has to be refused later.
pub(crate) fn check(push: &Push) -> Result<(), NotificationError> {
    match notification(push, MsgId(i64::MAX), "topic", Expiration::Once) {
        Some(Err(error)) => Err(error),
        Some(Ok(_)) | None => Ok(()),
    }
}

fn notification(
    push: &Push,
    id: MsgId,
    topic: &str,
    expiration: Expiration,
) -> Option<Result<Notification, NotificationError>> {
    let payload = ios::payload(push.shown(Platform::Ios)?, id);
    let builder = Notification::builder(topic, &payload).expiration(expiration);
    let builder = match (&push.options.apns_collapse_id, payload.push_type()) {
        (Some(collapse_id), _) => builder.collapse_id(collapse_id.as_str()),
        // Apple does not promise to know an `apns-id` again: so a delivery that has to be repeated, because its answer
        // was lost, replaces the first on the phone.
        (None, PushType::Alert) => builder.collapse_id(id.to_string()),
        (None, _) => builder,
    };
    Some(builder.build())
}

#[cfg(test)]
mod tests {
    use tidings_model::{Audience, IosNotification, PlatformSet, PushOptions};
    use tidings_providers::apns::Priority;

    use super::*;

    fn built(ios: IosNotification, asked: Option<&str>) -> Notification {
        let push = Push {
            audience: Audience::All,
            message: None,
            notification: Some(tidings_model::Notification {
                ios: Some(ios),
                ..Default::default()
            }),
            options: PushOptions {
                apns_collapse_id: asked.map(str::to_owned),
                ..Default::default()
            },
            platforms: PlatformSet::ALL,
        };
        let built = notification(&push, MsgId(77), "com.example.app", Expiration::Once);
        let built = built.expect("something for iPhones");
        built.expect("Apple takes it")
    }

    #[test]
    fn an_alert_that_is_repeated_replaces_the_first() {
        let alert = || IosNotification {
            alert: "Hello".into(),
            ..Default::default()
        };
        let background = IosNotification {
            content_available: true,
            ..Default::default()
        };
        assert_eq!(built(alert(), None).collapse_id(), Some("77"));
        let asked = built(alert(), Some("score"));
        assert_eq!(asked.collapse_id(), Some("score"));
        assert_eq!(built(background, None).collapse_id(), None);
    }

    #[test]
    fn what_is_shown_and_wakes_the_app_is_an_alert() {
        let wake = || IosNotification {
            content_available: true,
            ..Default::default()
        };
        let shown = IosNotification {
            alert: "Hello".into(),
            ..wake()
        };
        let kind = |built: Notification| (built.push_type(), built.priority());
        let alert = (PushType::Alert, Priority::Immediate);
        assert_eq!(kind(built(shown, None)), alert);
        let background = (PushType::Background, Priority::PowerSaving);
        assert_eq!(kind(built(wake(), None)), background);
    }
}
