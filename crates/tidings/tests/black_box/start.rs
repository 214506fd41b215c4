//! The first start, and the last moments.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use tempfile::TempDir;

use crate::support::process::Process;
use crate::support::server::{Server, iphone, token};
use crate::support::{agent, wait_for};

#[test]
fn an_empty_folder_becomes_a_server_that_pushes_to_its_own_sandbox() {
    let data = TempDir::new().expect("a directory");
    let server = Server::start(data.path(), Some("true"));
    println!("ready after {:?}", server.process.ready_after);
    assert!(server.process.ready["sandbox"].starts_with("https://"));
    let mode = std::fs::metadata(data.path().join("admin.token"))
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let app = server.app();
    let device = server.register(&iphone(&app, 7));
    let message = server.push_to_all(&app, "hello");
    let counts = wait_for("the acceptance", || {
        Some(server.counts(&app, &message)).filter(|counts| counts["accepted"] == 1)
    });
    assert_eq!(counts["targeted"], 1);
    let deliveries = server
        .admin("GET", "/v1/sandbox/deliveries?provider=apns", None)
        .good();
    let delivery = &deliveries["deliveries"][0];
    assert_eq!(delivery["token"], token(7));
    assert_eq!(delivery["payload"]["aps"]["alert"], "hello");
    assert_eq!(delivery["payload"]["_j_msgid"].to_string(), message);

    let why = server.call(
        "GET",
        &format!("/v1/messages/{message}/devices/{}", device.id),
        &app.basic(),
        None,
    );
    assert_eq!(why.good()["delivery"]["outcome"], "accepted");
    assert_eq!(
        server
            .call("GET", "/v1/sandbox/deliveries", "Bearer wrong", None)
            .status,
        401
    );
}

#[test]
fn a_terminated_server_ends_well_and_keeps_its_token() {
    let data = TempDir::new().expect("a directory");
    let server = Server::start(data.path(), None);
    let app = server.app();
    assert!(server.process.terminate().success());
    let token = std::fs::read(data.path().join("admin.token")).expect("a token");

    let server = Server::start(data.path(), None);
    assert_eq!(
        std::fs::read(data.path().join("admin.token")).expect("a token"),
        token
    );
    let path = format!("/v1/apps/{}", app.key);
    assert_eq!(server.admin("GET", &path, None).good()["name"], "test");
}

#[test]
fn an_app_without_a_credential_says_so_for_each_device() {
    let data = TempDir::new().expect("a directory");
    let server = Server::start(data.path(), None);
    let app = server.app();
    server.register(&iphone(&app, 1));
    let message = server.push_to_all(&app, "hello");
    wait_for("the failure", || {
        (server.counts(&app, &message)["failed"] == 1).then_some(())
    });
    let path = format!("/v1/messages/{message}");
    let reasons = server.call("GET", &path, &app.basic(), None).good()["reasons"].clone();
    assert_eq!(
        reasons,
        json!([{"provider": "apns", "outcome": "failed", "reason": "NoCredential", "count": 1}])
    );
}

#[test]
fn a_sandbox_alone_says_where_it_is() {
    let process = Process::start(&["sandbox"]);
    assert!(process.ready["sandbox"].starts_with("https://127.0.0.1:"));
    assert!(process.ready["control"].starts_with("http://127.0.0.1:"));
}

#[test]
fn a_body_that_is_too_large_is_told_so_even_if_its_sender_listens_late() {
    let data = TempDir::new().expect("a directory");
    let server = Server::start(data.path(), None);
    let address = server.api.replace("http://", "");
    let mut socket = TcpStream::connect(&address).expect("a connection");
    let length = 8 << 20;
    let head =
        format!("POST /v1/devices HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n");
    socket.write_all(head.as_bytes()).expect("sent");
    socket
        .write_all(&vec![b' '; length])
        .expect("all of it is taken");
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[test]
fn a_log_that_cannot_be_written_ends_nothing() {
    let data = TempDir::new().expect("a directory");
    let full = std::fs::File::options().write(true).open("/dev/full");
    let place = data.path().display().to_string();
    let any = "127.0.0.1:0";
    let args = [
        "serve", "--data", &place, "--api", any, "--link", any, "--log", "debug",
    ];
    let process = Process::start_logging_to(full.expect("a full disk"), &args);
    let url = format!("{}/v1/version", process.ready["api"]);
    for _ in 0..3 {
        let answer = agent().get(&url).call().expect("an answer");
        assert_eq!(answer.status(), 401);
    }
    assert!(process.terminate().success());
}
