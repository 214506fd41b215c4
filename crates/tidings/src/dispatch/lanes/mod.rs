//! Lanes: the work of one app, provider and environment, which nothing else waits for.

pub(super) mod book;
pub(super) mod log;
pub(super) mod pages;
pub(super) mod recalled;
