//! The session itself: what it holds, its connections and its timers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;

use mainstay_wire::session::{
    Ack, ClientFrame, Cursor, Hello, Outcome, ServerFrame, SessionLimits, Standing, Welcome,
};
use mainstay_wire::{Advice, ChannelName, EndReason};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::channels::Channel;
use super::state::{Identity, RequestKey, SavedState, StateChange};
use super::{ClientConfig, ClientEvent, CloseReason, CommandKey, Ending, Output, Resubscribe};

/// The client's half of a session.
///
/// Times are milliseconds since 1970; a clock that is set back is taken to stand still. After each
/// call, [`poll_output`](ClientSession::poll_output) gives what is to be done until it gives
/// nothing; [`next_timeout`](ClientSession::next_timeout) is when
/// [`handle_timeout`](ClientSession::handle_timeout) is to be called at the latest.
#[derive(Debug)]
pub struct ClientSession {
    pub(super) config: ClientConfig,
    /// What survives the process. Changed by [`ClientSession::change`] alone.
    pub(super) saved: SavedState,
    pub(super) phase: Phase,
    pub(super) outputs: VecDeque<Output>,
    pub(super) now_ms: u64,
    pub(super) counters: Counters,
    random: ChaCha12Rng,

    // Requests: indexes of `saved.requests`, which the wire does not know.
    /// Those that have no number yet, in the order in which they will get one.
    pub(super) waiting: BTreeSet<RequestKey>,
    /// Those that may have been sent.
    pub(super) numbered: BTreeMap<u64, RequestKey>,
    /// Numbered, but not sent on this connection.
    pub(super) unsent: VecDeque<u64>,
    /// Those that the application no longer wants and the server must be told so.
    pub(super) cancelled: BTreeSet<RequestKey>,
    pub(super) deadlines: BTreeSet<(u64, RequestKey)>,
    /// Those that will never be sent, of which the application is to be told.
    pub(super) given_up: Vec<RequestKey>,
    pub(super) outbox_bytes: usize,
    /// Bytes of those with a number.
    pub(super) flight_bytes: usize,
    /// What the newest welcome said.
    pub(super) limits: Option<SessionLimits>,

    // Channels.
    pub(super) channels: BTreeMap<ChannelName, Channel>,
    /// The inbox of the principal that the session belongs to.
    pub(super) principal_inbox: Option<ChannelName>,
    /// How many of our wishes about a channel this connection's server has not answered.
    pub(super) unanswered: BTreeMap<ChannelName, u32>,

    // The server's commands.
    /// Those that run, by number.
    pub(super) running: BTreeMap<u64, CommandKey>,
    pub(super) next_command_key: u64,

    // Acknowledgements.
    /// What this connection's server was last told to have arrived.
    pub(super) acked_from: u64,
    /// Events and outcomes that are not acknowledged.
    pub(super) ack_count: u32,
    pub(super) ack_at_ms: Option<u64>,
    pub(super) ack_channels: BTreeSet<ChannelName>,
}

/// What the session's connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// There is none, or it is to be closed.
    Offline,
    /// The hello is out.
    Opening {
        welcome_by_ms: u64,
    },
    Open(Link),
    /// The bye is out.
    Closing {
        until_ms: u64,
    },
    Ended,
}

/// An open connection behind its welcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) heard_at_ms: u64,
    pub(super) silence_ms_max: u64,
    /// The driver does not read, so that nothing can be heard.
    pub(super) is_paused: bool,
    /// When to come back on another connection, because the server is about to go.
    pub(super) moves_at_ms: Option<u64>,
}

/// What came twice, late or wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Outcomes that had come before.
    pub outcome_duplicate_count: u64,
    /// Events and gaps that had come before, or that nobody listens to any more.
    pub event_duplicate_count: u64,
    /// Connections closed because the server broke the protocol.
    pub fault_count: u64,
    /// Connections closed because nothing was heard.
    pub silence_count: u64,
}

