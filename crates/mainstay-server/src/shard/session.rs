//! A connection that speaks the session dialect: frames to the keeper, and what the keeper decided
//! back to the connection.
//!
//! Nothing is decided here but what concerns the socket: who is slow, and has room again.

use std::mem;
use std::time::Instant;

use mainstay_node::{Effect, Happening, Input, Note, Pace, Page};
use mainstay_wire::frame::Opcode;
use mainstay_wire::session::{
    ClientFrame, Encoding, ErrorCode, Event, Failure, Malformed, MalformedKind, Offset, Principal,
    Problem, ServerFrame,
};
use mainstay_wire::{ChannelName, End, EndReason};

use super::Shard;
use super::fanout::{Form, RunFrames};
use super::peer::{Open, Peer, Stage};
use crate::ConnectionId;
use crate::admission::Source;

/// What a shard knows of the session behind a connection.
pub(crate) struct SessionPeer {
    pub(crate) encoding: Encoding,
    /// Who the handshake's authentication says it is.
    pub(crate) principal: Option<Principal>,
    pub(crate) phase: Phase,
    /// The channel of which a page is on its way.
    reading: Option<ChannelName>,
    /// Whether some feed may be behind.
    pub(super) lag: Lag,
}

/// How far a connection of the session dialect has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It must say hello until then.
    AwaitingHello { deadline: Instant, source: Source },
    /// The keeper knows of it.
    Greeted,
}

/// Whether a client keeps up, and for how long it has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lag {
    /// Every feed is live.
    None,
    /// Some feed is behind. Most catch up at once, which nobody need know.
    New,
    /// It was when gauges were last looked at.
    Seen,
    /// The journal says so.
    Noted,
}

impl SessionPeer {
    pub(crate) fn new(
        encoding: Encoding,
        principal: Option<Principal>,
        source: Source,
        deadline: Instant,
    ) -> SessionPeer {
        let phase = Phase::AwaitingHello { deadline, source };
        SessionPeer { encoding, principal, phase, reading: None, lag: Lag::None }
    }

    /// Whether it kept up until now.
    fn begins_to_lag(&mut self) -> bool {
        let is_new = self.lag == Lag::None;
        if is_new {
            self.lag = Lag::New;
        }
        is_new
    }

    pub(crate) fn hello_deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::AwaitingHello { deadline, .. } => Some(deadline),
            Phase::Greeted => None,
        }
    }
}

impl Shard {
    /// Takes one message of a client.
    pub(super) fn handle_frame(
        &mut self,
        now: Instant,
        id: ConnectionId,
        open: &mut Open,
        opcode: Opcode,
        message: &[u8],
    ) {
        let Some(session) = &mut open.session else { return };
        let encoding = session.encoding;
        if opcode != encoding.opcode() {
            let detail =
                format!("{} takes {:?} messages", encoding.subprotocol(), encoding.opcode());
            return open.connection.close(now, EndReason::SessionViolation, &detail);
        }
        let frame = match encoding.decode_client(message) {
            Ok(frame) => frame,
            Err(malformed) => return self.answer_malformed(now, id, open, &malformed),
        };
        match (frame, session.phase) {
            (ClientFrame::Hello(hello), Phase::AwaitingHello { source, .. }) => {
                session.phase = Phase::Greeted;
                let principal = session.principal.clone();
                self.inputs.push(Input::Hello { connection: id.into(), principal, source, hello });
            }
            (frame, phase) if matches!(frame, ClientFrame::Hello(_)) || phase != Phase::Greeted => {
                let is_second = phase == Phase::Greeted;
                let detail = if is_second { "a second hello" } else { "a frame before hello" };
                open.connection.close(now, EndReason::SessionViolation, detail);
            }
            (ClientFrame::Ping, _) => self.send_frame(open, &ServerFrame::Pong),
            (ClientFrame::Pong, _) => {}
            (frame, _) => self.inputs.push(Input::Frame { connection: id.into(), frame }),
        }
    }

