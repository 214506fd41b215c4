//! Calls that are made one at a time, over one connection that is kept: channel management, broadcasts, and the check of
//! a credential.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use http::header::{AUTHORIZATION, RETRY_AFTER};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use tidings_model::{Outcome, Reason, UnixMillis};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::apns::answer::{self, outcome};
use crate::apns::config::{Config, ConfigError};
use crate::apns::connect::{ConnectError, Connector, Service};
use crate::apns::wire::{Alert, failed_stream, rejection};
use crate::attempt::{Attempt, Cause};

/// Bytes of an answer's body that are read: 10,000 channel ids take less than half of it.
const BODY_LEN_MAX: usize = 1 << 20;

/// A call, without what every call has.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: PathAndQuery,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// A call that was agreed to.
pub(super) struct Agreed {
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// One call waits for the other: that keeps to a peer that allows a single stream, as Apple does at first.
pub(super) struct Caller {
    connector: Connector,
    kept: Mutex<Option<Kept>>,
}

/// A connection for the next call.
struct Kept {
    alert: Alert,
    sender: SendRequest<Bytes>,
}

impl Caller {
    pub(super) fn new(config: Config, service: Service) -> Result<Self, ConfigError> {
        Ok(Self {
            connector: Connector::new(config, service)?,
            kept: Mutex::new(None),
        })
    }

    /// Where the calls go: `HOST` or `HOST:PORT`.
    pub(super) fn authority(&self) -> &str {
        self.connector.endpoint().authority.as_str()
    }

    /// Opens a connection for the next call, whatever is kept, and says where it leads.
    pub(super) async fn connect(&self) -> Result<SocketAddr, ConnectError> {
        let mut kept = self.kept.lock().await;
        let (opened, address) = self.open().await?;
        *kept = Some(opened);
        Ok(address)
    }

    /// Streams that the peer allows on the connection that is kept, as far as it has said so.
    pub(super) async fn streams_max(&self) -> Option<usize> {
        let kept = self.kept.lock().await;
        kept.as_ref()
            .map(|kept| kept.sender.current_max_send_streams())
    }

    /// Makes a call; what came of it when it was not agreed to is an attempt. One that is refused for the age of its
    /// provider token is made once more, with a new one on a new connection. Cancel safe, but what was sent stays sent.
    pub(super) async fn call(&self, call: &Call) -> Result<Agreed, Attempt> {
        let mut kept = self.kept.lock().await;
        let mut renewed = false;
        loop {
            let (status, agreed, retry_after) = self.exchange(&mut kept, call).await?;
            if status.is_success() {
                return Ok(agreed);
            }
            let outcome = outcome(status.as_u16(), &agreed.body, retry_after.as_deref());
            match outcome.reason().cloned() {
                Some(reason) if self.note(&mut kept, &reason) => {
                    if renewed {
                        return Err(Attempt::Answered(Outcome::CredentialRejected { reason }));
                    }
                    renewed = true;
                }
                _ => return Err(Attempt::Answered(outcome)),
            }
        }
    }

    /// Acts on what is about the connection or its token. Says whether another try may fare better.
    fn note(&self, kept: &mut Option<Kept>, reason: &Reason) -> bool {
        let tokens = self.connector.config.credential.token_source();
        let now = UnixMillis::now();
        if *reason == answer::EXPIRED_PROVIDER_TOKEN || *reason == answer::UNRELATED_KEY_ID_IN_TOKEN
        {
            *kept = None;
            tokens.inspect(|tokens| tokens.rejected_expired(now));
            return true;
        }
        if *reason == answer::TOO_MANY_PROVIDER_TOKEN_UPDATES {
            tokens.inspect(|tokens| tokens.too_many_updates(now));
        }
        if *reason == answer::IDLE_TIMEOUT || *reason == answer::SHUTDOWN {
            *kept = None;
        }
        false
    }

    async fn exchange(
        &self,
        kept: &mut Option<Kept>,
        call: &Call,
    ) -> Result<(StatusCode, Agreed, Option<String>), Attempt> {
        // A connection that has ended since the last call is found out here, before anything is sent.
        let usable = match kept.take() {
            Some(Kept { alert, sender }) => {
                let sender = sender.ready().await.ok();
                sender.map(|sender| Kept { alert, sender })
            }
            None => None,
        };
        let mut used = match usable {
            Some(kept) => kept,
            None => self.open().await.map_err(attempt)?.0,
        };
        let answered = self.send(&mut used.sender, call).await;
        if answered.is_err()
            && let Some(reason) = used.alert.get().copied().and_then(rejection)
        {
            return Err(Attempt::Answered(Outcome::CredentialRejected { reason }));
        }
        let answered = answered?;
        *kept = Some(used);
        Ok(answered)
    }

    async fn send(
        &self,
        sender: &mut SendRequest<Bytes>,
        call: &Call,
    ) -> Result<(StatusCode, Agreed, Option<String>), Attempt> {
        let request = self.request(call);
        let not_sent =
            |error: h2::Error| Attempt::NotSent(Cause::ConnectionLost(error.to_string().into()));
        let (response, mut stream) = sender
            .send_request(request, call.body.is_empty())
            .map_err(not_sent)?;
        if !call.body.is_empty() {
            // If this fails, the response fails too and tells why.
            let _ = stream.send_data(call.body.clone(), true);
        }
        let answered = async {
            let (head, body) = response.await?.into_parts();
            let body = read(body).await;
            let retry_after = head.headers.get(RETRY_AFTER);
            let retry_after = retry_after.and_then(|value| value.to_str().ok().map(str::to_owned));
            let headers = head.headers;
            Ok((head.status, Agreed { headers, body }, retry_after))
        };
        let within = self.connector.config.answer_timeout;
        timeout(within, answered)
            .await
            .map_err(|_| Attempt::Unanswered(Cause::TimedOut))?
            .map_err(|error| failed_stream(&error))
    }

    async fn open(&self) -> Result<(Kept, SocketAddr), ConnectError> {
        let opened = self.connector.open().await?;
        // Ends by itself when the peer closes, or when nobody holds its sender any more. What breaks it shows at the call.
        tokio::spawn(opened.connection);
        let (alert, sender) = (opened.alert, opened.sender);
        Ok((Kept { alert, sender }, opened.address))
    }

    fn request(&self, call: &Call) -> Request<()> {
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(Scheme::HTTPS);
        uri.authority = Some(self.connector.endpoint().authority.clone());
        uri.path_and_query = Some(call.path.clone());
        let mut request = Request::new(());
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = Uri::from_parts(uri).expect("scheme, authority and path are there");
        request.headers_mut().clone_from(&call.headers);
        if let Some(tokens) = self.connector.config.credential.token_source() {
            let bearer = tokens.bearer(UnixMillis::now());
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        request
    }
}

/// A call for which no connection came about.
fn attempt(error: ConnectError) -> Attempt {
    match error {
        ConnectError::Rejected(reason) => Attempt::Answered(Outcome::CredentialRejected { reason }),
        ConnectError::Failed { cause, .. } => Attempt::NotSent(cause),
    }
}

/// The status is what counts: a body that breaks off is taken as it is.
async fn read(mut body: RecvStream) -> Vec<u8> {
    let mut read = Vec::new();
    while read.len() < BODY_LEN_MAX
        && let Some(Ok(data)) = body.data().await
    {
        read.extend_from_slice(&data[..data.len().min(BODY_LEN_MAX - read.len())]);
        // Fails only when the stream is gone, and then there is no window to give back.
        let _ = body.flow_control().release_capacity(data.len());
    }
    read
}
