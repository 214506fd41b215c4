//! What the API refuses, and how it says so: one catalogue for JPush's codes and for those of `/v1`.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use tidings_model::MsgId;
use tidings_providers::apns::CredentialError;
use tidings_store::StoreError;

/// The message id of a push, beside the one in the body (JPush sends it on every push reply).
pub(crate) const MSG_ID_HEADER: HeaderName = HeaderName::from_static("x-jpush-msgid");

/// A family of calls that shares its error codes and its rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Family {
    Device,
    Push,
    Report,
    Schedule,
    /// Tidings' own calls: codes are words.
    V1,
}

impl Family {
    /// The family of a normalised path. What is under no known prefix is Tidings' own.
    pub(crate) fn of(path: &str) -> Self {
        let mut segments = path.split('/').skip(1);
        if segments.next() != Some("v3") {
            return Self::V1;
        }
        match segments.next() {
            Some("aliases" | "device" | "devices" | "tags" | "test") => Self::Device,
            Some("messages" | "received" | "report" | "status" | "users") => Self::Report,
            Some("schedules") => Self::Schedule,
            Some("push") if segments.next() == Some("schedules") => Self::Schedule,
            _ => Self::Push,
        }
    }
}

/// What can be wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    AppUnknown,
    BodyTooLarge,
    BodyUnreadable,
    Busy,
    /// A file that is no credential, or not for what is wanted of it: why, in a word.
    Credential(&'static str),
    CredentialUnknown,
    DeviceUnknown,
    Internal,
    Invalid,
    MessageUnknown,
    MethodNotAllowed,
    Missing,
    NoTarget,
    NotFound,
    NotJson,
    RateExceeded,
    TooLarge,
    Unauthenticated,
    UnknownKey,
    WrongCredentials,
}

impl Fault {
    /// The catalogue: HTTP status, the word for `/v1`, and JPush's numbers for push, device, report and schedule.
    ///
    /// The numbers are JPush's where its tables have one for the case; else that of a value that is not valid.
    fn entry(self) -> (u16, &'static str, [u16; 4]) {
        match self {
            Self::AppUnknown => (404, "app.not_found", [1008, 7008, 3002, 8104]),
            Self::BodyTooLarge => (413, "body.too_large", [1005, 7002, 3002, 8100]),
            Self::BodyUnreadable => (400, "body.unreadable", [1003, 7002, 3002, 8100]),
            Self::Busy => (503, "server.busy", [1030, 7030, 10, 8203]),
            Self::Credential(why) => (400, why, [1003, 7002, 3002, 8100]),
            Self::CredentialUnknown => (404, "credential.not_found", [1003, 7002, 3002, 8104]),
            Self::DeviceUnknown => (404, "device.not_found", [1003, 7002, 3002, 8104]),
            Self::Internal => (500, "server.internal", [1000, 7000, 10, 8200]),
            Self::Invalid => (400, "field.invalid", [1003, 7002, 3002, 8100]),
            Self::MessageUnknown => (404, "message.not_found", [1003, 7002, 3002, 8104]),
            Self::MethodNotAllowed => (405, "method.not_allowed", [1001, 7002, 3002, 8100]),
            Self::Missing => (400, "field.missing", [1002, 7002, 3002, 8100]),
            Self::NoTarget => (400, "audience.empty", [1011, 7002, 3002, 8100]),
            Self::NotFound => (404, "path.not_found", [1003, 7002, 3002, 8104]),
            Self::NotJson => (400, "body.not_json", [1002, 7002, 3002, 8100]),
            Self::RateExceeded => (429, "rate.exceeded", [2002; 4]),
            Self::TooLarge => (400, "field.too_large", [1005, 7002, 3002, 8100]),
            Self::Unauthenticated => (401, "auth.missing", [1004, 7001, 3001, 8101]),
            Self::UnknownKey => (400, "field.unknown", [1009, 7002, 3002, 8100]),
            Self::WrongCredentials => (401, "auth.rejected", [1004, 7004, 3001, 8101]),
        }
    }

