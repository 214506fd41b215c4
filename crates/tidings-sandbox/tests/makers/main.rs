//! The simulated makers, seen from a client's side of a real connection.

mod client;
mod frame;
mod hmos;
mod honor;
mod huawei;
mod meizu;
mod oppo;
mod vivo;
mod xiaomi;
