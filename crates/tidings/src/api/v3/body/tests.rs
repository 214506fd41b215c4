//! Bodies as the SDKs send them, and every refusal with its code.

use serde_json::{Map, json};
use tidings_model::{Audience, IosNotification, PushOptions, Selection};

use super::*;
use crate::api::error::{Code, Family};

fn parse(body: &Value) -> Result<ParsedPush, ApiError> {
    parse_push(body.to_string().as_bytes())
}

/// A push that is right, with some keys set otherwise; `null` takes one away.
fn push(changes: Value) -> Value {
    let mut body = json!({"platform": "all", "audience": "all", "notification": {"alert": "hi"}});
    if let (Some(body), Value::Object(changes)) = (body.as_object_mut(), changes) {
        body.extend(changes);
    }
    body
}

fn good(changes: Value) -> ParsedPush {
    let body = push(changes);
    parse(&body).unwrap_or_else(|error| panic!("{body}: {}", error.message()))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other}"),
    }
}

#[test]
fn the_least_push_has_the_defaults() {
    let parsed = good(json!({"options": {"sendno": 18}}));
    assert_eq!(
        parsed.push,
        Push {
            audience: Audience::All,
            message: None,
            notification: Some(Notification {
                alert: Some("hi".to_owned()),
                ..Notification::default()
            }),
            options: PushOptions {
                sendno: Some(18),
                ..PushOptions::default()
            },
            platforms: PlatformSet::ALL,
        }
    );
    assert_eq!(parsed.cid, None);
    assert_eq!(parsed.ignored, Ignored::default());
}

#[test]
fn what_each_sdk_sends_is_accepted() {
    let cases = [
        // Java, old: an undocumented key in each notification, and a classification.
        (
            json!({"platform": ["android", "ios"], "audience": {"tag": ["a", "b"], "alias": ["x"]},
                "notification": {"alert": "hi", "ai_opportunity": false,
                    "android": {"title": "t", "builder_id": 3, "extras": {"k": 1}, "alert": "hi"},
                    "ios": {"alert": "hi", "badge": "+1", "sound": "", "content-available": false, "extras": {"k": "v"}}},
                "options": {"sendno": 1429488213, "apns_production": false, "classification": 0}}),
            vec!["notification.ios.badge"],
        ),
        // Python: 1 for true, a sound and a badge of its own.
        (
            json!({"platform": "all", "audience": {"registration_id": ["001a2b3c4d5e6f70"]},
                "notification": {"alert": "hi", "ios": {"badge": "+1", "sound": "default", "content-available": 1}},
                "options": {"time_to_live": 86400, "sendno": 12345, "apns_production": true}}),
            vec!["notification.ios.badge"],
        ),
        // Node: a sendno of 32 unsigned bits.
        (
            json!({"platform": "all", "audience": "all", "notification": {"alert": "hi"},
                "options": {"sendno": 4294967294u32, "apns_production": false}}),
            vec![],
        ),
        // PHP: a list with gaps, empty arrays for objects.
        (
            json!({"platform": {"0": "android", "2": "ios"}, "audience": "all",
                "notification": {"android": {"alert": "hi", "extras": []}, "ios": {"alert": "hi", "extras": []}},
                "message": [], "sms_message": [], "options": {"sendno": 7, "apns_production": false}}),
            vec![],
        ),
        // C#: a key that is none of JPush's.
        (
            json!({"platform": "all", "audience": "all", "notification": {"alert": "hi"},
                "options": {"apns_production": false, "Dict": {"x": 1}}}),
            vec!["options.Dict"],
        ),
        // Ruby: a cid with every push.
        (
            json!({"platform": "all", "audience": "all", "notification": {"alert": "hi"},
                "cid": "8103a4c628a0b98994ec1949-128eeb45-471c-49f3-b442-a05c20c9ed56",
                "options": {"sendno": 9, "time_to_live": 100, "apns_production": false}}),
            vec![],
        ),
        // Java, new, and Go: keys for other services.
        (
            json!({"platform": ["android", "ios", "hmos", "quickapp"], "audience": "all",
                "notification": {"alert": "hi", "hmos": {"alert": "hi"}, "quickapp": {"page": "p"}},
                "sms_message": {"delay_time": 60, "temp_id": 1}, "callback": {"url": "http://x"},
                "options": {"third_party_channel": {"xiaomi": {"distribution": "ospush"}}, "big_push_duration": 0,
                    "target_event": [], "test_message": false, "test_model": false, "override_msg_id": 0}}),
            vec![
                "platform.quickapp",
                "callback",
                "sms_message",
                "notification.hmos",
                "notification.quickapp",
                "options.third_party_channel",
            ],
        ),
        // The sample of the documentation for schedules.
        (
            json!({"platform": "all", "audience": "all", "notification": {"alert": "hi"}, "message": {},
                "options": {"time_to_live": "60", "apns_production": "false", "sendno": "5"}}),
            vec![],
        ),
        // Keys of tomorrow.
        (push(json!({"shiny": {"new": 1}})), vec!["shiny"]),
    ];
    for (body, ignored) in cases {
        match parse(&body) {
            Ok(parsed) => assert_eq!(parsed.ignored.paths(), ignored, "{body}"),
            Err(error) => panic!("{body}: {}", error.message()),
        }
    }
}