    pub(crate) fn status(self) -> StatusCode {
        StatusCode::from_u16(self.entry().0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub(crate) fn code(self, family: Family) -> Code {
        let (_, word, [push, device, report, schedule]) = self.entry();
        match family {
            Family::Device => Code::Number(device),
            Family::Push => Code::Number(push),
            Family::Report => Code::Number(report),
            Family::Schedule => Code::Number(schedule),
            Family::V1 => match self {
                Self::Credential(_) => Code::Word(format!("credential.{word}").into()),
                _ => Code::Word(word.into()),
            },
        }
    }
}

/// A code as the reply carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Code {
    Number(u16),
    Word(Cow<'static, str>),
}

/// A refusal, or a failure of ours. It does not know in which family it was raised: as a response it is empty but for
/// its status, and the edge, which knows the path, writes the body with [`ApiError::render`].
#[derive(Debug)]
pub(crate) struct ApiError {
    cause: Option<anyhow::Error>,
    fault: Fault,
    field: Option<String>,
    message: Cow<'static, str>,
    msg_id: Option<MsgId>,
}

impl ApiError {
    pub(crate) fn new(fault: Fault, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            cause: None,
            fault,
            field: None,
            message: message.into(),
            msg_id: None,
        }
    }

    /// A failure of ours: the edge logs `cause` once, and the caller gets a fixed text.
    pub(crate) fn internal(cause: anyhow::Error) -> Self {
        Self {
            cause: Some(cause),
            ..Self::new(
                Fault::Internal,
                "Server internal error: it is in the server's log.",
            )
        }
    }

    /// A refusal of one field, by a text that names it already.
    pub(crate) fn with_field(self, field: impl Into<String>) -> Self {
        Self {
            field: Some(field.into()),
            ..self
        }
    }

    /// A refusal of one field; `why` continues a sentence that begins with the field's path.
    pub(crate) fn at(fault: Fault, field: impl Into<String>, why: impl AsRef<str>) -> Self {
        let field = field.into();
        let message = format!("{field} {}", why.as_ref());
        Self {
            field: Some(field),
            ..Self::new(fault, message)
        }
    }

    pub(crate) fn invalid(field: impl Into<String>, why: impl AsRef<str>) -> Self {
        Self::at(Fault::Invalid, field, why)
    }

    /// `wanted` says what the field should hold.
    pub(crate) fn missing(field: impl Into<String>, wanted: &str) -> Self {
        Self::at(Fault::Missing, field, format!("is missing: {wanted}"))
    }

    /// For a push that was refused after it had got an id.
    pub(crate) fn with_msg_id(self, msg_id: MsgId) -> Self {
        Self {
            msg_id: Some(msg_id),
            ..self
        }
    }

    pub(crate) fn fault(&self) -> Fault {
        self.fault
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// What went wrong inside, for the log and for nobody else.
    pub(crate) fn cause(&self) -> Option<&anyhow::Error> {
        self.cause.as_ref()
    }

    /// Writes the body and the headers of `response`, whose other headers stay.
    pub(crate) fn render(&self, family: Family, response: &mut Response) {
        #[derive(Serialize)]
        struct Envelope<'a> {
            error: Inner<'a>,
            #[serde(skip_serializing_if = "Option::is_none")]
            msg_id: Option<String>,
        }
        #[derive(Serialize)]
        struct Inner<'a> {
            code: Code,
            message: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            field: Option<&'a str>,
        }
        let envelope = Envelope {
            error: Inner {
                code: self.fault.code(family),
                message: &self.message,
                // JPush's envelope has no such key, and its newest SDK is strict about keys.
                field: self.field().filter(|_| family == Family::V1),
            },
            msg_id: self.msg_id.map(|id| id.to_string()),
        };
        let body = serde_json::to_vec(&envelope).expect("text and numbers serialise");

        *response.status_mut() = self.fault.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        if let Some(id) = self.msg_id {
            headers.insert(MSG_ID_HEADER, HeaderValue::from(id.0));
        }
        if self.fault.status() == StatusCode::UNAUTHORIZED {
            let scheme = match family {
                Family::V1 => "Bearer realm=\"tidings\"",
                _ => "Basic realm=\"tidings\"",
            };
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(scheme)); // RFC 9110 section 11.6.1 asks for it
        }
        *response.body_mut() = Body::from(body);
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::AppForgotten => Self::new(Fault::AppUnknown, "The app has been forgotten."),
            StoreError::Closed => Self::new(
                Fault::Busy,
                "The server is shutting down: try again in a moment.",
            ),
            error @ StoreError::Begin(_) => Self {
                cause: Some(error.into()),
                ..Self::new(
                    Fault::Busy,
                    "The server cannot write at the moment, nothing was done: try again in a moment.",
                )
            },
            error => Self::internal(error.into()),
        }
    }
}

