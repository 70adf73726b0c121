//! The vocabulary of the session dialect. Each frame is one message (PROTOCOL.md, "Frames").

use super::{Epoch, ErrorCode, GapReason, Offset, Payload, Principal, SessionId, Token};
use crate::ChannelName;

/// What a client says.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientFrame {
    /// Opens a session or comes back to one. The first frame of every connection.
    Hello(Box<Hello>),
    /// Asks for a command to be run.
    Request(Request),
    /// No longer wants the outcome of a request.
    Cancel {
        /// The request's number.
        number: u64,
    },
    /// Appends an event to a channel. Counted like a request, and answered with a reply.
    Publish(Publish),
    /// Answers a command of the server.
    Reply(Reply),
    /// Listens to a channel.
    Subscribe(Subscribe),
    /// Stops listening.
    Unsubscribe {
        /// The channel.
        channel: ChannelName,
    },
    /// Says what has arrived.
    Ack(Ack),
    /// Wants a pong.
    Ping,
    /// Answers a ping.
    Pong,
    /// Ends the session for good.
    Bye,
}

/// What a server says.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerFrame {
    /// Answers a hello.
    Welcome(Box<Welcome>),
    /// The outcome of a request or publish.
    Reply(Reply),
    /// Asks the client to run a command.
    Request(Request),
    /// The server no longer wants the outcome of its command.
    Cancel {
        /// The command's number.
        number: u64,
    },
    /// The client listens to a channel now.
    Subscribed(Subscribed),
    /// The client no longer listens, because it asked or because it may not.
    Unsubscribed(Unsubscribed),
    /// An event.
    Event(Event),
    /// Events that cannot be delivered.
    Gap(Gap),
    /// Who came and went.
    Presence(Presence),
    /// The server keeps the client's replies to its commands up to this number.
    Ack {
        /// The last of the server's commands whose reply is safe.
        number: u64,
    },
    /// Wants a pong.
    Ping,
    /// Answers a ping.
    Pong,
    /// The server is about to go: come back.
    Goaway(Goaway),
    /// A frame could not be acted on; the connection stays.
    Problem(Problem),
}

/// The first frame of a connection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hello {
    /// The client's name and version, for the server's log.
    pub client: String,
    /// The session to come back to, with its secret; `None` opens a new one.
    pub resume: Option<(SessionId, Token)>,
    /// The lowest request number without an outcome yet: every outcome below it has arrived and may
    /// be forgotten. 1 for a new session.
    pub unanswered_from: u64,
    /// The highest number of the server's commands that the client has accepted.
    pub accepted: u64,
    /// Where the client stands in each channel it listens to.
    pub cursors: Vec<Cursor>,
}

/// A place in a channel and how events are wanted from there on.
#[derive(Clone, Debug, PartialEq)]
pub struct Cursor {
    /// The channel.
    pub channel: ChannelName,
    /// The incarnation that the offset belongs to.
    pub epoch: Epoch,
    /// The last event that reached the application.
    pub offset: Offset,
    /// Which events are wanted.
    pub delivery: Delivery,
    /// What is wanted to be known of the other members.
    pub presence: PresenceMode,
}

/// Which events a subscriber gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// Every one, in order.
    #[default]
    Every,
    /// The newest; older ones that are passed over are reported as a gap.
    Latest,
}

/// What a subscriber has to do with the membership of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PresenceMode {
    /// Neither is a member nor hears of members.
    #[default]
    None,
    /// Is a member.
    Join,
    /// Hears who comes and goes.
    Watch,
    /// Both.
    JoinAndWatch,
}

impl PresenceMode {
    /// Whether the subscriber counts as a member.
    pub fn joins(self) -> bool {
        matches!(self, PresenceMode::Join | PresenceMode::JoinAndWatch)
    }

    /// Whether the subscriber hears of members.
    pub fn watches(self) -> bool {
        matches!(self, PresenceMode::Watch | PresenceMode::JoinAndWatch)
    }
}

/// A server's answer to a hello.
#[derive(Clone, Debug, PartialEq)]
pub struct Welcome {
    /// What became of the session that the client wanted back.
    pub standing: Standing,
    /// The session that this connection now serves.
    pub session: SessionId,
    /// The secret for the next resume. The one before stays good until the client's next frame.
    pub token: Token,
    /// How many connections the session has had.
    pub generation: u64,
    /// The highest request number that the server has accepted: in this session, or, when the
    /// standing is [`Standing::Expired`], in the one that expired.
    pub accepted: u64,
    /// Who the session belongs to.
    pub principal: Option<Principal>,
    /// The server's name and version.
    pub server: String,
    /// The server sends something at least this often, in milliseconds.
    pub ping_interval_ms: u64,
    /// How long the session outlives its last connection, in milliseconds.
    pub session_expiry_ms: u64,
    /// What the client may do.
    pub limits: SessionLimits,
}