#[test]
fn every_refusal_has_its_code_and_names_the_field() {
    let ios = |section: Value| json!({"notification": {"ios": section}});
    let android = |section: Value| json!({"notification": {"alert": "hi", "android": section}});
    let strings = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
    let cases = [
        (json!({"platform": null}), 1002, "platform is missing"),
        (json!({"platform": []}), 1003, "platform must be"),
        (json!({"platform": {}}), 1003, "platform must be"),
        (json!({"platform": "ios"}), 1003, "platform must be"),
        (json!({"platform": ["iOS"]}), 1003, "not \"iOS\""),
        (json!({"platform": ["ios", 7]}), 1003, "not 7"),
        (json!({"platform": true}), 1003, "not true"),
        (
            json!({"platform": ["winphone"]}),
            1003,
            "platform is not supported",
        ),
        (json!({"audience": null}), 1002, "audience is missing"),
        (json!({"audience": {}}), 1002, "audience is missing"),
        (json!({"audience": []}), 1002, "audience is missing"),
        (json!({"audience": "some"}), 1003, "audience must be"),
        (json!({"audience": ["a"]}), 1003, "audience must be"),
        (
            json!({"audience": {"tag": []}}),
            1003,
            "audience has no target",
        ),
        (
            json!({"audience": {"tag": "a"}}),
            1003,
            "audience.tag must be an array, not \"a\"",
        ),
        (
            json!({"audience": {"tag": ["a", ""]}}),
            1003,
            "audience.tag[1] must not be empty",
        ),
        (
            json!({"audience": {"alias": [""]}}),
            1003,
            "audience.alias[0] must not be empty",
        ),
        (
            json!({"audience": {"alias": [7]}}),
            1003,
            "audience.alias[0] must be a string, not 7",
        ),
        (
            json!({"audience": {"alias": ["a b"]}}),
            1003,
            "audience.alias[0] may hold letters",
        ),
        (
            json!({"audience": {"alias": ["a".repeat(41)]}}),
            1003,
            "at most 40 bytes",
        ),
        (
            json!({"audience": {"registration_id": [""]}}),
            1003,
            "registration_id[0] must not be empty",
        ),
        (
            json!({"audience": {"registration_id": ["nope"]}}),
            1003,
            "The registration_id nope is invalid!",
        ),
        (
            json!({"audience": {"registration_id": ["nope"], "tag": ["a"]}}),
            1003,
            "The registration_id nope is invalid!",
        ),
        (
            json!({"audience": {"tag": strings(21)}}),
            1003,
            "audience.tag may have at most 20 entries, not 21",
        ),
        (
            json!({"audience": {"alias": strings(1001)}}),
            1003,
            "audience.alias may have at most 1000",
        ),
        (
            json!({"audience": {"registration_id": strings(1001)}}),
            1003,
            "audience.registration_id may have at most 1000",
        ),
        (
            json!({"audience": {"tag_and": ["a"]}}),
            1003,
            "audience.tag_and is not supported yet",
        ),
        (
            json!({"audience": {"tag": ["a"], "tag_not": ["b"]}}),
            1003,
            "audience.tag_not is not supported yet",
        ),
        (
            json!({"audience": {"segment": ["1"]}}),
            1003,
            "audience.segment is not",
        ),
        (
            json!({"audience": {"abtest": ["1"]}}),
            1003,
            "audience.abtest is not",
        ),
        (
            json!({"audience": {"file": {"file_id": "1"}}}),
            1003,
            "audience.file is not",
        ),
        (
            json!({"audience": {"live_activity_id": "1"}}),
            1003,
            "audience.live_activity_id is not",
        ),
        (
            json!({"audience": {"registrationId": ["1"]}}),
            1009,
            "did you mean registration_id?",
        ),
        (
            json!({"notification": null}),
            1002,
            "notification is missing",
        ),
        (json!({"notification": {}}), 1002, "notification is missing"),
        (
            json!({"notification": "hi"}),
            1003,
            "notification must be an object",
        ),
        (
            json!({"notification": {"alert": 7}}),
            1003,
            "notification.alert must be a string, not 7",
        ),
        (
            json!({"notification": {"ios": {}}}),
            1003,
            "notification has nothing to show",
        ),
        (
            json!({"notification": {"hmos": {"alert": "x"}}}),
            1003,
            "notification has nothing to show",
        ),
        (
            json!({"platform": ["android"], "notification": {"ios": {"alert": "x"}}}),
            1003,
            "notification has nothing to show",
        ),
        (
            json!({"notification": {"voip": {"k": "v"}}}),
            1003,
            "notification.voip is not supported",
        ),
        (
            json!({"notification": {"Alert": "x"}}),
            1009,
            "did you mean alert?",
        ),
        (
            ios(json!({"badge": 1})),
            1003,
            "notification.ios.alert is missing",
        ),
        (
            ios(json!({"alert": ["x"]})),
            1003,
            "notification.ios.alert must be",
        ),
        (
            ios(json!({"alert": "x", "badge": 100})),
            1003,
            "notification.ios.badge must be",
        ),
        (
            ios(json!({"alert": "x", "badge": "++1"})),
            1003,
            "notification.ios.badge must be",
        ),
        (
            ios(json!({"alert": "x", "badge": "+"})),
            1003,
            "notification.ios.badge must be",
        ),
        (
            ios(json!({"alert": "x", "badge": [1]})),
            1003,
            "notification.ios.badge must be",
        ),
        (
            ios(json!({"alert": "x", "sound": 1})),
            1003,
            "notification.ios.sound must be",
        ),
        (
            ios(json!({"alert": "x", "content_available": true})),
            1009,
            "did you mean content-available?",
        ),
        (
            ios(json!({"alert": "x", "mutable_content": 1})),
            1009,
            "did you mean mutable-content?",
        ),
        (
            ios(json!({"alert": "x", "content-available": "y"})),
            1003,
            "notification.ios.content-available must be true or false",
        ),
        (
            ios(json!({"alert": "x", "interruption-level": "loud"})),
            1003,
            "notification.ios.interruption-level must be",
        ),
        (
            ios(json!({"alert": "x", "thread-id": 1})),
            1003,
            "notification.ios.thread-id must be a string",
        ),
        (
            ios(json!({"alert": "x", "extras": {"aps": {}}})),
            1003,
            "notification.ios.extras.aps is Apple's",
        ),
        (
            ios(json!({"alert": "x", "extras": [1]})),
            1003,
            "notification.ios.extras must be an object",
        ),
        (
            ios(json!({"alert": "x".repeat(2000)})),
            1005,
            "notification.ios may have at most 2000 bytes",
        ),
        (
            ios(json!(7)),
            1003,
            "notification.ios must be an object, or a string",
        ),
        (
            json!({"notification": {"alert": "x".repeat(2000)}}),
            1005,
            "notification.alert may have at most 2000 bytes",
        ),
        (
            json!({"notification": {"android": {"title": "t"}}}),
            1003,
            "notification.android.alert is missing",
        ),
        (
            android(json!({"build_id": 1})),
            1009,
            "did you mean builder_id?",
        ),
        (
            android(json!({"title": 1})),
            1003,
            "notification.android.title must be a string",
        ),
        (
            android(json!({"priority": 3})),
            1003,
            "notification.android.priority must be a whole number from -2 to 2, not 3",
        ),
        (
            android(json!({"style": 4})),
            1003,
            "notification.android.style",
        ),
        (
            android(json!({"alert_type": 8})),
            1003,
            "notification.android.alert_type",
        ),
        (
            android(json!({"badge_add_num": 0})),
            1003,
            "notification.android.badge_add_num",
        ),
        (
            android(json!({"badge_set_num": 100})),
            1003,
            "notification.android.badge_set_num",
        ),
        (
            android(json!({"channel_id": "x".repeat(1001)})),
            1005,
            "notification.android.channel_id may have at most 1000 bytes",
        ),
        (
            android(json!({"intent": "x"})),
            1003,
            "notification.android.intent must be an object",
        ),
        (
            android(json!({"intent": {"url": 1}})),
            1003,
            "notification.android.intent.url must be a string",
        ),
        (
            android(json!({"inbox": ["x"]})),
            1003,
            "notification.android.inbox must be an object",
        ),
        (
            android(json!({"show_begin_time": "2026-9-17 12:00:00"})),
            1003,
            "notification.android.show_begin_time must be a time like",
        ),
        (
            android(json!({"show_end_time": "2026-02-30 12:00:00"})),
            1003,
            "notification.android.show_end_time must be a time like",
        ),
        (
            android(json!({"display_foreground": "no"})),
            1003,
            "notification.android.display_foreground must be",
        ),
        (
            json!({"notification": null, "message": {"title": "t"}}),
            1002,
            "message.msg_content is missing",
        ),
        (
            json!({"message": {"msg_content": 7}}),
            1003,
            "message.msg_content must be a string or an object, not 7",
        ),
        (json!({"message": "x"}), 1003, "message must be an object"),
        (
            json!({"message": {"msg_content": "x", "content-type": "t"}}),
            1009,
            "did you mean content_type?",
        ),
        (
            json!({"message": {"msg_content": "x".repeat(4000)}}),
            1005,
            "message may have at most 4000 bytes",
        ),
        (
            json!({"notification": {"android": "x".repeat(2000)}, "message": {"msg_content": "x".repeat(2000)}}),
            1005,
            "notification.android may have at most 4000 bytes of JSON together with the message",
        ),
        (
            json!({"live_activity": {"ios": {"event": "end"}}}),
            1003,
            "live_activity is not supported",
        ),
        (
            json!({"inapp_message": {"inapp_message": true}}),
            1003,
            "inapp_message.inapp_message is not supported",
        ),
        (
            json!({"options": {"time_to_live": -1}}),
            1003,
            "options.time_to_live must be a whole number from 0 to 864000, not -1",
        ),
        (
            json!({"options": {"time_to_live": 864001}}),
            1003,
            "options.time_to_live",
        ),
        (
            json!({"options": {"time_to_live": "long"}}),
            1003,
            "not \"long\"",
        ),
        (
            json!({"options": {"apns_production": "maybe"}}),
            1003,
            "options.apns_production must be true or false",
        ),
        (
            json!({"options": {"sendno": 1.5}}),
            1003,
            "options.sendno must be a whole number",
        ),
        (
            json!({"options": {"sendno": u64::MAX}}),
            1003,
            "options.sendno must be a whole number",
        ),
        (
            json!({"options": {"apns_collapse_id": "x".repeat(65)}}),
            1005,
            "options.apns_collapse_id may have at most 64 bytes",
        ),
        (
            json!({"options": {"apns_collapse_id": "a\nb"}}),
            1003,
            "options.apns_collapse_id must have no control",
        ),
        (
            json!({"options": {"override_msg_id": 7}}),
            1003,
            "options.override_msg_id is not supported",
        ),
        (
            json!({"options": {"override_msg_id": "7"}}),
            1003,
            "options.override_msg_id is not supported",
        ),
        (
            json!({"options": {"big_push_duration": 10}}),
            1003,
            "options.big_push_duration is not supported",
        ),
        (
            json!({"options": {"test_model": true}}),
            1003,
            "options.test_model is not supported",
        ),
        (
            json!({"options": {"geofence": {"x": 1}}}),
            1003,
            "options.geofence is not supported",
        ),
        (
            json!({"options": {"active_push": true}}),
            1003,
            "options.active_push is not supported",
        ),
        (
            json!({"options": {"timeToLive": 1}}),
            1009,
            "did you mean time_to_live?",
        ),
        (json!({"options": [1]}), 1003, "options must be an object"),
        (json!({"cid": 7}), 1003, "cid must be a string"),
        (
            json!({"cid": "x".repeat(129)}),
            1003,
            "cid must have at most 128 characters",
        ),
        (json!({"Platform": "all"}), 1009, "did you mean platform?"),
    ];
    for (changes, code, said) in cases {
        let body = push(changes.clone());
        let Err(error) = parse(&body) else {
            panic!("accepted: {changes}");
        };
        let answer = (error.fault().code(Family::Push), error.fault().status());
        assert_eq!(
            answer,
            (Code::Number(code), http::StatusCode::BAD_REQUEST),
            "{changes}: {}",
            error.message()
        );
        assert!(
            error.message().contains(said),
            "{changes}: {}",
            error.message()
        );
    }
}

