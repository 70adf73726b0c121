//! What happens in the proxy, in words or as lines of JSON.

use std::io::{self, Write};

use mainstay_chaos::{Cut, Direction, EachWay, Ending, Event, Stats};
use serde_json::{Value, json};

use crate::logging::escape::visible;

/// How everything is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    Human,
    Json,
}

impl Output {
    pub(super) fn event(self, event: &Event) {
        match self {
            Output::Human => print(&human(event)),
            Output::Json => print(&json(event).to_string()),
        }
    }

    /// A command is carried out.
    pub(super) fn command(self, text: &str) {
        match self {
            Output::Human => print(&format!("> {}", visible(text))),
            Output::Json => print(&json!({ "event": "command", "command": text }).to_string()),
        }
    }

    /// What was typed is no command.
    pub(super) fn bad_command(self, error: &str) {
        match self {
            Output::Human => print(&format!("> {}", visible(error))),
            Output::Json => print(&json!({ "event": "bad_command", "error": error }).to_string()),
        }
    }

    pub(super) fn stats(self, stats: &Stats) {
        let Stats { accepted, open, refused, unreachable, duplicated, stalls, .. } = *stats;
        let Stats { cuts_rst, cuts_fin, cuts_half_open, bytes, .. } = *stats;
        match self {
            Output::Human => print(&format!(
                "{accepted} accepted, {open} open, {refused} refused, {unreachable} without \
                 target, {duplicated} said again, {stalls} stalled; cut: {cuts_rst} rst, \
                 {cuts_fin} fin, {cuts_half_open} half-open; {}",
                passed(bytes)
            )),
            Output::Json => print(
                &json!({
                    "event": "stats", "accepted": accepted, "open": open, "refused": refused,
                    "unreachable": unreachable, "duplicated": duplicated, "stalls": stalls,
                    "cuts_rst": cuts_rst, "cuts_fin": cuts_fin, "cuts_half_open": cuts_half_open,
                    "up_bytes": bytes.up, "down_bytes": bytes.down,
                })
                .to_string(),
            ),
        }
    }
}

/// Whole lines, at once: a script may be waiting for this one.
fn print(line: &str) {
    let mut out = io::stdout().lock();
    // Whoever started the proxy may have closed its output; it is a proxy still.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn human(event: &Event) -> String {
    match event {
        Event::Listening { address, seed } => format!("listening on {address}, seed {seed}"),
        Event::Accepted { connection, peer } => format!("#{connection} accepted from {peer}"),
        Event::Refused { connection, peer } => format!("#{connection} refused from {peer}"),
        Event::Unreachable { connection, error } => {
            format!("#{connection} the target cannot be reached: {}", visible(error))
        }
        Event::Duplicated { connection, bytes } => {
            format!("#{connection} {bytes} bytes said again by a second connection")
        }
        Event::Stalled { connection, direction, bytes, lasting } => {
            let way = way(*direction);
            format!("#{connection} stalled for {lasting:?} after {bytes} bytes {way}")
        }
        Event::Cut { connection, cut, bytes } => {
            format!("#{connection} cut ({}) after {}", cut_word(*cut), passed(*bytes))
        }
        Event::Closed { connection, ending, bytes } => {
            format!("#{connection} ended ({}) after {}", ending_word(*ending), passed(*bytes))
        }
        Event::AcceptFailed { error } => format!("cannot accept: {}", visible(error)),
        other => format!("{other:?}"),
    }
}

/// An interface: fields are added, not changed.
fn json(event: &Event) -> Value {
    match event {
        Event::Listening { address, seed } => {
            json!({ "event": "listening", "address": address.to_string(), "seed": seed })
        }
        Event::Accepted { connection, peer } => {
            json!({ "event": "accepted", "connection": connection, "peer": peer.to_string() })
        }
        Event::Refused { connection, peer } => {
            json!({ "event": "refused", "connection": connection, "peer": peer.to_string() })
        }
        Event::Unreachable { connection, error } => {
            json!({ "event": "unreachable", "connection": connection, "error": error })
        }
        Event::Duplicated { connection, bytes } => {
            json!({ "event": "duplicated", "connection": connection, "bytes": bytes })
        }
        Event::Stalled { connection, direction, bytes, lasting } => json!({
            "event": "stalled", "connection": connection, "direction": way(*direction),
            "bytes": bytes, "lasting_ms": lasting.as_millis() as u64,
        }),
        Event::Cut { connection, cut, bytes } => json!({
            "event": "cut", "connection": connection, "kind": cut_word(*cut),
            "up_bytes": bytes.up, "down_bytes": bytes.down,
        }),
        Event::Closed { connection, ending, bytes } => json!({
            "event": "closed", "connection": connection, "kind": ending_word(*ending),
            "up_bytes": bytes.up, "down_bytes": bytes.down,
        }),
        Event::AcceptFailed { error } => json!({ "event": "accept_failed", "error": error }),
        other => json!({ "event": "other", "detail": format!("{other:?}") }),
    }
}

fn passed(bytes: EachWay<u64>) -> String {
    format!("{} bytes up, {} down", bytes.up, bytes.down)
}

fn way(direction: Direction) -> &'static str {
    match direction {
        Direction::Up => "up",
        Direction::Down => "down",
    }
}

fn cut_word(cut: Cut) -> &'static str {
    match cut {
        Cut::Rst => "rst",
        Cut::Fin => "fin",
        Cut::HalfOpen(_) => "half-open",
    }
}

fn ending_word(ending: Ending) -> &'static str {
    match ending {
        Ending::Fin => "fin",
        Ending::Reset => "reset",
        Ending::HalfOpenOver => "half-open over",
    }
}
