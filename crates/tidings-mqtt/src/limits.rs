//! The bounds of one connection, each with its reason.

/// What one connection may take; nothing here is 0. Sixteen bytes, so that every session can carry its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest packet a client may send, in bytes with its fixed header; stated as Maximum Packet Size on MQTT 5. Also
    /// the most that may pile up while a CONNECT waits for its answer.
    pub packet_size_max: u32,
    /// Seconds without an acknowledgement, while messages are in flight, after which the link counts as lost.
    pub ack_timeout_secs: u16,
    /// Seconds from the start of the connection to a whole CONNECT.
    pub connect_timeout_secs: u16,
    /// The most messages in flight to the client, whatever it allows.
    pub in_flight_max: u16,
    /// The longest keep-alive that is granted, in seconds.
    pub keep_alive_max_secs: u16,
    /// The most QoS 1 publishes of the client that may wait for our acknowledgement (Receive Maximum).
    pub receive_max: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            packet_size_max: 16 * 1024, // a profile with all its tags is below 8 KiB
            ack_timeout_secs: 60, // a live phone answers within seconds; TCP alone needs 15 minutes
            connect_timeout_secs: 10, // a TLS handshake on a bad network is already over by then
            in_flight_max: 16,    // enough for a round trip on a phone, and 256 bytes of memory
            keep_alive_max_secs: 1800, // longer than any NAT keeps an idle connection
            receive_max: 16,      // events come in ones and twos
        }
    }
}

/// Unread replies at which no further packet is taken, in bytes: a client that does not read must not make us buffer.
pub(crate) const OUTPUT_PAUSE_BYTES: usize = 4 * 1024;
