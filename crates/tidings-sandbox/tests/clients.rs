//! The simulated APNs, judged by clients that others wrote: `@parse/node-apn` and `aioapns`.

use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tidings_sandbox::{Phone, Provider, Sandbox, SandboxConfig};
use tokio::task::spawn_blocking;

/// A phone that has removed the app, since then.
const GONE: &str = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";
const GONE_SINCE: i64 = 1_767_225_600_123;

/// A phone whose token belongs to another app.
const FOREIGN: &str = "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd";

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file that `tests/clients/setup.sh` makes.
fn installed(path: &str) -> PathBuf {
    let clients = env::var_os("TIDINGS_CLIENTS_DIR")
        .map_or_else(|| workspace().join("target/clients"), PathBuf::from);
    let file = clients.join(path);
    assert!(
        file.exists(),
        "{} is missing: run tests/clients/setup.sh",
        file.display()
    );
    file
}

fn node_apn() -> Command {
    let modules = installed("node_modules");
    let mut command = Command::new("node");
    command
        .arg(workspace().join("tests/clients/node-apn.js"))
        .env("NODE_PATH", modules);
    command
}

fn aioapns() -> Command {
    let mut command = Command::new(installed("venv/bin/python"));
    command.arg(workspace().join("tests/clients/aioapns_push.py"));
    command
}

async fn sandbox() -> Sandbox {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
    let gone = Phone {
        uninstalled_since: Some(GONE_SINCE),
        topic: None,
    };
    let foreign = Phone {
        uninstalled_since: None,
        topic: Some("com.example.another".to_owned()),
    };
    let phones = sandbox.phones();
    phones
        .put(Provider::Apns, GONE.parse().unwrap(), gone)
        .unwrap();
    phones
        .put(Provider::Apns, FOREIGN.parse().unwrap(), foreign)
        .unwrap();
    sandbox
}

fn pushes(topic: &str) -> Value {
    let good = "ab".repeat(32);
    json!([
        {"device": good, "topic": topic, "text": "hello"},
        {"device": "abc", "topic": topic, "text": "hello"},
        {"device": FOREIGN, "topic": topic, "text": "hello"},
        {"device": good, "topic": topic, "text": "x".repeat(5000)},
        {"device": GONE, "topic": topic, "text": "hello"},
        {"device": good, "topic": "not a topic", "text": "hello"},
        {"device": good, "topic": topic, "text": "good bye"},
    ])
}

fn expected() -> Value {
    json!([
        {"status": "200", "reason": null, "timestamp": null},
        {"status": "400", "reason": "BadDeviceToken", "timestamp": null},
        {"status": "400", "reason": "DeviceTokenNotForTopic", "timestamp": null},
        {"status": "413", "reason": "PayloadTooLarge", "timestamp": null},
        {"status": "410", "reason": "Unregistered", "timestamp": GONE_SINCE},
        {"status": "400", "reason": "BadTopic", "timestamp": null},
        {"status": "200", "reason": null, "timestamp": null},
    ])
}

/// Has a client send the pushes and answers what it reports.
async fn report(mut client: Command, input: &Value) -> Value {
    let input = input.to_string();
    let output = spawn_blocking(move || {
        let mut child = client
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the client starts");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        child.wait_with_output().unwrap()
    });
    let output = output.await.unwrap();
    assert!(
        output.status.success(),
        "the client failed: {}",
        output.status
    );
    serde_json::from_slice(&output.stdout).expect("the client prints JSON")
}

fn with_token(sandbox: &Sandbox) -> Value {
    let credentials = sandbox.credentials();
    let apns = &credentials.apns;
    json!({
        "host": "127.0.0.1",
        "port": sandbox.addr().port(),
        "ca": credentials.ca,
        "topic": apns.topic,
        "token": {"key": apns.p8, "keyId": apns.key_id, "teamId": apns.team_id},
        "pushes": pushes(&apns.topic),
    })
}

fn with_certificate(sandbox: &Sandbox, topic: &str) -> Value {
    let credentials = sandbox.credentials();
    let apns = &credentials.apns;
    json!({
        "host": "127.0.0.1",
        "port": sandbox.addr().port(),
        "ca": credentials.ca,
        "pfx": STANDARD.encode(&apns.p12),
        "passphrase": apns.password,
        "pushes": pushes(topic),
    })
}

fn assert_two_deliveries(sandbox: &Sandbox) {
    let texts: Vec<Value> = sandbox
        .deliveries()
        .page(&Default::default())
        .deliveries
        .iter()
        .map(|delivery| serde_json::from_str::<Value>(&delivery.payload).unwrap())
        .map(|payload| payload["aps"]["alert"].clone())
        .collect();
    assert_eq!(texts, ["hello", "good bye"]);
}

#[tokio::test]
async fn node_apn_with_a_p8_key_reports_what_happened() {
    let sandbox = sandbox().await;
    assert_eq!(report(node_apn(), &with_token(&sandbox)).await, expected());
    assert_two_deliveries(&sandbox);
}

#[tokio::test]
async fn node_apn_with_a_p12_certificate_reports_what_happened() {
    let sandbox = sandbox().await;
    let topic = sandbox.credentials().apns.topic.clone();
    let reported = report(node_apn(), &with_certificate(&sandbox, &topic)).await;
    assert_eq!(reported, expected());
    assert_two_deliveries(&sandbox);
}

#[tokio::test]
async fn node_apn_is_told_that_its_certificate_is_for_another_topic() {
    let sandbox = sandbox().await;
    let mut input = with_certificate(&sandbox, "com.example.another");
    let first = input["pushes"][0].take();
    input["pushes"] = json!([first]);
    let reported = report(node_apn(), &input).await;
    assert_eq!(reported[0]["reason"], "TopicDisallowed");
}

#[tokio::test]
async fn aioapns_with_a_p8_key_reports_what_happened() {
    let sandbox = sandbox().await;
    assert_eq!(report(aioapns(), &with_token(&sandbox)).await, expected());
    assert_two_deliveries(&sandbox);
}

#[tokio::test]
async fn aioapns_with_a_key_of_another_account_is_trusted_on_first_use() {
    let sandbox = sandbox().await;
    let other = rcgen::KeyPair::generate().unwrap();
    let mut input = with_token(&sandbox);
    input["token"]["key"] = json!(other.serialize_pem());
    let first = input["pushes"][0].take();
    input["pushes"] = json!([first]);
    let reported = report(aioapns(), &input).await;
    assert_eq!(reported[0]["reason"], "InvalidProviderToken");
    input["token"]["keyId"] = json!("ABC123DEFG");
    let reported = report(aioapns(), &input).await;
    assert_eq!(reported[0]["status"], "200");
}
