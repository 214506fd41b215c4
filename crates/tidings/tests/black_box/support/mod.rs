//! What the tests start and ask.

pub(crate) mod line;
pub(crate) mod maker;
pub(crate) mod phone;
pub(crate) mod process;
pub(crate) mod registry;
pub(crate) mod sandbox;
pub(crate) mod server;
pub(crate) mod stage;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longer than anything takes on a busy machine: what is waited for this long does not come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Asks now and then until there is an answer.
pub(crate) fn wait_for<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    wait_for_every(Duration::from_millis(20), what, ask)
}

/// Asks at once again and again, not to miss the moment.
pub(crate) fn catch<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    wait_for_every(Duration::ZERO, what, ask)
}

fn wait_for_every<T>(between: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        pause(between);
    }
}

/// Lets time pass: between two questions, or because the time itself is what is tested.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where tests wait for time"
)]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// An answer of an HTTP API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: Value,
    pub(crate) status: u16,
}

impl Answer {
    /// The body of an answer that must be good.
    #[track_caller]
    pub(crate) fn good(self) -> Value {
        assert!(
            (200..300).contains(&self.status),
            "{} {}",
            self.status,
            self.body
        );
        self.body
    }
}

/// A client that keeps its connections.
pub(crate) fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into()
}

/// Sends a request with or without a JSON body.
pub(crate) fn call(
    agent: &ureq::Agent,
    method: &str,
    url: &str,
    auth: &str,
    body: Option<&Value>,
) -> Answer {
    let request = http::Request::builder()
        .method(method)
        .uri(url)
        .header("authorization", auth);
    let request = request.header("content-type", "application/json");
    let text = body.map(Value::to_string).unwrap_or_default();
    let request = request.body(text).expect("a request");
    let mut response = agent
        .run(request)
        .unwrap_or_else(|error| panic!("{method} {url}: {error}"));
    let text = response.body_mut().read_to_string().expect("a body");
    let body = serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("{method} {url}: not JSON: {text:?}"));
    Answer {
        body,
        status: response.status().as_u16(),
    }
}

/// Where `tests/clients/setup.sh` put the clients that others wrote.
pub(crate) fn clients() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let clients = std::env::var_os("TIDINGS_CLIENTS_DIR")
        .map_or_else(|| root.join("target/clients"), PathBuf::from);
    assert!(
        clients.join("stamp").exists(),
        "the clients are not there: run tests/clients/setup.sh"
    );
    clients
}
