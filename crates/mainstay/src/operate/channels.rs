//! `mainstay channels`.

use std::process::ExitCode;

use serde_json::Value;

use super::api::{Connection, Failure, encode};
use super::table::{Table, cell};
use super::{finish, json_lines};

/// List the channels of a running server, or look at one
///
/// Asks the server's HTTP API. The exit code is 0, 1 if there is no answer or no such channel, and 2
/// if the command line is wrong.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mainstay channels                                    all of them
  mainstay channels --prefix orders/                   those that begin so
  mainstay channels orders/eu                          one, with its members")]
pub(crate) struct Arguments {
    /// The channel to look at, with its members; all channels if none is given
    name: Option<String>,

    /// Only channels whose names begin so; inboxes begin with $session/ or $principal/
    #[arg(long, value_name = "TEXT", conflicts_with = "name")]
    prefix: Option<String>,

    /// Print one JSON object a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connection: Connection,
}

/// Prints channels to stdout.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    finish(show(arguments))
}

fn show(arguments: &Arguments) -> Result<String, Failure> {
    let Arguments { name, prefix, json, connection } = arguments;
    let (channels, members) = match name {
        None => {
            let filters = [("prefix", prefix.as_deref())];
            (connection.list("/v1/channels", "channels", &filters)?, Value::Null)
        }
        Some(name) => {
            let channel = connection.get(&format!("/v1/channels/{}", encode(name)))?;
            let mut answer = connection.get(&format!("/v1/presence?channel={}", encode(name)))?;
            (vec![channel], answer["members"].take())
        }
    };
    if *json {
        return Ok(json_lines(&channels));
    }
    let mut table =
        Table::new(&["CHANNEL", "HEAD", "FIRST", "BYTES", "SUBSCRIBERS", "MEMBERS", "EPOCH"]);
    for channel in &channels {
        let fields =
            ["name", "head", "first", "bytes", "subscriber_count", "member_count", "epoch"];
        table.push(&fields.map(|field| cell(&channel[field])));
    }
    let mut text = table.text();
    if let Some(members) = members.as_array().filter(|members| !members.is_empty()) {
        let mut table = Table::new(&["MEMBER", "PRINCIPAL"]);
        for member in members {
            table.push(&["session", "principal"].map(|field| cell(&member[field])));
        }
        text = format!("{text}\n{}", table.text());
    }
    Ok(text)
}
