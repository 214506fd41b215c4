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
    let builder = match &push.options.apns_collapse_id {
        Some(collapse_id) => builder.collapse_id(collapse_id.as_str()),
        None => builder,
    };
    Some(builder.build())
}
