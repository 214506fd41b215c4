//! Settings of `tidings serve`: the command line, then `TIDINGS_…`, then the TOML file, then the default.

mod log;
mod paths;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Deserialize;
use tidings_store::limits::PAGE_MAX;

/// An hour.
const DRAIN_SECS_MAX: u64 = 3600;
/// Ten years.
const KEPT_DAYS_MAX: u64 = 3660;

pub(crate) use log::{LogFormat, init_log};
pub(crate) use paths::{admin_token, seal_key};

/// Everything that can be set. Each is also `TIDINGS_…` in the environment and a key of the same name (with `_`) in the
/// TOML file.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// Address of the HTTP API [default: 127.0.0.1:8650]
    #[arg(long, env = "TIDINGS_API", value_name = "ADDR")]
    api: Option<SocketAddr>,
    /// Where everything is kept [default: ./tidings-data]
    #[arg(long, env = "TIDINGS_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Seconds that a stopping server gives to what is under way [default: 20]
    #[arg(long, env = "TIDINGS_DRAIN_SECS", value_name = "SECS")]
    drain_secs: Option<u64>,
    /// Calls of JPush's API a minute for each app and family; 0 for any number [default: 0]
    #[arg(long, env = "TIDINGS_CALLS_PER_MINUTE", value_name = "N")]
    calls_per_minute: Option<u32>,
    /// Devices up to which a message goes into their inboxes, and above which into the app's log; for tests [default: 1000]
    #[arg(long, env = "TIDINGS_INBOX_MAX", value_name = "N", hide = true)]
    inbox_max: Option<usize>,
    /// Days for which messages and their ledgers are kept [default: 30]
    #[arg(long, env = "TIDINGS_KEPT_DAYS", value_name = "DAYS")]
    kept_days: Option<u64>,
    /// Address of the link, MQTT over TCP [default: 127.0.0.1:1883]
    #[arg(long, env = "TIDINGS_LINK", value_name = "ADDR")]
    link: Option<SocketAddr>,
    /// What is logged, as `tracing` filters say it [default: info]
    #[arg(long, env = "TIDINGS_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// How it is logged: text or json [default: text]
    #[arg(long, env = "TIDINGS_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// Where others reach the API, as https://HOST: for the addresses that providers send receipts to
    #[arg(long, env = "TIDINGS_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    /// Serve simulated providers, and use them for apps without credentials; with a URL, those of a `tidings sandbox`
    /// whose control port is there
    #[arg(
        long,
        env = "TIDINGS_SANDBOX",
        value_name = "CONTROL_URL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    sandbox: Option<SandboxMode>,
}

/// Which simulated providers are used.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub(crate) enum SandboxMode {
    /// None.
    Off,
    /// Those inside this process.
    Inside,
    /// Those of a `tidings sandbox` with this control URL.
    Elsewhere(String),
}

impl std::str::FromStr for SandboxMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "false" | "0" | "" => Ok(Self::Off),
            "true" | "1" => Ok(Self::Inside),
            url if url.starts_with("http://") => {
                Ok(Self::Elsewhere(url.trim_end_matches('/').to_owned()))
            }
            _ => Err("must be true, false, or the http:// URL of a sandbox's control port".into()),
        }
    }
}

impl TryFrom<toml::Value> for SandboxMode {
    type Error = String;

    fn try_from(value: toml::Value) -> Result<Self, String> {
        match value {
            toml::Value::Boolean(on) => Ok(if on { Self::Inside } else { Self::Off }),
            toml::Value::String(text) => text.parse(),
            _ => Err("sandbox must be true, false, or a URL".into()),
        }
    }
}

/// The settings that hold.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) api: SocketAddr,
    pub(crate) data: PathBuf,
    pub(crate) drain: Duration,
    pub(crate) inbox_max: usize,
    pub(crate) kept: Duration,
    pub(crate) link: SocketAddr,
    pub(crate) log: String,
    pub(crate) log_format: LogFormat,
    pub(crate) calls_per_minute: Option<u32>,
    pub(crate) public_url: Option<String>,
    pub(crate) sandbox: SandboxMode,
}

