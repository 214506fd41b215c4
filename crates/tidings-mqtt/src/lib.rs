//! MQTT 3.1.1 and 5 without I/O: one packet codec for both versions, and the server's end of a connection as a state
//! machine. There is no socket, no clock and no task in here: bytes and time come in, bytes and events go out.
//!
//! Only what a push server needs is spoken: QoS 0 and 1, no retained messages, one topic for the device to hear, two to
//! speak on. Section numbers in comments are those of the OASIS standard MQTT 5.0 unless 3.1.1 is named, and `[MQTT-…]`
//! are its normative statements.

mod error;
mod limits;
pub mod packet;
mod reason;
pub mod server;
mod topic;

pub use error::ProtocolError;
pub use limits::Limits;
pub use packet::Version;
pub use reason::Reason;
pub use server::ServerSession;
pub use topic::{DeviceTopic, PUSH_TOPIC};
