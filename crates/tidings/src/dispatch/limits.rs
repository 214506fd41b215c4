//! Dispatch's bounds, and why.

use std::time::Duration;

use tidings_store::limits::PAGE_MAX;

/// Deliveries of a lane's long messages, and stragglers, that are out and have not come back. Enough to keep four
/// connections' streams full while the next pages are read; few enough that a lane takes 2 MB.
pub(super) const LONG_MAX: usize = 8 * PAGE_MAX;

/// As much room has to be free before more of them are taken out, so that two pages share a transaction.
pub(super) const LONG_AT_ONCE: usize = 2 * PAGE_MAX;

/// Room of their own for messages to few devices: what is long never takes it.
pub(super) const SHORT_MAX: usize = 2 * PAGE_MAX;

/// Pages of a lane that are out: as many as there is room for single pushes, so that those that hear no answer for long have to
/// be many before others wait for them.
pub(super) const PAGES_MAX: usize = SHORT_MAX;

/// Room in a lane's broker: all that can be out, and what is in flight of pages that were given up.
pub(super) const BROKER_QUEUE: usize = 2 * (LONG_MAX + SHORT_MAX);

/// What would wait in a broker for longer is put away into a page of stragglers: longer than most answers take, short
/// enough that a page with a few that wait is settled soon.
pub(super) const DEFER: Duration = Duration::from_secs(2);

/// Flushes start at least so far apart: one takes some 3 ms to be durable, and what is answered meanwhile shares the next.
pub(super) const FLUSH_EVERY: Duration = Duration::from_millis(10);

/// Deliveries of one flush that are looked up for another way: some 30 microseconds each.
pub(super) const LEAVING_MAX: usize = 500;

/// Dead tokens that one flush removes: each leaves a tombstone, some 50 microseconds.
pub(super) const REMOVALS_MAX: usize = 300;

/// A page is out for this long at a time.
pub(super) const LEASE: Duration = Duration::from_secs(60);

/// A lane stops sending so long before its lease ends: clocks differ, and what the provider's client has may still leave.
pub(super) const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// A lease that ends sooner than this is prolonged.
pub(super) const RENEW_BEFORE: Duration = Duration::from_secs(35);

/// Stragglers whose times are as near as this go together.
pub(super) const TOGETHER_MIN: Duration = Duration::from_secs(1);

/// With fewer pages ready than this, a lane asks for more to be cut.
pub(super) const AHEAD_MIN: usize = 8;

/// A lane that has taken out no page for so long stands still: what it has ready keeps no other of its app from getting more.
pub(super) const STANDS_STILL: Duration = Duration::from_secs(10);

/// Long messages of which one is looked for that can be cut further.
pub(super) const BEGUN_AT_ONCE: usize = 8;

/// New tasks that are cut in one transaction, up to [`CUT_MAX`] devices.
pub(super) const FRESH_AT_ONCE: usize = 32;

/// Devices that are cut in one transaction.
pub(super) const CUT_MAX: usize = 4 * PAGE_MAX;

/// Settlements taken from a broker at once.
pub(super) const SETTLED_AT_ONCE: usize = PAGE_MAX;

/// A credential that is taken away: what has left with it is waited for.
pub(super) const REMOVED_GRACE: Duration = Duration::from_secs(5);

/// How often it is looked whether the store should say something else of a credential.
pub(super) const NOTE_EVERY: Duration = Duration::from_millis(100);

/// Messages whose way over the link is decided, or whose devices are counted, in one go.
pub(super) const LINK_TASKS_AT_ONCE: usize = 64;

/// Looks at the link's messages share a transaction for so long: the first of them does not wait longer for the last.
pub(super) const LINK_LOOKS_TIME: Duration = Duration::from_millis(20);

/// Inbox rows in one transaction, about: it takes the writer some 10 ms.
pub(super) const INBOX_ROWS_AT_ONCE: usize = PAGE_MAX;

/// A lane without work keeps its connections for this long: Apple wants them kept for hours.
pub(super) const IDLE: Duration = Duration::from_secs(3600);

/// How often the store is asked for what no command told of.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What comes back from the link waits for acknowledgements that are on their way, at most for so long.
pub(super) const ACKS_WAIT: Duration = Duration::from_secs(5);

/// After the store failed, before it is tried again.
pub(super) const STORE_PAUSE: Duration = Duration::from_secs(1);

/// After the grace of a drain: what has been answered is still written down in this time, if the store lets it be.
pub(super) const STORE_GRACE: Duration = Duration::from_secs(5);

/// Commands that wait. A sender that finds it full waits: the API's answer is then a little later.
pub(super) const COMMANDS_MAX: usize = 1024;
