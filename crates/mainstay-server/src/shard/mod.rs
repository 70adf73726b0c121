//! A shard: one thread that owns some of the connections outright.
//!
//! [`Shard::run`] is the loop. Each turn takes what has come (readiness, orders, deadlines), reads,
//! lets handlers answer into outboxes, and then flushes every outbox that something was put into,
//! once. The stages of a socket have a file each, in the order in which it goes through them:
//! `accept` → `open` → `read` → `command` → `write` → `end`; `fanout` and `drain` come in from the
//! side.

mod accept;
mod command;
mod drain;
mod end;
mod fanout;
mod gauge;
mod open;
mod peer;
mod read;
mod session;
mod task;
mod timers;
mod write;

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_node::Input;
use mainstay_wire::deflate::{Deflater, Inflater};
use mainstay_wire::session::SessionId;
use mainstay_wire::{End, EndReason};
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Registry, Token};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use slab::Slab;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::admission::Admission;
use crate::http::HttpService;
use crate::inbox::{Inbox, Order};
use crate::journal::Journal;
use crate::keeper::{Clock, Desk};
use crate::stats::{KeeperStats, Stats};
use crate::{Config, ConnectionId, Hub, Router};

pub(crate) use command::{Completion, HandlerEnd, HandlerTicket};
pub(crate) use open::{Adopted, Endpoint, EndpointRefusal};
pub(crate) use peer::Wishes;

use drain::Drain;
use peer::{Peer, Stage};
use timers::Timers;

/// What all shards of a server share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) router: Router,
    pub(crate) endpoint: Endpoint,
    pub(crate) http: HttpService,
    /// One for each shard, so that counting costs no traffic between cores.
    pub(crate) stats: Arc<[Stats]>,
    pub(crate) keeper_stats: Arc<KeeperStats>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) clock: Clock,
    pub(crate) admission: Arc<Admission>,
    pub(crate) inboxes: Arc<[Inbox]>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) hub: Hub,
}

/// One thread's share of the server.
pub(crate) struct Shard {
    index: usize,
    shared: Arc<Shared>,
    /// What handlers get a clone of: the shard's own, so that counting its clones costs no traffic
    /// between cores.
    hub: Hub,
    limits: Arc<mainstay_wire::Limits>,
    timing: Arc<mainstay_wire::Timing>,

    poll: Poll,
    registry: Registry,
    events: Events,
    listeners: Vec<Listener>,
    /// Set while the system has no file descriptors left.
    accept_again_at: Option<Instant>,
    is_accept_failing: bool,

    peers: Slab<Option<Box<Peer>>>,
    accepted_count: u32,
    /// Handshakes under way, the oldest first; some may be over already.
    opening: VecDeque<ConnectionId>,
    opening_count: usize,
    refused_count: usize,
    http_count: usize,

    channels: mainstay_hub::Hub,
    timers: Timers,
    drain: Option<Drain>,
    is_stopped: bool,
    /// What the keeper is to know of this turn.
    inputs: Vec<Input>,
    /// Where what takes longer than a look goes on: handlers and plain HTTP.
    runtime: Handle,
    /// Held for the shard's life, which its tasks watch.
    life: watch::Sender<()>,
    /// Handlers that run for sessions, so that they can be stopped.
    handlers: HashMap<(SessionId, u64), AbortHandle>,
    /// Peers that are not read because the keeper has too much to do, and whether it has.
    held: Vec<usize>,
    is_desk_full: bool,
    /// Bytes in an outbox beyond which events are left in the log: some room stays for replies.
    feed_bytes_max: usize,

    /// Peers with something to read, and with something to write.
    ready: VecDeque<usize>,
    dirty: VecDeque<usize>,
    /// Peers whose sockets take no more for now, and those whose feeds are behind: what is looked at
    /// for gauges, so that it costs nothing where everybody keeps up.
    blocked: HashSet<usize>,
    behind: HashSet<usize>,
    /// Whether the last poll may have left events behind.
    has_more_events: bool,

