//! JSON values of any kind, passed over: whether they are valid and where they end.
//!
//! Each function gives what is behind the thing that it is named after, and `None` where that does not
//! stand at the front of the text.

use super::plain_length;

/// Passes over one value, with the spaces before it, if it is nested no deeper than [`DEPTH_MAX`].
pub(super) fn after_value(text: &[u8]) -> Option<&[u8]> {
    after_nested(text, 0)
}

fn after_nested(text: &[u8], depth: usize) -> Option<&[u8]> {
    let text = after_spaces(text);
    let (first, rest) = text.split_first()?;
    match first {
        b'"' => after_string(rest),
        b'{' if depth < DEPTH_MAX => after_list(rest, b'}', |text| {
            let text = after_string(after_sign(text, b'"')?)?;
            after_nested(after_sign(text, b':')?, depth + 1)
        }),
        b'[' if depth < DEPTH_MAX => after_list(rest, b']', |text| after_nested(text, depth + 1)),
        b'n' => rest.strip_prefix(b"ull"),
        b't' => rest.strip_prefix(b"rue"),
        b'f' => rest.strip_prefix(b"alse"),
        _ => after_number(text),
    }
}

/// What is between brackets, whose first has been taken, and the last of them.
#[inline(always)]
fn after_list(
    mut text: &[u8],
    end: u8,
    after_item: impl Fn(&[u8]) -> Option<&[u8]>,
) -> Option<&[u8]> {
    if let Some(rest) = after_sign(text, end) {
        return Some(rest);
    }
    loop {
        text = after_spaces(after_item(text)?);
        let (first, rest) = text.split_first()?;
        if *first == end {
            return Some(rest);
        }
        text = if *first == b',' { rest } else { return None };
    }
}

/// A string whose first quote has been taken.
fn after_string(mut text: &[u8]) -> Option<&[u8]> {
    loop {
        let (special, rest) = text.get(plain_length(text)..)?.split_first()?;
        match (special, rest) {
            (b'"', rest) => return Some(rest),
            (b'\\', [b'u', rest @ ..]) => {
                let (digits, rest) = rest.split_first_chunk::<4>()?;
                text = digits.iter().all(u8::is_ascii_hexdigit).then_some(rest)?;
            }
            (b'\\', [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', rest @ ..]) => {
                text = rest;
            }
            _ => return None,
        }
    }
}

fn after_number(text: &[u8]) -> Option<&[u8]> {
    let mut text = text.strip_prefix(b"-").unwrap_or(text);
    text = match text.split_first()? {
        // A leading zero is all there is.
        (b'0', rest) => rest,
        _ => after_digits(text)?,
    };
    if let [b'.', rest @ ..] = text {
        text = after_digits(rest)?;
    }
    if let [b'e' | b'E', rest @ ..] = text {
        let digits = if let [b'+' | b'-', rest @ ..] = rest { rest } else { rest };
        text = after_digits(digits)?;
    }
    Some(text)
}

/// At least one.
fn after_digits(text: &[u8]) -> Option<&[u8]> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count > 0 { text.get(count..) } else { None }
}

#[inline(always)]
fn after_sign(text: &[u8], sign: u8) -> Option<&[u8]> {
    match after_spaces(text).split_first() {
        Some((first, rest)) if *first == sign => Some(rest),
        _ => None,
    }
}

#[inline(always)]
fn after_spaces(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\n' | b'\r' | b'\t', rest @ ..] = text {
        text = rest;
    }
    text
}

/// How deep a value may be nested: what is said is flat, and the stack of a thread is short.
pub(super) const DEPTH_MAX: usize = 32;
