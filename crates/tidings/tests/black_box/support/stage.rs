//! A server beside simulated providers, and an app.

use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::sandbox::Sandbox;
use super::server::{App, Server};
use super::wait_for;

/// A sandbox, a server, and an app.
pub(crate) struct Stage {
    pub(crate) app: App,
    pub(crate) data: TempDir,
    pub(crate) sandbox: Sandbox,
    pub(crate) server: Server,
}

impl Stage {
    /// The server does not know the sandbox by itself.
    pub(crate) fn new() -> Self {
        Self::of(Sandbox::start(), false)
    }

    /// Apps without a credential have the sandbox's.
    pub(crate) fn wired() -> Self {
        Self::of(Sandbox::start(), true)
    }

    /// The same, all of it at a time that is ahead by so many milliseconds.
    pub(crate) fn ahead(ahead: i64) -> Self {
        let sandbox = Sandbox::start_ahead(ahead);
        let data = TempDir::new().expect("a directory");
        let server = Server::start_ahead(data.path(), &sandbox.control, ahead);
        Self::beside(sandbox, data, server)
    }

    fn of(sandbox: Sandbox, is_wired: bool) -> Self {
        let data = TempDir::new().expect("a directory");
        let control = is_wired.then_some(sandbox.control.as_str());
        let server = Server::start(data.path(), control);
        Self::beside(sandbox, data, server)
    }

    fn beside(sandbox: Sandbox, data: TempDir, server: Server) -> Self {
        let app = server.app();
        Self {
            app,
            data,
            sandbox,
            server,
        }
    }

    /// As after kill -9: another server with the same data, at the same place.
    pub(crate) fn killed(self) -> Self {
        let Self {
            app,
            data,
            sandbox,
            server,
        } = self;
        let link = server.link.clone();
        server.process.kill();
        let server = Server::start_at(data.path(), Some(&sandbox.control), &link);
        Self {
            app,
            data,
            sandbox,
            server,
        }
    }

    /// Sets the app's credential for the sandbox environment, with what `key` says.
    pub(crate) fn set_credential(&self, key: &Value) -> Value {
        let told = self.sandbox.call("GET", "credentials", None);
        let mut body = json!({
            "environment": "sandbox",
            "topic": "com.example.app",
            "endpoint": self.sandbox.url,
            "ca": told["ca"],
        });
        for (name, value) in key.as_object().expect("an object") {
            body[name] = value.clone();
        }
        let path = format!("/v1/apps/{}/credentials/apns", self.app.key);
        self.server.admin("PUT", &path, Some(&body)).good()
    }

    pub(crate) fn sandbox_key(&self) -> Value {
        let told = self.sandbox.call("GET", "credentials", None);
        let apns = &told["apns"];
        json!({"p8": apns["p8"], "key_id": apns["key_id"], "team_id": apns["team_id"]})
    }

    /// The one credential, as it is listed.
    pub(crate) fn credential(&self) -> Value {
        let path = format!("/v1/apps/{}/credentials", self.app.key);
        self.server.admin("GET", &path, None).good()["credentials"][0].clone()
    }

    /// Pushes an alert to everyone, but for what `more` says.
    pub(crate) fn push(&self, more: &Value) -> String {
        let mut body =
            json!({"platform": "all", "audience": "all", "notification": {"alert": "hello"}});
        for (name, value) in more.as_object().expect("an object") {
            body[name] = value.clone();
        }
        let reply = self
            .server
            .call("POST", "/v3/push", &self.app.basic(), Some(&body));
        reply.good()["msg_id"].as_str().expect("an id").to_owned()
    }

    /// Pushes to devices by their ids.
    pub(crate) fn push_to(&self, ids: &[&str]) -> String {
        self.push(&json!({"audience": {"registration_id": ids}}))
    }

    /// Waits until the message has these counts.
    pub(crate) fn wait_for_counts(&self, message: &str, expected: &[(&str, u64)]) {
        wait_for(&format!("{expected:?}"), || {
            let counts = self.counts(message);
            let is_so = expected
                .iter()
                .all(|(name, count)| counts[*name].as_u64() == Some(*count));
            is_so.then_some(())
        });
    }

    pub(crate) fn counts(&self, message: &str) -> Value {
        self.server.counts(&self.app, message)
    }

    pub(crate) fn journey(&self, message: &str, device: &str) -> Value {
        let path = format!("/v1/messages/{message}/devices/{device}");
        self.server
            .call("GET", &path, &self.app.basic(), None)
            .good()
    }

    /// What `tidings doctor` says: the exit code, and the lines.
    pub(crate) fn doctor(&self, args: &[&str]) -> (Option<i32>, Vec<String>) {
        let Output { status, stdout, .. } = doctor(&self.server.api, &self.data, args);
        let text = String::from_utf8(stdout).expect("text");
        (status.code(), text.lines().map(str::to_owned).collect())
    }
}

pub(crate) fn doctor(server: &str, data: &TempDir, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidings"))
        .args(["doctor", "--server", server, "--data"])
        .arg(data.path())
        .args(args)
        .output()
        .expect("the binary starts")
}
