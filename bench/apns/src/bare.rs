//! The floor: a loop on the h2 crate with one connection and one thread. No pool, no retry, no task for each request, but
//! a path and an `apns-id` of its own for each, as every sender has to make. Nothing here costs what could be saved: the
//! parts of a request are built rather than parsed, and answers are taken in the order of the requests, as the sink gives
//! them, so that only the oldest is ever looked at.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use h2::client::ResponseFuture;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
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
    let mut flying: VecDeque<ResponseFuture> = VecDeque::with_capacity(STREAMS as usize);
    let (mut sent, mut done) = (0, 0);
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
                return Poll::Ready(Err(anyhow!("the connection ended: {ended:?}")));
            }
            while let Some(oldest) = flying.front_mut()
                && let Poll::Ready(response) = Pin::new(oldest).poll(cx)
            {
                flying.pop_front();
                ensure_ok(response?.status())?;
                latencies.end(done);
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
                let request = request(&common, sent)?;
                let (response, mut body) = sender.send_request(request, false)?;
                body.send_data(payload.clone(), true)?;
                flying.push_back(response);
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

fn request(common: &HeaderMap, number: usize) -> Result<Request<()>> {
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(Scheme::HTTPS);
    uri.authority = Some(Authority::from_static("localhost"));
    let path = Bytes::from(format!("/3/device/{}", Job::token(number)));
    uri.path_and_query = Some(PathAndQuery::from_maybe_shared(path)?);
    let mut id = [0; 36];
    let id = Uuid::from_u128(number as u128)
        .hyphenated()
        .encode_lower(&mut id);
    let mut id = HeaderValue::from_str(id)?;
    // Its name is worth a place in the header table, its value is not.
    id.set_sensitive(number > 0);
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_parts(uri)?;
    *request.headers_mut() = common.clone();
    request.headers_mut().insert("apns-id", id);
    Ok(request)
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
