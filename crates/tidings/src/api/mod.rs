//! The HTTP API: the edge that every request passes, JPush's calls under `/v3`, and Tidings' own under `/v1`.

pub(crate) mod auth;
pub(crate) mod error;
pub(crate) mod fields;
pub(crate) mod http;
pub(crate) mod rate;
pub(crate) mod v1;
pub(crate) mod v3;
