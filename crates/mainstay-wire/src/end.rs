//! Why a connection ended: one registry of words and close codes for logs, counters and peers.

use std::fmt;

macro_rules! end_reasons {
    ($($variant:ident, $word:literal, $code:expr, $advice:ident, $doc:literal;)+) => {
        /// Why a connection ended. The words and codes are listed in PROTOCOL.md ("Ends"), and the
        /// registry of them is `spec/codes.toml`.
        ///
        /// Codes of 4000–4299 are ours, and their hundreds tell a client what to do ([`Advice`]);
        /// the rest are RFC 6455's (§7.4.1) and the registry's.
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

            /// What a client does whose connection ended so. For [`EndReason::PeerClosed`] the
            /// peer's code says more: [`Advice::of_close_code`].
            pub fn advice(self) -> Advice {
                match self { $(EndReason::$variant => Advice::$advice,)+ }
            }

            /// One sentence for people.
            pub fn explanation(self) -> &'static str {
                match self { $(EndReason::$variant => $doc,)+ }
            }
        }
    };
}

mod table;
pub use table::EndReason;

/// What a client does after its connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Advice {
    /// Comes back, to its session if it has one, with back-off.
    Resume,
    /// Comes back with back-off and leaves its session behind: a server will not give it back.
    StartFresh,
    /// Does not come back by itself: the same would happen again.
    Stop,
    /// Nothing: the end was the client's own wish.
    None,
}

impl Advice {
    /// What a close code from a server means (PROTOCOL.md, "What a client does with a code"). 1001
    /// and 1012 come from servers that close everybody at once, so the way back is spread over the
    /// drain window.
    pub fn of_close_code(code: u16) -> Advice {
        match code {
            4100..=4199 => Advice::StartFresh,
            // By 1008 a server says that this client breaks its policy, as it would again.
            1008 | 4200..=4299 => Advice::Stop,
            _ => Advice::Resume,
        }
    }
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
    fn codes_advise_as_their_reasons_do() {
        for reason in EndReason::ALL {
            match (reason.close_code(), reason.advice()) {
                // Told by the side that wished it, so there is nobody left to be advised.
                (Some(1000), advice) => assert_eq!(advice, Advice::None, "{reason}"),
                (Some(code), advice) => assert_eq!(Advice::of_close_code(code), advice, "{reason}"),
                (None, advice) => assert_eq!(advice, Advice::Resume, "{reason}"),
            }
        }
        for (code, advice) in [
            (1000, Advice::Resume),
            (1001, Advice::Resume),
            (1008, Advice::Stop),
            (1012, Advice::Resume),
            (3000, Advice::Resume),
            (4000, Advice::Resume),
            (4099, Advice::Resume),
            (4100, Advice::StartFresh),
            (4199, Advice::StartFresh),
            (4200, Advice::Stop),
            (4299, Advice::Stop),
            (4300, Advice::Resume),
        ] {
            assert_eq!(Advice::of_close_code(code), advice, "{code}");
        }
    }

    #[test]
    fn an_end_reads_as_one_line() {
        let end = End::new(EndReason::MessageTooBig, "70,000 bytes");
        assert_eq!(end.to_string(), "message_too_big (1009): 70,000 bytes");
        assert_eq!(End::new(EndReason::PeerEof, "").to_string(), "peer_eof");
    }
}
