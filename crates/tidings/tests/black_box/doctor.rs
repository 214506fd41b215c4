//! `tidings doctor` against a running server and the simulated Apple.

use serde_json::{Value, json};

use crate::support::server::iphone;
use crate::support::stage::{Stage, doctor};
use crate::support::wait_for;

/// Sets the sandbox's key, with `changed` fields.
fn set(stage: &Stage, changed: &Value) {
    let mut key = stage.sandbox_key();
    for (name, value) in changed.as_object().expect("an object") {
        key[name] = value.clone();
    }
    stage.set_credential(&key);
}

/// What it says of the one credential, which is bad.
#[track_caller]
fn complaint_of(stage: &Stage) -> String {
    let (code, lines) = stage.doctor(&[]);
    assert_eq!(code, Some(1), "{lines:?}");
    assert_eq!(lines[2], "1 line needs attention", "{lines:?}");
    let begin = format!("!!  app {} (test), apns sandbox: ", stage.app.key);
    let complaint = lines[1].strip_prefix(&begin);
    complaint.unwrap_or_else(|| panic!("{lines:?}")).to_owned()
}

#[test]
fn a_server_whose_credentials_are_good_is_well() {
    let stage = Stage::new();
    let key = &stage.app.key;
    let (code, lines) = stage.doctor(&[]);
    assert_eq!(code, Some(0), "{lines:?}");
    let version = env!("CARGO_PKG_VERSION");
    let there = format!("ok  server {}: Tidings {version}", stage.server.api);
    let none = format!("--  app {key} (test): no credential");
    assert_eq!(lines, [there.as_str(), &none, "all is well"]);

    set(&stage, &json!({}));
    let good = format!(
        "ok  app {key} (test), apns sandbox: token for com.example.app, health good, does not expire. Apple takes the credential for com.example.app."
    );
    for args in [&[][..], &["--app", key]] {
        let (code, lines) = stage.doctor(args);
        assert_eq!(code, Some(0), "{lines:?}");
        assert_eq!(lines, [there.as_str(), &good, "all is well"]);
    }
    let output = doctor(&stage.server.api, &stage.data, &["--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (&told["well"], &told["server"]["version"]),
        (&json!(true), &json!(version))
    );
    let credential = &told["apps"][0]["credentials"][0];
    assert_eq!(
        (&credential["well"], &credential["check"]["result"]),
        (&json!(true), &json!("good"))
    );
    assert!(!told.to_string().contains("PRIVATE KEY"));
}

#[test]
fn what_is_wrong_is_said_in_plain_words() {
    let stage = Stage::new();
    let begins = |text: &str, health: &str, found: &str| {
        let begin = format!("token for com.example.app, health {health}, does not expire. {found}");
        assert!(text.starts_with(&begin), "{text}");
    };
    set(&stage, &json!({"team_id": "WRONGTEAM1"}));
    let complaint = complaint_of(&stage);
    begins(
        &complaint,
        "rejected",
        "The key id, the team id or the key itself is wrong",
    );
    assert!(
        complaint.ends_with(" [InvalidProviderToken]"),
        "{complaint}"
    );

    set(&stage, &json!({}));
    let zeros = "0".repeat(64);
    let fault =
        json!({"provider": "apns", "token": zeros, "reason": "TopicDisallowed", "status": 400});
    stage.sandbox.call("POST", "faults", Some(&fault));
    let complaint = complaint_of(&stage);
    begins(
        &complaint,
        "rejected",
        "The credential may not push to its topic; set the topic",
    );
    stage.sandbox.call("DELETE", "faults", None);

    set(&stage, &json!({"endpoint": "https://127.0.0.1:1"}));
    begins(
        &complaint_of(&stage),
        "good",
        "Nothing listens at the endpoint; check `endpoint`",
    );
    set(&stage, &json!({"ca": null}));
    begins(
        &complaint_of(&stage),
        "good",
        "The certificate of the endpoint is not trusted; give its authority as `ca`",
    );
    set(&stage, &json!({}));
    assert_eq!(stage.doctor(&[]).0, Some(0));
}

#[test]
fn a_server_that_is_not_there_or_refuses_is_told_of() {
    let stage = Stage::new();
    let (code, lines) = stage.doctor(&["--token", "wrong"]);
    assert_eq!(code, Some(1));
    assert!(
        lines[0].ends_with(": The bearer token is not the right one. (auth.rejected)"),
        "{lines:?}"
    );
    let nobody = doctor("http://127.0.0.1:1", &stage.data, &["--json"]);
    assert_eq!(nobody.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&nobody.stdout).expect("JSON");
    assert_eq!(told["well"], false);
    let error = told["server"]["error"].as_str().expect("a text");
    assert!(
        error.starts_with("cannot call 127.0.0.1:1/v1/version"),
        "{error}"
    );
    assert_eq!(stage.doctor(&["--app", "none"]).0, Some(2));
}

#[test]
fn a_parked_lane_resumes_when_apple_takes_the_credential_again() {
    let stage = Stage::new();
    set(&stage, &json!({}));
    stage.server.register(&iphone(&stage.app, 1));
    let fault = json!({"provider": "apns", "reason": "InvalidProviderToken", "status": 403});
    stage.sandbox.call("POST", "faults", Some(&fault));
    let message = stage.server.push_to_all(&stage.app, "hello");
    let path = format!("/v1/apps/{}/credentials", stage.app.key);
    let health =
        || stage.server.admin("GET", &path, None).good()["credentials"][0]["health"].clone();
    wait_for("the rejection", || (health() == "rejected").then_some(()));
    assert_eq!(stage.doctor(&[]).0, Some(1));
    stage.sandbox.call("DELETE", "faults", None);
    assert_eq!(stage.doctor(&[]).0, Some(0));
    wait_for("the acceptance", || {
        let counts = stage.server.counts(&stage.app, &message);
        (counts["accepted"] == 1).then_some(())
    });
    assert_eq!(health(), "good");
}
