//! A server beside a simulated Apple that it does not know by itself.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::sandbox::Sandbox;
use super::server::{App, Server};

/// A sandbox, a server that does not know it by itself, and an app.
pub(crate) struct Stage {
    pub(crate) app: App,
    pub(crate) data: TempDir,
    pub(crate) sandbox: Sandbox,
    pub(crate) server: Server,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let data = TempDir::new().expect("a directory");
        let sandbox = Sandbox::start();
        let server = Server::start(data.path(), None);
        let app = server.app();
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

    pub(crate) fn counts(&self, message: &str) -> Value {
        self.server.counts(&self.app, message)
    }

    pub(crate) fn journey(&self, message: &str, device: &str) -> Value {
        let path = format!("/v1/messages/{message}/devices/{device}");
        self.server
            .call("GET", &path, &self.app.basic(), None)
            .good()
    }
}
