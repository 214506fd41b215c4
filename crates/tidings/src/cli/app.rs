//! `tidings app`.

use anyhow::Result;
use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};
use tidings_model::AppKey;

use super::AdminRemote;
use crate::http_client::Client;

#[derive(Debug, Subcommand)]
pub(crate) enum AppVerb {
    /// Make an app; prints its key and master secret, the secret only this once
    Create {
        name: String,
        #[command(flatten)]
        remote: AdminRemote,
    },
    /// List the apps
    List {
        #[command(flatten)]
        remote: AdminRemote,
    },
    /// Show an app
    Show {
        #[arg(value_name = "APP_KEY")]
        app: AppKey,
        #[command(flatten)]
        remote: AdminRemote,
    },
    /// Give an app another name
    Rename {
        #[arg(value_name = "APP_KEY")]
        app: AppKey,
        name: String,
        #[command(flatten)]
        remote: AdminRemote,
    },
    /// Forget an app with its devices, messages and credentials
    Delete {
        #[arg(value_name = "APP_KEY")]
        app: AppKey,
        #[command(flatten)]
        remote: AdminRemote,
    },
    /// Show where the makers are to send the app's receipts
    Callbacks {
        #[arg(value_name = "APP_KEY")]
        app: AppKey,
        /// Make other addresses; the former ones are good for a day more, those before them no more
        #[arg(long)]
        rotate: bool,
        #[command(flatten)]
        remote: AdminRemote,
    },
    /// Make a new master secret; the old one is void at once
    RotateSecret {
        #[arg(value_name = "APP_KEY")]
        app: AppKey,
        #[command(flatten)]
        remote: AdminRemote,
    },
}

impl AppVerb {
    pub(super) async fn answer(self) -> Result<String> {
        match self {
            Self::Create { name, remote } => {
                let body = json!({"name": name});
                let reply = remote
                    .client()?
                    .call(Method::POST, "/v1/apps", Some(&body))
                    .await?;
                Ok(remote.output().record(&reply))
            }
            Self::List { remote } => list(&remote).await,
            Self::Show { app, remote } => {
                let reply = remote.client()?.get(&format!("/v1/apps/{app}")).await?;
                Ok(remote.output().record(&reply))
            }
            Self::Rename { app, name, remote } => {
                let (path, body) = (format!("/v1/apps/{app}"), json!({"name": name}));
                let reply = remote
                    .client()?
                    .call(Method::PATCH, &path, Some(&body))
                    .await?;
                Ok(remote.output().record(&reply))
            }
            Self::Delete { app, remote } => {
                let path = format!("/v1/apps/{app}");
                let reply = remote.client()?.call(Method::DELETE, &path, None).await?;
                Ok(remote.output().said(&reply, &format!("forgot app {app}")))
            }
            Self::Callbacks {
                app,
                rotate,
                remote,
            } => {
                let (method, more) = match rotate {
                    true => (Method::POST, "/rotate"),
                    false => (Method::GET, ""),
                };
                let path = format!("/v1/apps/{app}/callbacks{more}");
                let reply = remote.client()?.call(method, &path, None).await?;
                Ok(remote.output().record(&reply))
            }
            Self::RotateSecret { app, remote } => {
                let path = format!("/v1/apps/{app}/rotate-secret");
                let reply = remote.client()?.call(Method::POST, &path, None).await?;
                Ok(remote.output().record(&reply))
            }
        }
    }
}

async fn list(remote: &AdminRemote) -> Result<String> {
    let apps = all(&remote.client()?).await?;
    let columns = ["app_key", "created_at", "name"];
    Ok(remote
        .output()
        .list(&json!({"apps": apps}), "apps", &columns))
}

/// All apps, page by page.
pub(super) async fn all(client: &Client) -> Result<Vec<Value>> {
    let mut apps = Vec::new();
    let mut path = "/v1/apps".to_owned();
    loop {
        let mut reply = client.get(&path).await?;
        if let Some(page) = reply["apps"].as_array_mut() {
            apps.append(page);
        }
        match reply["next"].as_str() {
            Some(next) => path = format!("/v1/apps?after={next}"),
            None => return Ok(apps),
        }
    }
}
