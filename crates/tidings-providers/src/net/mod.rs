//! From an endpoint's name to a TLS connection, by way of a proxy if there is one: the same for all providers.

mod dial;
mod endpoint;
mod proxy;

pub use dial::Obstacle;
pub(crate) use dial::{DialError, Dialer, alert_in, roots};
pub(crate) use endpoint::Endpoint;
pub(crate) use proxy::Proxy;
