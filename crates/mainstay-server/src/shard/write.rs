//! Outboxes are flushed, each dirty one once per turn.

use std::io::{self, IoSlice, Write};
use std::time::Instant;

use mainstay_wire::{Outbox, SLICE_COUNT_MAX};
use mio::net::TcpStream;

use super::Shard;
use super::peer::{Peer, Stage};
use super::session::Lag;

impl Shard {
    /// Writes what has gathered. A long fan-out is spread over several turns, so that reading goes
    /// on in between.
    pub(super) fn flush_dirty(&mut self, now: Instant) {
        let mut written = 0;
        for _ in 0..self.dirty.len().min(FLUSH_COUNT_MAX) {
            let Some(slot) = self.dirty.pop_front() else { break };
            let Some(Some(peer)) = self.peers.get_mut(slot) else { continue };
            peer.is_in_dirty = false;
            written += peer.flush(now);
            if peer.is_at_rest() {
                continue;
            }
            let Some(mut peer) = self.take_slot(slot) else { continue };
            self.note_blocked(&mut peer);
            self.queue_reading(&mut peer);
            self.settle(now, peer);
        }
        if written > 0 {
            self.stats().count_written(written);
        }
    }

    /// Takes the memory of an empty outbox, for the next one that needs some.
    pub(super) fn reclaim_buffer(&mut self, peer: &mut Peer) {
        let Stage::Open(open) = &mut peer.stage else { return };
        if let Some(buffer) = open.connection.outbox_mut().reclaim_buffer()
            && self.spare_buffers.len() < SPARE_COUNT_MAX
            && buffer.capacity() <= SPARE_BYTES_MAX
        {
            self.spare_buffers.push(buffer);
        }
    }
}

impl Peer {
    /// Writes until the outbox is empty or the socket takes no more. Gives how many bytes it took.
    fn flush(&mut self, now: Instant) -> usize {
        let mut total = 0;
        let Stage::Open(open) = &mut self.stage else { return total };
        while !open.connection.outbox().is_empty() && self.is_writable {
            match write_once(&self.stream, open.connection.outbox()) {
                Ok(count) => {
                    total += count;
                    open.connection.handle_written(now, count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_writable = false;
                    open.connection.handle_written(now, 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if open.is_paused => {
                    self.is_writable = false;
                    open.connection.handle_io_error(now, &error);
                }
                Err(error) => {
                    self.is_writable = false;
                    self.is_readable = true;
                    self.write_error = Some(error);
                }
            }
        }
        total
    }

    /// Whether nothing is left to be done for this one, so that it need not be settled: a write that
    /// left nothing behind has made no deadline earlier.
    fn is_at_rest(&self) -> bool {
        let Stage::Open(open) = &self.stage else { return false };
        let outbox = open.connection.outbox();
        let is_written = outbox.is_empty() && !outbox.owns_memory() && !self.is_blocked;
        let is_read = !self.is_readable && open.unread.is_empty() && !open.is_paused;
        let is_live = open.session.as_ref().is_none_or(|session| session.lag == Lag::None);
        is_written && is_read && is_live && open.connection.is_open()
    }
}

fn write_once(mut stream: &TcpStream, outbox: &Outbox) -> io::Result<usize> {
    if let Some(slice) = outbox.only_slice() {
        return stream.write(slice);
    }
    let mut slices = [IoSlice::new(&[]); SLICE_COUNT_MAX];
    let count = outbox.slices(&mut slices);
    stream.write_vectored(slices.get(..count).unwrap_or_default())
}

/// Outboxes flushed in one turn: some milliseconds' worth of writing.
const FLUSH_COUNT_MAX: usize = 256;
/// Buffers kept for outboxes to come.
const SPARE_COUNT_MAX: usize = 64;
/// A buffer that one large message has grown beyond this is given back to the system.
const SPARE_BYTES_MAX: usize = 256 * 1024;
