//! Every bound of one connection, with the reason for its default.

use std::time::Duration;

/// Sizes and counts that one connection may reach. Reaching one ends the connection with the
/// reason named in each field's doc.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of one message, after inflating. Default 64 KiB: a command is a few hundred bytes, and
    /// this is what one peer can make the other side hold. Past it: `message_too_big` (1009).
    pub message_bytes_max: usize,
    /// Fragments of one message, empty ones included. Default 1,024: fragments cost more than the
    /// bytes they carry, so a byte limit alone is no limit. Past it: `too_many_fragments` (1009).
    pub fragment_count_max: u32,
    /// Control frames per second, sustained; a burst of [`CONTROL_BURST_SECONDS`] times as many is
    /// allowed. Default 50: an honest peer needs one in several seconds. Past it: `control_flood`.
    pub control_frames_per_second_max: u32,
    /// Bytes waiting to be written. Default 256 KiB. Replies stop being produced at this level
    /// (reading pauses); an event that does not fit ends the connection with `slow_consumer`.
    pub outbox_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            message_bytes_max: 64 * 1024,
            fragment_count_max: 1024,
            control_frames_per_second_max: 50,
            outbox_bytes_max: 256 * 1024,
        }
    }
}

/// How long one connection may be silent, stalled or closing.
#[derive(Clone, Debug)]
pub struct Timing {
    /// A ping is sent after this long without sending anything; `None` sends none. Default 25 s:
    /// two fit into the 60 s after which common proxies cut an idle connection.
    pub ping_interval: Option<Duration>,
    /// Any byte must arrive within this time of a ping. Default 10 s: with the interval, a dead peer
    /// is known after 35 s. Past it: `ping_timeout`.
    pub pong_timeout: Duration,
    /// From a message's first byte to its last. Default 30 s: a sender that drips one message for
    /// longer is broken or hostile. Past it: `message_timeout`.
    pub message_timeout: Duration,
    /// The longest time in which the peer's socket accepts not one byte of what waits. Default 30 s:
    /// shorter is harsh on mobile links. Past it: `write_stalled`.
    pub write_stall_timeout: Duration,
    /// From our Close frame to the peer's answer and the end of TCP. Default 5 s.
    pub close_timeout: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            ping_interval: Some(Duration::from_secs(25)),
            pong_timeout: Duration::from_secs(10),
            message_timeout: Duration::from_secs(30),
            write_stall_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(5),
        }
    }
}

/// How many seconds' worth of control frames may come at once: a peer that answers a backlog of
/// pings after a pause must not look like a flood.
pub(crate) const CONTROL_BURST_SECONDS: u32 = 4;
/// Bytes of a control frame's payload (RFC 6455 §5.5).
pub(crate) const CONTROL_PAYLOAD_BYTES_MAX: usize = 125;
/// Bytes of a Close frame's reason: the payload less the two of the code (RFC 6455 §5.5.1).
pub(crate) const CLOSE_REASON_BYTES_MAX: usize = CONTROL_PAYLOAD_BYTES_MAX - 2;
