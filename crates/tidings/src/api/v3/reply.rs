//! What `/v3` answers when all went well.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue};
use serde::Serialize;
use tidings_model::MsgId;

use crate::api::error::MSG_ID_HEADER;

/// What was accepted of a push and has no effect: paths of fields, between them a comma.
pub(crate) const IGNORED_HEADER: HeaderName = HeaderName::from_static("x-tidings-ignored");

/// The answer to a push: two texts of digits and no other key, as the SDKs want it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PushReply {
    /// Paths of what has no effect; that goes into a header.
    pub(crate) ignored: Vec<String>,
    pub(crate) msg_id: MsgId,
    pub(crate) sendno: i64,
}

impl IntoResponse for PushReply {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body {
            sendno: String,
            msg_id: String,
        }
        let body = Json(Body {
            sendno: self.sendno.to_string(),
            msg_id: self.msg_id.to_string(),
        });
        let mut response = body.into_response();
        let headers = response.headers_mut();
        headers.insert(MSG_ID_HEADER, HeaderValue::from(self.msg_id.0));
        if let Some(ignored) = listed(&self.ignored) {
            headers.insert(IGNORED_HEADER, ignored);
        }
        response
    }
}

/// Bytes of the header, at most: clients take some thousand for all headers together.
const IGNORED_BYTES_MAX: usize = 4096;

/// The paths as a header has them, as many as it may hold. Keys are the caller's: what would end a path, or the header, is
/// percent-encoded.
fn listed(paths: &[String]) -> Option<HeaderValue> {
    let mut list = String::new();
    for path in paths {
        let encoded = path.bytes().map(|byte| match byte {
            b',' | b'%' => format!("%{byte:02X}"),
            byte if byte.is_ascii_graphic() => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        });
        let encoded: String = encoded.collect();
        if list.len() + encoded.len() >= IGNORED_BYTES_MAX {
            break;
        }
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(&encoded);
    }
    let list = HeaderValue::try_from(list).ok();
    list.filter(|list| !list.is_empty())
}

/// The answer to a call with nothing to say. Never an empty body: two SDKs fail on one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Done;

impl IntoResponse for Done {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body {}
        Json(Body {}).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn body(response: Response) -> Vec<u8> {
        assert_eq!(response.headers()["content-type"], "application/json");
        let body = axum::body::to_bytes(response.into_body(), 4096).await;
        body.expect("a body").to_vec()
    }

    #[tokio::test]
    async fn ids_are_texts_and_nothing_is_an_object() {
        let reply = PushReply {
            ignored: vec!["sms_message".into(), "a,b\n\u{e9}".into()],
            msg_id: MsgId(18_100_528_814_460_569),
            sendno: 18,
        };
        let response = reply.into_response();
        assert_eq!(response.headers()[MSG_ID_HEADER], "18100528814460569");
        assert_eq!(
            response.headers()[IGNORED_HEADER],
            "sms_message,a%2Cb%0A%C3%A9"
        );
        assert_eq!(
            body(response).await,
            br#"{"sendno":"18","msg_id":"18100528814460569"}"#
        );
        assert_eq!(body(Done.into_response()).await, b"{}");
    }
}
