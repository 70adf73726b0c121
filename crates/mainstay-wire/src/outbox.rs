//! What waits to be written on one connection.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem;

use bytes::Bytes;

use crate::frame::{Compression, Opcode, encode_frame};

/// Encoded frames in the order in which they go out.
///
/// A frame of this connection's own is appended to a growing tail, so that many small replies leave
/// in one write; a frame shared with other connections is queued by reference. Pongs pass
/// everything that has not begun to be written. Only [`PONG_COUNT_MAX`] of them wait, then the newest
/// replaces the one before it: a peer that pings without reading cannot make the outbox grow
/// (RFC 6455 §5.5.3 allows it).
#[derive(Debug, Default)]
pub struct Outbox {
    /// Shared frames that came when nothing waited, before all others: whoever keeps up with a
    /// fan-out has no need of a queue, and so of no memory but this.
    front: Option<Bytes>,
    queue: VecDeque<Chunk>,
    tail: Vec<u8>,
    /// Bytes of the first chunk that are already written.
    written: usize,
    /// Bytes of all that waits.
    bytes: usize,
    /// Pongs that wait whole, one after the other: at the front of the queue, or behind the one
    /// chunk that is partly written.
    pong_count: usize,
}

#[derive(Debug)]
enum Chunk {
    Shared(Bytes),
    Owned(Vec<u8>),
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Chunk::Shared(bytes) => bytes,
            Chunk::Owned(bytes) => bytes,
        }
    }
}

impl Outbox {
    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Queues whole frames that other connections send as well.
    pub fn push_shared(&mut self, frames: Bytes) {
        if frames.is_empty() {
            // Every chunk of the queue has something to write.
            return;
        }
        if self.bytes == 0 {
            self.bytes = frames.len();
            self.front = Some(frames);
            return;
        }
        self.close_tail();
        self.bytes += frames.len();
        self.queue.push_back(Chunk::Shared(frames));
    }

    /// Queues one frame of this connection's own.
    pub fn push_frame(
        &mut self,
        opcode: Opcode,
        compression: Compression,
        mask: Option<[u8; 4]>,
        payload: &[u8],
    ) {
        let before = self.tail.len();
        encode_frame(opcode, compression, mask, payload, &mut self.tail);
        self.bytes += self.tail.len() - before;
    }

    /// Queues a pong before everything that has not begun to be written, pongs apart. Past
    /// [`PONG_COUNT_MAX`] it takes the place of the newest that still waits.
    pub fn push_pong(&mut self, mask: Option<[u8; 4]>, payload: &[u8]) {
        let mut pong = Vec::with_capacity(payload.len() + 6);
        encode_frame(Opcode::Pong, Compression::Plain, mask, payload, &mut pong);
        self.bytes += pong.len();
        self.queue_front();
        // A chunk that is partly on the wire must be finished first.
        let first = usize::from(self.written > 0);
        if first == 1 && self.queue.is_empty() {
            self.close_tail();
        }
        let next = first + self.pong_count;
        if self.pong_count < PONG_COUNT_MAX {
            self.queue.insert(next, Chunk::Owned(pong));
            self.pong_count += 1;
        } else if let Some(newest) = self.queue.get_mut(next - 1) {
            self.bytes -= newest.bytes().len();
            *newest = Chunk::Owned(pong);
        }
    }

    /// Forgets everything that has not begun to be written, to make room for a last Close frame.
    pub fn clear_unsent(&mut self) {
        self.queue_front();
        self.close_tail();
        self.queue.truncate(usize::from(self.written > 0));
        self.pong_count = 0;
        self.bytes = self.queue.front().map_or(0, |chunk| chunk.bytes().len() - self.written);
    }

    /// What waits, if it lies in one piece, as it mostly does.
    pub fn only_slice(&self) -> Option<&[u8]> {
        let first = match (&self.front, self.queue.front()) {
            (Some(front), _) => front,
            (None, Some(chunk)) => chunk.bytes(),
            (None, None) => &self.tail,
        };
        let rest = first.get(self.written..)?;
        (rest.len() == self.bytes).then_some(rest)
    }