    scratch: Box<[u8]>,
    /// Empty: whom a fan-out goes to, while it goes on.
    audience: Vec<usize>,
    spare_buffers: Vec<Vec<u8>>,
    json: Vec<u8>,
    inflater: Inflater,
    deflater: Deflater,
    rng: ChaCha12Rng,
}

struct Listener {
    socket: TcpListener,
    is_ready: bool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Shard {
    /// `poll` is the one that the shard's inbox wakes.
    pub(crate) fn new(
        index: usize,
        shared: Arc<Shared>,
        poll: Poll,
        listeners: Vec<std::net::TcpListener>,
        runtime: Handle,
        seed: [u8; 32],
    ) -> io::Result<Shard> {
        let registry = poll.registry().try_clone()?;
        let mut sockets = Vec::new();
        for (number, listener) in listeners.into_iter().enumerate() {
            let mut socket = TcpListener::from_std(listener);
            registry.register(&mut socket, listener_token(number), Interest::READABLE)?;
            sockets.push(Listener { socket, is_ready: true });
        }
        let feed_bytes_max = shared.config.limits.outbox_bytes_max / 4 * 3;
        let (inboxes, desk) = (shared.inboxes.clone(), shared.desk.clone());
        Ok(Shard {
            index,
            hub: Hub::new(inboxes, desk, shared.journal.clone(), &shared.config),
            limits: Arc::new(shared.config.limits.clone()),
            timing: Arc::new(shared.config.timing.clone()),
            shared,
            poll,
            registry,
            events: Events::with_capacity(EVENT_COUNT_MAX),
            listeners: sockets,
            accept_again_at: None,
            is_accept_failing: false,
            peers: Slab::new(),
            accepted_count: 0,
            opening: VecDeque::new(),
            opening_count: 0,
            refused_count: 0,
            http_count: 0,
            channels: mainstay_hub::Hub::default(),
            timers: Timers::default(),
            drain: None,
            is_stopped: false,
            inputs: Vec::new(),
            runtime,
            life: watch::Sender::new(()),
            handlers: HashMap::new(),
            held: Vec::new(),
            is_desk_full: false,
            feed_bytes_max,
            ready: VecDeque::new(),
            dirty: VecDeque::new(),
            blocked: HashSet::new(),
            behind: HashSet::new(),
            has_more_events: true,
            scratch: vec![0; SCRATCH_BYTES].into(),
            audience: Vec::new(),
            spare_buffers: Vec::new(),
            json: Vec::new(),
            inflater: Inflater::default(),
            deflater: Deflater::default(),
            rng: ChaCha12Rng::from_seed(seed),
        })
    }

    /// Turns until the shard is told to stop, or has drained.
    pub(crate) fn run(mut self) {
        // Handlers are begun here, and may want a timer or a task.
        let runtime = self.runtime.clone();
        let _inside = runtime.enter();
        let mut ended_at = Instant::now();
        while !self.is_done() {
            self.wait(ended_at);
            let now = Instant::now();
            self.is_desk_full = self.shared.desk.is_full(self.shared.config.hub_bytes_max);
            self.accept_ready(now);
            self.take_inbox(now);
            self.release_held(now);
            self.read_ready(now);
            // Only now: a process that was stopped past a deadline has read what came meanwhile.
            self.fire_timers(now);
            self.flush_dirty(now);
            self.flush_inputs();
            ended_at = Instant::now();
            watch_turn(ended_at - now);
        }
        self.drop_all();
        self.flush_inputs();
    }

    /// Waits for whatever comes first, readiness, an order or a deadline, and notes which sockets have
    /// become ready. With work left over it only looks.
    fn wait(&mut self, now: Instant) {
        let must_turn = self.has_work() || !self.inbox().may_wait();
        let timeout = if must_turn { Some(Duration::ZERO) } else { self.until_deadline(now) };
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => self.note_ready(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => tracing::error!(%error, "the sockets cannot be polled"),
        }
    }

    fn has_work(&self) -> bool {
        let can_accept = self.accept_again_at.is_none();
        self.has_more_events
            || !self.ready.is_empty()
            || !self.dirty.is_empty()
            || (can_accept && self.listeners.iter().any(|listener| listener.is_ready))
    }

    /// How long there is nothing to do by itself; `None` if for ever.
    fn until_deadline(&self, now: Instant) -> Option<Duration> {
        let drain = self.drain.as_ref().map(Drain::next_timeout);
        let held = (!self.held.is_empty()).then(|| now + HOLD_INTERVAL);
        let next = [self.timers.next(), self.accept_again_at, drain, held];
        let next = next.into_iter().flatten().min();
        next.map(|at| at.saturating_duration_since(now))
    }

    /// Notes which sockets have become ready. That the shard was woken needs no note: it looks into
    /// its inbox every turn.
    fn note_ready(&mut self) {
        let mut count = 0;
        for event in &self.events {
            count += 1;
            let Token(slot) = event.token();
            if let Some(listener) = listener_number(slot) {
                if let Some(listener) = self.listeners.get_mut(listener) {
                    listener.is_ready = true;
                }
                continue;
            }
            let Some(Some(peer)) = self.peers.get_mut(slot) else { continue };
            peer.is_read_closed |= event.is_read_closed() || event.is_error();
            if event.is_readable() || peer.is_read_closed {
                peer.is_readable = true;
                if !peer.is_in_ready {
                    peer.is_in_ready = true;
                    self.ready.push_back(slot);
                }
            }
            if event.is_writable() || event.is_error() || event.is_write_closed() {
                peer.is_writable = true;
                if !peer.is_in_dirty && peer.has_unsent() {
                    peer.is_in_dirty = true;
                    self.dirty.push_back(slot);
                }
            }
        }
        self.has_more_events = count == EVENT_COUNT_MAX;
    }

    fn take_inbox(&mut self, now: Instant) {
        for order in self.inbox().take() {
            self.follow(now, order);
        }
    }

    fn follow(&mut self, now: Instant, order: Order) {
        match order {
            Order::Effect(effect) => self.carry_out(now, effect),
            Order::Broadcast(notice) => self.broadcast(now, &notice),
            Order::Send { to, notice } => self.send_notice(now, to, &notice),
            Order::Close { connection, detail } => {
                self.close_connection(now, connection, EndReason::LocalClose, &detail);
            }
            Order::Adopt(adopted) => self.adopt(now, *adopted),
            Order::Complete(completion) => self.complete(now, completion),
            Order::Ran { ticket, session, number, end } => {
                self.ran_for_session(&ticket, session, number, end);
            }
            Order::HttpDone => self.http_count -= 1,
            Order::StoreFailed => self.end_sessions(now),
            Order::Gauge => self.gauge(),
            Order::Drain => self.begin_drain(now),
            Order::Stop => self.is_stopped = true,
        }
    }

    /// Reads those again who waited for the keeper, if it has caught up.
    fn release_held(&mut self, now: Instant) {
        if self.held.is_empty() || self.is_desk_full {
            return;
        }
        for slot in mem::take(&mut self.held) {
            if let Some(peer) = self.take_slot(slot) {
                self.settle(now, peer);
            }
        }
    }

    fn fire_timers(&mut self, now: Instant) {
        while let Some((at, id)) = self.timers.pop_due(now) {
            let Some(mut peer) = self.take_peer(id) else { continue };
            if peer.armed_at == Some(at) {
                peer.armed_at = None;
                self.handle_timeout(now, &mut peer);
            }
            self.settle(now, peer);
        }
        if self.accept_again_at.is_some_and(|at| now >= at) {
            self.accept_again_at = None;
        }
        self.go_on_draining(now);
    }

    /// Takes a peer out of the table, so that it and the shard can be changed together.
    /// [`settle`](Shard::settle) puts it back.
    fn take_peer(&mut self, id: ConnectionId) -> Option<Box<Peer>> {
        let place = self.peers.get_mut(id.slot())?;
        if place.as_ref()?.id != id {
            return None;
        }
        place.take()
    }

    fn take_slot(&mut self, slot: usize) -> Option<Box<Peer>> {
        self.peers.get_mut(slot)?.take()
    }

    /// Puts a peer back after a change: has it flushed if it has something to write, read again if
    /// a pause is over, woken when it is due, or dropped if it has ended.
    fn settle(&mut self, now: Instant, mut peer: Box<Peer>) {
        let slot = peer.id.slot();
        if peer.has_unsent() && peer.is_writable {
            if !peer.is_in_dirty {
                peer.is_in_dirty = true;
                self.dirty.push_back(slot);
            }
        } else if let Some(end) = peer.take_end() {
            return self.end(now, peer, end);
        }
        self.reclaim_buffer(&mut peer);
        self.read_on(&mut peer);
        self.resume_reading(&mut peer);
        if let Some(at) = self.next_timeout(&peer)
            && peer.armed_at.is_none_or(|armed_at| at < armed_at)
        {
            peer.armed_at = Some(at);
            self.timers.arm(at, peer.id);
        }
        if let Some(place) = self.peers.get_mut(slot) {
            *place = Some(peer);
        }
    }

    fn next_timeout(&self, peer: &Peer) -> Option<Instant> {
        match &peer.stage {
            Stage::Opening(_) => Some(peer.since + self.shared.config.handshake_timeout),
            Stage::Open(open) => {
                let hello = open.session.as_ref().and_then(|session| session.hello_deadline());
                let hello = hello.filter(|_| open.connection.is_open());
                [hello, open.connection.next_timeout()].into_iter().flatten().min()
            }
            Stage::Refused { deadline } => Some(*deadline),
        }
    }

    fn handle_timeout(&mut self, now: Instant, peer: &mut Peer) {
        match &mut peer.stage {
            Stage::Opening(_) => {
                if now >= peer.since + self.shared.config.handshake_timeout {
                    let detail = "the request was not complete in time";
                    peer.finish(End::new(EndReason::HandshakeTimeout, detail));
                }
            }
            Stage::Open(open) => {
                open.connection.handle_timeout(now);
                let hello = open.session.as_ref().and_then(|session| session.hello_deadline());
                if hello.is_some_and(|deadline| now >= deadline) {
                    open.connection.close(now, EndReason::HelloTimeout, "no hello came");
                }
            }
            Stage::Refused { deadline } => peer.is_finished |= now >= *deadline,
        }
    }

    fn inbox(&self) -> &Inbox {
        &self.shared.inboxes[self.index]
    }

    fn stats(&self) -> &Stats {
        &self.shared.stats[self.index]
    }

    fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        seed
    }
}

