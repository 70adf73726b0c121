//! One frame: its head and its bytes (RFC 6455 §5.2).

use bytes::Bytes;

use crate::mask::apply_mask;
use crate::{Role, Violation};

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// A further fragment of the message before it.
    Continuation = 0x0,
    /// UTF-8 text.
    Text = 0x1,
    /// Bytes.
    Binary = 0x2,
    /// The closing handshake.
    Close = 0x8,
    /// A question whether the peer lives.
    Ping = 0x9,
    /// Its answer.
    Pong = 0xa,
}

impl Opcode {
    /// Whether frames of this kind may stand between the fragments of a message.
    pub fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }

    fn from_bits(bits: u8) -> Result<Opcode, Violation> {
        Ok(match bits {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xa => Opcode::Pong,
            reserved => return Err(Violation::ReservedOpcode(reserved)),
        })
    }
}

/// A message's first frame says whether the message is compressed (RFC 7692 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As it is.
    Plain,
    /// Compressed by permessage-deflate.
    Deflate,
}

/// The head of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// Whether this is the message's last frame.
    pub fin: bool,
    /// RSV1, which permessage-deflate uses.
    pub compression: Compression,
    /// What the frame carries.
    pub opcode: Opcode,
    /// The masking key, on a client's frames.
    pub mask: Option<[u8; 4]>,
    /// Length of the payload in bytes, below 2^63.
    pub payload_bytes: u64,
}

impl FrameHead {
    /// Reads the head of a frame sent by `sender`; `None` while bytes are missing. Gives the head
    /// and its own length.
    ///
    /// Each rule is checked on the first byte that can break it, so that a peer which drips a bad
    /// head is refused at once. `compression` says what the handshake agreed on.
    #[inline]
    pub fn parse(
        input: &[u8],
        sender: Role,
        compression: Compression,
    ) -> Result<Option<(FrameHead, usize)>, Violation> {
        let Some(&first) = input.first() else { return Ok(None) };
        let fin = first & 0x80 != 0;
        let opcode = Opcode::from_bits(first & 0x0f)?;
        let compressed = first & 0x40 != 0;
        // RFC 6455 §5.2: a reserved bit without an extension that defines it fails the connection.
        // RFC 7692 §6.1: RSV1 belongs to a message's first frame only.
        let may_compress =
            compression == Compression::Deflate && matches!(opcode, Opcode::Text | Opcode::Binary);
        if first & 0x30 != 0 || (compressed && !may_compress) {
            return Err(Violation::ReservedBit);
        }
        if opcode.is_control() && !fin {
            return Err(Violation::ControlFragmented);
        }

        let Some(&second) = input.get(1) else { return Ok(None) };
        let masked = second & 0x80 != 0;
        match sender {
            Role::Client if !masked => return Err(Violation::Unmasked),
            Role::Server if masked => return Err(Violation::Masked),
            _ => {}
        }
        let short = second & 0x7f;
        if opcode.is_control() && short > 125 {
            return Err(Violation::ControlTooLong);
        }
        let Some((payload_bytes, length_end)) = parse_length(input, short)? else {
            return Ok(None);
        };
        let (mask, head_bytes) = if masked {
            let Some(key) = input.get(length_end..).and_then(|rest| rest.first_chunk::<4>()) else {
                return Ok(None);
            };
            (Some(*key), length_end + 4)
        } else {
            (None, length_end)
        };
        let compression = if compressed { Compression::Deflate } else { Compression::Plain };
        Ok(Some((FrameHead { fin, compression, opcode, mask, payload_bytes }, head_bytes)))
    }

    /// Appends the head's bytes to `out`.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut first = self.opcode as u8;
        if self.fin {
            first |= 0x80;
        }
        if self.compression == Compression::Deflate {
            first |= 0x40;
        }
        let mask_bit = if self.mask.is_some() { 0x80 } else { 0 };
        match self.payload_bytes {
            length @ 0..=125 => out.extend_from_slice(&[first, mask_bit | length as u8]),
            length @ 126..=0xffff => {
                let [high, low] = (length as u16).to_be_bytes();
                out.extend_from_slice(&[first, mask_bit | 126, high, low]);
            }
            length => {
                out.extend_from_slice(&[first, mask_bit | 127]);
                out.extend_from_slice(&length.to_be_bytes());
            }
        }
        if let Some(key) = self.mask {
            out.extend_from_slice(&key);
        }
    }
}

/// Appends one whole frame (FIN set) to `out`, masked if a key is given.
pub fn encode_frame(
    opcode: Opcode,
    compression: Compression,
    mask: Option<[u8; 4]>,
    payload: &[u8],
    out: &mut Vec<u8>,
) {
    let payload_bytes = payload.len() as u64;
    FrameHead { fin: true, compression, opcode, mask, payload_bytes }.encode(out);
    let start = out.len();
    out.extend_from_slice(payload);
    if let (Some(key), Some(copy)) = (mask, out.get_mut(start..)) {
        apply_mask(copy, key, 0);
    }
}