#[test]
fn lists_lose_repetitions_and_unknown_ids() {
    let parsed = good(json!({"audience": {
        "tag": ["a", "b", "a"], "alias": {"1": "y", "0": "x"}, "tag_and": [], "segment": null,
        "registration_id": ["18171adc0323b3a1c5a", "0000000000000007", "0000000000000007"],
    }}));
    let expected = Selection {
        aliases: ["x", "y"]
            .map(|alias| alias.parse().expect("an alias"))
            .to_vec(),
        devices: vec![tidings_model::DeviceId(7)],
        tags: ["a", "b"].map(|tag| tag.parse().expect("a tag")).to_vec(),
    };
    assert_eq!(parsed.push.audience, Audience::Selection(expected));
    assert_eq!(parsed.unknown_registration_ids, ["18171adc0323b3a1c5a"]);
}

#[test]
fn badges_are_set_cleared_or_left() {
    let cases = [
        (json!(5), Some(5)),
        (json!("5"), Some(5)),
        (json!(0), Some(0)),
        (json!(""), Some(0)),
        (json!("+1"), None),
        (json!("-1"), None),
        (json!(-1), None),
        (json!(null), None),
    ];
    for (badge, expected) in cases {
        let parsed = good(json!({"notification": {"ios": {"alert": "x", "badge": badge}}}));
        let ios = parsed
            .push
            .notification
            .and_then(|notification| notification.ios);
        assert_eq!(ios.and_then(|ios| ios.badge), expected, "{badge}");
    }
}