    /// Fills `slices` with what to write next and gives their number.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICE_COUNT_MAX]) -> usize {
        let queue = self.queue.iter().map(Chunk::bytes);
        let chunks = self.front.as_deref().into_iter().chain(queue).chain([self.tail.as_slice()]);
        let mut skip = self.written;
        let mut count = 0;
        for (slot, chunk) in slices.iter_mut().zip(chunks) {
            let rest = chunk.get(skip..).unwrap_or_default();
            skip = 0;
            if !rest.is_empty() {
                *slot = IoSlice::new(rest);
                count += 1;
            }
        }
        count
    }

    /// Takes `count` written bytes off the front.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.bytes, "no more can be written than waits");
        self.bytes -= count;
        let Some(front) = &self.front else { return self.advance_queue(count) };
        let unwritten = front.len() - self.written;
        if count < unwritten {
            self.written += count;
            return;
        }
        self.front = None;
        self.written = 0;
        if count > unwritten {
            self.advance_queue(count - unwritten);
        }
    }

    fn advance_queue(&mut self, count: usize) {
        // Whether the first chunk is one of the pongs that wait whole.
        let mut front_is_pong = self.pong_count > 0 && self.written == 0;
        self.written += count;
        while let Some(front) = self.queue.front() {
            if front_is_pong && self.written > 0 {
                // It has begun to be written and can no longer be replaced.
                self.pong_count -= 1;
            }
            let length = front.bytes().len();
            if self.written < length {
                break;
            }
            self.written -= length;
            self.queue.pop_front();
            front_is_pong = self.pong_count > 0;
        }
        // A connection that is never quite drained must not keep what it has long written.
        if self.queue.is_empty() && (self.bytes == 0 || self.written >= WRITTEN_BYTES_MAX) {
            self.tail.drain(..self.written);
            self.written = 0;
        }
    }

    /// Gives the outbox a buffer to grow into, if it has none.
    pub fn lend_buffer(&mut self, spare: &mut Vec<Vec<u8>>) {
        if self.tail.capacity() == 0
            && let Some(buffer) = spare.pop()
        {
            self.tail = buffer;
        }
    }

    /// Takes an empty outbox's memory back, so that an idle connection owns none.
    pub fn reclaim_buffer(&mut self) -> Option<Vec<u8>> {
        if !self.is_empty() {
            return None;
        }
        if self.queue.capacity() > 0 {
            self.queue = VecDeque::new();
        }
        let buffer = mem::take(&mut self.tail);
        (buffer.capacity() > 0).then_some(buffer)
    }

    /// Whether it holds memory that [`reclaim_buffer`](Outbox::reclaim_buffer) would free.
    pub fn owns_memory(&self) -> bool {
        self.queue.capacity() > 0 || self.tail.capacity() > 0
    }

    /// Makes the front a chunk like the others.
    fn queue_front(&mut self) {
        if let Some(front) = self.front.take() {
            self.queue.push_front(Chunk::Shared(front));
        }
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.queue.push_back(Chunk::Owned(mem::take(&mut self.tail)));
        }
    }
}

