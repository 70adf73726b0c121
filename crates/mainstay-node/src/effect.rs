//! What a node wants done, once what it rests on is stored.

use mainstay_wire::session::{
    Delivery, Event, Gap, Offset, Principal, Request, ServerFrame, SessionId,
};
use mainstay_wire::{ChannelName, EndReason};

use crate::{Answer, CallError, ConnectionKey, Note, Ticket};

/// Something to do. The driver does them in order; what concerns one connection, or one channel,
/// must not overtake.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Say this to a connection.
    Send {
        /// To whom.
        connection: ConnectionKey,
        /// What.
        frame: ServerFrame,
    },
    /// From here on a connection hears a channel. The `subscribed` frame, and a gap if there is one,
    /// were sent before.
    Feed {
        /// Whose feed.
        connection: ConnectionKey,
        /// Of which channel.
        channel: ChannelName,
        /// The last event that the subscriber has.
        after: Offset,
        /// The newest event: the feed is live if it has that, and must [read](crate::Input::Read)
        /// otherwise.
        head: Offset,
        /// Which events it wants.
        delivery: Delivery,
    },
    /// A connection no longer hears a channel.
    Unfeed {
        /// Whose feed.
        connection: ConnectionKey,
        /// Of which channel.
        channel: ChannelName,
    },
    /// New events of one channel, in order and without holes, for every live feed and for plain
    /// listeners.
    Deliver {
        /// The channel.
        channel: ChannelName,
        /// The events.
        events: Vec<Event>,
    },
    /// The answer to a read.
    Page(Page),
    /// Run the handler of a request, and give back its outcome as [`Input::Ran`](crate::Input).
    Run {
        /// The connection that it came by; the handler runs to its end even if that is gone.
        connection: ConnectionKey,
        /// For whom.
        session: SessionId,
        /// Who that is.
        principal: Option<Principal>,
        /// What for. The handler's deadline is in it.
        request: Request,
    },
    /// Stop a handler that runs: its outcome is no longer wanted.
    Stop {
        /// For whom it runs.
        session: SessionId,
        /// For which request.
        number: u64,
        /// Whether it has taken longer than it may. Else it was cancelled, or its session ended.
        is_late: bool,
    },
    /// Close a connection. What was said to it before goes out first. The node has forgotten it
    /// already; the driver still reports that it is gone.
    Close {
        /// Which.
        connection: ConnectionKey,
        /// Why.
        reason: EndReason,
        /// Why exactly.
        detail: String,
    },
    /// The answer to a call.
    Answer {
        /// The call's ticket.
        ticket: Ticket,
        /// What came of it.
        result: Result<Answer, CallError>,
    },
    /// Something happened that somebody may want to know of later. Nothing is to be done.
    Note(Note),
}

/// Events for a feed that was behind.
#[derive(Clone, Debug)]
pub struct Page {
    /// Whose feed.
    pub connection: ConnectionKey,
    /// Of which channel.
    pub channel: ChannelName,
    /// What could not be read comes before the events.
    pub gap: Option<Gap>,
    /// The events, without holes.
    pub events: Vec<Event>,
    /// Where the feed is now.
    pub after: Offset,
    /// The newest event at this moment: a feed that has it is live from here on, for what comes later
    /// comes behind this page.
    pub head: Offset,
}
