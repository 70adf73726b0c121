//! A client for persistent WebSocket connections that comes back after every drop.
//!
//! [`Session`] is a conversation that outlives its connections, and with a state file the program:
//! requests are kept until their outcome, channels go on where the application was.
//!
//! [`Client`] speaks the command dialect: it holds one connection, dials again when that
//! is lost, matches replies to requests and hands everything else on. It is no HTTP client and no
//! pool; several connections are several clients. [`Socket`] is one connection without any of that,
//! for programs that speak a protocol of their own over it.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use mainstay_client::Client;
//!
//! let client = Client::connect("ws://localhost:8080/server?channel=news").await?;
//! let reply = client.request("Pause downloader", "urgent").await?;
//! println!("{} after {:?}", reply.payload, reply.round_trip);
//!
//! let mut messages = client.messages();
//! while let Some(message) = messages.recv().await {
//!     println!("{message:?}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! ```text
//!   application ──request──▶ queue ──▶ Driver ──▶ Socket ──▶ Connection ──▶ Stream
//!               ◀──reply──── table ◀──   │            (mainstay-wire)
//!               ◀─Messages── inbox ◀─────┤
//!               ◀──States─── course ◀────┘ Reconnect decides when to dial again
//! ```
//!
//! Everything runs on tokio, in one task per client or session.

mod client;
pub use client::{Client, Request};

mod builder;
pub use builder::Builder;

mod request;
pub use request::{NotSentReason, Reply, RequestError};

mod driver;

mod reconnect;
pub use reconnect::{Decision, Reconnect, ReconnectPolicy};

mod state;
pub use state::{ClosedCause, State, States};

mod inbox;
pub use inbox::{Incoming, Messages};

mod socket;
pub use socket::{Message, Socket};

mod dial;
pub use dial::{ConnectError, ConnectOptions};

mod endpoint;
pub use endpoint::UrlError;

mod stream;

mod tls;
pub use rustls;
pub use tls::{Tls, TlsError};

mod limits;
pub use limits::{
    INBOX_BYTES_MAX, INBOX_COUNT_MAX, REQUEST_COUNT_MAX, STATE_COUNT_MAX, SUBSCRIPTION_BYTES_MAX,
    SUBSCRIPTION_COUNT_MAX,
};

mod seed;

mod session;
pub use session::{
    ChannelItem, Greeting, Pending, Published, RequestFailure, Restored, SendError, ServerCommand,
    Session, SessionBuilder, SessionEnd, SessionError, SessionState, StateFileError,
    SubscribeError, SubscribeOptions, Subscription, SubscriptionEnd,
};

pub use mainstay_session::client::{Call, Refused, RequestKey};
pub use mainstay_wire::handshake::{
    DeflateSupport, DialError, DialOptions, DialOptionsError, RetryAfter,
};
pub use mainstay_wire::session as frames;
pub use mainstay_wire::{ChannelName, End, EndReason, Limits, Timing};
