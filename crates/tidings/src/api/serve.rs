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

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Json;
    use axum::routing::get;
    use hyper_util::rt::TokioExecutor;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::{Notify, oneshot};
    use tokio::task::JoinHandle;

    struct Served {
        addr: SocketAddr,
        ended: JoinHandle<()>,
        shutdown: oneshot::Sender<()>,
    }

    async fn served(router: Router) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let (shutdown, told) = oneshot::channel();
        let ended = tokio::spawn(serve(listener, router, async { drop(told.await) }));
        Served {
            addr,
            ended,
            shutdown,
        }
    }

    fn hello() -> Router {
        let hello = async || ([("x-rate-limit-limit", "600")], Json("hello"));
        Router::new().route("/", get(hello))
    }

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn http1_headers_are_in_title_case() {
        let served = served(hello()).await;
        let mut socket = TcpStream::connect(served.addr).await.expect("a connection");
        socket.write_all(REQUEST).await.expect("sent");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        for line in [
            "X-Rate-Limit-Limit: 600",
            "Content-Type: application/json",
            "Content-Length: 7",
        ] {
            assert!(answer.contains(&format!("\r\n{line}\r\n")), "{answer}");
        }
    }

    #[tokio::test]
    async fn http2_is_spoken_on_the_same_port() {
        let served = served(hello()).await;
        let socket = TcpStream::connect(served.addr).await.expect("a connection");
        let handshake =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket));
        let (mut client, connection) = handshake.await.expect("HTTP/2");
        tokio::spawn(connection);
        let request = Request::builder().uri("http://x/").body(Body::empty());
        let answer = client
            .send_request(request.expect("a request"))
            .await
            .expect("an answer");
        assert_eq!(answer.headers()["x-rate-limit-limit"], "600");
        let body = axum::body::to_bytes(Body::new(answer.into_body()), 100).await;
        let body = body.expect("a body");
        assert_eq!(body, "\"hello\"");
    }

    #[tokio::test]
    async fn calls_that_run_finish_and_no_more_are_taken() {
        let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let slow = {
            let (entered, leave) = (Arc::clone(&entered), Arc::clone(&leave));
            async move || {
                entered.notify_one();
                leave.notified().await;
                "done"
            }
        };
        let served = served(Router::new().route("/", get(slow))).await;
        let mut socket = TcpStream::connect(served.addr).await.expect("a connection");
        let idle = TcpStream::connect(served.addr).await.expect("a connection");
        socket.write_all(REQUEST).await.expect("sent");
        entered.notified().await;
        served.shutdown.send(()).expect("it serves");
        // The listener is closed before anything else happens.
        while TcpStream::connect(served.addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
        leave.notify_one();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.ends_with("done"), "{answer}");
        served.ended.await.expect("no panic");
        drop(idle);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_says_nothing_or_not_all_is_closed() {
        let served = served(hello()).await;
        for said in [
            "",
            "PRI * HTTP",
            "GET / HTTP/1.1\r\nhost: x\r\n",
            "GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        ] {
            let mut socket = TcpStream::connect(served.addr).await.expect("a connection");
            socket.write_all(said.as_bytes()).await.expect("sent");
            let start = tokio::time::Instant::now();
            let mut answer = Vec::new();
            drop(socket.read_to_end(&mut answer).await);
            let after = start.elapsed();
            assert!(
                after >= HEADER_READ_TIMEOUT && after < 2 * HEADER_READ_TIMEOUT,
                "{said:?} {after:?}"
            );
        }
    }
}
