//! What a client session says is to be done.

use mainstay_wire::ChannelName;
use mainstay_wire::session::{
    ClientFrame, Epoch, Event, Failure, Gap, Goaway, Outcome, Presence, Principal, Problem,
    Request, SessionId, Standing, Subscribed,
};
use thiserror::Error;

use super::state::{RequestKey, StateChange};

/// One thing to be done. They are to be done in the order in which they come.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Keep this change. It must be safe before the next output for which
    /// [`needs_safety`](Output::needs_safety) holds; until then it may wait, so that several are
    /// written at once.
    Persist(StateChange),
    /// Send this on the connection that is open.
    Transmit(ClientFrame),
    /// Tell the application.
    Event(ClientEvent),
    /// Close the connection. The session has done with it and hears nothing of it any more.
    CloseConnection {
        /// Why.
        reason: CloseReason,
    },
}

impl Output {
    /// Whether everything that was to be kept must be safe before this is done: the outside will
    /// rely on it. Even a pong tells the server that the new token has arrived, a handler may run but
    /// once, and what is said never to run must not be found and sent by a later life; events of
    /// channels and outcomes are given again if need be.
    pub fn needs_safety(&self) -> bool {
        match self {
            Output::Transmit(_)
            | Output::Event(ClientEvent::Command { .. } | ClientEvent::GivenUp { .. }) => true,
            Output::Persist(_) | Output::Event(_) | Output::CloseConnection { .. } => false,
        }
    }
}

/// What the application hears.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientEvent {
    /// A connection is open and the hello is out.
    Opening,
    /// The server has answered: requests go out from now on.
    Welcomed {
        /// What became of the session that was wanted back.
        standing: Standing,
        /// The session now.
        session: SessionId,
        /// How many connections it has had.
        generation: u64,
        /// Who it belongs to.
        principal: Option<Principal>,
        /// The server's name and version.
        server: String,
    },
    /// There is no connection any more. The session waits for the next one.
    Offline,
    /// What became of a request. Either this or [`GivenUp`](ClientEvent::GivenUp) comes, once for
    /// each.
    Outcome {
        /// Which request.
        key: RequestKey,
        /// What became of it.
        outcome: Outcome,
    },
    /// A request was not sent and never will be.
    GivenUp {
        /// Which request.
        key: RequestKey,
        /// Why.
        failure: Failure,
    },
    /// A subscription has begun or goes on after a resume.
    Subscribed(Subscribed),
    /// A subscription has ended.
    Unsubscribed {
        /// The channel.
        channel: ChannelName,
        /// Why, unless the application asked for it.
        failure: Option<Failure>,
    },
    /// An event. The application says [`consumed`](super::ClientSession::consumed) when it has it.
    Event {
        /// The incarnation that its offset belongs to.
        epoch: Epoch,
        /// The event.
        event: Event,
    },
    /// Events that cannot be delivered. Consumed like an event, with the epoch and offset that the
    /// channel goes on from.
    Gap(Gap),
    /// Members that came and went.
    Presence(Presence),
    /// The server asks for a command to be run, and waits for
    /// [`answer`](super::ClientSession::answer). Comes once for each.
    Command {
        /// Which, for the answer.
        key: CommandKey,
        /// When the outcome is no longer wanted, in milliseconds since 1970.
        deadline_at_ms: Option<u64>,
        /// The command.
        request: Request,
    },
    /// The server no longer wants the outcome of its command, or the session that it came from is
    /// over. An answer does no harm.
    CommandCancelled {
        /// Which.
        key: CommandKey,
    },
    /// A frame of ours could not be acted on.
    Problem(Problem),
    /// The server is about to go. The session moves by itself.
    Goaway(Goaway),
    /// The session is over, for this client at least. Nothing follows.
    Ended(Ending),
}

/// A command of the server, stable while the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandKey(pub u64);

/// Why the session closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// Nothing was heard for longer than the server announced.
    Silent,
    /// No welcome came in time.
    NoWelcome,
    /// The server broke the protocol; what it did.
    Fault(&'static str),
    /// The server said that it is about to go.
    Goaway,
    /// The session is over or was left.
    Done,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// The application ended it with a `bye`.
    Closed,
    /// The application left it, to come back with the saved state.
    Left,
    /// Another connection has taken the session over.
    Superseded,
    /// The server closed with a code that says not to come back.
    Stopped {
        /// The code.
        code: u16,
    },
}

/// Why something that the application wants cannot be done.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// A limit was reached: as many requests wait for their outcomes as may.
    #[error("too many requests wait for their outcomes")]
    OutboxFull,
    /// The caller is at fault: one message would be longer than the server takes.
    #[error("its {bytes} bytes are over the limit of {bytes_max}")]
    TooBig {
        /// The bytes that the message would have, at least.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A limit was reached: the client listens to as many channels as it may.
    #[error("too many channels are listened to")]
    TooManySubscriptions,
    /// The session is over.
    #[error("the session has ended")]
    Ended,
}
