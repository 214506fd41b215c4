//! The control API: what was delivered, trouble on request, phones that are gone, credentials.
//!
//! It does no authentication: the server puts its own in front, and a stand-alone control port has none.

use std::str::FromStr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State as Shared};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, put};
use axum::{Json, Router};
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::clock::now_ms;
use crate::credentials::Credentials;
use crate::deliveries::{Delivery, DeliveryQuery};
use crate::faults::{Fault, FaultBody};
use crate::limits::{DELIVERIES_PAGE, DELIVERIES_PAGE_MAX};
use crate::phones::Phone;
use crate::provider::Provider;
use crate::quotas::{Quota, Standing};
use crate::receipts::{self, Console, Event, Receipts, Untold};
use crate::sandbox::Sandbox;
use crate::state::State;

/// The routes under `/v1/sandbox`, for a running sandbox. They keep its state alive, but not its listener.
pub fn control_router(sandbox: &Sandbox) -> Router {
    let control = Control {
        state: Arc::clone(sandbox.state()),
        credentials: Arc::clone(sandbox.credentials()),
        url: sandbox.url(),
    };
    Router::new()
        .route("/v1/sandbox/credentials", get(credentials))
        .route("/v1/sandbox/deliveries", get(deliveries))
        .route("/v1/sandbox/faults", delete(end_faults).post(set_fault))
        .route("/v1/sandbox/faults/{id}", delete(end_fault))
        .route("/v1/sandbox/phones/{provider}/{token}", put(set_phone))
        .route(
            "/v1/sandbox/tokens/{provider}",
            get(tokens).delete(expire_tokens),
        )
        .route(
            "/v1/sandbox/receipts/{provider}",
            put(set_console).post(tell),
        )
        .route("/v1/sandbox/quotas/{provider}", get(quota).put(set_quota))
        .with_state(control)
}

#[derive(Clone)]
struct Control {
    state: Arc<State>,
    credentials: Arc<Credentials>,
    url: String,
}

async fn credentials(Shared(control): Shared<Control>) -> Json<Value> {
    Json(told_of(&control.credentials, &control.url))
}

/// What `GET /v1/sandbox/credentials` answers: what a sender needs to be let in, by provider.
pub fn told(sandbox: &Sandbox) -> Value {
    told_of(sandbox.credentials(), &sandbox.url())
}

fn told_of(credentials: &Credentials, url: &str) -> Value {
    let mut told = credentials.by_provider(url);
    told.insert("ca".to_owned(), json!(credentials.ca));
    Value::Object(told)
}

/// How many access tokens a provider has given out.
async fn tokens(
    Shared(control): Shared<Control>,
    Path(provider): Path<String>,
) -> Result<Json<Value>, ControlError> {
    let provider = required("provider", &provider)?;
    let issued = control.state.access_tokens.issued(provider);
    Ok(Json(json!({ "issued": issued })))
}

/// Lets the access tokens of a provider expire.
async fn expire_tokens(
    Shared(control): Shared<Control>,
    Path(provider): Path<String>,
) -> Result<Json<Value>, ControlError> {
    let provider = required("provider", &provider)?;
    control.state.access_tokens.expire(provider);
    Ok(Json(json!({})))
}

/// How a maker's limits stand.
async fn quota(
    Shared(control): Shared<Control>,
    Path(provider): Path<String>,
) -> Result<Json<Standing>, ControlError> {
    let provider = limited(&provider)?;
    Ok(Json(control.state.quotas.standing(provider, now_ms())))
}

