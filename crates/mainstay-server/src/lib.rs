//! An embeddable server for persistent WebSocket connections.
//!
//! A [`Server`] accepts WebSockets on one path, serves whatever else it is given beside them, runs a
//! [`Router`] of async handlers for the commands that clients send, and lets the embedding program
//! speak to one connection, to all, or to a named channel through its [`Hub`].
//!
//! ```no_run
//! use mainstay_server::{Request, Router, Server};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let router = Router::new().handler("Pause downloader", |request: Request| async move {
//!     Ok(format!("paused, {}", request.payload))
//! });
//! let server = Server::builder().address("localhost:8080").router(router).start().await?;
//! server.hub().publish("news", "the downloader can be paused")?;
//! # Ok(())
//! # }
//! ```
//!
//! Inside, each of a few threads (a shard) owns some of the connections outright: it waits for
//! readiness, reads, hands complete messages to handlers, and writes what has gathered in the
//! outboxes once per turn. Nothing is locked on that path. `mainstay-wire` decides everything about
//! the protocol; this crate moves bytes.

mod config;
pub use config::{Config, DeflateOffer, Dialect};

mod router;
pub use router::{CommandError, Outcome, Request, Router, SessionRequest};

mod server;
pub use server::{Builder, Server, ServerFailed, StartError};

mod hub;
pub use hub::{ConnectionId, Hub, HubError};

mod stats;
pub use stats::StatsSnapshot;

mod journal;
pub use journal::{Journal, JournalEntry, JournalLimits, JournalPage, JournalQuery};

mod listen;

mod proxy;

mod admission;

mod inbox;

mod keeper;

mod shard;

mod http;

mod files;
pub use files::static_files;

mod upgrade;
pub use upgrade::Upgrader;

pub use mainstay_node::{
    Answer, Call, CallError, ChannelPrefix, ChannelQuery, ChannelView, ConnectionKey, Happening,
    InvalidPrefix, LastEnd, MemberView, NodeConfig, Note, Retention, SessionPrefix, SessionQuery,
    SessionStanding, SessionView, SubscriptionView, Target,
};
pub use mainstay_wire::handshake::{Authority, HeadLimits, Origin, OriginPolicy};
pub use mainstay_wire::session;
pub use mainstay_wire::{ChannelName, InvalidChannelName};
pub use mainstay_wire::{EndReason, Limits, Timing};
