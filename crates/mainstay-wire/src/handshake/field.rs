//! The grammar that HTTP fields share: tokens, comma lists, fields that may stand only once.

/// A field that must not be repeated, while a head's fields are walked through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Single<'a> {
    #[default]
    Absent,
    Once(&'a [u8]),
    Repeated,
}

impl<'a> Single<'a> {
    pub(super) fn add(&mut self, value: &'a [u8]) {
        *self = match self {
            Single::Absent => Single::Once(value),
            Single::Once(_) | Single::Repeated => Single::Repeated,
        };
    }

    pub(super) fn is_present(&self) -> bool {
        *self != Single::Absent
    }

    pub(super) fn once(&self) -> Option<&'a [u8]> {
        match self {
            Single::Once(value) => Some(value),
            Single::Absent | Single::Repeated => None,
        }
    }
}

/// The elements of a comma-separated list (RFC 9110 §5.6.1), blanks trimmed, empty elements
/// left out as recipients must do.
pub(super) fn list_elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim_blanks).filter(|element| !element.is_empty())
}

/// `bytes` as text if they are a token (RFC 9110 §5.6.2): one or more characters, no delimiters.
pub(super) fn token(bytes: &[u8]) -> Option<&str> {
    let is_token = !bytes.is_empty() && bytes.iter().all(|byte| is_token_byte(*byte));
    // A token is ASCII, so the conversion cannot fail.
    if is_token { std::str::from_utf8(bytes).ok() } else { None }
}

pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether `byte` may stand in a field value (RFC 9110 §5.5): no control byte but the tab.
pub(super) fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7F)
}

/// A number of decimal digits and nothing else: no sign, no blanks, no list.
pub(super) fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || !bytes.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// Without spaces and tabs at either end. Unlike `trim_ascii`, no other byte counts as blank.
pub(super) fn trim_blanks(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_lose_blanks_and_empty_elements() {
        let elements: Vec<_> = list_elements(b" ,a ,, b\tc\t,").collect();
        assert_eq!(elements, [&b"a"[..], b"b\tc"]);
    }

    #[test]
    fn tokens_hold_no_delimiters() {
        assert_eq!(token(b"mainstay.v1.json"), Some("mainstay.v1.json"));
        for bad in [&b""[..], b"a b", b"a/b", b"\"a\"", b"a\x80", b"a=b", b"a\x00", b"(a)"] {
            assert_eq!(token(bad), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn numbers_are_digits_only() {
        assert_eq!(decimal(b"0042"), Some(42));
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for bad in [&b""[..], b"+1", b"-1", b"1 ", b"0x10", b"1,1", b"18446744073709551616"] {
            assert_eq!(decimal(bad), None, "{}", bad.escape_ascii());
        }
    }
}
