//! The words by which programs tell failures and gaps apart.

use std::fmt;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident, $word:literal, $text:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $(#[doc = $text] $variant,)+
        }

        impl $name {
            /// Every one, in the registry's order.
            pub const ALL: &[$name] = &[$($name::$variant,)+];

            /// The word on the wire: lower case, joined by `_`.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }

            /// One sentence for people.
            pub fn explanation(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }

            /// Finds a word.
            pub fn parse(word: &str) -> Option<$name> {
                match word { $($word => Some($name::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.word())
            }
        }
    };
}

words! {
    /// Why a request failed or a frame could not be acted on.
    ErrorCode {
        HandlerFailed, "handler_failed", "The handler ran and refused or failed; its message says why.";
        Internal, "internal", "The handler ran and failed unexpectedly.";
        DeadlineExceeded, "deadline_exceeded", "The handler was stopped at its deadline; it may have done part of its work.";
        Cancelled, "cancelled", "The client took the request back; a handler that ran was stopped.";
        NeverRan, "never_ran", "The request did not run and never will.";
        Malformed, "malformed", "The frame or its payload is not what the protocol says.";
        InvalidChannel, "invalid_channel", "The channel's name is outside the grammar.";
        NotPermitted, "not_permitted", "The principal may not do this.";
        NotSubscribed, "not_subscribed", "The session does not listen to this channel.";
        TooManySubscriptions, "too_many_subscriptions", "The session listens to as many channels as it may.";
        TooManyChannels, "too_many_channels", "The server keeps as many channels as it may.";
        TooManySessions, "too_many_sessions", "The server, or this principal, has as many sessions as it may; come back later.";
        TooBig, "too_big", "The payload is over a limit of bytes.";
        InboxFull, "inbox_full", "The inbox holds as much as it may for one who does not read it.";
        Unreachable, "unreachable", "There is no such session, principal or connection.";
        Busy, "busy", "More is asked of the server than it can take; nothing was done, try again later.";
        StoreFailed, "store_failed", "The store could not keep it; nothing was done.";
    }
}

words! {
    /// Why events cannot be delivered.
    GapReason {
        Trimmed, "trimmed", "The events are older than the channel's history reaches.";
        Epoch, "epoch", "The log that the offset belonged to is gone, and another has begun.";
        Conflated, "conflated", "The subscription wants the latest event, and these were passed over.";
        Corrupt, "corrupt", "The store found the events damaged.";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lead_back_to_their_codes() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::parse(code.word()), Some(*code));
        }
        for reason in GapReason::ALL {
            assert_eq!(GapReason::parse(reason.word()), Some(*reason));
        }
        assert_eq!(ErrorCode::parse("no_such_word"), None);
    }
}
