//! Every bound of a client besides those of its connection (`mainstay_wire::Limits`), with its
//! reason.

use std::time::Duration;

/// Requests that wait for their replies at the same time. More wait for room. A request that is
/// never answered holds its place until it times out, so this bounds what a mute server costs.
pub const REQUEST_COUNT_MAX: usize = 1024;
/// Requests on their way from the application to the connection. Enough to fill a write, few
/// enough that little is lost in doubt when the connection goes.
pub(crate) const QUEUE_COUNT_MAX: usize = 64;
/// Abandoned requests are forgotten when the table holds this many; twice the live ones, so that
/// looking for them costs little per request.
pub(crate) const TABLE_COUNT_MAX: usize = 2 * REQUEST_COUNT_MAX;
/// Items of one channel that wait for a [`Subscription`](crate::Subscription) to be read. Past
/// either bound, reading from the socket pauses.
pub const SUBSCRIPTION_COUNT_MAX: usize = 256;
/// Bytes of the same, exceeded by one item at most.
pub const SUBSCRIPTION_BYTES_MAX: usize = 1024 * 1024;
/// A session looks at the clock at least this often, so that a computer that slept notices soon:
/// its timers slept too.
pub(crate) const CLOCK_INTERVAL: Duration = Duration::from_secs(10);
/// Messages that wait for [`Messages`](crate::Messages) to be read. Past either, reading from the
/// socket pauses and the server is made to wait.
pub const INBOX_COUNT_MAX: usize = 1024;
/// Bytes of the same, exceeded by one message at most.
pub const INBOX_BYTES_MAX: usize = 1024 * 1024;
/// States that wait for [`States`](crate::States) to be read; the oldest go first. An outage has
/// two for each attempt, so this is about a dozen minutes of it.
pub const STATE_COUNT_MAX: usize = 128;
/// Bytes of one request's JSON text: what a server accepts by default.
pub(crate) const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// Bytes of one message that is received, unless a welcome names more. More than a server accepts: its
/// reply may repeat a request and add to it.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// From the first look at the resolver to the last byte of the handshake.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A request waits this long for its reply.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the kernel resends unacknowledged bytes before it reports the connection dead: as long
/// as the connection tolerates a stalled write.
pub(crate) const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes read at once.
pub(crate) const SCRATCH_BYTES: usize = 32 * 1024;
/// Wait for one address before the next is tried beside it (RFC 8305 §5).
pub(crate) const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

const _: () = assert!(MESSAGE_BYTES_MAX >= 2 * REQUEST_BYTES_MAX, "a reply may repeat its request");
const _: () =
    assert!(QUEUE_COUNT_MAX <= REQUEST_COUNT_MAX, "a place in the queue needs one in the table");
