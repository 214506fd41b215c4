//! The official SDKs of JPush, with only their hosts changed, push to simulated phones and to MQTT clients of others.

use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::server::{Server, iphone, on_link, token};
use crate::support::stage::Stage;
use crate::support::{clients, wait_for};

/// A script of `tests/clients`.
fn script(name: &str) -> String {
    format!("{}/../../tests/clients/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Runs a script with the SDK in it; returns the last line that it prints.
fn run(command: &mut Command) -> String {
    let ran = command.output().expect("it runs");
    let printed = String::from_utf8_lossy(&ran.stdout).into_owned();
    println!("{printed}");
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    printed.lines().last().unwrap_or_default().to_owned()
}

/// Runs a script with the SDK's own Python.
fn python(name: &str, args: &[&str]) -> String {
    let mut python = Command::new(clients().join("venv/bin/python"));
    run(python.arg(script(name)).args(args))
}

/// Runs a script with the SDK's Node modules.
fn node(name: &str, args: &[&str]) -> String {
    let mut node = Command::new("node");
    node.env("NODE_PATH", clients().join("node_modules"));
    run(node.arg(script(name)).args(args))
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
        "jpush_push.py",
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

/// What both scripts say to the makers reaches each of them in its own words.
fn reaches_the_makers(push: fn(&Stage) -> String) {
    let stage = Stage::wired();
    let makers = ["huawei", "vivo", "xiaomi"];
    for maker in makers {
        // vivo's have 23 characters.
        let channels = json!([{"provider": maker, "token": "v12345678901234567890ab"}]);
        stage.server.register(
            &json!({"app_key": stage.app.key, "platform": "android", "channels": channels}),
        );
    }
    let message = push(&stage);
    stage.wait_for_counts(&message, &[("accepted", 3), ("targeted", 3)]);
    let got = makers.map(|maker| {
        let path = format!("deliveries?provider={maker}");
        let got = stage.sandbox.call("GET", &path, None);
        got["deliveries"][0]["payload"].clone()
    });
    let [huawei, vivo, xiaomi] = &got;
    let android = &huawei["android"];
    let shown = &android["notification"];
    assert_eq!(
        (
            &shown["title"],
            &shown["body"],
            &shown["big_body"],
            &shown["channel_id"],
            &shown["importance"]
        ),
        (
            &json!("title"),
            &json!("for Android"),
            &json!("much more"),
            &json!("orders"),
            &json!("HIGH")
        )
    );
    assert_eq!(android["category"], "EXPRESS");
    let data = android["data"].as_str().expect("a text");
    assert!(data.contains("\"order\":7"), "{data}");
    assert_eq!(
        (&vivo["title"], &vivo["content"], &vivo["classification"]),
        (&json!("title"), &json!("for Android"), &json!(1)),
        "{vivo}"
    );
    assert_eq!(
        (
            &xiaomi["title"],
            &xiaomi["description"],
            &xiaomi["extra.channel_id"]
        ),
        (
            &json!("title"),
            &json!("for Android"),
            &json!("high_system")
        ),
        "{xiaomi}"
    );
    let path = format!("/v1/messages/{message}");
    let ignored = stage.server.admin("GET", &path, None).good()["ignored"].clone();
    let expected: Value = json!(["options.third_party_channel.huawei.skip_quota"]);
    assert_eq!(ignored, expected);
}

#[test]
fn what_the_python_sdk_says_to_the_makers_reaches_them() {
    reaches_the_makers(|stage| {
        let (app, api) = (&stage.app, stage.server.api.as_str());
        python("jpush_makers.py", &[api, &app.key, &app.secret])
    });
}

#[test]
fn what_the_node_sdk_says_to_the_makers_reaches_them() {
    reaches_the_makers(|stage| {
        let (app, api) = (&stage.app, stage.server.api.as_str());
        node("jpush_makers.js", &[api, &app.key, &app.secret])
    });
}
