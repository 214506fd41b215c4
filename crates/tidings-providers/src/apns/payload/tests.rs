//! The JSON of a payload, and what is none.

use super::*;
use serde_json::json;

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
fn every_field_has_apples_name() {
    let payload = Payload {
        alert: Some(Alert::Parts(Box::new(AlertParts {
            body: Some("B".into()),
            launch_image: Some("L".into()),
            loc_args: vec!["1".into()],
            loc_key: Some("LK".into()),
            subtitle: Some("S".into()),
            subtitle_loc_args: vec!["2".into()],
            subtitle_loc_key: Some("SK".into()),
            title: Some("T".into()),
            title_loc_args: vec!["3".into()],
            title_loc_key: Some("TK".into()),
        }))),
        badge: Some(0),
        category: Some("invite".into()),
        content_available: true,
        custom: map(json!({"order": 7})),
        filter_criteria: Some("work".into()),
        interruption_level: Some(InterruptionLevel::TimeSensitive),
        more_aps: map(json!({"content-changed": true})),
        mutable_content: true,
        relevance_score: Some(0.5),
        sound: Some(Sound::critical("bell.caf", 0.75)),
        target_content_id: Some("window".into()),
        thread_id: Some("thread".into()),
    };
    let expected = json!({
        "aps": {
            "alert": {
                "body": "B", "launch-image": "L", "loc-args": ["1"], "loc-key": "LK", "subtitle": "S",
                "subtitle-loc-args": ["2"], "subtitle-loc-key": "SK", "title": "T", "title-loc-args": ["3"],
                "title-loc-key": "TK"
            },
            "badge": 0, "category": "invite", "content-available": 1, "content-changed": true,
            "filter-criteria": "work",
            "interruption-level": "time-sensitive", "mutable-content": 1, "relevance-score": 0.5,
            "sound": {"critical": 1, "name": "bell.caf", "volume": 0.75}, "target-content-id": "window",
            "thread-id": "thread"
        },
        "order": 7
    });
    assert_eq!(parsed(&payload), expected);
}

#[test]
fn the_keys_of_aps_are_those_that_have_a_field() {
    let full = Payload {
        alert: Some(Alert::Text("B".into())),
        badge: Some(1),
        category: Some("c".into()),
        content_available: true,
        custom: Map::new(),
        filter_criteria: Some("f".into()),
        interruption_level: Some(InterruptionLevel::Passive),
        more_aps: Map::new(),
        mutable_content: true,
        relevance_score: Some(1.0),
        sound: Some(Sound::Named("default".into())),
        target_content_id: Some("w".into()),
        thread_id: Some("t".into()),
    };
    let whole = parsed(&full);
    let aps = whole["aps"].as_object().expect("an object");
    let keys: Vec<_> = aps.keys().map(|key| format!("aps.{key}")).collect();
    assert_eq!(keys, TYPED);
}

#[test]
fn a_value_that_apple_does_not_have_names_its_field() {
    let score = |score| Payload {
        relevance_score: Some(score),
        ..Payload::text("x")
    };
    let volume = |volume| Payload {
        sound: Some(Sound::critical("bell.caf", volume)),
        ..Payload::text("x")
    };
    for fits in [0.0, 0.5, 1.0] {
        assert!(score(fits).encode().is_ok() && volume(fits).encode().is_ok());
    }
    for wrong in [-0.1, 1.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let said = format!("is {wrong}; use a number from 0 to 1");
        let error = score(wrong).encode().expect_err(&said);
        assert_eq!(error.to_string(), format!("aps.relevance-score: {said}"));
        let error = volume(wrong).encode().expect_err(&said);
        assert_eq!(error.to_string(), format!("aps.sound.volume: {said}"));
    }
    let forged = Payload {
        custom: map(json!({"aps": {"alert": "forged"}})),
        ..Payload::text("x")
    };
    let error = forged.encode().expect_err("a second aps");
    assert_eq!(error.field(), "custom.aps");
    for path in TYPED {
        let key = path.trim_start_matches("aps.").to_owned();
        let twice = Payload {
            more_aps: Map::from_iter([(key, Value::Null)]),
            ..Payload::default()
        };
        assert_eq!(twice.encode().expect_err(path).field(), path);
    }
}

#[test]
fn what_is_seen_and_wakes_the_app_is_an_alert() {
    let wake = Payload {
        content_available: true,
        ..Payload::default()
    };
    assert_eq!(wake.push_type(), PushType::Background);
    let seen = [
        Payload {
            alert: Some(Alert::Text("x".into())),
            ..wake.clone()
        },
        Payload {
            badge: Some(0),
            ..wake.clone()
        },
        Payload {
            sound: Some(Sound::Named("default".into())),
            ..wake
        },
        Payload::default(),
    ];
    for payload in seen {
        assert_eq!(payload.push_type(), PushType::Alert, "{payload:?}");
    }
}
