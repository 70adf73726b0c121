//! What an operator can set.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use mainstay_node::NodeConfig;
use mainstay_wire::handshake::{HeadLimits, Origin, OriginPolicy};
use mainstay_wire::{Limits, Timing};

use crate::JournalLimits;

/// Everything a server can be told; the default is meant for production behind any proxy.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen: `host:port`. A name is resolved and every address it has is bound; port 0
    /// lets the system choose one. Default `localhost:8080`.
    pub address: String,
    /// The path of the WebSocket endpoint. Default `/server`.
    pub path: String,
    /// The folder of static files served on every other path. Default `./www`.
    pub www: PathBuf,
    /// What is spoken on a connection without a subprotocol.
    pub dialect: Dialect,
    /// Threads that own connections; `None` takes one per core.
    pub shard_count: Option<NonZeroUsize>,
    /// Whether permessage-deflate is offered to clients that ask for it. Default off: it costs far
    /// more time than it saves on small messages.
    pub compression: DeflateOffer,
    /// Which browser pages may connect.
    pub origins: OriginPolicy,
    /// Further origins whose pages may open the WebSocket endpoint, and nothing else: the console's.
    /// Default none.
    pub endpoint_origins: Vec<Origin>,

    /// Connections in all. Default 10,000: what the usual limits on open files allow, and a few
    /// megabytes of memory. Past it a client is answered 503.
    pub connection_count_max: usize,
    /// Connections from one IPv4 address or one IPv6 /64. Default 1,000: one broken client or one
    /// attacker must not take all places. Past it a client is answered 429.
    pub connection_count_per_address_max: usize,
    /// The whole opening handshake, from accept to the last byte of the request. Default 5 s.
    pub handshake_timeout: Duration,
    /// Handshakes under way at once; past it the oldest is dropped. Default 1,024: an honest one
    /// takes milliseconds, so the oldest is not honest.
    pub handshake_pending_max: usize,
    /// Bounds of a request's head.
    pub head: HeadLimits,
    /// Sizes and counts of one connection.
    pub limits: Limits,
    /// Times of one connection.
    pub timing: Timing,
    /// Commands of one connection that wait behind a running handler. Default 64; at that number
    /// reading pauses until the handler is done.
    pub command_queue_count_max: usize,
    /// How long a handler may take. Default 30 s; then the reply is `success:false`.
    pub handler_timeout: Duration,
    /// How long sent bytes may stay unacknowledged before the kernel gives the peer up
    /// (TCP_USER_TIMEOUT, Linux). Default 30 s. TCP keepalive alone never fires while data waits.
    pub tcp_user_timeout: Duration,
    /// Channels that one connection may listen to. Default 16.
    pub channels_per_connection_max: usize,
    /// Bytes of events on their way to one shard. Default 16 MiB; past it publishing is refused.
    pub hub_bytes_max: usize,
    /// Time between the handshake of a connection of the session dialect and its hello. Default 5 s.
    pub hello_timeout: Duration,
    /// The header in which a reverse proxy says who asks (a principal's name). Default `None`:
    /// nobody is anybody. Dangerous unless a proxy in front sets or removes it on every request.
    pub principal_header: Option<String>,
    /// The header in which a reverse proxy says where a client comes from, such as `X-Forwarded-For`:
    /// the last address in it counts, for limits and in logs. Default `None`: whoever connects is the
    /// client. Dangerous unless a proxy in front sets it or adds to it on every request.
    pub client_address_header: Option<String>,
    /// What sessions and channels may hold.
    pub node: NodeConfig,
    /// What is kept of what happened lately. Default 10,000 entries and 4 MiB.
    pub journal: JournalLimits,
    /// The folder of the durable store. Default `None`: sessions and channels are kept in memory,
    /// and a restart begins anew.
    pub data_dir: Option<PathBuf>,
    /// Over how long a shutting-down server spreads the closing of its connections. Default 5 s.
    pub drain_window: Duration,
    /// When a shutting-down server drops what has not ended by itself. Default 15 s.
    pub drain_timeout: Duration,
}

/// What is spoken on a connection that asks for no subprotocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// JSON commands and their replies (PROTOCOL.md, "Command dialect").
    #[default]
    Command,
    /// Every message comes back as it came: for conformance suites and benchmarks.
    Echo,
}

pub use mainstay_wire::handshake::DeflateSupport as DeflateOffer;

impl Default for Config {
    fn default() -> Config {
        Config {
            address: "localhost:8080".to_owned(),
            path: "/server".to_owned(),
            www: PathBuf::from("./www"),
            dialect: Dialect::Command,
            shard_count: None,
            compression: DeflateOffer::Off,
            origins: OriginPolicy::SameOrigin,
            endpoint_origins: Vec::new(),
            connection_count_max: 10_000,
            connection_count_per_address_max: 1_000,
            handshake_timeout: Duration::from_secs(5),
            handshake_pending_max: 1_024,
            head: HeadLimits::default(),
            limits: Limits::default(),
            timing: Timing::default(),
            command_queue_count_max: 64,
            handler_timeout: Duration::from_secs(30),
            tcp_user_timeout: Duration::from_secs(30),
            channels_per_connection_max: 16,
            hub_bytes_max: 16 * 1024 * 1024,
            hello_timeout: Duration::from_secs(5),
            principal_header: None,
            client_address_header: None,
            node: NodeConfig::default(),
            journal: JournalLimits::default(),
            data_dir: None,
            drain_window: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(15),
        }
    }
}