impl Settings {
    /// Fills in what is not set here from `file`, then from the defaults; refuses what cannot work.
    pub(crate) fn resolve(self, file: Option<&std::path::Path>) -> Result<Config> {
        let from_file = match file {
            None => Self::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                toml::from_str(&text).with_context(|| format!("{} is not right", path.display()))?
            }
        };
        let drain_secs = self.drain_secs.or(from_file.drain_secs).unwrap_or(20);
        ensure!(
            drain_secs <= DRAIN_SECS_MAX,
            "drain_secs is {drain_secs}: what is left goes on at the next start, so {DRAIN_SECS_MAX} are enough"
        );
        let kept_days = self.kept_days.or(from_file.kept_days).unwrap_or(30);
        ensure!(
            (11..=KEPT_DAYS_MAX).contains(&kept_days),
            "kept_days is {kept_days}: a message can wait for ten days, so keep it for 11 to {KEPT_DAYS_MAX}"
        );
        let inbox_max = self.inbox_max.or(from_file.inbox_max).unwrap_or(PAGE_MAX);
        ensure!(
            (1..=PAGE_MAX).contains(&inbox_max),
            "inbox_max is {inbox_max}: it must be 1 to {PAGE_MAX}"
        );
        let public_url = self.public_url.or(from_file.public_url);
        let public_url = public_url.map(|url| url.trim_end_matches('/').to_owned());
        ensure!(
            public_url.as_ref().is_none_or(|url| is_origin(url)),
            "public_url is {:?}: it must be of the form https://HOST",
            public_url.unwrap_or_default()
        );
        Ok(Config {
            api: self
                .api
                .or(from_file.api)
                .unwrap_or_else(|| ([127, 0, 0, 1], 8650).into()),
            data: self
                .data
                .or(from_file.data)
                .unwrap_or_else(|| "./tidings-data".into()),
            drain: Duration::from_secs(drain_secs),
            inbox_max,
            kept: Duration::from_secs(86_400 * kept_days),
            link: self
                .link
                .or(from_file.link)
                .unwrap_or_else(|| ([127, 0, 0, 1], 1883).into()),
            log: self.log.or(from_file.log).unwrap_or_else(|| "info".into()),
            log_format: self
                .log_format
                .or(from_file.log_format)
                .unwrap_or(LogFormat::Text),
            calls_per_minute: self
                .calls_per_minute
                .or(from_file.calls_per_minute)
                .filter(|limit| *limit > 0),
            public_url,
            sandbox: self
                .sandbox
                .or(from_file.sandbox)
                .unwrap_or(SandboxMode::Off),
        })
    }
}

fn is_origin(url: &str) -> bool {
    let host = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    host.is_some_and(|host| {
        !host.is_empty()
            && host
                .bytes()
                .all(|b| b.is_ascii_graphic() && !b"?#@\\\"<>".contains(&b))
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    fn resolve(args: &[&str], toml: &str) -> Result<Config> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), toml)?;
        let line = Line::try_parse_from([&["tidings"], args].concat())?;
        line.settings.resolve(Some(file.path()))
    }

    #[test]
    fn the_command_line_wins_over_the_file_and_the_file_over_the_default() {
        let config = resolve(
            &["--api", "127.0.0.1:1"],
            "api = \"127.0.0.1:2\"\nlink = \"127.0.0.1:3\"\n",
        )
        .expect("good");
        assert_eq!((config.api.port(), config.link.port()), (1, 3));
        assert_eq!(config.data, PathBuf::from("./tidings-data"));
    }

    #[test]
    fn the_sandbox_is_off_inside_or_elsewhere() {
        let cases = [
            (&[][..], "", SandboxMode::Off),
            (&["--sandbox"], "", SandboxMode::Inside),
            (
                &["--sandbox=http://127.0.0.1:9/"],
                "",
                SandboxMode::Elsewhere("http://127.0.0.1:9".into()),
            ),
            (&[], "sandbox = true", SandboxMode::Inside),
            (&["--sandbox=false"], "sandbox = true", SandboxMode::Off),
        ];
        for (args, toml, expected) in cases {
            assert_eq!(
                resolve(args, toml).expect("good").sandbox,
                expected,
                "{args:?} {toml}"
            );
        }
    }

    #[test]
    fn what_cannot_work_is_refused_by_its_name() {
        for (toml, named) in [
            ("sandbx = true", "sandbx"),
            ("kept_days = 3", "kept_days"),
            ("kept_days = 9223372036854775807", "kept_days"),
            ("drain_secs = 9223372036854775807", "drain_secs"),
            ("inbox_max = 1001", "inbox_max"),
            ("api = \"x\"", "api"),
            ("public_url = \"push.example.com\"", "public_url"),
        ] {
            let error = format!("{:#}", resolve(&[], toml).expect_err("refused"));
            assert!(error.contains(named), "{error}");
        }
    }
}
