//! `mainstay send`.

use std::process::ExitCode;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::api::{Connection, Failure};
use super::finish;
use super::table::{Table, cell};

/// Send a message to a session or a principal, or publish it to a channel
///
/// Asks the server's HTTP API, and prints where the message stands once it is stored. The exit code
/// is 0, 1 if there is no answer or the server refuses it, and 2 if the command line is wrong.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("to").required(true))]
pub(crate) struct Arguments {
    /// To one session
    #[arg(long, value_name = "ID", group = "to")]
    session: Option<String>,

    /// To every session of a principal, now and later
    #[arg(long, value_name = "NAME", group = "to")]
    principal: Option<String>,

    /// To the session behind a connection
    #[arg(long, value_name = "ID", group = "to")]
    connection: Option<String>,

    /// To everybody who listens to a channel
    #[arg(long, value_name = "NAME", group = "to")]
    channel: Option<String>,

    /// The message: JSON as it is written, or else a text
    payload: String,

    /// A second message with the same key within 5 minutes is not stored again
    #[arg(long)]
    key: Option<String>,

    /// Print one JSON object a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    admin: Connection,
}

/// Sends, and prints the places.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    finish(send(arguments))
}

fn send(arguments: &Arguments) -> Result<String, Failure> {
    let targets = [
        ("session", &arguments.session, "/v1/send"),
        ("principal", &arguments.principal, "/v1/send"),
        ("connection", &arguments.connection, "/v1/send"),
        ("channel", &arguments.channel, "/v1/publish"),
    ];
    let target = targets.iter().find_map(|(name, to, path)| Some((*name, to.as_ref()?, *path)));
    let Some((name, to, path)) = target else {
        return Err(Failure::Usage("say whom to send it to".to_owned()));
    };
    // Passed on as it was written, so it is put in as text.
    let body =
        format!("{{{}:{},\"payload\":{}}}", json!(name), json!(to), payload(&arguments.payload));
    let key = arguments.key.as_deref().map(|key| ("idempotency-key", key));
    let answer = arguments.admin.post(path, key.as_slice(), body)?;
    let places = answer["places"].as_array().map_or(&[][..], Vec::as_slice);
    if arguments.json {
        return Ok(super::json_lines(places));
    }
    let mut table = Table::new(&["CHANNEL", "OFFSET", "EPOCH"]);
    for place in places {
        table.push(&["channel", "offset", "epoch"].map(|field| cell(&place[field])));
    }
    Ok(table.text())
}

fn payload(text: &str) -> String {
    match serde_json::from_str::<&RawValue>(text) {
        Ok(json) => json.get().to_owned(),
        Err(_) => Value::from(text).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_json_stays_as_it_is_and_what_is_not_becomes_a_text() {
        for (given, sent) in [
            ("{\"a\": 1}", "{\"a\": 1}"),
            ("1.50", "1.50"),
            ("hello", "\"hello\""),
            ("say \"hi\"", "\"say \\\"hi\\\"\""),
            ("{\"a\":1},\"b\":2", "\"{\\\"a\\\":1},\\\"b\\\":2\""),
            ("", "\"\""),
        ] {
            assert_eq!(payload(given), sent);
        }
    }
}
