//! What a session's commands print: results to stdout, everything else to stderr, in words or in
//! JSON. Nothing in it moves a terminal.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mainstay_client::frames::{Payload, PayloadKind, Standing};
use mainstay_client::{ChannelItem, Published, SessionEnd, SessionState};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::logging::escape::{is_unsafe, visible};

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Human,
    Json,
}

/// Prints the course of a session.
pub(super) struct Status {
    pub(super) format: Format,
    pub(super) url: String,
}

impl Status {
    pub(super) fn print(&self, state: &SessionState) {
        match self.format {
            Format::Human => {
                if let Some(line) = self.human(state) {
                    // Without stderr, the results still count.
                    let _ = writeln!(io::stderr(), "{}", visible(&line));
                }
            }
            Format::Json => {
                if let Some(object) = self.json(state) {
                    let _ = print_line(&json_line(&object.to_string()));
                }
            }
        }
    }

    fn human(&self, state: &SessionState) -> Option<String> {
        Some(match state {
            SessionState::Open(greeting) => {
                let url = &self.url;
                match greeting.standing {
                    Standing::New => format!("connected to {url}"),
                    Standing::Resumed => format!("connected to {url}; the session goes on"),
                    Standing::Expired => {
                        format!("connected to {url}; the session had expired, a new one has begun")
                    }
                    Standing::Unknown => format!(
                        "connected to {url}; the server does not know the session, a new one has \
                         begun"
                    ),
                }
            }
            SessionState::Lost { end, attempt, retry_in } => format!(
                "connection lost: {end}; retrying in {:.1} s (attempt {attempt})",
                retry_in.as_secs_f64()
            ),
            SessionState::Failed { error, attempt, retry_in } => {
                format!("{error}; retrying in {:.1} s (attempt {attempt})", retry_in.as_secs_f64())
            }
            _ => return None,
        })
    }

    fn json(&self, state: &SessionState) -> Option<Value> {
        Some(match state {
            SessionState::Connecting { attempt: 0 } => return None,
            SessionState::Connecting { attempt } => {
                json!({ "event": "connecting", "attempt": attempt })
            }
            SessionState::Open(greeting) => json!({
                "event": "open",
                "url": self.url,
                "standing": match greeting.standing {
                    Standing::New => "new",
                    Standing::Resumed => "resumed",
                    Standing::Expired => "expired",
                    Standing::Unknown => "unknown",
                },
                "session": greeting.session.to_string(),
                "generation": greeting.generation,
                "principal": greeting.principal.as_ref().map(|principal| principal.as_str()),
                "server": greeting.server,
            }),
            SessionState::Lost { end, attempt, retry_in } => json!({
                "event": "lost",
                "reason": end.reason.word(),
                "code": end.code,
                "detail": end.detail,
                "attempt": attempt,
                "retry_in_ms": retry_in.as_millis() as u64,
            }),
            SessionState::Failed { error, attempt, retry_in } => json!({
                "event": "failed",
                "error": error.to_string(),
                "attempt": attempt,
                "retry_in_ms": retry_in.as_millis() as u64,
            }),
            SessionState::Closed { cause } => json!({
                "event": "closed",
                "by": match cause {
                    SessionEnd::Closed | SessionEnd::Left => "client",
                    _ => "server",
                },
                "detail": cause.to_string(),
            }),
            _ => return None,
        })
    }
}

/// Prints something of a channel; `name_channels` for people who listen to several.
///
/// # Errors
/// Nobody reads any more.
pub(super) fn item(format: Format, item: &ChannelItem, naming: Naming) -> io::Result<()> {
    match (format, item) {
        (Format::Json, ChannelItem::Event { epoch, event }) => {
            let head = json!({
                "event": "event",
                "channel": event.channel.as_str(),
                "epoch": epoch.to_string(),
                "offset": event.offset.0,
                "at_ms": event.at_ms,
            });
            print_line(&with_payload(&head, &event.payload))
        }
        (Format::Json, ChannelItem::Gap(gap)) => print_line(&json_line(
            &json!({
                "event": "gap",
                "channel": gap.channel.as_str(),
                "from_epoch": gap.from_epoch.to_string(),
                "from": gap.from.0,
                "to": gap.to.map(|to| to.0),
                "reason": gap.reason.word(),
                "epoch": gap.epoch.to_string(),
                "offset": gap.offset.0,
            })
            .to_string(),
        )),
        (Format::Human, ChannelItem::Event { event, .. }) => {
            let text = visible(&payload_text(&event.payload));
            match naming {
                Naming::Needless => print_line(&text),
                Naming::Needed => {
                    print_line(&format!("{}: {text}", visible(event.channel.as_str())))
                }
            }
        }
        (Format::Human, ChannelItem::Gap(gap)) => {
            let missing = match gap.to {
                Some(to) if to == gap.from => format!("event {to} is missing"),
                Some(to) => format!("events {} to {to} are missing", gap.from),
                None => format!("events from {} on may be missing", gap.from),
            };
            let line = format!("{}: {missing}: {}", gap.channel, gap.reason.explanation());
            let _ = writeln!(io::stderr(), "{}", visible(&line));
            Ok(())
        }
        // Nobody asked for anything else.
        _ => Ok(()),
    }
}

/// Whether people must be told which channel an event is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    Needed,
    Needless,
}

/// Prints where an event was stored.
///
/// # Errors
/// Nobody reads any more.
pub(super) fn published(format: Format, channel: &str, place: &Published) -> io::Result<()> {
    let Published { epoch, offset } = place;
    match format {
        Format::Human => print_line(&visible(&format!("{channel} {offset}"))),
        Format::Json => print_line(&json_line(
            &json!({
                "event": "published",
                "channel": channel,
                "epoch": epoch.to_string(),
                "offset": offset.0,
            })
            .to_string(),
        )),
    }
}

