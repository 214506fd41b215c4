//! Apple's rules for each push type: what the builder lets through is accepted, and what it refuses is refused by the
//! simulated APNs too when somebody sends it all the same, but for two things that Apple's pages leave open.
//!
//! Apple, "Sending notification requests to APNs".

use std::sync::Arc;

use serde_json::json;
use tidings_model::UnixMillis;
use tidings_providers::apns::{
    Broadcast, Broadcaster, Channels, LiveActivity, Notification, NotificationBuilder, Priority,
    PushType, StoragePolicy,
};
use uuid::Uuid;

use crate::bare::Bare;
use crate::stage::{BUNDLE, Sender, Stage, said, token};

/// Type, header, what the topic has behind the bundle id, bytes of a payload.
const TYPES: [(PushType, &str, &str, usize); 11] = [
    (PushType::Alert, "alert", "", 4096),
    (PushType::Background, "background", "", 4096),
    (
        PushType::Complication,
        "complication",
        ".complication",
        4096,
    ),
    (PushType::Controls, "controls", ".push-type.controls", 4096),
    (
        PushType::FileProvider,
        "fileprovider",
        ".pushkit.fileprovider",
        4096,
    ),
    (
        PushType::LiveActivity,
        "liveactivity",
        ".push-type.liveactivity",
        4096,
    ),
    (PushType::Location, "location", ".location-query", 4096),
    (PushType::Mdm, "mdm", "", 4096),
    (PushType::PushToTalk, "pushtotalk", ".voip-ptt", 4096),
    (PushType::Voip, "voip", ".voip", 5120),
    (PushType::Widgets, "widgets", ".push-type.widgets", 4096),
];

const PRIORITIES: [(Priority, &str); 3] = [
    (Priority::Lowest, "1"),
    (Priority::PowerSaving, "5"),
    (Priority::Immediate, "10"),
];

const HELLO: &[u8] = br#"{"aps":{"alert":"Hello"}}"#;

/// Both ends that a notification can take.
struct Ends {
    bare: Bare,
    sender: Sender,
}

impl Ends {
    async fn of(stage: &Stage) -> Self {
        Self {
            bare: Bare::connect(stage).await,
            sender: stage.sender(stage.token_credential()),
        }
    }

    /// Holds the builder's verdict and the sandbox's against `expected`: none to be accepted, else the field that the
    /// builder names and Apple's status and reason.
    async fn check(
        &mut self,
        builder: NotificationBuilder,
        headers: &[(&str, &[u8])],
        payload: &[u8],
        expected: Option<(&str, u16, &str)>,
    ) {
        let case = || {
            let text =
                |value: &[u8]| String::from_utf8_lossy(&value[..value.len().min(80)]).into_owned();
            let headers = headers
                .iter()
                .map(|(name, value)| format!("{name}: {}", text(value)));
            format!("{:?} {}", headers.collect::<Vec<_>>(), text(payload))
        };
        let built = builder.build();
        let raw = self.bare.push(headers, payload).await;
        let Some((field, status, reason)) = expected else {
            assert_eq!(raw, (200, String::new()), "{}", case());
            let notification = built.unwrap_or_else(|error| panic!("{}: {error}", case()));
            let attempt = self.sender.send(&token(2), &Arc::new(notification)).await;
            assert!(attempt.is_accepted(), "{attempt:?} {}", case());
            return;
        };
        assert_eq!(raw, (status, reason.to_owned()), "{}", case());
        let error = built.err().unwrap_or_else(|| panic!("built: {}", case()));
        assert_eq!(error.field(), field, "{}", case());
    }

    /// What the builder refuses and the sandbox takes, since Apple documents it neither as right nor with a reason.
    async fn check_stricter(
        &mut self,
        builder: NotificationBuilder,
        headers: &[(&str, &[u8])],
        payload: &[u8],
        field: &str,
    ) {
        let raw = self.bare.push(headers, payload).await;
        assert_eq!(raw, (200, String::new()), "{field}");
        assert_eq!(builder.build().expect_err(field).field(), field);
    }
}

