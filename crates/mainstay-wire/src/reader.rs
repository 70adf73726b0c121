//! Bytes → frames → messages.

use std::borrow::Cow;
use std::mem;

use crate::deflate::Inflater;
use crate::frame::{Compression, FrameHead, HEAD_BYTES_MAX, Opcode};
use crate::mask::apply_mask;
use crate::message::CloseFrame;
use crate::utf8::Utf8Check;
use crate::{Limits, Message, Role, Violation};

/// Puts messages together from whatever pieces the network brings.
///
/// A message that lies whole in the input is unmasked in place and borrowed from it. Only the pieces
/// of an incomplete one are copied, into a buffer that is handed out with the message: a reader
/// between messages owns no memory.
#[derive(Debug)]
pub struct Reader {
    sender: Role,
    compression: Compression,
    head: [u8; HEAD_BYTES_MAX],
    head_len: u8,
    frame: Option<FrameProgress>,
    fragmented: Option<Fragmented>,
    /// Payload so far of a data message that did not arrive in one piece, unmasked.
    data: Vec<u8>,
    /// The same for a control frame, which may come between the pieces of a message.
    control: Vec<u8>,
    utf8: Utf8Check,
}

/// A frame whose payload is still arriving.
#[derive(Clone, Copy, Debug)]
struct FrameProgress {
    head: FrameHead,
    received: u64,
}

/// A message whose last fragment is still to come.
#[derive(Clone, Copy, Debug)]
struct Fragmented {
    opcode: Opcode,
    compression: Compression,
    count: u32,
}

impl Reader {
    /// A reader of what `sender` sends; `compression` is what the handshake agreed on.
    pub fn new(sender: Role, compression: Compression) -> Reader {
        Reader {
            sender,
            compression,
            head: [0; HEAD_BYTES_MAX],
            head_len: 0,
            frame: None,
            fragmented: None,
            data: Vec::new(),
            control: Vec::new(),
            utf8: Utf8Check::default(),
        }
    }

