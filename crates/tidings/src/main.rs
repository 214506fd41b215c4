//! `tidings`: one push server for every phone.

mod api;
mod cli;
mod clock;
mod config;
mod credentials;
mod dispatch;
mod http_client;
mod providers;
mod receipts;
mod retention;
mod sandbox;
mod serve;
mod supervise;
mod uplinks;
mod verdict;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "tidings",
    version,
    about = "One push server for every phone",
    propagate_version = true
)]
struct Line {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the server
    Serve {
        /// Settings as TOML; the command line and the environment win over it
        #[arg(long, env = "TIDINGS_CONFIG", value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        settings: Box<config::Settings>,
    },
    /// Run the simulated providers alone
    Sandbox {
        /// Address of the providers
        #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDR")]
        listen: SocketAddr,
        /// Address of the control port
        #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDR")]
        control: SocketAddr,
    },
    #[command(flatten)]
    Client(cli::Verb),
}

#[tokio::main]
async fn main() -> ExitCode {
    let line = Line::parse();
    let ran = match line.verb {
        Verb::Serve { config, settings } => match settings.resolve(config.as_deref()) {
            Ok(config) => serve::serve(config).await.map(|()| ExitCode::SUCCESS),
            Err(error) => Err(error),
        },
        Verb::Sandbox { listen, control } => sandbox::serve(listen, control)
            .await
            .map(|()| ExitCode::SUCCESS),
        Verb::Client(verb) => verb.run().await,
    };
    match ran {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tidings: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Line::command().debug_assert();
    }
}
