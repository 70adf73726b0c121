//! The server's process: the keeper with the real node, and what it loses when it dies.

use std::collections::BTreeMap;
use std::fmt;

use mainstay_log::testing::Fault;
use mainstay_log::{DiskLog, DiskOptions, Log, MemoryLog};
use mainstay_node::{Call, ConnectionKey, Effect, Input, Node, Ticket};
use mainstay_wire::ChannelName;
use mainstay_wire::session::{
    Encoding, Offset, Outcome, Payload, PayloadKind, Principal, SessionId,
};

use crate::checks::CallNote;
use crate::link::{End, Link, Owner, Parcel};
use crate::shard::{Peer, Shard};
use crate::truth::marked;
use crate::world::{EngineKind, Happening, World};

/// A server process while it lives.
pub(crate) struct Server {
    pub(crate) incarnation: u64,
    pub(crate) node: Node,
    desk: Vec<Input>,
    turn_at_ms: Option<u64>,
    pub(crate) shards: Vec<Shard>,
    pub(crate) peers: BTreeMap<u64, Peer>,
    /// Who sits in each slot, and how often the slot was taken.
    pub(crate) slots: Vec<(Option<u64>, u64)>,
    /// Handlers that run, with the mark of what they work on.
    pub(crate) running: BTreeMap<(SessionId, u64), u64>,
    /// The connection that each session was last welcomed on.
    pub(crate) owners: BTreeMap<SessionId, ConnectionKey>,
    pub(crate) welcomed: BTreeMap<ConnectionKey, SessionId>,
    pub(crate) calls: BTreeMap<Ticket, CallNote>,
    last_ticket: u64,
    pub(crate) delivered: BTreeMap<ChannelName, Offset>,
    pub(crate) is_draining: bool,
}

impl World {
    /// The server's process is killed. It starts again after so long.
    pub fn crash_server(&mut self, restart_ms: u64) {
        self.note(|| "the server is killed".to_owned());
        self.lose_server();
        self.schedule_in(restart_ms, Happening::StartServer);
    }

    /// The server is asked to stop, and starts again so long after it has.
    pub fn drain_server(&mut self, window_ms: u64) {
        let Some(server) = &mut self.server else { return };
        if std::mem::replace(&mut server.is_draining, true) {
            return;
        }
        let incarnation = server.incarnation;
        self.note(|| "the server drains".to_owned());
        self.put(Input::Drain { window_ms });
        self.schedule_in(window_ms + 500, Happening::StopServer { incarnation });
    }

    /// The log takes nothing for so long.
    pub fn fill_log(&mut self, ms: u64) {
        self.note(|| format!("the log is full for {ms} ms"));
        self.truth.facts().is_full = true;
        self.schedule_in(ms, Happening::LogHasRoom);
    }

    /// The next commit is cut short by a power failure.
    pub fn cut_power_in_commit(&mut self) {
        let calls = self.dice.below(12);
        self.note(|| format!("the power fails {calls} calls of the disk from now"));
        self.disk.fail_at(self.disk.calls() + calls, Fault::PowerCut);
    }

    pub(crate) fn start_server(&mut self) {
        if self.server.is_some() {
            return;
        }
        self.incarnation += 1;
        // Whoever starts a server on a full disk makes room first.
        self.truth.facts().is_full = false;
        let fresh = self.dice.below(u64::MAX);
        let mut log: Box<dyn Log> = match self.config.engine {
            EngineKind::Memory => Box::new(MemoryLog::new()),
            EngineKind::Disk => match self.open_disk(fresh) {
                Some(log) => Box::new(log),
                None => return,
            },
        };
        if self.config.engine == EngineKind::Disk
            && let Err(lost) = self.truth.reconcile(&mut *log)
        {
            return self.checks.fail("durability", lost);
        }
        let (config, seed) = (self.config.node.clone(), self.dice.seed());
        match Node::open(self.now_ms, config, Box::new(self.truth.watch(log)), seed) {
            Ok(node) => self.server = Some(Server::new(self.incarnation, node)),
            Err(error) => return self.checks.fail("durability", format!("no start: {error}")),
        }
        let incarnation = self.incarnation;
        self.note(|| format!("server {incarnation} starts"));
        self.schedule_turn();
    }

    fn open_disk(&mut self, fresh: u64) -> Option<DiskLog> {
        self.disk.crash();
        let options = DiskOptions { cache_bytes: 1 << 20, ..DiskOptions::new(fresh) };
        match DiskLog::open_on(self.disk.clone(), options) {
            Ok(log) => Some(log),
            Err(error) => {
                self.checks.fail("durability", format!("the log does not open: {error}"));
                None
            }
        }
    }

