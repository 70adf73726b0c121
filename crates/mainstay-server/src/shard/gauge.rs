//! How much a shard holds, and who is slow: looked at once a second.

use std::time::Instant;

use mainstay_node::{Input, Note, Pace};

use super::Shard;
use super::peer::{Peer, Stage};
use super::session::Lag;
use crate::ConnectionId;

impl Shard {
    /// Writes the gauges down, and notes who has been behind since the last time.
    pub(super) fn gauge(&mut self) {
        let waiting = |slot: &usize| match self.peers.get(*slot) {
            Some(Some(peer)) => peer.outbox_bytes(),
            _ => 0,
        };
        let blocked: usize = self.blocked.iter().map(waiting).sum();
        let dirty = self.dirty.iter().filter(|slot| !self.blocked.contains(slot));
        let outbox_bytes = blocked + dirty.map(waiting).sum::<usize>();
        self.stats().set_gauges(outbox_bytes, self.channels.behind_count());
        for &slot in &self.behind {
            let Some(Some(peer)) = self.peers.get_mut(slot) else { continue };
            let Stage::Open(open) = &mut peer.stage else { continue };
            let Some(session) = &mut open.session else { continue };
            match session.lag {
                Lag::None | Lag::Noted => {}
                Lag::New => session.lag = Lag::Seen,
                Lag::Seen => {
                    session.lag = Lag::Noted;
                    let connection = peer.id.into();
                    self.inputs.push(Input::Pace { connection, pace: Pace::Behind });
                }
            }
        }
    }

    /// Remembers whether a peer's socket has taken everything.
    pub(super) fn note_blocked(&mut self, peer: &mut Peer) {
        let is_blocked = peer.has_unsent();
        if is_blocked != peer.is_blocked {
            peer.is_blocked = is_blocked;
            let slot = peer.id.slot();
            let _ = if is_blocked { self.blocked.insert(slot) } else { self.blocked.remove(&slot) };
        }
    }

    /// A peer is gone.
    pub(super) fn forget_gauges(&mut self, peer: &Peer) {
        let slot = peer.id.slot();
        if peer.is_blocked {
            self.blocked.remove(&slot);
        }
        if let Stage::Open(open) = &peer.stage
            && open.session.as_ref().is_some_and(|session| session.lag != Lag::None)
        {
            self.behind.remove(&slot);
        }
    }

    /// Notes what happened to a connection that has no session.
    pub(super) fn note(&self, note: Note, id: ConnectionId) {
        let at_ms = self.shared.clock.now_ms(Instant::now());
        self.shared.journal.note(at_ms, Note { connection: Some(id.into()), ..note });
    }
}
