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
pub use payload::{Payload, PayloadKind};

mod frame;
pub use frame::{
    Ack, ClientFrame, Cursor, Delivery, Event, Failure, Gap, Goaway, Hello, Member, Outcome,
    Presence, PresenceMode, Problem, Publish, Reply, Request, ServerFrame, SessionLimits, Standing,
    Start, Subscribe, Subscribed, Unsubscribed, Welcome,
};

mod code;
pub use code::{ErrorCode, GapReason};

/// How frames are written. One schema, two encodings, chosen by the subprotocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// One JSON object in a text message.
    Json,
    /// One Protobuf message in a binary message.
    Protobuf,
}

impl Encoding {
    /// The subprotocol that asks for this encoding (RFC 6455 §1.9).
    pub fn subprotocol(self) -> &'static str {
        match self {
            Encoding::Json => "mainstay.v1.json",
            Encoding::Protobuf => "mainstay.v1.protobuf",
        }
    }
}
