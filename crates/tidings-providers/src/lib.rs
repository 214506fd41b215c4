//! One delivery in, one outcome out: the push providers' protocols.

pub mod apns;
