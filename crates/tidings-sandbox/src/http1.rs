//! A client connection that speaks HTTP/1.1, as most clients of the makers do.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::debug;

use crate::answer::Answer;
use crate::faults::Action;
use crate::limits::{HEADER_LIST_MAX, HTTP1_IDLE_MAX, MAKER_BODY_MAX};
use crate::makers::{self, Unread};
use crate::provider::Provider;
use crate::sandbox::stopped;
use crate::simulator::Outcome;
use crate::state::State;

/// The connection ends without an answer.
#[derive(Debug, Error)]
#[error("a fault ended the connection")]
struct Cut;

/// Serves a connection until the client or a fault ends it, or `stop` turns true and its request is answered.
pub(crate) async fn serve<T>(io: T, state: Arc<State>, mut stop: watch::Receiver<bool>)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(move |request| answer(Arc::clone(&state), request));
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HTTP1_IDLE_MAX)
            .max_buf_size(HEADER_LIST_MAX as usize)
            .serve_connection(TokioIo::new(io), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "the connection broke");
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
    let (head, body) = request.into_parts();
    let Some(calls) = Provider::calls_at(head.uri.path()) else {
        // APNs, too, which speaks HTTP/2 only.
        return Ok(response(makers::bare(StatusCode::NOT_FOUND)));
    };
    let body = async {
        let read = to_bytes(Body::new(body), MAKER_BODY_MAX).await;
        read.map_err(|_| Unread::TooLarge)
    };
    let Some(verdict) = makers::serve(&state, calls, &head, body).await else {
        return Err(Cut);
    };
    if !verdict.delay.is_zero() {
        sleep(verdict.delay).await;
    }
    match verdict.outcome {
        Outcome::Answer(answer) => Ok(response(answer)),
        Outcome::Act(Action::Hang) => Ok(pending().await),
        Outcome::Act(Action::Close | Action::Goaway | Action::RefuseStream) => Err(Cut),
    }
}

fn response(answer: Answer) -> Response<Body> {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}
