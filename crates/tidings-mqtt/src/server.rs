//! The server's end of one connection. Bytes and time go in, bytes and events come out; the caller owns the socket, the
//! clock and the decision who may connect.
//!
//! ```text
//! loop {
//!     session.handle_input(now, &mut input)?;   // on an error too: write what poll_output gives, then close
//!     if let Some(event) = session.poll_event() {
//!         …                                     // act on it: accept, reject, ack_publish, publish, or close
//!     } else if session.poll_output(&mut output) {
//!         …                                     // write it
//!     } else {
//!         …                                     // wait for bytes, a command, or poll_timeout()
//!     }
//! }
//! ```

mod event;
mod input;
mod session;
mod window;

pub use event::{
    Closed, ConnectAccepted, ConnectRefusal, ConnectRequest, DisconnectReason, Event, Password,
    PublishReason, PublishResult,
};
pub use session::ServerSession;
