//! The official Python SDK of JPush, with only its hosts changed, pushes to a simulated iPhone and to MQTT clients of
//! others.

use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use crate::support::server::{Server, iphone, on_link, token};
use crate::support::{clients, wait_for};

/// Runs the script with the SDK's own Python.
fn python(args: &[&str]) {
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/clients/jpush_push.py"
    );
    let ran = Command::new(clients().join("venv/bin/python"))
        .arg(script)
        .args(args)
        .output()
        .expect("Python runs");
    println!("{}", String::from_utf8_lossy(&ran.stdout));
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}

fn reaches_both(mqtt_version: &str) {
    let data = TempDir::new().expect("a directory");
    let server = Server::start(data.path(), Some("true"));
    let app = server.app();
    let phone = server.register(&iphone(&app, 1));
    let link = server.register(&on_link(&app));
    let (host, port) = server.link.split_once(':').expect("an address");
    let credentials =
        [&app.key, &app.secret, &phone.id, &link.id, &link.secret].map(String::as_str);
    // Prints the ids of its pushes: to all, to the iPhone, to the link device.
    python(
        &[
            &[server.api.as_str(), host, port, mqtt_version],
            credentials.as_slice(),
        ]
        .concat(),
    );

    let deliveries = server.admin("GET", "/v1/sandbox/deliveries", None).good();
    let deliveries = deliveries["deliveries"].as_array().expect("a list").clone();
    let alerts: Vec<_> = deliveries
        .iter()
        .map(|delivery| delivery["payload"]["aps"]["alert"].clone())
        .collect();
    assert_eq!(alerts, [json!("to all"), json!("to one")]);
    assert!(
        deliveries
            .iter()
            .all(|delivery| delivery["token"] == token(1))
    );
    let to_all = deliveries[0]["payload"]["_j_msgid"].to_string();
    let counts = wait_for("the counts", || {
        Some(server.counts(&app, &to_all))
            .filter(|counts| counts["delivered"] == 1 && counts["accepted"] == 1)
    });
    assert_eq!(counts["targeted"], 2);
    let received = server
        .call(
            "GET",
            &format!("/v3/received?msg_ids={to_all}"),
            &app.basic(),
            None,
        )
        .good();
    assert_eq!(received[0]["android_received"], 1);
    assert_eq!(received[0]["ios_apns_sent"], 1);
}

#[test]
fn the_python_sdk_reaches_an_iphone_and_a_paho_client_of_mqtt_3() {
    reaches_both("3.1.1");
}

#[test]
fn the_python_sdk_reaches_an_iphone_and_a_paho_client_of_mqtt_5() {
    reaches_both("5");
}
