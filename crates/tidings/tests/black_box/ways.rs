//! Which way a device gets a message, and what is said of it, where the device changes between the push and its arrival.

use serde_json::{Value, json};

use crate::support::line::Line;
use crate::support::server::{Device, Server, on_link, token};
use crate::support::stage::Stage;
use crate::support::wait_for;

/// An iPhone that is on the link, too.
fn both(stage: &Stage, number: usize) -> Device {
    stage.server.register(&json!({
        "app_key": stage.app.key,
        "platform": "ios",
        "channels": channels(Some(number), true),
    }))
}

fn connect(stage: &Stage, device: &Device) -> Line {
    Line::connect(&stage.server.link, &stage.app, device, None)
}

fn change(stage: &Stage, device: &Device, body: &Value) {
    let path = format!("/v1/devices/{}", device.id);
    let bearer = format!("Bearer {}", device.secret);
    stage
        .server
        .call("PATCH", &path, &bearer, Some(body))
        .good();
}

fn count(stage: &Stage, message: &str, name: &str, count: u64) {
    stage.wait_for_counts(message, &[(name, count)]);
}

/// What `/v3/status/message` says of a device.
fn status(stage: &Stage, message: &str, device: &Device) -> Value {
    let body = json!({
        "msg_id": message.parse::<u64>().expect("an id"),
        "registration_ids": [device.id],
    });
    let reply = stage.server.call(
        "POST",
        "/v3/status/message",
        &stage.app.basic(),
        Some(&body),
    );
    reply.good()[&device.id]["status"].clone()
}

fn channels(apns: Option<usize>, link: bool) -> Value {
    let apns = apns.map(|number| json!({"provider": "apns", "token": token(number)}));
    let link = link.then(|| json!({"provider": "link"}));
    apns.into_iter().chain(link).collect()
}

#[test]
fn the_push_after_a_dead_token_goes_over_the_connection_that_is_there() {
    let stage = Stage::wired();
    let phone = both(&stage, 1);
    let mut line = connect(&stage, &phone);
    let gone = json!({"state": "uninstalled"});
    let path = format!("phones/apns/{}", token(1));
    stage.sandbox.call("PUT", &path, Some(&gone));
    let first = stage.push(&json!({}));
    let came = line.next();
    assert_eq!(came.id, first, "the way that has ended hands it on");
    line.answer(&came, 0);
    let second = stage.push(&json!({}));
    let came = line.next();
    assert_eq!(came.id, second);
    line.answer(&came, 0);
    count(&stage, &second, "delivered", 1);
}

#[test]
fn whoever_loses_its_token_to_another_device_gets_the_next_push_over_the_link() {
    let stage = Stage::wired();
    let former = both(&stage, 1);
    let mut line = connect(&stage, &former);
    let present = stage.server.register(&json!({
        "app_key": stage.app.key, "platform": "ios", "channels": channels(Some(1), false),
    }));
    assert_ne!(present.id, former.id);
    let message = stage.push(&json!({}));
    count(&stage, &message, "accepted", 1);
    assert_eq!(stage.sandbox.deliveries_after(0).len(), 1);
    // A device that has not shown itself since is no target; by its connection it has.
    let shown = stage.push(&json!({"audience": {"registration_id": [former.id]}}));
    let mut ids = vec![line.next().id];
    if ids[0] != shown {
        ids.push(line.next().id);
    }
    assert!(ids.contains(&shown), "{ids:?}");
}

#[test]
fn what_waits_on_the_link_is_not_lost_when_a_token_comes() {
    let stage = Stage::wired();
    let phone = stage.server.register(&json!({
        "app_key": stage.app.key, "platform": "ios", "channels": channels(None, true),
    }));
    let message = stage.push(&json!({}));
    count(&stage, &message, "targeted", 1);
    change(
        &stage,
        &phone,
        &json!({"channels": channels(Some(1), true)}),
    );
    let mut line = connect(&stage, &phone);
    let came = line.next();
    assert_eq!(came.id, message);
    line.answer(&came, 0);
    count(&stage, &message, "delivered", 1);
    assert_eq!(
        stage.sandbox.deliveries_after(0).len(),
        0,
        "it went one way"
    );
}

#[test]
fn a_phone_that_gives_its_token_up_gets_nothing_again() {
    let stage = Stage::wired();
    let phone = both(&stage, 1);
    let message = stage.push(&json!({}));
    count(&stage, &message, "accepted", 1);
    change(&stage, &phone, &json!({"channels": channels(None, true)}));
    let mut line = connect(&stage, &phone);
    let next = stage.push(&json!({}));
    let came = line.next();
    assert_eq!(came.id, next, "Apple had the first");
    line.answer(&came, 0);
    assert!(line.is_silent());
}

