//! A simulated APNs, and a sender that reaches it over a relay that counts its connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidings_model::{Environment, Outcome, Reason};
use tidings_providers::Attempt;
use tidings_providers::apns::{Answers, Client, Config, Credential, Delivery, Notification, Route};
use tidings_sandbox::{Fault, FaultBody, Sandbox, SandboxConfig};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

pub(crate) const BUNDLE: &str = "com.example.app";
/// What a fault says when it tells when to try again.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(7);

pub(crate) struct Stage {
    pub(crate) sandbox: Sandbox,
    relay: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let sandbox = Sandbox::start(SandboxConfig::default()).await;
        let sandbox = sandbox.expect("a sandbox");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let relay = listener.local_addr().expect("an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let (count, to) = (Arc::clone(&connections), sandbox.addr());
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let mut far = TcpStream::connect(to).await.expect("the sandbox");
                tokio::spawn(async move { copy_bidirectional(&mut near, &mut far).await });
            }
        });
        Self {
            sandbox,
            relay,
            connections,
        }
    }

    /// Connections that have been opened so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn token_credential(&self) -> Credential {
        let made = &self.sandbox.credentials().apns;
        let credential = Credential::from_p8(made.p8.as_bytes(), &made.key_id, &made.team_id);
        credential.expect("a credential")
    }

    pub(crate) fn config(&self, credential: Credential) -> Config {
        let ca = self.sandbox.credentials().ca.as_bytes().into();
        Config {
            endpoint: Some(format!("https://localhost:{}", self.relay.port())),
            ca: Some(ca),
            connections_max: 1,
            ..Config::new(credential, Environment::Sandbox)
        }
    }

    pub(crate) fn sender(&self, credential: Credential) -> Sender {
        Sender::start(self.config(credential))
    }

    /// The next `count` requests are refused with that.
    pub(crate) fn refuse(&self, status: u16, reason: &str, count: u64) {
        let retry_after = RETRY_AFTER.as_secs().to_string();
        let body = FaultBody {
            provider: "apns".to_owned(),
            status: Some(status),
            reason: Some(reason.to_owned()),
            headers: [("retry-after".to_owned(), retry_after)].into(),
            count: Some(count),
            ..FaultBody::default()
        };
        let fault = Fault::try_from(body).expect("a fault");
        self.sandbox.faults().add(fault).expect("room for a fault");
    }
}

/// A client, one delivery at a time.
pub(crate) struct Sender {
    client: Client<()>,
    answers: Answers<()>,
}

impl Sender {
    pub(crate) fn start(config: Config) -> Self {
        let (client, answers) = Client::start(config).expect("a client");
        Self { client, answers }
    }

    pub(crate) async fn send(&mut self, token: &str, notification: &Arc<Notification>) -> Attempt {
        let delivery = Delivery {
            token: token.into(),
            id: Uuid::new_v4(),
            notification: Arc::clone(notification),
            route: Route::default(),
            tag: (),
        };
        self.client.submit(delivery).await.expect("an open client");
        let mut all = Vec::new();
        assert_eq!(self.answers.recv_many(&mut all, 2).await, 1);
        all.remove(0).1
    }
}

pub(crate) fn hello(topic: &str) -> Arc<Notification> {
    Arc::new(Notification::alert(topic, "Hello").expect("a notification"))
}

/// A device token of the right form; different for each byte.
pub(crate) fn token(byte: u8) -> String {
    format!("{byte:02x}").repeat(32)
}

/// What is to be done, and Apple's word for why.
pub(crate) fn said(attempt: &Attempt) -> (&'static str, &str) {
    let Attempt::Answered(outcome) = attempt else {
        panic!("no answer: {attempt:?}");
    };
    let kind = match outcome {
        Outcome::Accepted { .. } => "accepted",
        Outcome::CredentialRejected { .. } => "credential",
        Outcome::PayloadRejected { .. } => "payload",
        Outcome::QuotaSpent(_) => "quota",
        Outcome::Retry { after, .. } => {
            assert_eq!(*after, Some(RETRY_AFTER));
            "retry"
        }
        Outcome::Throttled { after, .. } => {
            assert_eq!(*after, Some(RETRY_AFTER));
            "throttled"
        }
        Outcome::Unregistered { .. } => "unregistered",
    };
    (kind, outcome.reason().map_or("", Reason::as_str))
}
