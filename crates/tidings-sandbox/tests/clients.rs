//! The simulated providers, judged by clients that others wrote. APNs: `@parse/node-apn` and `aioapns` (only node-apn
//! knows broadcast channels). Huawei: `hpa` and `python-huawei-push-admin`. Xiaomi: `xmpush-python`.

use std::collections::BTreeSet;
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

fn huawei_push() -> Command {
    let mut command = Command::new(installed("venv/bin/python"));
    command.arg(workspace().join("tests/clients/huawei_push.py"));
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

/// Channels' whole life, and what goes wrong on the way, as calls of node-apn.
fn channel_calls(bundle_id: &str, foreign: &str) -> Value {
    let activity = |event: &str| {
        json!({
            "pushType": "liveactivity", "event": event, "contentState": {"score": 3}, "timestamp": 1_767_225_600,
            "staleDate": 1_767_225_700, "expiry": 0
        })
    };
    let update = activity("update");
    let mut kept = update.clone();
    kept["expiry"] = json!(4_000_000_000_u64);
    let mut untyped = update.clone();
    untyped["pushType"] = Value::Null;
    let mut large = update.clone();
    large["contentState"] = json!({"x": "y".repeat(5120)});
    let numbered = json!({
        "payload": {"message-storage-policy": 1, "push-type": "LiveActivity"},
        "requestId": "123e4567-e89b-42d3-a456-426614174000"
    });
    // As the library's own documentation shows it.
    let textual = json!({
        "payload": {"message-storage-policy": "0"}, "requestId": "0309F412-AA57-46A8-9AC6-B5AECA8C4594"
    });
    let unpolicied = json!({"payload": {"push-type": "LiveActivity"}});
    let calls = [
        ("create", json!(null), numbered),
        ("create", json!(null), textual),
        ("read", json!(0), json!({})),
        ("read", json!(1), json!({})),
        ("readAll", json!(null), json!({})),
        ("broadcast", json!(0), kept.clone()),
        ("broadcast", json!(1), activity("end")),
        ("broadcast", json!(1), kept),
        ("broadcast", json!(0), activity("start")),
        ("broadcast", json!(0), untyped),
        ("broadcast", json!(0), large),
        ("broadcast", json!(null), update.clone()),
        ("broadcast", json!("dHN0LXNyY2gtY2hubA=="), update.clone()),
        ("broadcast", json!("?"), update.clone()),
        ("create", json!(null), unpolicied),
        ("read", json!(null), json!({})),
        ("delete", json!(0), json!({})),
        ("read", json!(0), json!({})),
        ("delete", json!(0), json!({})),
        ("broadcast", json!(0), update.clone()),
        ("delete", json!(1), json!({})),
        ("readAll", json!(null), json!({})),
    ];
    let mut calls: Vec<Value> = calls
        .iter()
        .map(|(action, channel, set)| {
            json!({"action": action, "bundleId": bundle_id, "channel": channel, "set": set})
        })
        .collect();
    // Of another app: the first channel is not its own, and a certificate is not good for it.
    for (action, channel, set) in [
        ("broadcast", json!(0), update),
        ("readAll", json!(null), json!({})),
    ] {
        calls.push(json!({"action": action, "bundleId": foreign, "channel": channel, "set": set}));
    }
    json!(calls)
}

/// Has node-apn make the calls and compares what it reports; `elsewhere` is what it is told of another app.
async fn check_channels(sandbox: &Sandbox, mut input: Value, elsewhere: [&str; 2]) {
    let topic = sandbox.credentials().apns.topic.clone();
    input["pushes"] = json!([]);
    input["calls"] = channel_calls(&topic, "com.example.another");
    let reports = report(node_apn(), &input).await;
    let said: Vec<String> = reports
        .as_array()
        .expect("a list")
        .iter()
        .map(|report| match report["response"]["reason"].as_str() {
            Some(reason) => format!("{} {reason}", report["status"]),
            None => "done".to_owned(),
        })
        .collect();
    let expected = [
        "done",
        "done",
        "done",
        "done",
        "done",
        "done",
        "done",
        "400 BadExpirationDate",
        "400 BadRequestPayload",
        "400 MissingPushType",
        "413 PayloadTooLarge",
        "400 MissingChannelId",
        "400 ChannelNotRegistered",
        "400 BadChannelId",
        "400 MissingChannelQueueSize",
        "400 MissingChannelId",
        "done",
        "400 ChannelNotRegistered",
        "400 ChannelNotRegistered",
        "400 ChannelNotRegistered",
        "done",
        "done",
        elsewhere[0],
        elsewhere[1],
    ];
    assert_eq!(said, expected, "{reports:#}");
    for (place, policy, request_id) in [
        (0, 1, "123e4567-e89b-42d3-a456-426614174000"),
        (1, 0, "0309F412-AA57-46A8-9AC6-B5AECA8C4594"),
    ] {
        assert_eq!(reports[place]["apns-request-id"], request_id);
        let read = &reports[place + 2];
        assert_eq!(read["message-storage-policy"], policy);
        assert_eq!(read["push-type"], "LiveActivity");
    }
    let id = |place: usize| reports[place]["apns-channel-id"].as_str().expect("an id");
    let listed = reports[4]["channels"].as_array().expect("a list");
    let listed: BTreeSet<&str> = listed.iter().filter_map(Value::as_str).collect();
    assert_eq!(listed, BTreeSet::from([id(0), id(1)]));
    assert_eq!(reports[21]["channels"], json!([]));
    let page = sandbox.deliveries().page(&Default::default());
    let seen: Vec<(String, Value)> = page
        .deliveries
        .iter()
        .map(|delivery| {
            let payload: Value = serde_json::from_str(&delivery.payload).expect("JSON");
            (delivery.token.to_string(), payload["aps"]["event"].clone())
        })
        .collect();
    let hexadecimal = |place| {
        let id = STANDARD.decode(id(place)).expect("base64");
        id.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let expected: [(String, Value); 2] = [
        (hexadecimal(0), json!("update")),
        (hexadecimal(1), json!("end")),
    ];
    assert_eq!(seen, expected);
    for broadcast in [5, 6] {
        let unique_id = reports[broadcast]["apns-unique-id"].as_str();
        assert!(unique_id.is_some_and(|id| id.len() == 36), "{reports:#}");
    }
}

#[tokio::test]
async fn node_apn_with_a_p8_key_manages_channels_and_broadcasts_to_them() {
    let sandbox = sandbox().await;
    let input = with_token(&sandbox);
    check_channels(&sandbox, input, ["400 ChannelNotRegistered", "done"]).await;
}

#[tokio::test]
async fn node_apn_with_a_p12_certificate_manages_channels_and_broadcasts_to_them() {
    let sandbox = sandbox().await;
    let input = with_certificate(&sandbox, "");
    check_channels(&sandbox, input, ["403 TopicMismatch", "403 TopicMismatch"]).await;
}

/// Sends with one of Huawei's own Python clients: good ones, a partial failure, dead tokens only, a wrong field.
async fn check_huawei(library: &str) {
    let sandbox = sandbox().await;
    let gone = Phone {
        uninstalled_since: Some(GONE_SINCE),
        topic: None,
    };
    let token = Provider::Huawei.token("gone").unwrap();
    sandbox.phones().put(Provider::Huawei, token, gone).unwrap();
    let credentials = sandbox.credentials().by_provider(&sandbox.url());
    let huawei = &credentials["huawei"];
    let mut input = huawei.clone();
    input["library"] = json!(library);
    input["messages"] = json!([
        {"tokens": ["a", "b"], "title": "hello", "ttl": "86400s"},
        {"tokens": ["a", "gone"], "title": "some", "ttl": "1s"},
        {"tokens": ["gone"], "title": "none", "ttl": "1s"},
        {"tokens": ["a"], "data": "{\"score\":3}", "ttl": "60s"},
        {"tokens": ["a"], "title": "only looked at", "validate_only": true},
        {"tokens": ["a"], "title": "for ever", "ttl": "1296001s"},
        {"tokens": ["a"], "title": "x".repeat(4096)},
    ]);
    let reports = report(huawei_push(), &input).await;
    let codes: Vec<&Value> = reports
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["code"])
        .collect();
    assert_eq!(
        codes,
        [
            &json!("80000000"),
            &json!("80100000"),
            &json!("80300007"),
            &json!("80000000"),
            &json!("80000000"),
            &Value::Null,
            &Value::Null,
        ],
        "{reports:#}"
    );
    let reason = reports[1]["reason"].as_str().expect("a text");
    let told: Value = serde_json::from_str(reason).expect("JSON in a text");
    assert_eq!(told["illegal_tokens"], json!(["gone"]));
    for refused in [5, 6] {
        // These clients read no code from another status than 200.
        let error = reports[refused]["error"].as_str().expect("an error");
        assert!(error.contains("http status code is 400"), "{error}");
    }
    let page = sandbox.deliveries().page(&Default::default());
    let seen: Vec<(String, u64)> = page
        .deliveries
        .iter()
        .map(|delivery| (delivery.token.to_string(), delivery.request))
        .collect();
    let seen: Vec<(&str, u64)> = seen.iter().map(|(token, n)| (token.as_str(), *n)).collect();
    assert_eq!(seen, [("a", 1), ("b", 1), ("a", 2), ("a", 3)]);
    let payload: Value = serde_json::from_str(&page.deliveries[0].payload).unwrap();
    assert_eq!(payload["android"]["notification"]["title"], "hello");
    assert_eq!(sandbox.access_tokens().issued(Provider::Huawei), 1);

    input["app_secret"] = json!("wrong");
    let reports = report(huawei_push(), &input).await;
    let error = reports[0]["error"].as_str().expect("an error");
    assert!(error.contains("400 in get access token"), "{error}");
}

#[tokio::test]
async fn python_huawei_push_admin_reports_what_happened() {
    check_huawei("push_admin").await;
}

#[tokio::test]
async fn hpa_reports_what_happened() {
    check_huawei("hpa").await;
}

#[tokio::test]
async fn xmpush_python_reports_what_happened() {
    let sandbox = sandbox().await;
    let gone = Phone {
        uninstalled_since: Some(GONE_SINCE),
        topic: None,
    };
    let token = Provider::Xiaomi.token("gone").unwrap();
    sandbox.phones().put(Provider::Xiaomi, token, gone).unwrap();
    let directory = tempfile::tempdir().expect("a directory");
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, &sandbox.credentials().ca).expect("a file");
    let client = || {
        let mut command = Command::new(installed("venv/bin/python"));
        command
            .arg(workspace().join("tests/clients/xiaomi_push.py"))
            .env("SSL_CERT_FILE", &ca);
        command
    };
    let credentials = sandbox.credentials().by_provider(&sandbox.url());
    let mut input = credentials["xiaomi"].clone();
    input["host"] = json!(sandbox.addr().to_string());
    input["messages"] = json!([
        {"regids": "a,b", "title": "hello"},
        {"regids": "a,gone", "title": "some"},
        {"regids": "gone", "title": "none"},
        {"regids": "a", "title": "x".repeat(50)},
    ]);
    let reports = report(client(), &input).await;
    let codes: Vec<&Value> = reports
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["code"])
        .collect();
    assert_eq!(codes, [0, 0, 20_301, 10_017, 0], "{reports:#}");
    assert_eq!(reports[1]["data"]["bad_regids"], "gone");
    assert_eq!(reports[4]["data"]["list"], json!(["gone", "gone"]));
    let page = sandbox.deliveries().page(&Default::default());
    let seen: Vec<String> = page
        .deliveries
        .iter()
        .map(|d| d.token.to_string())
        .collect();
    assert_eq!(seen, ["a", "b", "a"]);
    assert_eq!(reports[0]["data"]["id"], page.deliveries[0].id.to_string());
    let payload: Value = serde_json::from_str(&page.deliveries[0].payload).unwrap();
    assert_eq!(
        (&payload["title"], &payload["payload"]),
        (&json!("hello"), &json!(r#"{"score":3}"#))
    );

    input["app_secret"] = json!("wrong");
    let reports = report(client(), &input).await;
    assert_eq!(reports[0]["code"], 21_301);
}
