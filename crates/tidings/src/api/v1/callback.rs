//! `POST /v1/callbacks/{provider}/{app_key}/{secret}`, where the makers send their receipts, and
//! `GET /v1/apps/{app_key}/callbacks`, which tells the addresses; `POST …/rotate` makes others.
//!
//! The address is public. Who does not know the secret costs two hashes: his body is not read, and nothing is looked up.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Request, State};
use http::HeaderMap;
use http::header::HOST;
use serde::Serialize;
use tidings_model::{AppKey, Provider, Secret, UnixMillis};
use tidings_store::{App, Receipt, Said};

use crate::api::Api;
use crate::api::error::{ApiError, Fault};
use crate::api::http::read_body;
use crate::providers::{adapter, adapters};
use crate::receipts::{BODY_BYTES_MAX, NotTaken, Reader, SIGNATURE, is_signed, json};

/// As the makers want it, Huawei to the letter.
#[derive(Debug, Serialize)]
pub(crate) struct Heard {
    code: &'static str,
    message: &'static str,
}

const HEARD: Heard = Heard {
    code: "0",
    message: "success",
};

pub(crate) async fn receive(
    State(api): State<Api>,
    Path((provider, app_key, secret)): Path<(String, String, String)>,
    request: Request,
) -> Result<Json<Heard>, ApiError> {
    let known = provider.parse::<Provider>().ok();
    let reader = known.and_then(|provider| Some((provider, adapter(provider)?.receipts()?)));
    let (Some((provider, read)), Ok(app_key)) = (reader, app_key.parse::<AppKey>()) else {
        return Err(wrong_address());
    };
    let Some(number) = api.store.callback_number(app_key, &secret) else {
        return Err(wrong_address());
    };
    let app = api.store.app(app_key).await?;
    let is_good = |app: &App| app.callbacks.takes(number, UnixMillis::now());
    if !app.as_ref().is_none_or(is_good) {
        return Err(wrong_address());
    }
    let (headers, secret) = (request.headers(), Secret::new(secret));
    if headers.contains_key(SIGNATURE) && !is_signed(headers, &app_key.to_string(), &secret) {
        api.receipt_counts.count(provider, "refused", 1);
        let text = "The signature is not right: the user name at Huawei is the app key, and the secret the last part of this address.";
        return Err(ApiError::new(Fault::WrongCredentials, text));
    }
    let body = read_body(request, BODY_BYTES_MAX).await?;
    let Some(app) = app else {
        return Ok(Json(HEARD));
    };
    let receipts = told(&api, &app, (provider, read), &body)?;
    match api
        .receipts
        .take(&api.store, receipts, &api.receipt_counts)
        .await
    {
        Ok(()) => Ok(Json(HEARD)),
        Err(NotTaken::Full | NotTaken::Failed) => Err(ApiError::new(
            Fault::Busy,
            "The receipts cannot be written down at the moment: send them again.",
        )),
    }
}

/// The receipts of a body. Here and not where they are waited for, so that nobody who waits holds his JSON.
fn told(
    api: &Api,
    app: &App,
    (provider, read): (Provider, Reader),
    body: &[u8],
) -> Result<Vec<Receipt>, ApiError> {
    let Some(body) = json(body) else {
        api.receipt_counts.count(provider, "unreadable", 1);
        let text = "The body must be JSON, or a form with JSON in one of its fields, with no more than 25,000 objects and lists.";
        return Err(ApiError::new(Fault::NotJson, text));
    };
    let mut receipts = Vec::new();
    for told in read(&body) {
        let count = told.tokens.len() as u64;
        let (Some(message), Some(said)) = (told.message, told.said) else {
            api.receipt_counts.count(provider, "other", count.max(1));
            continue;
        };
        api.receipt_counts.count(provider, word(&said), count);
        receipts.extend(told.tokens.into_iter().map(|token| Receipt {
            app: app.id,
            at: told.at,
            message,
            provider,
            said: said.clone(),
            token: token.into(),
        }));
    }
    Ok(receipts)
}

fn word(said: &Said) -> &'static str {
    match said {
        Said::Dead(_) => "dead",
        Said::Delivered => "delivered",
        Said::Opened => "opened",
        Said::Undelivered(_) => "undelivered",
    }
}

/// The same whatever of it is wrong.
fn wrong_address() -> ApiError {
    let text =
        "This is no address for receipts: GET /v1/apps/{app_key}/callbacks tells those of an app.";
    ApiError::new(Fault::WrongCredentials, text)
}

/// By provider, where it is to send the receipts of an app.
pub(crate) async fn list(
    State(api): State<Api>,
    Path(app_key): Path<String>,
    headers: HeaderMap,
) -> Result<Json<BTreeMap<&'static str, String>>, ApiError> {
    let app = api.app(&app_key).await?;
    Ok(addresses(&api, &app, &headers))
}

/// Makes other addresses, and tells them; the former ones are good for a day more, those before them no more.
pub(crate) async fn rotate(
    State(api): State<Api>,
    Path(app_key): Path<String>,
    headers: HeaderMap,
) -> Result<Json<BTreeMap<&'static str, String>>, ApiError> {
    let app = api.app(&app_key).await?;
    // It may have been deleted since.
    let rotated = api.store.rotate_callback_secret(app.id).await?;
    Ok(addresses(&api, &rotated.unwrap_or(app), &headers))
}

fn addresses(api: &Api, app: &App, headers: &HeaderMap) -> Json<BTreeMap<&'static str, String>> {
    let secret = api.store.callback_secret(app.key, app.callbacks.number);
    let base = match &api.public_url {
        Some(url) => url.to_string(),
        None => {
            let host = headers.get(HOST).and_then(|host| host.to_str().ok());
            format!("http://{}", host.unwrap_or("localhost"))
        }
    };
    let told = adapters().filter(|(_, adapter)| adapter.receipts().is_some());
    let told = told.map(|(provider, _)| {
        let name = provider.name();
        let url = format!("{base}/v1/callbacks/{name}/{}/{}", app.key, secret.expose());
        (name, url)
    });
    Json(told.collect())
}
