//! The command dialect's one message (PROTOCOL.md, "Command dialect").

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::json::{Scanner, write_integer, write_string};

/// A command, its reply, or an event: the dialect has one shape for all of them.
///
/// Names are matched without regard to case when reading, since browser snippets in the wild send
/// `RequestID`, and are written exactly as `requestID`, `command`, `someOtherThing`, `success`.
/// Missing fields and nulls take zero values, unknown fields are ignored, of a repeated field the
/// last one counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandMessage<'a> {
    /// The request's number, which its reply repeats; 0 on an event that answers nothing.
    pub request_id: i64,
    /// The command's name; on an event, the channel's.
    pub command: Cow<'a, str>,
    /// The command's payload, the reply's result, or the event's content.
    pub some_other_thing: Cow<'a, str>,
    /// Whether the command succeeded; meaningless on a request.
    pub success: bool,
}

impl<'a> CommandMessage<'a> {
    /// Reads a message from JSON text.
    pub fn parse(json: &'a [u8]) -> Result<CommandMessage<'a>, Malformed> {
        match std::str::from_utf8(json) {
            Ok(json) => CommandMessage::parse_text(json),
            Err(_) => CommandMessage::parse_any(json),
        }
    }

    /// The same from what is known to be UTF-8.
    pub fn parse_text(json: &'a str) -> Result<CommandMessage<'a>, Malformed> {
        parse_plain(json).map_or_else(|| CommandMessage::parse_any(json.as_bytes()), Ok)
    }

    fn parse_any(json: &'a [u8]) -> Result<CommandMessage<'a>, Malformed> {
        serde_json::from_slice(json).map_err(|error| Malformed {
            request_id: find_request_id(json),
            problem: error.to_string(),
        })
    }

    /// Appends the message as JSON text to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"requestID\":");
        write_integer(self.request_id, out);
        out.extend_from_slice(b",\"command\":");
        write_string(&self.command, out);
        out.extend_from_slice(b",\"someOtherThing\":");
        write_string(&self.some_other_thing, out);
        out.extend_from_slice(if self.success {
            b",\"success\":true}"
        } else {
            b",\"success\":false}"
        });
    }
}

/// The peer misbehaved: what came is not a command message. The connection goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The request's number if one could be made out, else 0.
    pub request_id: i64,
    /// What is wrong, with the place.
    pub problem: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "malformed message: {}", self.problem)
    }
}

impl std::error::Error for Malformed {}

/// Reads a message that has nothing unusual in it.
fn parse_plain(text: &str) -> Option<CommandMessage<'_>> {
    let mut message = CommandMessage::default();
    let mut scanner = Scanner::new(text);
    scanner.sign(b'{')?;
    loop {
        match next_field(&mut scanner)? {
            Field::RequestId => message.request_id = scanner.integer()?,
            Field::Command => message.command = Cow::Borrowed(scanner.string()?),
            Field::SomeOtherThing => message.some_other_thing = Cow::Borrowed(scanner.string()?),
            Field::Success => message.success = scanner.boolean()?,
            Field::Unknown => return None,
        }
        if scanner.sign(b',').is_none() {
            break;
        }
    }
    scanner.sign(b'}')?;
    scanner.end().map(|()| message)
}

fn next_field(scanner: &mut Scanner<'_>) -> Option<Field> {
    scanner.skip_spaces();
    // As they are nearly always written.
    if scanner.literal(br#""requestID":"#) {
        return Some(Field::RequestId);
    } else if scanner.literal(br#""command":"#) {
        return Some(Field::Command);
    } else if scanner.literal(br#""someOtherThing":"#) {
        return Some(Field::SomeOtherThing);
    } else if scanner.literal(br#""success":"#) {
        return Some(Field::Success);
    }
    let field = Field::named(scanner.string()?);
    scanner.sign(b':').map(|()| field)
}

impl<'de: 'a, 'a> Deserialize<'de> for CommandMessage<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MessageVisitor)
    }
}

struct MessageVisitor;

impl<'de> Visitor<'de> for MessageVisitor {
    type Value = CommandMessage<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object with requestID, command, someOtherThing and success")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut message = CommandMessage::default();
        while let Some(field) = map.next_key::<Field>()? {
            match field {
                Field::RequestId => {
                    message.request_id = map.next_value::<Option<i64>>()?.unwrap_or_default();
                }
                Field::Command => {
                    message.command = map.next_value::<Option<Text<'de>>>()?.unwrap_or_default().0;
                }
                Field::SomeOtherThing => {
                    message.some_other_thing =
                        map.next_value::<Option<Text<'de>>>()?.unwrap_or_default().0;
                }
                Field::Success => {
                    message.success = map.next_value::<Option<bool>>()?.unwrap_or_default();
                }
                Field::Unknown => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(message)
    }
}

enum Field {
    RequestId,
    Command,
    SomeOtherThing,
    Success,
    Unknown,
}

impl Field {
    fn named(name: &str) -> Field {
        match name {
            name if name.eq_ignore_ascii_case("requestID") => Field::RequestId,
            name if name.eq_ignore_ascii_case("command") => Field::Command,
            name if name.eq_ignore_ascii_case("someOtherThing") => Field::SomeOtherThing,
            name if name.eq_ignore_ascii_case("success") => Field::Success,
            _ => Field::Unknown,
        }
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Field, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = Field;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a field name")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Field, E> {
                Ok(Field::named(name))
            }
        }
        deserializer.deserialize_identifier(NameVisitor)
    }
}

