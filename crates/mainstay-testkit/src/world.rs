//! The world: what is in it, and how its time passes.

use std::collections::BTreeMap;

use mainstay_log::testing::SimDisk;
use mainstay_node::{Effect, NodeConfig, Retention};
use mainstay_session::client::{CommandKey, Place};
use mainstay_wire::ChannelName;
use mainstay_wire::session::{Outcome, SessionId};

use crate::checks::Checks;
use crate::device::Device;
use crate::link::{End, Link, Parcel};
use crate::plan::{Act, Mix};
use crate::server::Server;
use crate::{Dice, Keeps, Trace, Truth};

/// What a world is like.
#[derive(Clone, Debug)]
pub struct WorldConfig {
    /// The node's bounds.
    pub node: NodeConfig,
    /// Where the log is kept.
    pub engine: EngineKind,
    /// How long a message takes at most, most of the time.
    pub latency_ms: u64,
    /// Bytes that wait for one connection before its feeds fall behind.
    pub feed_bytes_max: usize,
    /// Bytes that the network holds for one connection.
    pub socket_bytes: usize,
    /// The answer to a heartbeat must come within this time.
    pub pong_timeout_ms: u64,
    /// How long silence is tolerated by clients beyond what the server announces.
    pub silence_margin_ms: u64,
}

/// Where a log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// In memory: gone with the process.
    Memory,
    /// On a disk that loses what was not synced.
    Disk,
}

impl Default for WorldConfig {
    fn default() -> WorldConfig {
        let retention = Retention { count_max: 10_000, bytes_max: 1 << 24, age_max_ms: 1 << 40 };
        let node = NodeConfig {
            channel_retention: retention,
            inbox_retention: Retention { count_max: 100, ..retention },
            session_expiry_ms: 600_000,
            handler_timeout_ms: 4_000,
            ping_interval_ms: 5_000,
            ..NodeConfig::default()
        };
        WorldConfig {
            node,
            engine: EngineKind::Memory,
            latency_ms: 20,
            feed_bytes_max: 16 * 1024,
            socket_bytes: 8 * 1024,
            pong_timeout_ms: 10_000,
            silence_margin_ms: 10_000,
        }
    }
}

/// Clients, a network, a server and a disk, in one thread.
#[derive(Debug)]
pub struct World {
    pub(crate) config: WorldConfig,
    pub(crate) now_ms: u64,
    agenda: BTreeMap<(u64, u64), Happening>,
    sequence: u64,
    step_count: u64,
    pub(crate) dice: Dice,
    pub(crate) trace: Trace,
    pub(crate) truth: Truth,
    pub(crate) checks: Checks,
    pub(crate) devices: Vec<Device>,
    pub(crate) links: Vec<Link>,
    pub(crate) server: Option<Server>,
    pub(crate) disk: SimDisk,
    pub(crate) incarnation: u64,
    /// The moments at which a server process was lost or ended.
    pub(crate) server_losses_ms: Vec<u64>,
    pub(crate) next_mark: u64,
    pub(crate) mix: Mix,
}

/// What can happen.
#[derive(Debug)]
pub(crate) enum Happening {
    Arrive { link: usize, to: End, parcel: Parcel },
    Broken { link: usize, to: End, why: &'static str },
    Dial { device: usize, attempt: u64 },
    Dialed { device: usize, attempt: u64 },
    Wake { device: usize, life: u64 },
    Flush { device: usize, life: u64 },
    Consume { device: usize, life: u64, channel: ChannelName, place: Place },
    Answer { device: usize, life: u64, key: CommandKey, outcome: Outcome },
    StartDevice { device: usize },
    ReadAgain { device: usize },
    BackOnline { device: usize },
    Turn { incarnation: u64 },
    Orders { incarnation: u64, shard: usize, effects: Vec<Effect> },
    PeerTick { incarnation: u64, key: u64 },
    HandlerDone { incarnation: u64, session: SessionId, number: u64, outcome: Outcome },
    HandlerPublishes { incarnation: u64, session: SessionId, number: u64, mark: u64 },
    StartServer,
    StopServer { incarnation: u64 },
    RacerLeaves { link: usize },
    LogHasRoom,
    Act(Act),
}

impl World {
    /// A world with a running server and nobody in it.
    pub fn new(seed: u64, config: WorldConfig, keeps: Keeps) -> World {
        let mut dice = Dice::new(seed);
        let disk = SimDisk::new(dice.below(u64::MAX));
        let mut world = World {
            config,
            now_ms: BEGAN_MS,
            agenda: BTreeMap::new(),
            sequence: 0,
            step_count: 0,
            dice,
            trace: Trace::new(keeps, BEGAN_MS),
            truth: Truth::default(),
            checks: Checks::default(),
            devices: Vec::new(),
            links: Vec::new(),
            server: None,
            disk,
            incarnation: 0,
            server_losses_ms: Vec::new(),
            next_mark: 1,
            mix: Mix::default(),
        };
        world.start_server();
        world
    }

