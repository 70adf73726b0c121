//! A client session's options.

use mainstay_wire::session::Encoding;

/// The options of a [`ClientSession`](super::ClientSession).
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The client's name and version, for the server's log.
    pub client: String,
    /// How frames will be written: it decides how many bytes a request takes.
    pub encoding: Encoding,
    /// What becomes of the channels that an earlier life has listened to. Default: at once.
    pub resubscribe: Resubscribe,
    /// For jitter. Clients that start together need different ones.
    pub seed: [u8; 32],
    /// Requests without an outcome, those that still wait here included. Past it, a request is
    /// refused. Default 4,096.
    pub outbox_count_max: usize,
    /// Bytes of the same. Default 16 MiB.
    pub outbox_bytes_max: usize,
    /// Bytes of requests that may be with the server without an outcome; one alone may have more.
    /// Default 512 KiB. The server's own bound holds too, if it tells one; it lets 1 MiB wait unless it
    /// is told otherwise, and takes more for a violation.
    pub flight_bytes_max: usize,
    /// Channels whose place is known, inboxes included. Default 256; the server has a limit of its own.
    pub subscription_count_max: usize,
    /// Commands of the server that run or whose replies the server has not said to be safe. Past
    /// it, the server is at fault. Default 1,024.
    pub command_count_max: usize,
    /// The welcome must come within this time of the hello. Default 10 s.
    pub welcome_timeout_ms: u64,
    /// Silence is tolerated for this long beyond the interval that the server announced. Default
    /// 10 s.
    pub silence_margin_ms: u64,
    /// After this many events and outcomes at most an acknowledgement goes out, where each 8 KiB of a
    /// result count as one more. Default 64, the protocol's bound.
    pub ack_count: u32,
    /// An event or outcome is acknowledged after this time at the latest. Default 1 s.
    pub ack_delay_ms: u64,
    /// The server's answer to a `bye` is waited for this long. Default 5 s.
    pub bye_timeout_ms: u64,
}

/// When the channels of a saved state are listened to again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resubscribe {
    /// With the first hello.
    AtOnce,
    /// When the application [`attach`](super::ClientSession::attach)es to each: until then there
    /// would be nobody to take their events. Inboxes come by themselves.
    WhenAttached,
}

impl ClientConfig {
    /// The defaults, with a seed.
    pub fn new(seed: [u8; 32]) -> ClientConfig {
        ClientConfig {
            client: concat!("mainstay/", env!("CARGO_PKG_VERSION")).to_owned(),
            encoding: Encoding::Json,
            resubscribe: Resubscribe::AtOnce,
            seed,
            outbox_count_max: 4096,
            outbox_bytes_max: 16 * 1024 * 1024,
            flight_bytes_max: 512 * 1024,
            subscription_count_max: 256,
            command_count_max: 1024,
            welcome_timeout_ms: 10_000,
            silence_margin_ms: 10_000,
            ack_count: 64,
            ack_delay_ms: 1000,
            bye_timeout_ms: 5000,
        }
    }
}
