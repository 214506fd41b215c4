//! `tidings credential`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};
use tidings_model::{AppKey, Environment, Secret};

use super::AdminRemote;

#[derive(Debug, Subcommand)]
pub(crate) enum CredentialVerb {
    /// Set a credential, replacing the one before
    #[command(subcommand)]
    Set(SetVerb),
    /// Show which credentials an app has
    List {
        #[arg(long, value_name = "APP_KEY")]
        app: AppKey,
        #[command(flatten)]
        remote: AdminRemote,
    },
    /// Forget the credentials for a provider
    Delete {
        /// The provider: apns, huawei and so on
        provider: String,
        #[arg(long, value_name = "APP_KEY")]
        app: AppKey,
        /// sandbox or production [default: both]
        #[arg(long)]
        environment: Option<Environment>,
        #[command(flatten)]
        remote: AdminRemote,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SetVerb {
    /// Apple: a push certificate (.p12) or a signing key (.p8)
    Apns(Box<SetApns>),
}

#[derive(Debug, Args)]
pub(crate) struct SetApns {
    #[arg(long, value_name = "APP_KEY")]
    app: AppKey,
    /// A push certificate with its key
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "p8",
        requires = "environment"
    )]
    p12: Option<PathBuf>,
    /// The password of the .p12
    #[arg(long, env = "TIDINGS_P12_PASSWORD", hide_env_values = true, default_value = "", value_parser = super::secret)]
    password: Secret,
    /// A signing key, as Apple gave it
    #[arg(long, value_name = "FILE", conflicts_with = "p12", requires_all = ["key_id", "team_id", "topic"])]
    p8: Option<PathBuf>,
    /// The ten characters in the name of the .p8
    #[arg(long)]
    key_id: Option<String>,
    /// The ten characters of the developer team
    #[arg(long)]
    team_id: Option<String>,
    /// sandbox or production; a .p8 is good for both
    #[arg(long)]
    environment: Option<Environment>,
    /// The bundle id [default: that of the .p12]
    #[arg(long)]
    topic: Option<String>,
    /// Something other than Apple that speaks its protocol
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// An HTTP proxy that tunnels: `http://HOST:PORT` or `http://USER:PASSWORD@HOST:PORT`
    #[arg(long, env = "TIDINGS_APNS_PROXY", hide_env_values = true, value_name = "URL", value_parser = super::secret)]
    proxy: Option<Secret>,
    /// Certificates (PEM) to trust there in place of the public ones
    #[arg(long, value_name = "FILE", requires = "endpoint")]
    ca: Option<PathBuf>,
    #[command(flatten)]
    remote: AdminRemote,
}

impl CredentialVerb {
    pub(super) async fn answer(self) -> Result<String> {
        match self {
            Self::Set(SetVerb::Apns(set)) => set.answer().await,
            Self::List { app, remote } => {
                let reply = remote
                    .client()?
                    .get(&format!("/v1/apps/{app}/credentials"))
                    .await?;
                let columns = [
                    "provider",
                    "environment",
                    "kind",
                    "topic",
                    "expires_at",
                    "health",
                    "rejected",
                    "until",
                ];
                Ok(remote.output().list(&reply, "credentials", &columns))
            }
            Self::Delete {
                provider,
                app,
                environment,
                remote,
            } => {
                let query = environment
                    .map(|environment| format!("?environment={environment}"))
                    .unwrap_or_default();
                let path = format!("/v1/apps/{app}/credentials/{provider}{query}");
                let reply = remote.client()?.call(Method::DELETE, &path, None).await?;
                Ok(remote
                    .output()
                    .said(&reply, &format!("forgot the credentials for {provider}")))
            }
        }
    }
}

impl SetApns {
    async fn answer(self) -> Result<String> {
        let path = format!("/v1/apps/{}/credentials/apns", self.app);
        let reply = self
            .remote
            .client()?
            .call(Method::PUT, &path, Some(&self.body()?))
            .await?;
        Ok(self.remote.output().record(&reply))
    }

    fn body(&self) -> Result<Value> {
        let mut body = json!({
            "endpoint": self.endpoint,
            "environment": self.environment.map(Environment::name),
            "proxy": self.proxy.as_ref().map(Secret::expose),
            "topic": self.topic,
        });
        if let Some(path) = &self.p12 {
            body["p12"] = STANDARD.encode(read(path)?).into();
            body["password"] = self.password.expose().into();
        }
        if let Some(path) = &self.p8 {
            body["p8"] = STANDARD.encode(read(path)?).into();
            body["key_id"] = self.key_id.as_deref().into();
            body["team_id"] = self.team_id.as_deref().into();
        }
        if let Some(path) = &self.ca {
            body["ca"] = String::from_utf8_lossy(&read(path)?).into();
        }
        Ok(body)
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
