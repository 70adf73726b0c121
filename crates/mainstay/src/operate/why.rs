//! `mainstay why`.

use std::process::ExitCode;

use serde_json::Value;

use super::api::{Connection, Failure, encode};
use super::{finish, json_lines};
use crate::logging::escape;

/// Tell what happened to a session lately, and why
///
/// Asks the server's HTTP API for its journal, which holds what happened since the server started, as far
/// as there is room. The exit code is 0, 1 if there is no answer or nothing is known of the session, and
/// 2 if the command line is wrong.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The session
    id: String,

    /// Print one JSON object a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connection: Connection,
}

/// Prints a session's story to stdout.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    finish(story(arguments))
}

fn story(arguments: &Arguments) -> Result<String, Failure> {
    let (mut entries, mut after, mut forgotten) = (Vec::new(), 0, 0);
    loop {
        let path =
            format!("/v1/journal?session={}&limit=1000&after={after}", encode(&arguments.id));
        let mut page = arguments.connection.get(&path)?;
        if let Some(Value::Array(more)) = page.get_mut("entries").map(Value::take) {
            entries.extend(more);
        }
        forgotten = page["forgotten_up_to"].as_u64().unwrap_or(forgotten);
        match page["next"].as_u64() {
            Some(next) => after = next,
            None => break,
        }
    }
    if entries.is_empty() {
        let message = "the journal knows nothing of this session".to_owned();
        return Err(Failure::Refused { error: "unreachable".to_owned(), message });
    }
    if arguments.json {
        return Ok(json_lines(&entries));
    }
    let mut text = String::new();
    if forgotten > 0 && entries.first().is_none_or(|entry| entry["what"] != "opened") {
        text.push_str("what was before is forgotten\n");
    }
    entries.iter().for_each(|entry| text.push_str(&line(entry)));
    Ok(text)
}

fn line(entry: &Value) -> String {
    let field = |name: &str| entry[name].as_str().map(escape::visible);
    let mut line = time(entry["at_ms"].as_u64().unwrap_or_default());
    let channel = field("channel").unwrap_or_default();
    line.push_str("  ");
    line.push_str(&match entry["what"].as_str().unwrap_or_default() {
        "opened" => "the session began".to_owned(),
        "resumed" => "it went on over a new connection".to_owned(),
        "superseded" => "its connection gave way to another".to_owned(),
        "lost" => "its connection was lost".to_owned(),
        "refused" => "a connection was refused".to_owned(),
        "ended" => "the session ended".to_owned(),
        "expired" => "it did not come back in time and expired".to_owned(),
        "subscribed" => format!("it began to listen to {channel}"),
        "unsubscribed" => format!("it stopped listening to {channel}"),
        "behind" => "it is slow: it reads on from the log".to_owned(),
        "caught_up" => "it has caught up".to_owned(),
        "gap" => format!("events of {channel} were missing"),
        other => escape::visible(other),
    });
    if let Some(reason) = field("reason") {
        line.push_str(&format!(": {reason}"));
    }
    if let Some(detail) = field("detail") {
        line.push_str(&format!(" ({detail})"));
    }
    if let Some(connection) = field("connection") {
        line.push_str(&format!(", connection {connection}"));
    }
    line.push('\n');
    line
}

/// A moment as the server's log writes it.
fn time(at_ms: u64) -> String {
    let days = at_ms / DAY_MS;
    let (year, month, day) = date(days);
    let (seconds, ms) = (at_ms % DAY_MS / 1_000, at_ms % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// Year, month and day of a day since 1970, counted along.
fn date(mut days: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

const DAY_MS: u64 = 24 * 3_600 * 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_in_the_log() {
        for (at_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_512_165_597, "2026-11-24T09:22:45.597Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(time(at_ms), text);
        }
    }
}
