//! What a peer can do wrong on an open connection.

use thiserror::Error;

use crate::EndReason;

/// The peer misbehaved: it broke RFC 6455, RFC 7692 or one of our limits. The connection cannot go
/// on; [`close_code`](Violation::close_code) says what the peer is told.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// A reserved bit was set that no negotiated extension gives a meaning (RFC 6455 §5.2).
    #[error("a reserved bit is set")]
    ReservedBit,
    /// An opcode that RFC 6455 §5.2 reserves.
    #[error("opcode {0:#x} is reserved")]
    ReservedOpcode(u8),
    /// A length not in its shortest form (RFC 6455 §5.2).
    #[error("a payload length is not in its shortest form")]
    LengthNotMinimal,
    /// A 64-bit length with its highest bit set (RFC 6455 §5.2).
    #[error("a payload length has its highest bit set")]
    LengthOutOfRange,
    /// A control frame of more than 125 bytes (RFC 6455 §5.5).
    #[error("a control frame is longer than 125 bytes")]
    ControlTooLong,
    /// A control frame without FIN (RFC 6455 §5.5).
    #[error("a control frame is fragmented")]
    ControlFragmented,
    /// A client's frame without a mask (RFC 6455 §5.1).
    #[error("a client's frame is not masked")]
    Unmasked,
    /// A server's frame with a mask (RFC 6455 §5.1).
    #[error("a server's frame is masked")]
    Masked,
    /// A continuation with nothing to continue (RFC 6455 §5.4).
    #[error("a continuation frame continues nothing")]
    UnexpectedContinuation,
    /// A new message before the last one's final fragment (RFC 6455 §5.4).
    #[error("a new message begins inside a fragmented one")]
    ExpectedContinuation,
    /// Text that is not UTF-8 (RFC 6455 §8.1).
    #[error("text is not valid UTF-8")]
    InvalidUtf8,
    /// A compressed message that does not inflate (RFC 7692 §7.2.2).
    #[error("a compressed message does not inflate")]
    InvalidDeflate,
    /// A Close payload of one byte (RFC 6455 §5.5.1).
    #[error("a close frame has a payload of one byte")]
    CloseTooShort,
    /// A close code that may not stand on the wire (RFC 6455 §7.4).
    #[error("close code {0} may not be sent")]
    CloseCodeInvalid(u16),
    /// A message over `message_bytes_max`.
    #[error("a message is over the limit of {bytes_max} bytes")]
    MessageTooBig {
        /// The limit.
        bytes_max: usize,
    },
    /// More fragments than `fragment_count_max`.
    #[error("a message has more than {count_max} fragments")]
    TooManyFragments {
        /// The limit.
        count_max: u32,
    },
    /// More control frames than `control_frames_per_second_max` allows.
    #[error("more control frames than {per_second_max} a second")]
    ControlFlood {
        /// The limit.
        per_second_max: u32,
    },
}

impl Violation {
    /// The end that this violation brings.
    pub fn end_reason(self) -> EndReason {
        match self {
            Violation::InvalidUtf8 | Violation::InvalidDeflate => EndReason::InvalidPayload,
            Violation::MessageTooBig { .. } => EndReason::MessageTooBig,
            Violation::TooManyFragments { .. } => EndReason::TooManyFragments,
            Violation::ControlFlood { .. } => EndReason::ControlFlood,
            _ => EndReason::ProtocolError,
        }
    }
}
