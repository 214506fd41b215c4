//! Nothing that waits keeps anything else from going, whatever the provider does and whenever the process ends.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::phone::Phones;
use crate::support::registry::register_iphones;
use crate::support::sandbox::Delivery;
use crate::support::server::{Server, iphone, token};
use crate::support::stage::Stage;
use crate::support::{catch, pause, wait_for};

/// Streams of all connections of a lane, and what of it may have been answered and not yet been written down.
const IN_FLIGHT_MAX: usize = 4 * 1000;
const FLUSH_MAX: usize = 2000;

impl Stage {
    /// With a good credential and so many iPhones, told apart by their numbers.
    fn with_iphones(count: usize) -> Self {
        let stage = Self::new();
        let Self {
            app,
            data,
            sandbox,
            server,
        } = stage;
        assert!(server.process.terminate().success());
        register_iphones(data.path(), &app, 0..count);
        let server = Server::start(data.path(), None);
        let stage = Self {
            app,
            data,
            sandbox,
            server,
        };
        stage.set_credential(&stage.sandbox_key());
        stage
    }

    /// The server again, as after `end` of it.
    fn restarted(self, end: impl FnOnce(Server)) -> Self {
        let Self {
            app,
            data,
            sandbox,
            server,
        } = self;
        end(server);
        let server = Server::start(data.path(), None);
        Self {
            app,
            data,
            sandbox,
            server,
        }
    }

    fn fault(&self, fault: &Value) {
        let mut fault = fault.clone();
        fault["provider"] = "apns".into();
        self.sandbox.call("POST", "faults", Some(&fault));
    }

    fn end_faults(&self) {
        self.sandbox.call("DELETE", "faults", None);
    }

    /// Waits until so many have been accepted, and nothing else is said of any.
    fn wait_accepted(&self, message: &str, accepted: usize) {
        wait_for("the acceptances", || {
            let counts = self.counts(message);
            for other in ["dropped", "expired", "failed"] {
                assert_eq!(counts[other], 0, "{counts}");
            }
            (counts["accepted"] == accepted).then_some(())
        });
    }

    fn count(&self, message: &str, name: &str) -> usize {
        let count = self.counts(message)[name].as_u64();
        count.expect("a count") as usize
    }
}

fn by_token(deliveries: &[Delivery]) -> HashMap<&str, usize> {
    let mut counted: HashMap<&str, usize> = HashMap::new();
    for delivery in deliveries {
        *counted.entry(&delivery.token).or_default() += 1;
    }
    counted
}

#[test]
fn a_hundredth_that_is_to_be_asked_in_an_hour_holds_up_nothing() {
    const IPHONES: usize = 12_000;
    let stage = Stage::with_iphones(IPHONES);
    let later: Vec<usize> = (0..IPHONES).step_by(100).collect();
    for number in &later {
        let reason = "TooManyRequests";
        stage.fault(&json!({"token": token(*number), "status": 429, "reason": reason, "headers": {"retry-after": "3600"}}));
    }
    let message = stage.server.push_to_all(&stage.app, "hello");
    stage.wait_accepted(&message, IPHONES - later.len());
    assert_eq!(stage.counts(&message)["targeted"], IPHONES);
    // Somebody else gets what is sent now.
    let other = stage.server.register(&iphone(&stage.app, IPHONES));
    let single = stage.push_to(&[&other.id]);
    stage.wait_accepted(&single, 1);
    // Killed and started again, it asks them no sooner.
    let stage = stage.restarted(|server| server.process.kill());
    let single = stage.push_to(&[&other.id]);
    stage.wait_accepted(&single, 1);
    assert_eq!(stage.count(&message, "accepted"), IPHONES - later.len());
    let tokens = stage.sandbox.deliveries_after(0);
    assert_eq!(tokens.len(), IPHONES - later.len() + 2);
}

