//! Pushes a text to iPhones: the smallest whole program on the library.
//!
//! ```text
//! cargo run -p tidings-broker --example apns_broker -- \
//!     --p12 push.p12 --password secret --environment sandbox --topic com.example.app --text "Hello" TOKEN...
//! ```
//!
//! `--endpoint` and `--ca` point it at something else than Apple, such as `tidings sandbox`.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use tidings_broker::Broker;
use tidings_model::Environment;
use tidings_providers::apns::{Config, Credential, Notification};

/// Pushes a text to iPhones.
#[derive(Parser)]
struct Args {
    /// Push certificate and key, as Keychain Access exports them.
    #[arg(long)]
    p12: PathBuf,
    /// Password of the .p12.
    #[arg(long, default_value = "")]
    password: String,
    /// `sandbox` for builds that were signed for development, else `production`.
    #[arg(long)]
    environment: Environment,
    /// https://HOST:PORT of something else than Apple.
    #[arg(long)]
    endpoint: Option<String>,
    /// PEM of the certificates to trust there.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// The app's bundle id.
    #[arg(long)]
    topic: String,
    #[arg(long)]
    text: String,
    /// Connections at most.
    #[arg(long, default_value_t = 1)]
    scale: usize,
    /// Device tokens, in hexadecimal.
    #[arg(required = true)]
    tokens: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let args = Args::parse();

    // What is wrong with the file, the password, the environment or the topic is said here and in `start`.
    let p12 = fs::read(&args.p12).with_context(|| format!("--p12 {}", args.p12.display()))?;
    let mut config = Config::new(
        Credential::from_p12(&p12, &args.password)?,
        args.environment,
    );
    config.topic = Some(args.topic.clone());
    config.endpoint = args.endpoint;
    config.connections_max = args.scale;
    if let Some(path) = &args.ca {
        let pem = fs::read(path).with_context(|| format!("--ca {}", path.display()))?;
        config.ca = Some(pem.into());
    }
    let notification = Arc::new(Notification::alert(args.topic, &args.text)?);

    // Each delivery ends in one of the two, once.
    let failed = Arc::new(AtomicUsize::new(0));
    let failures = Arc::clone(&failed);
    let mut service = Broker::builder(config)
        .on_success(|delivery| println!("accepted {} {}", delivery.id, delivery.token))
        .on_failure(move |delivery, why| {
            failures.fetch_add(1, Ordering::Relaxed);
            println!("failed {} {}: {why}", delivery.id, delivery.token);
        })
        .start()?;

    // Waits whenever the queue is full, so the list of tokens may be of any length.
    service.queue_all(&notification, args.tokens).await?;

    // Sends what is queued, for half a minute at most. `start` would begin again.
    let report = service.stop(Duration::from_secs(30)).await;
    if report.undelivered > 0 {
        eprintln!("{} were cut short by the deadline", report.undelivered);
    }
    Ok(ExitCode::from(u8::from(failed.load(Ordering::Relaxed) > 0)))
}
