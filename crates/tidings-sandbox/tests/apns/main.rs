//! The simulated APNs, seen from a client's side of a real connection.

mod certificates;
mod channels;
mod client;
mod control;
mod faults;
mod provider_tokens;
mod requests;
