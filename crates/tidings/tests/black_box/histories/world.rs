//! What all histories share: the server that is restarted under them, and the simulated Apple.

use std::collections::HashMap;
use std::sync::Mutex;
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
        apple.catch_up(&self.control).await;
        apple.by_app.get(app_key).cloned().unwrap_or_default()
    }
}

/// What the simulated Apple delivered.
pub(super) struct Apple {
    after: u64,
    by_app: HashMap<String, Vec<Delivery>>,
    caller: Caller,
}

#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) at: i64,
    pub(super) id: String,
    pub(super) message: String,
}

impl Apple {
    pub(super) fn new() -> Self {
        Self {
            after: 0,
            by_app: HashMap::new(),
            caller: Caller::default(),
        }
    }

    async fn catch_up(&mut self, control: &str) {
        loop {
            let path = format!("/v1/sandbox/deliveries?after={}&limit=10000", self.after);
            let answer = self.caller.once(control, &Call::get(&path)).await;
            let (_, page) = answer.expect("the sandbox answers");
            let page = page["deliveries"].as_array().expect("a list");
            if page.is_empty() {
                return;
            }
            for delivery in page {
                let text = |name: &str| delivery[name].as_str().expect("a text").to_owned();
                let app = text("token")[..24].to_owned();
                let message = &delivery["payload"]["_j_msgid"];
                self.by_app.entry(app).or_default().push(Delivery {
                    at: delivery["at"].as_i64().expect("a time"),
                    id: text("id"),
                    message: message.to_string(),
                });
                self.after = delivery["seq"].as_u64().expect("a number");
            }
        }
    }
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

/// A client with one connection, which is made anew when it breaks.
#[derive(Default)]
pub(super) struct Caller {
    connection: Option<(String, SendRequest<Body>)>,
}

impl Caller {
    /// Asks the server until it answers, through its restarts: what may have been done already is asked for again.
    pub(super) async fn ask(&mut self, world: &World, call: Call<'_>) -> (u16, Value) {
        let start = Instant::now();
        loop {
            let api = world.addresses.borrow().api.clone();
            if let Some((status, body)) = self.once(&api, &call).await
                && status != StatusCode::SERVICE_UNAVAILABLE
            {
                return (status.as_u16(), body);
            }
            assert!(start.elapsed() < PATIENCE, "no answer from {}", call.path);
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// None when the connection broke.
    pub(super) async fn once(
        &mut self,
        address: &str,
        call: &Call<'_>,
    ) -> Option<(StatusCode, Value)> {
        let mut sender = match self.connection.take() {
            Some((to, sender)) if to == address && !sender.is_closed() => sender,
            Some(_) | None => connect(address).await?,
        };
        let request = Request::builder()
            .method(&call.method)
            .uri(call.path)
            .header(header::HOST, address)
            .header(header::AUTHORIZATION, call.auth)
            .header(header::CONTENT_TYPE, "application/json");
        let text = call.body.as_ref().map(Value::to_string);
        let request = request.body(Body::from(text.unwrap_or_default()));
        sender.ready().await.ok()?;
        let answer = sender
            .send_request(request.expect("a request"))
            .await
            .ok()?;
        let status = answer.status();
        let bytes = to_bytes(Body::new(answer.into_body()), ANSWER_BYTES_MAX);
        let bytes = bytes.await.ok()?;
        let body = serde_json::from_slice(&bytes);
        let body = body.unwrap_or_else(|_| panic!("{}: not JSON: {bytes:?}", call.path));
        self.connection = Some((address.to_owned(), sender));
        Some((status, body))
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
