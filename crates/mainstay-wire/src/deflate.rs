//! permessage-deflate without context takeover (RFC 7692).
//!
//! Each message is compressed by itself, so one [`Deflater`] and one [`Inflater`] serve all the
//! connections of a thread: a context per connection would cost hundreds of kilobytes.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::Violation;

/// Inflates messages, one at a time, into bounded memory.
pub struct Inflater {
    decompress: Decompress,
    block: Box<[u8]>,
}

impl Default for Inflater {
    fn default() -> Inflater {
        // A window of 2^15 reads what any smaller window wrote.
        Inflater {
            decompress: Decompress::new_with_window_bits(false, WINDOW_BITS_MAX),
            block: vec![0; BLOCK_BYTES].into(),
        }
    }
}

impl Inflater {
    /// Inflates one message. The bound is checked while inflating, so a bomb costs no more memory
    /// than `bytes_max` and one block.
    pub fn inflate(&mut self, payload: &[u8], bytes_max: usize) -> Result<Vec<u8>, Violation> {
        self.decompress.reset(false);
        let mut out = Vec::new();
        self.feed(payload, bytes_max, &mut out)?;
        // RFC 7692 §7.2.2: the sender removed these four octets.
        self.feed(&MESSAGE_TAIL, bytes_max, &mut out)?;
        Ok(out)
    }

    fn feed(
        &mut self,
        mut input: &[u8],
        bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        loop {
            let (consumed, produced) = (self.decompress.total_in(), self.decompress.total_out());
            let status = self
                .decompress
                .decompress(input, &mut self.block, FlushDecompress::None)
                .map_err(|_| Violation::InvalidDeflate)?;
            let consumed = (self.decompress.total_in() - consumed) as usize;
            let produced = (self.decompress.total_out() - produced) as usize;
            if out.len() + produced > bytes_max {
                return Err(Violation::MessageTooBig { bytes_max });
            }
            out.extend_from_slice(self.block.get(..produced).unwrap_or_default());
            input = input.get(consumed..).unwrap_or_default();
            // RFC 7692 §7.2.3.5: a sender may end its stream (BFINAL) inside a message; what follows
            // is a stream of its own.
            if status == Status::StreamEnd {
                self.decompress.reset(false);
            }
            let block_is_full = produced == self.block.len();
            if input.is_empty() && !block_is_full {
                return Ok(());
            }
            if consumed == 0 && produced == 0 {
                return Err(Violation::InvalidDeflate);
            }
        }
    }
}

/// Deflates messages, one at a time, into the window that a connection agreed on.
#[derive(Default)]
pub struct Deflater {
    /// One compressor for each window size in use, made when first needed.
    compress: [Option<Compress>; WINDOW_SIZE_COUNT],
}

impl Deflater {
    /// Deflates one message, leaving out the tail that RFC 7692 §7.2.1 removes.
    ///
    /// # Panics
    /// If `window_bits` is not within 9..=15, which the handshake guarantees.
    pub fn deflate(&mut self, payload: &[u8], window_bits: u8) -> Vec<u8> {
        assert!((WINDOW_BITS_MIN..=WINDOW_BITS_MAX).contains(&window_bits), "negotiated window");
        let slot = &mut self.compress[usize::from(window_bits - WINDOW_BITS_MIN)];
        let compress = slot.get_or_insert_with(|| {
            Compress::new_with_window_bits(Compression::fast(), false, window_bits)
        });
        compress.reset();
        let mut out = Vec::with_capacity(payload.len() / 2 + 64);
        loop {
            let rest = payload.get(compress.total_in() as usize..).unwrap_or_default();
            // Deflate refuses no input and only fails on misuse of its stream.
            let status = compress.compress_vec(rest, &mut out, FlushCompress::Sync);
            assert!(status.is_ok(), "a fresh deflate stream accepts any input");
            let all_in = compress.total_in() as usize == payload.len();
            if all_in && out.len() < out.capacity() {
                break;
            }
            out.reserve(out.capacity().max(BLOCK_BYTES));
        }
        assert!(out.ends_with(&MESSAGE_TAIL), "a sync flush ends in an empty stored block");
        out.truncate(out.len() - MESSAGE_TAIL.len());
        out
    }
}

/// The smallest window that can be agreed on; zlib cannot write one of 2^8.
pub const WINDOW_BITS_MIN: u8 = 9;
/// The largest window of deflate.
pub const WINDOW_BITS_MAX: u8 = 15;
/// Messages below this size are sent as they are: deflate would cost time and save next to nothing.
pub const DEFLATE_BYTES_MIN: usize = 512;

const WINDOW_SIZE_COUNT: usize = (WINDOW_BITS_MAX - WINDOW_BITS_MIN + 1) as usize;
const MESSAGE_TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
/// Bytes inflated between two looks at the limit.
const BLOCK_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_deflated_inflates_in_every_window(
            bytes: Vec<u8>, repeat in 1usize..400, window_bits in WINDOW_BITS_MIN..=WINDOW_BITS_MAX,
        ) {
            let payload = bytes.repeat(repeat);
            let deflated = Deflater::default().deflate(&payload, window_bits);
            let inflated = Inflater::default().inflate(&deflated, payload.len());
            prop_assert_eq!(inflated, Ok(payload));
        }

        #[test]
        fn any_bytes_inflate_within_the_limit_or_fail(bytes: Vec<u8>, bytes_max in 0usize..5000) {
            if let Ok(out) = Inflater::default().inflate(&bytes, bytes_max) {
                prop_assert!(out.len() <= bytes_max);
            }
        }
    }

    #[test]
    fn the_samples_of_the_specification() {
        let mut inflater = Inflater::default();
        // RFC 7692 §7.2.3.1, §7.2.3.3 (no compression) and §7.2.3.4 (BFINAL set).
        let samples: [&[u8]; 3] = [
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
        ];
        for sample in samples {
            assert_eq!(inflater.inflate(sample, 5).as_deref(), Ok(&b"Hello"[..]));
        }
        // §7.2.3.5: two deflate blocks.
        let two = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(inflater.inflate(&two, 5).as_deref(), Ok(&b"Hello"[..]));
    }

    #[test]
    fn a_bomb_is_refused_at_the_limit() {
        let bomb = Deflater::default().deflate(&vec![0; 16 << 20], 15);
        assert!(bomb.len() < (16 << 20) / 100, "the test needs a real bomb");
        let mut inflater = Inflater::default();
        let bytes_max = 64 * 1024;
        assert_eq!(inflater.inflate(&bomb, bytes_max), Err(Violation::MessageTooBig { bytes_max }));
        // The inflater serves the next message as if nothing had been.
        let next = Deflater::default().deflate(b"next", 15);
        assert_eq!(inflater.inflate(&next, 4).as_deref(), Ok(&b"next"[..]));
    }

    #[test]
    fn bytes_that_are_no_deflate_stream_are_refused() {
        let outcome = Inflater::default().inflate(&[0x07, 0xff, 0xff], 100);
        assert_eq!(outcome, Err(Violation::InvalidDeflate));
    }
}