impl ClientSession {
    /// Starts without a connection, with what an earlier life has saved.
    pub fn new(config: ClientConfig, saved: Option<SavedState>) -> ClientSession {
        let saved = saved.unwrap_or_default();
        let is_listened =
            |name: &ChannelName| config.resubscribe == Resubscribe::AtOnce || name.is_inbox();
        let channels = saved.channels.iter().filter(|(name, _)| is_listened(name));
        let channels = channels.map(|(name, saved)| (name.clone(), Channel::of(saved)));
        let channels = channels.collect();
        let mut session = ClientSession {
            random: ChaCha12Rng::from_seed(config.seed),
            config,
            channels,
            saved,
            phase: Phase::Offline,
            outputs: VecDeque::new(),
            now_ms: 0,
            counters: Counters::default(),
            waiting: BTreeSet::new(),
            numbered: BTreeMap::new(),
            unsent: VecDeque::new(),
            cancelled: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            given_up: Vec::new(),
            outbox_bytes: 0,
            flight_bytes: 0,
            limits: None,
            principal_inbox: None,
            unanswered: BTreeMap::new(),
            running: BTreeMap::new(),
            next_command_key: 1,
            acked_from: 1,
            ack_count: 0,
            ack_at_ms: None,
            ack_channels: BTreeSet::new(),
        };
        session.index_requests();
        session.tell_given_up();
        session.answer_interrupted();
        session
    }

    // What happens to the connection.

    /// A connection is open, its subprotocol agreed. The hello goes out.
    pub fn handle_open(&mut self, now_ms: u64) {
        let now_ms = self.advance(now_ms);
        self.drop_stale_outputs();
        if self.phase == Phase::Ended {
            self.outputs.push_back(Output::CloseConnection { reason: CloseReason::Done });
            return;
        }
        self.leave_connection();
        self.phase =
            Phase::Opening { welcome_by_ms: now_ms.saturating_add(self.config.welcome_timeout_ms) };
        let hello = self.hello();
        self.acked_from = hello.unanswered_from;
        for cursor in &hello.cursors {
            *self.unanswered.entry(cursor.channel.clone()).or_default() += 1;
        }
        self.tell(ClientEvent::Opening);
        self.transmit(ClientFrame::Hello(Box::new(hello)));
    }

    /// A frame has come.
    pub fn handle_frame(&mut self, now_ms: u64, frame: ServerFrame) {
        let now_ms = self.advance(now_ms);
        match self.phase {
            Phase::Opening { .. } => match frame {
                ServerFrame::Welcome(welcome) => self.handle_welcome(now_ms, *welcome),
                ServerFrame::Ping | ServerFrame::Pong => {}
                _ => self.fault("a frame before the welcome"),
            },
            Phase::Open(link) => {
                self.phase = Phase::Open(Link { heard_at_ms: now_ms, ..link });
                self.handle_open_frame(frame);
            }
            Phase::Offline | Phase::Closing { .. } | Phase::Ended => {}
        }
    }

    /// Something has come that is no frame.
    pub fn handle_violation(&mut self, now_ms: u64) {
        self.advance(now_ms);
        if matches!(self.phase, Phase::Opening { .. } | Phase::Open(_)) {
            self.fault("a message that is no frame");
        }
    }

