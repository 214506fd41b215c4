//! The server's end of one connection. Bytes and time go in, bytes and events come out; the caller owns the socket, the
//! clock and the decision who may connect.
//!
//! ```text
//! loop {
//!     session.handle_input(now, &mut input)?;      // on an error too: write the output, then close
//!     let event = session.poll_event();
//!     session.poll_output(&mut output);
//!     match event {
//!         Some(event) => …                         // act on it, then around again: more packets may be in `input`
//!         None => …                                // write `output`, then wait for bytes, a command or poll_timeout()
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
