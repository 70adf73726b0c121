//! The session dialect: what a client and a server say to each other over connections that die
//! while the session does not (PROTOCOL.md, "Session dialect").
//!
//! [`ClientFrame`] and [`ServerFrame`] are the vocabulary. An encoding, [`Encoding::Json`] or
//! [`Encoding::Protobuf`], turns one frame into one WebSocket message and back; nothing else in the
//! tree knows how a frame is written.

mod position;
pub use position::{Epoch, Offset};

mod identity;
pub use identity::{InvalidIdentity, Principal, SessionId, Token};

mod payload;
pub use payload::{NESTING_MAX, Payload, PayloadKind};

mod frame;
pub use frame::{
    Ack, ClientFrame, Cursor, Delivery, Event, Failure, Gap, Goaway, Hello, Member, Outcome,
    Presence, PresenceMode, Problem, Publish, Reply, Request, ServerFrame, SessionLimits, Standing,
    Start, Subscribe, Subscribed, Unsubscribed, Welcome,
};

mod code;
pub use code::{ErrorCode, GapReason};

mod encoding;
pub use encoding::{Encoding, Malformed, MalformedKind};

mod size;

mod json_plain;
mod json_read;
mod json_write;
mod protobuf;
mod protobuf_schema;

#[cfg(test)]
mod tests;