#[test]
fn the_ios_section_is_taken_apart() {
    let parsed = good(json!({"notification": {"alert": "above", "ios": {
        "sound": {"critical": 1, "name": "s.caf"}, "category": "c", "thread-id": "t", "mutable-content": "true",
        "content-available": 1, "interruption-level": "time-sensitive", "extras": {"k": [1]},
    }}}));
    let expected = IosNotification {
        alert: "above".into(),
        badge: None,
        category: Some("c".to_owned()),
        content_available: true,
        extras: object(json!({"k": [1]})),
        interruption_level: Some("time-sensitive".to_owned()),
        mutable_content: true,
        sound: json!({"critical": 1, "name": "s.caf"}),
        thread_id: Some("t".to_owned()),
    };
    let ios = parsed
        .push
        .notification
        .and_then(|notification| notification.ios);
    assert_eq!(ios, Some(expected));
}

#[test]
fn a_silent_push_needs_no_alert() {
    let parsed = good(json!({"notification": {"ios": {"content-available": true, "sound": ""}}}));
    let ios = parsed
        .push
        .notification
        .and_then(|notification| notification.ios);
    let ios = ios.expect("a section");
    assert_eq!(
        (ios.alert, ios.sound, ios.content_available),
        (Value::Null, Value::Null, true)
    );
}