/// Slices of one vectored write.
pub const SLICE_COUNT_MAX: usize = 64;
/// Pongs that wait at once: more than an honest burst of pings, which conformance suites send and
/// expect to see answered one by one, and less than two kilobytes.
pub const PONG_COUNT_MAX: usize = 16;
/// Written bytes that may stay at the front of the tail: moving the rest costs a copy.
const WRITTEN_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Writes up to `count` bytes the way a socket would and gives them.
    fn write(outbox: &mut Outbox, count: usize) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); SLICE_COUNT_MAX];
        let used = outbox.slices(&mut slices);
        let mut out: Vec<u8> = slices[..used].iter().flat_map(|s| s.to_vec()).collect();
        match outbox.only_slice() {
            Some(only) => assert_eq!(only, out),
            None => assert!(used > 1),
        }
        out.truncate(count);
        outbox.advance(out.len());
        out
    }

    fn text(payload: &str) -> Vec<u8> {
        let mut out = Vec::new();
        encode_frame(Opcode::Text, Compression::Plain, None, payload.as_bytes(), &mut out);
        out
    }

    fn push_text(outbox: &mut Outbox, payload: &str) {
        outbox.push_frame(Opcode::Text, Compression::Plain, None, payload.as_bytes());
    }

    #[test]
    fn own_and_shared_frames_leave_in_order() {
        let mut outbox = Outbox::default();
        push_text(&mut outbox, "a");
        outbox.push_shared(text("b").into());
        push_text(&mut outbox, "c");
        assert_eq!(outbox.bytes(), 9);
        assert_eq!(write(&mut outbox, 100), [text("a"), text("b"), text("c")].concat());
        assert!(outbox.is_empty());
    }

    #[test]
    fn nothing_is_no_chunk() {
        let mut outbox = Outbox::default();
        outbox.push_shared(Bytes::new());
        push_text(&mut outbox, "a");
        assert_eq!(write(&mut outbox, 100), text("a"));
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_pong_passes_what_waits_but_not_what_has_begun() {
        let mut outbox = Outbox::default();
        push_text(&mut outbox, "first");
        assert_eq!(write(&mut outbox, 3), &text("first")[..3]);
        push_text(&mut outbox, "second");
        outbox.push_shared(text("third").into());
        outbox.push_pong(None, b"1");
        outbox.push_pong(None, b"2");
        // "second" was joined to what has begun.
        let mut expected = text("first")[3..].to_vec();
        expected.extend(text("second"));
        expected.extend([0x8a, 1, b'1', 0x8a, 1, b'2']);
        expected.extend(text("third"));
        assert_eq!(write(&mut outbox, 100), expected);
    }

    #[test]
    fn a_million_pings_leave_a_few_pongs_of_which_the_last_is_the_newest() {
        let mut outbox = Outbox::default();
        push_text(&mut outbox, "stuck");
        write(&mut outbox, 1);
        for count in 0..1_000_000u32 {
            outbox.push_pong(None, &count.to_be_bytes());
        }
        assert_eq!(outbox.bytes(), text("stuck").len() - 1 + 6 * PONG_COUNT_MAX);
        assert!(write(&mut outbox, 1000).ends_with(&999_999u32.to_be_bytes()));
        assert_eq!(outbox.pong_count, 0);
    }

    #[test]
    fn pongs_leave_in_order_however_they_are_cut() {
        for size in 1..20 {
            let mut outbox = Outbox::default();
            let mut sent = Vec::new();
            for count in 0..40u8 {
                push_text(&mut outbox, "data");
                outbox.push_pong(None, &[count]);
                sent.extend(write(&mut outbox, size));
            }
            while !outbox.is_empty() {
                sent.extend(write(&mut outbox, size));
            }
            let mut last = None;
            let mut rest = sent.as_slice();
            while let Some(head) = rest.first_chunk::<2>() {
                let (frame, after) = rest.split_at(2 + usize::from(head[1]));
                rest = after;
                if frame[0] == 0x8a {
                    assert!(last < Some(frame[2]), "{last:?} before {}", frame[2]);
                    last = Some(frame[2]);
                }
            }
            assert_eq!(last, Some(39), "the newest ping is answered");
        }
    }

    #[test]
    fn clearing_keeps_only_the_chunk_that_has_begun() {
        let mut outbox = Outbox::default();
        outbox.push_shared(text("begun").into());
        outbox.push_shared(text("waits").into());
        write(&mut outbox, 2);
        outbox.push_pong(None, b"");
        outbox.clear_unsent();
        assert_eq!(outbox.bytes(), text("begun").len() - 2);
        push_text(&mut outbox, "last");
        let expected = [&text("begun")[2..], &text("last")].concat();
        assert_eq!(write(&mut outbox, 100), expected);
    }

    #[test]
    fn an_outbox_that_is_never_quite_drained_does_not_grow() {
        let mut outbox = Outbox::default();
        push_text(&mut outbox, "x");
        for _ in 0..100_000 {
            push_text(&mut outbox, "sixteen bytes ok");
            write(&mut outbox, 18);
        }
        assert!(outbox.tail.capacity() < 4 * WRITTEN_BYTES_MAX);
    }

    #[test]
    fn shared_frames_alone_take_no_memory() {
        let mut outbox = Outbox::default();
        for _ in 0..3 {
            outbox.push_shared(text("shared").into());
            assert!(!outbox.owns_memory());
            write(&mut outbox, 3);
            write(&mut outbox, 100);
            assert!(outbox.is_empty());
        }
    }

    #[test]
    fn an_empty_outbox_owns_no_memory() {
        let mut outbox = Outbox::default();
        push_text(&mut outbox, "a");
        assert!(outbox.reclaim_buffer().is_none(), "what waits is kept");
        write(&mut outbox, 100);
        let mut spare: Vec<_> = outbox.reclaim_buffer().into_iter().collect();
        assert_eq!((outbox.tail.capacity(), outbox.queue.capacity()), (0, 0));
        outbox.lend_buffer(&mut spare);
        assert!(outbox.tail.capacity() > 0 && spare.is_empty());
    }

    proptest! {
        #[test]
        fn every_frame_leaves_whole_and_once(steps in prop::collection::vec((0u8..4, 1usize..40), 1..80)) {
            let mut outbox = Outbox::default();
            let (mut sent, mut pushed, mut number) = (Vec::new(), 0usize, 0u32);
            for (step, size) in steps {
                number += 1;
                match step {
                    0 => push_text(&mut outbox, &format!("{number:<size$}")),
                    1 => outbox.push_shared(text(&format!("{number:<size$}")).into()),
                    2 => outbox.push_pong(None, b"p"),
                    _ => sent.extend(write(&mut outbox, size)),
                }
                pushed += usize::from(step < 2);
            }
            while !outbox.is_empty() {
                sent.extend(write(&mut outbox, 1000));
            }
            let (mut rest, mut last, mut count) = (sent.as_slice(), 0, 0);
            while !rest.is_empty() {
                let (frame, after) = rest.split_at(2 + usize::from(rest[1]));
                rest = after;
                if frame[0] == 0x81 {
                    let text = std::str::from_utf8(&frame[2..]).expect("text");
                    let number: u32 = text.trim().parse().expect("a number");
                    prop_assert!(number > last, "{number} after {last}");
                    (last, count) = (number, count + 1);
                } else {
                    prop_assert_eq!(frame, &[0x8a, 1, b'p'][..]);
                }
            }
            prop_assert_eq!(count, pushed);
        }
    }
}
