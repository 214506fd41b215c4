//! Bodies as the SDKs send them, and every refusal with its code.

use serde_json::{Map, json};
use tidings_model::{
    Audience, InterruptionLevel, IosNotification, PushOptions, Selection, Strategies,
};

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
                "options": {"third_party_channel": {"asus": {"distribution": "ospush"}}, "big_push_duration": 0,
                    "target_event": [], "test_message": false, "test_model": false, "override_msg_id": 0}}),
            vec![
                "platform.quickapp",
                "notification.quickapp",
                "options.third_party_channel.asus",
                "callback",
                "sms_message",
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

/// Checks that a push with these changes is refused with 400, this code, and a message that says so.
fn check_refusal(changes: Value, code: u16, said: &str) {
    let Err(error) = parse(&push(changes.clone())) else {
        panic!("accepted: {changes}");
    };
    let message = error.message();
    assert_eq!(error.fault().status(), 400, "{changes}: {message}");
    assert_eq!(
        error.fault().code(Family::Push),
        Code::Number(code),
        "{changes}: {message}"
    );
    assert!(message.contains(said), "{changes}: {message}");
}

#[test]
fn every_refusal_has_its_code_and_names_the_field() {
    for line in include_str!("refusals.txt").lines() {
        let (code, rest) = line.split_once(' ').expect("a code");
        let (changes, said) = rest.rsplit_once(" => ").expect("a message");
        let changes = serde_json::from_str(changes).expect(line);
        check_refusal(changes, code.parse().expect(line), said);
    }
}

#[test]
fn what_is_too_much_is_refused() {
    let texts = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
    let long = |len: usize| "x".repeat(len);
    let cases = [
        (
            json!({"audience": {"tag": texts(21)}}),
            1003,
            "audience.tag may have at most 20 entries, not 21",
        ),
        (
            json!({"audience": {"alias": texts(1001)}}),
            1003,
            "audience.alias may have at most 1000",
        ),
        (
            json!({"audience": {"registration_id": texts(1001)}}),
            1003,
            "registration_id may have at most 1000",
        ),
        (
            json!({"audience": {"alias": [long(41)]}}),
            1003,
            "at most 40 bytes",
        ),
        (
            json!({"cid": long(129)}),
            1003,
            "cid must have at most 128 characters",
        ),
        (
            json!({"notification": {"alert": long(2000)}}),
            1005,
            "notification.alert may have at most 2000",
        ),
        (
            json!({"notification": {"ios": long(2000)}}),
            1005,
            "notification.ios may have at most 2000 bytes",
        ),
        (
            json!({"notification": {"android": {"alert": "x", "channel_id": long(1001)}}}),
            1005,
            "notification.android.channel_id may have at most 1000 bytes",
        ),
        (
            json!({"message": {"msg_content": long(4000)}}),
            1005,
            "message may have at most 4000 bytes",
        ),
        (
            json!({"notification": {"android": long(2000)}, "message": {"msg_content": long(2000)}}),
            1005,
            "notification.android may have at most 4000 bytes of JSON together with the message",
        ),
        (
            json!({"options": {"apns_collapse_id": long(65)}}),
            1005,
            "apns_collapse_id may have at most 64 bytes",
        ),
    ];
    for (changes, code, said) in cases {
        check_refusal(changes, code, said);
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
        interruption_level: Some(InterruptionLevel::TimeSensitive),
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
fn a_critical_sound_is_read_leniently() {
    let cases = [
        (
            json!({"critical": true, "name": "s.caf", "volume": "0.5"}),
            json!({"critical": 1, "name": "s.caf", "volume": 0.5}),
        ),
        (
            json!({"critical": "1", "volume": 1}),
            json!({"critical": 1, "volume": 1.0}),
        ),
        (
            json!({"critical": 0, "name": "s.caf"}),
            json!({"name": "s.caf"}),
        ),
        (
            json!({"critical": 0, "name": "", "volume": ""}),
            json!(null),
        ),
        (json!({}), json!(null)),
    ];
    for (sound, expected) in cases {
        let parsed = good(json!({"notification": {"ios": {"alert": "x", "sound": sound}}}));
        let ios = parsed.push.notification.and_then(|shown| shown.ios);
        assert_eq!(ios.map(|ios| ios.sound), Some(expected));
    }
    let future =
        json!({"notification": {"ios": {"alert": "x", "sound": {"critical": 1, "pan": 1}}}});
    let ignored = good(future).ignored;
    assert_eq!(ignored.paths(), ["notification.ios.sound.pan"]);
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
fn the_section_of_harmonyos_is_kept_as_it_came() {
    let section = json!({"alert": "h", "title": "t", "category": "WORK", "large_icon": "https://x/i.png", "intent": {"url": "action.system.home"},
        "badge_add_num": 1, "badge_set_num": 0, "test_message": true, "receipt_id": "R", "extras": {"k": 1}, "style": 2,
        "inbox": {"1": "one"}, "push_type": 10, "extra_data": "d", "display_foreground": "0", "sound": "s.mp3", "sound_duration": 60,
        "hm_payload": {"a": 1}});
    let parsed = good(json!({"platform": ["hmos"], "notification": {"hmos": section}}));
    let notification = parsed.push.notification.expect("a notification");
    assert_eq!(notification.hmos, Some(object(section)));
    assert!(notification.is_for(Platform::Hmos));
    assert_eq!(parsed.ignored, Ignored::default());
}

#[test]
fn what_a_makers_channel_does_not_act_on_is_told() {
    let parsed = good(json!({"options": {"third_party_channel": {
        "huawei": {"distribution": "first_ospush", "importance": "LOW", "skip_quota": true, "channel_id": "c", "builder_id": 7,
            "own": 1, "classification": 0},
        "nio": {"channel_id": "c"}, "fcm": {}, "asus": null,
    }}}));
    let mut ignored = parsed.ignored.paths().to_vec();
    ignored.sort_unstable();
    let at = |key: &str| format!("options.third_party_channel.{key}");
    let expected = [
        "huawei.builder_id",
        "huawei.own",
        "huawei.skip_quota",
        "nio",
    ];
    assert_eq!(ignored, expected.map(at));
    let own = format!("{:?}", parsed.ignored.names().collect::<Vec<_>>());
    assert_eq!(own.matches("None").count(), 1, "{own}");
    assert_eq!(parsed.push.options.ignored.len(), 4);
}

#[test]
fn what_is_shown_in_the_place_of_a_message_has_two_forms() {
    let shown = |changes: Value| {
        let mut body = json!({"notification": null, "message": {"msg_content": "m"}});
        body.as_object_mut()
            .expect("an object")
            .extend(object(changes));
        let message = good(body).push.message.expect("a message");
        *message.shown_instead.expect("something")
    };
    let first = shown(
        json!({"notification_3rd": {"content": "c", "title": "t", "badge_add_num": "1", "intent": {"url": "a://b"}}}),
    );
    let expected =
        json!({"alert": "c", "title": "t", "badge_add_num": 1, "intent": {"url": "a://b"}});
    assert_eq!(first.android, Some(object(expected)));
    assert!(!first.is_for(Platform::Ios) && !first.is_for(Platform::Hmos));
    // Beside a notification it has no effect.
    for message in [json!(null), json!({"msg_content": "m"})] {
        let parsed = good(json!({"message": message, "notification_3rd": {"content": "c"}}));
        assert_eq!(parsed.ignored.paths(), ["notification_3rd"]);
    }
    let second = shown(json!({
        "notification_3rd": {"android": {"alert": "a", "style": 1, "big_text": "b"}, "hmos": {"alert": "h"}},
        "options": {"notification_3rd_ver": "v2"},
    }));
    assert_eq!(second.hmos, Some(object(json!({"alert": "h"}))));
    assert_eq!(second.android.map(|android| android.len()), Some(3));
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
        shown_instead: None,
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
        "options": {"time_to_live": 0, "apns_production": "true", "sendno": "9223372036854775807", "apns_collapse_id": "c",
            "classification": "1", "test_message": 1, "receipt_id": "R", "alternate_set": true},
    }));
    let expected = PushOptions {
        fallback_after: None,
        handed_by: [].into(),
        strategies: Strategies::default(),
        apns_collapse_id: Some("c".to_owned()),
        apns_production: Some(true),
        classification: Some(1),
        ignored: vec!["options.alternate_set".to_owned()],
        receipt_id: Some("R".to_owned()),
        sendno: Some(i64::MAX),
        test_message: true,
        third_party_channel: Map::new(),
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
            "hmos": {"alert": "a", "push_type": 2, "extra_data": "d", "style": 2, "inbox": {"a": "b"}, "test_message": true},
        },
        "message": {"msg_content": "c", "extras": {"k": "v"}},
        "inapp_message": {"inapp_message": false},
        "options": {"time_to_live": 1, "sendno": 1, "apns_production": true, "apns_collapse_id": "c", "big_push_duration": 0,
            "classification": 1, "third_party_channel": {"huawei": {"importance": "HIGH", "target_user_type": 1, "inbox": {"1": "l"}}}},
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
