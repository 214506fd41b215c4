//! Starting, accepting and stopping.

use std::io::{self, Cursor};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, join, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::access_tokens::AccessTokens;
use crate::apns::certificate::PushCertificate;
use crate::apns::connection;
use crate::apns::request::Auth;
use crate::apns::token::{TokenAuth, TokenKeys};
use crate::authority::Authority;
use crate::channels::Channels;
use crate::credentials::Credentials;
use crate::deliveries::Deliveries;
use crate::faults::Faults;
use crate::http1;
use crate::invalid_ids::InvalidIds;
use crate::limits::{
    ACCEPT_PAUSE, CONCURRENT_STREAMS, CONNECTIONS_MAX, DELIVERIES_KEPT, DRAIN_GRACE,
    HANDSHAKE_TIMEOUT, MAKER_BODIES_MAX,
};
use crate::phones::Phones;
use crate::quotas::Quotas;
use crate::receipts::Consoles;
use crate::saved::{Saved, Seen};
use crate::service_account::ServiceAccount;
use crate::state::State;
use crate::tls;

/// How to run a sandbox.
#[derive(Clone, Debug)]
pub struct SandboxConfig {
    /// Where the providers listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Host names and IP addresses in the server certificate.
    pub names: Vec<String>,
    /// Topic of the push certificate that is made at the start.
    pub topic: String,
    /// Streams that a client may have open at once on one connection.
    pub concurrent_streams: u32,
    /// How many of the newest deliveries are kept.
    pub deliveries_kept: usize,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            names: ["localhost", "127.0.0.1", "::1"]
                .map(str::to_owned)
                .to_vec(),
            topic: "com.example.app".to_owned(),
            concurrent_streams: CONCURRENT_STREAMS,
            deliveries_kept: DELIVERIES_KEPT,
        }
    }
}

