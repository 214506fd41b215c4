//! What all histories share: the server that is restarted under them, and the simulated Apple.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use http::{Method, Request, StatusCode, header};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tidings_model::UnixMillis;
use tokio::net::TcpStream;
use tokio::sync::{Mutex as AsyncMutex, RwLock, watch};
use tokio::time::{Instant, sleep};

use crate::support::PATIENCE;

const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Deliveries of the simulated Apple in one answer.
const FETCHED_AT_ONCE: usize = 1000;

/// Where the server is, since its latest start: `HOST:PORT` each.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    pub(super) api: String,
    pub(super) link: String,
}

pub(super) struct World {
    pub(super) addresses: watch::Receiver<Addresses>,
    pub(super) admin: String,
    pub(super) apple: AsyncMutex<Apple>,
    /// That nobody uses just now, each with the address at its other end.
    pub(super) connections: Mutex<Vec<(String, SendRequest<Body>)>>,
    /// Of the sandbox, `HOST:PORT`.
    pub(super) control: String,
    /// Held, to read, by calls that must not be repeated; to write, by whoever ends the server.
    pub(super) gate: RwLock<()>,
    pub(super) restarts: Mutex<Vec<Restart>>,
}

/// An end of the server, in milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Restart {
    pub(super) at: i64,
    pub(super) by: End,
    /// When the next one was ready; none while it is not.
    pub(super) ready: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Kill,
    Terminate,
}

pub(super) fn now() -> i64 {
    UnixMillis::now().0
}

impl World {
    pub(super) fn restarts(&self) -> Vec<Restart> {
        self.restarts.lock().expect("no panic").clone()
    }

    /// All that reached the iPhones of an app, up to now.
    pub(super) async fn deliveries(&self, app_key: &str) -> Vec<Delivery> {
        let mut apple = self.apple.lock().await;
        self.catch_up(&mut apple).await;
        apple.by_app.get(app_key).cloned().unwrap_or_default()
    }

    async fn catch_up(&self, apple: &mut Apple) {
        loop {
            let after = apple.after;
            let path = format!("/v1/sandbox/deliveries?after={after}&limit={FETCHED_AT_ONCE}");
            let (_, page) = self.ask_apple(Call::get(&path)).await;
            let page = page["deliveries"].as_array().expect("a list");
            for delivery in page {
                let text = |name: &str| delivery[name].as_str().expect("a text").to_owned();
                let app = text("token")[..24].to_owned();
                let message = &delivery["payload"]["_j_msgid"];
                apple.by_app.entry(app).or_default().push(Delivery {
                    at: delivery["at"].as_i64().expect("a time"),
                    id: text("id"),
                    message: message.to_string(),
                });
                apple.after = delivery["seq"].as_u64().expect("a number");
            }
            if page.len() < FETCHED_AT_ONCE {
                return;
            }
        }
    }
}

/// What the simulated Apple delivered, as far as it has been fetched.
#[derive(Default)]
pub(super) struct Apple {
    after: u64,
    by_app: HashMap<String, Vec<Delivery>>,
}

#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) at: i64,
    pub(super) id: String,
    pub(super) message: String,
}

pub(super) struct Call<'a> {
    pub(super) auth: &'a str,
    pub(super) body: Option<Value>,
    pub(super) method: Method,
    pub(super) path: &'a str,
}

impl<'a> Call<'a> {
    pub(super) fn get(path: &'a str) -> Self {
        Self::new(Method::GET, path, "", None)
    }

    pub(super) fn new(method: Method, path: &'a str, auth: &'a str, body: Option<Value>) -> Self {
        Self {
            auth,
            body,
            method,
            path,
        }
    }
}

impl World {
    /// Asks the server until it answers, through its restarts: what may have been done already is asked for again.
    pub(super) async fn ask(&self, call: Call<'_>) -> (u16, Value) {
        let start = Instant::now();
        loop {
            let api = self.addresses.borrow().api.clone();
            if let Some((status, body)) = self.once(&api, &call).await
                && status != StatusCode::SERVICE_UNAVAILABLE
            {
                return (status.as_u16(), body);
            }
            assert!(start.elapsed() < PATIENCE, "no answer from {}", call.path);
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Asks the simulated Apple.
    pub(super) async fn ask_apple(&self, call: Call<'_>) -> (u16, Value) {
        let answer = self.once(&self.control, &call).await;
        let (status, body) = answer.expect("the sandbox answers");
        (status.as_u16(), body)
    }

    /// None when the connection broke.
    async fn once(&self, address: &str, call: &Call<'_>) -> Option<(StatusCode, Value)> {
        let mut sender = self.connection(address).await?;
        let request = Request::builder()
            .method(&call.method)
            .uri(call.path)
            .header(header::HOST, address)
            .header(header::AUTHORIZATION, call.auth)
            .header(header::CONTENT_TYPE, "application/json");
        let text = call.body.as_ref().map(Value::to_string);
        let request = request.body(Body::from(text.unwrap_or_default()));
        let answer = sender
            .send_request(request.expect("a request"))
            .await
            .ok()?;
        let status = answer.status();
        let bytes = to_bytes(Body::new(answer.into_body()), ANSWER_BYTES_MAX);
        let bytes = bytes.await.ok()?;
        let body = serde_json::from_slice(&bytes);
        let body = body.unwrap_or_else(|_| panic!("{}: not JSON: {bytes:?}", call.path));
        self.idle().push((address.to_owned(), sender));
        Some((status, body))
    }

    /// One that nobody uses and that is open still, or a new one.
    async fn connection(&self, address: &str) -> Option<SendRequest<Body>> {
        loop {
            let found = {
                let mut idle = self.idle();
                let place = idle.iter().rposition(|(to, _)| to == address);
                place.map(|place| idle.swap_remove(place))
            };
            let Some((_, mut sender)) = found else {
                return connect(address).await;
            };
            if sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(String, SendRequest<Body>)>> {
        self.connections.lock().expect("no panic")
    }

    /// The server is another: what was connected to the one before is of no use.
    pub(super) fn hang_up(&self) {
        self.idle().clear();
    }
}

async fn connect(address: &str) -> Option<SendRequest<Body>> {
    let socket = TcpStream::connect(address).await.ok()?;
    socket.set_nodelay(true).ok()?;
    let (sender, connection) = handshake(TokioIo::new(socket)).await.ok()?;
    // Its end is seen by the next call.
    tokio::spawn(async move { drop(connection.await) });
    Some(sender)
}
