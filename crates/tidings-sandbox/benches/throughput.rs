//! How many pushes a second the simulated APNs takes on one core, from a sender on another: two connections with 500
//! streams each. Prints one line.

use std::sync::Arc;
use std::time::{Instant, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use http::{Request, StatusCode};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tidings_sandbox::{Sandbox, SandboxConfig};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsConnector;
use uuid::Uuid;

const CONNECTIONS: u64 = 2;
const STREAMS: usize = 500;
const PUSHES: u64 = 400_000;
const PAYLOAD: &str = r#"{"aps":{"alert":{"title":"Goal","body":"Two to one, with four minutes left."},"sound":"default"}}"#;

fn main() {
    // A core for each side, as between two machines.
    let serving = runtime();
    let sending = runtime();
    let sandbox = serving
        .block_on(serving.spawn(Sandbox::start(SandboxConfig::default())))
        .unwrap()
        .unwrap();
    let authorization: Arc<str> = format!("bearer {}", provider_token(&sandbox)).into();
    let start = Instant::now();
    sending.block_on(async {
        let mut senders = Vec::new();
        for _ in 0..CONNECTIONS {
            let send = connect(&sandbox).await;
            let pushes = push(send, Arc::clone(&authorization), PUSHES / CONNECTIONS);
            senders.push(tokio::spawn(pushes));
        }
        for sender in senders {
            sender.await.unwrap();
        }
    });
    let seconds = start.elapsed().as_secs_f64();
    assert_eq!(sandbox.deliveries().count(), PUSHES);
    println!(
        "{PUSHES} pushes in {seconds:.2} s: {:.0} a second",
        PUSHES as f64 / seconds
    );
    serving.block_on(sandbox.shutdown());
}

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

async fn push(mut send: h2::client::SendRequest<Bytes>, authorization: Arc<str>, count: u64) {
    let mut open = FuturesUnordered::new();
    for n in 0..count {
        if open.len() >= STREAMS {
            open.next().await;
        }
        let request = Request::post(format!("https://localhost/3/device/{n:064x}"))
            .header("authorization", &*authorization)
            .header("apns-topic", "com.example.app")
            .header("apns-push-type", "alert")
            .header("apns-id", Uuid::from_u128(n.into()).to_string())
            .body(())
            .unwrap();
        let (response, mut stream) = send.send_request(request, false).unwrap();
        stream
            .send_data(Bytes::from_static(PAYLOAD.as_bytes()), true)
            .unwrap();
        open.push(async move { assert_eq!(response.await.unwrap().status(), StatusCode::OK) });
    }
    while open.next().await.is_some() {}
}

async fn connect(sandbox: &Sandbox) -> h2::client::SendRequest<Bytes> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(sandbox.credentials().ca.as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let socket = TcpStream::connect(sandbox.addr()).await.unwrap();
    let name = ServerName::from(sandbox.addr().ip());
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, socket).await.unwrap();
    let (send, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(async move { connection.await.unwrap() });
    send.ready().await.unwrap()
}

fn provider_token(sandbox: &Sandbox) -> String {
    let apns = &sandbox.credentials().apns;
    let key = PrivateKeyDer::from_pem_slice(apns.p8.as_bytes()).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_der()).unwrap();
    let issued_at = UNIX_EPOCH.elapsed().unwrap().as_secs();
    let part = |text: String| URL_SAFE_NO_PAD.encode(text);
    let header = part(format!(r#"{{"alg":"ES256","kid":"{}"}}"#, apns.key_id));
    let claims = part(format!(r#"{{"iss":"{}","iat":{issued_at}}}"#, apns.team_id));
    let signed = format!("{header}.{claims}");
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}
