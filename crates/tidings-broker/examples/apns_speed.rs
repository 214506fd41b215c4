//! What a push costs: the broker beside the bare client and a bare loop on the h2 crate, all against one sandbox.
//!
//! ```text
//! cargo run --release -p tidings-broker --example apns_speed -- [NOTIFICATIONS] [CONNECTIONS] [DELAY_MS]
//! ```
//!
//! Each runs in a process of its own, so that its CPU time is its own; the sandbox's is not counted. The bare loop has one
//! connection and one thread, no pool, no retry, and makes a path and an `apns-id` for each request, as the others do.

use std::env;
use std::fs;
use std::future::Future;
use std::io::{BufRead, BufReader, Write};
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, Stream};
use http::{HeaderMap, HeaderValue, Method, Request};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tidings_broker::{Broker, BrokerConfig, Delivery};
use tidings_model::{Environment, UnixMillis};
use tidings_providers::Attempt;
use tidings_providers::apns::{self, Client, Config, Credential, Notification};
use tidings_sandbox::{FaultBody, Sandbox, SandboxConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use uuid::Uuid;

const TOPIC: &str = "com.example.app";
const TEXT: &str =
    "A text of a length that is usual for notifications, neither short nor very long, to be shown";
const STREAMS: usize = 1000;

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["sink", delay_ms] => sink(delay_ms.parse()?),
        ["run", mode, threads, count, connections, port] => {
            let run = Run {
                count: count.parse()?,
                connections: connections.parse()?,
                port: port.parse()?,
                made: read_made()?,
            };
            let threads: usize = threads.parse()?;
            let before = Instant::now();
            let runtime = match threads {
                1 => tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?,
                _ => tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(threads)
                    .enable_all()
                    .build()?,
            };
            runtime.block_on(async {
                match mode {
                    "bare" => run.bare().await,
                    "client" => run.client().await,
                    _ => run.broker().await,
                }
            })?;
            report(mode, threads, run.count, before.elapsed())
        }
        ref rest => {
            let count = rest.first().unwrap_or(&"500000");
            let connections = rest.get(1).unwrap_or(&"1");
            let delay_ms = rest.get(2).unwrap_or(&"0");
            compare(count, connections, delay_ms)
        }
    }
}

/// Starts the sandbox and each of the runs.
fn compare(count: &str, connections: &str, delay_ms: &str) -> Result<()> {
    let program = env::current_exe()?;
    let mut sink = Command::new(&program)
        .args(["sink", delay_ms])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(sink.stdout.take().context("its output")?).lines();
    let port = lines.next().context("its port")??;
    let made: Vec<String> = lines
        .take_while(|line| line.as_ref().is_ok_and(|line| line != "end"))
        .collect::<std::io::Result<_>>()?;
    for (mode, threads) in [
        ("bare", "1"),
        ("client", "1"),
        ("broker", "1"),
        ("broker", "2"),
        ("bare", "1"),
        ("broker", "1"),
    ] {
        let mut run = Command::new(&program)
            .args(["run", mode, threads, count, connections, &port])
            .stdin(Stdio::piped())
            .spawn()?;
        let mut input = run.stdin.take().context("its input")?;
        input.write_all(made.join("\n").as_bytes())?;
        drop(input);
        ensure!(run.wait()?.success(), "{mode} failed");
    }
    // The end of its input ends the sandbox.
    drop(sink.stdin.take());
    sink.wait()?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn sink(delay_ms: u64) -> Result<()> {
    let config = SandboxConfig {
        deliveries_kept: 1000,
        ..SandboxConfig::default()
    };
    let sandbox = Sandbox::start(config).await?;
    if delay_ms > 0 {
        let delay = FaultBody {
            provider: "apns".to_owned(),
            delay_ms: Some(delay_ms),
            ..FaultBody::default()
        };
        sandbox.faults().add(delay.try_into()?)?;
    }
    {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", sandbox.addr().port())?;
        let made = &sandbox.credentials().apns;
        writeln!(out, "{}{}end", sandbox.credentials().ca, made.p8)?;
        out.flush()?;
    }
    tokio::task::spawn_blocking(|| std::io::stdin().lines().count()).await?;
    Ok(())
}

fn read_made() -> Result<String> {
    Ok(std::io::read_to_string(std::io::stdin())?)
}

/// CPU time of this process so far, and its peak memory (proc_pid_stat(5), proc_pid_status(5)).
fn report(mode: &str, threads: usize, count: usize, elapsed: Duration) -> Result<()> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .context("fields")?
        .split_whitespace()
        .collect();
    let ticks = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    println!(
        "{mode:>7}, {threads} thread(s): {:>7.0} notifications/s, {:.3} CPU s per 100,000, peak {}",
        count as f64 / elapsed.as_secs_f64(),
        ticks / 100.0 / (count as f64 / 100_000.0),
        peak.map_or("?", |line| line["VmHWM:".len()..].trim()),
    );
    Ok(())
}

struct Run {
    count: usize,
    connections: usize,
    port: u16,
    made: String,
}