fn object(len: usize) -> Vec<u8> {
    format!("{{\"x\":\"{}\"}}", "y".repeat(len - 8)).into_bytes()
}

#[test]
fn the_types_have_apples_names_topics_and_sizes() {
    let known = PushType::ALL.map(|known| {
        let (name, suffix) = (known.name(), known.topic_suffix());
        (known, name, suffix, known.payload_len_max())
    });
    assert_eq!(known, TYPES);
}

#[tokio::test]
async fn each_type_takes_its_priorities() {
    let stage = Stage::new().await;
    let mut ends = Ends::of(&stage).await;
    for (push_type, name, suffix, _) in TYPES {
        let topic = format!("{BUNDLE}{suffix}");
        for (priority, number) in PRIORITIES {
            let builder = Notification::builder(&*topic, HELLO).push_type(push_type);
            let headers = [
                ("apns-topic", topic.as_bytes()),
                ("apns-push-type", name.as_bytes()),
                ("apns-priority", number.as_bytes()),
            ];
            let builder = builder.priority(priority);
            if (push_type, priority) == (PushType::LiveActivity, Priority::Lowest) {
                ends.check_stricter(builder, &headers, HELLO, "apns-priority")
                    .await;
                continue;
            }
            let refused = push_type == PushType::Background && priority != Priority::PowerSaving;
            let expected = refused.then_some(("apns-priority", 400, "BadPriority"));
            ends.check(builder, &headers, HELLO, expected).await;
        }
        let unasked = Notification::builder(&*topic, HELLO).push_type(push_type);
        let unasked = Arc::new(unasked.build().expect("a notification"));
        let attempt = ends.sender.send(&token(1), &unasked).await;
        assert_eq!(said(&attempt).0, "accepted", "{name}");
        // What the builder has no word for.
        for number in ["", "0", "2", "05", "11"] {
            let headers = [
                ("apns-topic", topic.as_bytes()),
                ("apns-push-type", name.as_bytes()),
                ("apns-priority", number.as_bytes()),
            ];
            let raw = ends.bare.push(&headers, HELLO).await;
            assert_eq!(raw, (400, "BadPriority".to_owned()), "{name} {number:?}");
        }
    }
}

#[tokio::test]
async fn each_type_takes_its_own_topic() {
    const TOO_LONG: usize = 256;
    let stage = Stage::new().await;
    let mut ends = Ends::of(&stage).await;
    for (push_type, name, own, _) in TYPES {
        let mut topics: Vec<(String, bool)> = TYPES
            .iter()
            .map(|(_, _, suffix, _)| {
                // An app may be called com.example.voip, and its alerts have that for a topic.
                let is_word = matches!(*suffix, ".complication" | ".voip");
                let good = *suffix == own || (own.is_empty() && is_word);
                (format!("{BUNDLE}{suffix}"), good)
            })
            .collect();
        let long = |len: usize| format!("{}{own}", "x".repeat(len - own.len()));
        topics.extend([
            (long(TOO_LONG - 1), true),
            (long(TOO_LONG), false),
            (format!("pass.com.example_1-2{own}"), true),
            (format!("com.example/app{own}"), false),
            (format!("com.example app{own}"), false),
            (format!("com.example.äpp{own}"), false),
            (String::new(), false),
        ]);
        if !own.is_empty() {
            topics.push((own.to_owned(), false));
            topics.push((format!("{BUNDLE}{own}.more"), false));
        }
        for (topic, good) in topics {
            let builder = Notification::builder(&*topic, HELLO).push_type(push_type);
            let headers = [
                ("apns-topic", topic.as_bytes()),
                ("apns-push-type", name.as_bytes()),
                ("apns-priority", b"5"),
            ];
            let expected = (!good).then_some(("apns-topic", 400, "BadTopic"));
            ends.check(builder, &headers, HELLO, expected).await;
        }
    }
}

