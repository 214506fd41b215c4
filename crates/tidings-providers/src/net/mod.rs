//! From an endpoint's name to a TLS connection, by way of a proxy if there is one: the same for all providers.

mod dial;
mod endpoint;
mod proxy;

pub use dial::Obstacle;
pub(crate) use dial::{DialError, Dialer, alert_in, roots};
pub(crate) use endpoint::Endpoint;
pub(crate) use proxy::Proxy;

/// Whether `text` is of the form `https://HOST` or `https://HOST:PORT` that an `endpoint` takes.
pub fn is_endpoint(text: &str) -> bool {
    Endpoint::parse(text).is_some()
}

/// `https://HOST:PORT` and the path behind it, if there is one: where one thing is asked for.
pub(crate) fn split_url(text: &str) -> Option<(Endpoint, Option<String>)> {
    let uri: http::Uri = text.parse().ok()?;
    let authority = uri.authority()?;
    let base = format!("{}://{authority}", uri.scheme_str()?);
    let path = Some(uri.path().to_owned()).filter(|path| path.len() > 1);
    let is_plain = uri.query().is_none() && !text.contains('#');
    is_plain.then_some((Endpoint::parse(&base)?, path))
}

/// Whether `text` is of the form `https://HOST:PORT/PATH` that a `token_endpoint` takes; the path may be left out.
pub fn is_url(text: &str) -> bool {
    split_url(text).is_some()
}

/// Whether `text` is of the form `http://[USER:PASSWORD@]HOST:PORT` that a `proxy` takes.
pub fn is_proxy(text: &str) -> bool {
    Proxy::parse(text).is_some()
}
