//! JSON that is as plain as nearly all of it is, read and written without serde.
//!
//! Reading stops at whatever is unusual (a string with an escape, a number with a fraction, deep
//! nesting), and serde_json reads the message from its beginning; so what is valid, and what it means,
//! is said in one place. What is written is byte for byte what serde_json writes.

mod value;

use serde::Serialize;

/// A walk over a JSON text. Every step passes over spaces in front of what it takes, and is `None`
/// where something else stands: then nothing is known but that the text is not plain.
pub(crate) struct Scanner<'a> {
    text: &'a str,
    /// What is left of it.
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Scanner<'a> {
        Scanner { text, rest: text.as_bytes() }
    }

    /// Takes one of the signs that hold values together.
    #[inline(always)]
    pub(crate) fn sign(&mut self, sign: u8) -> Option<()> {
        self.skip_spaces();
        self.byte(|byte| byte == sign)
    }

    /// Takes exactly these bytes if they are there, which takes no loop to see.
    #[inline(always)]
    pub(crate) fn literal<const N: usize>(&mut self, literal: &[u8; N]) -> bool {
        match self.rest.split_first_chunk() {
            Some((first, rest)) if first == literal => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// The first letter of the name that comes next.
    #[inline(always)]
    pub(crate) fn initial(&mut self) -> Option<u8> {
        self.skip_spaces();
        self.rest.get(1).copied()
    }

    /// A string without escapes.
    pub(crate) fn string(&mut self) -> Option<&'a str> {
        self.sign(b'"')?;
        let start = self.position();
        self.advance(plain_length(self.rest));
        let end = self.position();
        // Not a backslash or a control character.
        self.byte(|byte| byte == b'"')?;
        self.text.get(start..end)
    }

    /// An integer of so few digits that it fits.
    pub(crate) fn integer(&mut self) -> Option<i64> {
        self.skip_spaces();
        let is_negative = self.byte(|byte| byte == b'-').is_some();
        let digits = self.rest;
        let mut number = 0;
        let mut count = 0;
        while let Some(digit @ b'0'..=b'9') = digits.get(count)
            && count < DIGIT_COUNT_MAX
        {
            number = number * 10 + i64::from(digit - b'0');
            count += 1;
        }
        // A leading zero is an error, and -0 no integer.
        let is_plain = match digits.first() {
            Some(b'0') => count == 1 && !is_negative,
            _ => count > 0,
        };
        let is_whole = !matches!(digits.get(count), Some(b'0'..=b'9' | b'.' | b'e' | b'E'));
        self.advance(count);
        (is_plain && is_whole).then_some(if is_negative { -number } else { number })
    }

    pub(crate) fn boolean(&mut self) -> Option<bool> {
        self.skip_spaces();
        if self.literal(b"true") {
            return Some(true);
        }
        self.literal(b"false").then_some(false)
    }

    /// What stands between two brackets, separated by commas.
    #[inline(always)]
    pub(crate) fn list(
        &mut self,
        [begin, end]: [u8; 2],
        mut read_item: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        self.sign(begin)?;
        if self.sign(end).is_some() {
            return Some(());
        }
        loop {
            read_item(self)?;
            if self.sign(b',').is_none() {
                return self.sign(end);
            }
        }
    }

    /// One value of any kind, as it stands.
    pub(crate) fn value(&mut self) -> Option<&'a str> {
        self.skip_spaces();
        let start = self.position();
        self.rest = value::after_value(self.rest)?;
        self.text.get(start..self.position())
    }

    /// That nothing follows.
    pub(crate) fn end(&mut self) -> Option<()> {
        self.skip_spaces();
        self.rest.is_empty().then_some(())
    }

    #[inline(always)]
    pub(crate) fn skip_spaces(&mut self) {
        while self.byte(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).is_some() {}
    }

    /// Takes one byte if it is wanted.
    #[inline(always)]
    fn byte(&mut self, is_wanted: impl Fn(u8) -> bool) -> Option<()> {
        let (first, rest) = self.rest.split_first()?;
        is_wanted(*first).then(|| self.rest = rest)
    }

    #[inline(always)]
    fn advance(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }

    #[inline(always)]
    fn position(&self) -> usize {
        self.text.len() - self.rest.len()
    }
}

