//! Counters and gauges of one server.

use std::sync::atomic::{AtomicU64, Ordering};

use mainstay_node::Counts;
use mainstay_wire::EndReason;

/// What has happened on one shard since the server started, and what the shard holds. The shard's
/// thread alone writes; any thread may read at any time.
#[derive(Debug)]
#[repr(align(128))] // Two cache lines, which processors fetch together: shards share none.
pub(crate) struct Stats {
    accepted: AtomicU64,
    opened: AtomicU64,
    /// WebSockets that were open and are gone.
    closed: AtomicU64,
    commands: AtomicU64,
    events_delivered: AtomicU64,
    /// Messages put into an outbox for one connection alone: replies and the like.
    messages_sent: AtomicU64,
    messages_in: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    handler_failures: AtomicU64,
    handler_panics: AtomicU64,
    handler_timeouts: AtomicU64,
    ends: Vec<AtomicU64>,
    outbox_bytes: AtomicU64,
    behind: AtomicU64,
}

/// What the keeper counts; it alone writes.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct KeeperStats {
    published: AtomicU64,
    connected: AtomicU64,
    away: AtomicU64,
    channels: AtomicU64,
}

/// Counters and gauges at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatsSnapshot {
    /// When the server started, in milliseconds since 1970.
    pub started_at_ms: u64,
    /// TCP connections accepted.
    pub accepted: u64,
    /// WebSockets opened.
    pub opened: u64,
    /// Commands handed to a handler.
    pub commands: u64,
    /// Events stored in channels, inboxes among them.
    pub published: u64,
    /// Events put into an outbox, one for each subscriber.
    pub events_delivered: u64,
    /// Messages that came over WebSockets; pings, pongs and Close frames are none.
    pub messages_in: u64,
    /// Messages put into outboxes, events among them.
    pub messages_out: u64,
    /// Bytes read from WebSockets, their handshakes left out.
    pub bytes_in: u64,
    /// Bytes written to WebSockets.
    pub bytes_out: u64,
    /// Handlers that answered with an error, or whose runtime was gone.
    pub handler_failures: u64,
    /// Handlers that panicked.
    pub handler_panics: u64,
    /// Handlers that were stopped because they took longer than they may: the handler timeout, or the
    /// deadline of a session's request.
    pub handler_timeouts: u64,
    /// How often each end came, reasons that never did left out.
    pub ends: Vec<(EndReason, u64)>,
    /// WebSockets that are open.
    pub connections: u64,
    /// Sessions with a connection.
    pub sessions_connected: u64,
    /// Sessions without one that may come back.
    pub sessions_away: u64,
    /// Channels, inboxes of sessions left out.
    pub channels: u64,
    /// Bytes that waited to be written when the shards were last asked
    /// ([`Server::refresh_gauges`](crate::Server::refresh_gauges)).
    pub outbox_bytes: u64,
    /// Subscriptions that read on from the log instead of being live, at the same moment.
    pub behind: u64,
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
            closed: AtomicU64::new(0),
            commands: AtomicU64::new(0),
            events_delivered: AtomicU64::new(0),
            messages_sent: AtomicU64::new(0),
            messages_in: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            handler_failures: AtomicU64::new(0),
            handler_panics: AtomicU64::new(0),
            handler_timeouts: AtomicU64::new(0),
            ends: EndReason::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            outbox_bytes: AtomicU64::new(0),
            behind: AtomicU64::new(0),
        }
    }
}

impl Stats {
    /// All that was counted, now.
    pub(crate) fn sum(started_at_ms: u64, shards: &[Stats], keeper: &KeeperStats) -> StatsSnapshot {
        let sum = |counter: fn(&Stats) -> &AtomicU64| {
            shards.iter().map(|stats| counter(stats).load(Ordering::Relaxed)).sum::<u64>()
        };
        let ends_for = |index: usize| {
            let counters = shards.iter().filter_map(|stats| stats.ends.get(index));
            counters.map(|counter| counter.load(Ordering::Relaxed)).sum()
        };
        let ends = EndReason::ALL.iter().enumerate();
        // Before `opened`, or a connection that comes and goes meanwhile would count as minus one.
        let closed = sum(|stats| &stats.closed);
        let opened = sum(|stats| &stats.opened);
        let events_delivered = sum(|stats| &stats.events_delivered);
        StatsSnapshot {
            started_at_ms,
            accepted: sum(|stats| &stats.accepted),
            opened,
            commands: sum(|stats| &stats.commands),
            published: keeper.published.load(Ordering::Relaxed),
            events_delivered,
            messages_in: sum(|stats| &stats.messages_in),
            messages_out: events_delivered + sum(|stats| &stats.messages_sent),
            bytes_in: sum(|stats| &stats.bytes_in),
            bytes_out: sum(|stats| &stats.bytes_out),
            handler_failures: sum(|stats| &stats.handler_failures),
            handler_panics: sum(|stats| &stats.handler_panics),
            handler_timeouts: sum(|stats| &stats.handler_timeouts),
            ends: ends
                .map(|(index, reason)| (*reason, ends_for(index)))
                .filter(|(_, count)| *count > 0)
                .collect(),
            connections: opened.saturating_sub(closed),
            sessions_connected: keeper.connected.load(Ordering::Relaxed),
            sessions_away: keeper.away.load(Ordering::Relaxed),
            channels: keeper.channels.load(Ordering::Relaxed),
            outbox_bytes: sum(|stats| &stats.outbox_bytes),
            behind: sum(|stats| &stats.behind),
        }
    }

    pub(crate) fn count_accepted(&self) {
        add(&self.accepted, 1);
    }

    pub(crate) fn count_opened(&self) {
        add(&self.opened, 1);
    }

    pub(crate) fn count_closed(&self) {
        add(&self.closed, 1);
    }

    pub(crate) fn count_command(&self) {
        add(&self.commands, 1);
    }

    pub(crate) fn count_events_delivered(&self, count: u64) {
        add(&self.events_delivered, count);
    }

    pub(crate) fn count_message_sent(&self) {
        add(&self.messages_sent, 1);
    }

    pub(crate) fn count_read(&self, bytes: usize) {
        add(&self.bytes_in, bytes as u64);
    }

    pub(crate) fn count_messages_in(&self, count: u64) {
        add(&self.messages_in, count);
    }

    pub(crate) fn count_written(&self, bytes: usize) {
        add(&self.bytes_out, bytes as u64);
    }

    pub(crate) fn count_handler_failure(&self) {
        add(&self.handler_failures, 1);
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

    pub(crate) fn set_gauges(&self, outbox_bytes: usize, behind: usize) {
        self.outbox_bytes.store(outbox_bytes as u64, Ordering::Relaxed);
        self.behind.store(behind as u64, Ordering::Relaxed);
    }
}

impl KeeperStats {
    pub(crate) fn count_published(&self, count: usize) {
        add(&self.published, count as u64);
    }

    pub(crate) fn set(&self, counts: Counts) {
        self.connected.store(counts.connected as u64, Ordering::Relaxed);
        self.away.store(counts.away as u64, Ordering::Relaxed);
        self.channels.store(counts.channels as u64, Ordering::Relaxed);
    }
}

/// One thread writes each counter, so this need not be one step, which would cost a locked bus.
fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
}