/// The same for what is in its inbox and what is in the log.
#[test]
fn what_waits_for_a_phone_that_loses_the_link_ends_and_says_why() {
    let mut stage = Stage::wired();
    stage.server.process.kill();
    stage.server = Server::start_with_log(stage.data.path(), Some(&stage.sandbox.control));
    let register = |apns, link| {
        stage.server.register(&json!({
            "app_key": stage.app.key, "platform": "ios", "channels": channels(apns, link),
        }))
    };
    let (left, lost, stays) = (
        register(None, true),
        register(None, true),
        register(None, true),
    );
    let mut line = connect(&stage, &stays);
    let to_left = stage.push_to(&[&left.id]);
    let to_lost = stage.push_to(&[&lost.id]);
    let to_all = stage.push(&json!({}));
    count(&stage, &to_all, "targeted", 3);
    let came = line.next();
    assert_eq!(came.id, to_all);
    line.answer(&came, 0);
    change(
        &stage,
        &left,
        &json!({"channels": channels(Some(1), false)}),
    );
    // The other loses it with a token that moves.
    change(&stage, &lost, &json!({"channels": channels(Some(2), true)}));
    register(Some(2), false);

    let ended = |dropped| {
        for (message, dropped) in [(&to_left, 1), (&to_lost, 1), (&to_all, dropped)] {
            count(&stage, message, "dropped", dropped);
        }
        let ways = [
            (&to_left, &left, "replaced"),
            (&to_all, &left, "replaced"),
            (&to_lost, &lost, "moved"),
            (&to_all, &lost, "moved"),
        ];
        for (message, device, reason) in ways {
            let journey = stage.journey(message, &device.id);
            assert_eq!(journey["state"], "dropped", "{journey}");
            assert_eq!(journey["reason"], reason);
            assert_eq!(status(&stage, message, device), 1);
        }
    };
    ended(2);
    // Whoever has the link again gets what is new, and nothing twice.
    change(&stage, &left, &json!({"channels": channels(Some(1), true)}));
    for device in [&left, &lost] {
        let mut line = connect(&stage, device);
        let next = stage.push(&json!({
            "audience": {"registration_id": [device.id]}, "notification": null, "message": {"msg_content": "hi"},
        }));
        let came = line.next();
        assert_eq!(came.id, next);
        line.answer(&came, 0);
        count(&stage, &next, "delivered", 1);
    }
    ended(2);
    assert_eq!(stage.sandbox.deliveries_after(0).len(), 0);
    count(&stage, &to_all, "delivered", 1);
}

#[test]
fn a_dead_token_takes_only_itself_away() {
    let stage = Stage::wired();
    let phone = stage.server.register(&json!({
        "app_key": stage.app.key, "platform": "ios", "channels": channels(Some(1), false),
    }));
    let slow = json!({
        "provider": "apns", "token": token(1), "status": 410, "reason": "Unregistered", "delay_ms": 1500,
    });
    stage.sandbox.call("POST", "faults", Some(&slow));
    let message = stage.push(&json!({}));
    wait_for("the push to be under way", || {
        let counts = stage.server.counts(&stage.app, &message);
        (counts["targeted"] == 1).then_some(())
    });
    // Registered while Apple thinks about the old one.
    crate::support::pause(std::time::Duration::from_millis(500));
    change(
        &stage,
        &phone,
        &json!({"channels": channels(Some(2), false)}),
    );
    wait_for("the end", || {
        let counts = stage.server.counts(&stage.app, &message);
        (counts["dropped"] == 1 || counts["accepted"] == 1).then_some(())
    });
    let next = stage.push(&json!({}));
    count(&stage, &next, "accepted", 1);
}

#[test]
fn an_accepted_delivery_stays_accepted_when_the_token_changes() {
    let stage = Stage::wired();
    let phone = both(&stage, 1);
    let message = stage.push(&json!({}));
    count(&stage, &message, "accepted", 1);
    change(
        &stage,
        &phone,
        &json!({"channels": channels(Some(2), true)}),
    );
    let journey = stage.journey(&message, &phone.id);
    assert_eq!(journey["state"], "accepted", "{journey}");
    assert_eq!(status(&stage, &message, &phone), 0);
}

