//! APNs' provider API: `POST /3/device/<token>` over HTTP/2, as Apple's "Sending notification requests to APNs" and
//! the pages around it describe it.
//!
//! `broadcast` is channel management and what is sent to a channel.
//!
//! `connection` owns a socket and moves streams, `request` judges one request, `token` and `certificate` are the two
//! ways to authenticate, `reason` is Apple's table of refusals. Only `connection` and `wire` do I/O; judging is told the
//! time.

pub(crate) mod answer;
pub(crate) mod broadcast;
pub(crate) mod certificate;
pub(crate) mod connection;
pub(crate) mod reason;
pub(crate) mod request;
pub(crate) mod token;
pub(crate) mod upload;
pub(crate) mod wire;
