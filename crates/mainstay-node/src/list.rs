//! Lists of channels and sessions, a page at a time.

use std::ops::Bound::{Excluded, Included, Unbounded};
use std::str::FromStr;

use mainstay_wire::ChannelName;
use mainstay_wire::session::{Principal, SessionId};
use thiserror::Error;

use crate::node::{Entry, Link};
use crate::{Answer, Node, Pace};

/// Which channels are wanted, in the order of their names. The default wants none: `count_max` is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelQuery {
    /// Those whose names begin so.
    pub prefix: Option<ChannelPrefix>,
    /// From behind this one on.
    pub after: Option<ChannelName>,
    /// At most so many.
    pub count_max: usize,
}

/// Which sessions are wanted, in the order of their ids: those to which everything applies that is given.
/// The default wants none: `count_max` is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionQuery {
    /// Those whose ids begin so.
    pub prefix: Option<SessionPrefix>,
    /// Those of this principal. No others are looked at.
    pub principal: Option<Principal>,
    /// With a connection (`true`), or without one.
    pub is_connected: Option<bool>,
    /// Behind or not, as [`SessionView::is_behind`](crate::SessionView::is_behind) says.
    pub is_behind: Option<bool>,
    /// From behind this one on.
    pub after: Option<SessionId>,
    /// At most so many.
    pub count_max: usize,
}

/// What the names of some channels begin with, inboxes among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelPrefix(Box<str>);

/// What the ids of some sessions begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionPrefix {
    first: SessionId,
    last: SessionId,
}

/// The caller's fault: nothing begins so.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidPrefix {
    /// No channel.
    #[error(
        "a prefix of channels has at most {CHANNEL_BYTES_MAX} bytes out of A-Z a-z 0-9 . _ : / -, \
         and for inboxes begins with $session/ or $principal/"
    )]
    Channel,
    /// No session.
    #[error("a prefix of sessions has at most {SESSION_DIGITS} hexadecimal digits")]
    Session,
}

impl FromStr for ChannelPrefix {
    type Err = InvalidPrefix;

    fn from_str(text: &str) -> Result<ChannelPrefix, InvalidPrefix> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte);
        let of_inboxes = |start: &str| {
            let owner = text.strip_prefix(start);
            start.starts_with(text)
                || owner
                    .is_some_and(|owner| owner.bytes().all(|b| is_plain(b) || b"@+".contains(&b)))
        };
        let is_known = text.bytes().all(is_plain) || INBOXES.into_iter().any(of_inboxes);
        if !is_known || text.len() > CHANNEL_BYTES_MAX {
            return Err(InvalidPrefix::Channel);
        }
        Ok(ChannelPrefix(text.into()))
    }
}

impl FromStr for SessionPrefix {
    type Err = InvalidPrefix;

    fn from_str(text: &str) -> Result<SessionPrefix, InvalidPrefix> {
        let filled_with = |digit: &str| {
            let missing = SESSION_DIGITS.checked_sub(text.len())?;
            format!("{text}{}", digit.repeat(missing)).parse().ok()
        };
        match (filled_with("0"), filled_with("f")) {
            (Some(first), Some(last)) => Ok(SessionPrefix { first, last }),
            _ => Err(InvalidPrefix::Session),
        }
    }
}

impl Node {
    /// Every channel of the range that is looked at is wanted.
    pub(crate) fn list_channels(&self, query: &ChannelQuery) -> Answer {
        let prefix = query.prefix.as_ref().map_or("", |prefix| &prefix.0);
        let (mut channels, mut last) = (Vec::new(), query.after.clone());
        let count_max = query.count_max.min(STEP_COUNT_MAX);
        for (name, channel) in self.channels.from(prefix, query.after.as_ref()) {
            if channels.len() >= count_max {
                return Answer::Channels { channels, next: last };
            }
            channels.push(self.channel_view(name, channel.extent()));
            last = Some(name.clone());
        }
        Answer::Channels { channels, next: None }
    }

