//! Bytes come in and become messages.

use std::io::{self, Read};
use std::mem;
use std::time::Instant;

use super::Shard;
use super::peer::{Peer, Stage};

impl Shard {
    /// Reads from every peer that has something, each up to a bound, so that one that sends without
    /// end keeps nobody waiting.
    pub(super) fn read_ready(&mut self, now: Instant) {
        for _ in 0..self.ready.len() {
            let Some(slot) = self.ready.pop_front() else { return };
            let Some(mut peer) = self.take_slot(slot) else { continue };
            peer.is_in_ready = false;
            if let Some(mut peer) = self.read_peer(now, peer) {
                self.queue_reading(&mut peer);
                self.settle(now, peer);
            }
        }
    }

    /// Gives the peer back unless its socket was handed on.
    fn read_peer(&mut self, now: Instant, mut peer: Box<Peer>) -> Option<Box<Peer>> {
        match &peer.stage {
            Stage::Opening(_) => return self.read_opening(now, peer),
            Stage::Open(_) => self.read_open(now, &mut peer),
            Stage::Refused { .. } => self.read_refused(&mut peer),
        }
        Some(peer)
    }

    fn read_open(&mut self, now: Instant, peer: &mut Peer) {
        let mut scratch = mem::take(&mut self.scratch);
        for _ in 0..READ_COUNT_MAX {
            let Stage::Open(open) = &mut peer.stage else { break };
            if open.is_paused {
                break;
            }
            if !open.unread.is_empty() {
                let mut unread = mem::take(&mut open.unread);
                self.feed(now, peer, &mut unread);
                continue;
            }
            if !peer.is_readable {
                break;
            }
            match peer.stream.read(&mut scratch) {
                Ok(0) => {
                    peer.is_readable = false;
                    match peer.write_error.take() {
                        Some(error) => open.connection.handle_io_error(now, &error),
                        None => open.connection.handle_eof(now),
                    }
                }
                Ok(count) => {
                    // A short read of a stream that has not ended has taken all there is.
                    peer.is_readable =
                        count == scratch.len() || peer.is_read_closed || peer.write_error.is_some();
                    self.stats().count_read(count);
                    if let Some(bytes) = scratch.get_mut(..count) {
                        self.feed(now, peer, bytes);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    peer.is_readable = false;
                    if let Some(error) = peer.write_error.take() {
                        open.connection.handle_io_error(now, &error);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    peer.is_readable = false;
                    open.connection.handle_io_error(now, &error);
                }
            }
        }
        self.scratch = scratch;
    }

    /// Takes the messages out of what was read. If one of them cannot be taken on, the rest is
    /// kept and reading pauses: the peer is slowed down by TCP.
    fn feed(&mut self, now: Instant, peer: &mut Peer, bytes: &mut [u8]) {
        let mut input = bytes;
        let Stage::Open(open) = &mut peer.stage else { return };
        let received_before = open.received_count;
        loop {
            let is_held = open.session.is_some() && self.is_desk_full;
            if is_held || !open.may_take(self.shared.config.command_queue_count_max) {
                if is_held {
                    self.held.push(peer.id.slot());
                }
                open.is_paused = true;
                open.connection.pause_reading();
                open.unread = input.to_vec();
                break;
            }
            let message = open.connection.receive(now, &mut input, &mut self.inflater);
            let Some(message) = message else { break };
            open.received_count += 1;
            self.handle_message(now, peer.id, open, message);
        }
        self.stats().count_messages_in(open.received_count - received_before);
    }

    /// Ends a pause whose cause is gone.
    pub(super) fn resume_reading(&mut self, peer: &mut Peer) {
        let Stage::Open(open) = &mut peer.stage else { return };
        let is_held = open.session.is_some() && self.is_desk_full;
        if open.is_paused && !is_held && open.may_take(self.shared.config.command_queue_count_max) {
            open.is_paused = false;
            open.connection.resume_reading();
            self.queue_reading(peer);
        }
    }

    /// Has the peer read (again) in the next turn if there may be something.
    pub(super) fn queue_reading(&mut self, peer: &mut Peer) {
        let has_more = match &peer.stage {
            Stage::Open(open) => !open.is_paused && (peer.is_readable || !open.unread.is_empty()),
            Stage::Opening(_) | Stage::Refused { .. } => peer.is_readable && !peer.is_finished,
        };
        if has_more && !peer.is_in_ready {
            peer.is_in_ready = true;
            self.ready.push_back(peer.id.slot());
        }
    }

    fn read_refused(&mut self, peer: &mut Peer) {
        match peer.stream.read(&mut self.scratch) {
            Ok(count) if count > 0 => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => peer.is_readable = false,
            Ok(_) | Err(_) => peer.is_finished = true,
        }
    }
}

/// Reads of one peer in one turn.
const READ_COUNT_MAX: usize = 4;
