//! A sandbox to push to, a network that can be cut before it, and what is asked of both.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidings_broker::{Broker, BrokerConfig, Delivery, Events, Progress, RetryPolicy, Settled};
use tidings_model::Environment;
use tidings_providers::apns::{self, Credential, Notification};
use tidings_sandbox::{DeliveryQuery, Fault, FaultBody, Sandbox, SandboxConfig};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) const TOPIC: &str = "com.example.app";

pub(crate) async fn sandbox() -> Sandbox {
    Sandbox::start(SandboxConfig::default())
        .await
        .expect("a sandbox")
}

/// Waits and time limits that suit a test: short, but not so short that a slow machine meets them.
pub(crate) fn apns_config(sandbox: &Sandbox, addr: SocketAddr) -> apns::Config {
    let credentials = sandbox.credentials();
    let made = &credentials.apns;
    let credential = Credential::from_p8(made.p8.as_bytes(), &made.key_id, &made.team_id);
    let credential = credential.expect("a credential");
    apns::Config {
        endpoint: Some(format!("https://localhost:{}", addr.port())),
        ca: Some(credentials.ca.as_bytes().into()),
        ..apns::Config::new(credential, Environment::Sandbox)
    }
}

pub(crate) fn broker_config() -> BrokerConfig {
    BrokerConfig {
        retry: RetryPolicy {
            base: Duration::from_millis(20),
            cap: Duration::from_millis(200),
            unsent_base: Duration::from_millis(10),
            unsent_cap: Duration::from_millis(100),
            ..RetryPolicy::default()
        },
        ..BrokerConfig::default()
    }
}

pub(crate) fn hello() -> Arc<Notification> {
    Arc::new(Notification::alert(TOPIC, "Hello").expect("a notification"))
}

/// The token of the phone with that number.
pub(crate) fn token(number: usize) -> String {
    format!("{number:064x}")
}

/// Deliveries to the phones 0 to `count`, each tagged with its number.
pub(crate) fn deliveries(count: usize) -> Vec<Delivery<Notification, usize>> {
    let notification = hello();
    let delivery = |number| Delivery {
        notification: Arc::clone(&notification),
        token: token(number).into(),
        id: uuid::Uuid::new_v4(),
        expires: None,
        progress: Progress::default(),
        urgent: false,
        tag: number,
    };
    (0..count).map(delivery).collect()
}

pub(crate) fn fault(sandbox: &Sandbox, body: FaultBody) -> u64 {
    let body = FaultBody {
        provider: "apns".to_owned(),
        ..body
    };
    let fault = Fault::try_from(body).expect("a fault");
    sandbox.faults().add(fault).expect("room for a fault")
}

/// Queues the deliveries and fetches until all of them are settled; fails when one is settled twice.
pub(crate) async fn push(
    broker: &Broker<apns::Config, usize>,
    events: &mut Events<apns::Config, usize>,
    mut deliveries: Vec<Delivery<Notification, usize>>,
) -> HashMap<usize, Settled<usize>> {
    let count = deliveries.len();
    let queueing = async {
        broker
            .queue_many(&mut deliveries)
            .await
            .expect("a running broker");
    };
    let (settled, ()) = tokio::join!(collect(events, count), queueing);
    settled
}

/// Fetches until `count` deliveries are settled.
pub(crate) async fn collect(
    events: &mut Events<apns::Config, usize>,
    count: usize,
) -> HashMap<usize, Settled<usize>> {
    let mut all = HashMap::new();
    let mut some = Vec::new();
    while all.len() < count && events.recv_many(&mut some, 1000).await > 0 {
        for settled in some.drain(..) {
            let before = all.insert(settled.tag, settled);
            assert!(before.is_none(), "settled twice: {before:?}");
        }
    }
    all
}

/// How often each phone got a push.
pub(crate) fn received(sandbox: &Sandbox) -> HashMap<String, usize> {
    let mut received = HashMap::new();
    let mut query = DeliveryQuery {
        limit: 10_000,
        ..DeliveryQuery::default()
    };
    loop {
        let page = sandbox.deliveries().page(&query);
        if page.deliveries.is_empty() {
            return received;
        }
        for delivery in page.deliveries {
            *received.entry(delivery.token.to_string()).or_default() += 1;
        }
        query.after = page.next;
    }
}

/// What the network does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    Fair,
    /// Connections are cut, and none comes about.
    Down,
    /// Nothing gets through, and nobody is told.
    Frozen,
}

/// A network between a client and a sandbox.
pub(crate) struct Network {
    addr: SocketAddr,
    weather: watch::Sender<Weather>,
    open: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Network {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let (weather, seen) = watch::channel(Weather::Fair);
        let open = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&open);
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (seen, counted) = (seen.clone(), Arc::clone(&counted));
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    carry(near, target, seen).await;
                    counted.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Self {
            addr,
            weather,
            open,
            accepting,
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Connections that are open now.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    pub(crate) fn turn(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Carries bytes for as long as the weather stays as it is, and then does as the weather does.
async fn carry(mut near: TcpStream, target: SocketAddr, mut weather: watch::Receiver<Weather>) {
    if *weather.borrow_and_update() == Weather::Down {
        return;
    }
    let Ok(mut far) = TcpStream::connect(target).await else {
        return;
    };
    let frozen = tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => false,
        _ = weather.changed() => *weather.borrow_and_update() == Weather::Frozen,
    };
    if frozen {
        // Held open, and silent, until the weather changes again.
        let _ = weather.changed().await;
    }
}
