//! What a channel may be called (PROTOCOL.md, "Channels").

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// A channel's name: 1 to 128 bytes out of `A–Z a–z 0–9 . _ : / -`.
///
/// The grammar leaves out everything that means something to a URL, a shell, a log line or a
/// message broker, wildcards above all: a name never matches another name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName(Arc<str>);

impl ChannelName {
    /// Checks a name.
    pub fn parse(name: &str) -> Result<ChannelName, InvalidChannelName> {
        if name.is_empty() {
            return Err(InvalidChannelName::Empty);
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(InvalidChannelName::TooLong);
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte);
        if !name.bytes().all(allowed) {
            return Err(InvalidChannelName::Character);
        }
        Ok(ChannelName(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The caller's fault: this is no channel name.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidChannelName {
    /// Nothing at all.
    #[error("a channel name is empty")]
    Empty,
    /// Over 128 bytes.
    #[error("a channel name is longer than {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// A byte outside the grammar.
    #[error("a channel name may hold only A-Z a-z 0-9 . _ : / -")]
    Character,
}

/// Long enough for a path of identifiers, short enough to stand in every log line.
const NAME_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_kept() {
        for name in ["news", "a", "orders:eu/42.closed_x-y", &"n".repeat(128)] {
            assert_eq!(ChannelName::parse(name).map(|n| n.to_string()), Ok(name.to_owned()));
        }
        assert_eq!(ChannelName::parse(""), Err(InvalidChannelName::Empty));
        assert_eq!(ChannelName::parse(&"n".repeat(129)), Err(InvalidChannelName::TooLong));
        for name in ["a b", "news\n", "*", "a>b", "é", "a\0", "a%20", "a?b", "a#b"] {
            assert_eq!(ChannelName::parse(name), Err(InvalidChannelName::Character), "{name:?}");
        }
    }
}
