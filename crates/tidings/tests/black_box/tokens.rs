//! What a wrong credential costs: deliveries, but no tokens.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::registry::set_credential;
use crate::support::server::{Device, Server, token};
use crate::support::stage::Stage;
use crate::support::{pause, wait_for};

/// A phone that says which environment its token is for.
fn phone(stage: &Stage, number: usize, environment: &str) -> Device {
    stage.server.register(&json!({
        "app_key": stage.app.key,
        "platform": "ios",
        "channels": [{"provider": "apns", "token": token(number), "environment": environment}],
    }))
}

fn dropped(stage: &Stage, message: &str, count: usize) {
    wait_for("Apple's word", || {
        (stage.counts(message)["dropped"] == count).then_some(())
    });
}

fn accepted(stage: &Stage, message: &str, count: usize) {
    wait_for("the acceptance", || {
        (stage.counts(message)["accepted"] == count).then_some(())
    });
}

fn refuse(stage: &Stage, reason: &str, token: Option<String>) -> String {
    let mut fault = json!({"provider": "apns", "status": 400, "reason": reason});
    if let Some(token) = token {
        fault["token"] = token.into();
    }
    let id = stage.sandbox.call("POST", "faults", Some(&fault))["id"].clone();
    id.to_string().trim_matches('"').to_owned()
}

fn end(stage: &Stage, fault: &str) {
    let path = format!("faults/{fault}");
    stage.sandbox.call("DELETE", &path, None);
}

/// The credential of an environment, as it is listed.
fn listed(stage: &Stage, environment: &str) -> Value {
    let path = format!("/v1/apps/{}/credentials", stage.app.key);
    let listed = stage.server.admin("GET", &path, None).good();
    let credentials = listed["credentials"].as_array().expect("a list");
    let found = credentials
        .iter()
        .find(|credential| credential["environment"] == environment);
    found.expect("a credential").clone()
}

fn has_token(stage: &Stage, device: &Device, message: &str) -> bool {
    stage.journey(message, &device.id)["channels"] != json!([])
}

/// A token goes with the end of its page, which is a moment after its counts.
fn loses_token(stage: &Stage, device: &Device, message: &str) {
    wait_for("the token to go", || {
        (!has_token(stage, device, message)).then_some(())
    });
}

fn key_for(stage: &Stage, environment: &str) -> Value {
    let mut key = stage.sandbox_key();
    key["environment"] = environment.into();
    key
}

#[test]
fn a_misspelt_topic_costs_no_token_and_the_health_says_what_apple_says() {
    let stage = Stage::new();
    let mut misspelt = key_for(&stage, "production");
    misspelt["topic"] = "com.example.ap".into();
    stage.set_credential(&misspelt);
    let phones: Vec<_> = (0..12).map(|n| phone(&stage, n, "production")).collect();
    let fault = refuse(&stage, "DeviceTokenNotForTopic", None);
    for phone in &phones {
        let message = stage.push_to(&[&phone.id]);
        dropped(&stage, &message, 1);
    }
    let message = stage.server.push_to_all(&stage.app, "hello");
    dropped(&stage, &message, 12);
    for phone in &phones {
        assert!(has_token(&stage, phone, &message));
    }
    let health = wait_for("the health", || {
        let listed = listed(&stage, "production");
        (listed["health"] != "good").then_some(listed)
    });
    assert_eq!(health["health"], "rejected");
    assert_eq!(health["rejected"], "DeviceTokenNotForTopic");
    // A check asks of a token that nobody has: it cannot refute that.
    let path = format!("/v1/apps/{}/credentials/apns/check", stage.app.key);
    let check = stage.server.admin("POST", &path, None).good()["checks"][0].clone();
    assert_eq!(
        (&check["result"], &check["reason"]),
        (&json!("undecided"), &json!("DeviceTokenNotForTopic"))
    );
    assert_eq!(listed(&stage, "production")["health"], "rejected");

    // The right one is accepted, and then a token that is bad costs itself.
    end(&stage, &fault);
    refuse(&stage, "DeviceTokenNotForTopic", Some(token(0)));
    stage.set_credential(&key_for(&stage, "production"));
    let message = stage.push_to(&[&phones[0].id]);
    dropped(&stage, &message, 1);
    assert!(
        has_token(&stage, &phones[0], &message),
        "nothing vouches yet"
    );
    let message = stage.push_to(&[&phones[1].id]);
    accepted(&stage, &message, 1);
    wait_for("the health", || {
        (listed(&stage, "production")["health"] == "good").then_some(())
    });
    let message = stage.push_to(&[&phones[0].id]);
    dropped(&stage, &message, 1);
    loses_token(&stage, &phones[0], &message);
    assert!(has_token(&stage, &phones[1], &message));
    assert_eq!(listed(&stage, "production")["health"], "good");
}

