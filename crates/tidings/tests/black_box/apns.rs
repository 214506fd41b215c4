//! What Apple's answers do to deliveries, devices and credentials.

use std::time::Duration;

use serde_json::json;

use crate::support::server::{Server, iphone, token};
use crate::support::stage::Stage;
use crate::support::{pause, wait_for};

#[test]
fn the_sandboxs_own_certificate_and_key_are_let_in() {
    let stage = Stage::new();
    let told = stage.sandbox.call("GET", "credentials", None);
    let certificate = json!({"p12": told["apns"]["p12"], "password": told["apns"]["password"]});
    stage.server.register(&iphone(&stage.app, 1));
    for (number, key) in [certificate, stage.sandbox_key()].iter().enumerate() {
        let set = stage.set_credential(key);
        assert_eq!(set["topic"], "com.example.app");
        let message = stage.server.push_to_all(&stage.app, "hello");
        wait_for("the acceptance", || {
            (stage.counts(&message)["accepted"] == 1).then_some(())
        });
        assert_eq!(stage.sandbox.deliveries_after(0).len(), number + 1);
    }
}

#[test]
fn a_phone_that_is_gone_loses_its_token_and_the_message_says_why() {
    let stage = Stage::new();
    stage.set_credential(&stage.sandbox_key());
    let gone = stage.server.register(&iphone(&stage.app, 1));
    let came_back = stage.server.register(&iphone(&stage.app, 2));
    let there = stage.server.register(&iphone(&stage.app, 3));
    let far = 4_000_000_000_000_i64;
    for (number, since) in [(1, far), (2, 1_000)] {
        let uninstalled = json!({"state": "uninstalled", "since": since});
        stage.sandbox.call(
            "PUT",
            &format!("phones/apns/{}", token(number)),
            Some(&uninstalled),
        );
    }
    let message = stage.server.push_to_all(&stage.app, "hello");
    let counts = wait_for("the answers", || {
        Some(stage.counts(&message))
            .filter(|counts| counts["accepted"] == 1 && counts["dropped"] == 2)
    });
    assert_eq!(counts["targeted"], 3);
    let journey = stage.journey(&message, &gone.id);
    assert_eq!(journey["delivery"]["reason"], "Unregistered");
    assert_eq!(journey["channels"], json!([]));
    assert_eq!(journey["history"][0]["reason"], "Unregistered");
    assert_eq!(
        stage.journey(&message, &there.id)["delivery"]["outcome"],
        "accepted"
    );
    // Apple's date lies before the registration: the token stays.
    assert_eq!(
        stage.journey(&message, &came_back.id)["channels"][0]["provider"],
        "apns"
    );

    let message = stage.server.push_to_all(&stage.app, "again");
    wait_for("the answers", || {
        (stage.counts(&message)["accepted"] == 1).then_some(())
    });
    assert_eq!(stage.counts(&message)["targeted"], 2);
}

/// The token that Apple calls dead is not the device's any more when Apple says it: the delivery goes to the one that it has.
#[test]
fn a_token_that_changes_while_apple_is_asked_gets_the_delivery_once() {
    let stage = Stage::new();
    stage.set_credential(&stage.sandbox_key());
    let with_link =
        |number: usize| json!([{"provider": "apns", "token": token(number)}, {"provider": "link"}]);
    for number in (1..).step_by(2) {
        let fault = json!({
            "provider": "apns", "token": token(number), "count": 1,
            "status": 410, "reason": "Unregistered", "delay_ms": 1500,
        });
        let fault = stage.sandbox.call("POST", "faults", Some(&fault))["id"].clone();
        let mut phone = iphone(&stage.app, number);
        phone["channels"] = with_link(number);
        let phone = stage.server.register(&phone);
        let push = json!({
            "platform": "all",
            "audience": {"registration_id": [phone.id]},
            "notification": {"alert": "hello"},
        });
        let basic = stage.app.basic();
        let reply = stage.server.call("POST", "/v3/push", &basic, Some(&push));
        let message = reply.good()["msg_id"].as_str().expect("an id").to_owned();
        // As a rule it is asked by then.
        pause(Duration::from_millis(300));
        let change = json!({"channels": with_link(number + 1)});
        let path = format!("/v1/devices/{}", phone.id);
        let auth = format!("Bearer {}", phone.secret);
        let changed = stage.server.call("PATCH", &path, &auth, Some(&change));
        changed.good();
        let counts = wait_for("the acceptance", || {
            Some(stage.counts(&message)).filter(|counts| counts["accepted"] == 1)
        });
        assert_eq!(counts["targeted"], 1);
        let got = stage.sandbox.deliveries_after(0);
        let got = got.iter().filter(|got| got.token == token(number + 1));
        assert_eq!(got.count(), 1);
        let path = format!("faults/{}", fault.as_str().expect("an id"));
        if stage.sandbox.answer("DELETE", &path, None).status == 404 {
            return; // It was met, by the old token.
        }
    }
}

