//! A message as each provider is given it.

use std::sync::Arc;

use tidings_model::{Message, MsgId, Push};
use tidings_providers::apns::{
    Expiration, Notification, NotificationError, Payload, Priority, PushType,
};

/// The notification that every iPhone of a message gets, encoded once. None when the message has none for iPhones.
pub(super) fn apns(
    message: &Message,
    topic: &str,
) -> Option<Result<Arc<Notification>, NotificationError>> {
    let expiration = if message.is_online_only() {
        Expiration::Once
    } else {
        Expiration::At(message.expires_at)
    };
    Some(notification(&message.push, message.id, topic, expiration)?.map(Arc::new))
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
    let payload = Payload::from_push(push.notification.as_ref()?, id);
    let push_type = payload.push_type();
    let priority = match push_type {
        PushType::Background => Priority::PowerSaving,
        _ => Priority::Immediate,
    };
    let builder = Notification::builder(topic, payload.encode())
        .push_type(push_type)
        .priority(priority)
        .expiration(expiration);
    let builder = match (&push.options.apns_collapse_id, push_type) {
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

    use super::*;

    fn collapse_id(ios: IosNotification, asked: Option<&str>) -> Option<String> {
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
        let built = notification(&push, MsgId(77), "com.example.app", Expiration::Once)?;
        let built = built.expect("Apple takes it");
        let value = built.collapse_id()?.to_str().expect("a text");
        Some(value.to_owned())
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
        assert_eq!(collapse_id(alert(), None).as_deref(), Some("77"));
        assert_eq!(
            collapse_id(alert(), Some("score")).as_deref(),
            Some("score")
        );
        assert_eq!(collapse_id(background, None), None);
    }
}
