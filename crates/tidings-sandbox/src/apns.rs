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

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::apns::reason::Reason;
use crate::credentials::Credentials;
use crate::simulator::Simulator;

pub(crate) const SIMULATOR: Simulator = Simulator {
    token: |text| text.parse(),
    calls: None,
    status_of: |reason| Reason::named(reason).map(Reason::status),
    reason_for: |status| Reason::usual_for(status).map(Reason::name),
    is_of_token: |_| false,
    too_fast: None,
    spent: None,
    receipts: None,
    fault_status_min: 400,
    client: None,
    credentials,
};

fn credentials(credentials: &Credentials, url: &str) -> Value {
    let apns = &credentials.apns;
    json!({
        "endpoint": url,
        "url": url,
        "p8": apns.p8,
        "key_id": apns.key_id,
        "team_id": apns.team_id,
        "p12": STANDARD.encode(&apns.p12),
        "password": apns.password,
        "topic": apns.topic,
    })
}
