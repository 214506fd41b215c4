//! What a back end and an administrator do.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Registrations under way at once: they share commits.
const REGISTRARS: usize = 48;

pub(crate) struct Backend {
    agent: ureq::Agent,
    api: String,
    pub(crate) app_key: String,
    basic: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) id: String,
    pub(crate) secret: String,
}

impl Backend {
    /// With an app of its own.
    pub(crate) fn new(api: &str, admin_token: &str) -> Result<Self> {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .into();
        let auth = format!("Bearer {admin_token}");
        let app = call(
            &agent,
            "POST",
            &format!("{api}/v1/apps"),
            &auth,
            Some(&json!({"name": "bench"})),
        )?;
        let text =
            |field: &str| Ok::<_, anyhow::Error>(app[field].as_str().context("no app")?.to_owned());
        let (app_key, secret) = (text("app_key")?, text("master_secret")?);
        let basic = format!("Basic {}", STANDARD.encode(format!("{app_key}:{secret}")));
        Ok(Self {
            agent,
            api: api.to_owned(),
            app_key,
            basic,
        })
    }

    /// Another app of the same server.
    pub(crate) fn another(&self, admin_token: &str) -> Result<Self> {
        Self::new(&self.api, admin_token)
    }

    /// Registers `count` devices, each with the channel that `channel` says for its number.
    pub(crate) fn register(
        &self,
        platform: &str,
        count: usize,
        channel: impl Fn(usize) -> Value + Sync,
    ) -> Result<Vec<Device>> {
        let body = |number| json!({"platform": platform, "channels": [channel(number)]});
        self.register_as(count, body)
    }

    /// Registers `count` devices, each as `body` says for its number.
    pub(crate) fn register_as(
        &self,
        count: usize,
        body: impl Fn(usize) -> Value + Sync,
    ) -> Result<Vec<Device>> {
        let next = AtomicUsize::new(0);
        let registered = Mutex::new(Vec::with_capacity(count));
        let work = || -> Result<()> {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok(());
                }
                let mut body = body(number);
                body["app_key"] = self.app_key.as_str().into();
                let device = call(
                    &self.agent,
                    "POST",
                    &format!("{}/v1/devices", self.api),
                    "",
                    Some(&body),
                )?;
                let text = |field: &str| {
                    Ok::<_, anyhow::Error>(device[field].as_str().context("no id")?.to_owned())
                };
                let device = Device {
                    id: text("registration_id")?,
                    secret: text("device_secret")?,
                };
                registered
                    .lock()
                    .expect("nobody panics with it")
                    .push((number, device));
            }
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..REGISTRARS).map(|_| scope.spawn(work)).collect();
            workers
                .into_iter()
                .try_for_each(|worker| worker.join().expect("no panic"))
        })?;
        let mut devices = registered.into_inner().expect("nobody panics with it");
        devices.sort_by_key(|(number, _)| *number);
        Ok(devices.into_iter().map(|(_, device)| device).collect())
    }

    pub(crate) fn push_to_all(&self, alert: &str) -> Result<String> {
        self.push(&json!("all"), alert)
    }

    /// Pushes a notification to an audience in JPush's form; the id of the message.
    pub(crate) fn push(&self, audience: &Value, alert: &str) -> Result<String> {
        let body =
            json!({"platform": "all", "audience": audience, "notification": {"alert": alert}});
        let reply = call(
            &self.agent,
            "POST",
            &format!("{}/v3/push", self.api),
            &self.basic,
            Some(&body),
        )
        .with_context(|| format!("a push to {audience}"))?;
        Ok(reply["msg_id"].as_str().context("no msg_id")?.to_owned())
    }

    /// A call with another proof than the app's.
    pub(crate) fn call_as(&self, bearer: &str, method: &str, path: &str) -> Result<Value> {
        let auth = format!("Bearer {bearer}");
        call(
            &self.agent,
            method,
            &format!("{}{path}", self.api),
            &auth,
            None,
        )
    }

    /// Puts something with another proof than the app's.
    pub(crate) fn put_as(&self, bearer: &str, path: &str, body: &Value) -> Result<()> {
        let (auth, url) = (format!("Bearer {bearer}"), format!("{}{path}", self.api));
        call(&self.agent, "PUT", &url, &auth, Some(body)).map(drop)
    }

    /// What there is to tell of a message.
    pub(crate) fn message(&self, message: &str) -> Result<Value> {
        let url = format!("{}/v1/messages/{message}", self.api);
        call(&self.agent, "GET", &url, &self.basic, None)
    }
}

/// Sends a request; fails unless the answer is good.
pub(crate) fn call(
    agent: &ureq::Agent,
    method: &str,
    url: &str,
    auth: &str,
    body: Option<&Value>,
) -> Result<Value> {
    let request = http::Request::builder()
        .method(method)
        .uri(url)
        .header("authorization", auth);
    let request = request.body(body.map(Value::to_string).unwrap_or_default())?;
    let mut response = agent
        .run(request)
        .with_context(|| format!("{method} {url}"))?;
    let text = response
        .body_mut()
        .with_config()
        .limit(64 << 20)
        .read_to_string()?;
    ensure!(
        response.status().is_success(),
        "{method} {url}: {} {text}",
        response.status()
    );
    Ok(serde_json::from_str(&text)?)
}
