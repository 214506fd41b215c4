//! What all senders send to: an HTTP/2 server that answers each request with 200 and its own `apns-id`, at once or after
//! a fixed delay. It judges nothing.

use bench_apns::job::STREAMS;
use std::collections::VecDeque;
use std::fs;
use std::future::{Future, poll_fn};
use std::io::Write;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Connection, SendResponse};
use http::{HeaderName, HeaderValue, Response};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;

const WINDOW: u32 = 1 << 20;
const APNS_ID: HeaderName = HeaderName::from_static("apns-id");

/// Serves until its input ends. Writes `ca.pem` and `key.p8` into `dir`, and the word `ready` to its output.
pub(crate) async fn run(dir: &Path, port: u16, delay: Duration) -> Result<()> {
    let tls = TlsAcceptor::from(Arc::new(identity(dir)?));
    let listener = TcpListener::bind(("127.0.0.1", port))
        .await
        .with_context(|| format!("port {port}: not free"))?;
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                tcp.set_nodelay(true)?;
                let connection = h2::server::Builder::new()
                    .max_concurrent_streams(STREAMS)
                    .initial_connection_window_size(WINDOW)
                    .handshake(tls.accept(tcp).await?)
                    .await?;
                let mut exchange = Exchange::new(connection, delay);
                poll_fn(|cx| exchange.poll(cx)).await;
                anyhow::Ok(())
            });
        }
    });
    writeln!(std::io::stdout(), "ready")?;
    tokio::task::spawn_blocking(|| std::io::stdin().lines().count()).await?;
    Ok(())
}

/// A certificate for `localhost`, its authority's for the senders to trust, and a key for them to sign with.
fn identity(dir: &Path) -> Result<ServerConfig> {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("Benchmark authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let mut params = CertificateParams::new(["localhost".to_owned()])?;
    params.distinguished_name = named("localhost");
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate: CertificateDer<'static> = params.signed_by(&key, &issuer)?.der().clone();
    fs::write(dir.join("ca.pem"), issuer.pem())?;
    fs::write(dir.join("key.p8"), KeyPair::generate()?.serialize_pem())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// A request whose body is complete, or not yet.
struct Asked {
    /// When its head was read: from then on the delay counts, however long the sink takes to come back to it.
    at: Instant,
    body: RecvStream,
    answer: SendResponse<Bytes>,
    id: Option<HeaderValue>,
}

/// One connection, polled in place: no task for each request.
struct Exchange<I> {
    connection: Connection<I, Bytes>,
    delay: Duration,
    arriving: Vec<Asked>,
    /// In the order in which they are due.
    waiting: VecDeque<(Instant, Asked)>,
    timer: Pin<Box<Sleep>>,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Exchange<I> {
    fn new(connection: Connection<I, Bytes>, delay: Duration) -> Self {
        Self {
            connection,
            delay,
            arriving: Vec::new(),
            waiting: VecDeque::new(),
            timer: Box::pin(tokio::time::sleep(delay)),
        }
    }

    /// Ready when the peer has gone.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            loop {
                match self.connection.poll_accept(cx) {
                    Poll::Ready(Some(Ok((request, answer)))) => {
                        let (mut head, body) = request.into_parts();
                        let id = head.headers.remove(APNS_ID);
                        let at = Instant::now();
                        self.arriving.push(Asked {
                            at,
                            body,
                            answer,
                            id,
                        });
                    }
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => break,
                }
            }
            let complete = self.arriving.extract_if(.., |asked| asked.is_complete(cx));
            let mut answered = false;
            if self.delay.is_zero() {
                for asked in complete {
                    asked.answer();
                    answered = true;
                }
            } else {
                let delay = self.delay;
                self.waiting
                    .extend(complete.map(|asked| (asked.at + delay, asked)));
                answered = self.answer_due(cx);
            }
            if !answered {
                return Poll::Pending;
            }
        }
    }

    /// Answers what is due and sets the timer for what is not. Says whether anything was answered.
    fn answer_due(&mut self, cx: &mut Context<'_>) -> bool {
        let mut answered = false;
        while let Some((due, _)) = self.waiting.front() {
            let due = *due;
            if due > Instant::now() {
                if self.timer.deadline() != due {
                    self.timer.as_mut().reset(due);
                }
                if self.timer.as_mut().poll(cx).is_pending() {
                    break;
                }
            }
            if let Some((_, asked)) = self.waiting.pop_front() {
                asked.answer();
                answered = true;
            }
        }
        answered
    }
}

impl Asked {
    fn is_complete(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            if self.body.is_end_stream() {
                return true;
            }
            match self.body.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) => {
                    // Fails only for more than was received.
                    let _ = self.body.flow_control().release_capacity(data.len());
                }
                Poll::Ready(_) => return true,
                Poll::Pending => return false,
            }
        }
    }

    fn answer(mut self) {
        let mut response = Response::new(());
        if let Some(id) = self.id {
            response.headers_mut().insert(APNS_ID, id);
        }
        // Fails only when the sender has reset the stream, and then it does not want to know.
        let _ = self.answer.send_response(response, true);
    }
}
