//! `mainstay sessions`.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::api::{Connection, Failure, encode};
use super::table::{Table, cell};
use super::{finish, json_lines};

/// List the sessions of a running server, look at one, or end one
///
/// Asks the server's HTTP API. The exit code is 0, 1 if there is no answer or no such session, and 2
/// if the command line is wrong.
#[derive(clap::Args)]
#[command(
    subcommand_negates_reqs = true,
    disable_help_subcommand = true,
    after_help = "\
Examples:
  mainstay sessions --state away                       whose clients may come back
  mainstay sessions --principal ann@example.org        whatever one user has
  mainstay sessions --behind --json                    who does not keep up, as lines of JSON
  mainstay sessions 8f3a61c07d9e4b25a1f0c2d3e4b5a697   one, with what it listens to"
)]
pub(crate) struct Arguments {
    /// The session to look at, with what it listens to; all sessions if none is given
    id: Option<String>,

    #[command(flatten)]
    filters: Filters,

    /// Print one JSON object a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connection: Connection,

    #[command(subcommand)]
    action: Option<Action>,
}

/// Which sessions are listed: those to which all of it applies.
#[derive(clap::Args)]
struct Filters {
    /// Only sessions whose ids begin so
    #[arg(long, value_name = "DIGITS", conflicts_with = "id")]
    prefix: Option<String>,

    /// Only sessions with a connection, or without one
    #[arg(long, conflicts_with = "id", value_parser = ["connected", "away"])]
    state: Option<String>,

    /// Only sessions of this principal
    #[arg(long, value_name = "NAME", conflicts_with = "id")]
    principal: Option<String>,

    /// Only sessions that have not acknowledged all their events, or have been slow for some time
    #[arg(long, conflicts_with = "id")]
    behind: bool,
}

#[derive(clap::Subcommand)]
enum Action {
    /// End a session: its connection is closed, and its client does not come back to it
    End {
        /// Which
        id: String,
    },
}

/// Prints sessions to stdout.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    finish(match (&arguments.action, &arguments.id) {
        (Some(Action::End { .. }), None) if arguments.filters.any() => {
            Err(Failure::Usage("`mainstay sessions end ID` ends one session".to_owned()))
        }
        (Some(Action::End { id }), None) => {
            let path = format!("/v1/sessions/{}", encode(id));
            arguments.connection.delete(&path).map(|_| String::new())
        }
        (Some(_), Some(_)) => Err(Failure::Usage("write `mainstay sessions end ID`".to_owned())),
        (None, Some(id)) => one(arguments, id),
        (None, None) => all(arguments),
    })
}

impl Filters {
    fn any(&self) -> bool {
        self.behind || [&self.prefix, &self.state, &self.principal].into_iter().any(Option::is_some)
    }
}

fn all(arguments: &Arguments) -> Result<String, Failure> {
    let Filters { prefix, state, principal, behind } = &arguments.filters;
    let filters = [
        ("prefix", prefix.as_deref()),
        ("state", state.as_deref()),
        ("principal", principal.as_deref()),
        ("behind", behind.then_some("true")),
    ];
    let sessions = arguments.connection.list("/v1/sessions", "sessions", &filters)?;
    if arguments.json {
        return Ok(json_lines(&sessions));
    }
    let headings = [
        "SESSION",
        "STATE",
        "AGE",
        "GENERATION",
        "CHANNELS",
        "LAG",
        "PRINCIPAL",
        "LAST END",
        "CLIENT",
    ];
    let mut table = Table::new(&headings);
    for session in &sessions {
        let subscriptions = session["subscriptions"].as_array().map_or(&[][..], Vec::as_slice);
        let lag = subscriptions.iter().filter_map(|one| one["lag"].as_u64()).max();
        table.push(&[
            cell(&session["session"]),
            cell(&session["state"]),
            age(&session["since_ms"]),
            cell(&session["generation"]),
            subscriptions.len().to_string(),
            lag.map_or_else(String::new, |lag| lag.to_string()),
            cell(&session["principal"]),
            cell(&session["last_end"]["reason"]),
            cell(&session["client"]),
        ]);
    }
    Ok(table.text())
}

fn one(arguments: &Arguments, id: &str) -> Result<String, Failure> {
    let session = arguments.connection.get(&format!("/v1/sessions/{}", encode(id)))?;
    if arguments.json {
        return Ok(json_lines(&[session]));
    }
    let mut fields = Table::new(&["FIELD", "VALUE"]);
    let object = session.as_object().into_iter().flatten();
    for (name, value) in object.filter(|(name, _)| *name != "subscriptions") {
        match name.as_str() {
            "last_end" => fields.push(&[name.clone(), cell(&value["reason"])]),
            _ => fields.push(&[name.clone(), cell(value)]),
        }
    }
    fields.push(&["age".to_owned(), age(&session["since_ms"])]);
    fields.push(&["last_end_age".to_owned(), age(&session["last_end"]["at_ms"])]);
    let mut text = fields.text();
    let subscriptions = session["subscriptions"].as_array().map_or(&[][..], Vec::as_slice);
    if !subscriptions.is_empty() {
        let mut table = Table::new(&["CHANNEL", "DELIVERY", "PRESENCE", "ACKNOWLEDGED", "LAG"]);
        for one in subscriptions {
            let fields = ["channel", "delivery", "presence", "acknowledged", "lag"];
            table.push(&fields.map(|field| cell(&one[field])));
        }
        text = format!("{text}\n{}", table.text());
    }
    Ok(text)
}

/// How long ago a moment was, by this machine's clock: `5s`, `3m`, `7h`, `12d`.
fn age(since_ms: &Value) -> String {
    let Some(since_ms) = since_ms.as_u64() else { return String::new() };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = (now.as_millis() as u64).saturating_sub(since_ms) / 1000;
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}