    /// Looks at so many only that whoever else waits for the node hardly notices.
    pub(crate) fn list_sessions(&self, query: &SessionQuery) -> Answer {
        let (mut sessions, mut last, mut steps) = (Vec::new(), query.after, 0);
        for (id, entry) in self.candidates(query) {
            if sessions.len() >= query.count_max || steps >= STEP_COUNT_MAX {
                return Answer::Sessions { sessions, next: last };
            }
            last = Some(id);
            steps += 1;
            if query.is_connected.is_some_and(|wanted| wanted != entry.link.is_some()) {
                continue;
            }
            steps += entry.link.as_ref().map_or(0, |link| link.subscriptions.count());
            if query.is_behind.is_none_or(|wanted| wanted == self.is_behind(entry)) {
                sessions.push(self.session_view(id, entry));
            }
        }
        Answer::Sessions { sessions, next: None }
    }

    /// The sessions among which the wanted ones are, by id.
    fn candidates<'a>(
        &'a self,
        query: &'a SessionQuery,
    ) -> Box<dyn Iterator<Item = (SessionId, &'a Entry)> + 'a> {
        let prefix = query.prefix;
        let from = match (query.after, prefix) {
            (Some(after), prefix) if prefix.is_none_or(|prefix| prefix.first <= after) => {
                Excluded(after)
            }
            (_, Some(prefix)) => Included(prefix.first),
            (_, None) => Unbounded,
        };
        let is_within = move |id: SessionId| prefix.is_none_or(|prefix| id <= prefix.last);
        match &query.principal {
            Some(principal) => {
                let ids = self.principals.sessions(principal, from);
                let ids = ids.take_while(move |id| is_within(*id));
                Box::new(ids.filter_map(|id| Some((id, &**self.sessions.get(&id)?))))
            }
            None => {
                let sessions = self.sessions.range((from, Unbounded));
                let sessions = sessions.take_while(move |(id, _)| is_within(**id));
                Box::new(sessions.map(|(id, entry)| (*id, &**entry)))
            }
        }
    }

    /// Whether a client has events before it that it does not have yet, or has not acknowledged.
    pub(crate) fn is_behind(&self, entry: &Entry) -> bool {
        let lags = |link: &Link| {
            let mut held = (&link.subscriptions).into_iter();
            held.any(|(channel, held)| self.lag(channel, held) > 0)
        };
        entry.link.as_ref().is_some_and(|link| link.pace == Pace::Behind || lags(link))
    }
}

/// What the names of inboxes begin with.
const INBOXES: [&str; 2] = ["$session/", "$principal/"];
/// As long as a name may be.
const CHANNEL_BYTES_MAX: usize = 128;
const SESSION_DIGITS: usize = 32;
/// Sessions looked at for one page, each counted once more for each of its subscriptions: some
/// milliseconds' worth of work.
const STEP_COUNT_MAX: usize = 5_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_what_a_name_can_begin_with() {
        for text in ["", "news", "orders:eu/4", "$", "$sess", "$session/8f", "$principal/a@b+c"] {
            assert!(text.parse::<ChannelPrefix>().is_ok(), "{text}");
        }
        for text in ["a b", "a@", "é", "*", "$other", "$session/ ", &"n".repeat(129)] {
            assert_eq!(text.parse::<ChannelPrefix>(), Err(InvalidPrefix::Channel), "{text}");
        }
    }

    #[test]
    fn a_prefix_of_sessions_is_a_range_of_ids() {
        let range = |text: &str| {
            let prefix = text.parse::<SessionPrefix>();
            prefix.map(|prefix| (prefix.first.to_string(), prefix.last.to_string()))
        };
        let filled = |text: &str, digit: &str| format!("{text}{}", digit.repeat(32 - text.len()));
        for text in ["", "8", "8f3", &"a".repeat(32)] {
            assert_eq!(range(text), Ok((filled(text, "0"), filled(text, "f"))));
        }
        assert_eq!(range("8F"), range("8f"));
        for text in ["x", "+1", "8f ", "é", &"0".repeat(33)] {
            assert_eq!(range(text), Err(InvalidPrefix::Session), "{text}");
        }
    }
}
