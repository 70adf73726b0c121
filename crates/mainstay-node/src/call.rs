//! What the program around a node may ask of it.

use bytes::Bytes;
use mainstay_wire::session::{
    Delivery, Epoch, ErrorCode, Event, Offset, Outcome, Payload, PresenceMode, Principal, SessionId,
};
use mainstay_wire::{ChannelName, EndReason};
use thiserror::Error;

use crate::ConnectionKey;
use crate::list::{ChannelQuery, SessionQuery};

/// Ties an answer to its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A wish of the program around the node: the embedding program, a handler, or the HTTP API.
#[derive(Clone, Debug)]
pub enum Call {
    /// Appends an event to each of these channels, all or none. Answered with
    /// [`Answer::Published`].
    Publish {
        /// Where to.
        channels: Vec<ChannelName>,
        /// What.
        payload: Payload,
        /// With a key, the same call with the same key within
        /// [`key_expiry_ms`](crate::NodeConfig::key_expiry_ms) appends nothing and gets the first
        /// one's answer. Another call with that key gets `key_reused`.
        key: Option<Bytes>,
    },
    /// Appends an event to somebody's inbox. Answered with [`Answer::Published`].
    Send {
        /// To whom.
        to: Target,
        /// What.
        payload: Payload,
        /// As for publish.
        key: Option<Bytes>,
    },
    /// Has a client run a command. Answered with [`Answer::Outcome`] when its reply has come, or with
    /// `deadline_exceeded`.
    Command {
        /// Which client.
        to: SessionId,
        /// Which of its handlers.
        command: String,
        /// What that gets.
        payload: Payload,
        /// How long the reply is waited for, across reconnects.
        deadline_ms: u64,
    },
    /// Reads a channel. Answered with [`Answer::History`].
    History {
        /// Which.
        channel: ChannelName,
        /// From behind this place; 0 for the oldest.
        after: Offset,
        /// At most so many events.
        count_max: usize,
    },
    /// Who is a member of a channel. Answered with [`Answer::Members`].
    Members {
        /// Which.
        channel: ChannelName,
    },
    /// Channels by name. Answered with [`Answer::Channels`].
    Channels(ChannelQuery),
    /// Sessions by id. Answered with [`Answer::Sessions`].
    Sessions(SessionQuery),
    /// One session. Answered with [`Answer::Session`].
    Session {
        /// Which.
        session: SessionId,
    },
    /// Ends a session, and closes its connection with `disconnected`. Answered with
    /// [`Answer::Done`].
    End {
        /// Which.
        session: SessionId,
    },
}

/// Who gets a directed message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One session.
    Session(SessionId),
    /// Every session of a principal, now and later: it lies in the principal's inbox.
    Principal(Principal),
    /// The session behind a connection.
    Connection(ConnectionKey),
}

/// What came of a call.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Where the events went, in the order of the channels.
    Published(Vec<(ChannelName, Epoch, Offset)>),
    /// What a client replied.
    Outcome(Outcome),
    /// Events of a channel.
    History {
        /// The channel.
        channel: ChannelView,
        /// Its events.
        events: Vec<Event>,
    },
    /// Members of a channel.
    Members(Vec<MemberView>),
    /// A page of channels.
    Channels {
        /// Them.
        channels: Vec<ChannelView>,
        /// The `after` of the next page; `None` if this is the last.
        next: Option<ChannelName>,
    },
    /// A page of sessions.
    Sessions {
        /// Them: perhaps fewer than were asked for although more follow, or none, for one call looks at
        /// some thousand sessions at most.
        sessions: Vec<SessionView>,
        /// The `after` of the next page; `None` if this is the last.
        next: Option<SessionId>,
    },
    /// One session.
    Session(Box<SessionView>),
    /// It is done.
    Done,
}

/// A call that came to nothing: a word for programs, a text for people.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct CallError {
    /// Why.
    pub code: ErrorCode,
    /// Why exactly.
    pub message: String,
}

/// A channel, seen from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelView {
    /// Its name.
    pub name: ChannelName,
    /// Its incarnation.
    pub epoch: Epoch,
    /// The first event that is kept.
    pub first: Offset,
    /// The newest event.
    pub head: Offset,
    /// Bytes of the payloads that are kept.
    pub bytes: u64,
    /// Sessions that listen over a connection.
    pub subscriber_count: usize,
    /// Sessions that are members.
    pub member_count: usize,
}

/// A member, seen from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// The session.
    pub session: SessionId,
    /// Who it belongs to.
    pub principal: Option<Principal>,
}

/// A session, seen from outside.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionView {
    /// Its id.
    pub session: SessionId,
    /// Who it belongs to.
    pub principal: Option<Principal>,
    /// Whether it is there.
    pub standing: SessionStanding,
    /// What the client calls itself.
    pub client: String,
    /// How many connections it has had.
    pub generation: u64,
    /// When it began, in milliseconds since 1970.
    pub since_ms: u64,
    /// The highest request number that was accepted.
    pub accepted: u64,
    /// Outcomes that are kept for it.
    pub reply_count: usize,
    /// Commands sent to it that have no reply yet.
    pub command_count: usize,
    /// What it listens to.
    pub subscriptions: Vec<SubscriptionView>,
    /// Whether it has events of its subscriptions not acknowledged yet, or has been reading on from the
    /// log for some time because it is slow. Without a connection it has no subscriptions.
    pub is_behind: bool,
    /// How its last connection ended, since this process started.
    pub last_end: Option<LastEnd>,
}

/// How and when a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastEnd {
    /// Why.
    pub reason: EndReason,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// Whether a session is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionStanding {
    /// It has a connection.
    Connected(ConnectionKey),
    /// It may come back until this moment, in milliseconds since 1970.
    Away {
        /// When it expires.
        expires_at_ms: u64,
    },
}

/// A subscription, seen from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionView {
    /// The channel.
    pub channel: ChannelName,
    /// Which events.
    pub delivery: Delivery,
    /// What of the members.
    pub presence: PresenceMode,
    /// The last event that the client has acknowledged.
    pub acknowledged: Offset,
    /// How many events it has not acknowledged.
    pub lag: u64,
}
