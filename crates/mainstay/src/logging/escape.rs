//! Text from strangers, made safe to look at.

use std::fmt::Write;

/// Whether the character does something to a terminal or a viewer besides showing itself: C0
/// controls, DEL and C1 controls (a terminal obeys U+009B like ESC `[`), line separators, and what
/// turns the direction of the text around it.
pub(crate) fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// The text with unsafe characters spelled out: `\n`, `\t`, `\u{1b}`.
pub(crate) fn visible(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    push_visible(&mut line, text);
    line
}

/// Appends [`visible`] text.
pub(crate) fn push_visible(line: &mut String, text: &str) {
    for character in text.chars() {
        if is_unsafe(character) {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
}

/// Appends the text in quotes, with quotes and backslashes in it escaped too, so that nothing in a
/// value can look like the end of it.
pub(crate) fn push_quoted(line: &mut String, text: &str) {
    line.push('"');
    for character in text.chars() {
        if is_unsafe(character) || matches!(character, '"' | '\\') {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line.push('"');
}

/// Appends the text as a JSON string (RFC 8259 section 7). Nothing is lost: a parser gets the
/// text back as it was.
pub(crate) fn push_json(line: &mut String, text: &str) {
    line.push('"');
    for character in text.chars() {
        match character {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            // All of them lie in the basic plane, where four digits are enough.
            _ if is_unsafe(character) => {
                let _ = write!(line, "\\u{:04x}", u32::from(character));
            }
            _ => line.push(character),
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_and_controls_are_spelled_out() {
        assert_eq!(visible("caf\u{e9} \u{1f600} 5\u{a0}€"), "café 😀 5\u{a0}€");
        assert_eq!(
            visible("a\r\n\t\u{1b}[2J\u{9b}\u{202e}"),
            "a\\r\\n\\t\\u{1b}[2J\\u{9b}\\u{202e}"
        );
    }

    #[test]
    fn quotes_end_only_where_the_value_ends() {
        let mut line = String::new();
        push_quoted(&mut line, "a\" b=\"c\\");
        assert_eq!(line, r#""a\" b=\"c\\""#);
    }

    #[test]
    fn json_gives_every_character_back() {
        let all: String = (0..=0x2100).filter_map(char::from_u32).collect();
        let mut line = String::new();
        push_json(&mut line, &all);
        assert!(!line.chars().any(is_unsafe));
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), all);
    }
}
