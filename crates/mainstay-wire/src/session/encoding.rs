//! How frames are written and read: the one place that knows of formats.

use thiserror::Error;

use super::{
    ClientFrame, Epoch, ErrorCode, Failure, InvalidIdentity, Principal, ServerFrame, SessionId,
    Token, json_plain, json_read, json_write, protobuf,
};
use crate::ChannelName;
use crate::frame::Opcode;

/// How frames are written. One schema, two encodings, chosen by the subprotocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// One JSON object in a text message.
    Json,
    /// One Protobuf message in a binary message.
    Protobuf,
}

impl Encoding {
    /// Both, the one that a person can read first.
    pub const ALL: &[Encoding] = &[Encoding::Json, Encoding::Protobuf];

    /// The subprotocol that asks for this encoding (RFC 6455 §1.9).
    pub fn subprotocol(self) -> &'static str {
        match self {
            Encoding::Json => "mainstay.v1.json",
            Encoding::Protobuf => "mainstay.v1.protobuf",
        }
    }

    /// The encoding that a subprotocol asks for; `None` for the name of another protocol.
    pub fn from_subprotocol(name: &str) -> Option<Encoding> {
        Encoding::ALL.iter().copied().find(|encoding| encoding.subprotocol() == name)
    }

    /// The kind of message that a frame stands in. A message of the other kind is none of a frame.
    pub fn opcode(self) -> Opcode {
        match self {
            Encoding::Json => Opcode::Text,
            Encoding::Protobuf => Opcode::Binary,
        }
    }

    /// Reads what a client said.
    ///
    /// # Errors
    ///
    /// [`Malformed`]: the client is at fault. Of [`MalformedKind::InvalidChannel`] the connection
    /// need not end.
    pub fn decode_client(self, message: &[u8]) -> Result<ClientFrame, Malformed> {
        match self {
            Encoding::Json => json_plain::client_frame(message)
                .map_or_else(|| json_read::client_frame(message), Ok),
            Encoding::Protobuf => protobuf::decode_client(message),
        }
    }

    /// Reads what a server said.
    ///
    /// # Errors
    ///
    /// [`Malformed`]: the server is at fault.
    pub fn decode_server(self, message: &[u8]) -> Result<ServerFrame, Malformed> {
        match self {
            Encoding::Json => json_plain::server_frame(message)
                .map_or_else(|| json_read::server_frame(message), Ok),
            Encoding::Protobuf => protobuf::decode_server(message),
        }
    }

    /// Appends a client's frame to `out`, as the content of one message.
    pub fn encode_client(self, frame: &ClientFrame, out: &mut Vec<u8>) {
        match self {
            Encoding::Json => json_write::client_frame(frame, out),
            Encoding::Protobuf => protobuf::encode_client(frame, out),
        }
    }

    /// Appends a server's frame to `out`, as the content of one message. An event takes no memory
    /// but that of `out`.
    pub fn encode_server(self, frame: &ServerFrame, out: &mut Vec<u8>) {
        match self {
            Encoding::Json => json_write::server_frame(frame, out),
            Encoding::Protobuf => protobuf::encode_server(frame, out),
        }
    }
}

/// The peer misbehaved: what came is no frame, or not one that it may send.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{kind}: {detail}")]
pub struct Malformed {
    /// What is wrong, for programs.
    pub kind: MalformedKind,
    /// The frame's number if it has one and that could be made out, so that it can be answered.
    pub number: Option<u64>,
    /// What exactly is wrong, for logs; may quote the peer, and is of bounded length.
    pub detail: String,
}

impl Malformed {
    pub(super) fn new(kind: MalformedKind, number: Option<u64>, detail: &str) -> Malformed {
        let end = detail.floor_char_boundary(DETAIL_BYTES_MAX);
        Malformed { kind, number, detail: detail[..end].to_owned() }
    }

    /// A field is missing, or what stands in it is not what belongs there.
    pub(super) fn content(number: Option<u64>, detail: &str) -> Malformed {
        Malformed::new(MalformedKind::Content, number, detail)
    }
}

/// What is wrong with a message.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MalformedKind {
    /// Not one JSON object, or not a Protobuf message of the schema.
    #[error("not a frame")]
    Syntax,
    /// A frame of no type that this side may send.
    #[error("unknown type of frame")]
    UnknownType,
    /// A field is missing, repeated, or holds what it may not.
    #[error("malformed frame")]
    Content,
    /// More cursors than any session can have.
    #[error("too many cursors")]
    TooManyCursors,
    /// A well-formed `publish`, `subscribe` or `unsubscribe` for a name that no channel can have.
    /// The connection goes on: a publish is answered with `failed`, the others with a `problem`.
    #[error("invalid channel")]
    InvalidChannel {
        /// The name, cut to a bounded length.
        channel: String,
    },
}

/// A channel that a client speaks of in a frame that can be answered.
pub(super) fn clients_channel(name: &str, number: Option<u64>) -> Result<ChannelName, Malformed> {
    ChannelName::parse_any(name).map_err(|error| {
        let end = name.floor_char_boundary(DETAIL_BYTES_MAX);
        let kind = MalformedKind::InvalidChannel { channel: name[..end].to_owned() };
        Malformed::new(kind, number, &error.to_string())
    })
}

pub(super) fn parse_channel(name: &str) -> Result<ChannelName, Malformed> {
    ChannelName::parse_any(name).map_err(|error| Malformed::content(None, &error.to_string()))
}

/// Sixteen hexadecimal digits, no fewer and no sign.
pub(super) fn parse_epoch(text: &str) -> Result<Epoch, Malformed> {
    let is_hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let epoch = is_hex.then(|| text.parse().ok()).flatten();
    epoch.ok_or_else(|| Malformed::content(None, "an epoch is 16 hexadecimal digits"))
}

pub(super) fn parse_session(text: &str) -> Result<SessionId, Malformed> {
    text.parse().map_err(invalid_identity)
}

pub(super) fn parse_token(text: &str) -> Result<Token, Malformed> {
    text.parse().map_err(invalid_identity)
}

pub(super) fn parse_principal(text: &str) -> Result<Principal, Malformed> {
    Principal::parse(text).map_err(invalid_identity)
}

fn invalid_identity(error: InvalidIdentity) -> Malformed {
    Malformed::content(None, &error.to_string())
}

/// A word that a newer peer may know and we do not is a failure all the same.
pub(super) fn read_failure(error: &str, message: String) -> Failure {
    Failure { code: ErrorCode::parse(error).unwrap_or(ErrorCode::Internal), message }
}

pub(super) fn unknown_word(field: &str, word: &str) -> Malformed {
    Malformed::content(None, &format!("unknown {field} {word:?}"))
}

/// How many cursors one frame may hold: far more than a session's subscriptions, and few enough
/// that a hostile hello costs no more memory than a message.
pub(super) const CURSOR_COUNT_MAX: usize = 4096;

/// 2⁵³ − 1: the integers up to it are exact in every language, JavaScript's included.
pub(super) const NUMBER_MAX: u64 = (1 << 53) - 1;

/// Enough to find the place, short enough for a line of a log.
const DETAIL_BYTES_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subprotocols_lead_back_to_their_encodings() {
        for encoding in Encoding::ALL {
            assert_eq!(Encoding::from_subprotocol(encoding.subprotocol()), Some(*encoding));
        }
        assert_eq!(Encoding::from_subprotocol("mainstay.v1.JSON"), None);
        assert_eq!(Encoding::from_subprotocol(""), None);
    }
}
