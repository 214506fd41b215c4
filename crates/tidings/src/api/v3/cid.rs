//! `GET /v3/push/cid`: keys by which a repeated push is known.

use axum::extract::Query;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use tidings_store::App;
use uuid::Uuid;

use crate::api::error::{ApiError, shown};

/// Keys in one answer; JPush's limit.
const COUNT_MAX: usize = 1000;

#[derive(Debug, Deserialize)]
pub(crate) struct CidQuery {
    #[serde(default)]
    count: String,
    #[serde(default, rename = "type")]
    kind: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct CidReply {
    cidlist: Vec<String>,
}

pub(crate) async fn cids(
    Extension(app): Extension<App>,
    Query(query): Query<CidQuery>,
) -> Result<Json<CidReply>, ApiError> {
    let count = match query.count.as_str() {
        "" => 1,
        text => text
            .parse()
            .ok()
            .filter(|count| (1..=COUNT_MAX).contains(count))
            .ok_or_else(|| {
                let why = format!(
                    "must be a whole number from 1 to {COUNT_MAX}, not {}",
                    shown(text)
                );
                ApiError::invalid("count", why)
            })?,
    };
    if !matches!(query.kind.as_str(), "" | "push" | "schedule") {
        let why = format!("must be push or schedule, not {}", shown(&query.kind));
        return Err(ApiError::invalid("type", why));
    }
    let cid = || format!("{}-{}", app.key, Uuid::new_v4());
    Ok(Json(CidReply {
        cidlist: std::iter::repeat_with(cid).take(count).collect(),
    }))
}