/// Appends `text` as a JSON string. What needs no escape, nearly always all of it, is copied in one
/// piece.
pub(crate) fn write_string(text: &str, out: &mut Vec<u8>) {
    if plain_length(text.as_bytes()) < text.len() {
        // A string always serializes, and a Vec takes any number of bytes.
        let written = serde_json::to_writer(out, text);
        assert!(written.is_ok(), "a string serializes");
        return;
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Appends an integer.
pub(crate) fn write_integer<I: Serialize>(integer: I, out: &mut Vec<u8>) {
    let written = serde_json::to_writer(out, &integer);
    assert!(written.is_ok(), "an integer serializes");
}

/// Whether arrays and objects stand within each other more than `levels_max` deep. Looks at each byte once,
/// and trusts that the text is JSON.
pub(crate) fn nests_deeper(json: &[u8], levels_max: usize) -> bool {
    // A level takes two bytes, and most texts are too short for so many.
    if json.len() <= 2 * levels_max {
        return false;
    }
    let (mut at, mut levels) = (0, 0_usize);
    while let Some(byte) = json.get(at) {
        at += 1;
        match byte {
            b'[' | b'{' if levels == levels_max => return true,
            b'[' | b'{' => levels += 1,
            b']' | b'}' => levels = levels.saturating_sub(1),
            b'"' => at = string_end(json, at),
            _ => {}
        }
    }
    false
}

/// The place behind the string that goes on at `at`.
fn string_end(json: &[u8], mut at: usize) -> usize {
    loop {
        at += plain_length(json.get(at..).unwrap_or_default());
        match json.get(at) {
            Some(b'\\') => at += 2,
            Some(b'"') | None => return at + 1,
            Some(_) => at += 1,
        }
    }
}

/// How many bytes at the front stand in a JSON string as they are: up to the first quote, backslash
/// or control character.
fn plain_length(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks::<WORD_BYTES>();
    for (index, word) in words.iter().enumerate() {
        let special = find_special(u64::from_le_bytes(*word));
        if special != 0 {
            return index * WORD_BYTES + special.trailing_zeros() as usize / 8;
        }
    }
    let Some(last) = text.last_chunk() else {
        let is_plain = |byte: &u8| *byte >= 0x20 && !matches!(byte, b'"' | b'\\');
        return rest.iter().take_while(|byte| is_plain(byte)).count();
    };
    // Once more what was looked at already, and what is left; without a find this is the length.
    text.len() - WORD_BYTES + find_special(u64::from_le_bytes(*last)).trailing_zeros() as usize / 8
}

/// Sets the top bit of the first byte that cannot stand in a JSON string as it is. Bits above the
/// first mean nothing: a borrow may have set them.
fn find_special(word: u64) -> u64 {
    let below = |word: u64, bound: u8| word.wrapping_sub(u64::MAX / 255 * u64::from(bound)) & !word;
    let is = |byte: u8| below(word ^ (u64::MAX / 255 * u64::from(byte)), 1);
    (below(word, 0x20) | is(b'"') | is(b'\\')) & (u64::MAX / 255 * 0x80)
}

const WORD_BYTES: usize = 8;
/// One fewer than the largest 64-bit integer has.
const DIGIT_COUNT_MAX: usize = 18;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    #[test]
    fn every_byte_at_every_place_is_plain_or_not() {
        for length in 1..20 {
            for place in 0..length {
                for byte in 0..=255 {
                    let mut text = vec![b'\x80'; length];
                    text[place] = byte;
                    let is_special = byte < 0x20 || byte == b'"' || byte == b'\\';
                    let expected = if is_special { place } else { length };
                    assert_eq!(plain_length(&text), expected, "{byte:#x} at {place} of {length}");
                }
            }
        }
    }

    #[test]
    fn values_are_what_serde_json_says_down_to_some_depth() {
        for text in [
            "0",
            "-0",
            "-1.50e+10",
            "1E5",
            "0.0",
            "\"\"",
            "\"\\u00e9\\n\\\"\"",
            "true",
            "false",
            "null",
            "[]",
            "{}",
            " { \"a\" : [ 1 , { } ] } ",
            "[[[[[[[[[]]]]]]]]]",
            "\"\\ud800\"",
            "1e999",
        ] {
            let mut scanner = Scanner::new(text);
            assert_eq!((scanner.value(), scanner.end()), (Some(text.trim()), Some(())), "{text}");
            assert!(serde_json::from_str::<&RawValue>(text).is_ok(), "{text}");
        }
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert!(Scanner::new(&nested(value::DEPTH_MAX)).value().is_some());
        assert!(Scanner::new(&nested(value::DEPTH_MAX + 1)).value().is_none());
    }

    #[test]
    fn integers_are_what_serde_json_says_or_left_to_it() {
        let ends = ["9223372036854775807", "-9223372036854775808", "999999999999999999"];
        let odd = ["-", "", "00", "01", "-0", "-01", "1.0", "1e3", "1E3", "1-", "+1", " 12 "];
        for text in ends.into_iter().chain(odd) {
            let mut scanner = Scanner::new(text);
            if let Some(number) = scanner.integer()
                && scanner.end().is_some()
            {
                assert_eq!(serde_json::from_str::<i64>(text).ok(), Some(number), "{text}");
            }
        }
        assert_eq!(Scanner::new("-999999999999999999").integer(), Some(-999_999_999_999_999_999));
        assert_eq!(Scanner::new("1000000000000000000").integer(), None);
    }

    #[test]
    fn levels_are_counted_outside_of_strings() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        let mixed = |levels: usize| r#"{"a":["#.repeat(levels / 2) + &"]}".repeat(levels / 2);
        for json in [nested(100), mixed(100), format!("[{}]", vec!["[[]]"; 500].join(","))] {
            assert!(!nests_deeper(json.as_bytes(), 100), "{json}");
        }
        for json in [nested(101), mixed(102), format!(r#"["]]\"]",{}]"#, nested(100))] {
            assert!(nests_deeper(json.as_bytes(), 100), "{json}");
        }
        for text in ["[".repeat(300), "\"[{".repeat(100), "\\".repeat(99) + "\"[["] {
            let json = serde_json::to_string(&[&text, &text]).expect("a string");
            assert!(!nests_deeper(json.as_bytes(), 1), "{json}");
        }
        for cut in ["\"abc".repeat(99), "\\".repeat(999), "[\"\\".repeat(99)] {
            assert!(!nests_deeper(cut.as_bytes(), 100), "what is no JSON harms nobody");
        }
    }

    proptest! {
        #[test]
        fn levels_are_those_of_the_value(depth in 1usize..12, text in "[\\[\\]{}\"\\\\ -~]{0,12}") {
            let mut value = serde_json::json!(text);
            for level in 0..depth {
                value = match level % 2 {
                    0 => serde_json::json!([text, value, []]),
                    _ => serde_json::json!({ "e": {}, "value": value }),
                };
            }
            let json = value.to_string();
            prop_assert!(!nests_deeper(json.as_bytes(), depth + 1));
            // Short texts are not looked at.
            let long = format!("{json}{}", " ".repeat(40));
            prop_assert!(nests_deeper(long.as_bytes(), depth - 1));
        }

        #[test]
        fn strings_are_written_as_serde_json_writes_them(text in "[ -~\\x00-\\x1f\"\\\\é€😀\u{7f}]{0,40}") {
            let mut out = Vec::new();
            write_string(&text, &mut out);
            prop_assert_eq!(out, serde_json::to_vec(&text).expect("a string"));
        }

        #[test]
        fn numbers_are_read_as_serde_json_reads_them(number: i64, spaces in "[ \n\r\t]{0,3}") {
            let text = format!("{spaces}{number}{spaces}");
            let mut scanner = Scanner::new(&text);
            match scanner.integer() {
                Some(read) => prop_assert_eq!((read, scanner.end()), (number, Some(()))),
                None => prop_assert!(number.to_string().len() > DIGIT_COUNT_MAX),
            }
        }

        #[test]
        fn values_are_read_as_serde_json_reads_them(
            text in "[ \n]?[\\[{]?[ \\[\\]{}:,\"\\\\u0-9a-f.eE+\\-ntrulsé\n]{0,12}[\\]}]?[ \n]?",
        ) {
            let mut scanner = Scanner::new(&text);
            let value = scanner.value().filter(|_| scanner.end().is_some());
            let expected = serde_json::from_str::<&RawValue>(&text).ok();
            prop_assert_eq!(value, expected.map(RawValue::get));
        }

        #[test]
        fn strings_are_read_as_serde_json_reads_them(text in "\"[ -~\\x00-\\x1fé😀]{0,20}\"[ \n}]{0,2}") {
            let mut scanner = Scanner::new(&text);
            if let Some(string) = scanner.string() && scanner.end().is_some() {
                prop_assert_eq!(serde_json::from_str::<String>(&text).ok(), Some(string.to_owned()));
            }
        }
    }
}
