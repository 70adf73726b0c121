//! Why a connection ended: one registry of words and close codes for logs, counters and peers.

use std::fmt;

macro_rules! end_reasons {
    ($($variant:ident, $word:literal, $code:expr, $doc:literal;)+) => {
        /// Why a connection ended. The words and codes are listed in PROTOCOL.md ("Ends").
        ///
        /// Codes of 4000–4099 are ours and tell a client to reconnect with back-off; the rest are
        /// RFC 6455's (§7.4.1) and the registry's.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum EndReason {
            $(#[doc = $doc] $variant,)+
        }

        impl EndReason {
            /// Every reason, in the registry's order.
            pub const ALL: &[EndReason] = &[$(EndReason::$variant,)+];

            /// The reason's name in logs and counters: lower case, words joined by `_`.
            pub fn word(self) -> &'static str {
                match self { $(EndReason::$variant => $word,)+ }
            }

            /// The close code that we send for this reason; `None` where no Close frame of ours
            /// can reach the peer, or where the peer's own code is echoed.
            pub fn close_code(self) -> Option<u16> {
                match self { $(EndReason::$variant => $code,)+ }
            }

            /// One sentence for people.
            pub fn explanation(self) -> &'static str {
                match self { $(EndReason::$variant => $doc,)+ }
            }
        }
    };
}

end_reasons! {
    PeerClosed, "peer_closed", None,
        "The peer closed with a Close frame; its code is echoed.";
    PeerEof, "peer_eof", None,
        "The peer's TCP stream ended without a Close frame: its process exited, or it dropped the socket after a message.";
    PeerEofInMessage, "peer_eof_in_message", None,
        "The peer's TCP stream ended in the middle of a message.";
    PeerReset, "peer_reset", None,
        "The peer, or something between, reset the TCP connection.";
    IdleCut, "idle_cut", None,
        "The connection was cut without a Close frame after a long silence both ways: a proxy's idle timeout is likely.";
    PingTimeout, "ping_timeout", Some(4000),
        "Not one byte came within the pong timeout after a ping.";
    WriteStalled, "write_stalled", Some(4001),
        "The peer's socket took not one byte for the write stall timeout.";
    SlowConsumer, "slow_consumer", Some(4002),
        "An event did not fit into the outbox: the peer reads more slowly than its channels speak.";
    MessageTimeout, "message_timeout", Some(4003),
        "One message took longer than the message timeout to arrive.";
    ControlFlood, "control_flood", Some(4004),
        "The peer sent more control frames than the limit allows.";
    ProtocolError, "protocol_error", Some(1002),
        "The peer broke the WebSocket protocol.";
    InvalidPayload, "invalid_payload", Some(1007),
        "A text message was not UTF-8, or a compressed message did not inflate.";
    MessageTooBig, "message_too_big", Some(1009),
        "A message was over the limit of bytes.";
    TooManyFragments, "too_many_fragments", Some(1009),
        "A message had more fragments than the limit.";
    LocalClose, "local_close", Some(1000),
        "This side's application closed the connection.";
    Drain, "drain", Some(1001),
        "The server is shutting down and asked its clients to move.";
    CloseTimeout, "close_timeout", None,
        "The peer did not finish the closing handshake within the close timeout.";
    IoError, "io_error", None,
        "The operating system reported an error on the socket.";
    HandshakeTimeout, "handshake_timeout", None,
        "The opening handshake was not complete within the handshake timeout.";
    HandshakeRefused, "handshake_refused", None,
        "The opening handshake was malformed or not acceptable; the HTTP answer says why.";
    HandshakeEof, "handshake_eof", None,
        "The peer went away before its opening handshake was complete.";
    OverCapacity, "over_capacity", None,
        "The server holds as many connections as it may, in all or from this address; it answered 503 or 429.";
}

impl fmt::Display for EndReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

/// How one connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The registry's reason.
    pub reason: EndReason,
    /// The code of the Close frame that ended it: the peer's for `peer_closed`, else the one sent.
    pub code: Option<u16>,
    /// What exactly happened, for logs; may hold text from the peer.
    pub detail: String,
}

impl End {
    /// An end with the code that its reason brings.
    pub fn new(reason: EndReason, detail: impl Into<String>) -> End {
        End { reason, code: reason.close_code(), detail: detail.into() }
    }
}

impl fmt::Display for End {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.reason)?;
        if let Some(code) = self.code {
            write!(formatter, " ({code})")?;
        }
        if !self.detail.is_empty() {
            write!(formatter, ": {}", self.detail)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::close_code_is_valid;

    #[test]
    fn words_are_unique_and_codes_may_be_sent() {
        for (index, reason) in EndReason::ALL.iter().enumerate() {
            assert!(reason.word().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
            assert!(EndReason::ALL[index + 1..].iter().all(|other| other.word() != reason.word()));
            if let Some(code) = reason.close_code() {
                assert!(close_code_is_valid(code), "{reason} sends {code}");
            }
        }
    }

    #[test]
    fn an_end_reads_as_one_line() {
        let end = End::new(EndReason::MessageTooBig, "70,000 bytes");
        assert_eq!(end.to_string(), "message_too_big (1009): 70,000 bytes");
        assert_eq!(End::new(EndReason::PeerEof, "").to_string(), "peer_eof");
    }
}
