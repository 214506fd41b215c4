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

/// Whether `text` is of the form `http://[USER:PASSWORD@]HOST:PORT` that a `proxy` takes.
pub fn is_proxy(text: &str) -> bool {
    Proxy::parse(text).is_some()
}
