//! The edge that every request passes before it is routed, and every answer before it is sent.
//!
//! Paths are normalised, since the SDKs send `/v3//push`, `/v3/push/` and `/v3/tags//t/…`; a refusal gets the body of
//! its family; a panic becomes an answer. The request's `Content-Type` is looked at nowhere, since SDKs send wrong ones.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use axum::Router;
use axum::body::BodyDataStream;
use axum::extract::{FromRequest, Request};
use axum::middleware::{Next, from_fn, map_request};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::header::CONTENT_TYPE;
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri};
use tokio::time::timeout;
use tracing::{debug, error};

use super::error::{ApiError, Family, Fault, shown};

/// Bytes of a body of `/v3` before it is looked at: a thousand single pushes in one batch.
const V3_BODY_BYTES_MAX: usize = 1 << 20;
/// Bytes of any other body: a credential with a chain of certificates, a device with a thousand tags.
const V1_BODY_BYTES_MAX: usize = 256 << 10;
/// Bytes of a body that is too large which are read all the same, so that its sender hears so.
const DISCARDED_BYTES_MAX: usize = 32 << 20;
/// How long a caller may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Puts the edge around the routes.
pub(crate) fn edge(routes: Router) -> Router {
    let routes = routes
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn(answer));
    // A layer runs after routing, so the paths are normalised in a router that has no routes of its own.
    Router::new()
        .fallback_service(routes)
        .layer(map_request(normalise))
}

/// A whole body, within the limit of its family.
#[derive(Debug)]
pub(crate) struct RawBody(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for RawBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let bytes_max = match request.extensions().get() {
            None | Some(Family::V1) => V1_BODY_BYTES_MAX,
            Some(Family::Device | Family::Push | Family::Report | Family::Schedule) => {
                V3_BODY_BYTES_MAX
            }
        };
        read_body(request, bytes_max).await.map(Self)
    }
}

/// The whole body of a request, of at most `bytes_max`.
pub(crate) async fn read_body(request: Request, bytes_max: usize) -> Result<Bytes, ApiError> {
    let body = request.into_body().into_data_stream();
    match timeout(BODY_TIMEOUT, read(body, bytes_max)).await {
        Ok(Ok(Some(body))) => Ok(body),
        Ok(Ok(None)) => Err(ApiError::new(
            Fault::BodyTooLarge,
            format!("The body is larger than this call takes, {bytes_max} bytes at most."),
        )),
        Ok(Err(_)) => Err(ApiError::new(
            Fault::BodyUnreadable,
            "The body ended before it was complete.",
        )),
        Err(_) => Err(ApiError::new(
            Fault::BodyUnreadable,
            format!("The body was not complete after {BODY_TIMEOUT:?}."),
        )),
    }
}

/// The body; none when it is larger than `bytes_max`. What is too much is read and thrown away, up to a bound: many
/// clients listen only when they have sent all, and a connection that is closed before takes the answer with it.
async fn read(mut body: BodyDataStream, bytes_max: usize) -> Result<Option<Bytes>, axum::Error> {
    let mut kept = BytesMut::new();
    let mut len = 0;
    while let Some(piece) = body.next().await {
        let piece = piece?;
        len += piece.len();
        if len <= bytes_max {
            kept.extend_from_slice(&piece);
        } else if len > DISCARDED_BYTES_MAX {
            break;
        }
    }
    Ok((len <= bytes_max).then(|| kept.freeze()))
}

/// Collapses slashes and drops one at the end. Percent-encoding stays, so that a tag may hold an encoded slash.
async fn normalise(mut request: Request) -> Request {
    if let Some(uri) = normal_uri(request.uri()) {
        *request.uri_mut() = uri;
    }
    request
}

/// The URI with a normal path; none when it is normal already.
fn normal_uri(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    if !path.contains("//") && (path == "/" || !path.ends_with('/')) {
        return None;
    }
    let mut normal: String = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .flat_map(|segment| ["/", segment])
        .collect();
    if normal.is_empty() {
        normal.push('/');
    }
    if let Some(query) = uri.query() {
        normal.push('?');
        normal.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(normal).ok()?);
    Uri::from_parts(parts).ok()
}

