//! What happens to a node.

use mainstay_wire::session::{ClientFrame, Failure, Hello, Offset, Outcome, Principal, SessionId};
use mainstay_wire::{ChannelName, EndReason};

use crate::{Call, Pace, Ticket};

/// The driver's number for one connection; never used twice while the node lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionKey(pub u64);

/// Something that happened. Inputs of one connection come in the order in which they happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A connection said hello. Its first input.
    Hello {
        /// Which.
        connection: ConnectionKey,
        /// Who it is, as the server's authentication says.
        principal: Option<Principal>,
        /// Where it comes from, as limits count it: an address, or a network that one host can have.
        source: [u8; 8],
        /// What it said.
        hello: Box<Hello>,
    },
    /// A connection that has said hello said something else.
    Frame {
        /// Which.
        connection: ConnectionKey,
        /// What it said; not a hello, and no ping or pong, which the driver answers.
        frame: ClientFrame,
    },
    /// A numbered frame whose content cannot be acted on, such as a publish to a name that no
    /// channel can have: it takes its number and fails without having run.
    Unfit {
        /// Who said it.
        connection: ConnectionKey,
        /// Its number.
        number: u64,
        /// What is wrong with it.
        failure: Failure,
    },
    /// A connection is gone. Its last input.
    Gone {
        /// Which.
        connection: ConnectionKey,
        /// Why, for the session's view.
        end: EndReason,
        /// Why exactly.
        detail: Box<str>,
    },
    /// A client has been slow for some time, or keeps up again. Lists show it, and it is noted.
    Pace {
        /// Whose connection.
        connection: ConnectionKey,
        /// Whether it keeps up.
        pace: Pace,
    },
    /// A feed that is behind wants to read on. Answered with one [`Effect::Page`](crate::Effect).
    Read {
        /// Whose feed.
        connection: ConnectionKey,
        /// Of which channel.
        channel: ChannelName,
        /// The last event that it has.
        after: Offset,
        /// Bytes of payloads that there is room for.
        bytes_max: usize,
    },
    /// A handler has ended.
    Ran {
        /// For whom it ran.
        session: SessionId,
        /// For which request.
        number: u64,
        /// How it ended.
        outcome: Outcome,
    },
    /// The program around the node wants something. Answered with one
    /// [`Effect::Answer`](crate::Effect), which may come much later.
    Call {
        /// Comes back with the answer.
        ticket: Ticket,
        /// What it wants.
        call: Call,
    },
    /// The server is about to stop: every connection is told to come back within a window, in
    /// milliseconds.
    Drain {
        /// The window.
        window_ms: u64,
    },
}
