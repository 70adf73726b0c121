//! What happens, in words and in JSON.

use std::fmt::Write;
use std::time::Duration;

use mainstay_client::{ClosedCause, End, Incoming, Reply, RequestError, State};
use serde::Serialize;

use crate::logging::escape::{is_unsafe, visible};

/// One thing that happened. Its JSON is an interface: fields are added, not changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event<'a> {
    /// The connection is dialled again.
    Connecting { attempt: u32 },
    /// The connection is open.
    Open { url: &'a str },
    /// A command is on its way.
    Sent { request_id: i64, command: &'a str, payload: &'a str },
    /// A command's reply.
    Reply { request_id: i64, command: &'a str, success: bool, payload: &'a str, rtt_ms: f64 },
    /// A command without a reply: `unknown` and `timed_out` may have run, `not_sent` has not.
    Unanswered { request_id: i64, command: &'a str, outcome: &'static str, error: String },
    /// A command that waits for a connection.
    Waiting { command: &'a str },
    /// A message that answers nothing.
    Message { request_id: i64, command: &'a str, payload: &'a str, success: bool },
    /// A text message that is no command message.
    Text { text: &'a str },
    /// A binary message that is no command message, in hexadecimal.
    Binary { hex: String },
    /// The connection was lost and is made again.
    Lost {
        reason: &'static str,
        code: Option<u16>,
        detail: &'a str,
        attempt: u32,
        retry_in_ms: u64,
    },
    /// An attempt failed; there will be another.
    Failed { error: String, attempt: u32, retry_in_ms: u64 },
    /// There never was a connection.
    Refused { url: &'a str, error: String },
    /// No more connections. `by` is `client` or `server`.
    Closed { by: &'static str, reason: Option<&'static str>, code: Option<u16>, detail: String },
    /// There are no more commands, because the input cannot be read.
    InputFailed { error: String },
}

/// Where an event belongs on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// What somebody asked for.
    Results,
    /// What happens to the connection.
    Status,
}

impl<'a> Event<'a> {
    /// A change of the connection's state; `None` for the first attempt, which is not worth a word.
    pub(super) fn of_state(state: &'a State, url: &'a str) -> Option<Event<'a>> {
        Some(match state {
            State::Connecting { attempt: 0 } => return None,
            State::Connecting { attempt } => Event::Connecting { attempt: *attempt },
            State::Open => Event::Open { url },
            State::Lost { end, attempt, retry_in } => Event::Lost {
                reason: end.reason.word(),
                code: end.code,
                detail: &end.detail,
                attempt: *attempt,
                retry_in_ms: retry_in.as_millis() as u64,
            },
            State::Failed { error, attempt, retry_in } => Event::Failed {
                error: error.to_string(),
                attempt: *attempt,
                retry_in_ms: retry_in.as_millis() as u64,
            },
            State::Closed { cause } => Event::of_cause(cause),
            _ => return None,
        })
    }

    fn of_cause(cause: &ClosedCause) -> Event<'a> {
        let of_end = |by, end: &End| Event::Closed {
            by,
            reason: Some(end.reason.word()),
            code: end.code,
            detail: end.detail.clone(),
        };
        let without_end = |by, detail| Event::Closed { by, reason: None, code: None, detail };
        match cause {
            ClosedCause::Application(Some(end)) => of_end("client", end),
            ClosedCause::Server(end) => of_end("server", end),
            ClosedCause::Refused(error) => without_end("server", error.to_string()),
            _ => without_end("client", String::new()),
        }
    }

    pub(super) fn of_message(message: &'a Incoming) -> Option<Event<'a>> {
        Some(match message {
            Incoming::Command { request_id, command, payload, success } => {
                Event::Message { request_id: *request_id, command, payload, success: *success }
            }
            Incoming::Text(text) => Event::Text { text },
            Incoming::Binary(bytes) => Event::Binary { hex: hexadecimal(bytes) },
            _ => return None,
        })
    }

    pub(super) fn of_outcome(
        request_id: i64,
        command: &'a str,
        outcome: &'a Result<Reply, RequestError>,
    ) -> Event<'a> {
        match outcome {
            Ok(reply) => Event::Reply {
                request_id,
                command,
                success: reply.success,
                payload: &reply.payload,
                rtt_ms: milliseconds(reply.round_trip),
            },
            Err(error) => {
                let (outcome, error) = match error {
                    RequestError::NotSent { reason } => ("not_sent", reason.to_string()),
                    RequestError::Closed => ("not_sent", "the connection is closed".to_owned()),
                    RequestError::TimedOut { after } => {
                        ("timed_out", format!("no reply within {:.1} s", after.as_secs_f64()))
                    }
                    RequestError::Indeterminate { end } => ("unknown", end.to_string()),
                    other => ("unknown", other.to_string()),
                };
                Event::Unanswered { request_id, command, outcome, error }
            }
        }
    }

    /// The event as a line of JSON, without the line's end. Nothing in it moves a terminal.
    pub(super) fn json(&self) -> String {
        // Strings, numbers and booleans always serialize.
        let json = serde_json::to_string(self).unwrap_or_default();
        let mut line = String::with_capacity(json.len());
        for character in json.chars() {
            match is_unsafe(character) {
                // Only strings hold such characters, and all of them lie in the basic plane.
                true => _ = write!(line, "\\u{:04x}", u32::from(character)),
                false => line.push(character),
            }
        }
        line
    }

    /// The event as a line for people, without the line's end; `None` if it is not worth one.
    /// Nothing in it moves a terminal.
    pub(super) fn human(&self) -> Option<(Stream, String)> {
        let line = match self {
            Event::Connecting { .. } | Event::Sent { .. } => return None,
            Event::Reply { request_id, command, success, payload, rtt_ms } => {
                let verdict = if *success { "" } else { "failed: " };
                format!("#{request_id} {command} -> {verdict}{payload} ({rtt_ms:.1} ms)")
            }
            Event::Message { command: "", payload, .. } => format!("[message] {payload}"),
            Event::Message { command, payload, .. } => format!("[{command}] {payload}"),
            Event::Text { text } => format!("[text] {text}"),
            Event::Binary { hex } => format!("[binary] {hex}"),
            Event::Unanswered { request_id, command, outcome, error } => {
                let outcome = match *outcome {
                    "not_sent" => "not sent",
                    _ => "outcome unknown",
                };
                format!("#{request_id} {command} -> {outcome}: {error}")
            }
            Event::Waiting { command } => format!("not connected; {command} waits"),
            Event::Open { url } => format!("connected to {url}"),
            Event::Lost { reason, code, detail, attempt, retry_in_ms } => {
                let cause = explain(reason, *code, detail);
                let retry_in = *retry_in_ms as f64 / 1000.0;
                format!("connection lost: {cause}; retrying in {retry_in:.1} s (attempt {attempt})")
            }
            Event::Failed { error, attempt, retry_in_ms } => {
                let retry_in = *retry_in_ms as f64 / 1000.0;
                format!("{error}; retrying in {retry_in:.1} s (attempt {attempt})")
            }
            Event::Refused { url, error } => format!("mainstay client: {url}: {error}"),
            Event::Closed { by: "client", reason: None | Some("local_close"), .. } => {
                "connection closed".to_owned()
            }
            Event::Closed { by, reason, code, detail } => {
                let cause = explain(reason.unwrap_or_default(), *code, detail);
                let who = if *by == "client" { "" } else { ", and not to be made again" };
                format!("connection closed{who}: {cause}")
            }
            Event::InputFailed { error } => format!("mainstay client: cannot read stdin: {error}"),
        };
        Some((self.stream(), visible(&line)))
    }

    fn stream(&self) -> Stream {
        match self {
            Event::Reply { .. }
            | Event::Message { .. }
            | Event::Text { .. }
            | Event::Binary { .. } => Stream::Results,
            _ => Stream::Status,
        }
    }
}