#[test]
fn the_android_section_is_kept_in_its_names() {
    let parsed = good(json!({"notification": {"alert": "above", "android": {
        "title": "t", "builder_id": "3", "priority": -1, "intent": {"url": "app://x"}, "extras": {"k": {"n": 1}},
        "inbox": [], "custom_buttons": [{"name": "b"}], "display_foreground": 0, "channel_id": "c",
        "show_begin_time": "2026-09-17 12:00:00", "future_key": 1,
    }}}));
    let expected = object(json!({
        "alert": "above", "title": "t", "builder_id": 3, "priority": -1, "intent": {"url": "app://x"},
        "extras": {"k": {"n": 1}}, "custom_buttons": [{"name": "b"}], "display_foreground": "0", "channel_id": "c",
        "show_begin_time": "2026-09-17 12:00:00",
    }));
    let android = parsed
        .push
        .notification
        .and_then(|notification| notification.android);
    assert_eq!(android, Some(expected));
    assert_eq!(parsed.ignored.paths(), ["notification.android.future_key"]);
}

#[test]
fn a_section_may_be_a_text() {
    let parsed = good(json!({"notification": {"ios": "i", "android": "a"}}));
    let notification = parsed.push.notification.expect("a notification");
    assert_eq!(notification.android, Some(object(json!({"alert": "a"}))));
    assert_eq!(notification.ios.map(|ios| ios.alert), Some("i".into()));
}

