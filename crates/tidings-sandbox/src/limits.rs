//! The sandbox's bounds, each with its reason.

use std::time::Duration;

/// Connections served at once; one more waits in the kernel's queue. A sender needs tens.
pub(crate) const CONNECTIONS_MAX: usize = 4_096;

/// Pause after a connection could not be taken, as when no file descriptor is free.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Time a client has for the TLS and HTTP/2 handshakes.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Time that open streams have to finish once the sandbox stops or has said GOAWAY.
pub(crate) const DRAIN_GRACE: Duration = Duration::from_secs(2);

/// Streams a client may have open at once unless the configuration says otherwise; Apple has been seen at 500 and 1,000.
pub(crate) const CONCURRENT_STREAMS: u32 = 1_000;

/// HTTP/2 flow control window of a connection, in bytes: every stream may carry the largest payload at once. `h2` also
/// derives from it how many small DATA frames may wait unread before it ends the connection.
pub(crate) const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;

/// Bytes of request headers, uncompressed.
pub(crate) const HEADER_LIST_MAX: u32 = 16 * 1024;

/// Bytes of answers gathered before they are written: one TLS record.
pub(crate) const WRITE_BUFFER_MAX: usize = 16 * 1024;

/// Bytes of a body that are read and thrown away, so that a sender of a somewhat too large one hears why.
pub(crate) const BODY_DRAINED_MAX: usize = 64 * 1024;

/// Deliveries kept unless the configuration says otherwise: about 300 MB of broadcasts.
pub(crate) const DELIVERIES_KEPT: usize = 2_000_000;

/// Different payloads remembered for sharing between deliveries.
pub(crate) const PAYLOADS_SHARED_MAX: usize = 4_096;

/// Deliveries in one page of the control API, and how many when the request does not say.
pub(crate) const DELIVERIES_PAGE_MAX: usize = 10_000;
pub(crate) const DELIVERIES_PAGE: usize = 100;

/// Faults set at once; each request looks through them.
pub(crate) const FAULTS_MAX: usize = 1_000;

/// Longest delay of a fault: longer than any sender waits.
pub(crate) const FAULT_DELAY_MAX: Duration = Duration::from_secs(600);

/// Headers a fault may add to its answer.
pub(crate) const FAULT_HEADERS_MAX: usize = 32;

/// Broadcast channels of one app (Apple, "Sending channel management requests to APNs").
pub(crate) const CHANNELS_MAX: usize = 10_000;

/// Apps that have channels.
pub(crate) const CHANNEL_APPS_MAX: usize = 100;

/// Phones that the sandbox has been told about; all others are installed and need no memory.
pub(crate) const PHONES_MAX: usize = 1_000_000;

/// Token keys trusted on first use.
pub(crate) const TOKEN_KEYS_MAX: usize = 10_000;

/// Provider tokens whose signature has been checked and need not be again.
pub(crate) const VERIFIED_TOKENS_MAX: usize = 1_024;

/// Bytes of a provider token; real ones have about 200.
pub(crate) const PROVIDER_TOKEN_MAX: usize = 1_024;

/// Bytes of the body of a maker's request: a thousand of the longest tokens and the largest message.
pub(crate) const MAKER_BODY_MAX: usize = 1024 * 1024;

/// Bodies of makers' requests that are read at once; more wait unread. At most this many MiB.
pub(crate) const MAKER_BODIES_MAX: usize = 64;

/// Time that a maker's request has to arrive whole.
pub(crate) const MAKER_BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Time that an HTTP/1.1 client has for the headers of its next request, idle time included.
pub(crate) const HTTP1_IDLE_MAX: Duration = Duration::from_secs(120);

/// Clients of the makers whose secrets are trusted on first use.
pub(crate) const CLIENTS_MAX: usize = 10_000;

/// Access tokens that are remembered; an older one is unknown.
pub(crate) const ACCESS_TOKENS_MAX: usize = 10_000;

/// Dead registration ids of one provider that wait to be fetched.
pub(crate) const INVALID_IDS_MAX: usize = 10_000;

/// Bytes of a JWT; real ones have about 700.
pub(crate) const JWT_MAX: usize = 4_096;

/// Messages kept to be sent by their ids: at most 40 MB.
pub(crate) const SAVED_MAX: usize = 10_000;

/// Delivery ids by which a repeated one is known.
pub(crate) const SEEN_MAX: usize = 200_000;

/// Phones of one receipt; Huawei has at most as many.
pub(crate) const RECEIPT_PHONES_MAX: usize = 100;

/// Time that whoever gets a receipt has to answer.
pub(crate) const RECEIPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of that answer that are kept.
pub(crate) const RECEIPT_ANSWER_MAX: usize = 4_096;

/// Fields of a form; real ones have tens.
pub(crate) const FORM_FIELDS_MAX: usize = 1_000;
