//! What every connection and the control API share.

use crate::apns::token::TokenKeys;
use crate::channels::Channels;
use crate::deliveries::Deliveries;
use crate::faults::Faults;
use crate::phones::Phones;

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) channels: Channels,
    pub(crate) deliveries: Deliveries,
    pub(crate) faults: Faults,
    pub(crate) phones: Phones,
    pub(crate) token_keys: TokenKeys,
}
