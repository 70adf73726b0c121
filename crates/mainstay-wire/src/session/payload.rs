//! What an application says, opaque to everything between its two ends.

use bytes::Bytes;

use crate::json::{nests_deeper, write_string};

/// An application's bytes, with a flag that says whether they are JSON. A JSON payload is checked
/// where it enters and passed on as it was written; nothing on its way parses it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// What the bytes are.
    pub kind: PayloadKind,
    /// The bytes.
    pub bytes: Bytes,
}

/// What a payload's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PayloadKind {
    /// One JSON value in UTF-8.
    Json,
    /// Anything.
    Binary,
}

impl Payload {
    /// The JSON value `null`: what an absent payload means.
    pub const NULL: Payload =
        Payload { kind: PayloadKind::Json, bytes: Bytes::from_static(b"null") };

    /// Bytes that the caller knows to be one JSON value in UTF-8.
    pub fn from_json_bytes(bytes: impl Into<Bytes>) -> Payload {
        Payload { kind: PayloadKind::Json, bytes: bytes.into() }
    }

    /// A JSON value.
    pub fn json(value: &serde_json::Value) -> Payload {
        Payload::from_json_bytes(value.to_string())
    }

    /// A JSON string.
    pub fn text(text: &str) -> Payload {
        let mut json = Vec::with_capacity(text.len() + 2);
        write_string(text, &mut json);
        Payload::from_json_bytes(json)
    }

    /// Whether it is JSON whose arrays and objects stand within each other more than [`NESTING_MAX`] deep
    /// (PROTOCOL.md, "Encoding").
    pub fn is_too_deep(&self) -> bool {
        self.kind == PayloadKind::Json && nests_deeper(&self.bytes, NESTING_MAX)
    }

    /// Anything.
    pub fn binary(bytes: impl Into<Bytes>) -> Payload {
        Payload { kind: PayloadKind::Binary, bytes: bytes.into() }
    }
}

/// How deep the arrays and objects of a JSON payload may stand within each other. With the frame around
/// it that is below the 128 levels at which serde_json gives up; other parsers bear some more.
pub const NESTING_MAX: usize = 100;
