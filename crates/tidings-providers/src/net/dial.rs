//! DNS, TCP, the proxy and TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{AlertDescription, ClientConfig, RootCertStore};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::attempt::Cause;
use crate::net::{Endpoint, Proxy};

/// Addresses of a host that are tried for one connection; each has its part of the time.
const ADDRESSES_MAX: u32 = 4;

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
    /// Nobody answered within the time for connecting.
    Silence,
    /// The two ends found no way to speak TLS and HTTP.
    Tls,
    /// The certificate that the endpoint showed is not trusted.
    Untrusted,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) struct DialError {
    /// With which the peer ended the handshake.
    pub(crate) alert: Option<AlertDescription>,
    pub(crate) cause: Cause,
    pub(crate) obstacle: Obstacle,
}

/// Opens TLS connections to one endpoint.
pub(crate) struct Dialer {
    pub(crate) endpoint: Endpoint,
    proxy: Option<Proxy>,
    tls: TlsConnector,
    /// For all of it together.
    within: Duration,
}

impl Dialer {
    pub(crate) fn new(
        endpoint: Endpoint,
        proxy: Option<Proxy>,
        tls: ClientConfig,
        within: Duration,
    ) -> Self {
        Self {
            endpoint,
            proxy,
            tls: TlsConnector::from(Arc::new(tls)),
            within,
        }
    }

    /// Resolves the name afresh and connects to the first address that takes it. The address is that of the far end, or of
    /// the proxy in between.
    pub(crate) async fn dial(&self) -> Result<(SocketAddr, TlsStream<TcpStream>), DialError> {
        let within = self.within;
        timeout(within, self.try_dial()).await.unwrap_or_else(|_| {
            let text = format!(
                "no connection to {} within {within:?}",
                self.endpoint.authority
            );
            let obstacle = match self.proxy {
                Some(_) => Obstacle::Proxy,
                None => Obstacle::Silence,
            };
            Err(DialError::failed(obstacle, text))
        })
    }

    async fn try_dial(&self) -> Result<(SocketAddr, TlsStream<TcpStream>), DialError> {
        let tcp = self.tcp().await.map_err(|(obstacle, error)| {
            DialError::failed(obstacle, format!("{}: {error}", self.endpoint.authority))
        })?;
        let broken = |error: io::Error| DialError::failed(Obstacle::Network, error.to_string());
        // Small frames must not wait for the acknowledgement of those before.
        tcp.set_nodelay(true).map_err(broken)?;
        let address = tcp.peer_addr().map_err(broken)?;
        let server_name = self.endpoint.server_name.clone();
        let tls = self.tls.connect(server_name, tcp).await;
        let tls = tls.map_err(|error| DialError::tls(&error))?;
        Ok((address, tls))
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
        let within = self.within / ADDRESSES_MAX;
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

impl DialError {
    pub(crate) fn failed(obstacle: Obstacle, text: String) -> Self {
        Self {
            alert: None,
            cause: Cause::ConnectFailed(text.into()),
            obstacle,
        }
    }

    fn tls(error: &io::Error) -> Self {
        let Some(tls) = tls_error_in(error) else {
            return Self::failed(Obstacle::Network, error.to_string());
        };
        Self {
            alert: alert_in(error),
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

/// The roots to trust: those in `ca`, PEM, or the public ones. The error says what is wrong with `ca`.
pub(crate) fn roots(ca: Option<&[u8]>) -> Result<RootCertStore, String> {
    let Some(pem) = ca else {
        return Ok(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect());
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        let added = roots.add(certificate);
        added.map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("has no certificate in it".to_owned());
    }
    Ok(roots)
}

/// The alert that `error` is about.
pub(crate) fn alert_in(error: &io::Error) -> Option<AlertDescription> {
    match tls_error_in(error) {
        Some(rustls::Error::AlertReceived(alert)) => Some(*alert),
        _ => None,
    }
}

/// The TLS error that is behind `error`.
fn tls_error_in(error: &io::Error) -> Option<&rustls::Error> {
    let inner = error.get_ref()?;
    inner
        .downcast_ref()
        .or_else(|| inner.source().and_then(|source| source.downcast_ref()))
}
