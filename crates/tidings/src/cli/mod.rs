//! The verbs that talk to a running server over its HTTP API.

mod app;
mod credential;
mod device;
mod doctor;
mod message;
mod output;
mod push;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use tidings_model::Secret;

use crate::http_client::Client;
use output::Output;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Manage apps
    #[command(subcommand)]
    App(app::AppVerb),
    /// Manage what an app needs in order to use a provider
    #[command(subcommand)]
    Credential(credential::CredentialVerb),
    /// Look at a device, or forget it
    #[command(subcommand)]
    Device(device::DeviceVerb),
    Doctor(doctor::Doctor),
    /// See what became of a message
    #[command(subcommand)]
    Message(message::MessageVerb),
    /// Send a push
    Push(Box<push::Push>),
}

/// What a verb prints.
#[derive(Debug)]
struct Answer {
    /// Whether the process says so at its end.
    is_well: bool,
    text: String,
}

impl From<String> for Answer {
    fn from(text: String) -> Self {
        Self {
            is_well: true,
            text,
        }
    }
}

impl Verb {
    /// Does it, and prints what the server says; fails with the server's text.
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let Answer { is_well, text } = self.answer().await?;
        match std::io::stdout().write_all(text.as_bytes()) {
            // Whoever reads has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            written => written?,
        }
        Ok(if is_well {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    async fn answer(self) -> Result<Answer> {
        let text = match self {
            Self::App(verb) => verb.answer().await?,
            Self::Credential(verb) => verb.answer().await?,
            Self::Device(verb) => verb.answer().await?,
            Self::Doctor(doctor) => return doctor.answer().await,
            Self::Message(verb) => verb.answer().await?,
            Self::Push(push) => push.answer().await?,
        };
        Ok(text.into())
    }
}

/// Which server, and how to print.
#[derive(Debug, Args)]
pub(crate) struct Remote {
    /// The server's API
    #[arg(
        long,
        env = "TIDINGS_SERVER",
        default_value = "http://127.0.0.1:8650",
        value_name = "URL"
    )]
    server: String,
    /// Certificates (PEM) to trust of the server in place of the public ones
    #[arg(long, env = "TIDINGS_SERVER_CA", value_name = "FILE")]
    server_ca: Option<PathBuf>,
    /// Print the server's answer as JSON
    #[arg(long)]
    json: bool,
}

impl Remote {
    fn client(&self, authorization: Secret) -> Result<Client> {
        let ca = self.server_ca.as_ref().map(|path| {
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
        });
        Client::new(&self.server, ca.transpose()?.as_deref(), authorization)
    }

    fn output(&self) -> Output {
        match self.json {
            true => Output::Json,
            false => Output::Text,
        }
    }
}

/// A server as its administrator sees it.
#[derive(Debug, Args)]
pub(crate) struct AdminRemote {
    #[command(flatten)]
    remote: Remote,
    /// The administrator's token [default: what is in DATA/admin.token]
    #[arg(long, env = "TIDINGS_TOKEN", hide_env_values = true, value_parser = secret)]
    token: Option<Secret>,
    /// The server's data directory
    #[arg(
        long,
        env = "TIDINGS_DATA",
        default_value = "./tidings-data",
        value_name = "DIR"
    )]
    data: PathBuf,
}

impl AdminRemote {
    fn client(&self) -> Result<Client> {
        let token = match &self.token {
            Some(token) => token.clone(),
            None => {
                let path = self.data.join("admin.token");
                let read = std::fs::read_to_string(&path).with_context(|| {
                    format!("no --token is given, and {} cannot be read", path.display())
                });
                Secret::new(read?.trim())
            }
        };
        let authorization = format!("Bearer {}", token.expose());
        self.remote.client(Secret::new(authorization))
    }

    fn output(&self) -> Output {
        self.remote.output()
    }
}

/// An argument that no error and no debugging output may show.
fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}