/// An end as `peer_closed (1001): going away`.
fn explain(reason: &str, code: Option<u16>, detail: &str) -> String {
    let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
    let separator = if detail.is_empty() || reason.is_empty() { "" } else { ": " };
    format!("{reason}{code}{separator}{detail}")
}

/// To the microsecond, which is as exact as it can be measured.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mainstay_client::EndReason;

    use super::*;

    fn reply(success: bool) -> Result<Reply, RequestError> {
        let payload = "done".to_owned();
        Ok(Reply { request_id: 7, success, payload, round_trip: Duration::from_micros(1234) })
    }

    #[track_caller]
    fn assert_reads(event: &Event<'_>, stream: Stream, human: &str, json: &str) {
        assert_eq!(event.human(), Some((stream, human.to_owned())));
        assert_eq!(event.json(), json);
    }

    #[test]
    fn replies_are_matched_and_timed() {
        assert_reads(
            &Event::of_outcome(7, "Eject", &reply(true)),
            Stream::Results,
            "#7 Eject -> done (1.2 ms)",
            r#"{"event":"reply","request_id":7,"command":"Eject","success":true,"payload":"done","rtt_ms":1.234}"#,
        );
        let outcome = reply(false);
        let failed = Event::of_outcome(7, "Eject", &outcome).human();
        assert_eq!(failed.unwrap().1, "#7 Eject -> failed: done (1.2 ms)");
    }

    #[test]
    fn a_lost_connection_is_explained() {
        let end = Arc::new(End::new(EndReason::PeerEof, "peer silent for 0.1 s"));
        let retry_in = Duration::from_millis(412);
        assert_reads(
            &Event::of_state(&State::Lost { end, attempt: 1, retry_in }, "ws://h/").unwrap(),
            Stream::Status,
            "connection lost: peer_eof: peer silent for 0.1 s; retrying in 0.4 s (attempt 1)",
            r#"{"event":"lost","reason":"peer_eof","code":null,"detail":"peer silent for 0.1 s","attempt":1,"retry_in_ms":412}"#,
        );
    }

    #[test]
    fn what_was_in_flight_is_of_unknown_outcome() {
        let end = Arc::new(End::new(EndReason::PeerReset, ""));
        let outcome = Err(RequestError::Indeterminate { end });
        let event = Event::of_outcome(5, "Eject", &outcome);
        let (stream, line) = event.human().unwrap();
        assert_eq!(stream, Stream::Status);
        assert_eq!(line, "#5 Eject -> outcome unknown: peer_reset");
        assert!(event.json().contains(r#""outcome":"unknown""#), "{}", event.json());
    }

    #[test]
    fn a_stranger_moves_no_terminal() {
        let text = "a\u{1b}[2J\u{9b}2J\n\u{202e}b";
        let event = Event::Text { text };
        let (human, json) = (event.human().unwrap().1, event.json());
        assert!(!human.contains(is_unsafe), "{human}");
        assert!(!json.contains(is_unsafe), "{json}");
        let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(parsed["text"], text, "a program gets it as it was");
    }

    #[test]
    fn messages_name_their_channel() {
        let message = Incoming::Command {
            request_id: 0,
            command: "news".to_owned(),
            payload: "rain".to_owned(),
            success: false,
        };
        assert_reads(
            &Event::of_message(&message).unwrap(),
            Stream::Results,
            "[news] rain",
            r#"{"event":"message","request_id":0,"command":"news","payload":"rain","success":false}"#,
        );
        let bytes = Incoming::Binary(vec![0, 255]);
        assert_reads(
            &Event::of_message(&bytes).unwrap(),
            Stream::Results,
            "[binary] 00ff",
            r#"{"event":"binary","hex":"00ff"}"#,
        );
    }
}
