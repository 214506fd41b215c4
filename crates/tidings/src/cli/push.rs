//! `tidings push`.

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{ArgGroup, Args};
use http::Method;
use serde_json::{Value, json};
use tidings_model::{AppKey, Platform, Secret};

use super::Remote;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("to").required(true).multiple(true), group = ArgGroup::new("what").required(true).multiple(true))]
pub(crate) struct Push {
    #[arg(long, value_name = "APP_KEY")]
    app: AppKey,
    /// The app's master secret
    #[arg(long, env = "TIDINGS_MASTER_SECRET", hide_env_values = true, value_parser = super::secret)]
    secret: Secret,
    /// To every device of the app
    #[arg(long, group = "to", conflicts_with_all = ["registration_id", "alias", "tag"])]
    all: bool,
    /// To these devices; several kinds of targets narrow each other
    #[arg(long, group = "to")]
    registration_id: Vec<String>,
    /// To the devices of these users
    #[arg(long, group = "to")]
    alias: Vec<String>,
    /// To the devices with one of these tags
    #[arg(long, group = "to")]
    tag: Vec<String>,
    /// Only to this platform; may be repeated
    #[arg(long)]
    platform: Vec<Platform>,
    /// The text that is shown
    #[arg(long, group = "what")]
    alert: Option<String>,
    /// A title above the text
    #[arg(long, requires = "alert")]
    title: Option<String>,
    /// A custom message, which is given to the app and not shown
    #[arg(long, group = "what", value_name = "CONTENT")]
    message: Option<String>,
    /// How long it waits for devices that are away, in seconds [default: a day]
    #[arg(long, value_name = "SECONDS")]
    time_to_live: Option<u32>,
    /// A key of your own: a second push with the same is not sent
    #[arg(long)]
    cid: Option<String>,
    /// Check it only, and send nothing
    #[arg(long)]
    validate: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Push {
    pub(super) async fn answer(self) -> Result<String> {
        let credentials = STANDARD.encode(format!("{}:{}", self.app, self.secret.expose()));
        let client = self
            .remote
            .client(Secret::new(format!("Basic {credentials}")))?;
        let path = if self.validate {
            "/v3/push/validate"
        } else {
            "/v3/push"
        };
        let reply = client.call(Method::POST, path, Some(&self.body())).await?;
        Ok(self.remote.output().record(&reply))
    }

    fn body(&self) -> Value {
        let audience = match self.all {
            true => json!("all"),
            false => {
                json!({"alias": self.alias, "registration_id": self.registration_id, "tag": self.tag})
            }
        };
        let platform = match self.platform.as_slice() {
            [] => json!("all"),
            platforms => platforms.iter().map(|platform| platform.name()).collect(),
        };
        let mut body = json!({"audience": audience, "platform": platform, "options": {}});
        if let Some(alert) = &self.alert {
            body["notification"] = json!({"alert": alert});
            if let Some(title) = &self.title {
                body["notification"]["android"] = json!({"alert": alert, "title": title});
                body["notification"]["ios"] = json!({"alert": {"title": title, "body": alert}});
            }
        }
        if let Some(content) = &self.message {
            body["message"] = json!({"msg_content": content});
        }
        if let Some(secs) = self.time_to_live {
            body["options"]["time_to_live"] = secs.into();
        }
        if let Some(cid) = &self.cid {
            body["cid"] = cid.as_str().into();
        }
        body
    }
}