impl Run {
    fn config(&self) -> Result<Config> {
        let pem = self.made.as_bytes();
        let credential = Credential::from_p8(pem, "SANDBOXKEY", "SANDBOXTEM")?;
        Ok(Config {
            endpoint: Some(format!("https://localhost:{}", self.port)),
            ca: Some(pem.into()),
            connections_max: self.connections,
            ..Config::new(credential, Environment::Sandbox)
        })
    }

    fn notification() -> Result<Arc<Notification>> {
        Ok(Arc::new(Notification::alert(TOPIC, TEXT)?))
    }

    fn token(number: usize) -> Box<str> {
        format!("{number:064x}").into()
    }

    fn id(number: usize) -> Uuid {
        Uuid::from_u128(number as u128)
    }

    async fn broker(&self) -> Result<()> {
        let (broker, mut events) = Broker::start(self.config()?, BrokerConfig::default())?;
        let notification = Self::notification()?;
        let queueing = async {
            let mut page = Vec::new();
            for number in 0..self.count {
                page.push(Delivery {
                    notification: Arc::clone(&notification),
                    token: Self::token(number),
                    id: Self::id(number),
                    expires: None,
                    tag: number,
                });
                if page.len() == 1000 || number + 1 == self.count {
                    broker.queue_many(&mut page).await?;
                }
            }
            anyhow::Ok(())
        };
        let counting = async {
            let mut settled = Vec::new();
            let mut accepted = 0;
            while accepted < self.count && events.recv_many(&mut settled, 1000).await > 0 {
                for settled in settled.drain(..) {
                    settled.result?;
                    accepted += 1;
                }
            }
            anyhow::Ok(())
        };
        let (queued, counted) = tokio::join!(queueing, counting);
        queued.and(counted)
    }

    async fn client(&self) -> Result<()> {
        let (client, mut answers) = Client::start(self.config()?)?;
        let notification = Self::notification()?;
        let mut page = std::collections::VecDeque::new();
        let mut answered = Vec::new();
        let (mut sent, mut done) = (0, 0);
        while done < self.count {
            while page.len() < client.room() && sent < self.count {
                page.push_back(apns::Delivery {
                    token: Self::token(sent),
                    id: Self::id(sent),
                    notification: Arc::clone(&notification),
                    tag: sent,
                });
                sent += 1;
            }
            client.try_submit_many(&mut page);
            done += answers.recv_many(&mut answered, 1000).await;
            for (_, attempt) in answered.drain(..) {
                ensure!(
                    matches!(attempt, Attempt::Answered(tidings_model::Outcome::Accepted)),
                    "{attempt:?}"
                );
            }
        }
        Ok(())
    }

    async fn bare(&self) -> Result<()> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.made.as_bytes())?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let tcp = TcpStream::connect(("localhost", self.port)).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from("localhost")?;
        let stream = TlsConnector::from(Arc::new(tls)).connect(name, tcp).await?;
        let (mut sender, mut connection) = h2::client::handshake(stream).await?;
        let credential = Credential::from_p8(self.made.as_bytes(), "SANDBOXKEY", "SANDBOXTEM")?;
        let tokens = credential.token_source().context("a token source")?;
        let notification = Self::notification()?;
        let mut common = HeaderMap::new();
        common.extend(notification.headers());
        common.insert("authorization", tokens.bearer(UnixMillis::now()));
        let payload: Bytes = notification.payload().clone();
        let mut flying = FuturesUnordered::new();
        let (mut sent, mut done) = (0, 0);
        std::future::poll_fn(|cx| {
            loop {
                if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
                    return Poll::Ready(Err(anyhow::anyhow!("the connection ended: {ended:?}")));
                }
                while let Poll::Ready(Some(response)) = Pin::new(&mut flying).poll_next(cx) {
                    let response: http::Response<_> = response?;
                    ensure_ok(&response)?;
                    done += 1;
                }
                if done == self.count {
                    return Poll::Ready(Ok(()));
                }
                // As the others: one stream until the sandbox has said how many.
                let limit = match sender.current_max_send_streams() {
                    usize::MAX => 1,
                    limit => limit.min(STREAMS),
                };
                let before = sent;
                while flying.len() < limit && sent < self.count {
                    let uri = format!("https://localhost/3/device/{}", Self::token(sent));
                    let mut request = Request::new(());
                    *request.method_mut() = Method::POST;
                    *request.uri_mut() = uri.parse()?;
                    *request.headers_mut() = common.clone();
                    let id = HeaderValue::try_from(Self::id(sent).to_string())?;
                    request.headers_mut().insert("apns-id", id);
                    let (response, mut body) = sender.send_request(request, false)?;
                    body.send_data(payload.clone(), true)?;
                    flying.push(response);
                    sent += 1;
                }
                if sent == before {
                    return Poll::Pending;
                }
            }
        })
        .await
    }
}

fn ensure_ok<B>(response: &http::Response<B>) -> Result<()> {
    ensure!(response.status() == 200, "{}", response.status());
    Ok(())
}