#[test]
fn a_message_is_handed_on() {
    let parsed = good(json!({"notification": null, "message": {
        "msg_content": {"a": 1}, "title": "t", "content_type": "text", "extras": {"k": "v"}, "test_message": true,
    }}));
    let expected = CustomMessage {
        content_type: Some("text".to_owned()),
        extras: object(json!({"k": "v"})),
        msg_content: json!({"a": 1}),
        title: Some("t".to_owned()),
    };
    assert_eq!(parsed.push.message, Some(expected));
    assert_eq!(parsed.push.notification, None);
    assert_eq!(parsed.ignored.paths(), ["message.test_message"]);
}

#[test]
fn options_are_read_in_every_form() {
    let parsed = good(json!({
        "cid": "order-7",
        "options": {"time_to_live": 0, "apns_production": "true", "sendno": "9223372036854775807", "apns_collapse_id": "c"},
    }));
    let expected = PushOptions {
        apns_collapse_id: Some("c".to_owned()),
        apns_production: Some(true),
        sendno: Some(i64::MAX),
        time_to_live: 0,
    };
    assert_eq!(parsed.push.options, expected);
    assert_eq!(parsed.cid.as_deref(), Some("order-7"));
    for blank in [json!([]), json!(""), json!(null), json!({})] {
        assert_eq!(
            good(json!({"options": blank})).push.options,
            PushOptions::default()
        );
    }
}