async fn not_found(uri: Uri) -> ApiError {
    let path = shown(uri.path());
    ApiError::new(
        Fault::NotFound,
        format!("There is no call with the path {path}."),
    )
}

async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    let (method, path) = (shown(method.as_str()), shown(uri.path()));
    ApiError::new(
        Fault::MethodNotAllowed,
        format!("The method {method} is not allowed for the path {path}."),
    )
}

/// Runs the call, which finds its [`Family`] among the request's extensions, and gives a refusal or a panic the body of
/// that family.
async fn answer(mut request: Request, next: Next) -> Response {
    let family = Family::of(request.uri().path());
    let method = request.method().clone();
    let uri = request.uri().clone();
    request.extensions_mut().insert(family);
    // In a task of its own a call runs to its end also when its caller hangs up: what it has committed is told of.
    let mut response = tokio::spawn(next.run(request)).await.unwrap_or_else(|end| {
        let cause = match end.try_into_panic() {
            Ok(panic) => anyhow!("panic: {}", said(&*panic)),
            Err(end) => end.into(),
        };
        ApiError::internal(cause).into_response()
    });
    debug!(%method, path = logged(&uri), status = response.status().as_u16(), "called");
    let error = match response.extensions_mut().remove::<Arc<ApiError>>() {
        Some(error) => error,
        None if is_foreign_refusal(&uri, &response) => Arc::new(ApiError::new(
            Fault::Invalid,
            "The path or the query of this call cannot be read: they must be percent-encoded UTF-8.",
        )),
        None => return response,
    };
    if let Some(cause) = error.cause() {
        error!(%method, path = logged(&uri), "a call failed: {cause:#}");
    }
    error.render(family, &mut response);
    response
}

/// A path as a log may have it: the address for receipts ends with its secret.
fn logged(uri: &Uri) -> &str {
    match uri.path() {
        path if path.starts_with("/v1/callbacks/") => {
            path.rsplit_once('/').map_or(path, |(before, _)| before)
        }
        path => path,
    }
}

