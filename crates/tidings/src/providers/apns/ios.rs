//! JPush's `ios` section, as Apple has it.

use serde_json::{Map, Value};
use tidings_model::{MsgId, Notification};
use tidings_providers::apns::{Alert, Payload, Sound};

/// What an iPhone gets of a push's notification: the `ios` section, else the text for all; the extras beside `aps`, and
/// JPush's `_j_msgid`, a number.
pub(super) fn payload(notification: &Notification, msg_id: MsgId) -> Payload {
    let general = notification.alert.as_deref().map(Value::from);
    let ios = notification.ios.clone().unwrap_or_default();
    let shown = Some(ios.alert).filter(|alert| !alert.is_null()).or(general);
    let mut custom = ios.extras;
    custom.insert("_j_msgid".to_owned(), msg_id.0.into());
    Payload {
        alert: shown.and_then(alert),
        badge: ios.badge,
        category: ios.category,
        content_available: ios.content_available,
        custom,
        interruption_level: ios.interruption_level,
        mutable_content: ios.mutable_content,
        sound: sound(&ios.sound),
        thread_id: ios.thread_id,
        ..Payload::default()
    }
}

/// An empty one shows nothing.
fn alert(value: Value) -> Option<Alert> {
    match value {
        Value::Object(parts) if !parts.is_empty() => Some(Alert::Object(parts)),
        Value::String(text) if !text.is_empty() => Some(Alert::Text(text)),
        _ => None,
    }
}

/// A name, or Apple's object for a critical one. An empty one is silence.
fn sound(value: &Value) -> Option<Sound> {
    match value {
        Value::Object(parts) => sound_of_parts(parts),
        Value::String(name) if !name.is_empty() => Some(Sound::Named(name.clone())),
        _ => None,
    }
}

fn sound_of_parts(parts: &Map<String, Value>) -> Option<Sound> {
    let name = parts.get("name").and_then(Value::as_str).map(str::to_owned);
    let is_critical = parts.get("critical").and_then(Value::as_u64) == Some(1);
    if !is_critical {
        return name.map(Sound::Named);
    }
    Some(Sound::Critical {
        name: name.unwrap_or_else(|| "default".to_owned()),
        volume: parts.get("volume").and_then(Value::as_f64),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidings_model::{InterruptionLevel, IosNotification};
    use tidings_providers::apns::PushType;

    use super::*;

    fn parsed(payload: &Payload) -> Value {
        let json = payload.encode().expect("a payload");
        serde_json::from_slice(&json).expect("JSON")
    }

    fn map(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn a_push_is_written_as_jpush_writes_it() {
        let push = Notification {
            alert: Some("for all".into()),
            android: None,
            hmos: None,
            ios: Some(IosNotification {
                alert: json!({"title": "T", "body": "B"}),
                badge: Some(3),
                category: Some("c".into()),
                content_available: true,
                extras: map(json!({"news_id": 134, "_j_msgid": 1})),
                interruption_level: Some(InterruptionLevel::Active),
                mutable_content: true,
                sound: "default".into(),
                thread_id: Some("t".into()),
            }),
        };
        let payload = payload(&push, MsgId(18_103_083_292_408_631));
        let expected = json!({
            "_j_msgid": 18_103_083_292_408_631_i64,
            "aps": {
                "alert": {"title": "T", "body": "B"}, "badge": 3, "category": "c", "content-available": 1,
                "interruption-level": "active", "mutable-content": 1, "sound": "default", "thread-id": "t"
            },
            "news_id": 134
        });
        assert_eq!(parsed(&payload), expected);
        assert_eq!(payload.push_type(), PushType::Alert);
    }

    #[test]
    fn the_text_for_all_is_used_where_ios_has_none() {
        let alert = |ios: Option<Value>| {
            let push = Notification {
                alert: Some("for all".into()),
                android: None,
                hmos: None,
                ios: ios.map(|alert| IosNotification {
                    alert,
                    ..IosNotification::default()
                }),
            };
            parsed(&payload(&push, MsgId(1)))["aps"].clone()
        };
        assert_eq!(alert(None), json!({"alert": "for all"}));
        assert_eq!(alert(Some(Value::Null)), json!({"alert": "for all"}));
        assert_eq!(alert(Some(json!("own"))), json!({"alert": "own"}));
        assert_eq!(alert(Some(json!(""))), json!({}));
    }

    #[test]
    fn a_push_that_only_wakes_the_app_is_background() {
        let ios = IosNotification {
            alert: "".into(),
            content_available: true,
            sound: "".into(),
            ..IosNotification::default()
        };
        let push = Notification {
            ios: Some(ios),
            ..Notification::default()
        };
        let payload = payload(&push, MsgId(1));
        assert_eq!(payload.push_type(), PushType::Background);
        let aps = json!({"content-available": 1});
        assert_eq!(parsed(&payload)["aps"], aps);
    }

    #[test]
    fn a_sound_is_a_name_or_a_critical_one() {
        let written = |sound: Value| {
            let push = Notification {
                ios: Some(IosNotification {
                    sound,
                    ..IosNotification::default()
                }),
                ..Notification::default()
            };
            parsed(&payload(&push, MsgId(1)))["aps"]["sound"].clone()
        };
        let whole = json!({"critical": 1, "name": "bell.caf", "volume": 0.5});
        let cases = [
            (json!("bell.caf"), json!("bell.caf")),
            (whole.clone(), whole),
            (
                json!({"critical": 1}),
                json!({"critical": 1, "name": "default"}),
            ),
            (
                json!({"critical": 0, "name": "bell.caf"}),
                json!("bell.caf"),
            ),
            (json!({"name": "bell.caf"}), json!("bell.caf")),
            (json!({}), Value::Null),
            (json!(""), Value::Null),
            (Value::Null, Value::Null),
        ];
        for (sound, expected) in cases {
            assert_eq!(written(sound.clone()), expected, "{sound}");
        }
    }
}
