//! The JSON of Live Activities, and what is none.

use super::*;
use crate::apns::Priority;

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

fn update() -> LiveActivity {
    LiveActivity::update(UnixMillis(1_767_225_600_999), map(json!({"score": 3})))
}

fn start(input: Option<LiveActivityInput>) -> LiveActivity {
    let event = LiveActivityEvent::Start {
        attributes: map(json!({"home": "A"})),
        attributes_type: "GameAttributes".to_owned(),
        input,
    };
    LiveActivity {
        alert: Some(LiveActivityAlert::text("Kick-off", "It begins")),
        event,
        ..update()
    }
}

#[test]
fn each_event_is_written_as_apple_shows_it() {
    let aps = |activity: &LiveActivity| {
        let json = activity.encode().expect("a payload");
        let mut whole: Value = serde_json::from_slice(&json).expect("JSON");
        whole["aps"].take()
    };
    let fuller = LiveActivity {
        relevance_score: Some(75.5),
        stale_date: Some(UnixMillis(1_767_229_200_000)),
        ..update()
    };
    let expected = json!({
        "content-state": {"score": 3}, "event": "update", "relevance-score": 75.5, "stale-date": 1_767_229_200,
        "timestamp": 1_767_225_600
    });
    assert_eq!(aps(&fuller), expected);
    let end = LiveActivity::end(UnixMillis(1_767_225_600_000), Some(UnixMillis(0)));
    let expected = json!({"dismissal-date": 0, "event": "end", "timestamp": 1_767_225_600});
    assert_eq!(aps(&end), expected);
    let mut expected = json!({
        "alert": {"body": "It begins", "title": "Kick-off"}, "attributes": {"home": "A"}, "attributes-type": "GameAttributes",
        "content-state": {"score": 3}, "event": "start", "timestamp": 1_767_225_600
    });
    assert_eq!(aps(&start(None)), expected);
    expected["input-push-token"] = 1.into();
    assert_eq!(aps(&start(Some(LiveActivityInput::Token))), expected);
    let channel = LiveActivityInput::Channel("dHN0LXNyY2gtY2hubA==".to_owned());
    let aps = aps(&start(Some(channel)));
    assert_eq!(aps["input-push-channel"], "dHN0LXNyY2gtY2hubA==");
    assert_eq!(aps["input-push-token"], Value::Null);
}

#[test]
fn the_topic_follows_from_the_bundle_id() {
    let built = Notification::live_activity("com.example.app", &update());
    let built = built.and_then(NotificationBuilder::build);
    let built = built.expect("a notification");
    assert_eq!(built.topic(), "com.example.app.push-type.liveactivity");
    assert_eq!(built.push_type(), PushType::LiveActivity);
}

#[test]
fn what_no_phone_would_take_names_its_field() {
    let named = |name: &str| {
        let mut activity = start(None);
        if let LiveActivityEvent::Start {
            attributes_type, ..
        } = &mut activity.event
        {
            *attributes_type = name.to_owned();
        }
        activity
    };
    let keyed = |title: &str, body: &str| {
        let text = |key: &str| LiveActivityText::Key {
            args: Vec::new(),
            key: key.to_owned(),
        };
        LiveActivity {
            alert: Some(LiveActivityAlert {
                body: text(body),
                sound: None,
                title: text(title),
            }),
            ..update()
        }
    };
    let cases = [
        (
            LiveActivity {
                timestamp: UnixMillis(999),
                ..update()
            },
            "aps.timestamp",
        ),
        (
            LiveActivity {
                relevance_score: Some(f64::NAN),
                ..update()
            },
            "aps.relevance-score",
        ),
        (
            LiveActivity {
                content_state: None,
                ..update()
            },
            "aps.content-state",
        ),
        (
            LiveActivity {
                content_state: None,
                ..start(None)
            },
            "aps.content-state",
        ),
        (
            LiveActivity {
                alert: None,
                ..start(None)
            },
            "aps.alert",
        ),
        (keyed("", "key"), "aps.alert.title.loc-key"),
        (keyed("key", ""), "aps.alert.body.loc-key"),
        (named(""), "aps.attributes-type"),
        (named("Game Attributes"), "aps.attributes-type"),
        (
            start(Some(LiveActivityInput::Channel(String::new()))),
            "aps.input-push-channel",
        ),
    ];
    for (activity, field) in cases {
        let error = activity.encode().expect_err(field);
        assert_eq!(error.field(), field);
        assert!(
            error.to_string().starts_with(&format!("{field}: is ")),
            "{error}"
        );
    }
}

#[test]
fn an_alert_has_texts_or_keys_and_a_sound() {
    let alert = |alert| {
        let activity = LiveActivity {
            alert: Some(alert),
            ..update()
        };
        let json = activity.encode().expect("a payload");
        let mut whole: Value = serde_json::from_slice(&json).expect("JSON");
        whole["aps"]["alert"].take()
    };
    let keys = LiveActivityAlert {
        body: LiveActivityText::Key {
            args: Vec::new(),
            key: "half time".to_owned(),
        },
        sound: Some("whistle.caf".to_owned()),
        title: LiveActivityText::Key {
            args: vec!["A".to_owned(), "B".to_owned()],
            key: "%@ plays %@".to_owned(),
        },
    };
    let expected = json!({
        "body": {"loc-key": "half time"}, "sound": "whistle.caf",
        "title": {"loc-args": ["A", "B"], "loc-key": "%@ plays %@"}
    });
    assert_eq!(alert(keys), expected);
    let texts = LiveActivityAlert::text("T", "B");
    assert_eq!(alert(texts), json!({"body": "B", "title": "T"}));
}

#[test]
fn a_score_may_be_any_number() {
    for score in [-1.0, 0.5, 100.0] {
        let activity = LiveActivity {
            relevance_score: Some(score),
            ..update()
        };
        assert!(activity.encode().is_ok(), "{score}");
    }
}

#[test]
fn neither_the_lowest_priority_nor_another_type_is_for_it() {
    let builder = || Notification::live_activity("com.example.app", &update()).expect("a builder");
    for priority in [Priority::PowerSaving, Priority::Immediate] {
        let built = builder().priority(priority).build();
        assert_eq!(built.expect("a notification").priority(), priority);
    }
    let lowest = builder().priority(Priority::Lowest).build();
    assert_eq!(
        lowest.expect_err("a refusal").to_string(),
        "apns-priority: is 1; push type liveactivity takes 5 or 10"
    );
    for push_type in PushType::ALL {
        let built = builder().push_type(push_type).build();
        assert_eq!(built.is_ok(), push_type == PushType::LiveActivity);
    }
}