#[test]
fn only_what_a_device_got_can_be_opened_by_it() {
    let stage = Stage::wired();
    let phone = both(&stage, 1);
    let stranger = both(&stage, 2);
    let message = stage.push(&json!({
        "audience": {"registration_id": [phone.id]},
        "notification": null, "message": {"msg_content": "m"},
    }));
    let mut line = connect(&stage, &phone);
    let came = line.next();
    assert!(came.payload["message"].is_object(), "{came:?}");
    line.answer(&came, 0);
    count(&stage, &message, "delivered", 1);
    for device in [&stranger, &phone] {
        let path = format!("/v1/devices/{}/events", device.id);
        let bearer = format!("Bearer {}", device.secret);
        let events = json!({"events": [{"type": "opened", "msg_id": message}]});
        stage
            .server
            .call("POST", &path, &bearer, Some(&events))
            .good();
    }
    count(&stage, &message, "opened", 1);
    assert_eq!(
        stage.journey(&message, &stranger.id)["state"],
        "not_targeted"
    );
}

#[test]
fn what_expired_before_a_later_one_was_acknowledged_has_not_arrived() {
    let stage = Stage::wired();
    let phone = stage.server.register(&on_link(&stage.app));
    let short = stage.push(&json!({"options": {"time_to_live": 1}}));
    count(&stage, &short, "targeted", 1);
    crate::support::pause(std::time::Duration::from_millis(1200));
    let long = stage.push(&json!({}));
    let mut line = connect(&stage, &phone);
    let came = line.next();
    assert_eq!(came.id, long);
    line.answer(&came, 0);
    count(&stage, &long, "delivered", 1);
    let journey = stage.journey(&short, &phone.id);
    assert_eq!(journey["state"], "expired", "{journey}");
    assert_ne!(status(&stage, &short, &phone), 0);
}

#[test]
fn what_is_too_large_for_the_phone_has_not_arrived() {
    let stage = Stage::wired();
    let phone = stage.server.register(&on_link(&stage.app));
    let large = stage.push(&json!({"notification": {"alert": "x".repeat(500)}}));
    let small = stage.push(&json!({"notification": {"alert": "x"}}));
    let mut line = Line::connect(&stage.server.link, &stage.app, &phone, Some(300));
    let came = line.next();
    assert_eq!(came.id, small);
    line.answer(&came, 0);
    count(&stage, &small, "delivered", 1);
    count(&stage, &large, "dropped", 1);
    let journey = stage.journey(&large, &phone.id);
    assert_eq!(
        (&journey["state"], &journey["reason"]),
        (&json!("dropped"), &json!("TooLargeForDevice")),
        "{journey}"
    );
    assert_ne!(status(&stage, &large, &phone), 0);
}

#[test]
fn what_the_phone_refused_has_not_arrived() {
    let stage = Stage::wired();
    let phone = stage.server.register(&on_link(&stage.app));
    for code in [0x87, 0x97] {
        let message = stage.push(&json!({}));
        let mut line = connect(&stage, &phone);
        let came = line.next();
        assert_eq!(came.id, message);
        line.answer(&came, code);
        count(&stage, &message, "dropped", 1);
        let journey = stage.journey(&message, &phone.id);
        assert_eq!(journey["state"], "dropped", "{journey}");
        let reason = journey["reason"].as_str().expect("a reason");
        assert!(reason.contains(&format!("{code:02x}")), "{reason}");
        assert_ne!(status(&stage, &message, &phone), 0);
    }
}

#[test]
fn a_push_to_a_tag_was_not_for_a_phone_that_got_the_tag_later() {
    let stage = Stage::wired();
    let mut tagged = on_link(&stage.app);
    tagged["tags"] = json!(["vip"]);
    stage.server.register(&tagged);
    let phone = stage.server.register(&on_link(&stage.app));
    let message = stage.push(&json!({"audience": {"tag": ["vip"]}}));
    count(&stage, &message, "targeted", 1);
    change(&stage, &phone, &json!({"tags": ["vip"]}));
    let next = stage.push(&json!({"audience": {"tag": ["vip"]}}));
    let mut line = connect(&stage, &phone);
    let came = line.next();
    assert_eq!(came.id, next);
    line.answer(&came, 0);
    let journey = stage.journey(&message, &phone.id);
    assert_eq!(journey["state"], "not_targeted", "{journey}");
}

#[test]
fn a_message_for_those_who_are_there_has_not_arrived_at_one_who_was_away() {
    let stage = Stage::wired();
    let phone = stage.server.register(&on_link(&stage.app));
    let message = stage.push(&json!({"options": {"time_to_live": 0}}));
    count(&stage, &message, "targeted", 1);
    let next = stage.push(&json!({}));
    let mut line = connect(&stage, &phone);
    let came = line.next();
    assert_eq!(came.id, next);
    line.answer(&came, 0);
    count(&stage, &next, "delivered", 1);
    let journey = wait_for("the verdict", || {
        let journey = stage.journey(&message, &phone.id);
        (journey["state"] != "waiting").then_some(journey)
    });
    assert_eq!(journey["state"], "expired", "{journey}");
    assert_ne!(status(&stage, &message, &phone), 0);
}
