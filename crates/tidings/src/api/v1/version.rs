//! `GET /v1/version`: which Tidings answers.

use axum::Json;
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(crate) struct VersionReply {
    version: &'static str,
}

pub(crate) async fn version() -> Json<VersionReply> {
    Json(VersionReply {
        version: env!("CARGO_PKG_VERSION"),
    })
}