/// Running providers. Dropping it ends every connection at once; [`Sandbox::shutdown`] lets open streams finish.
#[derive(Debug)]
pub struct Sandbox {
    addr: SocketAddr,
    credentials: Arc<Credentials>,
    state: Arc<State>,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Sandbox {
    /// Makes keys and certificates, binds, and serves. Needs a tokio runtime.
    pub async fn start(config: SandboxConfig) -> io::Result<Self> {
        let listener = TcpListener::bind(config.listen).await?;
        let addr = listener.local_addr()?;
        let token_keys = TokenKeys::default();
        let SandboxConfig { names, topic, .. } = config;
        // Reading keys and signing certificates takes a moment of computing.
        let made = spawn_blocking(move || {
            let authority = Authority::new().map_err(io::Error::other)?;
            let server = authority.server(&names).map_err(io::Error::other)?;
            let credentials = Credentials::new(&authority, &token_keys, &topic)?;
            io::Result::Ok((tls::server_config(server)?, credentials, token_keys))
        });
        let (tls_config, credentials, token_keys) = made.await.map_err(io::Error::other)??;
        let state = Arc::new(State {
            access_tokens: AccessTokens::default(),
            bodies: Semaphore::new(MAKER_BODIES_MAX),
            clients: Credentials::clients(),
            consoles: Consoles::default(),
            channels: Channels::default(),
            deliveries: Deliveries::new(config.deliveries_kept),
            faults: Faults::default(),
            invalid_ids: InvalidIds::default(),
            phones: Phones::default(),
            quotas: Quotas::default(),
            saved: Saved::default(),
            seen: Seen::default(),
            service_account: ServiceAccount::new()?,
            token_keys,
        });
        let (stop, stopped) = watch::channel(false);
        let door = Door {
            acceptor: TlsAcceptor::from(Arc::new(tls_config)),
            state: Arc::clone(&state),
            streams_max: config.concurrent_streams,
            stop: stopped,
        };
        Ok(Self {
            addr,
            credentials: Arc::new(credentials),
            state,
            stop,
            accepting: tokio::spawn(door.accept(listener)),
        })
    }

    /// Where the providers listen.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `https://HOST:PORT` of the providers.
    pub fn url(&self) -> String {
        format!("https://{}", self.addr)
    }

    /// What a client needs to be let in.
    pub fn credentials(&self) -> &Arc<Credentials> {
        &self.credentials
    }

    /// The access tokens of the makers.
    pub fn access_tokens(&self) -> &AccessTokens {
        &self.state.access_tokens
    }

    /// What has been accepted.
    pub fn deliveries(&self) -> &Deliveries {
        &self.state.deliveries
    }

    /// The trouble that requests meet.
    pub fn faults(&self) -> &Faults {
        &self.state.faults
    }

    /// The phones that are gone.
    pub fn phones(&self) -> &Phones {
        &self.state.phones
    }

    pub(crate) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Stops accepting, sends GOAWAY, and waits up to 2 s for open streams.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        if let Err(error) = (&mut self.accepting).await {
            warn!(%error, "the sandbox ended in a panic");
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Waits until the sandbox stops.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

/// What a new connection needs.
struct Door {
    acceptor: TlsAcceptor,
    state: Arc<State>,
    streams_max: u32,
    stop: watch::Receiver<bool>,
}

impl Door {
    /// Takes connections, each into its own task, until told to stop; then waits for them within a bound.
    async fn accept(self, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        let mut stop = self.stop.clone();
        loop {
            let next = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, listener.accept().await)
            };
            tokio::select! {
                () = stopped(&mut stop) => break,
                Some(_) = connections.join_next() => {}
                (Ok(place), accepted) = next => match accepted {
                    Ok((socket, _)) => {
                        let connection = self.connection(socket);
                        connections.spawn(async move {
                            connection.await;
                            drop(place);
                        });
                    }
                    // A connection that broke before it was taken, or no descriptor free until one closes.
                    Err(error) => {
                        warn!(%error, "took no connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(listener);
        let all = async { while connections.join_next().await.is_some() {} };
        if timeout(DRAIN_GRACE, all).await.is_err() {
            debug!(
                connections = connections.len(),
                "cut connections that did not finish"
            );
        }
    }

    fn connection(&self, socket: TcpStream) -> impl Future<Output = ()> + Send + use<> {
        let acceptor = self.acceptor.clone();
        let state = Arc::clone(&self.state);
        let streams_max = self.streams_max;
        let stop = self.stop.clone();
        async move {
            if let Err(error) = socket.set_nodelay(true) {
                debug!(%error, "answers may be sent late");
            }
            let stream = match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(socket)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return debug!(%error, "no TLS connection"),
                Err(_) => return debug!("the TLS handshake took too long"),
            };
            let auth = match stream.get_ref().1.peer_certificates() {
                Some([leaf, ..]) => Auth::Certificate(PushCertificate::from_der(leaf)),
                _ => Auth::Token(TokenAuth::default()),
            };
            match stream.get_ref().1.alpn_protocol() {
                Some(tls::H2) => connection::serve(stream, auth, state, streams_max, stop).await,
                Some(_) => http1::serve(stream, state, stop).await,
                None => match timeout(HANDSHAKE_TIMEOUT, begun(stream)).await {
                    Ok(Ok((true, io))) => {
                        connection::serve(io, auth, state, streams_max, stop).await;
                    }
                    Ok(Ok((false, io))) => http1::serve(io, state, stop).await,
                    Ok(Err(error)) => debug!(%error, "the connection broke"),
                    Err(_) => debug!("the client sent nothing in time"),
                },
            }
        }
    }
}

/// Looks at how a client begins that has named no protocol: whether with HTTP/2's preface (RFC 9113, section 3.4).
async fn begun<T>(mut stream: T) -> io::Result<(bool, impl AsyncRead + AsyncWrite + Unpin)>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    const PREFACE_START: &[u8; 4] = b"PRI ";
    let mut start = [0; PREFACE_START.len()];
    stream.read_exact(&mut start).await?;
    let (rest, write) = split(stream);
    let read = Cursor::new(start).chain(rest);
    Ok((start == *PREFACE_START, join(read, write)))
}
