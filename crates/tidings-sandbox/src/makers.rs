//! What the makers' simulators share: a request of either HTTP version is read whole, within bounds, and judged.

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use tokio::time::timeout;

use crate::answer::Answer;
use crate::clock::now_ms;
use crate::limits::{MAKER_BODY_MAX, MAKER_BODY_TIMEOUT};
use crate::simulator::{Calls, Incoming, Verdict};
use crate::state::State;

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// The client has gone.
    Broken,
    TooLarge,
}

/// Reads and judges a request; none when nobody is left to be answered.
pub(crate) async fn serve(
    state: &State,
    calls: &Calls,
    head: &Parts,
    body: impl Future<Output = Result<Bytes, Unread>>,
) -> Option<Verdict> {
    let refused = |status| Some(Verdict::from(bare(status)));
    // Held while the body is in memory.
    let _place = state.bodies.acquire().await.ok()?;
    let body = match timeout(MAKER_BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => body,
        Ok(Err(Unread::Broken)) => return None,
        Ok(Err(Unread::TooLarge)) => return refused(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => return refused(StatusCode::REQUEST_TIMEOUT),
    };
    let incoming = Incoming {
        head,
        body: &body,
        now_ms: now_ms(),
    };
    Some((calls.judge)(state, &incoming))
}

/// The body of an HTTP/2 request.
pub(crate) async fn read(mut stream: RecvStream) -> Result<Bytes, Unread> {
    let mut body = BytesMut::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk.map_err(|_| Unread::Broken)?;
        if body.len() + chunk.len() > MAKER_BODY_MAX {
            return Err(Unread::TooLarge);
        }
        body.extend_from_slice(&chunk);
        stream
            .flow_control()
            .release_capacity(chunk.len())
            .map_err(|_| Unread::Broken)?;
    }
    Ok(body.freeze())
}

/// An answer without a body.
pub(crate) fn bare(status: StatusCode) -> Answer {
    Answer::new(status, HeaderMap::new(), Bytes::new())
}
