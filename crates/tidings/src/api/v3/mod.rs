//! JPush's REST API, version 3.

pub(crate) mod audience;
pub(crate) mod body;
pub(crate) mod cid;
pub(crate) mod notification;
mod notification_3rd;
pub(crate) mod options;
pub(crate) mod push;
pub(crate) mod received;
pub(crate) mod reply;
pub(crate) mod status;
pub(crate) mod strategy;
pub(crate) mod third_party;

use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tidings_model::MsgId;

use super::Api;
use super::error::{ApiError, Family};

/// Lets an app's back end in, which the handler finds as an extension of type [`App`](tidings_store::App), as often as
/// its limit allows.
pub(crate) async fn admit(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let app = match api.authenticate(request.headers()).await {
        Ok(app) => app,
        Err(error) => return error.into_response(),
    };
    let family = Family::of(request.uri().path());
    let allowance = api.rates.count(app.id, family, Instant::now());
    let mut response = match allowance.check() {
        Ok(()) => {
            request.extensions_mut().insert(app);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    };
    allowance.write_headers(response.headers_mut());
    response
}

/// The messages of a report, at most; JPush's limit.
const REPORT_IDS_MAX: usize = 100;

/// The value of `msg_ids` in a report's query.
fn msg_ids(text: &str) -> Result<Vec<MsgId>, ApiError> {
    let ids: Vec<&str> = text
        .split(',')
        .map(str::trim)
        .filter(|id| !id.is_empty())
        .collect();
    if ids.is_empty() {
        return Err(ApiError::missing(
            "msg_ids",
            "name one message or more, with commas between",
        ));
    }
    if ids.len() > REPORT_IDS_MAX {
        let why = format!(
            "may name at most {REPORT_IDS_MAX} messages, not {}",
            ids.len()
        );
        return Err(ApiError::invalid("msg_ids", why));
    }
    let parsed = ids.into_iter().map(|id| {
        id.parse().map_err(|error| {
            let why = format!("names {}: {error}", super::error::shown(id));
            ApiError::invalid("msg_ids", why)
        })
    });
    parsed.collect()
}
