//! The store's bounds, and why.

use std::time::Duration;

/// Closures that wait for the writer. More callers wait outside; a queue longer than a few commits only hides delay.
pub(crate) const WRITE_QUEUE_MAX: usize = 1024;

/// Closures in one transaction: enough to share one sync among them.
pub(crate) const WRITE_GROUP_MAX: usize = 256;

/// What writes more rows than this, here and there in a table, has a transaction of its own.
pub(crate) const ROWS_TOGETHER: usize = 64;

/// A transaction takes nobody else in after this time of work, so that the first does not wait long for the last.
pub(crate) const WRITE_GROUP_TIME: Duration = Duration::from_millis(10);

/// Closures that wait for a reader, in each of the two pools.
pub(crate) const READ_QUEUE_MAX: usize = 1024;

/// Threads for reads of a few rows by their keys, most of them in the page cache: log-ins and authentication wait for these.
pub(crate) const POINT_READERS: usize = 2;

/// Threads for reads that walk: pages of an audience, counts, lists.
pub(crate) const SCAN_READERS: usize = 2;

/// Page cache of the writer and of each point reader, in KiB. What scans read they seldom read again.
pub(crate) const CACHE_KIB: u32 = 32 * 1024;
pub(crate) const SCAN_CACHE_KIB: u32 = 8 * 1024;

/// What the write-ahead log keeps of its size once a larger transaction has passed: more than checkpoints let it grow.
pub(crate) const JOURNAL_KEPT_BYTES: u32 = 16 * 1024 * 1024;

/// Prepared statements kept by each connection; there are fewer than this many texts.
pub(crate) const STATEMENTS_MAX: usize = 256;

/// Deliveries in a page: the unit of work, of recovery and of bookkeeping.
pub const PAGE_MAX: usize = 1000;

/// Inboxes that an accept fills by itself, of devices that are named: half a millisecond of the writer.
pub(crate) const INBOXES_AT_ONCE: usize = 16;

/// Pages of a lane that are ready are counted up to this, and with as many nothing more is cut for it as long as it takes pages
/// out: some 700 KB, and enough that one lane which is slow seldom keeps another of its app waiting.
pub const AHEAD_MAX: usize = 128;

/// Rows and searches by which an accept finds out itself who is named, for all providers together: some two milliseconds of
/// the writer, and a page of devices by their ids. Whoever is not found by then is looked for beside it.
pub(crate) const LOOKS_AT_ONCE: usize = 2 * PAGE_MAX;

/// Devices that are looked up as single ones; more is a scan.
pub(crate) const POINTS_MAX: usize = 64;

/// Pages of one device that are looked at again, at most, when what they stood behind has ended: some 20 ms. What is more
/// stands behind the oldest of them.
pub(crate) const AGAIN_LOOKS: usize = 1000;

/// Older pages with a page's collapse id that begin among its devices: with more, each device is looked for by itself.
pub(crate) const BETWEEN_LOOKS: usize = 256;

/// Older pages of several devices that a page with a collapse id looks at, and those whose devices are read: some 0.3 ms. With
/// more, it stands behind the last of them, whoever is in it.
pub(crate) const WIDE_LOOKS: usize = 1024;
pub(crate) const SHARING_LOOKS: usize = 32;

/// Pages whose leases have run out that one transaction makes ready: some 20 ms.
pub(crate) const FREED_MAX: usize = 1000;

/// Newer messages under the same collapse id that stragglers of an older one are compared with: many for a few devices, whose
/// app may give each its own message under one id, and fewer for a whole page, which is to take some 10 ms at most.
pub(crate) const SUPERSEDING_LOOKS: usize = 8000;
pub(crate) const SUPERSEDING_MIN: usize = 8;
pub(crate) const SUPERSEDING_MAX: usize = 256;

/// For how long a `cid` is remembered (JPush's rule).
pub const CID_KEPT: Duration = Duration::from_secs(86_400);

/// Rows that one statement of a deletion takes, and rows and time of one job of it: with what else its transaction does, and the
/// sync of the pages that the rows and their index entries lay on (2 MB where those are scattered), the writer is held for
/// well below 50 ms.
pub(crate) const STEP_ROWS: usize = 100;
pub(crate) const SLICE_ROWS_MAX: usize = 1000;
pub(crate) const SLICE_TIME: Duration = Duration::from_millis(10);

/// Messages whose time is over that one read looks at.
pub(crate) const OVER_ROWS_MAX: usize = 1000;

/// Rows of the log that one step of a device's deletion judges; each may be two counts that move.
pub(crate) const SWEEP_LOG_ROWS: u32 = 200;

/// One look at an app's messages for the link takes no new one up after this time: some of their audiences may take long to
/// find, and others wait for the same readers.
pub(crate) const LINK_LOOK_TIME: Duration = Duration::from_millis(5);

/// Tombstones kept for a device, newest first.
pub(crate) const TOMBSTONES_MAX: usize = 20;

/// Exceptions kept beside a device's cursor: some weeks of broadcasts that a phone missed, in less than a kilobyte.
pub(crate) const EXCEPTIONS_MAX: usize = 64;

/// Logged messages that a device is owed behind its cursor, at most: a connection has no more than a quarter of them in flight.
pub(crate) const OWED_MAX: usize = 64;

/// Rows of the log that one read judges for a device: about a millisecond.
pub(crate) const LOG_ROWS_MAX: u32 = 2000;

/// After a message has expired, acknowledgements that are on their way still count for so long.
pub const FINISH_GRACE: Duration = Duration::from_secs(5);

/// Rows and searches that one read of an audience takes: a page takes a twentieth of it, and one in which hardly anybody is found
/// gives the reader free after some 10 ms.
pub(crate) const CANDIDATES_MAX: usize = 20 * PAGE_MAX;

/// Looks that one part of an audience takes, some 40 ms: where they find less than a page, other messages have their turn first.
pub(crate) const CHUNK_LOOKS: usize = 4;

/// Entries of aliases and of tags that are counted before it is decided by which a selection goes: half a millisecond.
pub(crate) const SIZES_MAX: usize = 10_000;

/// Devices that the first look for anybody whom a push reaches takes in, for each provider; eight times as many each further.
pub(crate) const REACH_LOOK: usize = 64;

/// Lives that have ended and are still kept of one device, newest first: more than an honest one comes by while its messages
/// are kept (a whole set of tags exchanged, twice), few enough that one that changes without end fills no disk.
pub(crate) const ENDED_LABELS_MAX: usize = 2000;
pub(crate) const ENDED_CHANNELS_MAX: usize = 200;

/// Receipts of one transaction: some 30 µs each, of the 50 ms that a job may hold the writer.
pub(crate) const RECEIPTS_AT_ONCE: usize = 500;

/// Messages whose turn at a provider is looked for at once.
pub(crate) const FALLBACKS_AT_ONCE: usize = 64;

/// A message that has not been cut by the time at which it falls back is looked at again after this.
pub(crate) const FALLBACK_AGAIN: Duration = Duration::from_secs(1);
