//! A bare HTTP client of either version, which can also send what no sender should.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use http::request::Builder;
use http::{HeaderMap, Request};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tidings_sandbox::{
    Delivery, DeliveryQuery, Fault, FaultBody, Phone, Provider, Sandbox, SandboxConfig,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A sandbox and one of its providers.
pub(crate) struct Scene {
    pub(crate) sandbox: Sandbox,
    pub(crate) provider: Provider,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// The connection ended, or the stream was refused.
#[derive(Debug)]
pub(crate) struct Unanswered;

impl Scene {
    pub(crate) async fn of(provider: Provider) -> Self {
        let sandbox = Sandbox::start(SandboxConfig::default()).await;
        Self {
            sandbox: sandbox.expect("the sandbox starts"),
            provider,
        }
    }

    /// A field of the provider's credential, as the control API tells it.
    pub(crate) fn credential(&self, field: &str) -> String {
        let all = self.sandbox.credentials().by_provider(&self.sandbox.url());
        let value = &all[self.provider.name()][field];
        value.as_str().expect("a text").to_owned()
    }

    pub(crate) fn fault(&self, mut fault: Value) -> u64 {
        fault["provider"] = json!(self.provider.name());
        let body: FaultBody = serde_json::from_value(fault).expect("a fault");
        let fault = Fault::try_from(body).expect("a fault that can happen");
        self.sandbox.faults().add(fault).expect("room")
    }

    pub(crate) fn uninstall(&self, token: &str) {
        self.put(token, Some(1_767_225_600_123), None);
    }

    pub(crate) fn put(&self, token: &str, uninstalled_since: Option<i64>, topic: Option<&str>) {
        let phone = Phone {
            uninstalled_since,
            topic: topic.map(str::to_owned),
        };
        let token = self.provider.token(token).expect("a token");
        let phones = self.sandbox.phones();
        phones.put(self.provider, token, phone).expect("room");
    }

    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        let query = DeliveryQuery {
            provider: Some(self.provider),
            limit: 10_000,
            ..DeliveryQuery::default()
        };
        self.sandbox.deliveries().page(&query).deliveries
    }

    /// The tokens that were delivered to, in order.
    pub(crate) fn reached(&self) -> Vec<String> {
        let deliveries = self.deliveries();
        deliveries.iter().map(|d| d.token.to_string()).collect()
    }

    /// Connects, offering these protocols.
    pub(crate) async fn connect(&self, protocols: &[&[u8]]) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        let ca = self.sandbox.credentials().ca.as_bytes();
        roots
            .add(CertificateDer::from_pem_slice(ca).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let socket = TcpStream::connect(self.sandbox.addr()).await.unwrap();
        let name = ServerName::from(self.sandbox.addr().ip());
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, socket).await.unwrap()
    }

    /// Sends one request over HTTP/1.1.
    pub(crate) async fn send(&self, request: Builder, body: &str) -> Result<Reply, Unanswered> {
        let stream = self.connect(&[b"http/1.1"]).await;
        send_http1(stream, request, body).await
    }

    /// Asks for an access token with client credentials.
    pub(crate) async fn fetch(&self, path: &str, id: &str, secret: &str) -> Reply {
        let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
        let request = post(path).header("content-type", "application/x-www-form-urlencoded");
        self.send(request, &form).await.expect("an answer")
    }

    /// Sends one request over HTTP/2.
    pub(crate) async fn send_h2(&self, request: Builder, body: &str) -> Result<Reply, Unanswered> {
        let stream = self.connect(&[b"h2"]).await;
        send_http2(stream, request, body).await
    }
}

pub(crate) async fn send_http1(
    stream: TlsStream<TcpStream>,
    request: Builder,
    body: &str,
) -> Result<Reply, Unanswered> {
    let handshake = http1::handshake::<_, Body>(TokioIo::new(stream)).await;
    let (mut send, connection) = handshake.map_err(|_| Unanswered)?;
    tokio::spawn(connection);
    let request = request
        .header("host", "localhost")
        .body(Body::from(body.to_owned()))
        .unwrap();
    reply(send.send_request(request).await).await
}

pub(crate) async fn send_http2(
    stream: TlsStream<TcpStream>,
    request: Builder,
    body: &str,
) -> Result<Reply, Unanswered> {
    let handshake =
        http2::handshake::<_, _, Body>(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut send, connection) = handshake.map_err(|_| Unanswered)?;
    tokio::spawn(connection);
    let request = request.body(Body::from(body.to_owned())).unwrap();
    reply(send.send_request(request).await).await
}

async fn reply(
    answered: Result<http::Response<hyper::body::Incoming>, hyper::Error>,
) -> Result<Reply, Unanswered> {
    let (head, body) = answered.map_err(|_| Unanswered)?.into_parts();
    let body = to_bytes(Body::new(body), 1 << 20)
        .await
        .map_err(|_| Unanswered)?;
    Ok(Reply {
        status: head.status.as_u16(),
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).expect("a text"),
    })
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

/// A golden request, written from the fact sheet.
pub(crate) fn golden(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

pub(crate) fn post(path: &str) -> Builder {
    Request::post(format!("https://localhost{path}"))
}

/// Form encoding of what is not a letter or a digit.
pub(crate) fn encoded(pairs: &[(&str, String)]) -> String {
    let escaped = |text: &str| -> String {
        text.bytes()
            .map(|byte| match byte {
                b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => char::from(byte).to_string(),
                other => format!("%{other:02X}"),
            })
            .collect()
    };
    let pair = |(name, value): &(&str, String)| format!("{}={}", escaped(name), escaped(value));
    pairs.iter().map(pair).collect::<Vec<_>>().join("&")
}
