//! What a push becomes at vivo, through the whole server, to a simulated vivo: its lists, its quotas, its shortest life.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::makers::vivo::MAKER;
use crate::support::maker::MakerStage;
use crate::support::{registry, wait_for};

#[test]
fn a_phone_gets_what_the_push_says_of_it() {
    let stage = MakerStage::new(&MAKER);
    let phone = stage.server.register(&stage.phone(1));
    let message = stage.push(&json!({
        "audience": {"registration_id": [phone.id]},
        "notification": {"alert": "for all", "android": {
            "alert": "body", "title": "title", "alert_type": 2, "display_foreground": "0",
            "intent": {"url": "intent:#Intent;component=com.example/.Order;end"}, "extras": {"order": 7},
        }},
        "options": {"time_to_live": 600, "third_party_channel": {"vivo": {
            "distribution": "first_ospush", "category": "ORDER", "add_badge": false, "push_mode": 0,
        }}},
    }));
    stage.wait_for_counts(&message, &[("accepted", 1), ("targeted", 1)]);
    let got = stage.got_one();
    for (name, expected) in [
        ("title", json!("title")),
        ("content", json!("body")),
        ("notifyType", json!(3)),
        ("skipType", json!(4)),
        (
            "skipContent",
            json!("intent:#Intent;component=com.example/.Order;end"),
        ),
        ("foregroundShow", json!(false)),
        ("addBadge", json!(false)),
        ("classification", json!(1)),
        ("category", json!("ORDER")),
        ("pushMode", json!(0)),
    ] {
        assert_eq!(got[name], expected, "{name}");
    }
    assert_eq!(
        got["clientCustomMap"],
        json!({"order": "7", "_j_msgid": message})
    );
    let secs = got["timeToLive"].as_u64().expect("seconds");
    assert!((500..=600).contains(&secs), "{secs}");
    let journey = stage.journey(&message, &phone.id);
    assert_eq!(journey["ways"][0]["provider"], "vivo", "{journey}");
}

#[test]
fn a_saved_message_that_is_not_known_any_more_is_saved_again() {
    let stage = MakerStage::new(&MAKER);
    stage.register(5);
    stage.meet(json!({"token": MakerStage::token(3), "reason": "10155", "count": 1}));
    let message = stage.push(&json!({}));
    stage.wait_for_counts(&message, &[("accepted", 5), ("targeted", 5)]);
    assert_eq!(stage.got().len(), 5, "nobody got it twice");
}

#[test]
fn what_cannot_be_saved_today_goes_to_one_phone_at_a_time() {
    let stage = MakerStage::new(&MAKER);
    stage.register(5);
    stage.meet(json!({"reason": "10252", "count": 1}));
    let message = stage.push(&json!({}));
    stage.wait_for_counts(&message, &[("accepted", 5), ("targeted", 5)]);
    let got = stage.got();
    let requests: HashSet<_> = got.iter().map(|got| got.request).collect();
    assert_eq!((got.len(), requests.len()), (5, 5));
}

#[test]
fn a_message_that_cannot_be_saved_now_is_not_lost() {
    let stage = MakerStage::new(&MAKER);
    stage.register(5);
    stage.meet(json!({"reason": "10040", "count": 2}));
    let message = stage.push(&json!({}));
    stage.wait_for_counts(&message, &[("accepted", 5), ("targeted", 5)]);
    // It is refused, and so it is for each.
    stage.meet(json!({"reason": "10103"}));
    let message = stage.push(&json!({}));
    stage.wait_for_counts(&message, &[("failed", 5), ("targeted", 5)]);
}

/// A phone that has the link as well.
fn on_both(stage: &MakerStage, number: usize) -> Value {
    let mut phone = stage.phone(number);
    let channels = phone["channels"].as_array_mut().expect("a list");
    channels.push(json!({"provider": "link"}));
    phone
}

#[test]
fn what_lives_for_less_than_vivo_keeps_it_goes_another_way_or_ends_saying_so() {
    let stage = MakerStage::new(&MAKER);
    let both = stage.server.register(&on_both(&stage, 1));
    let only = stage.server.register(&stage.phone(2));
    let message = stage.push(&json!({"options": {"time_to_live": 50}}));
    stage.wait_for_counts(&message, &[("targeted", 2), ("expired", 1)]);
    let journey = stage.journey(&message, &only.id);
    assert_eq!(
        (&journey["state"], &journey["reason"]),
        (&json!("expired"), &json!("TimeToLiveTooShort")),
        "{journey}"
    );
    let journey = stage.journey(&message, &both.id);
    assert_eq!(journey["ways"][0]["outcome"], "handed_on", "{journey}");
    assert_eq!(journey["ways"][1]["provider"], "link", "{journey}");
    assert!(stage.got().is_empty());
}