    /// What is wrong only with a frame's content costs the frame and not the connection.
    fn answer_malformed(
        &mut self,
        now: Instant,
        id: ConnectionId,
        open: &mut Open,
        malformed: &Malformed,
    ) {
        let MalformedKind::InvalidChannel { .. } = &malformed.kind else {
            let detail = malformed.to_string();
            return open.connection.close(now, EndReason::SessionViolation, &detail);
        };
        let code = ErrorCode::InvalidChannel;
        let failure = Failure { code, message: malformed.to_string() };
        if let Some(number) = malformed.number {
            return self.inputs.push(Input::Unfit { connection: id.into(), number, failure });
        }
        let frame = ServerFrame::Problem(Problem { failure, channel: None });
        self.send_frame(open, &frame);
    }

    /// Queues a frame.
    pub(super) fn send_frame(&mut self, open: &mut Open, frame: &ServerFrame) {
        let Some(session) = &open.session else { return };
        let encoding = session.encoding;
        let mut message = mem::take(&mut self.json);
        message.clear();
        encoding.encode_server(frame, &mut message);
        self.send(open, encoding.opcode(), &message);
        self.json = message;
    }

    /// Does what the keeper decided.
    pub(super) fn carry_out(&mut self, now: Instant, effect: Effect) {
        match effect {
            Effect::Send { connection, frame } => {
                self.change(now, connection.into(), |shard, open| shard.send_frame(open, &frame));
            }
            Effect::Feed { connection, channel, after, head, .. } => {
                self.begin_feed(now, connection.into(), &channel, after, head);
            }
            Effect::Unfeed { connection, channel } => {
                let id = ConnectionId::from(connection);
                self.change(now, id, |shard, open| {
                    shard.channels.unsubscribe(id.slot(), &channel);
                    open.forget_read(&channel);
                });
            }
            Effect::Deliver { channel, events } => self.deliver(now, &channel, &events),
            Effect::Page(page) => self.turn_page(now, page),
            Effect::Run { connection, session, principal, request } => {
                self.run_for_session(connection.into(), session, principal, request);
            }
            Effect::Stop { session, number, is_late } => {
                self.stop_handler(session, number, is_late);
            }
            Effect::Close { connection, reason, detail } => {
                self.close_connection(now, connection.into(), reason, &detail);
            }
            // The keeper does these itself.
            Effect::Answer { .. } | Effect::Note(_) => {}
        }
    }

    fn change(
        &mut self,
        now: Instant,
        id: ConnectionId,
        change: impl FnOnce(&mut Shard, &mut Open),
    ) {
        let Some(mut peer) = self.take_peer(id) else { return };
        if let Stage::Open(open) = &mut peer.stage {
            change(self, open);
        }
        self.settle(now, peer);
    }

    fn begin_feed(
        &mut self,
        now: Instant,
        id: ConnectionId,
        channel: &ChannelName,
        after: Offset,
        head: Offset,
    ) {
        self.change(now, id, |shard, open| {
            shard.channels.feed(id.slot(), channel, after, head);
            open.forget_read(channel);
            if after < head {
                shard.begin_lag(id.slot(), open);
            }
        });
    }

    /// Passes on what a feed has read.
    fn turn_page(&mut self, now: Instant, page: Page) {
        let id = ConnectionId::from(page.connection);
        let Some(mut peer) = self.take_peer(id) else { return };
        if let Stage::Open(open) = &mut peer.stage
            && self.channels.turn_page(
                id.slot(),
                &page.channel,
                page_start(&page),
                page.after,
                page.head,
            )
        {
            open.forget_read(&page.channel);
            if let Some(gap) = page.gap {
                self.send_frame(open, &ServerFrame::Gap(gap));
            }
            self.send_events(open, &page.events);
        }
        self.settle(now, peer);
    }

