//! From a host name to an HTTP/2 connection.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};
use tidings_model::{Reason, UnixMillis};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::apns::config::{Config, ConfigError, Endpoint};
use crate::apns::credential::CredentialKind;
use crate::apns::proxy::Proxy;
use crate::apns::wire::{Alert, Wire, alert_in, rejection, tls_error_in};
use crate::attempt::Cause;

/// Bytes of an answer's headers; Apple's are below 200.
const HEADERS_LEN_MAX: u32 = 16 * 1024;

/// Addresses of a host that are tried for one connection; each has its part of the time.
const ADDRESSES_MAX: u32 = 4;

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
    pub(super) endpoint: Endpoint,
    proxy: Option<Proxy>,
    tls: TlsConnector,
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

/// What is in the way of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// It was there, and ended before the answer.
    Lost,
    /// The endpoint's name cannot be resolved, or has no address.
    Name,
    /// No packet gets there, or the connection broke before TLS was set up.
    Network,
    /// The proxy cannot be reached, or does not connect further.
    Proxy,
    /// Nothing listens at the endpoint.
    Refused,
    /// Nobody answered within [`Config::connect_timeout`].
    Silence,
    /// The two ends found no way to speak TLS and HTTP/2.
    Tls,
    /// The certificate that the endpoint showed is not trusted.
    Untrusted,
}

impl Connector {
    /// Checks everything that can be checked without connecting.
    pub(super) fn new(config: Config, service: Service) -> Result<Self, ConfigError> {
        let endpoint = Endpoint::of(&config, service)?;
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
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots(config.ca.as_deref())?);
        let mut tls = match credential.client_auth() {
            Some(certified) => builder
                .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified.clone()))),
            None => builder.with_no_client_auth(),
        };
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self {
            tls: TlsConnector::from(Arc::new(tls)),
            endpoint,
            proxy,
            topics,
            config,
        })
    }

    /// Resolves the name afresh, as Apple asks for, and connects to the first address that takes it.
    pub(super) async fn open(&self) -> Result<Opened, ConnectError> {
        let within = self.config.connect_timeout;
        timeout(within, self.try_open()).await.unwrap_or_else(|_| {
            let text = format!(
                "no connection to {} within {within:?}",
                self.endpoint.authority
            );
            let obstacle = match self.proxy {
                Some(_) => Obstacle::Proxy,
                None => Obstacle::Silence,
            };
            Err(ConnectError::failed(obstacle, text))
        })
    }

    async fn try_open(&self) -> Result<Opened, ConnectError> {
        let tcp = self.tcp().await.map_err(|(obstacle, error)| {
            ConnectError::failed(obstacle, format!("{}: {error}", self.endpoint.authority))
        })?;
        let broken = |error: &dyn Error| ConnectError::failed(Obstacle::Network, error.to_string());
        // Small frames must not wait for the acknowledgement of those before.
        tcp.set_nodelay(true).map_err(|error| broken(&error))?;
        let address = tcp.peer_addr().map_err(|error| broken(&error))?;
        let server_name = self.endpoint.server_name.clone();
        let tls = self.tls.connect(server_name, tcp).await;
        let tls = tls.map_err(|error| ConnectError::tls(&error))?;
        if tls.get_ref().1.alpn_protocol() != Some(b"h2") {
            let text = format!("{} does not speak HTTP/2", self.endpoint.authority);
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
        let (sender, connection) = handshake.map_err(|error| broken(&error))?;
        Ok(Opened {
            address,
            sender,
            connection,
            alert,
        })
    }

    /// A way to the endpoint: its own, or a proxy's tunnel.
    async fn tcp(&self) -> Result<TcpStream, (Obstacle, io::Error)> {
        let Endpoint {
            host,
            port,
            authority,
            ..
        } = &self.endpoint;
        match &self.proxy {
            None => self.tcp_to(host, *port).await,
            Some(proxy) => {
                let tunnel = async {
                    let tcp = self.tcp_to(&proxy.host, proxy.port).await;
                    let tcp = tcp.map_err(|(_, error)| error)?;
                    proxy.tunnel(tcp, authority, *port).await
                };
                tunnel.await.map_err(|error| (Obstacle::Proxy, error))
            }
        }
    }

    /// Tries some of the addresses in turn, so that one which is silent does not use up all the time.
    async fn tcp_to(&self, host: &str, port: u16) -> Result<TcpStream, (Obstacle, io::Error)> {
        let within = self.config.connect_timeout / ADDRESSES_MAX;
        let none = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        let mut last = (Obstacle::Name, none);
        let addresses = lookup_host((host, port)).await;
        let addresses = addresses.map_err(|error| (Obstacle::Name, error))?;
        for address in addresses.take(ADDRESSES_MAX as usize) {
            match timeout(within, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = (Obstacle::of(&error), error),
                Err(_) => last = (Obstacle::Silence, io::ErrorKind::TimedOut.into()),
            }
        }
        Err(last)
    }
}

impl ConnectError {
    fn failed(obstacle: Obstacle, text: String) -> Self {
        let cause = Cause::ConnectFailed(text.into());
        Self::Failed { cause, obstacle }
    }

    fn tls(error: &io::Error) -> Self {
        if let Some(reason) = alert_in(error).and_then(rejection) {
            return Self::Rejected(reason);
        }
        let Some(tls) = tls_error_in(error) else {
            return Self::failed(Obstacle::Network, error.to_string());
        };
        Self::Failed {
            cause: Cause::TlsFailed(tls.to_string().into()),
            obstacle: match tls {
                rustls::Error::InvalidCertificate(_) => Obstacle::Untrusted,
                _ => Obstacle::Tls,
            },
        }
    }
}

impl Obstacle {
    /// What a TCP connection that did not come about says.
    fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::Silence,
            _ => Self::Network,
        }
    }
}

fn roots(ca: Option<&[u8]>) -> Result<RootCertStore, ConfigError> {
    let Some(pem) = ca else {
        return Ok(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect());
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| ConfigError::Ca(error.to_string()))?;
        let added = roots.add(certificate);
        added.map_err(|error| ConfigError::Ca(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(ConfigError::Ca("has no certificate in it".to_owned()));
    }
    Ok(roots)
}
