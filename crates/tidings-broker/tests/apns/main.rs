//! The broker and the APNs client, judged by the sandbox.

mod example;
mod faults;
mod network;
mod pushing;
mod stopping;
mod support;
