//! What makers report of phones: posted as the makers post it, to where the server says.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::server::{Device, Server};
use crate::support::stage::Stage;

fn phone(stage: &Stage, provider: &str, token: &str) -> Device {
    stage.server.register(&json!({
        "app_key": stage.app.key, "platform": "android", "channels": [{"provider": provider, "token": token}],
    }))
}

/// Where a maker is to send an app's receipts: the path of what it is told to enter.
pub(crate) fn address(stage: &Stage, provider: &str) -> String {
    let path = format!("/v1/apps/{}/callbacks", stage.app.key);
    let told = stage.server.admin("GET", &path, None).good();
    let url = told[provider].as_str().expect("an address").to_owned();
    let path = url.strip_prefix(&stage.server.api).expect("this server's");
    path.to_owned()
}

/// Posts a body as it is; returns the status and the answer.
pub(crate) fn post(server: &Server, path: &str, kind: &str, body: &str) -> (u16, Value) {
    signed(server, path, kind, body, None)
}

fn signed(
    server: &Server,
    path: &str,
    kind: &str,
    body: &str,
    signature: Option<&str>,
) -> (u16, Value) {
    let url = format!("{}{path}", server.api);
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    let agent: ureq::Agent = config.build().into();
    let mut request = agent.post(&url).header("content-type", kind);
    if let Some(signature) = signature {
        request = request.header("X-HUAWEI-CALLBACK-ID", signature);
    }
    let mut answer = request.send(body).expect("an answer");
    let text = answer.body_mut().read_to_string().expect("a text");
    let value = serde_json::from_str(&text).expect("JSON");
    (answer.status().as_u16(), value)
}

fn huawei(message: &str, token: &str, result: i64) -> String {
    let status = json!({
        "token": token, "pushType": 0, "appPackageName": "com.example.app", "biTag": message, "requestId": "1",
        "deliveryStatus": {"result": result, "timestamp": 1},
    });
    json!({"statuses": [status]}).to_string()
}

fn heard() -> (u16, Value) {
    (200, json!({"code": "0", "message": "success"}))
}

fn delivered(stage: &Stage, message: &str, provider: &str) -> Value {
    let path = format!("/v1/messages/{message}");
    let told = stage.server.admin("GET", &path, None).good();
    told["channels"][provider].clone()
}

#[test]
fn what_huawei_reports_is_in_the_ledger_and_told_apart_from_an_acknowledgement() {
    let stage = Stage::wired();
    let (one, other) = (
        phone(&stage, "huawei", "token1"),
        phone(&stage, "huawei", "token2"),
    );
    let message = stage.push(&json!({}));
    stage.wait_for_counts(&message, &[("accepted", 2)]);
    let got = stage
        .sandbox
        .call("GET", "deliveries?provider=huawei", None);
    let sent = &got["deliveries"][0]["payload"]["android"];
    assert_eq!(sent["bi_tag"], message, "by this it comes back");

    let path = address(&stage, "huawei");
    // The same twice, as it is when an answer is lost.
    for _ in 0..2 {
        let answer = post(
            &stage.server,
            &path,
            "application/json",
            &huawei(&message, "token1", 0),
        );
        assert_eq!(answer, heard());
    }
    let answer = post(
        &stage.server,
        &path,
        "application/json",
        &huawei(&message, "token2", 6),
    );
    assert_eq!(answer, heard());
    let counts = delivered(&stage, &message, "huawei");
    assert_eq!(
        (
            &counts["targeted"],
            &counts["accepted"],
            &counts["delivered"],
            &counts["reported"]
        ),
        (&json!(2), &json!(1), &json!(1), &json!(1)),
        "{counts}"
    );
    let journey = stage.journey(&message, &one.id);
    assert_eq!(journey["state"], "delivered", "{journey}");
    assert_eq!(
        (
            &journey["ways"][0]["provider"],
            &journey["ways"][0]["outcome"]
        ),
        (&json!("huawei"), &json!("delivered"))
    );
    assert_eq!(journey["acknowledged_at"], Value::Null, "{journey}");
    assert_eq!(
        (
            &journey["events"][0]["type"],
            &journey["events"][0]["provider"]
        ),
        (&json!("delivered"), &json!("huawei"))
    );
    assert_eq!(journey["events"].as_array().map(Vec::len), Some(1));
    let text = journey["verdict"].as_str().expect("a sentence");
    assert!(text.contains("Huawei reports"), "{text}");
    let journey = stage.journey(&message, &other.id);
    assert_eq!(journey["state"], "accepted", "{journey}");
    assert_eq!(
        (
            &journey["events"][0]["type"],
            &journey["events"][0]["reason"]
        ),
        (&json!("undelivered"), &json!("6")),
    );
    let path = format!("/v3/received/detail?msg_ids={message}");
    let detail = stage
        .server
        .call("GET", &path, &stage.app.basic(), None)
        .good();
    assert_eq!(
        (
            &detail[0]["android_pns_sent"],
            &detail[0]["android_pns_received"]
        ),
        (&json!(2), &json!(1)),
        "{detail}"
    );
}

