//! What bounds memory and time.

use std::time::Duration;

/// The most that is read at once, and so the size of a chunk.
pub(crate) const CHUNK_BYTES_MAX: usize = 16 * 1024;

/// What a chunk costs besides its bytes, so that tiny chunks are bounded too.
pub(crate) const CHUNK_BYTES_BESIDE: usize = 64;

/// Read ahead in each direction when nothing is delayed: little, so that back-pressure is felt
/// through the proxy.
pub(crate) const QUEUE_BYTES_MAX: usize = 64 * 1024;

/// Read ahead in each direction when chunks are delayed. With 100 ms of delay it lets 40 MB/s
/// through.
pub(crate) const QUEUE_DELAYED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The receive buffer of a connection that drains slowly: the smallest that all systems take.
pub(crate) const SLOW_RECEIVE_BUFFER_BYTES: u32 = 4 * 1024;

/// Reads a second from a server that is drained slowly.
pub(crate) const SLOW_READS_PER_SECOND: u64 = 20;

/// What a client may say before the end of its HTTP head, to have it said again.
pub(crate) const OPENING_BYTES_MAX: usize = 64 * 1024;

/// Time for a connection to the target.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Time both sides have to end a connection that was ended in an orderly way.
pub(crate) const FIN_TIMEOUT: Duration = Duration::from_secs(5);

/// The wait after a connection could not be accepted, usually because files are used up.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections the system may hold before they are accepted.
pub(crate) const BACKLOG_COUNT_MAX: u32 = 1024;

const _: () = assert!(CHUNK_BYTES_MAX <= QUEUE_BYTES_MAX);
