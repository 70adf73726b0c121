//! What a channel may be called (PROTOCOL.md, "Channels").

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::session::{Principal, SessionId};

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

    /// The inbox of one session. Its name lies outside the grammar, so that no client can claim it.
    pub fn session_inbox(session: SessionId) -> ChannelName {
        ChannelName(format!("$session/{session}").into())
    }

    /// The session whose inbox this is.
    pub fn inbox_session(&self) -> Option<SessionId> {
        let session = self.0.strip_prefix("$session/")?;
        // An id may be written in capitals too, and is then no name.
        let is_name = !session.bytes().any(|byte| byte.is_ascii_uppercase());
        is_name.then(|| session.parse().ok()).flatten()
    }

    /// The inbox of one principal.
    pub fn principal_inbox(principal: &Principal) -> ChannelName {
        ChannelName(format!("$principal/{principal}").into())
    }

    /// The principal whose inbox this is.
    pub fn inbox_principal(&self) -> Option<Principal> {
        Principal::parse(self.0.strip_prefix("$principal/")?).ok()
    }

    /// Takes a name that a server or a log of ours wrote: one of the grammar, or an inbox.
    pub fn parse_any(name: &str) -> Result<ChannelName, InvalidChannelName> {
        let is_inbox = match name.split_once('/') {
            Some(("$session", id)) => id.parse::<SessionId>().is_ok(),
            Some(("$principal", principal)) => Principal::parse(principal).is_ok(),
            _ => return ChannelName::parse(name),
        };
        if is_inbox { Ok(ChannelName(name.into())) } else { Err(InvalidChannelName::Character) }
    }

    /// Whether this is the inbox of a session or a principal.
    pub fn is_inbox(&self) -> bool {
        self.0.starts_with('$')
    }

    /// Whether this is the inbox of a session.
    pub fn is_session_inbox(&self) -> bool {
        self.0.starts_with("$session/")
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Names are equal and ordered as their texts are.
impl Borrow<str> for ChannelName {
    fn borrow(&self) -> &str {
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
    fn inboxes_lie_outside_the_grammar_of_clients() {
        let session = SessionId::from_bytes([7; 16]);
        let principal = Principal::parse("ann@example.org").expect("a principal");
        for name in [ChannelName::session_inbox(session), ChannelName::principal_inbox(&principal)]
        {
            assert!(name.is_inbox());
            assert_eq!(ChannelName::parse(name.as_str()), Err(InvalidChannelName::Character));
            assert_eq!(ChannelName::parse_any(name.as_str()), Ok(name));
        }
        assert_eq!(ChannelName::session_inbox(session).inbox_session(), Some(session));
        assert_eq!(ChannelName::session_inbox(session).inbox_principal(), None);
        assert_eq!(ChannelName::principal_inbox(&principal).inbox_session(), None);
        assert_eq!(ChannelName::principal_inbox(&principal).inbox_principal(), Some(principal));
        let capitals = ChannelName::parse_any("$session/ABABABABABABABABABABABABABABABAB");
        assert_eq!(capitals.map(|name| name.inbox_session()), Ok(None));
        assert_eq!(
            ChannelName::parse_any("news").map(|name| name.is_inbox()),
            Ok(false),
            "a channel of clients is taken too"
        );
        for name in ["$session/x", "$principal/", "$other/a", "$news"] {
            assert!(ChannelName::parse_any(name).is_err(), "{name}");
        }
    }

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
