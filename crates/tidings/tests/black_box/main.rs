//! Tidings from the outside: the real binary, spoken to as back ends, phones and providers speak to it.

mod crash;
mod layers;
mod outage;
mod sdk;
mod size;
mod start;
mod support;
