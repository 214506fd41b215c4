//! A message as a device on the link reads it: JSON in JPush's field names.

use bytes::Bytes;
use serde_json::{Map, Value, json};
use tidings_model::{CustomMessage, IosNotification, Message, Notification, Parts, Platform};

/// `{"id":"…","notification":{…}}`, `{"id":"…","message":{…}}`, or both under one id: a client drops a part that it has
/// seen of an id, and may get the other one later.
pub(crate) fn encode(message: &Message, platform: Platform, parts: Parts) -> Bytes {
    let mut payload = Map::new();
    payload.insert("id".into(), message.id.to_string().into());
    if let (true, Some(notification)) = (parts.notification, &message.push.notification) {
        payload.insert("notification".into(), shown(notification, platform).into());
    }
    if let (true, Some(custom)) = (parts.message, &message.push.message) {
        payload.insert("message".into(), handed_over(custom).into());
    }
    Value::Object(payload).to_string().into()
}

/// The platform's own section, with the text for all where it has none.
fn shown(notification: &Notification, platform: Platform) -> Map<String, Value> {
    let mut section = match platform {
        Platform::Android => notification.android.clone().unwrap_or_default(),
        Platform::Ios => notification.ios.as_ref().map(ios).unwrap_or_default(),
        Platform::Hmos => notification.hmos.clone().unwrap_or_default(),
        Platform::Web | Platform::Windows => Map::new(),
    };
    if let Some(alert) = &notification.alert {
        section
            .entry("alert")
            .or_insert_with(|| alert.as_str().into());
    }
    section
}

fn ios(section: &IosNotification) -> Map<String, Value> {
    let flag = |set: bool| if set { Value::Bool(true) } else { Value::Null };
    let extras = if section.extras.is_empty() {
        Value::Null
    } else {
        section.extras.clone().into()
    };
    named([
        ("alert", section.alert.clone()),
        ("badge", json!(section.badge)),
        ("category", json!(section.category)),
        ("content-available", flag(section.content_available)),
        ("extras", extras),
        ("interruption-level", json!(section.interruption_level)),
        ("mutable-content", flag(section.mutable_content)),
        ("sound", section.sound.clone()),
        ("thread-id", json!(section.thread_id)),
    ])
}

fn handed_over(custom: &CustomMessage) -> Map<String, Value> {
    let extras = if custom.extras.is_empty() {
        Value::Null
    } else {
        custom.extras.clone().into()
    };
    named([
        ("content_type", json!(custom.content_type)),
        ("extras", extras),
        ("msg_content", custom.msg_content.clone()),
        ("title", json!(custom.title)),
    ])
}

/// The fields that are there.
fn named<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

#[cfg(test)]
mod tests {
    use tidings_model::{AppId, Audience, MsgId, PlatformSet, Push, PushOptions, UnixMillis};

    use super::*;

    const BOTH: Parts = Parts {
        message: true,
        notification: true,
    };
    const SHOWN: Parts = Parts {
        message: false,
        notification: true,
    };

    fn message(notification: Notification) -> Message {
        let custom = CustomMessage {
            content_type: Some("text".into()),
            extras: Map::new(),
            msg_content: "x".into(),
            shown_instead: None,
            title: None,
        };
        Message {
            accepted_at: UnixMillis(0),
            app: AppId(1),
            expires_at: UnixMillis(1),
            id: MsgId(232_894_028_391_022_592),
            push: Push {
                audience: Audience::All,
                message: Some(custom),
                notification: Some(notification),
                options: PushOptions::default(),
                platforms: PlatformSet::ALL,
            },
        }
    }

    fn check(notification: Notification, platform: Platform, parts: Parts, expected: Value) {
        let encoded = encode(&message(notification), platform, parts);
        assert_eq!(
            serde_json::from_slice::<Value>(&encoded).expect("JSON"),
            expected
        );
    }

    #[test]
    fn a_device_reads_its_own_section() {
        let section = json!({"alert": "own", "title": "t", "extras": {"k": 1}});
        let notification = Notification {
            alert: Some("for all".into()),
            android: section.as_object().cloned(),
            hmos: json!({"alert": "hmos", "style": 2}).as_object().cloned(),
            ios: Some(IosNotification {
                badge: Some(3),
                sound: "default".into(),
                ..IosNotification::default()
            }),
        };
        let id = "232894028391022592";
        let android = json!({"id": id, "notification": section});
        check(notification.clone(), Platform::Android, SHOWN, android);
        let ios =
            json!({"id": id, "notification": {"alert": "for all", "badge": 3, "sound": "default"}});
        check(notification.clone(), Platform::Ios, SHOWN, ios);
        let hmos = json!({"id": id, "notification": {"alert": "hmos", "style": 2}});
        check(notification.clone(), Platform::Hmos, SHOWN, hmos);
        let web = json!({"id": id, "notification": {"alert": "for all"}});
        check(notification, Platform::Web, SHOWN, web);
    }

    #[test]
    fn both_parts_come_under_one_id() {
        let notification = Notification {
            alert: Some("hi".into()),
            ..Notification::default()
        };
        let expected = json!({
            "id": "232894028391022592",
            "notification": {"alert": "hi"},
            "message": {"msg_content": "x", "content_type": "text"},
        });
        check(notification, Platform::Android, BOTH, expected);
    }
}
