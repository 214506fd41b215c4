//! The floor: a bare loop on the h2 crate, one connection, no pool, no retry, no registry, no ledger.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use h2::client::ResponseFuture;
use http::Request;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tidings_model::UnixMillis;
use tidings_providers::apns::Credential;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use uuid::Uuid;

use crate::process::cpu_secs;

/// Streams in flight.
const STREAMS: usize = 1000;

pub(crate) struct Floor {
    pub(crate) cpu_secs: f64,
    pub(crate) secs: f64,
}

/// Sends `count` notifications with distinct paths and ids to the sandbox at `url`, with what its control port says of
/// credentials.
pub(crate) fn run(
    url: &str,
    credentials: &Value,
    count: usize,
    payload: &'static str,
) -> Result<Floor> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(send_all(url, credentials, count, payload))
}

async fn send_all(
    url: &str,
    credentials: &Value,
    count: usize,
    payload: &'static str,
) -> Result<Floor> {
    let text = |value: &Value| {
        Ok::<_, anyhow::Error>(value.as_str().context("no credentials")?.to_owned())
    };
    let apns = &credentials["apns"];
    let (p8, key_id, team_id) = (
        text(&apns["p8"])?,
        text(&apns["key_id"])?,
        text(&apns["team_id"])?,
    );
    let credential = Credential::from_p8(p8.as_bytes(), &key_id, &team_id)?;
    let bearer = credential
        .token_source()
        .context("a token key")?
        .bearer(UnixMillis::now());

    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(
        text(&credentials["ca"])?.as_bytes(),
    )?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let address = url.trim_start_matches("https://");
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let name = ServerName::try_from(address.rsplit_once(':').context("no port")?.0.to_owned())?;
    let socket = TlsConnector::from(Arc::new(tls))
        .connect(name, socket)
        .await?;
    let (mut sender, mut connection) = h2::client::handshake(socket).await?;

    let (cpu_before, start) = (cpu_secs("self")?, Instant::now());
    let payload = Bytes::from_static(payload.as_bytes());
    let (mut sent, mut answered) = (0, 0);
    let mut flights: VecDeque<ResponseFuture> = VecDeque::with_capacity(STREAMS);
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
                return Poll::Ready(Err(anyhow::anyhow!("the connection ended: {ended:?}")));
            }
            // The sandbox answers in order, so only the front need be looked at.
            while let Some(front) = flights.front_mut() {
                let Poll::Ready(response) = Pin::new(front).poll(cx) else {
                    break;
                };
                flights.pop_front();
                if response?.status() != http::StatusCode::OK {
                    return Poll::Ready(Err(anyhow::anyhow!("refused")));
                }
                answered += 1;
            }
            if answered == count {
                return Poll::Ready(Ok(()));
            }
            let limit = STREAMS.min(sender.current_max_send_streams());
            let before = sent;
            while sent < count && flights.len() < limit {
                let request = Request::post(format!("https://{address}/3/device/{sent:064x}"))
                    .header("authorization", bearer.clone())
                    .header("apns-topic", "com.example.app")
                    .header("apns-push-type", "alert")
                    .header("apns-priority", "10")
                    .header("apns-expiration", "2000000000")
                    .header("apns-id", Uuid::from_u128(sent as u128).to_string())
                    .body(())?;
                let (response, mut stream) = sender.send_request(request, false)?;
                stream.send_data(payload.clone(), true)?;
                flights.push_back(response);
                sent += 1;
            }
            if sent == before {
                return Poll::Pending;
            }
        }
    })
    .await?;
    ensure!(answered == count, "not all were answered");
    Ok(Floor {
        cpu_secs: cpu_secs("self")? - cpu_before,
        secs: start.elapsed().as_secs_f64(),
    })
}