/// A server's frame as bytes that any number of connections can share.
pub fn shared_frame(opcode: Opcode, compression: Compression, payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(payload.len() + HEAD_BYTES_MAX);
    encode_frame(opcode, compression, None, payload, &mut out);
    Bytes::from(out)
}

/// The length and where it ends; `None` while its bytes are missing.
fn parse_length(input: &[u8], short: u8) -> Result<Option<(u64, usize)>, Violation> {
    match short {
        126 => {
            let Some(bytes) = input.get(2..).and_then(|rest| rest.first_chunk::<2>()) else {
                return Ok(None);
            };
            let length = u64::from(u16::from_be_bytes(*bytes));
            if length < 126 {
                return Err(Violation::LengthNotMinimal);
            }
            Ok(Some((length, 4)))
        }
        127 => {
            let Some(bytes) = input.get(2..).and_then(|rest| rest.first_chunk::<8>()) else {
                return Ok(None);
            };
            let length = u64::from_be_bytes(*bytes);
            if length >> 63 != 0 {
                return Err(Violation::LengthOutOfRange);
            }
            if length <= 0xffff {
                return Err(Violation::LengthNotMinimal);
            }
            Ok(Some((length, 10)))
        }
        short => Ok(Some((u64::from(short), 2))),
    }
}

/// The longest head: two bytes, eight of length, four of mask.
pub const HEAD_BYTES_MAX: usize = 14;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(input: &[u8]) -> Result<Option<(FrameHead, usize)>, Violation> {
        FrameHead::parse(input, Role::Server, Compression::Plain)
    }

    #[test]
    fn every_head_survives_the_round_trip_and_no_prefix_of_it_parses() {
        for payload_bytes in [0, 1, 125, 126, 127, 0xffff, 0x1_0000, u64::MAX >> 1] {
            for mask in [None, Some([1, 2, 3, 4])] {
                let head = FrameHead {
                    fin: true,
                    compression: Compression::Deflate,
                    opcode: Opcode::Binary,
                    mask,
                    payload_bytes,
                };
                let sender = if mask.is_some() { Role::Client } else { Role::Server };
                let mut bytes = Vec::new();
                head.encode(&mut bytes);
                for end in 0..bytes.len() {
                    let part = FrameHead::parse(&bytes[..end], sender, Compression::Deflate);
                    assert_eq!(part, Ok(None));
                }
                let whole = FrameHead::parse(&bytes, sender, Compression::Deflate);
                assert_eq!(whole, Ok(Some((head, bytes.len()))));
            }
        }
    }

    #[test]
    fn a_bad_head_is_refused_on_its_first_bad_byte() {
        assert_eq!(parse(&[0xc1]), Err(Violation::ReservedBit));
        assert_eq!(parse(&[0xa1]), Err(Violation::ReservedBit));
        assert_eq!(parse(&[0x91]), Err(Violation::ReservedBit));
        for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
            assert_eq!(parse(&[0x80 | opcode]), Err(Violation::ReservedOpcode(opcode)));
        }
        assert_eq!(parse(&[0x09]), Err(Violation::ControlFragmented));
        assert_eq!(parse(&[0x89, 126]), Err(Violation::ControlTooLong));
        assert_eq!(parse(&[0x81, 0x85]), Err(Violation::Masked));
        let client = FrameHead::parse(&[0x81, 0x05], Role::Client, Compression::Plain);
        assert_eq!(client, Err(Violation::Unmasked));
    }

    #[test]
    fn lengths_must_be_minimal_and_below_two_to_the_63() {
        assert_eq!(parse(&[0x82, 126, 0, 125]), Err(Violation::LengthNotMinimal));
        let long = |length: u64| {
            let mut bytes = vec![0x82, 127];
            bytes.extend_from_slice(&length.to_be_bytes());
            parse(&bytes)
        };
        assert_eq!(long(0xffff), Err(Violation::LengthNotMinimal));
        assert_eq!(long(1 << 63), Err(Violation::LengthOutOfRange));
        assert_eq!(long(u64::MAX), Err(Violation::LengthOutOfRange));
        assert!(matches!(long(u64::MAX >> 1), Ok(Some(_))));
    }

    #[test]
    fn compression_belongs_to_the_first_frame_of_a_data_message() {
        let parse = |first| FrameHead::parse(&[first, 0], Role::Server, Compression::Deflate);
        assert!(matches!(parse(0xc1), Ok(Some(_))));
        assert_eq!(parse(0xc0), Err(Violation::ReservedBit), "a continuation");
        assert_eq!(parse(0xc9), Err(Violation::ReservedBit), "a control frame");
    }
}