/// A turn that takes long keeps every connection of the shard waiting, and only a handler can do
/// that.
fn watch_turn(took: Duration) {
    if took >= TURN_WARN_DURATION {
        tracing::warn!(
            took_ms = took.as_millis() as u64,
            "a handler held its thread; register it with blocking_handler"
        );
    }
}

/// Tokens of listeners count down from the top, those of peers up from 0.
fn listener_token(number: usize) -> Token {
    Token(usize::MAX - 1 - number)
}

fn listener_number(token: usize) -> Option<usize> {
    let number = (usize::MAX - 1).checked_sub(token)?;
    (number < LISTENER_COUNT_MAX).then_some(number)
}

/// The event that wakes a shard for its inbox.
pub(crate) const WAKE: Token = Token(usize::MAX);
/// Listening sockets of one shard; a name resolves to a few addresses at most.
pub(crate) const LISTENER_COUNT_MAX: usize = 64;
/// Events taken from the kernel at once.
const EVENT_COUNT_MAX: usize = 1024;
/// Bytes read at once. Large enough to take a burst in one call, small enough for the cache.
const SCRATCH_BYTES: usize = 64 * 1024;
/// When to look again whether a lagging shard has caught up.
const HOLD_INTERVAL: Duration = Duration::from_millis(1);
/// Long enough for a full fan-out, too long for anything else.
const TURN_WARN_DURATION: Duration = Duration::from_millis(500);