    /// Takes the next message off the front of `input`; `None` when all of the input is used up.
    ///
    /// After an error the stream has lost its frame boundaries: feed this reader nothing more.
    pub fn read<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        limits: &Limits,
        inflater: &mut Inflater,
    ) -> Result<Option<Message<'a>>, Violation> {
        if let Some(whole) = self.take_whole(input, limits) {
            return whole.map(Some);
        }
        loop {
            let mut progress = match self.frame.take() {
                Some(progress) => progress,
                None => match self.read_head(input)? {
                    Some(head) => {
                        self.begin_frame(&head, limits)?;
                        FrameProgress { head, received: 0 }
                    }
                    None => return Ok(None),
                },
            };
            let missing = progress.head.payload_bytes - progress.received;
            let available = input.len().min(usize::try_from(missing).unwrap_or(usize::MAX));
            let piece = take_front(input, available);
            if let Some(key) = progress.head.mask {
                apply_mask(piece, key, (progress.received % 4) as usize);
            }
            progress.received += available as u64;
            if progress.received < progress.head.payload_bytes {
                self.keep_piece(&progress.head, piece)?;
                self.frame = Some(progress);
                return Ok(None);
            }
            if let Some(message) = self.end_frame(progress.head, piece, limits, inflater)? {
                return Ok(Some(message));
            }
        }
    }

    /// Whether a message has begun and not ended.
    pub fn is_in_message(&self) -> bool {
        self.head_len > 0 || self.frame.is_some() || self.fragmented.is_some()
    }

    /// Takes a text or binary message that is one uncompressed frame and lies whole in the input, as
    /// nearly every one does: nothing of it has to be remembered. Whatever else comes, whatever is
    /// missing and whatever is wrong with a head is `None`, takes nothing, and shows when the frame is
    /// read step by step.
    #[inline(always)]
    pub(crate) fn take_whole<'a>(
        &self,
        input: &mut &'a mut [u8],
        limits: &Limits,
    ) -> Option<Result<Message<'a>, Violation>> {
        if self.is_in_message() {
            return None;
        }
        let &mut [first, second, ..] = &mut **input else { return None };
        // FIN, no reserved bit, and the opcode (RFC 6455 §5.2).
        let is_text = match first {
            0x81 => true,
            0x82 => false,
            _ => return None,
        };
        let is_masked = self.sender == Role::Client;
        let (mask_bit, key_bytes) = if is_masked { (0x80, 4) } else { (0, 0) };
        let (length, length_end) = match second ^ mask_bit {
            short @ ..=125 => (usize::from(short), 2),
            126 => match usize::from(u16::from_be_bytes(*input.get(2..)?.first_chunk()?)) {
                length @ 126.. => (length, 4),
                _ => return None,
            },
            _ => return None,
        };
        let payload_at = length_end + key_bytes;
        let end = payload_at + length;
        if end > input.len() || length > limits.message_bytes_max {
            return None;
        }
        let (head, payload) = take_front(input, end).split_at_mut(payload_at);
        if is_masked && let Some(key) = head.last_chunk() {
            apply_mask(payload, *key, 0);
        }
        Some(borrowed_message(is_text, payload))
    }

    fn read_head(&mut self, input: &mut &mut [u8]) -> Result<Option<FrameHead>, Violation> {
        if self.head_len == 0 {
            // The usual case: the whole head is here and need not be copied.
            if let Some((head, length)) = FrameHead::parse(input, self.sender, self.compression)? {
                take_front(input, length);
                return Ok(Some(head));
            }
        }
        let kept = usize::from(self.head_len);
        let added = input.len().min(HEAD_BYTES_MAX - kept);
        self.head[kept..kept + added].copy_from_slice(&input[..added]);
        let known = &self.head[..kept + added];
        match FrameHead::parse(known, self.sender, self.compression)? {
            Some((head, length)) => {
                take_front(input, length - kept);
                self.head_len = 0;
                Ok(Some(head))
            }
            None => {
                take_front(input, added);
                self.head_len = (kept + added) as u8;
                Ok(None)
            }
        }
    }

    /// Checks what a head announces, before a byte of its payload is looked at or kept.
    fn begin_frame(&mut self, head: &FrameHead, limits: &Limits) -> Result<(), Violation> {
        if head.opcode.is_control() {
            return Ok(());
        }
        match (&mut self.fragmented, head.opcode) {
            // RFC 6455 §5.4: fragments of one message must not be mixed with another's.
            (None, Opcode::Continuation) => return Err(Violation::UnexpectedContinuation),
            (Some(_), Opcode::Text | Opcode::Binary) => {
                return Err(Violation::ExpectedContinuation);
            }
            (Some(message), _) => {
                message.count += 1;
                if message.count > limits.fragment_count_max {
                    let count_max = limits.fragment_count_max;
                    return Err(Violation::TooManyFragments { count_max });
                }
            }
            (None, opcode) => {
                // A whole message is its own only fragment.
                let compression = head.compression;
                self.fragmented = Some(Fragmented { opcode, compression, count: 1 });
            }
        }
        let bytes_max = limits.message_bytes_max;
        let room = (bytes_max - self.data.len()) as u64;
        if head.payload_bytes > room {
            return Err(Violation::MessageTooBig { bytes_max });
        }
        Ok(())
    }

    /// Keeps a part of a frame's payload. The buffer grows with what came, never by what a head
    /// merely announced.
    fn keep_piece(&mut self, head: &FrameHead, piece: &[u8]) -> Result<(), Violation> {
        if head.opcode.is_control() {
            self.control.extend_from_slice(piece);
            return Ok(());
        }
        if let Some(Fragmented { opcode: Opcode::Text, compression: Compression::Plain, .. }) =
            self.fragmented
        {
            self.utf8.push(piece)?;
        }
        self.data.extend_from_slice(piece);
        Ok(())
    }

    fn end_frame<'a>(
        &mut self,
        head: FrameHead,
        piece: &'a mut [u8],
        limits: &Limits,
        inflater: &mut Inflater,
    ) -> Result<Option<Message<'a>>, Violation> {
        if head.opcode.is_control() {
            return self.end_control(head.opcode, piece).map(Some);
        }
        let Some(message) = self.fragmented else {
            return Err(Violation::UnexpectedContinuation);
        };
        let is_in_one_piece = self.data.is_empty() && head.fin && message.count == 1;
        if !is_in_one_piece {
            self.keep_piece(&head, piece)?;
        }
        if !head.fin {
            return Ok(None);
        }
        self.fragmented = None;
        let kept = mem::take(&mut self.data);
        let is_text = message.opcode == Opcode::Text;
        match (message.compression, is_in_one_piece) {
            (Compression::Deflate, _) => {
                let payload = if is_in_one_piece { &*piece } else { &kept };
                let inflated = inflater.inflate(payload, limits.message_bytes_max)?;
                owned_message(is_text, inflated).map(Some)
            }
            (Compression::Plain, false) => {
                self.utf8.finish()?;
                owned_message(is_text, kept).map(Some)
            }
            (Compression::Plain, true) => borrowed_message(is_text, piece).map(Some),
        }
    }

    fn end_control<'a>(
        &mut self,
        opcode: Opcode,
        piece: &'a mut [u8],
    ) -> Result<Message<'a>, Violation> {
        let payload = if self.control.is_empty() {
            Cow::Borrowed(&*piece)
        } else {
            self.control.extend_from_slice(piece);
            Cow::Owned(mem::take(&mut self.control))
        };
        Ok(match opcode {
            Opcode::Close => Message::Close(CloseFrame::parse(payload)?),
            Opcode::Ping => Message::Ping(payload),
            _ => Message::Pong(payload),
        })
    }
}

fn borrowed_message(is_text: bool, payload: &[u8]) -> Result<Message<'_>, Violation> {
    if !is_text {
        return Ok(Message::Binary(Cow::Borrowed(payload)));
    }
    let text = std::str::from_utf8(payload).map_err(|_| Violation::InvalidUtf8)?;
    Ok(Message::Text(Cow::Borrowed(text)))
}

fn owned_message(is_text: bool, payload: Vec<u8>) -> Result<Message<'static>, Violation> {
    if !is_text {
        return Ok(Message::Binary(Cow::Owned(payload)));
    }
    let text = String::from_utf8(payload).map_err(|_| Violation::InvalidUtf8)?;
    Ok(Message::Text(Cow::Owned(text)))
}

/// Cuts `count` bytes off the front of `input`.
#[inline(always)]
fn take_front<'a>(input: &mut &'a mut [u8], count: usize) -> &'a mut [u8] {
    let (front, rest) = mem::take(input).split_at_mut(count);
    *input = rest;
    front
}

#[cfg(test)]
mod tests;
