//! What `/v3` answers when all went well.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use serde::Serialize;
use tidings_model::MsgId;

use crate::api::error::MSG_ID_HEADER;

/// The answer to a push: two texts of digits and no other key, as the SDKs want it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PushReply {
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
        ([(MSG_ID_HEADER, HeaderValue::from(self.msg_id.0))], body).into_response()
    }
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
            msg_id: MsgId(18_100_528_814_460_569),
            sendno: 18,
        };
        let response = reply.into_response();
        assert_eq!(response.headers()[MSG_ID_HEADER], "18100528814460569");
        assert_eq!(
            body(response).await,
            br#"{"sendno":"18","msg_id":"18100528814460569"}"#
        );
        assert_eq!(body(Done.into_response()).await, b"{}");
    }
}
