//! Receipts: what a maker tells a sender of the phones, posted to where the message, or the maker's console, says.
//!
//! A maker tells something when it happens to a phone; here it happens when the control API says so.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::hmac;
use axum::body::{Body, to_bytes};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use http::header::{CONTENT_TYPE, HOST};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use uuid::Uuid;

use crate::clock::now_ms;
use crate::deliveries::Delivery;
use crate::form::encoded;
use crate::limits::{RECEIPT_ANSWER_MAX, RECEIPT_PHONES_MAX, RECEIPT_TIMEOUT};
use crate::provider::Provider;

/// How a maker tells.
pub(crate) struct Receipts {
    /// Where a message says that its receipts go; none when only the console does.
    pub(crate) named: fn(&Value) -> Option<&str>,
    /// What of a message comes back with its receipts.
    pub(crate) param: fn(&Value) -> Option<&str>,
    /// None when it tells no such thing.
    pub(crate) body: fn(&Receipt<'_>) -> Option<Content>,
    /// It tells nothing of a message that a request carried to several phones.
    pub(crate) of_single_phones: bool,
}

/// What happened to some phones with a message.
pub(crate) struct Receipt<'a> {
    pub(crate) event: Event,
    /// The maker's own id of the delivery.
    pub(crate) id: &'a str,
    pub(crate) param: Option<&'a str>,
    pub(crate) phones: &'a [String],
    pub(crate) at_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Event {
    Clicked,
    /// The phone has removed the app, or got another token.
    Dead,
    Delivered,
    /// The phone does not have it, or does not show it.
    Undelivered,
}

/// What is posted.
pub(crate) enum Content {
    Form(Vec<(&'static str, String)>),
    Json(Value),
}

/// Where a maker's console says that receipts go, and what it signs them with, if it does.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Console {
    pub(crate) url: String,
    pub(crate) user: Option<String>,
    pub(crate) secret: Option<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Consoles(Mutex<HashMap<Provider, Console>>);

impl Consoles {
    pub(crate) fn set(&self, provider: Provider, console: Option<Console>) {
        let mut consoles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match console {
            Some(console) => consoles.insert(provider, console),
            None => consoles.remove(&provider),
        };
    }

    fn of(&self, provider: Provider) -> Option<Console> {
        let consoles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        consoles.get(&provider).cloned()
    }
}

/// A post, and how it was answered.
#[derive(Debug, Serialize)]
pub(crate) struct Posted {
    url: String,
    phones: usize,
    /// HTTP's; none when there was no answer.
    status: Option<u16>,
    /// The answer, or why there is none.
    answer: String,
}

/// Why nothing is posted.
#[derive(Debug)]
pub(crate) enum Untold {
    NoAddress,
    NoSuchReceipt,
}

/// Tells what happened to the phones of deliveries, which are all of one provider; `param` in the place of what the messages
/// say comes back with them.
pub(crate) async fn tell(
    receipts: &Receipts,
    consoles: &Consoles,
    deliveries: &[Delivery],
    event: Event,
    param: Option<&str>,
) -> Result<Vec<Posted>, Untold> {
    let mut posted = Vec::new();
    let console = deliveries
        .first()
        .and_then(|delivery| consoles.of(delivery.provider));
    for same in deliveries.chunk_by(|one, next| one.request == next.request) {
        if receipts.of_single_phones && same.len() > 1 {
            continue;
        }
        for few in same.chunks(RECEIPT_PHONES_MAX) {
            let Some(first) = few.first() else { continue };
            let message: Value = serde_json::from_str(&first.payload).unwrap_or_default();
            let named = (receipts.named)(&message).map(str::to_owned);
            let console = console.as_ref();
            let url = named.or_else(|| console.map(|console| console.url.clone()));
            let url = url.ok_or(Untold::NoAddress)?;
            let phones: Vec<String> = few.iter().map(|one| one.token.to_string()).collect();
            let receipt = Receipt {
                event,
                id: &first.id.to_string(),
                param: param.or_else(|| (receipts.param)(&message)),
                phones: &phones,
                at_ms: now_ms(),
            };
            let content = (receipts.body)(&receipt).ok_or(Untold::NoSuchReceipt)?;
            let signature = console.and_then(Console::signature);
            let (status, answer) =
                match timeout(RECEIPT_TIMEOUT, post(&url, content, signature)).await {
                    Ok(Ok((status, answer))) => (Some(status), answer),
                    Ok(Err(error)) => (None, error),
                    Err(_) => (None, "no answer in time".to_owned()),
                };
            posted.push(Posted {
                url,
                phones: phones.len(),
                status,
                answer,
            });
        }
    }
    Ok(posted)
}

impl Console {
    /// As Huawei signs its calls where both are set.
    fn signature(&self) -> Option<String> {
        let (user, secret) = (self.user.as_ref()?, self.secret.as_ref()?);
        let (timestamp, nonce) = (now_ms(), Uuid::new_v4());
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let tag = hmac::sign(&key, format!("{timestamp}{nonce}{user}").as_bytes());
        let value = STANDARD.encode(tag.as_ref());
        Some(format!(
            "timestamp={timestamp}; nonce={nonce}; value={value}"
        ))
    }
}

/// Posts over a connection of its own, in the clear: what is told here is beside the sandbox.
async fn post(
    url: &str,
    content: Content,
    signature: Option<String>,
) -> Result<(u16, String), String> {
    let uri: Uri = url
        .parse()
        .map_err(|_| "the address is no URL".to_owned())?;
    let (Some("http"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err("the sandbox posts to http:// only".to_owned());
    };
    let (kind, body) = match content {
        Content::Form(fields) => ("application/x-www-form-urlencoded", encoded(&fields)),
        Content::Json(value) => ("application/json;charset=utf-8", value.to_string()),
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = http::Request::post(path)
        .header(HOST, authority.as_str())
        .header(CONTENT_TYPE, kind);
    if let Some(signature) = signature {
        request = request.header("x-huawei-callback-id", signature);
    }
    let told = |error: &dyn std::error::Error| error.to_string();
    let request = request
        .body(Body::from(body))
        .map_err(|error| told(&error))?;
    let place = (
        authority.host().trim_matches(['[', ']']),
        authority.port_u16().unwrap_or(80),
    );
    let socket = TcpStream::connect(place)
        .await
        .map_err(|error| told(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket))
        .await
        .map_err(|error| told(&error))?;
    // What goes wrong with it, the request is told.
    let driver = tokio::spawn(connection).abort_handle();
    let answered = async {
        let answer = sender
            .send_request(request)
            .await
            .map_err(|error| told(&error))?;
        let status = answer.status().as_u16();
        let body = to_bytes(Body::new(answer.into_body()), RECEIPT_ANSWER_MAX).await;
        let body = body.map_err(|error| told(&error))?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    let answered = answered.await;
    driver.abort();
    answered
}