#[test]
fn a_credential_that_is_led_to_the_other_environment_costs_no_token() {
    let stage = Stage::new();
    stage.set_credential(&key_for(&stage, "production"));
    let phones: Vec<_> = (0..30).map(|n| phone(&stage, n, "production")).collect();
    refuse(&stage, "BadDeviceToken", None);
    let messages: Vec<_> = phones
        .iter()
        .map(|phone| stage.push_to(&[&phone.id]))
        .collect();
    for (phone, message) in phones.iter().zip(&messages) {
        dropped(&stage, message, 1);
        assert!(has_token(&stage, phone, message));
    }
    let message = stage.server.push_to_all(&stage.app, "hello");
    dropped(&stage, &message, 30);
    assert_eq!(stage.counts(&message)["targeted"], 30);
    wait_for("the health", || {
        (listed(&stage, "production")["rejected"] == "BadDeviceToken").then_some(())
    });
}

#[test]
fn a_bad_token_in_a_page_that_is_accepted_is_removed() {
    let stage = Stage::new();
    stage.set_credential(&key_for(&stage, "sandbox"));
    let phones: Vec<_> = (0..12).map(|n| phone(&stage, n, "sandbox")).collect();
    refuse(&stage, "BadDeviceToken", Some(token(3)));
    let message = stage.server.push_to_all(&stage.app, "hello");
    accepted(&stage, &message, 11);
    dropped(&stage, &message, 1);
    loses_token(&stage, &phones[3], &message);
    for (number, phone) in phones.iter().enumerate() {
        assert_eq!(has_token(&stage, phone, &message), number != 3);
    }
}

#[test]
fn one_environments_credential_leaves_the_others_alone() {
    let stage = Stage::new();
    stage.set_credential(&key_for(&stage, "sandbox"));
    let parked = phone(&stage, 1, "sandbox");
    let other = phone(&stage, 2, "production");
    let refusing = json!({
        "provider": "apns", "status": 403, "reason": "InvalidProviderToken", "token": token(1), "count": 1,
    });
    stage.sandbox.call("POST", "faults", Some(&refusing));
    let waits = stage.push_to(&[&parked.id]);
    wait_for("the rejection", || {
        (listed(&stage, "sandbox")["health"] == "rejected").then_some(())
    });
    stage.set_credential(&key_for(&stage, "production"));
    let message = stage.push_to(&[&other.id]);
    accepted(&stage, &message, 1);
    assert_eq!(listed(&stage, "sandbox")["health"], "rejected");
    assert_eq!(stage.counts(&waits)["accepted"], 0, "it is still parked");
    // Its own does resume it.
    stage.set_credential(&key_for(&stage, "sandbox"));
    accepted(&stage, &waits, 1);
}

/// As one that was set before such a topic was refused.
#[test]
fn what_cannot_be_made_for_apple_ends_with_the_true_reason() {
    let mut stage = Stage::new();
    stage.set_credential(&key_for(&stage, "sandbox"));
    let device = phone(&stage, 1, "sandbox");
    let key = stage.sandbox_key();
    assert!(stage.server.process.terminate().success());
    let topic = "com.example.app.push-type.liveactivity";
    set_credential(stage.data.path(), &stage.app, &key, topic);
    stage.server = Server::start(stage.data.path(), None);
    let message = stage.push_to(&[&device.id]);
    wait_for("the failure", || {
        (stage.counts(&message)["failed"] == 1).then_some(())
    });
    let journey = stage.journey(&message, &device.id);
    assert_eq!(journey["delivery"]["reason"], "BadTopic");
}

#[test]
fn what_a_wrong_credential_heard_of_tokens_is_not_held_against_them_under_the_next() {
    let stage = Stage::new();
    stage.set_credential(&key_for(&stage, "production"));
    let phones: Vec<_> = (0..12).map(|n| phone(&stage, n, "production")).collect();
    for number in 1..12 {
        refuse(&stage, "DeviceTokenNotForTopic", Some(token(number)));
    }
    let slow = json!({"provider": "apns", "token": token(0), "delay_ms": 3000});
    stage.sandbox.call("POST", "faults", Some(&slow));
    let message = stage.server.push_to_all(&stage.app, "hello");
    dropped(&stage, &message, 11);
    // While the last of the page is under way.
    let mut right = key_for(&stage, "production");
    right["topic"] = "com.example.app".into();
    stage.set_credential(&right);
    accepted(&stage, &message, 1);
    let next = stage.push_to(&[&phones[0].id]);
    accepted(&stage, &next, 1);
    for phone in &phones {
        assert!(has_token(&stage, phone, &message));
    }
}

#[test]
fn a_token_that_moves_while_a_try_is_under_way_is_not_tried_again() {
    let stage = Stage::new();
    stage.set_credential(&stage.sandbox_key());
    let former = phone(&stage, 0, "sandbox");
    let fault = json!({"provider": "apns", "token": token(0), "status": 503, "reason": "ServiceUnavailable", "delay_ms": 1500, "count": 1});
    stage.sandbox.call("POST", "faults", Some(&fault));
    let message = stage.push_to(&[&former.id]);
    // The try leaves at once; its answer takes longer.
    pause(Duration::from_millis(700));
    let owner = phone(&stage, 0, "sandbox");
    dropped(&stage, &message, 1);
    assert_eq!(stage.sandbox.settled_after(0).len(), 0, "nothing was shown");
    let reason = stage.journey(&message, &former.id)["reason"].clone();
    assert_eq!(reason, "moved");
    let message = stage.push_to(&[&owner.id]);
    accepted(&stage, &message, 1);
}
