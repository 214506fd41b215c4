//! What Apple's answers do to deliveries, devices and credentials.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::sandbox::Sandbox;
use crate::support::server::{App, Server, iphone, token};
use crate::support::wait_for;

/// A sandbox, a server that does not know it by itself, and an app.
struct Stage {
    app: App,
    _data: TempDir,
    sandbox: Sandbox,
    server: Server,
}

impl Stage {
    fn new() -> Self {
        let data = TempDir::new().expect("a directory");
        let sandbox = Sandbox::start();
        let server = Server::start(data.path(), None);
        let app = server.app();
        Self {
            app,
            _data: data,
            sandbox,
            server,
        }
    }

    /// Sets the app's credential for the sandbox environment, with what `key` says.
    fn set_credential(&self, key: &Value) -> Value {
        let told = self.sandbox.call("GET", "credentials", None);
        let mut body = json!({
            "environment": "sandbox",
            "topic": "com.example.app",
            "endpoint": self.sandbox.url,
            "ca": told["ca"],
        });
        for (name, value) in key.as_object().expect("an object") {
            body[name] = value.clone();
        }
        let path = format!("/v1/apps/{}/credentials/apns", self.app.key);
        self.server.admin("PUT", &path, Some(&body)).good()
    }

    fn sandbox_key(&self) -> Value {
        let told = self.sandbox.call("GET", "credentials", None);
        let apns = &told["apns"];
        json!({"p8": apns["p8"], "key_id": apns["key_id"], "team_id": apns["team_id"]})
    }

    fn counts(&self, message: &str) -> Value {
        self.server.counts(&self.app, message)
    }

    fn journey(&self, message: &str, device: &str) -> Value {
        let path = format!("/v1/messages/{message}/devices/{device}");
        self.server
            .call("GET", &path, &self.app.basic(), None)
            .good()
    }
}

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
