//! What goes back for one request.

use bytes::Bytes;
use h2::server::SendResponse;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::Value;

/// An answer to one request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn new(status: StatusCode, headers: HeaderMap, body: Bytes) -> Self {
        Self {
            status,
            headers,
            body,
        }
    }

    pub(crate) fn json(status: StatusCode, body: &Value) -> Self {
        Self::json_text(status, body.to_string())
    }

    /// A body that is JSON already.
    pub(crate) fn json_text(status: StatusCode, body: String) -> Self {
        let mut headers = HeaderMap::with_capacity(1);
        let json = HeaderValue::from_static("application/json;charset=utf-8");
        headers.insert(CONTENT_TYPE, json);
        Self::new(status, headers, body.into())
    }

    /// This answer with more headers; one that is there already is replaced.
    pub(crate) fn with_headers(mut self, headers: HeaderMap) -> Self {
        self.headers.extend(headers);
        self
    }

    /// Queues the answer on its stream. A stream that the client has reset takes none, and nobody is left to be told.
    pub(crate) fn send(self, respond: &mut SendResponse<Bytes>) {
        let mut response = Response::new(());
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        let end = self.body.is_empty();
        if let Ok(mut stream) = respond.send_response(response, end)
            && !end
        {
            let _reset_by_the_client = stream.send_data(self.body, true);
        }
    }
}
