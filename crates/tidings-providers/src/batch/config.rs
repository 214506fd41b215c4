//! What a client is made from.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use thiserror::Error;
use tidings_model::{Secret, Spent};

use crate::batch::{Pace, Protocol, Request};
use crate::net::{Dialer, Endpoint, Proxy, roots, split_url};

/// What a [`Client`](super::Client) is made from. [`Config::new`] gives the defaults that are named at each field; what is
/// out of range is a [`ConfigError`] at the start.
#[derive(Clone, Debug)]
pub struct Config<P> {
    /// The provider's protocol and the app's credential for it.
    pub protocol: P,
    /// `https://HOST:PORT` of something else that speaks the provider's protocol; none is the provider's own.
    pub endpoint: Option<String>,
    /// `https://HOST:PORT/PATH` where access tokens are given, if not by the provider; without a path it is the provider's.
    pub token_endpoint: Option<String>,
    /// PEM of the certificates to trust instead of the public roots (Mozilla's, as they were when the program was built).
    pub ca: Option<Arc<[u8]>>,
    /// `http://[USER:PASSWORD@]HOST:PORT` of an HTTP proxy that tunnels by CONNECT; none connects directly.
    pub proxy: Option<Secret>,
    /// How fast it sends; what the provider publishes by default.
    pub pace: Pace,
    /// Quotas that are known to be used up; none.
    pub spent: Vec<Spent>,
    /// Connections at most, each with one request at a time, 1 to 64; 16 by default. One whose request has had no answer for a
    /// quarter of a second does not count, up to 64 in all.
    pub connections_max: usize,
    /// For DNS, proxy, TCP and TLS together; 10 s by default.
    pub connect_timeout: Duration,
    /// From a request to the whole of its answer; 30 s by default.
    pub answer_timeout: Duration,
}

/// A configuration that cannot work, found out before anything is connected. The text names the field.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// `ca` is not PEM, or has no certificate that can be a root.
    #[error("ca: {0}; expected one or more PEM certificates")]
    Ca(String),
    /// `endpoint` or `token_endpoint`, as it was given.
    #[error("{field}: {value:?} is not of the form https://HOST:PORT")]
    Endpoint {
        /// Which of the two.
        field: &'static str,
        /// What it was.
        value: String,
    },
    /// `proxy` is not of its form. It is not shown, since it may hold a password.
    #[error("proxy: is not of the form http://[USER:PASSWORD@]HOST:PORT")]
    Proxy,
    /// A number is not within its bounds.
    #[error("connections_max: {0} is not between 1 and 64")]
    Connections(usize),
    /// One of the durations is zero: nothing could be done in that time.
    #[error("{0}: is zero; expected a time in which it can be done")]
    Zero(&'static str),
    /// The TLS library does not take the roots.
    #[error("ca: TLS refuses it: {0}")]
    Tls(#[from] rustls::Error),
}

/// The way to where access tokens are given.
pub(super) struct TokenDialer {
    pub(super) dialer: Dialer,
    /// In the place of the protocol's.
    path: Option<String>,
}

impl TokenDialer {
    /// The request as it goes there.
    pub(super) fn led(&self, mut request: Request) -> Request {
        if let Some(path) = &self.path {
            request.path.clone_from(path);
        }
        request
    }
}

impl ConfigError {
    fn endpoint(field: &'static str, value: &str) -> Self {
        Self::Endpoint {
            field,
            value: value.to_owned(),
        }
    }
}

impl<P: Protocol> Config<P> {
    /// Connections of one client, at most: 64.
    pub const CONNECTIONS_MAX: usize = 64;

    /// The defaults, for the provider's own hosts. Checks nothing.
    pub fn new(protocol: P) -> Self {
        Self {
            protocol,
            endpoint: None,
            token_endpoint: None,
            ca: None,
            proxy: None,
            pace: P::PACE,
            spent: Vec::new(),
            connections_max: 16,
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(30),
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if !(1..=Self::CONNECTIONS_MAX).contains(&self.connections_max) {
            return Err(ConfigError::Connections(self.connections_max));
        }
        let durations = [
            ("connect_timeout", self.connect_timeout),
            ("answer_timeout", self.answer_timeout),
        ];
        match durations.iter().find(|(_, duration)| duration.is_zero()) {
            Some((field, _)) => Err(ConfigError::Zero(field)),
            None => Ok(()),
        }
    }

    /// The way to the provider.
    pub(super) fn dialer(&self) -> Result<Dialer, ConfigError> {
        let text = self.endpoint.as_deref().unwrap_or(P::ENDPOINT);
        let endpoint = Endpoint::parse(text);
        self.dialer_to(endpoint.ok_or_else(|| ConfigError::endpoint("endpoint", text))?)
    }

    /// The way to where access tokens are given, if there is such a place.
    pub(super) fn token_dialer(&self) -> Result<Option<TokenDialer>, ConfigError> {
        let Some(own) = P::TOKEN_ENDPOINT else {
            return Ok(None);
        };
        let text = self.token_endpoint.as_deref().unwrap_or(own);
        let parts = split_url(text);
        let (endpoint, path) =
            parts.ok_or_else(|| ConfigError::endpoint("token_endpoint", text))?;
        let dialer = self.dialer_to(endpoint)?;
        Ok(Some(TokenDialer { dialer, path }))
    }

    fn dialer_to(&self, endpoint: Endpoint) -> Result<Dialer, ConfigError> {
        let proxy = match &self.proxy {
            Some(proxy) => Some(Proxy::parse(proxy.expose()).ok_or(ConfigError::Proxy)?),
            None => None,
        };
        let roots = roots(self.ca.as_deref()).map_err(ConfigError::Ca)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Dialer::new(endpoint, proxy, tls, self.connect_timeout))
    }
}