impl From<CredentialError> for ApiError {
    fn from(error: CredentialError) -> Self {
        Self::new(Fault::Credential(error.code()), error.to_string()).with_field(error.field())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.fault.status().into_response();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// A text of the caller's as an error message shows it: quoted, escaped, and cut, since it may be as long as the body.
pub(crate) fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 64;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    async fn rendered(error: ApiError, family: Family) -> (u16, String) {
        let mut response = Response::new(Body::empty());
        error.render(family, &mut response);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 4096).await;
        let body = body.expect("a body").to_vec();
        (status, String::from_utf8(body).expect("UTF-8"))
    }

    #[test]
    fn a_path_has_a_family() {
        let cases = [
            ("/v3/push", Family::Push),
            ("/v3/push/validate", Family::Push),
            ("/v3/push/schedules/x", Family::Schedule),
            ("/v3/nothing", Family::Push),
            ("/v3/devices/x", Family::Device),
            ("/v3/aliases/x", Family::Device),
            ("/v3/tags", Family::Device),
            ("/v3/received/detail", Family::Report),
            ("/v3/schedules", Family::Schedule),
            ("/v1/apps", Family::V1),
            ("/", Family::V1),
        ];
        for (path, expected) in cases {
            assert_eq!(Family::of(path), expected, "{path}");
        }
    }

    #[test]
    fn the_codes_are_those_of_the_family() {
        let cases = [
            (Fault::WrongCredentials, Family::Push, 1004, 401),
            (Fault::Unauthenticated, Family::Device, 7001, 401),
            (Fault::WrongCredentials, Family::Device, 7004, 401),
            (Fault::WrongCredentials, Family::Report, 3001, 401),
            (Fault::WrongCredentials, Family::Schedule, 8101, 401),
            (Fault::Missing, Family::Push, 1002, 400),
            (Fault::Invalid, Family::Push, 1003, 400),
            (Fault::TooLarge, Family::Push, 1005, 400),
            (Fault::UnknownKey, Family::Push, 1009, 400),
            (Fault::NoTarget, Family::Push, 1011, 400),
            (Fault::MethodNotAllowed, Family::Push, 1001, 405),
            (Fault::RateExceeded, Family::Device, 2002, 429),
            (Fault::Busy, Family::Push, 1030, 503),
            (Fault::NotFound, Family::Schedule, 8104, 404),
        ];
        for (fault, family, code, status) in cases {
            assert_eq!(fault.code(family), Code::Number(code), "{fault:?}");
            assert_eq!(fault.status().as_u16(), status, "{fault:?}");
        }
    }

    #[tokio::test]
    async fn each_dialect_has_its_envelope() {
        let (status, body) = rendered(
            ApiError::new(Fault::NoTarget, "cannot find user by this audience")
                .with_msg_id(MsgId(18_100_528_814_460_569)),
            Family::Push,
        )
        .await;
        assert_eq!(status, 400);
        assert_eq!(
            body,
            r#"{"error":{"code":1011,"message":"cannot find user by this audience"},"msg_id":"18100528814460569"}"#
        );

        let wrong = ApiError::at(
            Fault::Credential("wrong_password"),
            "password",
            "does not open it",
        );
        let (_, body) = rendered(wrong, Family::V1).await;
        assert_eq!(
            body,
            r#"{"error":{"code":"credential.wrong_password","message":"password does not open it","field":"password"}}"#
        );
    }

    #[tokio::test]
    async fn a_cause_stays_inside() {
        let (status, body) =
            rendered(ApiError::internal(anyhow!("disk on fire")), Family::Report).await;
        assert_eq!(status, 500);
        assert!(
            body.contains(r#""code":10,"#) && !body.contains("fire"),
            "{body}"
        );
    }

    #[tokio::test]
    async fn a_database_that_is_held_by_another_program_is_not_a_server_that_stops() {
        let error = ApiError::from(StoreError::Begin(Arc::new(
            rusqlite::Error::SqliteSingleThreadedMode,
        )));
        assert!(error.cause().is_some(), "it is logged");
        let (status, body) = rendered(error, Family::Push).await;
        assert_eq!(status, 503);
        assert!(
            body.contains("try again") && !body.contains("shutting down"),
            "{body}"
        );
    }

    #[test]
    fn what_is_shown_is_escaped_and_cut() {
        assert_eq!(shown("a\n"), r#""a\n""#);
        assert_eq!(shown(&"é".repeat(1000)).chars().count(), 64 + 3);
    }
}
