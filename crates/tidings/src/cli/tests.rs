use std::path::Path;
use std::sync::Arc;

use clap::Parser;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidings_store::{SealKey, Store};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;
use crate::api::{Api, router, serve};

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    verb: Verb,
}

/// A server with its data directory.
struct TestServer {
    dir: TempDir,
    serving: JoinHandle<()>,
    url: String,
}

impl TestServer {
    async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("admin.token"), "the-token\n").expect("written");
        let key = SealKey::parse(&SealKey::generate()).expect("a key");
        let store = Store::open(dir.path(), key).expect("a store");
        let (tell, mut told) = mpsc::channel(64);
        let api = Api::new(Arc::new(store), Secret::new("the-token").hash(), tell, None);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let ended = async move { while told.recv().await.is_some() {} };
        Self {
            dir,
            serving: tokio::spawn(serve(listener, router(api, None), ended)),
            url,
        }
    }

    /// What a command line prints.
    async fn run(&self, args: &[&str]) -> Result<String> {
        let data = self.dir.path().to_string_lossy();
        let mut line = [&["tidings"], args, &["--server", &self.url]].concat();
        if args[0] != "push" {
            line.extend(["--data", &data]);
        }
        Ok(Line::try_parse_from(line)?.verb.answer().await?.text)
    }

    async fn json(&self, args: &[&str]) -> Value {
        let text = self
            .run(&[args, &["--json"]].concat())
            .await
            .expect("an answer");
        serde_json::from_str(&text).expect("JSON")
    }

    async fn refusal(&self, args: &[&str]) -> String {
        format!("{:#}", self.run(args).await.expect_err("a refusal"))
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key]
        .as_str()
        .unwrap_or_else(|| panic!("no {key}: {value}"))
}

fn fixture(name: &str) -> String {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tidings-providers/tests/fixtures/apns");
    path.join(name).to_string_lossy().into_owned()
}

#[tokio::test]
async fn apps_are_managed() {
    let server = TestServer::start().await;
    let app = server.json(&["app", "create", "Shop"]).await;
    let key = text(&app, "app_key");
    let listed = server.run(&["app", "list"]).await.expect("a list");
    assert_eq!(
        listed,
        format!("{key}  {}  Shop\n", text(&app, "created_at"))
    );
    server
        .run(&["app", "rename", key, "Market"])
        .await
        .expect("renamed");
    assert_eq!(server.json(&["app", "show", key]).await["name"], "Market");
    let rotated = server.json(&["app", "rotate-secret", key]).await;
    assert_ne!(text(&rotated, "master_secret"), text(&app, "master_secret"));
    assert_eq!(
        server.run(&["app", "delete", key]).await.expect("gone"),
        format!("forgot app {key}\n")
    );
    assert_eq!(
        server.refusal(&["app", "show", key]).await,
        format!("app_key \"{key}\" is that of no app (app.not_found)")
    );
    let refusal = server.refusal(&["app", "list", "--token", "wrong"]).await;
    assert_eq!(
        refusal,
        "The bearer token is not the right one. (auth.rejected)"
    );
}

#[tokio::test]
async fn credentials_are_set_from_files() {
    let server = TestServer::start().await;
    let app = server.json(&["app", "create", "Shop"]).await;
    let key = text(&app, "app_key");
    let (p12, p8) = (fixture("sandbox.p12"), fixture("AuthKey_ABC123DEFG.p8"));
    let set = [
        "credential",
        "set",
        "apns",
        "--app",
        key,
        "--environment",
        "sandbox",
    ];
    let by_p12 = [&set[..], &["--p12", &p12, "--password", "secret"]].concat();
    assert_eq!(server.json(&by_p12).await["kind"], "certificate");
    let wrong = [&set[..], &["--p12", &p12, "--password", "wrong"]].concat();
    let refusal = server.refusal(&wrong).await;
    assert!(
        refusal.starts_with("password: does not open the .p12")
            && refusal.ends_with("(credential.wrong_password)"),
        "{refusal}"
    );
    let by_p8 = [
        &set[..],
        &[
            "--p8",
            &p8,
            "--key-id",
            "ABC123DEFG",
            "--team-id",
            "TEAM123456",
            "--topic",
            "com.example.app",
        ],
    ]
    .concat();
    assert_eq!(server.json(&by_p8).await["kind"], "token");
    let listed = server
        .run(&["credential", "list", "--app", key])
        .await
        .expect("a list");
    assert_eq!(
        listed,
        "apns  sandbox  token  com.example.app  -  good  -  -\n"
    );
    let delete = ["credential", "delete", "apns", "--app", key];
    assert_eq!(
        server.run(&delete).await.expect("gone"),
        "forgot the credentials for apns\n"
    );
    let missing = [&set[..], &["--p12", "/nonexistent"]].concat();
    assert!(
        server
            .refusal(&missing)
            .await
            .starts_with("cannot read /nonexistent: ")
    );
}