/// What became of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Asked for a new one.
    New,
    /// It goes on.
    Resumed,
    /// It had expired: a new one has begun. `accepted` says which requests of the old one ran.
    Expired,
    /// The server does not know it: a new one has begun, and nothing is known of the old.
    Unknown,
}

/// Bounds that a client keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Requests without an outcome at one time.
    pub request_count_max: u32,
    /// Bytes of one message.
    pub message_bytes_max: u32,
    /// Channels that one session may listen to.
    pub subscription_count_max: u32,
    /// Bytes of requests, their commands or channels and payloads, that wait behind a running
    /// handler; `None` from a server that does not say.
    pub request_bytes_max: Option<u32>,
}

/// A command, in either direction.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// 1, 2, 3 … in each session and direction.
    pub number: u64,
    /// Which handler.
    pub command: String,
    /// What it gets.
    pub payload: Payload,
    /// How long the outcome is wanted, in milliseconds from the frame's arrival.
    pub deadline_ms: Option<u64>,
}

/// An event from a client.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish {
    /// The next request number.
    pub number: u64,
    /// Where to.
    pub channel: ChannelName,
    /// What.
    pub payload: Payload,
}

/// What became of a request, publish or command.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The request's number.
    pub number: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// The three ways in which a request ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The handler's result.
    Done(Payload),
    /// The event has this place.
    Published {
        /// The channel's incarnation.
        epoch: Epoch,
        /// The event's position.
        offset: Offset,
    },
    /// The handler failed, or the request never ran; the code tells.
    Failed(Failure),
    /// It may have run, and nobody knows with what result.
    Indeterminate,
}

/// Why there is no result.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What a program goes by.
    pub code: ErrorCode,
    /// What a person reads.
    pub message: String,
}

/// The wish to listen.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscribe {
    /// To what.
    pub channel: ChannelName,
    /// Since when.
    pub start: Start,
    /// Which events.
    pub delivery: Delivery,
    /// What of the members.
    pub presence: PresenceMode,
}

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the next event.
    Now,
    /// Behind this place. What lies behind it and is not kept is a gap.
    After {
        /// The incarnation; `None` where the client knows of none, which only makes sense with
        /// offset 0.
        epoch: Option<Epoch>,
        /// The last event that is not wanted.
        offset: Offset,
    },
    /// With the last so many events.
    Last(u32),
}

/// A subscription has begun, or goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscribed {
    /// The channel.
    pub channel: ChannelName,
    /// Its incarnation.
    pub epoch: Epoch,
    /// Events come from behind this place.
    pub offset: Offset,
    /// The newest event.
    pub head: Offset,
    /// How many members the channel has, this session included if it joined.
    pub member_count: u32,
}

/// A subscription has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Unsubscribed {
    /// The channel.
    pub channel: ChannelName,
    /// Why, unless the client asked for it.
    pub failure: Option<Failure>,
}

/// One event of a channel. The same bytes for every subscriber of one encoding.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The channel.
    pub channel: ChannelName,
    /// The position, in the epoch of the last `subscribed` or `gap`.
    pub offset: Offset,
    /// When the server took it, in milliseconds since 1970.
    pub at_ms: u64,
    /// What was published.
    pub payload: Payload,
}

/// Events `from ..= to` of `from_epoch` cannot be delivered; the next event comes from behind
/// `offset` in `epoch`.
#[derive(Clone, Debug, PartialEq)]
pub struct Gap {
    /// The channel.
    pub channel: ChannelName,
    /// The incarnation in which events are missing.
    pub from_epoch: Epoch,
    /// The first that is missing.
    pub from: Offset,
    /// The last that is missing; `None` when nobody knows (another epoch has begun).
    pub to: Option<Offset>,
    /// Why.
    pub reason: GapReason,
    /// The incarnation that goes on.
    pub epoch: Epoch,
    /// The place behind which it goes on.
    pub offset: Offset,
}

/// Members that came and went.
#[derive(Clone, Debug, PartialEq)]
pub struct Presence {
    /// The channel.
    pub channel: ChannelName,
    /// Sessions that have become members; all of them after `subscribed`.
    pub joined: Vec<Member>,
    /// Sessions that no longer are.
    pub left: Vec<Member>,
    /// How many members there are now.
    pub member_count: u32,
}

/// A member of a channel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// The session.
    pub session: SessionId,
    /// Who it belongs to.
    pub principal: Option<Principal>,
}

/// What has arrived at the client.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ack {
    /// Every outcome below this request number has arrived.
    pub unanswered_from: u64,
    /// The last event of each channel that reached the application.
    pub cursors: Vec<(ChannelName, Offset)>,
}

/// The server is about to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goaway {
    /// The client comes back after a random part of this, in milliseconds.
    pub window_ms: u64,
    /// Why, for the log.
    pub reason: String,
}

/// A frame that could not be acted on.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Why.
    pub failure: Failure,
    /// The channel that it was about, if it was about one.
    pub channel: Option<ChannelName>,
}