#[tokio::test]
async fn each_type_takes_a_json_object_of_its_size() {
    let stage = Stage::new().await;
    let mut ends = Ends::of(&stage).await;
    let too_large = ("payload", 413, "PayloadTooLarge");
    let none = ("payload", 400, "PayloadEmpty");
    for (push_type, name, suffix, max) in TYPES {
        let topic = format!("{BUNDLE}{suffix}");
        let headers = [
            ("apns-topic", topic.as_bytes()),
            ("apns-push-type", name.as_bytes()),
            ("apns-priority", b"5"),
        ];
        let payloads = [
            (b"{}".to_vec(), None),
            (b" \n{\"aps\":{}} ".to_vec(), None),
            (object(max), None),
            (object(max + 1), Some(too_large)),
            (object(6000), Some(too_large)),
            (Vec::new(), Some(none)),
            (b" ".to_vec(), Some(none)),
            (b"{\"aps\":".to_vec(), Some(none)),
            (b"[1]".to_vec(), Some(none)),
            (b"\"text\"".to_vec(), Some(none)),
            (b"null".to_vec(), Some(none)),
            (b"{\"a\":\"\xff\"}".to_vec(), Some(none)),
        ];
        for (payload, expected) in payloads {
            let builder = Notification::builder(&*topic, payload.clone()).push_type(push_type);
            ends.check(builder, &headers, &payload, expected).await;
        }
    }
}

#[tokio::test]
async fn a_collapse_id_has_64_bytes_at_most() {
    let stage = Stage::new().await;
    let mut ends = Ends::of(&stage).await;
    let refused = Some(("apns-collapse-id", 400, "BadCollapseId"));
    for (id, expected) in [
        ("x".repeat(64), Ok(None)),
        ("é".repeat(32), Err("apns-collapse-id")),
        ("x".repeat(65), Ok(refused)),
        ("é".repeat(33), Ok(refused)),
    ] {
        let builder = Notification::builder(BUNDLE, HELLO).collapse_id(&*id);
        let headers = [
            ("apns-topic", BUNDLE.as_bytes()),
            ("apns-collapse-id", id.as_bytes()),
        ];
        match expected {
            Ok(expected) => ends.check(builder, &headers, HELLO, expected).await,
            Err(field) => ends.check_stricter(builder, &headers, HELLO, field).await,
        }
    }
}

#[tokio::test]
async fn a_broadcast_takes_priority_5_and_10_and_5120_bytes_and_is_no_start() {
    let stage = Stage::new().await;
    let bare = Bare::connect(&stage).await;
    let config = || stage.config(stage.token_credential());
    let channels = Channels::new(config()).expect("a configuration");
    let broadcaster = Broadcaster::new(config()).expect("a configuration");
    let id = channels.create(BUNDLE, StoragePolicy::Nothing).await;
    let id = id.expect("a channel");
    let activity = |fill: usize| {
        let state = json!({"x": "y".repeat(fill)});
        let state = state.as_object().expect("an object").clone();
        LiveActivity::update(UnixMillis::now(), state)
    };
    let path = format!("/4/broadcasts/apps/{BUNDLE}");
    let headers = [
        ("apns-channel-id", id.as_bytes()),
        ("apns-push-type", b"liveactivity".as_slice()),
    ];
    let around = activity(0).encode().expect("a payload").len();
    let largest = activity(5120 - around);
    assert_eq!(largest.encode().expect("a payload").len(), 5120);
    let broadcast = Broadcast::new(&largest).expect("a broadcast");
    for (priority, _) in PRIORITIES {
        let broadcast = broadcast.clone().priority(priority);
        let attempt = broadcaster.send(BUNDLE, &id, Uuid::new_v4(), &broadcast);
        assert_eq!(said(&attempt.await).0, "accepted");
    }
    let larger = activity(5121 - around);
    assert!(Broadcast::new(&larger).is_err());
    let larger = larger.encode().expect("a payload");
    let raw = bare.post(&path, &headers, &larger).await;
    assert_eq!(raw, (413, "PayloadTooLarge".to_owned()));
    let start = br#"{"aps":{"event":"start","content-state":{},"timestamp":1}}"#;
    let raw = bare.post(&path, &headers, start).await;
    assert_eq!(raw, (400, "BadRequestPayload".to_owned()));
}