/// Prints a request's result.
///
/// # Errors
/// Nobody reads any more.
pub(super) fn done(format: Format, payload: &Payload) -> io::Result<()> {
    match format {
        Format::Human => print_line(&visible(&payload_text(payload))),
        Format::Json => {
            print_line(&with_payload(&json!({ "event": "reply", "status": "done" }), payload))
        }
    }
}

/// Prints that there is no result.
///
/// # Errors
/// Nobody reads any more.
pub(super) fn not_done(
    command: &str,
    format: Format,
    status: &'static str,
    error: Option<&'static str>,
    message: &str,
) -> io::Result<()> {
    match format {
        Format::Human => {
            let _ = writeln!(io::stderr(), "mainstay {command}: {}", visible(message));
            Ok(())
        }
        Format::Json => print_line(&json_line(
            &json!({ "event": "reply", "status": status, "error": error, "message": message })
                .to_string(),
        )),
    }
}

/// Says on stderr why a command ends, and gives its code.
pub(super) fn complain(command: &str, code: u8, message: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "mainstay {command}: {}", visible(message));
    ExitCode::from(code)
}

/// Reads a payload: a text, or with `Format::Json` a JSON value.
pub(super) fn read_payload(format: Format, text: &str) -> Result<Payload, String> {
    match format {
        Format::Human => Ok(Payload::text(text)),
        Format::Json => match serde_json::from_str::<&RawValue>(text.trim()) {
            Ok(value) => Ok(Payload::from_json_bytes(value.get().to_owned())),
            Err(error) => Err(format!("with --json a payload is a JSON value: {error}")),
        },
    }
}

/// A JSON string bare, other JSON as it is, what is no text in base64.
fn payload_text(payload: &Payload) -> String {
    let Ok(text) = std::str::from_utf8(&payload.bytes) else {
        return STANDARD.encode(&payload.bytes);
    };
    match payload.kind {
        PayloadKind::Json => serde_json::from_str(text).unwrap_or_else(|_| text.to_owned()),
        PayloadKind::Binary => text.to_owned(),
    }
}

/// An object with a payload as its last field: `payload` if it is JSON, else `data` in base64.
fn with_payload(head: &Value, payload: &Payload) -> String {
    let json = match payload.kind {
        PayloadKind::Json => serde_json::from_slice::<&RawValue>(&payload.bytes).ok(),
        PayloadKind::Binary => None,
    };
    let (name, value) = match json {
        Some(value) => ("payload", value.get().to_owned()),
        None => ("data", Value::from(STANDARD.encode(&payload.bytes)).to_string()),
    };
    let head = head.to_string();
    let open = head.strip_suffix('}').unwrap_or(&head);
    json_line(&format!("{open},\"{name}\":{value}}}"))
}

/// JSON on one line, and nothing in it that moves a terminal.
fn json_line(json: &str) -> String {
    let mut line = String::with_capacity(json.len());
    let (mut is_string, mut is_escaped) = (false, false);
    for character in json.chars() {
        match character {
            _ if !is_unsafe(character) => line.push(character),
            // All of them lie in the basic plane.
            _ if is_string => _ = write!(line, "\\u{:04x}", u32::from(character)),
            // Space between tokens.
            _ => {}
        }
        is_string ^= character == '"' && !is_escaped;
        is_escaped = character == '\\' && !is_escaped;
    }
    line
}

fn print_line(line: &str) -> io::Result<()> {
    // Whole lines, at once: somebody is waiting for this one.
    let mut stdout = io::stdout().lock();
    stdout.write_all(line.as_bytes())?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_shown_for_people() {
        let raw = |json: &'static str| Payload::from_json_bytes(json);
        assert_eq!(payload_text(&Payload::text("it \"works\"")), "it \"works\"");
        assert_eq!(payload_text(&raw("{\"b\":1, \"a\":1.50}")), "{\"b\":1, \"a\":1.50}");
        assert_eq!(payload_text(&raw("12345678901234567890123")), "12345678901234567890123");
        assert_eq!(payload_text(&Payload::binary("text")), "text");
        assert_eq!(payload_text(&Payload::binary(vec![0xff, 0xfe])), "//4=");
    }

    #[test]
    fn payloads_stay_as_they_are_for_programs_and_on_one_line() {
        let head = json!({ "event": "event" });
        let pretty = Payload::from_json_bytes("{\n  \"a\\\"\": \"\u{9b}\\n\",\r\n \"n\": 1.50}");
        let line = with_payload(&head, &pretty);
        let payload = r#"{  "a\"": "\u009b\n", "n": 1.50}"#;
        assert_eq!(line, format!("{{\"event\":\"event\",\"payload\":{payload}}}"));
        assert!(serde_json::from_str::<Value>(&line).is_ok());
        let line = with_payload(&head, &Payload::binary(vec![0xff, 0xfe]));
        assert_eq!(line, r#"{"event":"event","data":"//4="}"#);
        // A server may call JSON what is none.
        let line = with_payload(&head, &Payload::from_json_bytes("}{"));
        assert_eq!(line, r#"{"event":"event","data":"fXs="}"#);
    }

    #[test]
    fn payloads_are_read() {
        assert_eq!(read_payload(Format::Human, "{\"a\":1}"), Ok(Payload::text("{\"a\":1}")));
        let json = Ok(Payload::from_json_bytes("{\"a\":1}"));
        assert_eq!(read_payload(Format::Json, " {\"a\":1}\n"), json);
        assert!(read_payload(Format::Json, "hello").is_err());
    }
}
