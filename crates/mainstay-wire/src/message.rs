//! What a peer says once its frames are put together.

use std::borrow::Cow;

use crate::Violation;
use crate::limits::CLOSE_REASON_BYTES_MAX;

/// One whole message. It borrows from the bytes just read wherever it arrived in one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message.
    Text(Cow<'a, str>),
    /// A binary message.
    Binary(Cow<'a, [u8]>),
    /// A ping, to be answered with the same payload.
    Ping(Cow<'a, [u8]>),
    /// A pong, asked for or not.
    Pong(Cow<'a, [u8]>),
    /// A Close frame, with its code and reason if it has them.
    Close(Option<CloseFrame<'a>>),
}

/// The payload of a Close frame (RFC 6455 §5.5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame<'a> {
    /// Why, as a number (RFC 6455 §7.4).
    pub code: u16,
    /// Why, in words.
    pub reason: Cow<'a, str>,
}

impl<'a> CloseFrame<'a> {
    /// Reads a Close payload; `None` for an empty one.
    pub(crate) fn parse(payload: Cow<'a, [u8]>) -> Result<Option<CloseFrame<'a>>, Violation> {
        let Some((code, _)) = payload.split_first_chunk::<2>() else {
            return if payload.is_empty() { Ok(None) } else { Err(Violation::CloseTooShort) };
        };
        let code = u16::from_be_bytes(*code);
        if !close_code_is_valid(code) {
            return Err(Violation::CloseCodeInvalid(code));
        }
        let reason = match payload {
            Cow::Borrowed(bytes) => {
                let text = std::str::from_utf8(bytes.get(2..).unwrap_or_default());
                Cow::Borrowed(text.map_err(|_| Violation::InvalidUtf8)?)
            }
            Cow::Owned(mut bytes) => {
                let text = String::from_utf8(bytes.split_off(2));
                Cow::Owned(text.map_err(|_| Violation::InvalidUtf8)?)
            }
        };
        Ok(Some(CloseFrame { code, reason }))
    }

    /// The payload's bytes; a reason that is too long is cut at a character's end.
    pub(crate) fn encode(code: u16, reason: &str) -> Vec<u8> {
        let end = reason.floor_char_boundary(CLOSE_REASON_BYTES_MAX);
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend_from_slice(reason.get(..end).unwrap_or_default().as_bytes());
        payload
    }
}

/// Whether a code may stand in a Close frame (RFC 6455 §7.4): 1004–1006 and 1015 never do, and
/// 1016–2999 are not assigned.
pub(crate) fn close_code_is_valid(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_payloads_are_checked() {
        let parse = |bytes: &[u8]| CloseFrame::parse(Cow::Owned(bytes.to_vec()));
        assert_eq!(parse(b""), Ok(None));
        assert_eq!(parse(b"\x03"), Err(Violation::CloseTooShort));
        assert_eq!(parse(b"\x03\xe8\xff"), Err(Violation::InvalidUtf8));
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
            assert_eq!(parse(&u16::to_be_bytes(code)), Err(Violation::CloseCodeInvalid(code)));
        }
        let frame = CloseFrame { code: 4000, reason: "späť".into() };
        assert_eq!(parse(&CloseFrame::encode(4000, "späť")), Ok(Some(frame)));
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let payload = CloseFrame::encode(1000, &"é".repeat(100));
        assert!(payload.len() <= 125);
        assert!(CloseFrame::parse(Cow::Owned(payload)).is_ok());
    }
}
