//! Calls of an API of Tidings, over HTTP/1.1 with or without TLS, each on a connection of its own.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use axum::body::{Body, to_bytes};
use http::header::{AUTHORIZATION, CONNECTION, HOST};
use http::uri::{Authority, Scheme};
use http::{Method, Request, Uri};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tidings_model::Secret;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// For a whole call: a `.p12` with a hard password takes the server seconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of an answer; a thousand apps take less than a megabyte.
const BODY_BYTES_MAX: usize = 16 << 20;

pub(crate) struct Client {
    authority: Authority,
    authorization: Secret,
    /// What stands before the path of every call.
    base: String,
    tls: Option<TlsConnector>,
}

impl Client {
    /// `ca` is PEM of the certificates to trust instead of the public roots.
    pub(crate) fn new(server: &str, ca: Option<&[u8]>, authorization: Secret) -> Result<Self> {
        let wanted =
            || format!("--server is {server:?}; give a URL such as https://push.example.com");
        let uri: Uri = server.parse().with_context(wanted)?;
        let authority = uri.authority().with_context(wanted)?.clone();
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => Some(connector(ca)?),
            Some(scheme) if *scheme == Scheme::HTTP => None,
            _ => bail!(wanted()),
        };
        ensure!(
            uri.query().is_none() && !authority.as_str().contains('@'),
            wanted()
        );
        Ok(Self {
            authority,
            authorization,
            base: uri.path().trim_end_matches('/').to_owned(),
            tls,
        })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        self.call(Method::GET, path, None).await
    }

    /// The server's answer. Fails with the server's text when it refuses.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value> {
        let url = format!("{}{path}", self.authority);
        let called = timeout(CALL_TIMEOUT, self.exchange(method, path, body)).await;
        let (is_good, body) = called
            .with_context(|| format!("no answer from {url} in {} s", CALL_TIMEOUT.as_secs()))?
            .with_context(|| format!("cannot call {url}"))?;
        let answer: Value = serde_json::from_slice(&body)
            .with_context(|| format!("{url} did not answer as Tidings does"))?;
        if !is_good {
            let error = &answer["error"];
            let message = error["message"]
                .as_str()
                .unwrap_or("refused without a reason");
            let code = error["code"]
                .as_str()
                .map_or_else(|| error["code"].to_string(), str::to_owned);
            bail!("{message} ({code})");
        }
        Ok(answer)
    }

    /// Whether the server agreed, and its body.
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(bool, Vec<u8>)> {
        let host = self
            .authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        let default_port = if self.tls.is_some() { 443 } else { 80 };
        let socket =
            TcpStream::connect((host, self.authority.port_u16().unwrap_or(default_port))).await?;
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(HOST, self.authority.as_str())
            .header(AUTHORIZATION, self.authorization.expose())
            .header(CONNECTION, "close")
            .header("content-type", "application/json")
            .body(body)?;
        match &self.tls {
            None => send(socket, request).await,
            Some(tls) => {
                let name = ServerName::try_from(host.to_owned())?;
                send(tls.connect(name, socket).await?, request).await
            }
        }
    }
}

async fn send<S>(stream: S, request: Request<Body>) -> Result<(bool, Vec<u8>)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let is_good = response.status().is_success();
    let body = to_bytes(Body::new(response.into_body()), BODY_BYTES_MAX).await?;
    connection.abort();
    Ok((is_good, body.to_vec()))
}

fn connector(ca: Option<&[u8]>) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    match ca {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                roots.add(certificate.context("--ca is not PEM")?)?;
            }
            ensure!(!roots.is_empty(), "--ca holds no certificate");
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
