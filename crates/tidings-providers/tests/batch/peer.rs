//! A provider of the tests' own: it hands each request to the test, which answers when and as it likes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tidings_model::{Outcome, Reason, UnixMillis};
use tidings_providers::batch::{
    Access, Answer, Config, Pace, Protocol, Request, Response, Saving, SignIn, Unsaved,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What a request asks for: a path and, for those that push, addresses joined by commas.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Made {
    /// Whether a message for two or more is saved first.
    pub(crate) saves: bool,
}

impl Protocol for Made {
    const NAME: &'static str = "Made";
    const ENDPOINT: &'static str = "https://localhost:1";
    const TOKEN_ENDPOINT: Option<&'static str> = Some("https://localhost:1");
    const PACE: Pace = Pace::FREE;

    type Notification = String;

    fn batch_max(_: &String) -> usize {
        1000
    }

    fn sign_in(&self, _: UnixMillis) -> SignIn {
        SignIn::Ask(post("/access", String::new()))
    }

    fn is_over(_: &String, _: UnixMillis) -> bool {
        false
    }

    fn signed_in(&self, response: &Response) -> Result<Access, Outcome> {
        Ok(Access {
            token: String::from_utf8_lossy(&response.body).into_owned(),
            lives: Duration::from_secs(3600),
        })
    }

    fn request(&self, _: &String, tokens: &[&str], _: &str, _: UnixMillis) -> Request {
        post("/send", tokens.join(","))
    }

    fn saving(&self) -> Option<&dyn Saving<String>> {
        self.saves.then_some(self as &dyn Saving<String>)
    }

    fn answer(&self, response: &Response, _: &[&str]) -> Answer {
        let reason = Reason::known("Made");
        match &*response.body {
            b"access" => Answer::AccessRefused(reason),
            b"refused" => Answer::All(Outcome::PayloadRejected { reason }),
            _ => Answer::All(Outcome::Accepted { id: None }),
        }
    }
}

impl Saving<String> for Made {
    fn devices_min(&self) -> usize {
        2
    }

    fn unsaved_max(&self) -> usize {
        1
    }

    fn save(&self, _: &String, _: &str, _: UnixMillis) -> (Request, Duration) {
        (post("/save", String::new()), Duration::from_secs(3600))
    }

    fn saved(&self, response: &Response) -> Result<String, Unsaved> {
        Ok(String::from_utf8_lossy(&response.body).into_owned())
    }

    fn send(&self, _: &String, _: &str, tokens: &[&str], _: &str) -> Request {
        post("/list", tokens.join(","))
    }
}

fn post(path: &str, body: String) -> Request {
    Request {
        path: path.to_owned(),
        headers: Vec::new(),
        body: Bytes::from(body),
    }
}

/// A request that waits for its answer. Dropping it leaves it without one, on a connection that stays.
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) body: String,
    answer: oneshot::Sender<&'static str>,
}

impl Asked {
    /// Answers with 200 and this body.
    pub(crate) fn answer(self, body: &'static str) {
        self.answer.send(body).expect("it waits");
    }
}

/// Takes connections and their requests.
pub(crate) struct Peer {
    asked: mpsc::UnboundedReceiver<Asked>,
    ca: String,
    port: u16,
}

impl Peer {
    pub(crate) async fn listen() -> Self {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let ca = authority.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(authority, key);
        let key = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        let leaf = leaf.signed_by(&key, &issuer).expect("a leaf");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            );
        let acceptor = TlsAcceptor::from(Arc::new(tls.expect("a server")));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (sender, asked) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(serve(acceptor.clone(), tcp, sender.clone()));
            }
        });
        Self { asked, ca, port }
    }

    pub(crate) fn config(&self, protocol: Made) -> Config<Made> {
        let there = format!("https://localhost:{}", self.port);
        Config {
            endpoint: Some(there.clone()),
            token_endpoint: Some(there),
            ca: Some(self.ca.as_bytes().into()),
            ..Config::new(protocol)
        }
    }

    /// The next request, which is for `path`.
    pub(crate) async fn asked(&mut self, path: &str) -> Asked {
        let within = Duration::from_secs(20);
        let asked = timeout(within, self.asked.recv()).await;
        let asked = asked.expect("a request").expect("it listens");
        assert_eq!(asked.path, path, "{}", asked.body);
        asked
    }

    /// Whether nobody has asked for anything more.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.asked.try_recv().is_err()
    }
}

async fn serve(acceptor: TlsAcceptor, tcp: TcpStream, asked: mpsc::UnboundedSender<Asked>) {
    let Ok(mut tls) = acceptor.accept(tcp).await else {
        return;
    };
    let mut read = Vec::new();
    while let Some((path, body)) = request(&mut tls, &mut read).await {
        let (answer, answered) = oneshot::channel();
        if asked.send(Asked { path, body, answer }).is_err() {
            return;
        }
        let Ok(body) = answered.await else {
            // Until the other side goes.
            let _ = tls.read_u8().await;
            return;
        };
        let text = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if tls.write_all(text.as_bytes()).await.is_err() || tls.flush().await.is_err() {
            return;
        }
    }
}

/// The path and the body of the next request; none at the end.
async fn request(tls: &mut TlsStream<TcpStream>, read: &mut Vec<u8>) -> Option<(String, String)> {
    loop {
        let text = String::from_utf8_lossy(read).into_owned();
        if let Some((head, rest)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.trim().parse::<usize>().expect("a number"))
            });
            let length = length.unwrap_or(0);
            if rest.len() >= length {
                let path = head.split(' ').nth(1).expect("a path").to_owned();
                let body = rest[..length].to_owned();
                read.drain(..head.len() + 4 + length);
                return Some((path, body));
            }
        }
        let mut some = [0; 16 * 1024];
        match tls.read(&mut some).await {
            Ok(count) if count > 0 => read.extend(&some[..count]),
            _ => return None,
        }
    }
}
