//! How to reach APNs, and how hard to lean on it.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tidings_model::{Environment, Secret};

use crate::apns::connect::Service;
use crate::apns::credential::{Credential, CredentialError};
use crate::net::Endpoint;

/// What a [`Client`](super::client::Client), [`Channels`](super::Channels) or [`Broadcaster`](super::Broadcaster) is
/// made from. [`Config::new`] gives the defaults that are named at each field; what is out of range is a
/// [`ConfigError`] at the start. `Debug` prints no secret.
/// Apple: [Establishing a connection to Apple Push Notification service (APNs)](https://developer.apple.com/documentation/usernotifications/establishing-a-connection-to-apns).
#[derive(Clone, Debug)]
pub struct Config {
    /// The certificate or key that everything is sent with; see [`Credential`].
    pub credential: Credential,
    /// Which of Apple's two hosts: `api.sandbox.push.apple.com` for builds that were signed for development, else
    /// `api.push.apple.com`. Also what a certificate is checked against. A device token is good in one of them only.
    /// Apple: [Sending notification requests to APNs](https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns).
    pub environment: Environment,
    /// The topic that the credential has to be good for, at most 255 bytes; none takes what it carries. It is a check
    /// at the start: what each notification goes to, it says itself.
    pub topic: Option<String>,
    /// `https://HOST:PORT` of something else that speaks APNs' protocol; none is Apple on port 443. Apple listens on
    /// 2197, too, for firewalls that let nothing else through: `https://api.push.apple.com:2197`. Channel management
    /// has hosts and ports of its own, so a configuration with Apple's host here is not for
    /// [`Channels`](super::Channels).
    pub endpoint: Option<String>,
    /// PEM of the certificates to trust instead of the public roots (Mozilla's, as they were when the program was
    /// built).
    pub ca: Option<Arc<[u8]>>,
    /// `http://[USER:PASSWORD@]HOST:PORT` of an HTTP proxy that tunnels by CONNECT (RFC 9110, section 9.3.6); none
    /// connects directly. The port has to be given; user and password may be percent-encoded. It resolves the host's
    /// name.
    pub proxy: Option<Secret>,
    /// Connections at most, 1 to [`CONNECTIONS_MAX`](Self::CONNECTIONS_MAX); 4 by default. Another is opened when
    /// deliveries wait and one has fewer than a tenth of its streams left.
    pub connections_max: usize,
    /// Streams used at most on one connection, whatever the peer allows, 1 to 100,000; 1,000 by default, which is what
    /// Apple has been seen to allow. It bounds memory: the client holds at most two times this for each connection.
    pub streams_max: usize,
    /// For DNS, proxy, TCP, TLS and HTTP/2 together; 10 s by default. Up to 4 addresses of the name are tried, each for
    /// a quarter of it.
    pub connect_timeout: Duration,
    /// From a request to its answer; 30 s by default. Then it is [`Attempt::Unanswered`](crate::Attempt::Unanswered),
    /// and a connection that has answered nothing in this time takes no more.
    pub answer_timeout: Duration,
    /// How long a connection with open streams may be silent before it is asked with a PING; 10 s by default. An idle
    /// one is asked after an hour, as Apple allows.
    pub silence_max: Duration,
    /// From a PING to its answer; 10 s by default. Then the connection is replaced.
    pub pong_timeout: Duration,
}

impl Config {
    /// Connections of one client, at most: 64. Our own bound; Apple names none.
    pub const CONNECTIONS_MAX: usize = 64;

    pub(super) fn check_durations(&self) -> Result<(), ConfigError> {
        for (field, duration) in [
            ("connect_timeout", self.connect_timeout),
            ("answer_timeout", self.answer_timeout),
            ("silence_max", self.silence_max),
            ("pong_timeout", self.pong_timeout),
        ] {
            if duration.is_zero() {
                return Err(ConfigError::Zero { field });
            }
        }
        Ok(())
    }

    /// The defaults, for Apple's own host. Checks nothing.
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

/// A configuration that cannot work, found out before anything is connected. The text names the field.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// `ca` is not PEM, or has no certificate that can be a root.
    #[error("ca: {0}; expected one or more PEM certificates")]
    Ca(String),
    /// The certificate is not good now, in this `environment`, for this `topic`; or `topic` is none. See
    /// [`Credential::check`].
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// `endpoint`, as it was given: no https, or with user, path or query, or without a host.
    #[error("endpoint: {0:?} is not of the form https://HOST:PORT")]
    Endpoint(String),
    /// `proxy` is not of its form. It is not shown, since it may hold a password.
    #[error("proxy: is not of the form http://[USER:PASSWORD@]HOST:PORT")]
    Proxy,
    /// A number is not within its bounds.
    #[error("{field}: {value} is not between 1 and {max}")]
    OutOfRange {
        /// `connections_max` or `streams_max`.
        field: &'static str,
        /// What was asked for.
        value: usize,
        /// The highest that is allowed; the lowest is 1.
        max: usize,
    },
    /// One of the durations is zero: nothing could be done in that time.
    #[error("{field}: is zero; expected a time in which it can be done")]
    Zero {
        /// The field of [`Config`].
        field: &'static str,
    },
    /// The TLS library does not take the certificate and key.
    #[error("credential: TLS refuses the certificate and key: {0}")]
    Tls(#[from] rustls::Error),
}

/// The endpoint that `config` names, or Apple's of its environment.
pub(super) fn endpoint(config: &Config, service: Service) -> Result<Endpoint, ConfigError> {
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
    Endpoint::parse(text).ok_or_else(|| ConfigError::Endpoint(text.to_owned()))
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
