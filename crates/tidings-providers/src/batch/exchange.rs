//! One request and its answer on one HTTP/1.1 connection.

use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, RETRY_AFTER};
use http::{HeaderName, HeaderValue};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tidings_model::{Outcome, Reason, UnixMillis};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::client::TlsStream;

use crate::attempt::{Attempt, Cause};
use crate::batch::Request;
use crate::net::Dialer;
use crate::retry_after::{RETRY_AFTER_MAX, in_seconds};

/// Bytes of an answer's body, at most. An answer names at most 1,000 addresses of some 200 bytes.
const BODY_LEN_MAX: usize = 1024 * 1024;
/// Bytes of an answer's headers and of what is buffered, at most.
const BUFFER_LEN_MAX: usize = 64 * 1024;

/// A provider's answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// HTTP's.
    pub status: u16,
    /// When it came.
    pub at: UnixMillis,
    /// As the provider asks, in seconds or as a date (RFC 9110, section 10.2.3).
    pub retry_after: Option<Duration>,
    /// At most a megabyte.
    pub body: Bytes,
}

impl Response {
    /// What the status alone says of the whole request: none when the body has to be looked at.
    pub fn outcome(&self) -> Option<Outcome> {
        let reason = || Reason::heard(&format!("HTTP{}", self.status));
        let after = self.retry_after;
        match self.status {
            200..=299 => None,
            // What stands in between, and not the provider, redirects.
            300..=399 | 408 | 421 | 425 | 429 | 500..=599 => Some(Outcome::Retry {
                reason: reason(),
                after,
            }),
            401 | 403 => Some(Outcome::CredentialRejected { reason: reason() }),
            _ => Some(Outcome::PayloadRejected { reason: reason() }),
        }
    }
}

/// A connection that has not been used for so long is not used again.
const REUSED_WITHIN: Duration = Duration::from_secs(30);

/// A connection that is kept for the next request.
pub(super) struct Connection {
    /// Ends with it, also when the peer does not read.
    driver: AbortHandle,
    last_used: Instant,
    sender: SendRequest<Full<Bytes>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failed {
    /// Nothing of the request has left, since the connection had ended before.
    Stale,
    With(Attempt),
}

impl From<Failed> for Attempt {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Stale => {
                Self::NotSent(Cause::ConnectionLost("closed before the request".into()))
            }
            Failed::With(attempt) => attempt,
        }
    }
}

impl Connection {
    pub(super) async fn open(dialer: &Dialer) -> Result<Self, Cause> {
        let (_, tls) = dialer.dial().await.map_err(|error| error.cause)?;
        Self::over(tls).await
    }

    /// Over a way that has been made.
    pub(super) async fn over(tls: TlsStream<TcpStream>) -> Result<Self, Cause> {
        let handshake = http1::Builder::new()
            .max_buf_size(BUFFER_LEN_MAX)
            .handshake(TokioIo::new(tls))
            .await;
        let (sender, connection) =
            handshake.map_err(|error| Cause::ConnectFailed(error.to_string().into()))?;
        // What goes wrong with it, the request under way is told.
        let driver = tokio::spawn(connection).abort_handle();
        Ok(Self {
            driver,
            last_used: Instant::now(),
            sender,
        })
    }

    /// Whether it could take a request, as far as is known: after a while something in between may have forgotten it.
    pub(super) fn is_good(&self) -> bool {
        !self.sender.is_closed() && self.last_used.elapsed() < REUSED_WITHIN
    }

    /// Sends `request` and waits for the whole answer, until `by`. After an error the connection is of no use.
    pub(super) async fn send(
        &mut self,
        dialer: &Dialer,
        request: &Request,
        by: Instant,
    ) -> Result<Response, Failed> {
        let request = http_request(dialer, request)?;
        if !matches!(timeout_at(by, self.sender.ready()).await, Ok(Ok(()))) {
            return Err(Failed::Stale);
        }
        let unanswered = |cause| Failed::With(Attempt::Unanswered(cause));
        let answering = async {
            let response = match self.sender.try_send_request(request).await {
                Ok(response) => response,
                Err(mut error) => {
                    if error.take_message().is_some() {
                        return Err(Failed::Stale);
                    }
                    let text = error.into_error().to_string();
                    return Err(unanswered(Cause::ConnectionLost(text.into())));
                }
            };
            let status = response.status().as_u16();
            let retry_after = response.headers().get(RETRY_AFTER).and_then(retry_after);
            let body = Limited::new(response.into_body(), BODY_LEN_MAX)
                .collect()
                .await;
            let body =
                body.map_err(|error| unanswered(Cause::ConnectionLost(error.to_string().into())))?;
            Ok(Response {
                at: UnixMillis::now(),
                status,
                retry_after,
                body: body.to_bytes(),
            })
        };
        let answered = timeout_at(by, answering).await;
        self.last_used = Instant::now();
        match answered {
            Ok(answered) => answered,
            Err(_) => Err(unanswered(Cause::TimedOut)),
        }
    }
}

fn http_request(dialer: &Dialer, request: &Request) -> Result<http::Request<Full<Bytes>>, Failed> {
    // What a credential or a notification holds has been checked by its protocol: this is for the one that has not.
    let unfit = |error: &dyn std::error::Error| {
        let text = format!("the request cannot be written: {error}");
        Failed::With(Attempt::NotSent(Cause::ConnectFailed(text.into())))
    };
    let host = dialer.endpoint.authority.as_str();
    let mut built = http::Request::post(request.path.as_str())
        .header(HOST, host)
        .body(Full::new(request.body.clone()))
        .map_err(|error| unfit(&error))?;
    for (name, value) in &request.headers {
        let value = HeaderValue::from_str(value).map_err(|error| unfit(&error))?;
        built
            .headers_mut()
            .insert(HeaderName::from_static(name), value);
    }
    Ok(built)
}

fn retry_after(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?;
    let until = || {
        let date = jiff::fmt::rfc2822::parse(text).ok()?;
        let at = UnixMillis(date.timestamp().as_millisecond());
        Some(at.since(UnixMillis::now()).min(RETRY_AFTER_MAX))
    };
    in_seconds(text).or_else(until)
}