/// It is the same phone, as a rule, and the app on it another: what is for the one is not for the other.
#[test]
fn what_waits_for_a_token_is_not_sent_to_it_when_it_is_another_devices() {
    let stage = Stage::new();
    stage.set_credential(&stage.sandbox_key());
    let former = stage.server.register(&iphone(&stage.app, 1));
    let later = json!({
        "provider": "apns", "token": token(1), "count": 1,
        "status": 429, "reason": "TooManyRequests", "headers": {"retry-after": "1"},
    });
    stage.sandbox.call("POST", "faults", Some(&later));
    let message = stage.server.push_to_all(&stage.app, "hello");
    // As a rule it is asked by then, and waits.
    pause(Duration::from_millis(300));
    stage.server.register(&iphone(&stage.app, 1));
    let counts = wait_for("the end", || {
        Some(stage.counts(&message))
            .filter(|counts| counts["accepted"] == 1 || counts["dropped"] == 1)
    });
    assert_eq!(counts["dropped"], 1);
    let journey = stage.journey(&message, &former.id);
    assert_eq!(journey["delivery"]["reason"], "moved");
    assert!(stage.sandbox.deliveries_after(0).is_empty());
}

#[test]
fn a_rejected_credential_parks_the_lane_and_the_next_one_resumes_it() {
    let stage = Stage::new();
    let mut wrong = stage.sandbox_key();
    wrong["p8"] = rcgen::KeyPair::generate()
        .expect("a key")
        .serialize_pem()
        .into();
    stage.set_credential(&wrong);
    stage.server.register_iphones(&stage.app, 50);
    let message = stage.server.push_to_all(&stage.app, "hello");
    let path = format!("/v1/apps/{}/credentials", stage.app.key);
    let listed = wait_for("the rejection", || {
        let listed = stage.server.admin("GET", &path, None).good().to_string();
        listed.contains("InvalidProviderToken").then_some(listed)
    });
    assert!(!listed.contains("PRIVATE KEY"), "{listed}");
    assert_eq!(stage.counts(&message)["accepted"], 0);

    stage.set_credential(&stage.sandbox_key());
    wait_for("the rest", || {
        (stage.counts(&message)["accepted"] == 50).then_some(())
    });
    let listed = stage.server.admin("GET", &path, None).good().to_string();
    assert!(!listed.contains("InvalidProviderToken"), "{listed}");
    assert_eq!(stage.sandbox.deliveries_after(0).len(), 50);
}

/// The first refusal parks the lane; those that are in flight come back while it stops.
#[test]
fn a_stop_while_the_credential_is_being_rejected_fails_nothing() {
    let mut stage = Stage::new();
    stage.set_credential(&stage.sandbox_key());
    stage.server.register_iphones(&stage.app, 41);
    let refusing = json!({
        "provider": "apns", "status": 403, "reason": "InvalidProviderToken", "delay_ms": 2000, "count": 40,
    });
    stage.sandbox.call("POST", "faults", Some(&refusing));
    let message = stage.server.push_to_all(&stage.app, "hello");
    // The one that is not refused arrives when the forty are with Apple.
    wait_for("the forty-first", || stage.sandbox.has(1).then_some(()));
    assert!(stage.server.process.terminate().success());

    stage.server = Server::start(stage.data.path(), None);
    let counts = wait_for("the rest", || {
        Some(stage.counts(&message)).filter(|counts| counts["accepted"] == 41)
    });
    assert_eq!(
        (&counts["targeted"], &counts["failed"]),
        (&json!(41), &json!(0))
    );
    assert_eq!(stage.sandbox.deliveries_after(0).len(), 41);
}

