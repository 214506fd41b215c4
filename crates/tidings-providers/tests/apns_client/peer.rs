//! A peer that speaks just enough HTTP/2 (RFC 9113) to be told frame by frame what to do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tidings_model::Environment;
use tidings_providers::Attempt;
use tidings_providers::apns::{Answers, Client, Config, Credential, Delivery, Notification, Route};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use uuid::Uuid;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}

/// Takes connections. Its certificate is for `localhost`.
pub(crate) struct Peer {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    ca: String,
}

impl Peer {
    pub(crate) async fn listen() -> Self {
        Self::start(None).await
    }

    /// Asks for a client certificate from its own authority, which has issued none.
    pub(crate) async fn listen_for_certificates() -> Self {
        let authority = Authority::new();
        let mut roots = RootCertStore::empty();
        roots
            .add(authority.certificate.der().clone())
            .expect("a root");
        Self::start(Some(roots)).await
    }

    async fn start(client_roots: Option<RootCertStore>) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let authority = Authority::new();
        let key = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        let leaf = leaf.signed_by(&key, &authority.issuer).expect("a leaf");
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions");
        let builder = match client_roots {
            None => builder.with_no_client_auth(),
            Some(roots) => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .expect("a verifier"),
            ),
        };
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let mut tls = builder
            .with_single_cert(vec![leaf.der().clone()], key)
            .expect("a server");
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.expect("a port"),
            acceptor: TlsAcceptor::from(Arc::new(tls)),
            ca: authority.certificate.pem(),
        }
    }

    /// A configuration that leads here, with a token.
    pub(crate) fn config(&self) -> Config {
        let key = KeyPair::generate().expect("a key").serialize_pem();
        let credential = Credential::from_p8(key.as_bytes(), "ABCDEFGHIJ", "KLMNOPQRST");
        self.config_with(credential.expect("a credential"))
    }

    pub(crate) fn config_with(&self, credential: Credential) -> Config {
        Config {
            endpoint: Some(format!("https://localhost:{}", self.addr().port())),
            ca: Some(self.ca.as_bytes().into()),
            connections_max: 1,
            ..Config::new(credential, Environment::Sandbox)
        }
    }

    fn addr(&self) -> SocketAddr {
        self.listener.local_addr().expect("an address")
    }

    pub(crate) async fn tcp(&self) -> TcpStream {
        self.listener.accept().await.expect("a connection").0
    }

    /// The next connection, after its TLS handshake; none when that failed.
    pub(crate) async fn tls(&self) -> Option<TlsStream<TcpStream>> {
        self.acceptor.accept(self.tcp().await).await.ok()
    }

    /// The next connection, with its preface read; nothing has been said to it yet.
    pub(crate) async fn http2(&self) -> Wire {
        let mut stream = self.tls().await.expect("a TLS connection");
        let mut preface = vec![0; PREFACE.len()];
        stream.read_exact(&mut preface).await.expect("a preface");
        assert_eq!(preface, PREFACE);
        Wire { stream }
    }
}

struct Authority {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([]).expect("no name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a root");
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }
}

/// One connection, frame by frame.
pub(crate) struct Wire {
    stream: TlsStream<TcpStream>,
}

