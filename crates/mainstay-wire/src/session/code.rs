//! The words by which programs tell failures and gaps apart. Their registry is `spec/codes.toml`.

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

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.word())
            }
        }
    };
}

macro_rules! retryable {
    ($($variant:ident;)+) => {
        impl ErrorCode {
            /// Whether nothing was done and the same may be asked again later, under a new number.
            pub fn is_retryable(self) -> bool {
                matches!(self, $(ErrorCode::$variant)|+)
            }
        }
    };
}

mod table;
pub use table::{ErrorCode, GapReason};

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
        assert!(ErrorCode::Busy.is_retryable() && !ErrorCode::HandlerFailed.is_retryable());
    }
}
