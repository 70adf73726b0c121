//! Shutting down so that nobody notices more than necessary.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use mainstay_wire::{End, EndReason};

use super::Shard;
use super::accept::REFUSED_LINGER;
use super::peer::{Open, Stage};
use crate::ConnectionId;

/// Connections are asked to leave in batches, so that they do not all come back somewhere else at
/// the same moment.
pub(super) struct Drain {
    remaining: VecDeque<ConnectionId>,
    batch_count: usize,
    next_batch_at: Instant,
    /// When whoever is left is dropped.
    deadline: Instant,
}

impl Drain {
    pub(super) fn next_timeout(&self) -> Instant {
        if self.remaining.is_empty() { self.deadline } else { self.next_batch_at }
    }
}

impl Shard {
    /// Stops accepting, sends handshakes away, and starts asking connections to leave.
    pub(super) fn begin_drain(&mut self, now: Instant) {
        if self.drain.is_some() {
            return;
        }
        self.listeners.clear();
        let ids: Vec<ConnectionId> =
            self.peers.iter().filter_map(|(_, peer)| peer.as_ref().map(|peer| peer.id)).collect();
        let mut remaining = VecDeque::new();
        for id in ids {
            let Some(mut peer) = self.take_peer(id) else { continue };
            match peer.stage {
                Stage::Open(_) => remaining.push_back(id),
                Stage::Opening(_) => {
                    self.opening_count -= 1;
                    peer.answer_and_shut(SHUTTING_DOWN.as_bytes());
                    peer.end = Some(End::new(EndReason::Drain, "during the opening handshake"));
                    peer.stage = Stage::Refused { deadline: now + REFUSED_LINGER };
                }
                Stage::Refused { .. } => {}
            }
            self.settle(now, peer);
        }
        let config = &self.shared.config;
        let batches = (config.drain_window.as_secs_f64() / BATCH_INTERVAL.as_secs_f64()).max(1.0);
        let batch_count = (remaining.len() as f64 / batches).ceil() as usize;
        self.drain = Some(Drain {
            remaining,
            batch_count: batch_count.max(BATCH_COUNT_MIN),
            next_batch_at: now,
            deadline: now + config.drain_timeout,
        });
        self.go_on_draining(now);
    }

    /// Asks the next batch to leave, if it is time.
    pub(super) fn go_on_draining(&mut self, now: Instant) {
        let Some(drain) = &mut self.drain else { return };
        if drain.remaining.is_empty() || now < drain.next_batch_at {
            return;
        }
        drain.next_batch_at = now + BATCH_INTERVAL;
        let count = drain.batch_count.min(drain.remaining.len());
        let batch: Vec<ConnectionId> = drain.remaining.drain(..count).collect();
        for id in batch {
            let Some(mut peer) = self.take_peer(id) else { continue };
            if let Stage::Open(open) = &mut peer.stage {
                open.is_draining = true;
                // What runs is answered first.
                if open.running.is_none() {
                    self.close_for_drain(now, open);
                }
            }
            self.settle(now, peer);
        }
    }

    pub(super) fn close_for_drain(&self, now: Instant, open: &mut Open) {
        let window = self.shared.config.drain_window.as_secs_f64();
        let detail = format!("the server is shutting down; reconnect within {window} s");
        open.connection.close(now, EndReason::Drain, &detail);
    }

    /// Whether the shard's thread may end.
    pub(super) fn is_done(&self) -> bool {
        if self.is_stopped {
            return true;
        }
        let Some(drain) = &self.drain else { return false };
        // What a session's handler comes to is stored even if its connection is gone.
        let is_empty = self.peers.is_empty() && self.http_count == 0 && self.handlers.is_empty();
        is_empty || Instant::now() >= drain.deadline
    }

    /// Ends whoever is still there without another word.
    pub(super) fn drop_all(&mut self) {
        let now = Instant::now();
        let peers: Vec<_> = self.peers.iter_mut().filter_map(|(_, peer)| peer.take()).collect();
        for peer in peers {
            let end = End { code: None, ..End::new(EndReason::Drain, "dropped at the deadline") };
            self.end(now, peer, end);
        }
    }
}

/// Time between two batches.
const BATCH_INTERVAL: Duration = Duration::from_millis(50);
/// The smallest batch of a shard: a thousand connections a second are no storm.
const BATCH_COUNT_MIN: usize = 50;

const SHUTTING_DOWN: &str = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n\
    Connection: close\r\nContent-Type: text/plain\r\nContent-Length: 28\r\n\r\n\
    The server is shutting down.";