    /// Everything in memory is gone; connections end as the kernel ends them, or not at all.
    fn lose_server(&mut self) {
        let Some(server) = self.server.take() else { return };
        self.server_losses_ms.push(self.now_ms);
        self.checks.counts.server_loss_count += 1;
        if self.config.engine == EngineKind::Disk {
            // Nobody tidies up behind a process that was killed.
            self.disk.fail_at(self.disk.calls(), Fault::PowerCut);
        }
        for (_, peer) in server.peers {
            let link = peer.link;
            self.links[link].server_end.get_or_insert("server_lost");
            if self.dice.chance(50) {
                self.kill_link(link);
            }
            if self.dice.chance(85) {
                self.break_link(link, End::Client, "reset");
            } else {
                self.kill_link(link);
            }
        }
    }

    pub(crate) fn stop_server(&mut self, incarnation: u64) {
        if !self.is_current(incarnation) || !self.commit() {
            return;
        }
        self.note(|| "the server stops".to_owned());
        let Some(server) = self.server.take() else { return };
        self.server_losses_ms.push(self.now_ms);
        self.checks.counts.server_loss_count += 1;
        for (_, mut peer) in server.peers {
            let link = peer.link;
            if self.links[link].server_end.is_none() {
                for parcel in peer.outbox.drain(..) {
                    self.send(link, End::Client, parcel);
                }
                self.send(link, End::Client, Parcel::Close(Some(1001)));
                self.links[link].server_end = Some("drain");
            }
        }
        let ms = self.dice.below(3000);
        self.schedule_in(ms, Happening::StartServer);
    }

    pub(crate) fn is_current(&self, incarnation: u64) -> bool {
        self.server.as_ref().is_some_and(|server| server.incarnation == incarnation)
    }

    /// Takes a connection, if there is a server that does.
    pub(crate) fn accept(
        &mut self,
        owner: Owner,
        encoding: Encoding,
        principal: Option<Principal>,
    ) -> Option<usize> {
        let now_ms = self.now_ms;
        let link = self.links.len();
        let server = self.server.as_mut().filter(|server| !server.is_draining)?;
        let free = server.slots.iter().position(|(held, _)| held.is_none());
        let slot = free.unwrap_or(server.slots.len());
        if free.is_none() {
            server.slots.push((None, 0));
        }
        let (held, count) = &mut server.slots[slot];
        *count += 1;
        let key = *count << 32 | slot as u64;
        *held = Some(key);
        server.peers.insert(key, Peer::new(key, link, encoding, principal, now_ms));
        let incarnation = server.incarnation;
        self.links.push(Link::new(owner, incarnation, key));
        self.schedule_tick(key);
        Some(link)
    }

    // The keeper.

    /// Lets the keeper know of something.
    pub(crate) fn put(&mut self, input: Input) {
        let Some(server) = &mut self.server else { return };
        server.desk.push(input);
        let at_ms = self.now_ms + self.dice.below(4);
        self.plan_turn(at_ms);
    }

    /// Asks the node for something, and remembers what the answer must be.
    pub(crate) fn call(&mut self, call: Call, note: CallNote) {
        let Some(server) = &mut self.server else { return };
        server.last_ticket += 1;
        let ticket = Ticket(server.last_ticket);
        server.calls.insert(ticket, note);
        self.note(|| format!("call {} {call:?}", ticket.0));
        self.put(Input::Call { ticket, call });
    }

    fn plan_turn(&mut self, at_ms: u64) {
        let Some(server) = &mut self.server else { return };
        if server.turn_at_ms.is_none_or(|planned_ms| at_ms < planned_ms) {
            server.turn_at_ms = Some(at_ms);
            let incarnation = server.incarnation;
            self.schedule(at_ms, Happening::Turn { incarnation });
        }
    }

    fn schedule_turn(&mut self) {
        if let Some(at_ms) = self.server.as_ref().and_then(|server| server.node.next_timeout()) {
            self.plan_turn(at_ms.max(self.now_ms));
        }
    }

    pub(crate) fn turn(&mut self, incarnation: u64) {
        let now_ms = self.now_ms;
        if !self.is_current(incarnation) {
            return;
        }
        let Some(server) = &mut self.server else { return };
        server.turn_at_ms = None;
        let inputs = std::mem::take(&mut server.desk);
        if server.node.next_timeout().is_some_and(|at_ms| at_ms <= now_ms) {
            server.node.handle_timeout(now_ms);
        }
        for input in inputs {
            let Some(server) = &mut self.server else { return };
            if server.is_zombie(&input) {
                self.hear_zombie(input);
            } else {
                server.node.handle(now_ms, input);
            }
        }
        if self.commit() {
            self.schedule_turn();
        }
    }

    /// A connection that was superseded must not change anything (G6): it is heard alone, and nothing
    /// may come of it.
    fn hear_zombie(&mut self, input: Input) {
        if !self.commit() {
            return;
        }
        let now_ms = self.now_ms;
        let write_count = self.truth.facts().write_count;
        let what = format!("{input:?}");
        let Some(server) = &mut self.server else { return };
        server.node.handle(now_ms, input);
        let mut effects = Vec::new();
        let result = server.node.commit(now_ms, &mut effects);
        let is_silent = effects.is_empty() && self.truth.facts().write_count == write_count;
        self.checks.counts.zombie_count += 1;
        if result.is_err() || !is_silent {
            let text = format!("{what} of a superseded connection led to {effects:?}");
            self.checks.fail("G6", text);
        }
    }

