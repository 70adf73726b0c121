//! A socket is dropped, and it is said why.

use std::time::Instant;

use mainstay_node::{Happening, Note};
use mainstay_wire::{End, EndReason};

use super::Shard;
use super::peer::{Peer, Stage};

impl Shard {
    /// Drops a socket: everything that belonged to it is released, and its end is counted and
    /// logged.
    pub(super) fn end(&mut self, now: Instant, peer: Box<Peer>, end: End) {
        let slot = peer.id.slot();
        self.peers.try_remove(slot);
        self.forget_gauges(&peer);
        let mut received_count = 0;
        match &peer.stage {
            Stage::Opening(_) => self.opening_count -= 1,
            Stage::Open(open) => {
                self.channels.remove(slot);
                self.report_gone(peer.id, open, &end);
                self.stats().count_closed();
                received_count = open.received_count;
            }
            Stage::Refused { .. } if peer.permit.is_none() => self.refused_count -= 1,
            Stage::Refused { .. } => {}
        }
        if end.reason == EndReason::HandshakeRefused {
            let refused = Note::of(Happening::Refused).because(end.reason, &end.detail);
            self.note(refused, peer.id);
        }
        self.stats().count_end(end.reason);
        let lasted = now.saturating_duration_since(peer.since);
        tracing::info!(
            connection = %peer.id,
            peer = %peer.address,
            client = peer.client.map(tracing::field::display),
            reason = end.reason.word(),
            code = end.code,
            detail = end.detail.as_str(),
            lasted_ms = lasted.as_millis() as u64,
            received = received_count,
            "ended"
        );
    }
}
