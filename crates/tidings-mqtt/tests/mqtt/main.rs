//! The codec and the server session from outside: by tables, by random bytes, by other people's codecs, and joined to
//! another implementation's client, all in simulated time.

mod bytes;
mod codec;
mod differential;
mod harness;
mod pair;
mod random;
mod session;
mod subscriptions;
mod window;
