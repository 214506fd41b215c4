//! The whole API over a real store, call by call.

mod app;
mod check;
mod credential;
mod device;
mod message;
mod push;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Request};
use serde_json::{Value, json};
use tempfile::TempDir;
use tidings_model::Secret;
use tidings_store::{SealKey, Store};
use tokio::sync::mpsc;
use tower::ServiceExt;

use super::{Api, router};
use crate::dispatch::Command;

const ADMIN_TOKEN: &str = "the-admin-token";

/// The API over a store of its own.
struct TestApi {
    commands: mpsc::Receiver<Command>,
    router: Router,
    store: Arc<Store>,
    _dir: TempDir,
}

/// An answer: status, headers, body.
#[derive(Debug)]
struct Answer {
    body: Value,
    headers: HeaderMap,
    status: u16,
}

/// Who calls.
#[derive(Clone, Debug)]
enum As {
    Admin,
    App { key: String, secret: String },
    Device(String),
    Nobody,
}

impl As {
    fn header(&self) -> Option<String> {
        match self {
            Self::Admin => Some(format!("Bearer {ADMIN_TOKEN}")),
            Self::App { key, secret } => Some(format!(
                "Basic {}",
                STANDARD.encode(format!("{key}:{secret}"))
            )),
            Self::Device(secret) => Some(format!("Bearer {secret}")),
            Self::Nobody => None,
        }
    }
}

impl TestApi {
    fn start() -> Self {
        Self::start_limited(None)
    }

    fn start_limited(calls_a_minute: Option<u32>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let key = SealKey::parse(&SealKey::generate()).expect("a key");
        let store = Arc::new(Store::open(dir.path(), key).expect("a store"));
        let (tell, commands) = mpsc::channel(64);
        let admin = Secret::new(ADMIN_TOKEN).hash();
        let api = Api::new(Arc::clone(&store), admin, tell, calls_a_minute);
        Self {
            commands,
            router: router(api, None),
            store,
            _dir: dir,
        }
    }

    async fn call(&self, caller: &As, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(header) = caller.header() {
            request = request.header("authorization", header);
        }
        let request = request.body(body.into()).expect("a request");
        let response = self.router.clone().oneshot(request).await;
        let (parts, body) = response.expect("infallible").into_parts();
        let body = to_bytes(body, 1 << 20).await.expect("a body");
        assert_eq!(
            parts.headers["content-type"], "application/json",
            "{method} {path}"
        );
        Answer {
            body: serde_json::from_slice(&body).expect("JSON"),
            headers: parts.headers,
            status: parts.status.as_u16(),
        }
    }

    async fn send(&self, caller: &As, method: &str, path: &str, body: Value) -> Answer {
        self.call(caller, method, path, body.to_string()).await
    }

    async fn get(&self, caller: &As, path: &str) -> Answer {
        self.call(caller, "GET", path, Body::empty()).await
    }

    /// A new app, as its back end.
    async fn app(&self) -> As {
        let made = self
            .send(&As::Admin, "POST", "/v1/apps", json!({"name": "Shop"}))
            .await;
        assert_eq!(made.status, 201, "{made:?}");
        let text = |key: &str| made.body[key].as_str().expect("a text").to_owned();
        As::App {
            key: text("app_key"),
            secret: text("master_secret"),
        }
    }

    /// A new device: its registration id, and the device as a caller.
    async fn device(&self, app: &As, mut body: Value) -> (String, As) {
        let As::App { key, .. } = app else {
            panic!("{app:?} is no app")
        };
        body["app_key"] = key.as_str().into();
        let made = self.send(&As::Nobody, "POST", "/v1/devices", body).await;
        assert_eq!(made.status, 201, "{made:?}");
        let text = |key: &str| made.body[key].as_str().expect("a text").to_owned();
        (text("registration_id"), As::Device(text("device_secret")))
    }

    async fn link_device(&self, app: &As) -> (String, As) {
        let body = json!({"platform": "android", "channels": [{"provider": "link"}]});
        self.device(app, body).await
    }

    /// What dispatch has been told since this was last asked.
    fn told(&mut self) -> Vec<Command> {
        std::iter::from_fn(|| self.commands.try_recv().ok()).collect()
    }
}

#[track_caller]
fn check(answer: &Answer, status: u16, body: Value) {
    assert_eq!((answer.status, &answer.body), (status, &body));
}

/// A refusal of `/v1` or `/v3`: status, code and text.
#[track_caller]
fn check_refused(answer: &Answer, status: u16, code: impl Into<Value>, message: &str) {
    let error = &answer.body["error"];
    let found = (answer.status, &error["code"], error["message"].as_str());
    assert_eq!(found, (status, &code.into(), Some(message)));
}