#[test]
fn those_that_were_to_wait_get_it_when_their_time_comes_also_after_a_kill() {
    const IPHONES: usize = 3_000;
    let stage = Stage::with_iphones(IPHONES);
    let later: Vec<usize> = (0..IPHONES).step_by(50).collect();
    for number in &later {
        let fault = json!({"token": token(*number), "status": 503, "reason": "ServiceUnavailable", "headers": {"retry-after": "4"}});
        stage.fault(&fault);
    }
    let message = stage.server.push_to_all(&stage.app, "hello");
    stage.wait_accepted(&message, IPHONES - later.len());
    let stage = stage.restarted(|server| server.process.kill());
    stage.end_faults();
    stage.wait_accepted(&message, IPHONES);
    let deliveries = stage.sandbox.deliveries_after(0);
    let counted = by_token(&deliveries);
    assert_eq!((deliveries.len(), counted.len()), (IPHONES, IPHONES));
}

#[test]
fn a_rejected_sandbox_credential_does_not_touch_production() {
    let stage = Stage::new();
    let mut wrong = stage.sandbox_key();
    wrong["p8"] = rcgen::KeyPair::generate()
        .expect("a key")
        .serialize_pem()
        .into();
    stage.set_credential(&wrong);
    let mut good = stage.sandbox_key();
    good["environment"] = "production".into();
    stage.set_credential(&good);
    let named = |number: usize| {
        let environment = ["production", "sandbox"][number % 2];
        let mut body = iphone(&stage.app, number);
        body["channels"][0]["environment"] = environment.into();
        body
    };
    let devices = stage.server.register_many(40, named);
    // More than a lane has out at a time would fill it up.
    for _ in 0..3 {
        let message = stage.server.push_to_all(&stage.app, "hello");
        stage.wait_accepted(&message, 20);
        assert_eq!(stage.count(&message, "targeted"), 40);
    }
    let single = stage.push_to(&[&devices[0].id]);
    stage.wait_accepted(&single, 1);
    let waits = stage.push_to(&[&devices[1].id]);
    // The rest goes when the credential is good, and production's goes on as it is.
    stage.set_credential(&stage.sandbox_key());
    stage.wait_accepted(&waits, 1);
    let message = stage.server.push_to_all(&stage.app, "hello");
    stage.wait_accepted(&message, 40);
    wait_for("what waited", || {
        (stage.sandbox.deliveries_after(0).len() == 4 * 40 + 2).then_some(())
    });
}

#[test]
fn a_single_push_does_not_wait_for_a_broadcast() {
    const IPHONES: usize = 30_000;
    let stage = Stage::with_iphones(IPHONES);
    let other = stage.server.register(&iphone(&stage.app, IPHONES));
    stage.fault(&json!({"delay_ms": 300}));
    let broadcast = stage.server.push_to_all(&stage.app, "hello");
    catch("the first acceptances", || {
        (stage.count(&broadcast, "accepted") > 0).then_some(())
    });
    for _ in 0..3 {
        let single = stage.push_to(&[&other.id]);
        stage.wait_accepted(&single, 1);
        let accepted = stage.count(&broadcast, "accepted");
        assert!(
            accepted < IPHONES + 1,
            "the broadcast was over before: {accepted}"
        );
    }
    stage.end_faults();
    stage.wait_accepted(&broadcast, IPHONES + 1);
}

#[test]
fn a_range_that_grew_before_a_crash_wedges_nothing_and_goes_to_its_own_devices() {
    const TAGGED: usize = 400;
    const LATER: usize = 12_000;
    let stage = Stage::new();
    stage.set_credential(&stage.sandbox_key());
    // Of thousands that lie between each other, the first few hundred have the tag.
    let tag = |number: usize| {
        let mut body = iphone(&stage.app, number);
        if number.is_multiple_of(30) {
            body["tags"] = json!(["vip"]);
        }
        body
    };
    let devices = stage.server.register_many(TAGGED * 30, tag);
    stage.fault(&json!({"delay_ms": 60_000}));
    let message = stage.push(&json!({"audience": {"tag": ["vip"]}}));
    catch("the cut", || {
        (stage.count(&message, "targeted") == TAGGED).then_some(())
    });
    pause(Duration::from_millis(300));
    let stage = stage.restarted(|server| {
        server.process.kill();
    });
    let late = devices.iter().filter(|device| !device.id.is_empty());
    for device in late.take(LATER).step_by(4) {
        let path = format!("/v1/devices/{}", device.id);
        let auth = format!("Bearer {}", device.secret);
        let body = json!({"tags": ["vip"]});
        stage.server.call("PATCH", &path, &auth, Some(&body)).good();
    }
    let stage = stage.restarted(|server| server.process.kill());
    stage.end_faults();
    stage.wait_accepted(&message, TAGGED);
    assert_eq!(stage.count(&message, "targeted"), TAGGED);
    let single = stage.push_to(&[&devices[1].id]);
    stage.wait_accepted(&single, 1);
    let deliveries = stage.sandbox.settled_after(0);
    let tokens: HashSet<&str> = deliveries.iter().map(|d| d.token.as_str()).collect();
    assert_eq!(tokens.len(), TAGGED + 1);
    assert!(stage.server.process.terminate().success());
}

