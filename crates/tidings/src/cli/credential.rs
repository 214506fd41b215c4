//! `tidings credential`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, Subcommand};
use http::Method;
use serde_json::{Value, json};
use tidings_model::{AppKey, Environment, Provider, Secret};

use super::AdminRemote;
use crate::providers::{Field, adapters};

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

/// A verb for each provider; those of the makers have the fields of their credentials.
#[derive(Debug)]
pub(crate) enum SetVerb {
    Apns(Box<SetApns>),
    Maker(Box<SetMaker>),
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
            Self::Set(SetVerb::Maker(set)) => set.answer().await,
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

/// Sets a credential, and tells what the server has of it.
async fn put(remote: &AdminRemote, path: &str, body: &Value) -> Result<String> {
    let reply = remote.client()?.call(Method::PUT, path, Some(body)).await?;
    Ok(remote.output().record(&reply))
}

impl SetApns {
    async fn answer(self) -> Result<String> {
        let path = format!("/v1/apps/{}/credentials/apns", self.app);
        put(&self.remote, &path, &self.body()?).await
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
            body["ca"] = text_of(path)?.into();
        }
        Ok(body)
    }
}

/// Field names are those of the API, here with dashes; what begins with `@` is read from a file.
#[derive(Debug, Args)]
pub(crate) struct SetMaker {
    /// What it is set to, by field.
    #[arg(skip)]
    fields: Vec<(&'static str, Secret)>,
    #[arg(skip = Provider::Link)]
    provider: Provider,
    #[arg(long, value_name = "APP_KEY")]
    app: AppKey,
    /// Where receipts are to go, for a maker that each message tells it (see `tidings app callbacks`)
    #[arg(long, value_name = "URL")]
    callback: Option<String>,
    /// Something else that speaks the maker's protocol, or its host for another region
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Where access tokens are given, if elsewhere
    #[arg(long, value_name = "URL")]
    token_endpoint: Option<String>,
    /// An HTTP proxy that tunnels: `http://HOST:PORT` or `http://USER:PASSWORD@HOST:PORT`
    #[arg(long, env = "TIDINGS_MAKERS_PROXY", hide_env_values = true, value_name = "URL", value_parser = super::secret)]
    proxy: Option<Secret>,
    /// Certificates (PEM) to trust there in place of the public ones
    #[arg(long, value_name = "FILE", requires = "endpoint")]
    ca: Option<PathBuf>,
    /// Phones a second, at most [default: as the maker publishes]
    #[arg(long, value_name = "NUMBER")]
    devices_per_second: Option<u32>,
    /// Requests a second, at most [default: as the maker publishes]
    #[arg(long, value_name = "NUMBER")]
    requests_per_second: Option<u32>,
    #[command(flatten)]
    remote: AdminRemote,
}

impl SetMaker {
    async fn answer(self) -> Result<String> {
        let path = format!("/v1/apps/{}/credentials/{}", self.app, self.provider);
        put(&self.remote, &path, &self.body()?).await
    }

    fn body(&self) -> Result<Value> {
        let mut body = json!({
            "endpoint": self.endpoint,
            "proxy": self.proxy.as_ref().map(Secret::expose),
        });
        // What not every maker has is said only where it is meant.
        for (name, value) in [
            ("callback", &self.callback),
            ("token_endpoint", &self.token_endpoint),
        ] {
            if let Some(value) = value {
                body[name] = value.as_str().into();
            }
        }
        if self.devices_per_second.is_some() || self.requests_per_second.is_some() {
            body["rate"] = json!({
                "devices_per_second": self.devices_per_second,
                "requests_per_second": self.requests_per_second,
            });
        }
        if let Some(path) = &self.ca {
            body["ca"] = text_of(path)?.into();
        }
        for (name, value) in &self.fields {
            body[*name] = match value.expose().strip_prefix('@') {
                Some(path) => text_of(Path::new(path))?.into(),
                None => value.expose().into(),
            };
        }
        Ok(body)
    }
}

impl FromArgMatches for SetVerb {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let missing = || clap::Error::new(ErrorKind::MissingSubcommand);
        let (name, matches) = matches.subcommand().ok_or_else(missing)?;
        let provider: Provider = name.parse().map_err(|_| missing())?;
        if provider == Provider::Apns {
            return Ok(Self::Apns(Box::new(SetApns::from_arg_matches(matches)?)));
        }
        let adapter = crate::providers::adapter(provider).ok_or_else(missing)?;
        let fields = adapter.fields().iter().filter_map(|field| {
            let value = matches.get_one::<Secret>(field.name)?;
            Some((field.name, value.clone()))
        });
        Ok(Self::Maker(Box::new(SetMaker {
            fields: fields.collect(),
            provider,
            ..SetMaker::from_arg_matches(matches)?
        })))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Subcommand for SetVerb {
    fn augment_subcommands(command: Command) -> Command {
        let apns = Command::new(Provider::Apns.name())
            .about("Apple: a push certificate (.p12) or a signing key (.p8)");
        let makers = adapters().filter(|(_, adapter)| !adapter.fields().is_empty());
        let makers = makers.map(|(provider, adapter)| {
            let about = format!(
                "{}: what its console shows of the app",
                provider.nature().title
            );
            let command = SetMaker::augment_args(Command::new(provider.name()).about(about));
            let fields = adapter.fields().iter();
            command.args(fields.map(|field| argument(provider, field)))
        });
        command
            .subcommand_required(true)
            .arg_required_else_help(true)
            .subcommand(SetApns::augment_args(apns))
            .subcommands(makers)
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        let provider = name.parse().ok();
        provider.and_then(crate::providers::adapter).is_some()
    }
}

/// `--app-secret` of Huawei, or `TIDINGS_HUAWEI_APP_SECRET`.
fn argument(provider: Provider, field: &Field) -> Arg {
    let variable = format!("TIDINGS_{provider}_{}", field.name).to_uppercase();
    Arg::new(field.name)
        .long(field.name.replace('_', "-"))
        .help(format!("The {}; @FILE reads it from a file", field.title))
        .value_parser(super::secret)
        .env(variable)
        .hide_env_values(field.is_secret)
        .required(true)
}

fn text_of(path: &Path) -> Result<String> {
    Ok(String::from_utf8_lossy(&read(path)?).into_owned())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