    /// Lets so much time pass.
    ///
    /// # Panics
    /// If a guarantee is broken: the message says which, and what led to it.
    pub fn run_for(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        while self.step(until_ms) {}
        self.now_ms = until_ms;
        self.assert_sound();
    }

    /// Lets time pass until something is so.
    ///
    /// # Panics
    /// If it is not within ten minutes, or a guarantee is broken.
    pub fn run_until(&mut self, what: &str, mut is_so: impl FnMut(&World) -> bool) {
        let until_ms = self.now_ms + 600_000;
        while !is_so(self) {
            if !self.step(until_ms) {
                self.checks.fail("liveness", format!("not within ten minutes: {what}"));
            }
            self.assert_sound();
        }
    }

    /// Does the next thing before a moment. `false` if there is none, or a guarantee is broken.
    pub(crate) fn step(&mut self, until_ms: u64) -> bool {
        if self.checks.failure().is_some() {
            return false;
        }
        let Some(entry) = self.agenda.first_entry() else { return false };
        if entry.key().0 > until_ms {
            return false;
        }
        let ((at_ms, _), happening) = entry.remove_entry();
        self.step_count += 1;
        if self.step_count > STEP_COUNT_MAX {
            self.checks.fail("liveness", format!("it goes round in circles: {happening:?}"));
        }
        self.now_ms = at_ms;
        self.happen(happening);
        true
    }

    pub(crate) fn schedule(&mut self, at_ms: u64, happening: Happening) {
        self.sequence += 1;
        self.agenda.insert((at_ms.max(self.now_ms), self.sequence), happening);
    }

    pub(crate) fn schedule_in(&mut self, ms: u64, happening: Happening) {
        self.schedule(self.now_ms + ms, happening);
    }

    /// A line of the trace.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        self.trace.note(self.now_ms, line);
    }

    /// A number that no other payload of this world bears.
    pub(crate) fn mark(&mut self) -> u64 {
        self.next_mark += 1;
        self.next_mark - 1
    }

    /// Ends a test as soon as a guarantee is broken.
    ///
    /// # Panics
    /// If one is.
    pub fn assert_sound(&self) {
        if let Some(failure) = self.checks.failure() {
            let lines = self.trace.lines();
            let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
            panic!("{tail}\n{failure}");
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrive { link, to, parcel } => self.arrive(link, to, parcel),
            Happening::Broken { link, to, why } => self.broken(link, to, why),
            Happening::Dial { device, attempt } => self.dial(device, attempt),
            Happening::Dialed { device, attempt } => self.dialed(device, attempt),
            Happening::Wake { device, life } => self.wake(device, life),
            Happening::Flush { device, life } => self.flush_changes(device, life),
            Happening::Consume { device, life, channel, place } => {
                self.consume(device, life, &channel, place);
            }
            Happening::Answer { device, life, key, outcome } => {
                self.answer_command(device, life, key, outcome);
            }
            Happening::StartDevice { device } => self.start_device(device),
            Happening::ReadAgain { device } => self.read_again(device),
            Happening::BackOnline { device } => self.back_online(device),
            Happening::Turn { incarnation } => self.turn(incarnation),
            Happening::Orders { incarnation, shard, effects } => {
                self.carry_out(incarnation, shard, effects);
            }
            Happening::PeerTick { incarnation, key } => self.peer_tick(incarnation, key),
            Happening::HandlerDone { incarnation, session, number, outcome } => {
                self.handler_done(incarnation, session, number, outcome);
            }
            Happening::HandlerPublishes { incarnation, session, number, mark } => {
                self.handler_publishes(incarnation, session, number, mark);
            }
            Happening::StartServer => self.start_server(),
            Happening::StopServer { incarnation } => self.stop_server(incarnation),
            Happening::RacerLeaves { link } => self.racer_leaves(link),
            Happening::LogHasRoom => self.truth.facts().is_full = false,
            Happening::Act(act) => self.act(act),
        }
    }
}

/// A moment in 2026.
const BEGAN_MS: u64 = 1_780_000_000_000;
/// Far more than any life has.
const STEP_COUNT_MAX: u64 = 1_000_000;
/// How much of a trace a failure shows.
const TAIL_LINES: usize = 120;