impl Wire {
    pub(crate) async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let len = u32::try_from(payload.len()).expect("a short frame");
        let mut frame = len.to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.stream.write_all(&frame).await.expect("it is written");
        self.stream.flush().await.expect("it is written");
    }

    /// SETTINGS with that MAX_CONCURRENT_STREAMS.
    pub(crate) async fn allow_streams(&mut self, streams: u32) {
        let mut payload = vec![0, 3];
        payload.extend(streams.to_be_bytes());
        self.write(SETTINGS, 0, 0, &payload).await;
    }

    /// Answers 200, which is number 8 of HPACK's static table (RFC 7541, appendix A).
    pub(crate) async fn accept(&mut self, stream: u32) {
        self.write(HEADERS, END_STREAM | END_HEADERS, stream, &[0x88])
            .await;
    }

    /// Answers 500, which is number 14 of HPACK's static table.
    pub(crate) async fn fail(&mut self, stream: u32) {
        self.write(HEADERS, END_STREAM | END_HEADERS, stream, &[0x8e])
            .await;
    }

    /// 403 with a body.
    pub(crate) async fn reject(&mut self, stream: u32, body: &[u8]) {
        // A literal with the name of the static table's eighth entry, `:status` (RFC 7541, section 6.2.2).
        let head = [0x08, 0x03, b'4', b'0', b'3'];
        self.write(HEADERS, END_HEADERS, stream, &head).await;
        self.write(DATA, END_STREAM, stream, body).await;
    }

    pub(crate) async fn refuse(&mut self, stream: u32) {
        self.write(RST_STREAM, 0, stream, &7u32.to_be_bytes()).await;
    }

    /// GOAWAY with that error code (RFC 9113, section 7), and Apple's way to say why.
    pub(crate) async fn go_away(&mut self, last_stream: u32, code: u32) {
        let mut payload = last_stream.to_be_bytes().to_vec();
        payload.extend(code.to_be_bytes());
        payload.extend(br#"{"reason":"Shutdown"}"#);
        self.write(GOAWAY, 0, 0, &payload).await;
    }

    /// The next frame that is no housekeeping; none when the client has closed. SETTINGS and PING are acknowledged.
    pub(crate) async fn read(&mut self) -> Option<Frame> {
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.ok()?;
            let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; len as usize];
            self.stream.read_exact(&mut payload).await.ok()?;
            let frame = Frame {
                kind: head[3],
                flags: head[4],
                stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
                payload,
            };
            match (frame.kind, frame.flags & ACK) {
                (SETTINGS, 0) => self.write(SETTINGS, ACK, 0, &[]).await,
                (PING, 0) => self.write(PING, ACK, 0, &frame.payload).await,
                (SETTINGS | PING | WINDOW_UPDATE, _) => {}
                _ => return Some(frame),
            }
        }
    }

    /// The stream of the next whole request; none when the client has closed or says goodbye.
    pub(crate) async fn request(&mut self) -> Option<u32> {
        loop {
            let frame = self.read().await?;
            if frame.ends_stream() {
                return Some(frame.stream);
            }
            if frame.kind == GOAWAY {
                return None;
            }
        }
    }

    /// Whether the client is silent for a while: no time limit that a slow machine could miss makes a test fail, only a
    /// request that should not have come.
    pub(crate) async fn is_left_in_peace(&mut self) -> bool {
        let next = tokio::time::timeout(Duration::from_millis(100), self.read());
        next.await.is_err()
    }
}

/// A client and `count` deliveries that were submitted to it, tagged with their numbers.
pub(crate) async fn submitted(config: Config, count: usize) -> (Client<usize>, Answers<usize>) {
    let (client, answers) = Client::start(config).expect("a client");
    let hello = Notification::alert("com.example.app", "Hello").expect("a notification");
    let notification = Arc::new(hello);
    for tag in 0..count {
        let delivery = Delivery {
            token: format!("{tag:064x}").into(),
            id: Uuid::new_v4(),
            notification: Arc::clone(&notification),
            route: Route::default(),
            tag,
        };
        client.submit(delivery).await.expect("an open client");
    }
    (client, answers)
}

/// The attempts of `count` deliveries by their tags.
pub(crate) async fn attempts(answers: &mut Answers<usize>, count: usize) -> Vec<Attempt> {
    let mut all = Vec::new();
    while all.len() < count && answers.recv_many(&mut all, count).await > 0 {}
    all.sort_by_key(|(delivery, _)| delivery.tag);
    let tags: Vec<_> = all.iter().map(|(delivery, _)| delivery.tag).collect();
    assert_eq!(tags, (0..count).collect::<Vec<_>>());
    all.into_iter().map(|(_, attempt)| attempt).collect()
}
