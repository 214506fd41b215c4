//! One delivery in, one outcome out: the push providers' protocols.

pub mod apns;
mod attempt;
pub mod jitter;

pub use attempt::{Attempt, Cause};
