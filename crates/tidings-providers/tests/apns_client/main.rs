//! The client against a peer that does what no well-behaved server does, frame by frame.

mod check;
mod ends;
mod limits;
mod peer;
mod proxy;
mod sick;
