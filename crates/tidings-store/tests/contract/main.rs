//! The store as its callers see it, on real SQLite files: what any database behind it has to hold.

mod deletion;
mod fallback;
mod lanes;
mod link;
mod lives;
mod receipts;
mod store;
mod support;
mod upgrade;
