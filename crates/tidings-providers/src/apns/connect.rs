//! An HTTP/2 connection to Apple.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::sign::SingleCertAndKey;
use tidings_model::{Reason, UnixMillis};

use crate::apns::config::{Config, ConfigError, endpoint};
use crate::apns::credential::CredentialKind;
use crate::apns::wire::{Alert, Wire, rejection};
use crate::attempt::Cause;
use crate::net::{DialError, Dialer, Endpoint, Obstacle, Proxy, roots};

/// Bytes of an answer's headers; Apple's are below 200.
const HEADERS_LEN_MAX: u32 = 16 * 1024;

/// Which of Apple's services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// Channel management (Apple, "Sending channel management requests to APNs").
    Channels,
    /// Notifications and broadcasts.
    Devices,
}

/// Opens connections to one endpoint with one credential.
pub(super) struct Connector {
    pub(super) config: Config,
    dialer: Dialer,
    /// What the credential was checked for and is good for; empty for a token that is used for any topic.
    pub(super) topics: Vec<String>,
}

/// A connection that is ready for requests.
pub(super) struct Opened {
    /// Where it leads: the far end, or the proxy in between.
    pub(super) address: SocketAddr,
    pub(super) sender: SendRequest<Bytes>,
    pub(super) connection: client::Connection<Wire, Bytes>,
    pub(super) alert: Alert,
}

/// Why there is no connection.
pub(super) enum ConnectError {
    /// The peer refused the client's certificate.
    Rejected(Reason),
    Failed {
        cause: Cause,
        obstacle: Obstacle,
    },
}

impl Connector {
    /// Checks everything that can be checked without connecting.
    pub(super) fn new(config: Config, service: Service) -> Result<Self, ConfigError> {
        let endpoint = endpoint(&config, service)?;
        config.check_durations()?;
        let proxy = match &config.proxy {
            Some(proxy) => Some(Proxy::parse(proxy.expose()).ok_or(ConfigError::Proxy)?),
            None => None,
        };
        let credential = &config.credential;
        // A token is good for whatever topic its notifications name; a certificate says itself for which.
        let mut topics = Vec::new();
        if config.topic.is_some() || credential.kind() == CredentialKind::Certificate {
            let topic = config.topic.as_deref();
            let summary = credential.check(config.environment, topic, UnixMillis::now())?;
            topics = summary.topics;
        }
        let roots = roots(config.ca.as_deref()).map_err(ConfigError::Ca)?;
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let mut tls = match credential.client_auth() {
            Some(certified) => builder
                .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified.clone()))),
            None => builder.with_no_client_auth(),
        };
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self {
            dialer: Dialer::new(endpoint, proxy, tls, config.connect_timeout),
            topics,
            config,
        })
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.dialer.endpoint
    }

    /// Resolves the name afresh, as Apple asks for, and connects to the first address that takes it.
    pub(super) async fn open(&self) -> Result<Opened, ConnectError> {
        let (address, tls) = self.dialer.dial().await?;
        if tls.get_ref().1.alpn_protocol() != Some(b"h2") {
            let text = format!("{} does not speak HTTP/2", self.endpoint().authority);
            return Err(ConnectError::Failed {
                cause: Cause::TlsFailed(text.into()),
                obstacle: Obstacle::Tls,
            });
        }
        let (wire, alert) = Wire::new(tls);
        let handshake = client::Builder::new()
            .enable_push(false)
            .initial_max_send_streams(1)
            .max_header_list_size(HEADERS_LEN_MAX)
            .handshake(wire)
            .await;
        let (sender, connection) =
            handshake.map_err(|error| DialError::failed(Obstacle::Network, error.to_string()))?;
        Ok(Opened {
            address,
            sender,
            connection,
            alert,
        })
    }
}

impl From<DialError> for ConnectError {
    fn from(error: DialError) -> Self {
        match error.alert.and_then(rejection) {
            Some(reason) => Self::Rejected(reason),
            None => Self::Failed {
                cause: error.cause,
                obstacle: error.obstacle,
            },
        }
    }
}
