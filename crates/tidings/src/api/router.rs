//! Every call there is.

use axum::Router;
use axum::middleware::{from_extractor_with_state, from_fn_with_state};
use axum::routing::{delete, get, post, put};

use super::auth::Admin;
use super::http::edge;
use super::metrics::metrics;
use super::v1::{app, callback, credential, device, event, message, version};
use super::v3::{cid, push, received, status};
use super::{Api, v3};

/// All of the API on one host and port. `sandbox` is what the simulators offer under `/v1/sandbox`, for administrators.
pub(crate) fn router(api: Api, sandbox: Option<Router>) -> Router {
    // For back ends: JPush's REST API, with the app's key and master secret.
    let v3 = Router::new()
        .route("/v3/push", post(push::push))
        .route("/v3/push/cid", get(cid::cids))
        .route("/v3/push/validate", post(push::validate))
        .route("/v3/received", get(received::received))
        .route("/v3/received/detail", get(received::detail))
        .route("/v3/report/received", get(received::received))
        .route("/v3/report/received/detail", get(received::detail))
        .route("/v3/report/status/message", post(status::message))
        .route("/v3/status/message", post(status::message))
        .route_layer(from_fn_with_state(api.clone(), v3::admit));

    // For administrators, with their token.
    let admin = Router::new()
        .route("/metrics", get(metrics))
        .route("/v1/apps", get(app::list).post(app::create))
        .route(
            "/v1/apps/{app_key}",
            delete(app::forget).get(app::show).patch(app::change),
        )
        .route("/v1/apps/{app_key}/callbacks", get(callback::list))
        .route(
            "/v1/apps/{app_key}/callbacks/rotate",
            post(callback::rotate),
        )
        .route("/v1/apps/{app_key}/credentials", get(credential::list))
        .route(
            "/v1/apps/{app_key}/credentials/{provider}",
            put(credential::set).delete(credential::forget),
        )
        .route(
            "/v1/apps/{app_key}/credentials/{provider}/check",
            post(credential::check::check),
        )
        .route("/v1/apps/{app_key}/rotate-secret", post(app::rotate_secret))
        .route("/v1/version", get(version::version))
        .with_state(api.clone())
        .merge(sandbox.unwrap_or_default())
        .route_layer(from_extractor_with_state::<Admin, Api>(api.clone()));

    // For devices, each with its own secret; back ends and administrators may look, too.
    let devices = Router::new()
        .route("/v1/devices", post(device::register))
        .route(
            "/v1/devices/{registration_id}",
            delete(device::forget)
                .get(device::show)
                .patch(device::change),
        )
        .route("/v1/devices/{registration_id}/events", post(event::add));

    // For back ends and administrators.
    let messages = Router::new()
        .route("/v1/messages/{msg_id}", get(message::show))
        .route(
            "/v1/messages/{msg_id}/devices/{registration_id}",
            get(message::journey),
        );

    // For the makers, who know the secret in the path.
    let makers = Router::new().route(
        "/v1/callbacks/{provider}/{app_key}/{secret}",
        post(callback::receive),
    );

    edge(
        v3.merge(devices)
            .merge(messages)
            .merge(makers)
            .with_state(api)
            .merge(admin),
    )
}