#[test]
fn a_server_that_is_told_to_stop_while_its_credential_is_rejected_loses_nothing() {
    let stage = Stage::with_iphones(200);
    stage.fault(&json!({"status": 403, "reason": "InvalidProviderToken", "delay_ms": 700}));
    let message = stage.server.push_to_all(&stage.app, "hello");
    wait_for("the cut", || {
        (stage.count(&message, "targeted") == 200).then_some(())
    });
    pause(Duration::from_millis(500));
    let stage = stage.restarted(|server| assert!(server.process.terminate().success()));
    let counts = stage.counts(&message);
    assert_eq!(
        (&counts["failed"], &counts["accepted"]),
        (&json!(0), &json!(0))
    );
    stage.end_faults();
    stage.set_credential(&stage.sandbox_key());
    stage.wait_accepted(&message, 200);
    assert_eq!(stage.sandbox.deliveries_after(0).len(), 200);
}

#[test]
fn a_credential_that_is_deleted_takes_back_nothing_that_was_accepted() {
    const IPHONES: usize = 15_000;
    let stage = Stage::with_iphones(IPHONES);
    stage.fault(&json!({"delay_ms": 300}));
    let message = stage.server.push_to_all(&stage.app, "hello");
    catch("the middle", || stage.sandbox.has(2_000).then_some(()));
    let path = format!(
        "/v1/apps/{}/credentials/apns?environment=sandbox",
        stage.app.key
    );
    stage.server.admin("DELETE", &path, None).good();
    let counts = wait_for("the end", || {
        let counts = stage.counts(&message);
        let ended = counts["accepted"].as_u64()? + counts["failed"].as_u64()?;
        (ended == IPHONES as u64).then_some(counts)
    });
    let accepted = stage.sandbox.settled_after(0).len();
    assert!(accepted < IPHONES);
    assert_eq!(counts["accepted"], accepted);
}

#[test]
fn a_worker_that_stood_still_for_longer_than_its_lease_loses_and_miscounts_nothing() {
    const IPHONES: usize = 20_000;
    let stage = Stage::with_iphones(IPHONES);
    stage.fault(&json!({"delay_ms": 200}));
    let message = stage.server.push_to_all(&stage.app, "hello");
    catch("the middle", || stage.sandbox.has(5_000).then_some(()));
    stage.server.process.halt();
    pause(Duration::from_secs(62));
    stage.server.process.resume();
    stage.wait_accepted(&message, IPHONES);
    assert_eq!(stage.count(&message, "targeted"), IPHONES);
    let deliveries = stage.sandbox.settled_after(0);
    assert_eq!(by_token(&deliveries).len(), IPHONES);
    let twice = deliveries.len() - IPHONES;
    println!("stood still for 62 s: received twice {twice}");
    assert!(twice <= 2 * IN_FLIGHT_MAX + FLUSH_MAX);
}

