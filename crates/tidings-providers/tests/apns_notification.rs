//! Notifications: what is sent, and what is refused because Apple would.

use http::{HeaderName, HeaderValue};
use tidings_model::UnixMillis;
use tidings_providers::apns::{
    Alert, Expiration, LiveActivity, Notification, NotificationError, Payload, Priority, PushType,
};

fn headers(notification: &Notification) -> Vec<String> {
    let text = |(name, value): (HeaderName, HeaderValue)| {
        format!("{name}: {}", value.to_str().expect("ASCII"))
    };
    notification.headers().map(text).collect()
}

#[test]
fn a_text_is_sent_at_once_as_an_alert() {
    let hello = Notification::alert("com.example.app", "Hello").expect("a notification");
    assert_eq!(&hello.payload()[..], br#"{"aps":{"alert":"Hello"}}"#);
    assert_eq!(
        headers(&hello),
        [
            "apns-topic: com.example.app",
            "apns-push-type: alert",
            "apns-priority: 10"
        ]
    );
}

#[test]
fn what_is_set_is_sent() {
    let notification = Notification::builder("com.example.app", &b"{}"[..])
        .push_type(PushType::Background)
        .expiration(Expiration::At(UnixMillis(1_767_225_600_001)))
        .collapse_id("match-17")
        .build()
        .expect("a notification");
    assert_eq!(
        headers(&notification),
        [
            "apns-topic: com.example.app",
            "apns-push-type: background",
            "apns-priority: 5",
            "apns-expiration: 1767225601",
            "apns-collapse-id: match-17"
        ]
    );
}

#[test]
fn an_expiration_in_the_past_is_not_a_single_try() {
    let header = |expiration| {
        let builder = Notification::builder("com.example.app", &b"{}"[..]).expiration(expiration);
        let notification = builder.build().expect("a notification");
        headers(&notification)[3..].to_vec()
    };
    assert!(header(Expiration::Unset).is_empty());
    assert_eq!(header(Expiration::Once), ["apns-expiration: 0"]);
    for past in [0, -5, i64::MIN] {
        let past = Expiration::At(UnixMillis(past));
        assert_eq!(header(past), ["apns-expiration: 1"]);
    }
}

#[test]
fn every_type_has_its_topic_and_size() {
    let bundle = "com.example.app";
    for push_type in PushType::ALL {
        let max = push_type.payload_len_max();
        let payload = |len: usize| format!("{{\"x\":\"{}\"}}", "y".repeat(len - 8));
        let build = |topic: String, len| {
            let builder = Notification::builder(topic, payload(len));
            builder.push_type(push_type).build()
        };
        let suffix = push_type.topic_suffix();
        let topic = format!("{bundle}{suffix}");
        let largest = build(topic.clone(), max).expect("the largest");
        assert_eq!(largest.payload().len(), max);
        let too_large = build(topic, max + 1).expect_err("one byte more");
        let text = format!(
            "payload: has {} bytes; push type {push_type} takes at most {max}",
            max + 1
        );
        assert_eq!(too_large.to_string(), text);
        let bare = build(bundle.to_owned(), 20);
        assert_eq!(bare.is_err(), !suffix.is_empty(), "{push_type}");
    }
    assert_eq!(PushType::Voip.payload_len_max(), 5120);
    assert_eq!(PushType::LiveActivity.payload_len_max(), 4096);
}

#[test]
fn what_apple_would_refuse_names_its_field() {
    const COLLAPSE_ID: &str = "apns-collapse-id: has other characters than printable ASCII, or a space at an end; use 1 to 64 letters, \
                               digits and signs";
    let good = || Notification::builder("com.example.app", &b"{}"[..]);
    let with = |topic: &str, payload: &'static [u8]| Notification::builder(topic, payload);
    let cases = [
        (
            good()
                .push_type(PushType::Background)
                .priority(Priority::Immediate),
            "apns-priority: is 10; push type background takes 5",
        ),
        (
            good()
                .push_type(PushType::Background)
                .priority(Priority::Lowest),
            "apns-priority: is 1; push type background takes 5",
        ),
        (
            with("com.example.app.push-type.liveactivity", b"{}")
                .push_type(PushType::LiveActivity)
                .priority(Priority::Lowest),
            "apns-priority: is 1; push type liveactivity takes 5 or 10",
        ),
        (
            good().collapse_id("é".repeat(33)),
            "apns-collapse-id: has 66 bytes; use 1 to 64",
        ),
        (
            good().collapse_id(""),
            "apns-collapse-id: has 0 bytes; use 1 to 64",
        ),
        (good().collapse_id("a\nb"), COLLAPSE_ID),
        (good().collapse_id("比赛"), COLLAPSE_ID),
        (good().collapse_id("a\u{7f}b"), COLLAPSE_ID),
        (good().collapse_id("a\tb"), COLLAPSE_ID),
        (good().collapse_id(" a"), COLLAPSE_ID),
        (good().collapse_id("a "), COLLAPSE_ID),
        (
            good().push_type(PushType::Voip),
            "apns-topic: is \"com.example.app\"; push type voip needs the bundle id with \".voip\" behind it",
        ),
        (
            with(".voip", b"{}").push_type(PushType::Voip),
            "apns-topic: is \".voip\"; push type voip needs the bundle id with \".voip\" behind it",
        ),
        (
            with("", b"{}"),
            "apns-topic: has 0 bytes; use the app's bundle id, 1 to 255 bytes",
        ),
        (
            with("com.example.äpp", b"{}"),
            "apns-topic: has characters that no topic has; use the app's bundle id, such as com.example.app",
        ),
        (
            with("com.example.app.push-type.widgets", b"{}"),
            "apns-topic: is \"com.example.app.push-type.widgets\", which is one of push type widgets; push type alert takes the bundle id alone",
        ),
        (
            with("com.example.app", b""),
            r#"payload: is empty; send a JSON object such as {"aps":{"alert":"Hello"}}"#,
        ),
        (
            with("com.example.app", b"[1]"),
            r#"payload: is not a JSON object; send one such as {"aps":{"alert":"Hello"}}"#,
        ),
        (
            with("com.example.app", b"{\"a\":\"\xff\"}"),
            r#"payload: is not a JSON object; send one such as {"aps":{"alert":"Hello"}}"#,
        ),
        (
            with("com.example.app", b"{\"aps\":"),
            r#"payload: is not a JSON object; send one such as {"aps":{"alert":"Hello"}}"#,
        ),
    ];
    for (builder, text) in cases {
        let error = builder.build().expect_err(text);
        assert_eq!(error.to_string(), text);
        assert!(text.starts_with(error.field()));
    }
}

#[test]
fn a_typed_payload_says_of_what_type_it_is() {
    let wake = Payload {
        content_available: true,
        ..Payload::default()
    };
    let both = Payload {
        alert: Some(Alert::Text("Hello".into())),
        ..wake.clone()
    };
    let build = |payload: &Payload, push_type: Option<PushType>| {
        let suffix = push_type.map_or("", PushType::topic_suffix);
        let builder = Notification::builder(format!("com.example.app{suffix}"), payload);
        match push_type {
            Some(push_type) => builder.push_type(push_type).build(),
            None => builder.build(),
        }
    };
    for (payload, wanted, priority) in [
        (&wake, PushType::Background, Priority::PowerSaving),
        (&both, PushType::Alert, Priority::Immediate),
        (&Payload::default(), PushType::Alert, Priority::Immediate),
    ] {
        let built = build(payload, None).expect("a notification");
        assert_eq!((built.push_type(), built.priority()), (wanted, priority));
        for push_type in PushType::ALL {
            let is_told = [
                PushType::Alert,
                PushType::Background,
                PushType::LiveActivity,
            ]
            .contains(&push_type);
            let built = build(payload, Some(push_type)).map(|built| built.push_type());
            let expected = if is_told && push_type != wanted {
                Err(NotificationError::PushType { push_type, wanted })
            } else {
                Ok(push_type)
            };
            assert_eq!(built, expected);
        }
    }
    let error = build(&both, Some(PushType::Background)).expect_err("an alert");
    let text = "apns-push-type: is background, but the payload is one of type alert; leave the type out, or change the \
                payload";
    assert_eq!(
        (error.to_string().as_str(), error.field()),
        (text, "apns-push-type")
    );
}

#[test]
fn a_payload_that_is_none_is_refused_when_it_is_built() {
    let payload = Payload {
        relevance_score: Some(2.0),
        ..Payload::text("Hello")
    };
    let error = Notification::builder("com.example.app", payload).build();
    let error = error.expect_err("a score");
    assert_eq!(
        (error.to_string().as_str(), error.field()),
        (
            "aps.relevance-score: is 2; use a number from 0 to 1",
            "aps.relevance-score"
        )
    );
    let end = LiveActivity::end(UnixMillis(0), None);
    let error = Notification::live_activity("com.example.app", &end).expect_err("a timestamp");
    assert_eq!(error.field(), "aps.timestamp");
}

#[test]
fn what_was_asked_for_can_be_read() {
    let builder = || Notification::builder("com.example.app", "{}");
    let built = builder().collapse_id("score 1:0 ~").build();
    let built = built.expect("a notification");
    assert_eq!(
        (built.topic(), built.collapse_id()),
        ("com.example.app", Some("score 1:0 ~"))
    );
    let built = builder().build().expect("a notification");
    assert_eq!(built.collapse_id(), None);
}
