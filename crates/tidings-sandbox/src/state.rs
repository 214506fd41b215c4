//! What every connection and the control API share.

use tokio::sync::Semaphore;

use crate::access_tokens::AccessTokens;
use crate::apns::token::TokenKeys;
use crate::channels::Channels;
use crate::clients::Clients;
use crate::deliveries::Deliveries;
use crate::faults::Faults;
use crate::invalid_ids::InvalidIds;
use crate::phones::Phones;
use crate::quotas::Quotas;
use crate::receipts::Consoles;
use crate::saved::{Saved, Seen};
use crate::service_account::ServiceAccount;

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) access_tokens: AccessTokens,
    /// Places for the bodies of makers' requests.
    pub(crate) bodies: Semaphore,
    pub(crate) channels: Channels,
    pub(crate) clients: Clients,
    pub(crate) consoles: Consoles,
    pub(crate) deliveries: Deliveries,
    pub(crate) faults: Faults,
    pub(crate) invalid_ids: InvalidIds,
    pub(crate) phones: Phones,
    pub(crate) quotas: Quotas,
    pub(crate) saved: Saved,
    pub(crate) seen: Seen,
    pub(crate) service_account: ServiceAccount,
    pub(crate) token_keys: TokenKeys,
}