/// A string, borrowed from the input unless it has escapes.
#[derive(Default)]
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text<'a>, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// The number of a request whose other fields are of the wrong type, so that its sender learns
/// which one was refused.
fn find_request_id(json: &[u8]) -> i64 {
    let Ok(serde_json::Value::Object(fields)) = serde_json::from_slice(json) else { return 0 };
    let id = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("requestID"));
    id.and_then(|(_, value)| value.as_i64()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(json: &str) -> Result<CommandMessage<'_>, Malformed> {
        CommandMessage::parse(json.as_bytes())
    }

    #[test]
    fn names_are_matched_without_regard_to_case_and_written_exactly() {
        let expected = CommandMessage {
            request_id: 1,
            command: "Pause downloader".into(),
            some_other_thing: "urgent".into(),
            success: false,
        };
        let json = r#"{"RequestID":1,"Command":"Pause downloader","SomeOtherThing":"urgent"}"#;
        assert_eq!(parse(json), Ok(expected.clone()));
        let json = r#"{"REQUESTid":1,"command":"Pause downloader","someOTHERthing":"urgent","success":false}"#;
        assert_eq!(parse(json), Ok(expected.clone()));
        let mut out = Vec::new();
        expected.write(&mut out);
        assert_eq!(
            String::from_utf8_lossy(&out),
            r#"{"requestID":1,"command":"Pause downloader","someOtherThing":"urgent","success":false}"#
        );
    }

    #[test]
    fn missing_and_null_fields_are_zero_and_unknown_ones_ignored() {
        assert_eq!(parse("{}"), Ok(CommandMessage::default()));
        let json = r#"{"requestID":null,"command":null,"extra":{"deep":[1,2]},"success":null}"#;
        assert_eq!(parse(json), Ok(CommandMessage::default()));
        assert_eq!(parse(r#"{"requestID":1,"requestID":2}"#).map(|m| m.request_id), Ok(2));
    }

    #[test]
    fn escapes_are_read_and_plain_strings_borrowed() {
        let json = r#"{"command":"a\n\u00e9","someOtherThing":"plain"}"#;
        let message = parse(json).expect("valid");
        assert_eq!(message.command, "a\né");
        assert!(matches!(message.some_other_thing, Cow::Borrowed("plain")));
    }

    #[test]
    fn what_is_malformed_says_where_and_names_the_request_if_it_can() {
        for json in ["", "nonsense", "[1]", "{\"requestID\":", "{} trailing", "\u{feff}{}"] {
            let malformed = parse(json).expect_err(json);
            assert_eq!(malformed.request_id, 0, "{json}");
            assert!(malformed.to_string().starts_with("malformed message: "), "{malformed}");
        }
        let malformed = parse(r#"{"RequestID":7,"command":5}"#).expect_err("a number as command");
        assert_eq!(malformed.request_id, 7);
        assert!(malformed.problem.contains("expected a string"), "{malformed}");
        let too_big = parse(r#"{"requestID":99999999999999999999}"#).expect_err("beyond 64 bits");
        assert_eq!(too_big.request_id, 0);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_malformed_too() {
        assert!(CommandMessage::parse(b"{\"command\":\"\xff\"}").is_err());
    }

    /// Members with names known, odd and unknown, values of all kinds, escapes, spaces.
    fn members() -> impl Strategy<Value = String> {
        let name = "requestID|RequestID|command|COMMAND|someOtherThing|success|Success|other|comm\\\\u0061nd";
        let value = r#"-?[0-9]{1,20}|-?[0-9]\.[0-9]|true|false|tru|null|"[ -!#-\[\]-~é😀\n]{0,20}"|"a\\\\n\\\\u00e9"|"\\\\ud800"|\[1\]|\{\}"#;
        let member = (name, "[ \n\t]?", "[ \r]?:[ ]?", value);
        member.prop_map(|(name, space, colon, value)| format!(r#"{space}"{name}"{colon}{value}"#))
    }

    proptest! {
        #[test]
        fn what_is_plain_is_read_as_serde_json_reads_it(
            members in prop::collection::vec(members(), 0..6),
            end in r"[}]|[}] |,[}]|[}][}]|",
        ) {
            let json = format!("{{{}{end}", members.join(","));
            if let Some(message) = parse_plain(&json) {
                prop_assert_eq!(Ok(message), CommandMessage::parse_any(json.as_bytes()), "{}", json);
            }
        }

        #[test]
        fn what_is_written_is_read_back(
            request_id: i64,
            command: String,
            some_other_thing: String,
            success: bool,
        ) {
            let message = CommandMessage {
                request_id,
                command: command.into(),
                some_other_thing: some_other_thing.into(),
                success,
            };
            let mut json = Vec::new();
            message.write(&mut json);
            prop_assert_eq!(CommandMessage::parse_any(&json), Ok(message.clone()));
            prop_assert_eq!(CommandMessage::parse(&json), Ok(message));
        }
    }

    #[test]
    fn the_usual_message_is_plain() {
        let json = r#"{"requestID":1,"command":"Pause","someOtherThing":"é","success":false}"#;
        assert!(parse_plain(json).is_some());
        assert!(parse_plain(r#" {"RequestID": -1, "success" : true } "#).is_some());
        assert!(parse_plain("{\"command\":\"\n\"}").is_none(), "control characters are escaped");
    }
}
