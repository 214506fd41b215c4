//! The store's bounds, and why.

use std::time::Duration;

/// Closures that wait for the writer. More callers wait outside; a queue longer than a few commits only hides delay.
pub(crate) const WRITE_QUEUE_MAX: usize = 1024;

/// Closures in one transaction: enough to share one sync among them, few enough that the first does not wait long.
pub(crate) const WRITE_GROUP_MAX: usize = 256;

pub(crate) const READ_QUEUE_MAX: usize = 1024;

/// Threads that read. Reads are short and mostly hit the page cache; two keep a long audience scan from blocking logins.
pub(crate) const READERS: usize = 2;

/// Prepared statements kept by each connection; there are fewer than this many texts.
pub(crate) const STATEMENTS_MAX: usize = 160;

/// Deliveries in a page: the unit of work, of recovery and of bookkeeping.
pub const PAGE_MAX: usize = 1000;

/// For how long a `cid` is remembered (JPush's rule).
pub const CID_KEPT: Duration = Duration::from_secs(86_400);

/// Tombstones kept for a device, newest first.
pub(crate) const TOMBSTONES_MAX: usize = 20;
