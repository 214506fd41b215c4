//! Dispatch's bounds, and why.

use std::time::Duration;

use tidings_store::limits::PAGE_MAX;

/// Deliveries of one lane that are out and not answered. Enough to keep four connections' streams full while the next page
/// is read; few enough that a lane takes 2 MB, and that a crash sends little twice.
pub(super) const UNANSWERED_MAX: usize = 8 * PAGE_MAX;

/// Room in a lane's broker: all that can be out, in either environment.
pub(super) const BROKER_QUEUE: usize = UNANSWERED_MAX + PAGE_MAX;

/// Answers are remembered at least this often while a page is out: after a crash, what was answered in this time is sent
/// again.
pub(super) const FLUSH_EVERY: Duration = Duration::from_millis(50);

/// A page is out for this long at a time; each flush prolongs it.
pub(super) const LEASE: Duration = Duration::from_secs(60);

/// A page without new answers is flushed all the same after this, to prolong its lease.
pub(super) const RENEW_AFTER: Duration = Duration::from_secs(20);

/// Settlements taken from a broker at once.
pub(super) const SETTLED_AT_ONCE: usize = PAGE_MAX;

/// Messages whose way over the link is decided in one go.
pub(super) const LINK_TASKS_AT_ONCE: usize = 64;

/// Inbox rows in one transaction, about: it takes the writer some 10 ms.
pub(super) const INBOX_ROWS_AT_ONCE: usize = PAGE_MAX;

/// Messages to many that a lane of the link holds while their devices are counted. When there are more, those behind them
/// wait, whomever they are for.
pub(super) const LONG_MAX: usize = 256;

/// A lane without work keeps its connections for this long: Apple wants them kept for hours.
pub(super) const IDLE: Duration = Duration::from_secs(3600);

/// How often the store is asked for what no command told of.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);

/// After the store failed, before it is tried again.
pub(super) const STORE_PAUSE: Duration = Duration::from_secs(1);

/// After the grace of a drain: what has been answered is still written down in this time, if the store lets it be.
pub(super) const STORE_GRACE: Duration = Duration::from_secs(5);

/// Commands that wait. A sender that finds it full waits: the API's answer is then a little later.
pub(super) const COMMANDS_MAX: usize = 1024;

/// More than all lanes of a process could have had out.
pub(super) const PAGES_TAKEN_OVER_MAX: u32 = 1_000_000;
