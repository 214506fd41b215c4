//! The simulated APNs, seen from a client's side of a real connection.

mod client;
mod control;
mod reasons;
