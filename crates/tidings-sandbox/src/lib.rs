//! Simulated push providers that speak the real wire protocols, for development and tests without an account.
//!
//! [`Sandbox::start`] serves them; [`control_router`] tells what was delivered and makes trouble on request. Every
//! request is checked as the provider checks it. Nothing here is shared with the senders of Tidings, so that both
//! cannot be wrong in the same way.
//!
//! State is in memory and ends with the process.

mod access_tokens;
mod answer;
mod apns;
mod authority;
mod batch;
mod channels;
mod clients;
mod clock;
mod codes;
mod control;
mod credentials;
mod deliveries;
mod device_token;
mod faults;
mod fields;
mod form;
mod hmos;
mod honor;
mod http1;
mod huawei;
mod invalid_ids;
mod limits;
mod makers;
mod meizu;
mod oauth;
mod oppo;
mod phones;
mod provider;
mod quotas;
mod receipts;
mod sandbox;
mod saved;
mod service_account;
mod signing;
mod simulator;
mod state;
mod tls;
mod vivo;
mod xiaomi;

pub use access_tokens::AccessTokens;
pub use control::{control_router, told};
pub use credentials::{ApnsCredentials, Credentials};
pub use deliveries::{Deliveries, Delivery, DeliveryId, DeliveryPage, DeliveryQuery};
pub use device_token::{BadDeviceToken, DeviceToken};
pub use faults::{Action, Call, Fault, FaultBody, FaultError, Faults};
pub use phones::{Phone, Phones, TooManyPhones};
pub use provider::{Provider, UnknownProvider};
pub use sandbox::{Sandbox, SandboxConfig};
