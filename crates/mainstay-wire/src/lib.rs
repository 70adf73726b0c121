//! WebSocket without I/O: bytes in, messages out, and back.
//!
//! This crate is the whole of RFC 6455 and RFC 7692 that Mainstay speaks, for both roles, and the
//! message format of its dialects. It opens no socket, starts no task and reads no clock: time is an
//! argument, randomness is a seed, and what is to be sent waits in an [`Outbox`] until a driver
//! writes it. It is not a WebSocket client or server; `mainstay-client` and `mainstay-server` drive
//! it.
//!
//! ```text
//!   socket ──bytes──▶ Reader ──Message──▶ Connection ──Text, Binary──▶ application
//!                                            │  ▲
//!                        pong, ping, close   ▼  │  send
//!   socket ◀──bytes── Outbox ◀───────────────┴──┘
//! ```
//!
//! The two types that matter are [`Connection`], the state machine of one open WebSocket (heartbeat,
//! limits, closing, and the reason it ended), and [`handshake`], the strict opening handshake that
//! comes before it.

pub mod handshake;

pub mod frame;
pub mod mask;

mod message;
pub use message::{CloseFrame, Message};

mod reader;
pub use reader::Reader;

mod utf8;

pub mod deflate;

mod outbox;
pub use outbox::{Outbox, PONG_COUNT_MAX, SLICE_COUNT_MAX};

mod connection;
pub use connection::{Connection, Disposition, Role};

mod heartbeat;

mod end;
pub use end::{Advice, End, EndReason};

mod violation;
pub use violation::Violation;

mod limits;
pub use limits::{Limits, Timing};

pub mod command;

mod json;

mod channel;
pub use channel::{ChannelName, InvalidChannelName};

pub mod session;