#[tokio::test]
async fn a_makers_credential_is_set_by_the_fields_of_its_console() {
    let server = TestServer::start().await;
    let app = server.json(&["app", "create", "Shop"]).await;
    let key = text(&app, "app_key");
    let dir = TempDir::new().expect("a directory");
    let file = dir.path().join("secret.txt");
    std::fs::write(&file, "s3cret\n").expect("written");
    let file = format!("@{}", file.display());
    let huawei = [
        &[
            "credential",
            "set",
            "huawei",
            "--app",
            key,
            "--app-id",
            "104000001",
        ][..],
        &["--app-secret", &file, "--requests-per-second", "7"],
    ];
    let shown = server.json(&huawei.concat()).await;
    assert_eq!(shown["app_id"], "104000001", "{shown}");
    assert_eq!(shown["rate"]["requests_per_second"], 7, "{shown}");
    assert!(!shown.to_string().contains("s3cret"), "{shown}");
    let xiaomi = [
        &[
            "credential",
            "set",
            "xiaomi",
            "--app",
            key,
            "--app-secret",
            "x",
        ][..],
        &[
            "--package-name",
            "com.example.app",
            "--callback",
            "https://example.com/x",
        ],
    ];
    let shown = server.json(&xiaomi.concat()).await;
    assert_eq!(shown["has_callback"], true, "{shown}");
    // It is not for all of them.
    let huawei = [
        &huawei.concat()[..],
        &["--callback", "https://example.com/x"],
    ];
    let refusal = server.refusal(&huawei.concat()).await;
    assert!(
        refusal.starts_with("callback is not a known key"),
        "{refusal}"
    );
    let addresses = server.json(&["app", "callbacks", key]).await;
    let other = server.json(&["app", "callbacks", key, "--rotate"]).await;
    assert_ne!(addresses["vivo"], other["vivo"]);
    assert_eq!(server.json(&["app", "callbacks", key]).await, other);
}

/// Nobody listens at this endpoint, so only what is stored of the credential is known.
#[tokio::test]
async fn the_doctor_goes_through_all_apps() {
    let server = TestServer::start().await;
    let (first, second) = (
        server.json(&["app", "create", "Shop"]).await,
        server.json(&["app", "create", "Market"]).await,
    );
    let (first, second) = (text(&first, "app_key"), text(&second, "app_key"));
    let (p12, ca) = (fixture("sandbox.p12"), fixture("certificate.pem"));
    server
        .json(&[
            "credential",
            "set",
            "apns",
            "--app",
            first,
            "--environment",
            "sandbox",
            "--p12",
            &p12,
            "--password",
            "secret",
            "--endpoint",
            "https://127.0.0.1:1",
            "--ca",
            &ca,
        ])
        .await;
    let told = server.run(&["doctor"]).await.expect("a report");
    let lines: Vec<_> = told.lines().collect();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        lines[0],
        format!("ok  server {}: Tidings {version}", server.url)
    );
    let begin = format!(
        "!!  app {first} (Shop), apns sandbox: certificate for com.example.app, health good, expires in "
    );
    assert!(lines[1].starts_with(&begin), "{told}");
    assert!(
        lines[1].contains(" days. Nothing listens at the endpoint; check `endpoint`"),
        "{told}"
    );
    assert_eq!(
        lines[2],
        format!("--  app {second} (Market): no credential")
    );
    assert_eq!(lines[3], "1 line needs attention");

    let one = server.json(&["doctor", "--app", second]).await;
    assert_eq!(one["well"], true);
    assert_eq!(one["apps"][0]["credentials"], json!([]));
    let all = server.json(&["doctor"]).await;
    assert_eq!(all["well"], false);
    let credential = &all["apps"][0]["credentials"][0];
    assert_eq!(credential["check"]["result"], "unreachable");
    let missing = ["doctor", "--app", "0123456789abcdef01234567"];
    assert!(server.refusal(&missing).await.ends_with("(app.not_found)"));
}