#[test]
fn messages_with_one_collapse_id_keep_their_order_on_each_device() {
    const IPHONES: usize = 6_000;
    let stage = Stage::with_iphones(IPHONES);
    let device = stage.server.register(&iphone(&stage.app, IPHONES));
    stage.fault(&json!({"delay_ms": 100}));
    let push = |audience: Value, text: &str| {
        let body = json!({
            "platform": "all", "audience": audience, "notification": {"alert": text},
            "options": {"apns_collapse_id": "score"},
        });
        let basic = stage.app.basic();
        let reply = stage.server.call("POST", "/v3/push", &basic, Some(&body));
        reply.good()["msg_id"].as_str().expect("an id").to_owned()
    };
    let to_one = json!({"registration_id": [device.id]});
    let messages = [
        push(json!("all"), "1:0"),
        push(to_one.clone(), "2:0"),
        push(json!("all"), "2:1"),
        push(to_one, "3:1"),
    ];
    for (message, accepted) in messages.iter().zip([IPHONES + 1, 1, IPHONES + 1, 1]) {
        stage.wait_accepted(message, accepted);
    }
    let last = token(IPHONES);
    let got: Vec<String> = stage
        .sandbox
        .texts_after(0)
        .into_iter()
        .filter(|(token, _)| *token == last)
        .map(|(_, text)| text)
        .collect();
    assert_eq!(got, ["1:0", "2:0", "2:1", "3:1"]);
}

#[test]
fn a_phone_that_is_not_answered_for_keeps_no_other_with_its_collapse_id_waiting() {
    let stage = Stage::new();
    stage.set_credential(&stage.sandbox_key());
    let phones = stage.server.register_iphones(&stage.app, 20);
    stage.fault(&json!({"provider": "apns", "token": token(0), "action": "hang"}));
    let messages: Vec<String> = phones
        .iter()
        .map(|phone| {
            let body = json!({
                "platform": "all", "audience": {"registration_id": [phone.id]}, "notification": {"alert": "hello"},
                "options": {"apns_collapse_id": "chat"},
            });
            let basic = stage.app.basic();
            let reply = stage.server.call("POST", "/v3/push", &basic, Some(&body));
            reply.good()["msg_id"].as_str().expect("an id").to_owned()
        })
        .collect();
    for message in &messages[1..] {
        stage.wait_for_counts(message, &[("accepted", 1)]);
    }
    assert_eq!(stage.count(&messages[0], "accepted"), 0);
}

#[test]
fn what_a_dead_token_cannot_get_goes_over_the_link() {
    let stage = Stage::new();
    stage.set_credential(&stage.sandbox_key());
    let mut both = iphone(&stage.app, 1);
    both["channels"]
        .as_array_mut()
        .expect("a list")
        .push(json!({"provider": "link"}));
    let device = stage.server.register(&both);
    let phones = Phones::connect(
        &stage.server.link,
        &stage.app.key,
        std::slice::from_ref(&device),
    );
    phones.wait_connected(1);
    let path = format!("phones/apns/{}", token(1));
    let gone = json!({"state": "uninstalled", "since": 4_000_000_000_000_i64});
    stage.sandbox.call("PUT", &path, Some(&gone));
    for round in 0..2 {
        let message = stage.push_to(&[&device.id]);
        wait_for("the message", || {
            (phones.shown(&message) == 1).then_some(())
        });
        let counts = wait_for("the acknowledgement", || {
            Some(stage.counts(&message)).filter(|counts| counts["delivered"] == 1)
        });
        assert_eq!(counts["targeted"], 1, "round {round}: {counts}");
        assert_eq!(counts["dropped"], 0, "round {round}: {counts}");
    }
}

#[test]
fn single_pushes_that_are_not_answered_keep_no_other_from_going() {
    let stage = Stage::new();
    stage.set_credential(&stage.sandbox_key());
    let phones = stage.server.register_iphones(&stage.app, 601);
    let silent: Vec<Value> = (0..600)
        .map(|number| json!({"provider": "apns", "token": token(number), "action": "hang"}))
        .collect();
    for fault in &silent {
        stage.fault(fault);
    }
    for phone in &phones[..600] {
        stage.push_to(&[&phone.id]);
    }
    let message = stage.push_to(&[&phones[600].id]);
    stage.wait_for_counts(&message, &[("accepted", 1)]);
    // Nobody has answered any of the others by then.
    assert_eq!(stage.sandbox.deliveries_after(0).len(), 1);
}
