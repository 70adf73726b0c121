//! Events counted in the bytes of one connection as they come.

use mainstay_peers::event::count_events;

/// Knows where the payloads are, and no more: a marker in the head of a frame, where 126 says that a
/// length follows, is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counter {
    head: [u8; HEAD_BYTES_MAX],
    head_len: u8,
    /// Payload of the current frame that is still to come.
    left: u64,
}

impl Counter {
    /// The events in `input`. Frames that are too small for one, which are seldom, go to `small` as
    /// their first byte and their payload, unless two reads cut them.
    pub fn count(&mut self, mut input: &[u8], mut small: impl FnMut(u8, &[u8])) -> usize {
        let mut count = 0;
        while let Some((byte, rest)) = input.split_first() {
            if self.left > 0 {
                let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
                let (piece, rest) = input.split_at(here);
                count += count_events(piece);
                self.left -= here as u64;
                input = rest;
                continue;
            }
            if let Some(place) = self.head.get_mut(usize::from(self.head_len)) {
                *place = *byte;
                self.head_len += 1;
            }
            input = rest;
            if let Some(payload_bytes) = self.payload_bytes() {
                (self.left, self.head_len) = (payload_bytes, 0);
                if let Some(payload) = input.get(..payload_bytes as usize)
                    && payload.len() <= SMALL_BYTES_MAX
                {
                    small(self.head[0], payload);
                }
            }
        }
        count
    }

    /// What the head announces (RFC 6455 §5.2), once it is complete. Servers do not mask.
    fn payload_bytes(&self) -> Option<u64> {
        let [_, short, long @ ..] = &self.head;
        match (self.head_len, *short) {
            (2, 0..126) => Some(u64::from(*short)),
            (4, 126) => Some(u64::from(u16::from_be_bytes([long[0], long[1]]))),
            (10, 127) => Some(u64::from_be_bytes(*long)),
            _ => None,
        }
    }
}

const HEAD_BYTES_MAX: usize = 10;
/// The longest payload whose length stands in the second byte, which is shorter than an event.
const SMALL_BYTES_MAX: usize = 125;

#[cfg(test)]
mod tests {
    use mainstay_peers::event::event;
    use mainstay_wire::frame::{Compression, Opcode, encode_frame};

    use super::*;

    #[test]
    fn events_are_counted_however_frames_hold_them_and_reads_cut_them() {
        let mut stream = Vec::new();
        let mut frame = |payload: &str| {
            encode_frame(Opcode::Text, Compression::Plain, None, payload.as_bytes(), &mut stream);
        };
        // Lengths of one, two and eight bytes; 126 in each of their places.
        for text in ["", "x", &event(), &event().repeat(1000), &"x".repeat(126 * 257), "2"] {
            frame(text);
        }
        for cut in 1..=300 {
            let (mut counter, mut count) = (Counter::default(), 0);
            for piece in stream.chunks(cut) {
                count += counter.count(piece, |_, _| {});
            }
            assert_eq!(count, 1001, "pieces of {cut}");
        }
        let mut small = Vec::new();
        Counter::default().count(&stream, |first, payload| small.push((first, payload.to_vec())));
        assert_eq!(small, [(0x81, vec![]), (0x81, b"x".to_vec()), (0x81, b"2".to_vec())]);
    }
}
