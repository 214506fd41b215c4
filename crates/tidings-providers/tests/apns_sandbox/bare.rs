//! A bare HTTP/2 client, which sends what the sender refuses to build.

use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderValue, Request};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tidings_model::UnixMillis;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::stage::{Stage, token};

pub(crate) struct Bare {
    bearer: HeaderValue,
    sender: SendRequest<Bytes>,
}

impl Bare {
    /// A connection with the sandbox's own token key.
    pub(crate) async fn connect(stage: &Stage) -> Self {
        let ca = stage.sandbox.credentials().ca.as_bytes();
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(ca).expect("a certificate");
        roots.add(ca).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let socket = TcpStream::connect(stage.sandbox.addr()).await;
        let name = ServerName::from(stage.sandbox.addr().ip());
        let stream = TlsConnector::from(Arc::new(tls))
            .connect(name, socket.expect("the sandbox"))
            .await;
        let stream = stream.expect("a TLS connection");
        let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        tokio::spawn(connection);
        let credential = stage.token_credential();
        let tokens = credential.token_source().expect("a key");
        Self {
            bearer: tokens.bearer(UnixMillis::now()),
            sender,
        }
    }

    /// Sends a notification to a device: status and reason of the answer, none for an acceptance.
    pub(crate) async fn push(&self, headers: &[(&str, &[u8])], payload: &[u8]) -> (u16, String) {
        self.post(&format!("/3/device/{}", token(1)), headers, payload)
            .await
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        headers: &[(&str, &[u8])],
        body: &[u8],
    ) -> (u16, String) {
        let mut request = Request::post(format!("https://localhost{path}"))
            .header("authorization", self.bearer.clone());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a request");
        let sender = self.sender.clone().ready().await;
        let mut sender = sender.expect("a connection");
        let (response, mut stream) = sender
            .send_request(request, body.is_empty())
            .expect("a stream");
        if !body.is_empty() {
            let body = Bytes::copy_from_slice(body);
            stream.send_data(body, true).expect("a stream");
        }
        let (head, mut stream) = response.await.expect("an answer").into_parts();
        let mut answer = Vec::new();
        while let Some(data) = stream.data().await {
            answer.extend_from_slice(&data.expect("the body"));
        }
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        let reason = answer["reason"].as_str().unwrap_or_default();
        (head.status.as_u16(), reason.to_owned())
    }
}
