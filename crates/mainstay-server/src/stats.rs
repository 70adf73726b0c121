//! Counters of one server.

use std::sync::atomic::{AtomicU64, Ordering};

use mainstay_wire::EndReason;

/// What has happened on one shard since the server started. Any thread may read it at any time.
#[derive(Debug)]
#[repr(align(128))] // Two cache lines, which processors fetch together: shards share none.
pub(crate) struct Stats {
    accepted: AtomicU64,
    opened: AtomicU64,
    commands: AtomicU64,
    events_delivered: AtomicU64,
    handler_panics: AtomicU64,
    handler_timeouts: AtomicU64,
    ends: Vec<AtomicU64>,
}

/// The counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatsSnapshot {
    /// TCP connections accepted.
    pub accepted: u64,
    /// WebSockets opened.
    pub opened: u64,
    /// Commands handed to a handler.
    pub commands: u64,
    /// Events put into an outbox, one for each subscriber.
    pub events_delivered: u64,
    /// Handlers that panicked.
    pub handler_panics: u64,
    /// Handlers that took longer than the handler timeout.
    pub handler_timeouts: u64,
    /// How often each end came, reasons that never did left out.
    pub ends: Vec<(EndReason, u64)>,
}

impl StatsSnapshot {
    /// How often connections ended for this reason.
    pub fn ends_for(&self, reason: EndReason) -> u64 {
        self.ends.iter().find(|(known, _)| *known == reason).map_or(0, |(_, count)| *count)
    }
}

impl Default for Stats {
    fn default() -> Stats {
        Stats {
            accepted: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            commands: AtomicU64::new(0),
            events_delivered: AtomicU64::new(0),
            handler_panics: AtomicU64::new(0),
            handler_timeouts: AtomicU64::new(0),
            ends: EndReason::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl Stats {
    /// The counters of all shards now.
    pub(crate) fn sum(shards: &[Stats]) -> StatsSnapshot {
        let sum = |counter: fn(&Stats) -> &AtomicU64| {
            shards.iter().map(|stats| counter(stats).load(Ordering::Relaxed)).sum()
        };
        let ends_for = |index: usize| {
            let counters = shards.iter().filter_map(|stats| stats.ends.get(index));
            counters.map(|counter| counter.load(Ordering::Relaxed)).sum()
        };
        let ends = EndReason::ALL.iter().enumerate();
        StatsSnapshot {
            accepted: sum(|stats| &stats.accepted),
            opened: sum(|stats| &stats.opened),
            commands: sum(|stats| &stats.commands),
            events_delivered: sum(|stats| &stats.events_delivered),
            handler_panics: sum(|stats| &stats.handler_panics),
            handler_timeouts: sum(|stats| &stats.handler_timeouts),
            ends: ends
                .map(|(index, reason)| (*reason, ends_for(index)))
                .filter(|(_, count)| *count > 0)
                .collect(),
        }
    }

    pub(crate) fn count_accepted(&self) {
        add(&self.accepted, 1);
    }

    pub(crate) fn count_opened(&self) {
        add(&self.opened, 1);
    }

    pub(crate) fn count_command(&self) {
        add(&self.commands, 1);
    }

    pub(crate) fn count_events_delivered(&self, count: u64) {
        add(&self.events_delivered, count);
    }

    pub(crate) fn count_handler_panic(&self) {
        add(&self.handler_panics, 1);
    }

    pub(crate) fn count_handler_timeout(&self) {
        add(&self.handler_timeouts, 1);
    }

    pub(crate) fn count_end(&self, reason: EndReason) {
        let index = EndReason::ALL.iter().position(|known| *known == reason);
        if let Some(counter) = index.and_then(|index| self.ends.get(index)) {
            add(counter, 1);
        }
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
