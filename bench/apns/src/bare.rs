//! The floor: a loop on the h2 crate with one connection and one thread. No pool, no retry, no task for each request, but
//! a path and an `apns-id` of its own for each, as every sender has to make.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, Stream};
use http::{HeaderMap, HeaderValue, Method, Request};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tidings_model::UnixMillis;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use uuid::Uuid;

use crate::job::{Job, STREAMS};
use crate::report::{Latencies, Report, Stopwatch};

type Sender = h2::client::SendRequest<Bytes>;
type Connection = h2::client::Connection<TlsStream<TcpStream>, Bytes>;

/// A connection that nothing has been sent on.
pub async fn connect(job: &Job) -> Result<(Sender, Connection)> {
    let tcp = TcpStream::connect(("localhost", job.port)).await?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from("localhost")?;
    let stream = TlsConnector::from(Arc::new(tls(&job.ca)?))
        .connect(name, tcp)
        .await?;
    Ok(h2::client::handshake(stream).await?)
}

/// Sends all on one connection; `stopwatch` says from when on it is measured.
pub async fn send(
    job: &Job,
    connected: (Sender, Connection),
    stopwatch: Stopwatch,
) -> Result<Report> {
    let (mut sender, mut connection) = connected;
    let mut latencies = Latencies::of(job.count);
    let common = common_headers(job)?;
    let payload = job.notification()?.payload().clone();
    let mut flying = FuturesUnordered::new();
    let (mut sent, mut done) = (0, 0);
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
                return Poll::Ready(Err(anyhow!("the connection ended: {ended:?}")));
            }
            while let Poll::Ready(Some((number, response))) = Pin::new(&mut flying).poll_next(cx) {
                let response: Result<http::Response<_>, h2::Error> = response;
                let status = response?.status();
                ensure_ok(status)?;
                latencies.end(number);
                done += 1;
            }
            if done == job.count {
                return Poll::Ready(Ok(()));
            }
            // One stream until the peer has said how many, as everybody has to.
            let limit = match sender.current_max_send_streams() {
                usize::MAX => 1,
                limit => limit.min(STREAMS as usize),
            };
            let before = sent;
            while flying.len() < limit && sent < job.count {
                latencies.begin(sent);
                let mut request = Request::new(());
                *request.method_mut() = Method::POST;
                let uri = format!("https://localhost/3/device/{}", Job::token(sent));
                *request.uri_mut() = uri.parse()?;
                *request.headers_mut() = common.clone();
                let id = HeaderValue::try_from(Uuid::from_u128(sent as u128).to_string())?;
                request.headers_mut().insert("apns-id", id);
                let (response, mut body) = sender.send_request(request, false)?;
                body.send_data(payload.clone(), true)?;
                let number = sent;
                flying.push(response.map(move |response| (number, response)));
                sent += 1;
            }
            if sent == before {
                return Poll::Pending;
            }
        }
    })
    .await?;
    stopwatch.stop(latencies)
}

fn ensure_ok(status: http::StatusCode) -> Result<()> {
    ensure!(status == http::StatusCode::OK, "{status}");
    Ok(())
}

fn tls(ca: &str) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes())?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    Ok(tls)
}

fn common_headers(job: &Job) -> Result<HeaderMap> {
    let tokens = job.credential.token_source().context("a token source")?;
    let mut common = HeaderMap::new();
    common.extend(job.notification()?.headers());
    common.insert("authorization", tokens.bearer(UnixMillis::now()));
    Ok(common)
}