#[tokio::test]
async fn a_push_is_sent_and_followed() {
    let server = TestServer::start().await;
    let app = server.json(&["app", "create", "Shop"]).await;
    let (key, secret) = (text(&app, "app_key"), text(&app, "master_secret"));
    let client = Client::new(&server.url, None, Secret::new("none")).expect("a client");
    let body = json!({"app_key": key, "platform": "android", "channels": [{"provider": "link"}], "tags": ["vip"]});
    let device = client
        .call(http::Method::POST, "/v1/devices", Some(&body))
        .await
        .expect("a device");
    let rid = text(&device, "registration_id");
    assert_eq!(
        server.json(&["device", "show", rid]).await["tags"],
        json!(["vip"])
    );

    let push = [
        "push",
        "--app",
        key,
        "--secret",
        secret,
        "--alert",
        "Hello",
        "--title",
        "News",
        "--time-to-live",
        "60",
    ];
    let sent = server.json(&[&push[..], &["--tag", "vip"]].concat()).await;
    let msg_id = text(&sent, "msg_id");
    let shown = server
        .run(&["message", "show", msg_id])
        .await
        .expect("a message");
    assert!(
        shown
            .lines()
            .any(|line| line == "state             sending"),
        "{shown}"
    );
    let journey = server
        .json(&["message", "show", msg_id, "--device", rid])
        .await;
    assert_eq!(journey["state"], "waiting");
    let nobody = server
        .refusal(&[&push[..], &["--alias", "ann", "--tag", "vip"]].concat())
        .await;
    assert!(
        nobody.starts_with("cannot find user by this audience") && nobody.ends_with("(1011)"),
        "{nobody}"
    );
    assert_eq!(
        server
            .json(&[&push[..], &["--all", "--validate"]].concat())
            .await["sendno"],
        "0"
    );

    assert_eq!(
        server.run(&["device", "delete", rid]).await.expect("gone"),
        format!("forgot device {rid}\n")
    );
    assert!(
        server
            .refusal(&["device", "show", rid])
            .await
            .ends_with("(device.not_found)")
    );
}

#[tokio::test]
async fn what_cannot_be_called_is_told() {
    let server = TestServer::start().await;
    let url = server.url.clone();
    server.serving.abort();
    assert!(server.serving.await.is_err_and(|end| end.is_cancelled()));
    let run = async |args: &[&str]| {
        let line =
            Line::try_parse_from([&["tidings", "app", "list"], args].concat()).expect("a line");
        format!("{:#}", line.verb.answer().await.expect_err("a failure"))
    };
    let down = run(&["--token", "x", "--server", &url]).await;
    assert!(
        down.starts_with(&format!("cannot call {}", &url[7..])),
        "{down}"
    );
    assert_eq!(
        run(&["--token", "x", "--server", "ftp://x"]).await,
        "--server is \"ftp://x\"; give a URL such as https://push.example.com"
    );
    let no_token = run(&["--data", "/nonexistent"]).await;
    assert!(
        no_token.starts_with("no --token is given, and /nonexistent/admin.token cannot be read"),
        "{no_token}"
    );
}

#[tokio::test]
async fn a_server_behind_tls_is_checked() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der())
        .expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a configuration");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            // A client that does not trust the certificate ends the handshake.
            let Ok(stream) = acceptor.accept(socket).await else {
                continue;
            };
            let answer = hyper::service::service_fn(
                async |request: http::Request<hyper::body::Incoming>| {
                    let said = json!({"path": request.uri().path()}).to_string();
                    Ok::<_, Infallible>(http::Response::new(said))
                },
            );
            let io = hyper_util::rt::TokioIo::new(stream);
            let served = hyper::server::conn::http1::Builder::new()
                .serve_connection(io, answer)
                .await;
            served.expect("served");
        }
    });
    let url = format!("https://localhost:{port}/base/");
    let client = |ca: Option<&[u8]>| Client::new(&url, ca, Secret::new("none"));
    let pem = made.cert.pem();
    let trusting = client(Some(pem.as_bytes())).expect("a client");
    assert_eq!(
        trusting.get("/v1/apps").await.expect("an answer"),
        json!({"path": "/base/v1/apps"})
    );
    let refusal = client(None)
        .expect("a client")
        .get("/v1/apps")
        .await
        .expect_err("not trusted");
    assert!(
        format!("{refusal:#}").contains("UnknownIssuer"),
        "{refusal:#}"
    );
    assert!(client(Some(b"no PEM")).is_err());
}

#[test]
fn the_command_line_is_sound() {
    use clap::CommandFactory;
    Line::command().debug_assert();
    let push = [
        "tidings",
        "push",
        "--app",
        "0123456789abcdef01234567",
        "--secret",
        "x",
    ];
    let parsed = |args: &[&str]| Line::try_parse_from([&push[..], args].concat()).is_ok();
    assert!(parsed(&["--all", "--alert", "x"]));
    assert!(parsed(&["--alias", "a", "--tag", "b", "--message", "x"]));
    for wrong in [
        &["--all"][..],
        &["--alert", "x"],
        &["--all", "--tag", "a", "--alert", "x"],
        &["--all", "--message", "x", "--title", "y"],
    ] {
        assert!(!parsed(wrong), "{wrong:?}");
    }
}