/// Sets a maker's limits; what is not named has none.
async fn set_quota(
    Shared(control): Shared<Control>,
    Path(provider): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, ControlError> {
    let provider = limited(&provider)?;
    let quota: Quota = read(&body?)?;
    if quota.phones_per_day.is_some() && provider.simulator().spent.is_none() {
        let message = format!("{provider} documents no daily quota");
        return Err(ControlError::invalid("phones_per_day", message));
    }
    control.state.quotas.set(provider, quota);
    Ok(Json(json!({})))
}

/// A maker: APNs has limits by phone, which are not simulated.
fn limited(provider: &str) -> Result<Provider, ControlError> {
    let provider: Provider = required("provider", provider)?;
    match provider.simulator().calls {
        Some(_) => Ok(provider),
        None => Err(ControlError::invalid(
            "provider",
            format!("the limits of {provider} are not simulated"),
        )),
    }
}

/// Where a maker's console says that receipts go.
async fn set_console(
    Shared(control): Shared<Control>,
    Path(provider): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, ControlError> {
    let (provider, _) = telling(&provider)?;
    let console: Option<Console> = read(&body?)?;
    control.state.consoles.set(provider, console);
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Happened {
    event: Event,
    /// The phone; all that have got something when it is not given.
    token: Option<String>,
    /// In the place of what the message says is to come back.
    param: Option<String>,
    /// Only of deliveries with a greater `seq`.
    after: Option<u64>,
}

/// Something happens to phones, and the maker tells it.
async fn tell(
    Shared(control): Shared<Control>,
    Path(provider): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, ControlError> {
    let (provider, receipts) = telling(&provider)?;
    let happened: Happened = read(&body?)?;
    let query = DeliveryQuery {
        provider: Some(provider),
        token: happened.token,
        after: happened.after.unwrap_or(0),
        limit: DELIVERIES_PAGE_MAX,
    };
    let page = control.state.deliveries.page(&query);
    let (consoles, param) = (&control.state.consoles, happened.param.as_deref());
    let told = receipts::tell(receipts, consoles, &page.deliveries, happened.event, param);
    let posted = told.await.map_err(|untold| match untold {
        Untold::NoAddress => ControlError::invalid(
            "url",
            "neither the message nor the console says where receipts go",
        ),
        Untold::NoSuchReceipt => {
            ControlError::invalid("event", format!("{provider} tells no such thing"))
        }
    })?;
    Ok(Json(json!({ "posted": posted })))
}

/// A maker that sends receipts.
fn telling(provider: &str) -> Result<(Provider, &'static Receipts), ControlError> {
    let provider: Provider = required("provider", provider)?;
    match &provider.simulator().receipts {
        Some(receipts) => Ok((provider, receipts)),
        None => Err(ControlError::invalid(
            "provider",
            format!("{provider} sends no receipts"),
        )),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeliveriesParams {
    provider: Option<String>,
    token: Option<String>,
    after: Option<u64>,
    limit: Option<usize>,
}

#[derive(Serialize)]
struct DeliveriesReply {
    deliveries: Vec<DeliveryBody>,
    next: u64,
    #[serde(skip_serializing_if = "is_zero")]
    dropped: u64,
}

#[derive(Serialize)]
struct DeliveryBody {
    seq: u64,
    provider: Provider,
    token: String,
    id: String,
    request: u64,
    at: i64,
    payload: Box<RawValue>,
}

async fn deliveries(
    Shared(control): Shared<Control>,
    params: Result<Query<DeliveriesParams>, QueryRejection>,
) -> Result<Json<DeliveriesReply>, ControlError> {
    let Query(params) = params?;
    let provider = params.provider.as_deref();
    let provider: Option<Provider> = provider
        .map(|name| required("provider", name))
        .transpose()?;
    if let (Some(provider), Some(token)) = (provider, &params.token) {
        provider
            .token(token)
            .map_err(|error| ControlError::invalid("token", error.to_string()))?;
    }
    let query = DeliveryQuery {
        provider,
        token: params.token,
        after: params.after.unwrap_or(0),
        limit: match params.limit {
            None => DELIVERIES_PAGE,
            Some(limit @ 1..=DELIVERIES_PAGE_MAX) => limit,
            Some(_) => {
                let message = format!("must be 1 to {DELIVERIES_PAGE_MAX}");
                return Err(ControlError::invalid("limit", message));
            }
        },
    };
    let page = control.state.deliveries.page(&query);
    Ok(Json(DeliveriesReply {
        deliveries: page.deliveries.iter().filter_map(delivery_body).collect(),
        next: page.next,
        dropped: page.dropped,
    }))
}

async fn set_fault(
    Shared(control): Shared<Control>,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Value>), ControlError> {
    let id = Fault::try_from(read::<FaultBody>(&body?)?)
        .and_then(|fault| control.state.faults.add(fault))
        .map_err(|error| ControlError::invalid(error.field, error.message))?;
    Ok((StatusCode::CREATED, Json(json!({ "id": id.to_string() }))))
}

async fn end_faults(Shared(control): Shared<Control>) -> Json<Value> {
    control.state.faults.clear();
    Json(json!({}))
}

async fn end_fault(
    Shared(control): Shared<Control>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ControlError> {
    match id.parse() {
        Ok(id) if control.state.faults.remove(id) => Ok(Json(json!({}))),
        _ => Err(ControlError {
            status: StatusCode::NOT_FOUND,
            code: "fault_not_found",
            message: format!("id: no fault {id:?} is set; it may have ended by its count"),
        }),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PhoneBody {
    state: PhoneState,
    /// Milliseconds since the Unix epoch; now when it is not given.
    since: Option<i64>,
    /// The app that the token belongs to; any when it is not given.
    topic: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum PhoneState {
    Installed,
    Uninstalled,
}

async fn set_phone(
    Shared(control): Shared<Control>,
    Path((provider, token)): Path<(String, String)>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, ControlError> {
    let provider: Provider = required("provider", &provider)?;
    let token = provider
        .token(&token)
        .map_err(|error| ControlError::invalid("token", error.to_string()))?;
    let body: PhoneBody = read(&body?)?;
    let uninstalled_since = match (body.state, body.since) {
        (PhoneState::Installed, None) => None,
        (PhoneState::Installed, Some(_)) => {
            let message = "goes with the state \"uninstalled\" only";
            return Err(ControlError::invalid("since", message));
        }
        (PhoneState::Uninstalled, None) => Some(now_ms()),
        (PhoneState::Uninstalled, Some(since @ 0..)) => Some(since),
        (PhoneState::Uninstalled, Some(_)) => {
            let message = "must be milliseconds since the Unix epoch, 0 or more";
            return Err(ControlError::invalid("since", message));
        }
    };
    let phone = Phone {
        uninstalled_since,
        topic: body.topic,
    };
    control
        .state
        .phones
        .put(provider, token, phone)
        .map_err(|error| ControlError {
            status: StatusCode::INSUFFICIENT_STORAGE,
            code: "too_many_phones",
            message: error.to_string(),
        })?;
    Ok(Json(json!({})))
}

/// An error of the control API: `{"error":{"code","message"}}`, the message beginning with the field.
struct ControlError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl ControlError {
    fn invalid(field: &str, message: impl AsRef<str>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code: "invalid_request",
            message: format!("{field}: {}", message.as_ref()),
        }
    }
}

impl From<BytesRejection> for ControlError {
    fn from(rejection: BytesRejection) -> Self {
        Self {
            // Too large, or cut off.
            status: rejection.status(),
            code: "invalid_request",
            message: format!("body: {}", rejection.body_text()),
        }
    }
}

impl From<JsonRejection> for ControlError {
    fn from(rejection: JsonRejection) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code: "invalid_request",
            message: rejection.body_text(),
        }
    }
}

impl From<QueryRejection> for ControlError {
    fn from(rejection: QueryRejection) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code: "invalid_request",
            message: rejection.body_text(),
        }
    }
}

impl IntoResponse for ControlError {
    fn into_response(self) -> Response {
        let body = json!({ "error": { "code": self.code, "message": self.message } });
        (self.status, Json(body)).into_response()
    }
}

fn delivery_body(delivery: &Delivery) -> Option<DeliveryBody> {
    Some(DeliveryBody {
        seq: delivery.seq,
        provider: delivery.provider,
        token: delivery.token.to_string(),
        id: delivery.id.to_string(),
        request: delivery.request,
        at: delivery.at,
        payload: RawValue::from_string(delivery.payload.to_string()).ok()?,
    })
}

/// A JSON body, whatever its `Content-Type` says: curl's `-d` calls it a form.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ControlError> {
    let Json(body) = Json::from_bytes(body)?;
    Ok(body)
}

fn required<T: FromStr<Err: ToString>>(field: &str, text: &str) -> Result<T, ControlError> {
    text.parse()
        .map_err(|error: T::Err| ControlError::invalid(field, error.to_string()))
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
