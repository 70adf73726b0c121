//! What happened to sessions, for whoever looks back later.

use mainstay_wire::session::{Gap, SessionId};
use mainstay_wire::{ChannelName, EndReason};

use crate::{ConnectionKey, Effect, Node};

/// Something that happened to a session or to a connection. Like every effect it comes out once it is
/// stored. The node itself keeps none of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// To which session, if there is one.
    pub session: Option<SessionId>,
    /// Over which connection, if there is one.
    pub connection: Option<ConnectionKey>,
    /// What happened.
    pub happening: Happening,
    /// Why: a word of PROTOCOL.md, of an end or of a gap.
    pub reason: Option<&'static str>,
    /// In which channel.
    pub channel: Option<ChannelName>,
    /// More about it, for people.
    pub detail: Box<str>,
}

/// What can happen to sessions and connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Happening {
    /// A connection without a session is open: the command dialect.
    Connected,
    /// A connection without a session is gone.
    Closed,
    /// A connection was refused, or a session was not given to it.
    Refused,
    /// A session began.
    Opened,
    /// A session goes on over a new connection.
    Resumed,
    /// A session's connection had to give way to a new one.
    Superseded,
    /// A session's connection is gone, and the session is away.
    Lost,
    /// A session ended for good: by its own wish or an operator's.
    Ended,
    /// A session was away for too long.
    Expired,
    /// A session listens to one more channel. What it takes up again when it resumes is not noted.
    Subscribed,
    /// A session no longer listens to a channel.
    Unsubscribed,
    /// A client is slow: for some time already it reads on from the log.
    Behind,
    /// A client that was behind is live again.
    CaughtUp,
    /// Events could not be given to a session. What it asked to be left out is not noted.
    Gap,
}

impl Happening {
    /// Its name: lower case, words joined by `_`.
    pub fn word(self) -> &'static str {
        match self {
            Happening::Connected => "connected",
            Happening::Closed => "closed",
            Happening::Refused => "refused",
            Happening::Opened => "opened",
            Happening::Resumed => "resumed",
            Happening::Superseded => "superseded",
            Happening::Lost => "lost",
            Happening::Ended => "ended",
            Happening::Expired => "expired",
            Happening::Subscribed => "subscribed",
            Happening::Unsubscribed => "unsubscribed",
            Happening::Behind => "behind",
            Happening::CaughtUp => "caught_up",
            Happening::Gap => "gap",
        }
    }
}

impl Note {
    /// A note that says nothing but what happened.
    pub fn of(happening: Happening) -> Note {
        Note {
            session: None,
            connection: None,
            happening,
            reason: None,
            channel: None,
            detail: Box::default(),
        }
    }

    /// Why it happened.
    #[must_use]
    pub fn because(self, reason: EndReason, detail: &str) -> Note {
        Note { reason: Some(reason.word()), detail: detail.into(), ..self }
    }
}

impl Node {
    /// Lets out a note of a session's with this commit.
    pub(crate) fn note(
        &mut self,
        session: SessionId,
        connection: Option<ConnectionKey>,
        note: Note,
    ) {
        self.push(Effect::Note(Note { session: Some(session), connection, ..note }));
    }

    pub(crate) fn note_channel(
        &mut self,
        session: SessionId,
        happening: Happening,
        channel: &ChannelName,
    ) {
        // Every session has its inboxes, and what clients do about them is nobody's wish.
        if channel.is_inbox() {
            return;
        }
        let connection = self.connection(session);
        let note = Note { channel: Some(channel.clone()), ..Note::of(happening) };
        self.note(session, connection, note);
    }

    pub(crate) fn note_gap(&mut self, session: SessionId, gap: &Gap) {
        let connection = self.connection(session);
        let detail = match gap.to {
            Some(to) => format!("events {} to {}", gap.from, to),
            None => format!("events from {} on", gap.from),
        };
        let reason = Some(gap.reason.word());
        let channel = Some(gap.channel.clone());
        let detail = detail.into();
        let note = Note { reason, channel, detail, ..Note::of(Happening::Gap) };
        self.note(session, connection, note);
    }

    /// A connection has been slow for some time, or no longer is.
    pub(crate) fn handle_pace(&mut self, connection: ConnectionKey, pace: Pace) {
        let Some(&session) = self.links.get(&connection) else { return };
        if let Some(link) = self.sessions.get_mut(&session).and_then(|entry| entry.link.as_mut()) {
            link.pace = pace;
        }
        let happening = match pace {
            Pace::Behind => Happening::Behind,
            Pace::Live => Happening::CaughtUp,
        };
        self.note(session, Some(connection), Note::of(happening));
    }
}

/// Whether a client keeps up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// It reads on from the log.
    Behind,
    /// It has each event as it comes.
    Live,
}