#[test]
fn sizes_count_bytes_up_to_the_limit() {
    // {"alert":"…"} is 12 bytes and the text; a Chinese character is three.
    let ios =
        |text: String| parse(&push(json!({"notification": {"ios": {"alert": text}}}))).is_ok();
    assert!(ios("x".repeat(1988)));
    assert!(!ios("x".repeat(1989)));
    assert!(ios("好".repeat(662)));
    assert!(!ios("好".repeat(663)));
    // Without ios among the platforms its limit is none.
    let android = json!({"platform": ["android"], "notification": {"alert": "x".repeat(3000)}});
    assert!(parse(&push(android)).is_ok());
}

#[test]
fn a_nested_push_names_the_whole_path() {
    let fields = Fields::new(
        "push".to_owned(),
        object(push(json!({"audience": {"tag": [7]}}))),
    );
    let error = parse_fields(fields).expect_err("a refusal");
    assert_eq!(error.field(), Some("push.audience.tag[0]"));
}

#[test]
fn an_encrypted_body_is_refused() {
    let mut headers = HeaderMap::new();
    assert!(refuse_encrypted(&headers).is_ok());
    headers.insert("x-encrypt-type", http::HeaderValue::from_static("SM2"));
    let error = refuse_encrypted(&headers).expect_err("a refusal");
    assert_eq!(error.fault().code(Family::Push), Code::Number(1003));
}

#[test]
fn no_value_at_any_key_panics() {
    let full = json!({
        "platform": ["ios"], "cid": "c", "callback": {"url": "u"}, "sms_message": {"temp_id": 1},
        "audience": {"tag": ["a"], "alias": ["b"], "registration_id": ["0000000000000007"], "tag_and": []},
        "notification": {
            "alert": "a",
            "android": {"title": "t", "style": 1, "inbox": {"a": "b"}, "intent": {"url": "u"}, "extras": {"k": "v"},
                "custom_buttons": [{"name": "n"}], "show_begin_time": "2026-09-17 12:00:00", "display_foreground": "1"},
            "ios": {"alert": {"title": "t"}, "badge": 1, "sound": "s", "extras": {"k": "v"}, "content-available": true},
        },
        "message": {"msg_content": "c", "extras": {"k": "v"}},
        "inapp_message": {"inapp_message": false},
        "options": {"time_to_live": 1, "sendno": 1, "apns_production": true, "apns_collapse_id": "c", "big_push_duration": 0},
    });
    let odd = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(1e300),
        json!(""),
        json!("\u{0}"),
        json!("好".repeat(3000)),
        json!("-9223372036854775809"),
        json!([]),
        json!([null]),
        json!({}),
        json!({"0": {"1": []}}),
        json!({"": ""}),
    ];
    let mut pointers = Vec::new();
    let mut open = vec![(String::new(), &full)];
    while let Some((pointer, value)) = open.pop() {
        let children: Vec<(String, &Value)> = match value {
            Value::Object(map) => map
                .iter()
                .map(|(key, value)| (key.clone(), value))
                .collect(),
            Value::Array(list) => list
                .iter()
                .enumerate()
                .map(|(index, value)| (index.to_string(), value))
                .collect(),
            _ => Vec::new(),
        };
        open.extend(
            children
                .into_iter()
                .map(|(key, value)| (format!("{pointer}/{key}"), value)),
        );
        pointers.push(pointer);
    }
    assert!(pointers.len() > 40);
    assert!(parse(&full).is_ok());
    for pointer in &pointers {
        for value in &odd {
            let mut body = full.clone();
            *body.pointer_mut(pointer).expect("a place") = value.clone();
            if let Err(error) = parse(&body) {
                assert!(
                    error.fault().status() == 400 && error.message().len() < 500,
                    "{pointer}: {}",
                    error.message()
                );
            }
        }
    }
}
