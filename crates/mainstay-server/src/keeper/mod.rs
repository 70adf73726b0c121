//! The thread that keeps sessions and channels: it owns the node, and with it the log.
//!
//! Shards and handlers put what happens into the [`Desk`]. The keeper takes all of it at once, lets
//! the node decide, makes the result durable with one commit, and only then carries the effects to
//! the shards. While it commits, the next batch gathers: the busier the server, the more shares one
//! commit.

mod clock;
mod desk;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_log::LogError;
use mainstay_node::{ConnectionKey, Effect, Input, Node};
use mainstay_wire::ChannelName;
use mainstay_wire::session::{Offset, SessionId};

pub(crate) use clock::Clock;
pub(crate) use desk::{Desk, outcome_weight, stopping};

use crate::ConnectionId;
use crate::inbox::{Inbox, Order};
use crate::journal::Journal;
use crate::stats::KeeperStats;

/// The keeper's thread.
pub(crate) struct Keeper {
    node: Node,
    clock: Clock,
    desk: Arc<Desk>,
    inboxes: Arc<[Inbox]>,
    inbox_bytes_max: usize,
    journal: Arc<Journal>,
    stats: Arc<KeeperStats>,
    /// Which shard each handler runs on, so that it can be stopped.
    running: HashMap<(SessionId, u64), usize>,
}

impl Keeper {
    pub(crate) fn new(
        node: Node,
        clock: Clock,
        desk: Arc<Desk>,
        inboxes: Arc<[Inbox]>,
        inbox_bytes_max: usize,
        (journal, stats): (Arc<Journal>, Arc<KeeperStats>),
    ) -> Keeper {
        let running = HashMap::new();
        Keeper { node, clock, desk, inboxes, inbox_bytes_max, journal, stats, running }
    }

    /// Works until the desk is closed and empty.
    ///
    /// # Errors
    /// If the log can no longer be trusted. Nothing that was not stored has been told to anybody.
    pub(crate) fn run(mut self) -> Result<(), LogError> {
        let mut effects = Vec::new();
        self.stats.set(self.node.counts());
        loop {
            let due_at = self.node.next_timeout().map(|at_ms| self.clock.instant(at_ms));
            let Some(inputs) = self.desk.take(due_at) else { return Ok(()) };
            let began = Instant::now();
            let now_ms = self.clock.now_ms(began);
            if due_at.is_some_and(|at| at <= began) {
                self.node.handle_timeout(now_ms);
            }
            let drains = inputs.iter().any(|input| matches!(input, Input::Drain { .. }));
            for input in inputs {
                self.forget_ended_handler(&input);
                self.node.handle(now_ms, input);
            }
            self.node.commit(now_ms, &mut effects)?;
            self.stats.set(self.node.counts());
            self.carry_out(now_ms, &mut effects);
            if drains {
                self.inboxes.iter().for_each(|inbox| inbox.order(Order::Drain));
            }
        }
    }

    fn forget_ended_handler(&mut self, input: &Input) {
        if let Input::Ran { session, number, .. } = input {
            self.running.remove(&(*session, *number));
        }
    }

    /// Sorts effects by shard, in their order, and lets each shard have its own at once.
    fn carry_out(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        let mut orders: Vec<Vec<Order>> = self.inboxes.iter().map(|_| Vec::new()).collect();
        for effect in effects.drain(..) {
            let shard = match &effect {
                Effect::Answer { .. } => {
                    if let Effect::Answer { ticket, result } = effect {
                        self.desk.answer(ticket, result);
                    }
                    continue;
                }
                Effect::Note(_) => {
                    if let Effect::Note(note) = effect {
                        self.journal.note(now_ms, note);
                    }
                    continue;
                }
                Effect::Deliver { channel, events } => {
                    self.stats.count_published(events.len());
                    if let Some(last) = events.last() {
                        self.note_head(channel, last.offset);
                    }
                    orders.iter_mut().for_each(|orders| orders.push(Order::Effect(effect.clone())));
                    continue;
                }
                Effect::Run { connection, session, request, .. } => {
                    let shard = shard_of(*connection);
                    self.running.insert((*session, request.number), shard);
                    shard
                }
                Effect::Stop { session, number, .. } => {
                    match self.running.remove(&(*session, *number)) {
                        Some(shard) => shard,
                        None => continue,
                    }
                }
                Effect::Send { connection, .. }
                | Effect::Feed { connection, .. }
                | Effect::Unfeed { connection, .. }
                | Effect::Close { connection, .. } => shard_of(*connection),
                Effect::Page(page) => shard_of(page.connection),
            };
            if let Some(orders) = orders.get_mut(shard) {
                orders.push(Order::Effect(effect));
            }
        }
        for (inbox, orders) in self.inboxes.iter().zip(orders) {
            if !orders.is_empty() {
                self.wait_for_room(inbox);
                inbox.put(orders);
            }
        }
    }

    /// A shard that cannot keep up slows down those who publish: nothing is dropped, and the desk
    /// fills behind the keeper. Shards never wait for the keeper, so this ends.
    fn wait_for_room(&self, inbox: &Inbox) {
        while inbox.is_full(self.inbox_bytes_max) && !self.desk.is_closed() {
            std::thread::sleep(ROOM_INTERVAL);
        }
    }

    fn note_head(&self, channel: &ChannelName, head: Offset) {
        self.desk.note_head(channel, head);
    }
}

fn shard_of(connection: ConnectionKey) -> usize {
    ConnectionId::from(connection).shard()
}

/// When to look again whether a lagging shard has caught up.
const ROOM_INTERVAL: Duration = Duration::from_millis(1);
