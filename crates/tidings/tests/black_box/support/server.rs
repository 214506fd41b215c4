//! A `tidings serve` process, and what a back end and a device ask it.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::process::Process;
use super::{Answer, agent, call};

/// Registrations at once: they share commits.
const REGISTRARS: usize = 32;

pub(crate) struct Server {
    agent: ureq::Agent,
    admin: String,
    pub(crate) api: String,
    /// `HOST:PORT`
    pub(crate) link: String,
    pub(crate) process: Process,
}

#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) key: String,
    pub(crate) secret: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) id: String,
    pub(crate) secret: String,
}

impl App {
    /// The `Authorization` of its back end.
    pub(crate) fn basic(&self) -> String {
        format!(
            "Basic {}",
            STANDARD.encode(format!("{}:{}", self.key, self.secret))
        )
    }
}

impl Server {
    /// With the sandbox whose control port is `control`, or without any.
    pub(crate) fn start(data: &Path, control: Option<&str>) -> Self {
        Self::start_at(data, control, "127.0.0.1:0")
    }

    /// One whose files can be limited ([`Process::limit_files`]).
    pub(crate) fn start_limitable(data: &Path) -> Self {
        Self::of(
            data,
            Process::start_limitable(&args(data, None, "127.0.0.1:0")),
        )
    }

    /// One whose clock is ahead by so many milliseconds.
    pub(crate) fn start_ahead(data: &Path, control: &str, ahead: i64) -> Self {
        let args = args(data, Some(control), "127.0.0.1:0");
        Self::of(data, Process::start_ahead(ahead, &args))
    }

    /// One for whose apps a few devices are many: what is for more than one goes into the log.
    pub(crate) fn start_with_log(data: &Path, control: Option<&str>) -> Self {
        let mut args = args(data, control, "127.0.0.1:0");
        args.push("--inbox-max=1".into());
        Self::of(data, Process::start(&args))
    }

    pub(crate) fn start_at(data: &Path, control: Option<&str>, link: &str) -> Self {
        Self::of(data, Process::start(&args(data, control, link)))
    }

    fn of(data: &Path, process: Process) -> Self {
        let link = process.ready["link"]
            .strip_prefix("mqtt://")
            .expect("an address")
            .to_owned();
        let admin = std::fs::read_to_string(data.join("admin.token")).expect("a token");
        let (api, admin) = (
            process.ready["api"].clone(),
            format!("Bearer {}", admin.trim()),
        );
        Self {
            agent: agent(),
            admin,
            api,
            link,
            process,
        }
    }

    pub(crate) fn call(
        &self,
        method: &str,
        path: &str,
        auth: &str,
        body: Option<&Value>,
    ) -> Answer {
        call(
            &self.agent,
            method,
            &format!("{}{path}", self.api),
            auth,
            body,
        )
    }

    pub(crate) fn admin(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.call(method, path, &self.admin, body)
    }

    /// What `GET /metrics` says.
    pub(crate) fn metrics(&self) -> String {
        let request = self.agent.get(format!("{}/metrics", self.api));
        let answer = request.header("authorization", &self.admin).call();
        let mut answer = answer.expect("an answer");
        answer.body_mut().read_to_string().expect("a text")
    }

    pub(crate) fn app(&self) -> App {
        let app = self
            .admin("POST", "/v1/apps", Some(&json!({"name": "test"})))
            .good();
        let text = |field: &str| app[field].as_str().expect("a text").to_owned();
        App {
            key: text("app_key"),
            secret: text("master_secret"),
        }
    }

    pub(crate) fn register(&self, body: &Value) -> Device {
        let device = self.call("POST", "/v1/devices", "", Some(body)).good();
        let text = |field: &str| device[field].as_str().expect("a text").to_owned();
        Device {
            id: text("registration_id"),
            secret: text("device_secret"),
        }
    }

    /// Registers `count` devices, each as `body` says for its number.
    pub(crate) fn register_many(
        &self,
        count: usize,
        body: impl Fn(usize) -> Value + Sync,
    ) -> Vec<Device> {
        let next = AtomicUsize::new(0);
        let devices: Arc<Mutex<Vec<(usize, Device)>>> = Arc::default();
        std::thread::scope(|scope| {
            for _ in 0..REGISTRARS {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            return;
                        }
                        let device = self.register(&body(number));
                        devices.lock().expect("no panic").push((number, device));
                    }
                });
            }
        });
        let mut devices = std::mem::take(&mut *devices.lock().expect("no panic"));
        devices.sort_by_key(|(number, _)| *number);
        devices.into_iter().map(|(_, device)| device).collect()
    }

    pub(crate) fn register_iphones(&self, app: &App, count: usize) -> Vec<Device> {
        self.register_many(count, |number| iphone(app, number))
    }

    pub(crate) fn register_link(&self, app: &App, count: usize) -> Vec<Device> {
        self.register_many(count, |_| on_link(app))
    }

    /// Pushes an alert to everyone; returns the message's id.
    pub(crate) fn push_to_all(&self, app: &App, alert: &str) -> String {
        let body = json!({"platform": "all", "audience": "all", "notification": {"alert": alert}});
        let reply = self
            .call("POST", "/v3/push", &app.basic(), Some(&body))
            .good();
        reply["msg_id"].as_str().expect("an id").to_owned()
    }

    pub(crate) fn counts(&self, app: &App, message: &str) -> Value {
        self.call(
            "GET",
            &format!("/v1/messages/{message}"),
            &app.basic(),
            None,
        )
        .good()["counts"]
            .clone()
    }
}

fn args(data: &Path, control: Option<&str>, link: &str) -> Vec<String> {
    let mut args = vec![
        "serve".to_owned(),
        "--data".into(),
        data.display().to_string(),
    ];
    args.extend(["--api", "127.0.0.1:0", "--link", link].map(String::from));
    args.extend(control.map(|control| format!("--sandbox={control}")));
    args
}

/// The token of the phone with a number.
pub(crate) fn token(number: usize) -> String {
    format!("{number:064x}")
}

pub(crate) fn iphone(app: &App, number: usize) -> Value {
    json!({"app_key": app.key, "platform": "ios", "channels": [{"provider": "apns", "token": token(number)}]})
}

pub(crate) fn on_link(app: &App) -> Value {
    json!({"app_key": app.key, "platform": "android", "channels": [{"provider": "link"}]})
}