#[test]
fn a_lane_that_parks_again_for_the_same_reason_is_resumed_by_a_good_check() {
    let stage = Stage::new();
    stage.server.register_iphones(&stage.app, 50);
    let refusing = json!({"provider": "apns", "status": 403, "reason": "InvalidProviderToken"});
    let fault = stage.sandbox.call("POST", "faults", Some(&refusing));
    let listed = || stage.credential()["health"].clone();
    stage.set_credential(&stage.sandbox_key());
    let message = stage.server.push_to_all(&stage.app, "hello");
    wait_for("the rejection", || (listed() == "rejected").then_some(()));
    // The same key once more, which Apple still refuses.
    stage.set_credential(&stage.sandbox_key());
    wait_for("the rejection", || (listed() == "rejected").then_some(()));

    let path = format!("faults/{}", fault["id"].to_string().trim_matches('"'));
    stage.sandbox.call("DELETE", &path, None);
    let path = format!("/v1/apps/{}/credentials/apns/check", stage.app.key);
    let checked = stage.server.admin("POST", &path, None).good();
    assert_eq!(checked["checks"][0]["result"], "good");
    wait_for("the push", || {
        (stage.counts(&message)["accepted"] == 50).then_some(())
    });
    assert_eq!(listed(), "good");
}

#[test]
fn a_rejection_that_is_over_is_forgotten_when_apple_accepts_after_a_restart() {
    let mut stage = Stage::new();
    stage.server.register_iphones(&stage.app, 50);
    let refusing = json!({"provider": "apns", "status": 403, "reason": "InvalidProviderToken"});
    stage.sandbox.call("POST", "faults", Some(&refusing));
    stage.set_credential(&stage.sandbox_key());
    let message = stage.server.push_to_all(&stage.app, "hello");
    wait_for("the rejection", || {
        (stage.credential()["health"] == "rejected").then_some(())
    });
    stage.server.process.kill();
    stage.sandbox.call("DELETE", "faults", None);
    stage.server = Server::start(stage.data.path(), None);
    wait_for("the push", || {
        (stage.counts(&message)["accepted"] == 50).then_some(())
    });
    wait_for("the health", || {
        (stage.credential()["health"] == "good").then_some(())
    });
}

#[test]
fn credentials_under_a_lost_seal_key_are_told_of_and_do_not_keep_the_server_from_stopping() {
    let mut stage = Stage::new();
    stage.server.register_iphones(&stage.app, 1);
    stage.set_credential(&stage.sandbox_key());
    assert!(stage.server.process.terminate().success());
    std::fs::remove_file(stage.data.path().join("seal.key")).expect("it is there");
    stage.server = Server::start(stage.data.path(), None);
    let message = stage.server.push_to_all(&stage.app, "hello");
    wait_for("the failure", || {
        (stage.counts(&message)["failed"] == 1).then_some(())
    });
    let path = format!("/v1/apps/{}/credentials/apns/check", stage.app.key);
    let check = stage.server.admin("POST", &path, None).good()["checks"][0].clone();
    assert_eq!(check["result"], "rejected");
    let text = check["text"].as_str().expect("a text");
    assert!(text.contains("seal key; set it again"), "{text}");
    assert!(stage.server.process.terminate().success());
}

#[test]
fn what_apple_wants_later_is_tried_again_and_arrives_once() {
    let stage = Stage::new();
    stage.set_credential(&stage.sandbox_key());
    stage.server.register_iphones(&stage.app, 200);
    let fault = json!({"provider": "apns", "status": 503, "reason": "ServiceUnavailable", "percent": 30, "count": 40});
    stage.sandbox.call("POST", "faults", Some(&fault));
    let refuse = json!({"provider": "apns", "action": "refuse_stream", "count": 20});
    stage.sandbox.call("POST", "faults", Some(&refuse));
    let goaway = json!({"provider": "apns", "action": "goaway", "count": 1});
    stage.sandbox.call("POST", "faults", Some(&goaway));
    let message = stage.server.push_to_all(&stage.app, "hello");
    let counts = wait_for("all of them", || {
        Some(stage.counts(&message)).filter(|counts| counts["accepted"] == 200)
    });
    assert_eq!(counts["targeted"], 200);
    assert_eq!(stage.sandbox.deliveries_after(0).len(), 200, "none twice");
}

#[test]
fn a_wrong_payload_fails_alone() {
    let stage = Stage::new();
    stage.set_credential(&stage.sandbox_key());
    let devices = stage.server.register_iphones(&stage.app, 20);
    let fault = json!({"provider": "apns", "token": token(7), "status": 400, "reason": "BadTopic"});
    stage.sandbox.call("POST", "faults", Some(&fault));
    let message = stage.server.push_to_all(&stage.app, "hello");
    wait_for("the answers", || {
        let counts = stage.counts(&message);
        (counts["accepted"] == 19 && counts["failed"] == 1).then_some(())
    });
    assert_eq!(
        stage.journey(&message, &devices[7].id)["delivery"]["reason"],
        "BadTopic"
    );
}