    /// The connection has ended, with the code of the peer's Close frame if there was one.
    pub fn handle_closed(&mut self, now_ms: u64, code: Option<u16>) {
        self.advance(now_ms);
        self.drop_stale_outputs();
        match self.phase {
            Phase::Ended => return,
            Phase::Closing { .. } => return self.end(Ending::Closed),
            Phase::Offline | Phase::Opening { .. } | Phase::Open(_) => {}
        }
        self.go_offline();
        match code.map(|code| (code, Advice::of_close_code(code))) {
            Some((code, Advice::Stop)) if Some(code) == EndReason::Superseded.close_code() => {
                self.end(Ending::Superseded);
            }
            Some((code, Advice::Stop)) => self.end(Ending::Stopped { code }),
            Some((_, Advice::StartFresh)) => self.forget(),
            _ => {}
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        let now_ms = self.advance(now_ms);
        if self.phase == Phase::Ended {
            return;
        }
        self.expire_deadlines();
        match self.phase {
            Phase::Opening { welcome_by_ms } if now_ms >= welcome_by_ms => {
                self.counters.silence_count += 1;
                self.close_connection(CloseReason::NoWelcome);
            }
            Phase::Open(link) if now_ms >= link.silent_at_ms() => {
                self.counters.silence_count += 1;
                self.close_connection(CloseReason::Silent);
            }
            Phase::Open(link) => {
                if self.ack_at_ms.is_some_and(|at_ms| now_ms >= at_ms) {
                    self.acknowledge();
                }
                if link.moves_at_ms.is_some_and(|at_ms| now_ms >= at_ms) {
                    self.close_connection(CloseReason::Goaway);
                }
            }
            Phase::Closing { until_ms } if now_ms >= until_ms => {
                self.outputs.push_back(Output::CloseConnection { reason: CloseReason::Done });
                self.end(Ending::Closed);
            }
            _ => {}
        }
    }

    /// The driver stops reading, because the application takes no more: silence is not held against
    /// the server meanwhile.
    pub fn handle_pause(&mut self, now_ms: u64) {
        self.advance(now_ms);
        if let Phase::Open(link) = &mut self.phase {
            link.is_paused = true;
        }
    }

    /// The driver reads again.
    pub fn handle_resume(&mut self, now_ms: u64) {
        let now_ms = self.advance(now_ms);
        if let Phase::Open(link) = &mut self.phase
            && link.is_paused
        {
            link.is_paused = false;
            link.heard_at_ms = now_ms;
        }
    }

    /// When [`handle_timeout`](ClientSession::handle_timeout) has something to do.
    pub fn next_timeout(&self) -> Option<u64> {
        if self.phase == Phase::Ended {
            return None;
        }
        let deadline = self.deadlines.first().map(|(at_ms, _)| *at_ms);
        let of_phase = match self.phase {
            Phase::Opening { welcome_by_ms } => Some(welcome_by_ms),
            Phase::Open(link) => {
                let times = [Some(link.silent_at_ms()), self.ack_at_ms, link.moves_at_ms];
                times.into_iter().flatten().min()
            }
            Phase::Closing { until_ms } => Some(until_ms),
            Phase::Offline | Phase::Ended => None,
        };
        [deadline, of_phase].into_iter().flatten().min()
    }

    // What the application wants of the session as a whole.

    /// Ends the session for good: the server is told to forget it. Every request without an outcome
    /// gets one now.
    pub fn close(&mut self, now_ms: u64) {
        let now_ms = self.advance(now_ms);
        match self.phase {
            Phase::Ended | Phase::Closing { .. } => {}
            Phase::Open(_) => {
                let until_ms = now_ms.saturating_add(self.config.bye_timeout_ms);
                // First, for what is settled now has not arrived and must not be acknowledged.
                self.phase = Phase::Closing { until_ms };
                self.forget();
                self.settle_all();
                self.change(StateChange::Ended);
                self.transmit(ClientFrame::Bye);
                self.leave_connection();
            }
            Phase::Offline | Phase::Opening { .. } => {
                self.close_if_opening();
                self.end(Ending::Closed);
            }
        }
    }

    /// Leaves the session as it is, to be continued from the saved state within its time. Requests
    /// without an outcome stay in the saved state.
    pub fn leave(&mut self, now_ms: u64) {
        self.advance(now_ms);
        if matches!(self.phase, Phase::Open(_)) {
            self.acknowledge_if_due();
            self.outputs.push_back(Output::CloseConnection { reason: CloseReason::Done });
        }
        self.close_if_opening();
        if self.phase != Phase::Ended {
            self.leave_connection();
            self.phase = Phase::Ended;
            self.tell(ClientEvent::Ended(Ending::Left));
        }
    }

    /// The next thing to be done; `None` when there is nothing. Requests that wait become frames
    /// here, so a driver whose connection is full polls later.
    pub fn poll_output(&mut self) -> Option<Output> {
        if self.outputs.is_empty() {
            self.send_waiting();
        }
        self.outputs.pop_front()
    }

    /// Whether requests go out: there is a connection and the server has welcomed us.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// Whether the session is over.
    pub fn is_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ended | Phase::Closing { .. })
    }

    /// What survives the process, as it is now.
    pub fn saved(&self) -> &SavedState {
        &self.saved
    }

    /// How long what the server sends may be, as its newest welcome says: events are a third and 1 KiB longer
    /// than its messages otherwise (PROTOCOL.md, "Requests").
    pub fn received_bytes_max(&self) -> Option<usize> {
        let bytes_max = self.limits?.message_bytes_max as usize;
        Some(bytes_max.saturating_add(bytes_max.div_ceil(3)).saturating_add(EVENT_BYTES))
    }

    /// What came twice, late or wrong.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    // The ways in which outputs arise.

    pub(super) fn change(&mut self, change: StateChange) {
        self.saved.apply(&change);
        self.outputs.push_back(Output::Persist(change));
    }

    pub(super) fn transmit(&mut self, frame: ClientFrame) {
        self.outputs.push_back(Output::Transmit(frame));
    }

    pub(super) fn tell(&mut self, event: ClientEvent) {
        self.outputs.push_back(Output::Event(event));
    }

    /// The server broke the protocol: what it says on this connection cannot be relied on.
    pub(super) fn fault(&mut self, what: &'static str) {
        self.counters.fault_count += 1;
        self.close_connection(CloseReason::Fault(what));
    }

    /// Notes that so many more events and outcomes have arrived.
    pub(super) fn note_arrivals(&mut self, count: u32) {
        self.ack_count = self.ack_count.saturating_add(count);
        let at_ms = self.now_ms.saturating_add(self.config.ack_delay_ms);
        self.ack_at_ms.get_or_insert(at_ms);
        if self.ack_count >= self.config.ack_count && self.is_open() {
            self.acknowledge();
        }
    }

    /// A time that a clock cannot take back.
    pub(super) fn advance(&mut self, now_ms: u64) -> u64 {
        self.now_ms = self.now_ms.max(now_ms);
        self.now_ms
    }

    fn handle_welcome(&mut self, now_ms: u64, welcome: Welcome) {
        if let Err(what) = self.check_welcome(&welcome) {
            return self.fault(what);
        }
        for key in self.saved.doubtful(welcome.standing, welcome.accepted) {
            self.tell(ClientEvent::Outcome { key, outcome: Outcome::Indeterminate });
        }
        if welcome.standing != Standing::Resumed {
            self.drop_session_inbox();
            self.withdraw_commands();
        }
        self.change(StateChange::Welcomed {
            standing: welcome.standing,
            identity: Identity { session: welcome.session, token: welcome.token },
            accepted: welcome.accepted,
        });
        // The hello said so already, or the session is new.
        self.acked_from = match welcome.standing {
            Standing::Resumed => self.acked_from,
            Standing::New | Standing::Expired | Standing::Unknown => 1,
        };
        self.index_requests();
        self.limits = Some(welcome.limits);
        self.principal_inbox = welcome.principal.as_ref().map(ChannelName::principal_inbox);
        self.phase = Phase::Open(Link {
            heard_at_ms: now_ms,
            silence_ms_max: welcome.ping_interval_ms.saturating_add(self.config.silence_margin_ms),
            is_paused: false,
            moves_at_ms: None,
        });
        self.tell(ClientEvent::Welcomed {
            standing: welcome.standing,
            session: welcome.session,
            generation: welcome.generation,
            principal: welcome.principal,
            server: welcome.server,
        });
        self.send_cancels();
        self.send_answers();
        self.send_subscriptions();
    }

    fn check_welcome(&self, welcome: &Welcome) -> Result<(), &'static str> {
        let wanted = self.saved.identity.as_ref();
        let fits = match (welcome.standing, wanted) {
            (Standing::New, None) => true,
            (Standing::Resumed, Some(wanted)) => wanted.session == welcome.session,
            (Standing::Expired | Standing::Unknown, Some(_)) => true,
            _ => false,
        };
        if !fits {
            return Err("a welcome to another session than was asked for");
        }
        if welcome.accepted >= NUMBER_MAX {
            return Err("a request number beyond all numbers");
        }
        Ok(())
    }

    fn hello(&self) -> Hello {
        let identity = self.saved.identity.as_ref();
        let listened = self.saved.channels.iter().filter(|(channel, _)| {
            // A server that makes an inbox's subscription by itself must know where it stands.
            channel.is_inbox() || self.channels.contains_key(*channel)
        });
        let cursors = listened.filter_map(|(channel, saved)| {
            let place = saved.cursor?;
            Some(Cursor {
                channel: channel.clone(),
                epoch: place.epoch,
                offset: place.offset,
                delivery: saved.delivery,
                presence: saved.presence,
            })
        });
        Hello {
            client: self.config.client.clone(),
            resume: identity.map(|identity| (identity.session, identity.token.clone())),
            unanswered_from: self.unanswered_from(),
            accepted: self.saved.accepted,
            cursors: cursors.collect(),
        }
    }

    fn acknowledge_if_due(&mut self) {
        if self.ack_count > 0 {
            self.acknowledge();
        }
    }

    pub(super) fn acknowledge(&mut self) {
        self.ack_count = 0;
        self.ack_at_ms = None;
        let channels = mem::take(&mut self.ack_channels);
        let cursors = channels.into_iter().filter_map(|channel| {
            let place = self.saved.channels.get(&channel)?.cursor?;
            Some((channel, place.offset))
        });
        let ack = Ack { cursors: cursors.collect(), unanswered_from: self.unanswered_from() };
        self.acked_from = ack.unanswered_from;
        self.transmit(ClientFrame::Ack(ack));
    }

    /// The server said that it will go: comes back after a random part of its window, as others do.
    pub(super) fn schedule_move(&mut self, window_ms: u64) {
        let Phase::Open(link) = self.phase else { return };
        let window_ms = window_ms.min(GOAWAY_WINDOW_MS_MAX);
        let part = (u128::from(self.random.next_u64()) * u128::from(window_ms)) >> 64;
        let at_ms = self.now_ms.saturating_add(part as u64);
        let moves_at_ms = Some(link.moves_at_ms.unwrap_or(u64::MAX).min(at_ms));
        self.phase = Phase::Open(Link { moves_at_ms, ..link });
    }

    fn close_connection(&mut self, reason: CloseReason) {
        if matches!(self.phase, Phase::Open(_)) && reason == CloseReason::Goaway {
            self.acknowledge_if_due();
        }
        self.outputs.push_back(Output::CloseConnection { reason });
        self.go_offline();
    }

    fn close_if_opening(&mut self) {
        if matches!(self.phase, Phase::Opening { .. }) {
            self.outputs.push_back(Output::CloseConnection { reason: CloseReason::Done });
        }
    }

    fn go_offline(&mut self) {
        if self.phase != Phase::Offline {
            self.leave_connection();
            self.phase = Phase::Offline;
            self.tell(ClientEvent::Offline);
        }
    }

    /// What was to be sent or closed belonged to a connection that is gone.
    fn drop_stale_outputs(&mut self) {
        let is_stale = |output: &Output| {
            matches!(output, Output::Transmit(_) | Output::CloseConnection { .. })
        };
        self.outputs.retain(|output| !is_stale(output));
    }

    /// Forgets what only one connection knows.
    fn leave_connection(&mut self) {
        // What is not acknowledged stands in the next hello.
        self.ack_count = 0;
        self.ack_at_ms = None;
        self.ack_channels.clear();
        self.unanswered.clear();
        self.unsent.clear();
    }

    /// The server will not have this session back.
    fn forget(&mut self) {
        for key in self.saved.doubtful(Standing::Unknown, 0) {
            self.tell(ClientEvent::Outcome { key, outcome: Outcome::Indeterminate });
        }
        self.drop_session_inbox();
        self.withdraw_commands();
        self.change(StateChange::Forgotten);
        self.index_requests();
    }

    fn end(&mut self, ending: Ending) {
        let is_over = ending != Ending::Left;
        if is_over && self.saved.identity.is_some() {
            // Outcomes are given up that never arrived, so this state cannot go on with the session:
            // it would have to say that they had. Cursors are good in any session. One change for
            // all, so that a process that is killed meanwhile does not leave half of it.
            self.forget();
        }
        self.settle_all();
        let is_empty = self.saved.identity.is_none() && self.saved.channels.is_empty();
        if ending == Ending::Closed && !is_empty {
            self.change(StateChange::Ended);
        }
        self.leave_connection();
        self.phase = Phase::Ended;
        self.tell(ClientEvent::Ended(ending));
    }
}

impl Link {
    fn silent_at_ms(&self) -> u64 {
        if self.is_paused {
            return u64::MAX;
        }
        self.heard_at_ms.saturating_add(self.silence_ms_max)
    }
}

/// Numbers on the wire stay below 2⁵³ (PROTOCOL.md, "Encoding").
pub(super) const NUMBER_MAX: u64 = 1 << 53;
/// What stands around an event's payload, at most.
const EVENT_BYTES: usize = 1024;
/// A mistaken window must not keep a client on a server that goes.
const GOAWAY_WINDOW_MS_MAX: u64 = 120_000;
