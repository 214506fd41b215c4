//! What a notification is built from.

use bytes::Bytes;

use super::{Payload, PayloadError};
use crate::apns::PushType;

/// What [`Notification::builder`](crate::apns::Notification::builder) takes: a [`Payload`], or JSON that is there
/// already. Why a payload did not become JSON is kept until the notification is built.
#[derive(Clone, Debug)]
pub struct Body {
    pub(in crate::apns) json: Result<Bytes, PayloadError>,
    /// What describes it; none for JSON that came as such.
    pub(in crate::apns) push_type: Option<PushType>,
}

impl From<&Payload> for Body {
    fn from(payload: &Payload) -> Self {
        Self {
            json: payload.encode(),
            push_type: Some(payload.push_type()),
        }
    }
}

impl From<Payload> for Body {
    fn from(payload: Payload) -> Self {
        Self::from(&payload)
    }
}

impl From<Bytes> for Body {
    fn from(json: Bytes) -> Self {
        Self {
            json: Ok(json),
            push_type: None,
        }
    }
}

impl From<&'static [u8]> for Body {
    fn from(json: &'static [u8]) -> Self {
        Bytes::from(json).into()
    }
}

impl From<&'static str> for Body {
    fn from(json: &'static str) -> Self {
        Bytes::from(json).into()
    }
}

impl From<String> for Body {
    fn from(json: String) -> Self {
        Bytes::from(json).into()
    }
}

impl From<Vec<u8>> for Body {
    fn from(json: Vec<u8>) -> Self {
        Bytes::from(json).into()
    }
}
