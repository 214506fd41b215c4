//! How to reach APNs, and how hard to lean on it.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::uri::Authority;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tidings_model::{Environment, Secret};

use crate::apns::connect::Service;
use crate::apns::credential::{Credential, CredentialError};
use crate::apns::proxy::Proxy;

/// What a [`Client`](super::client::Client) is made from. [`Config::new`] gives the defaults that are named at each field.
#[derive(Clone, Debug)]
pub struct Config {
    pub credential: Credential,
    /// Which of Apple's two hosts (Apple, "Sending notification requests to APNs"); also what the credential is
    /// checked against.
    pub environment: Environment,
    /// The topic that the credential has to be good for; none takes what it carries.
    pub topic: Option<String>,
    /// `https://HOST:PORT` of something else that speaks APNs' protocol; none is Apple on port 443. Apple listens on 2197,
    /// too, for firewalls that let nothing else through: `https://api.push.apple.com:2197`.
    pub endpoint: Option<String>,
    /// PEM of the certificates to trust instead of the public roots.
    pub ca: Option<Arc<[u8]>>,
    /// `http://[USER:PASSWORD@]HOST:PORT` of an HTTP proxy that tunnels by CONNECT; none connects directly. It resolves
    /// the host's name.
    pub proxy: Option<Secret>,
    /// Connections at most, 1 to 64; 4 by default. The second is opened when the first has run out of streams.
    pub connections_max: usize,
    /// Streams used at most on one connection, whatever the peer allows; 1,000 by default, which is what Apple has
    /// been seen to allow. It bounds memory: the client holds at most two times this for each connection.
    pub streams_max: usize,
    /// For DNS, TCP, TLS and HTTP/2 together; 10 s by default.
    pub connect_timeout: Duration,
    /// From a request to its answer; 30 s by default.
    pub answer_timeout: Duration,
    /// How long a connection with open streams may be silent before it is asked with a PING; 10 s by default.
    pub silence_max: Duration,
    /// From a PING to its answer; 10 s by default. Then the connection is replaced.
    pub pong_timeout: Duration,
}

impl Config {
    pub const CONNECTIONS_MAX: usize = 64;

    /// Whether `text` is of the form that [`proxy`](Self::proxy) takes.
    pub fn is_proxy(text: &str) -> bool {
        Proxy::parse(text).is_some()
    }

    pub fn new(credential: Credential, environment: Environment) -> Self {
        Self {
            credential,
            environment,
            topic: None,
            endpoint: None,
            ca: None,
            proxy: None,
            connections_max: 4,
            streams_max: 1000,
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(30),
            silence_max: Duration::from_secs(10),
            pong_timeout: Duration::from_secs(10),
        }
    }
}

/// A configuration that cannot work. The text names the field.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("ca: {0}; expected one or more PEM certificates")]
    Ca(String),
    #[error(transparent)]
    Credential(#[from] CredentialError),
    #[error("endpoint: {0:?} is not of the form https://HOST:PORT")]
    Endpoint(String),
    #[error("proxy: is not of the form http://[USER:PASSWORD@]HOST:PORT")]
    Proxy,
    #[error("{field}: {value} is not between 1 and {max}")]
    OutOfRange {
        field: &'static str,
        value: usize,
        max: usize,
    },
    #[error("credential: TLS refuses the certificate and key: {0}")]
    Tls(#[from] rustls::Error),
}

/// Where to connect.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    /// Name or address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) authority: Authority,
    pub(super) server_name: ServerName<'static>,
}

impl Endpoint {
    /// The endpoint that `config` names, or Apple's of its environment.
    pub(super) fn of(config: &Config, service: Service) -> Result<Self, ConfigError> {
        let apple = match (service, config.environment) {
            (Service::Channels, Environment::Production) => {
                "https://api-manage-broadcast.push.apple.com:2196"
            }
            (Service::Channels, Environment::Sandbox) => {
                "https://api-manage-broadcast.sandbox.push.apple.com:2195"
            }
            (Service::Devices, Environment::Production) => "https://api.push.apple.com",
            (Service::Devices, Environment::Sandbox) => "https://api.sandbox.push.apple.com",
        };
        let text = config.endpoint.as_deref().unwrap_or(apple);
        Self::parse(text).ok_or_else(|| ConfigError::Endpoint(text.to_owned()))
    }

    fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let authority = uri.authority()?.clone();
        let plain = uri.scheme_str() == Some("https")
            && matches!(uri.path(), "" | "/")
            && uri.query().is_none()
            && !authority.as_str().contains('@');
        if !plain {
            return None;
        }
        // A port that is out of range would be taken for none.
        let port = match authority.as_str().strip_prefix(authority.host())? {
            "" => 443,
            port => port
                .strip_prefix(':')?
                .parse()
                .ok()
                .filter(|port| *port > 0)?,
        };
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        Some(Self {
            port,
            server_name: ServerName::try_from(host.clone()).ok()?,
            host,
            authority,
        })
    }
}

/// Refuses what is out of range; the text names the field.
pub(super) fn check_range(
    field: &'static str,
    value: usize,
    max: usize,
) -> Result<(), ConfigError> {
    if (1..=max).contains(&value) {
        Ok(())
    } else {
        Err(ConfigError::OutOfRange { field, value, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_https_with_a_host() {
        let named = |text| Endpoint::parse(text).map(|endpoint| (endpoint.host, endpoint.port));
        assert_eq!(
            named("https://localhost:2197"),
            Some(("localhost".to_owned(), 2197))
        );
        assert_eq!(
            named("https://api.push.apple.com/"),
            Some(("api.push.apple.com".to_owned(), 443))
        );
        assert_eq!(named("https://[::1]:8443"), Some(("::1".to_owned(), 8443)));
        for wrong in [
            "",
            "localhost:443",
            "http://localhost",
            "https://",
            "https://a/b",
            "https://u@a",
            "https://a?b",
            "https://a:99999",
            "https://a:0",
            "https://a:",
        ] {
            assert_eq!(named(wrong), None, "{wrong}");
        }
    }
}