    fn send_events(&mut self, open: &mut Open, events: &[Event]) {
        let Some(session) = &open.session else { return };
        if events.is_empty() {
            return;
        }
        let form = Form::Session(session.encoding);
        let frames = RunFrames::new(events).of(form, open, &mut self.deflater);
        open.connection.push_shared(frames);
        self.stats().count_events_delivered(events.len() as u64);
    }

    /// Remembers that a subscriber has a feed that is behind; it reads on once it has room.
    pub(super) fn note_behind(&mut self, slot: usize) {
        if let Some(Some(peer)) = self.peers.get_mut(slot)
            && let Stage::Open(open) = &mut peer.stage
            && let Some(session) = &mut open.session
            && session.begins_to_lag()
        {
            self.behind.insert(slot);
        }
    }

    /// Has a feed that is behind read on if there is room. Called after every change.
    pub(super) fn read_on(&mut self, peer: &mut Peer) {
        let Stage::Open(open) = &mut peer.stage else { return };
        let Some(session) = &mut open.session else { return };
        if session.lag == Lag::None || session.reading.is_some() || !open.connection.is_open() {
            return;
        }
        let waiting = open.connection.outbox().bytes();
        if waiting > self.feed_bytes_max / 4 {
            return;
        }
        match self.channels.next_read(peer.id.slot()) {
            Some((channel, after)) => {
                session.reading = Some(channel.clone());
                let bytes_max = self.feed_bytes_max - waiting;
                let connection = peer.id.into();
                self.inputs.push(Input::Read { connection, channel, after, bytes_max });
            }
            None => self.end_lag(peer),
        }
    }

    fn begin_lag(&mut self, slot: usize, open: &mut Open) {
        if open.session.as_mut().is_some_and(|session| session.begins_to_lag()) {
            self.behind.insert(slot);
        }
    }

    fn end_lag(&mut self, peer: &mut Peer) {
        let Stage::Open(open) = &mut peer.stage else { return };
        let Some(session) = &mut open.session else { return };
        if session.lag == Lag::Noted {
            let connection = peer.id.into();
            self.inputs.push(Input::Pace { connection, pace: Pace::Live });
        }
        session.lag = Lag::None;
        self.behind.remove(&peer.id.slot());
    }

    /// Tells the keeper that a connection is gone.
    pub(super) fn report_gone(&mut self, id: ConnectionId, open: &Open, end: &End) {
        let is_known = open.session.as_ref().is_some_and(|s| s.phase == Phase::Greeted);
        if is_known {
            let (connection, detail) = (id.into(), end.detail.as_str().into());
            self.inputs.push(Input::Gone { connection, end: end.reason, detail });
        } else {
            self.note(Note::of(Happening::Closed).because(end.reason, &end.detail), id);
        }
    }

    /// The log has failed: what rests on it ends.
    pub(super) fn end_sessions(&mut self, now: Instant) {
        let is_session = |peer: &Peer| matches!(&peer.stage, Stage::Open(o) if o.session.is_some());
        let peers = self.peers.iter().filter_map(|(_, peer)| peer.as_deref());
        let ids: Vec<ConnectionId> = peers.filter(|p| is_session(p)).map(|peer| peer.id).collect();
        for id in ids {
            self.close_connection(now, id, EndReason::StoreFailed, "the store failed");
        }
    }

    /// Lets the keeper have what this turn brought.
    pub(super) fn flush_inputs(&mut self) {
        if !self.inputs.is_empty() {
            self.shared.desk.put(&mut self.inputs);
        }
    }
}

impl Open {
    fn forget_read(&mut self, channel: &ChannelName) {
        if let Some(session) = &mut self.session
            && session.reading.as_ref() == Some(channel)
        {
            session.reading = None;
        }
    }
}

/// The place that the feed had when it asked for this page. A page that was asked for before the feed
/// was moved elsewhere is known by it.
fn page_start(page: &Page) -> Offset {
    let first = page.gap.as_ref().map(|gap| gap.from);
    let first = first.or_else(|| page.events.first().map(|event| event.offset));
    first.map_or(page.after, |first| Offset(first.0.saturating_sub(1)))
}
