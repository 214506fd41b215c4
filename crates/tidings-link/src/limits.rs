//! The link's bounds, and why.

use std::time::Duration;

/// Log or inbox entries that a connection holds ready: two windows. More would only be memory.
pub(crate) const AHEAD_MAX: usize = 32;

/// Log entries of an app that its connections share. A device that is further behind reads the store.
pub(crate) const TAIL_MAX: usize = 256;

/// Bytes of the tail of one app, and as many of its payloads: they are let go from the oldest on.
pub(crate) const TAIL_BYTES_MAX: usize = 1 << 20;

/// A payload that no device was sent for this long is encoded anew for the next.
pub(crate) const ENCODED_KEPT: Duration = Duration::from_secs(10);

/// How often the tails are cleared of what has expired and what is not in use.
pub(crate) const TIDY_EVERY: Duration = Duration::from_secs(5);

/// Log entries read at once when the tail is brought up to date.
pub(crate) const TAIL_READ: u32 = 64;

/// Of those, as many of the newest have their messages read before connections are woken; the others are read by who is sent them.
pub(crate) const READ_AHEAD: usize = 4;

/// Acknowledgements in one commit, and that wait for one. A connection that finds the queue full waits, and so does its
/// device.
pub(crate) const ACKS_AT_ONCE: usize = 1000;
pub(crate) const ACKS_MAX: usize = 4096;

/// How far a device's log was judged without anything to remember is written when it leaves, and while it stays not more often
/// than this: lost, it costs judging that again.
pub(crate) const JUDGED_WRITTEN_AFTER: Duration = Duration::from_secs(180);

/// A connection whose place was taken has so long to take in and hand on what its device said.
pub(crate) const LAST_WORD_MAX: Duration = Duration::from_secs(1);

/// A device whose acknowledgements are still on their way to the store waits so long for them before it is let in.
pub(crate) const ACKS_WRITTEN_MAX: Duration = Duration::from_secs(5);

/// What has arrived by then is heard at once; if there is nothing, the device's next connection waits for so long.
pub(crate) const HEARD_OUT_AFTER: Duration = Duration::from_millis(20);

/// And it takes in no more than this: some windows of acknowledgements.
pub(crate) const HEARD_OUT_MAX: usize = 16 * 1024;

/// Devices that are being let in at once: each takes four short reads. The others wait for their turn, without a limit of
/// their own.
pub(crate) const LOGINS_MAX: usize = 64;

/// Descriptors that are kept back from the link: the database, the API, the providers.
pub(crate) const DESCRIPTORS_KEPT: usize = 1000;

/// Bytes taken from a socket at once.
pub(crate) const READ_MAX: usize = 2048;

/// A peer that does not take a write for this long is gone: as long as an acknowledgement may take.
pub(crate) const WRITE_MAX: Duration = Duration::from_secs(60);

/// After our last words, a peer may take so long to close its side. A socket that is closed with bytes unread is reset,
/// and the reset can overtake those words.
pub(crate) const LINGER_MAX: Duration = Duration::from_secs(1);

/// The last acknowledgements have to be durable within this time after a drain; else the devices get those messages again.
pub(crate) const LAST_ACKS_MAX: Duration = Duration::from_secs(5);

/// What a device says has to be durable within this time, or it is asked to come again.
pub(crate) const UPLINK_MAX: Duration = Duration::from_secs(10);

/// After the store failed, before it is tried again.
pub(crate) const STORE_PAUSE: Duration = Duration::from_secs(1);

/// After a connection could not be taken for want of descriptors.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Goodbyes are said in this rhythm, and at least so many at a time: whoever is told comes back at once, here or elsewhere.
pub(crate) const GOODBYE_EVERY: Duration = Duration::from_millis(50);
pub(crate) const GOODBYES_MIN: usize = 100;

/// Locks over the devices of an app.
pub(crate) const SHARDS: usize = 16;