#[test]
fn a_message_tells_xiaomi_where_its_receipts_go_and_they_come_as_a_form() {
    let stage = Stage::wired();
    let told = stage.sandbox.call("GET", "credentials", None);
    let mut credential = told["xiaomi"].clone();
    credential["ca"] = told["ca"].clone();
    let path = address(&stage, "xiaomi");
    credential["callback"] = format!("{}{path}", stage.server.api).into();
    let set = format!("/v1/apps/{}/credentials/xiaomi", stage.app.key);
    stage.server.admin("PUT", &set, Some(&credential)).good();
    let shown = stage.credential().to_string();
    let secret = path.rsplit('/').next().expect("a secret");
    assert!(!shown.contains(secret), "{shown}");

    let (lives, gone) = (
        phone(&stage, "xiaomi", "reg1"),
        phone(&stage, "xiaomi", "reg2"),
    );
    let message = stage.push(&json!({}));
    stage.wait_for_counts(&message, &[("accepted", 2)]);
    let got = stage
        .sandbox
        .call("GET", "deliveries?provider=xiaomi", None);
    let sent = &got["deliveries"][0]["payload"];
    let text = sent.to_string();
    assert!(
        text.contains(&path) && text.contains("243") && text.contains(&message),
        "{text}"
    );

    let now = now();
    let data = json!({
        "scm1": {"param": message, "type": 1, "targets": "reg1", "jobkey": "", "barStatus": "Enable", "timestamp": now},
        "scm2": {"param": message, "type": 2, "targets": "reg1", "timestamp": now},
        "scm3": {"param": message, "type": 16, "targets": "reg2", "timestamp": now},
    });
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("data", &data.to_string());
    let answer = post(
        &stage.server,
        &path,
        "application/x-www-form-urlencoded",
        &form.finish(),
    );
    assert_eq!(answer, heard());
    let counts = delivered(&stage, &message, "xiaomi");
    assert_eq!(
        (&counts["delivered"], &counts["opened"], &counts["accepted"]),
        (&json!(1), &json!(1), &json!(1)),
        "{counts}"
    );
    let channels = |device: &Device| stage.journey(&message, &device.id)["channels"].clone();
    assert_eq!(channels(&gone), json!([]), "nobody has it any more");
    assert_ne!(channels(&lives), json!([]));
}

fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.expect("after 1970").as_millis()).expect("in time")
}

#[test]
fn a_token_that_has_moved_on_outlives_a_receipt_of_its_death() {
    let stage = Stage::wired();
    phone(&stage, "huawei", "token1");
    let message = stage.push(&json!({}));
    stage.wait_for_counts(&message, &[("accepted", 1)]);
    let newcomer = phone(&stage, "huawei", "token1");
    let path = address(&stage, "huawei");
    let answer = post(
        &stage.server,
        &path,
        "application/json",
        &huawei(&message, "token1", 5),
    );
    assert_eq!(answer, heard());
    let journey = stage.journey(&message, &newcomer.id);
    assert_ne!(journey["channels"], json!([]), "{journey}");
}