    /// Makes durable what the node has staged, and lets the shards have what follows. `false` if the
    /// process did not survive.
    pub(crate) fn commit(&mut self) -> bool {
        let now_ms = self.now_ms;
        let Some(server) = &mut self.server else { return false };
        let mut effects = Vec::new();
        if let Err(error) = server.node.commit(now_ms, &mut effects) {
            self.note(|| format!("the keeper ends: {error}"));
            if !error.is_fatal() {
                self.checks.fail("durability", format!("the keeper ends over {error}"));
            }
            let restart_ms = self.dice.below(3000);
            self.crash_server(restart_ms);
            return false;
        }
        self.check_effects(&effects);
        self.distribute(effects);
        true
    }

    fn distribute(&mut self, effects: Vec<Effect>) {
        let mut orders: Vec<Vec<Effect>> = vec![Vec::new(); SHARD_COUNT];
        for effect in effects {
            let shard = match &effect {
                Effect::Answer { .. } => {
                    if let Effect::Answer { ticket, result } = effect {
                        self.answered(ticket, result);
                    }
                    continue;
                }
                Effect::Note(_) => continue,
                Effect::Deliver { .. } | Effect::Stop { .. } => {
                    orders.iter_mut().for_each(|orders| orders.push(effect.clone()));
                    continue;
                }
                Effect::Send { connection, .. }
                | Effect::Feed { connection, .. }
                | Effect::Unfeed { connection, .. }
                | Effect::Run { connection, .. }
                | Effect::Close { connection, .. } => shard_of(*connection),
                Effect::Page(page) => shard_of(page.connection),
            };
            orders[shard].push(effect);
        }
        for (index, effects) in orders.into_iter().enumerate() {
            if effects.is_empty() {
                continue;
            }
            let at_ms = self.now_ms + self.dice.below(4);
            let Some(server) = &mut self.server else { return };
            let incarnation = server.incarnation;
            let shard = &mut server.shards[index];
            let at_ms = at_ms.max(shard.orders_at_ms);
            shard.orders_at_ms = at_ms;
            self.schedule(at_ms, Happening::Orders { incarnation, shard: index, effects });
        }
    }

    // Handlers.

    pub(crate) fn handler_done(
        &mut self,
        incarnation: u64,
        session: SessionId,
        number: u64,
        outcome: Outcome,
    ) {
        if !self.is_current(incarnation) {
            return;
        }
        let Some(server) = &mut self.server else { return };
        if server.running.remove(&(session, number)).is_some() {
            self.note(|| format!("handler of {session} {number} ends: {outcome:?}"));
            self.put(Input::Ran { session, number, outcome });
        }
    }

    /// A handler appends an event, under a key that makes it idempotent.
    pub(crate) fn handler_publishes(
        &mut self,
        incarnation: u64,
        session: SessionId,
        number: u64,
        mark: u64,
    ) {
        if !self.is_current(incarnation) {
            return;
        }
        let Some(server) = &self.server else { return };
        if !server.running.contains_key(&(session, number)) {
            return;
        }
        let event = self.mark();
        let Ok(channel) = ChannelName::parse("c0") else { return };
        let payload = marked(event, PayloadKind::Json, 0);
        let key = Some(mark.to_be_bytes().to_vec().into());
        let channels = vec![channel];
        let note = CallNote::Publish { mark: event, key: None };
        self.call(Call::Publish { channels, payload, key }, note);
        let outcome = Outcome::Done(Payload::from_json_bytes(mark.to_string()));
        let ms = self.dice.below(20);
        let done = Happening::HandlerDone { incarnation, session, number, outcome };
        self.schedule_in(ms, done);
    }
}

impl Server {
    fn new(incarnation: u64, node: Node) -> Server {
        Server {
            incarnation,
            node,
            desk: Vec::new(),
            turn_at_ms: None,
            shards: (0..SHARD_COUNT).map(|_| Shard::default()).collect(),
            peers: BTreeMap::new(),
            slots: Vec::new(),
            running: BTreeMap::new(),
            owners: BTreeMap::new(),
            welcomed: BTreeMap::new(),
            calls: BTreeMap::new(),
            last_ticket: 0,
            delivered: BTreeMap::new(),
            is_draining: false,
        }
    }

    /// Whether it comes from a connection whose session another one has been given since.
    fn is_zombie(&self, input: &Input) -> bool {
        let (Input::Frame { connection, .. }
        | Input::Unfit { connection, .. }
        | Input::Read { connection, .. }
        | Input::Gone { connection, .. }) = input
        else {
            return false;
        };
        let session = self.welcomed.get(connection);
        let owner = session.and_then(|session| self.owners.get(session));
        owner.is_some_and(|owner| owner != connection)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Server({})", self.incarnation)
    }
}

fn shard_of(connection: ConnectionKey) -> usize {
    (connection.0 as u32) as usize % SHARD_COUNT
}

/// Two, so that what belongs to one channel goes two ways.
pub(crate) const SHARD_COUNT: usize = 2;
