//! How APNs answers.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use crate::answer::Answer;
use crate::apns::reason::Reason;

const APNS_ID: HeaderName = HeaderName::from_static("apns-id");
const APNS_UNIQUE_ID: HeaderName = HeaderName::from_static("apns-unique-id");

/// The body of a refusal.
#[derive(Serialize)]
struct ErrorBody<'a> {
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<i64>,
}

impl Answer {
    /// Accepted: an empty body. `unique_id` is given in the development environment only.
    pub(crate) fn accepted(apns_id: HeaderValue, unique_id: Option<HeaderValue>) -> Self {
        let mut headers = HeaderMap::with_capacity(2);
        headers.insert(APNS_ID, apns_id);
        if let Some(unique_id) = unique_id {
            headers.insert(APNS_UNIQUE_ID, unique_id);
        }
        Self {
            status: StatusCode::OK,
            headers,
            body: Bytes::new(),
        }
    }

    /// Refused; `timestamp` in milliseconds goes with 410 only.
    pub(crate) fn refused(apns_id: HeaderValue, reason: Reason, timestamp: Option<i64>) -> Self {
        Self::error(apns_id, reason.status(), Some(reason.name()), timestamp)
    }

    /// An answer of any status; without a reason the body is empty.
    pub(crate) fn error(
        apns_id: HeaderValue,
        status: StatusCode,
        reason: Option<&str>,
        timestamp: Option<i64>,
    ) -> Self {
        let mut headers = HeaderMap::with_capacity(2);
        headers.insert(APNS_ID, apns_id);
        let body = match reason {
            Some(reason) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                error_body(reason, timestamp)
            }
            None => Bytes::new(),
        };
        Self {
            status,
            headers,
            body,
        }
    }
}

/// `{"reason":…}`, also the debug data of a GOAWAY.
pub(crate) fn error_body(reason: &str, timestamp: Option<i64>) -> Bytes {
    serde_json::to_vec(&ErrorBody { reason, timestamp })
        .expect("a text and a number are JSON")
        .into()
}
