//! UTF-8 checked as it arrives, so that bad text is refused on its first bad byte and not only when
//! its last fragment is there (RFC 6455 §8.1).

use crate::Violation;

/// Checks one text that comes in pieces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Utf8Check {
    /// The beginning of a character whose rest has not come yet.
    partial: [u8; 4],
    partial_len: u8,
}

impl Utf8Check {
    /// Checks the next piece.
    pub(crate) fn push(&mut self, mut piece: &[u8]) -> Result<(), Violation> {
        while self.partial_len > 0 {
            let Some((&byte, rest)) = piece.split_first() else { return Ok(()) };
            piece = rest;
            let length = usize::from(self.partial_len);
            self.partial[length] = byte;
            self.partial_len += 1;
            match std::str::from_utf8(&self.partial[..=length]) {
                Ok(_) => self.partial_len = 0,
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(Violation::InvalidUtf8),
            }
        }
        if let Err(error) = std::str::from_utf8(piece) {
            if error.error_len().is_some() {
                return Err(Violation::InvalidUtf8);
            }
            // What is left is the valid beginning of a character: at most three bytes.
            let rest = &piece[error.valid_up_to()..];
            self.partial[..rest.len()].copy_from_slice(rest);
            self.partial_len = rest.len() as u8;
        }
        Ok(())
    }

    /// Checks that the text does not end inside a character, and is ready for the next one.
    pub(crate) fn finish(&mut self) -> Result<(), Violation> {
        match std::mem::take(&mut self.partial_len) {
            0 => Ok(()),
            _ => Err(Violation::InvalidUtf8),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(pieces: &[&[u8]]) -> Result<(), Violation> {
        let mut check = Utf8Check::default();
        for piece in pieces {
            check.push(piece)?;
        }
        check.finish()
    }

    proptest! {
        #[test]
        fn any_split_agrees_with_the_whole(bytes: Vec<u8>, first in 0usize..40, second in 0usize..40) {
            let (first, second) = (first.min(bytes.len()), second.min(bytes.len()));
            let (first, second) = (first.min(second), first.max(second));
            let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
            prop_assert_eq!(check(&pieces).is_ok(), std::str::from_utf8(&bytes).is_ok());
        }

        #[test]
        fn text_split_anywhere_is_valid(text: String) {
            for split in 0..=text.len() {
                let (head, tail) = text.as_bytes().split_at(split);
                prop_assert_eq!(check(&[head, tail]), Ok(()));
            }
        }
    }

    #[test]
    fn a_bad_byte_is_refused_before_the_text_ends() {
        let mut check = Utf8Check::default();
        check.push(b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4").expect("a valid beginning");
        assert_eq!(check.push(b"\x90"), Err(Violation::InvalidUtf8), "beyond U+10FFFF");
    }
}
