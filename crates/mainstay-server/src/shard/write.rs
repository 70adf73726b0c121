//! Outboxes are flushed, each dirty one once per turn.

use std::io::{self, IoSlice, Write};
use std::time::Instant;

use mainstay_wire::SLICE_COUNT_MAX;

use super::Shard;
use super::peer::{Peer, Stage};

impl Shard {
    /// Writes what has gathered. A long fan-out is spread over several turns, so that reading goes
    /// on in between.
    pub(super) fn flush_dirty(&mut self, now: Instant) {
        let mut written = 0;
        for _ in 0..self.dirty.len().min(FLUSH_COUNT_MAX) {
            let Some(slot) = self.dirty.pop_front() else { break };
            let Some(mut peer) = self.take_slot(slot) else { continue };
            peer.is_in_dirty = false;
            written += peer.flush(now);
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
            let mut slices = [IoSlice::new(&[]); SLICE_COUNT_MAX];
            let count = open.connection.outbox().slices(&mut slices);
            let written = match slices.get(..count) {
                Some([slice]) => (&self.stream).write(slice),
                Some(slices) => (&self.stream).write_vectored(slices),
                None => return total,
            };
            match written {
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
}

/// Outboxes flushed in one turn: some milliseconds' worth of writing.
const FLUSH_COUNT_MAX: usize = 256;
/// Buffers kept for outboxes to come.
const SPARE_COUNT_MAX: usize = 64;
/// A buffer that one large message has grown beyond this is given back to the system.
const SPARE_BYTES_MAX: usize = 256 * 1024;