/// Whether an extractor of axum's refused the request, whose texts are no JSON.
fn is_foreign_refusal(uri: &Uri, response: &Response) -> bool {
    let is_api = uri.path().starts_with("/v1/") || uri.path().starts_with("/v3/");
    let content_type = response.headers().get(CONTENT_TYPE);
    let is_json = content_type.is_some_and(|value| value == "application/json");
    is_api && response.status() == StatusCode::BAD_REQUEST && !is_json
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "no text",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::extract::Path;
    use axum::routing::{get, post};
    use tokio::sync::Notify;
    use tower::ServiceExt;

    async fn push(RawBody(body): RawBody) -> String {
        body.len().to_string()
    }

    async fn tag(Path(tag): Path<String>) -> String {
        tag
    }

    async fn broken() -> String {
        panic!("on purpose")
    }

    async fn answered(method: &str, uri: &str, body: Body) -> Response {
        let routes = Router::new()
            .route("/", get(async || "root"))
            .route("/v3/push", post(push))
            .route("/v3/tags/{tag}", get(tag))
            .route("/v3/received", get(broken))
            .route("/v1/apps", post(push));
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("content-type", "application/json;charset:utf-8")
            .body(body)
            .expect("a request");
        edge(routes).oneshot(request).await.expect("infallible")
    }

    async fn send(method: &str, uri: &str, body: Body) -> (u16, String) {
        let response = answered(method, uri, body).await;
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 4096).await;
        let body = String::from_utf8(body.expect("a body").to_vec()).expect("UTF-8");
        (status, body)
    }

    #[tokio::test]
    async fn paths_are_normalised_before_routing() {
        let cases = [
            ("POST", "/v3/push", "0"),
            ("POST", "/v3/push/", "0"),
            ("POST", "//v3///push//", "0"),
            ("POST", "/v3/push/?a=//b/", "0"),
            ("POST", "http://host//v3/push", "0"),
            ("GET", "/v3/tags//t1/", "t1"),
            ("GET", "/v3/tags/a%2Fb", "a/b"),
            ("GET", "/v3/tags/a+b%20c", "a+b c"),
            ("GET", "//", "root"),
        ];
        for (method, uri, expected) in cases {
            let answer = send(method, uri, Body::empty()).await;
            assert_eq!(answer, (200, expected.to_owned()), "{method} {uri}");
        }
    }

    #[test]
    fn no_log_has_the_secret_of_an_address() {
        let path = |text: &'static str| logged(&Uri::from_static(text)).to_owned();
        assert_eq!(
            path("/v1/callbacks/xiaomi/key/secret"),
            "/v1/callbacks/xiaomi/key"
        );
        assert_eq!(path("/v3/push"), "/v3/push");
    }

    #[tokio::test]
    async fn every_refusal_has_a_body_of_its_family() {
        let cases = [
            ("POST", "/v3/pushes", 404, "\"code\":1003"),
            ("GET", "/v3/schedules/x/", 404, "\"code\":8104"),
            ("GET", "/v1/nothing", 404, "\"code\":\"path.not_found\""),
            ("GET", "/v3/push", 405, "\"code\":1001"),
            ("DELETE", "/v3//tags/x", 405, "\"code\":7002"),
            ("GET", "/v3/received", 500, "\"code\":10,"),
            ("GET", "/v3/tags/%FF", 400, "\"code\":7002"),
        ];
        for (method, uri, status, code) in cases {
            let answer = send(method, uri, Body::empty()).await;
            assert_eq!(answer.0, status, "{method} {uri}");
            assert!(answer.1.contains(code), "{method} {uri}: {}", answer.1);
            assert!(!answer.1.contains("on purpose"), "{}", answer.1);
        }
    }

    #[tokio::test]
    async fn the_headers_of_a_refusal_say_what_would_be_right() {
        let response = answered("GET", "/v3/push", Body::empty()).await;
        assert_eq!(response.headers()["allow"], "POST");
        assert_eq!(response.headers()["content-type"], "application/json");
        let length = response.headers()["content-length"].clone();
        let body = axum::body::to_bytes(response.into_body(), 4096).await;
        assert_eq!(length, body.expect("a body").len().to_string());
    }

    #[tokio::test]
    async fn a_body_has_a_limit_also_when_its_length_is_not_told() {
        for (uri, bytes_max, code) in [
            ("/v3/push", V3_BODY_BYTES_MAX, "\"code\":1005"),
            ("/v1/apps", V1_BODY_BYTES_MAX, "\"code\":\"body.too_large\""),
        ] {
            let body = |len| {
                let bytes = Ok::<_, BrokenOff>("x".repeat(len));
                Body::from_stream(futures_util::stream::iter([bytes]))
            };
            assert_eq!(send("POST", uri, body(bytes_max)).await.0, 200);
            let answer = send("POST", uri, body(bytes_max + 1)).await;
            assert_eq!(answer.0, 413);
            assert!(answer.1.contains(code), "{}", answer.1);
        }

        let cut = Body::from_stream(futures_util::stream::iter([Ok("x"), Err(BrokenOff)]));
        assert_eq!(send("POST", "/v3/push", cut).await.0, 400);
    }

    #[tokio::test]
    async fn a_call_runs_to_its_end_when_its_caller_hangs_up() {
        let (begun, go_on, ended) = (Notify::new(), Notify::new(), Notify::new());
        let steps = Arc::new((begun, go_on, ended));
        let handler = {
            let steps = Arc::clone(&steps);
            async move || {
                steps.0.notify_one();
                steps.1.notified().await;
                steps.2.notify_one();
            }
        };
        let routes = edge(Router::new().route("/v1/apps", get(handler)));
        let request = Request::builder().uri("/v1/apps").body(Body::empty());
        let call = tokio::spawn(routes.oneshot(request.expect("a request")));
        steps.0.notified().await;
        call.abort();
        assert!(call.await.is_err_and(|end| end.is_cancelled()));
        steps.1.notify_one();
        steps.2.notified().await;
    }

    #[derive(Debug, thiserror::Error)]
    #[error("the connection broke off")]
    struct BrokenOff;
}
