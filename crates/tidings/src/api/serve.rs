//! The listener of the API: HTTP/1.1 and HTTP/2 on one port, without TLS.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::ServiceExt;
use tracing::{debug, warn};

/// Connections at once; a thousand back ends with four each, and half of a usual limit of descriptors. More wait in the
/// kernel's queue.
const CONNECTIONS_MAX: usize = 4096;
/// How long a client may take for the head of a request, and stay connected without one.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a silent HTTP/2 connection is asked whether it is there, and how long it may take to answer.
const PING_EVERY: Duration = Duration::from_secs(60);
const PONG_TIMEOUT: Duration = Duration::from_secs(20);
/// Calls at once on one HTTP/2 connection, and the largest set of headers.
const STREAMS_MAX: u32 = 200;
const HEADER_BYTES_MAX: u32 = 16 << 10;
/// Before the next connection is taken after one could not be: no descriptor may be free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long calls may go on after the shutdown began.
const DRAIN_GRACE: Duration = Duration::from_secs(10);

/// Serves `router` until `shutdown`; then takes no more calls and lets those that run finish, for ten seconds at most.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (stop, stopped) = watch::channel(false);
    let builder = builder();
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            (Ok(place), accepted) = next => match accepted {
                Ok((socket, _)) => {
                    let (builder, router, stopped) = (builder.clone(), router.clone(), stopped.clone());
                    connections.spawn(async move {
                        connection(builder, socket, router, stopped).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    warn!(%error, "took no connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    stop.send_replace(true);
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(DRAIN_GRACE, all).await.is_err() {
        warn!(
            connections = connections.len(),
            "cut connections whose calls did not end in time"
        );
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        // JPush's PHP SDK looks headers up by this spelling.
        .title_case_headers(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX);
    builder
}

async fn connection(
    builder: auto::Builder<TokioExecutor>,
    socket: TcpStream,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) {
    if let Err(error) = socket.set_nodelay(true) {
        debug!(%error, "answers may be sent late");
    }
    let called = Arc::new(AtomicBool::new(false));
    let calls = Arc::clone(&called);
    let service = router.map_request(move |request: Request<Incoming>| {
        calls.store(true, Ordering::Relaxed);
        request.map(Body::new)
    });
    let serving = builder
        .serve_connection_with_upgrades(TokioIo::new(socket), TowerToHyperService::new(service));
    tokio::pin!(serving);
    let first_call_is_late = sleep(HEADER_READ_TIMEOUT);
    tokio::pin!(first_call_is_late);
    let (mut is_watched, mut is_stopping) = (true, false);
    loop {
        tokio::select! {
            ended = &mut serving => {
                if let Err(error) = ended {
                    debug!(error, "a connection broke");
                }
                return;
            }
            // hyper itself waits for ever to learn which version of HTTP a connection speaks.
            () = &mut first_call_is_late, if is_watched => {
                is_watched = false;
                if !called.load(Ordering::Relaxed) {
                    return;
                }
            }
            () = told_to_stop(&mut stopped), if !is_stopping => {
                is_stopping = true;
                serving.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Waits for the shutdown.
async fn told_to_stop(stopped: &mut watch::Receiver<bool>) {
    drop(stopped.wait_for(|stopped| *stopped).await);
}