#[test]
fn what_is_not_known_is_never_delivered() {
    let stage = Stage::wired();
    let device = phone(&stage, "huawei", "token1");
    let message = stage.push(&json!({}));
    stage.wait_for_counts(&message, &[("accepted", 1)]);
    let path = address(&stage, "huawei");
    let unknown: [&str; 5] = [
        &huawei(&message, "token1", 999),
        &huawei("1234567890", "token1", 0),
        &huawei(&message, "nobody", 0),
        &huawei("", "token1", 0),
        "{}",
    ];
    for body in unknown {
        let answer = post(&stage.server, &path, "application/json", body);
        assert_eq!(answer, heard(), "{body}");
    }
    let counts = delivered(&stage, &message, "huawei");
    assert_eq!(
        (&counts["accepted"], &counts["delivered"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(stage.journey(&message, &device.id)["events"], json!([]));
    let metrics = stage.server.metrics();
    for line in [
        "tidings_receipts_total{provider=\"huawei\",said=\"other\"} 2\n",
        "tidings_receipts_total{provider=\"huawei\",said=\"unknown\"} 2\n",
    ] {
        assert!(metrics.contains(line), "{line} {metrics}");
    }
    let (status, _) = post(&stage.server, &path, "application/json", "no receipts");
    assert_eq!(status, 400);
}

#[test]
fn who_does_not_know_the_secret_is_refused_whatever_he_asks() {
    let stage = Stage::wired();
    phone(&stage, "huawei", "token1");
    let message = stage.push(&json!({}));
    stage.wait_for_counts(&message, &[("accepted", 1)]);
    let path = address(&stage, "huawei");
    let (before, secret) = path.rsplit_once('/').expect("a secret");
    let wrong = if secret.ends_with('A') { "B" } else { "A" };
    let body = huawei(&message, "token1", 0);
    let other = stage.server.app().key;
    let refused = [
        format!("{before}/{}{wrong}", &secret[..secret.len() - 1]),
        format!("{before}/x"),
        format!("/v1/callbacks/huawei/{other}/{secret}"),
        format!("/v1/callbacks/huawei/000000000000000000000000/{secret}"),
        format!("/v1/callbacks/nobody/{}/{secret}", stage.app.key),
        format!("/v1/callbacks/apns/{}/{secret}", stage.app.key),
    ];
    let mut answers = Vec::new();
    for path in refused {
        let (status, answer) = post(&stage.server, &path, "application/json", &body);
        assert_eq!(status, 401, "{path}");
        answers.push(answer);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "no answer tells what was wrong");
    assert_eq!(delivered(&stage, &message, "huawei")["delivered"], 0);
}

#[test]
fn a_stranger_is_refused_before_he_has_sent_anything() {
    let stage = Stage::wired();
    let host = stage.server.api.strip_prefix("http://").expect("a host");
    let mut socket = TcpStream::connect(host).expect("connected");
    let head = format!(
        "POST /v1/callbacks/huawei/{}/wrong HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000000\r\n\r\n",
        stage.app.key
    );
    socket.write_all(head.as_bytes()).expect("sent");
    let mut answer = [0; 12];
    // Nothing of the body ever comes.
    socket.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 401");
}

#[test]
fn a_signature_of_huaweis_is_checked_where_there_is_one() {
    let stage = Stage::wired();
    phone(&stage, "huawei", "token1");
    let message = stage.push(&json!({}));
    stage.wait_for_counts(&message, &[("accepted", 1)]);
    let path = address(&stage, "huawei");
    let secret = path.rsplit('/').next().expect("a secret");
    let body = huawei(&message, "token1", 0);
    let of = |user: &str, secret: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let tag = hmac::sign(&key, format!("1700000000000a-nonce{user}").as_bytes());
        let value = STANDARD.encode(tag.as_ref());
        format!("timestamp=1700000000000; nonce=a-nonce; value={value}")
    };
    let send = |signature: &str| {
        signed(
            &stage.server,
            &path,
            "application/json",
            &body,
            Some(signature),
        )
        .0
    };
    for wrong in [
        of(&stage.app.key, "another"),
        of("another", secret),
        "value=x".to_owned(),
        String::new(),
    ] {
        assert_eq!(send(&wrong), 401, "{wrong}");
    }
    assert_eq!(delivered(&stage, &message, "huawei")["delivered"], 0);
    assert_eq!(send(&of(&stage.app.key, secret)), 200);
    assert_eq!(delivered(&stage, &message, "huawei")["delivered"], 1);
}

#[test]
fn of_changed_addresses_the_former_is_good_for_a_while_and_none_before_it() {
    let stage = Stage::wired();
    phone(&stage, "huawei", "token1");
    let message = stage.push(&json!({}));
    stage.wait_for_counts(&message, &[("accepted", 1)]);
    let body = huawei(&message, "token1", 0);
    let taken = |path: &str| post(&stage.server, path, "application/json", &body).0;
    let first = address(&stage, "huawei");
    let rotate = format!("/v1/apps/{}/callbacks/rotate", stage.app.key);
    let rotated = || {
        let told = stage.server.admin("POST", &rotate, None).good();
        let (url, now) = (told["huawei"].clone(), address(&stage, "huawei"));
        assert_eq!(url, format!("{}{now}", stage.server.api));
        now
    };
    let second = rotated();
    assert_eq!([&first, &second].map(|path| taken(path)), [200, 200]);
    let third = rotated();
    assert_eq!(
        [&first, &second, &third].map(|path| taken(path)),
        [401, 200, 200]
    );
    assert_eq!(delivered(&stage, &message, "huawei")["delivered"], 1);
}

#[test]
fn what_is_answered_is_durable_and_many_share_a_transaction() {
    const PHONES: usize = 200;
    let stage = Stage::wired();
    stage.server.register_many(PHONES, |number| {
        json!({"app_key": stage.app.key, "platform": "android",
            "channels": [{"provider": "huawei", "token": format!("token{number}")}]})
    });
    let message = stage.push(&json!({}));
    stage.wait_for_counts(&message, &[("accepted", PHONES as u64)]);
    let path = address(&stage, "huawei");
    thread::scope(|scope| {
        for number in 0..PHONES {
            let (server, path, message) = (&stage.server, &path, &message);
            scope.spawn(move || {
                let body = huawei(message, &format!("token{number}"), 0);
                assert_eq!(post(server, path, "application/json", &body), heard());
            });
        }
    });
    let Stage {
        app,
        data,
        sandbox,
        server,
    } = stage;
    server.process.kill();
    let server = Server::start(data.path(), Some(&sandbox.control));
    let counts = server.counts(&app, &message);
    assert_eq!(
        (&counts["delivered"], &counts["accepted"]),
        (&json!(PHONES), &json!(0)),
        "{counts}"
    );
}