/// What waits for the quota, in the trace of a device.
fn waits_for_quota(stage: &MakerStage, message: &str, device: &str) -> Value {
    wait_for("the trace", || {
        let journey = stage.journey(message, device);
        let way = journey["ways"][0].clone();
        (way["until"].is_string()).then_some(way)
    })
}

#[test]
fn a_spent_quota_is_not_asked_for_again_before_its_day_ends() {
    let mut stage = MakerStage::new(&MAKER);
    stage.set_credential(&json!({}));
    let phones = stage.register(3);
    let both = stage.server.register(&on_both(&stage, 7));
    stage.meet(json!({"reason": "10070", "count": 1}));
    let first = stage.push(&json!({"audience": {"registration_id": [phones[0].id]}}));
    let way = waits_for_quota(&stage, &first, &phones[0].id);
    assert_eq!(way["reason"], "10070", "{way}");
    let health = wait_for("the health", || {
        let credential = stage.credential();
        (credential["health"] == "throttled").then_some(credential)
    });
    assert_eq!(health["spent"][0]["class"], "operation", "{health}");
    assert_eq!(health["until"], way["until"], "{health}");
    let until = health["until"].as_str().expect("a time");
    assert!(
        until.ends_with("T16:00:00.000Z"),
        "midnight in China: {until}"
    );
    // vivo would take it again by now, and a restart forgets nothing.
    stage.restart();
    let second = stage.push(&json!({}));
    for phone in &phones {
        let way = waits_for_quota(&stage, &second, &phone.id);
        assert_eq!(way["until"], until, "{way}");
    }
    assert!(stage.got().is_empty());
    // What does not live that long goes another way, if there is one.
    let short = stage.push(&json!({"options": {"time_to_live": 61}}));
    stage.wait_for_counts(&short, &[("targeted", 4), ("failed", 3)]);
    let journey = stage.journey(&short, &phones[0].id);
    assert_eq!(journey["reason"], "10070", "{journey}");
    let journey = stage.journey(&short, &both.id);
    assert_eq!(journey["ways"][0]["outcome"], "handed_on", "{journey}");
    assert_eq!(journey["ways"][0]["reason"], "10070", "{journey}");
    // Messages of the system have a quota of their own.
    let system = json!({"options": {"third_party_channel": {"vivo": {"classification": 1}}}});
    let system = stage.push(&system);
    stage.wait_for_counts(&system, &[("accepted", 4), ("targeted", 4)]);
    assert_eq!(stage.got().len(), 4);
    // Whoever has another quota sets the credential again.
    stage.set_credential(&json!({}));
    let third = stage.push(&json!({}));
    stage.wait_for_counts(&third, &[("accepted", 4), ("targeted", 4)]);
    assert_eq!(stage.credential()["until"], Value::Null);
}

#[test]
fn what_waited_for_a_quota_goes_when_there_is_another() {
    let mut stage = MakerStage::new(&MAKER);
    stage.set_credential(&json!({}));
    let phones = stage.register(3);
    let app = stage.app.clone();
    stage.restart_after(|data| {
        registry::note_spent(data, &app, "vivo", "operation", Duration::from_secs(8));
    });
    let message = stage.push(&json!({}));
    let way = waits_for_quota(&stage, &message, &phones[0].id);
    assert_eq!(way["reason"], "spent", "{way}");
    assert!(stage.got().is_empty());
    stage.wait_for_counts(&message, &[("accepted", 3), ("targeted", 3)]);
    assert_eq!(stage.credential()["health"], "good");
}

#[test]
fn what_is_for_the_maker_alone_waits_for_its_quota_or_ends_saying_so() {
    let stage = MakerStage::new(&MAKER);
    stage.set_credential(&json!({}));
    let phone = stage.server.register(&on_both(&stage, 1));
    stage.meet(json!({"reason": "10070", "count": 1}));
    let alone = json!({"vivo": {"distribution": "ospush"}});
    let options = json!({"third_party_channel": alone});
    let message = stage.push(&json!({"options": options}));
    let way = waits_for_quota(&stage, &message, &phone.id);
    assert_eq!(way["outcome"], "waiting", "{way}");
    // It does not live so long, and nobody else is to have it.
    let short = json!({"time_to_live": 61, "third_party_channel": alone});
    let short = stage.push(&json!({"options": short}));
    stage.wait_for_counts(&short, &[("targeted", 1), ("failed", 1)]);
    let journey = stage.journey(&short, &phone.id);
    assert_eq!(
        (&journey["state"], &journey["reason"]),
        (&json!("failed"), &json!("10070")),
        "{journey}"
    );
    assert_eq!(
        journey["ways"].as_array().map(Vec::len),
        Some(1),
        "{journey}"
    );
    // Once the credential's record has it.
    wait_for("the verdict", || {
        let journey = stage.journey(&short, &phone.id);
        let text = journey["verdict"].as_str().expect("a sentence");
        text.contains("quota").then_some(())
    });
}
