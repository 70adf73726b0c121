//! `mainstay check-config`: the effective settings and where each came from.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::json;

use crate::settings::kind::Notation;
use crate::settings::problem::Problem;
use crate::settings::{self, Entry, Origin, Resolved, markdown};
use crate::{EXIT_FAILED, EXIT_USAGE};

/// Print the settings a server would run with, and where each came from
///
/// Reads the same flags, environment and file as `mainstay server`, checks them all and starts
/// nothing. The exit code is 0 if a server would start with them and 2 if not.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Print one JSON object, for machines
    #[arg(long)]
    json: bool,

    /// Print the table of the README
    #[arg(long, hide = true, conflicts_with = "json")]
    markdown: bool,

    #[command(flatten)]
    settings: settings::arguments::Arguments,
}

/// Prints the settings to stdout, warnings and errors to stderr.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    if arguments.markdown {
        return print(&markdown::page());
    }
    let resolved = match settings::resolve(&arguments.settings, &settings::environment()) {
        Ok(resolved) => resolved,
        Err(problems) => {
            report(&problems);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    if arguments.json {
        return print(&format!("{:#}\n", as_json(&resolved)));
    }
    let code = print(&as_table(&resolved.entries));
    for warning in &resolved.warnings {
        let _ = writeln!(io::stderr(), "warning: {warning}");
    }
    code
}

/// Tells the operator on stderr what is wrong with the settings.
pub(crate) fn report(problems: &[Problem]) {
    let mut text = String::new();
    for problem in problems {
        text.push_str(&format!("error: {problem}\n"));
    }
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Columns of equal width, so that the eye finds what is not a default.
fn as_table(entries: &[Entry]) -> String {
    let shown = |entry: &Entry| match entry.text.as_str() {
        "" => "none".to_owned(),
        text if entry.setting.is_secret() && text != "none" => NOT_SHOWN.to_owned(),
        text => settings_text(text),
    };
    let width_of = |cell: &dyn Fn(&Entry) -> usize| entries.iter().map(cell).max().unwrap_or(0);
    let key_width = width_of(&|entry| entry.setting.key.len());
    let text_width = width_of(&|entry| shown(entry).chars().count()).min(TEXT_WIDTH_MAX);
    let mut table = String::new();
    let mut group = "";
    for entry in entries {
        if entry.setting.group != group {
            let gap = if group.is_empty() { "" } else { "\n" };
            group = entry.setting.group;
            table.push_str(&format!("{gap}# {group}\n"));
        }
        let (key, text, origin) = (entry.setting.key, shown(entry), &entry.origin);
        table.push_str(&format!("{key:key_width$}  {text:text_width$}  {origin}\n"));
    }
    table
}

/// Values come from the environment and may hold anything.
fn settings_text(text: &str) -> String {
    crate::logging::escape::visible(text)
}

fn as_json(resolved: &Resolved) -> serde_json::Value {
    let settings: Vec<_> = resolved
        .entries
        .iter()
        .map(|entry| {
            json!({
                "key": entry.setting.key,
                "value": json_value(entry),
                "default": entry.setting.default,
                "from": json_origin(&entry.origin),
            })
        })
        .collect();
    json!({ "settings": settings, "warnings": resolved.warnings })
}

/// As one would write it in the file.
fn json_value(entry: &Entry) -> serde_json::Value {
    let text = &entry.text;
    if entry.setting.is_secret() && text != "none" {
        return json!(NOT_SHOWN);
    }
    match entry.setting.shape.notation {
        Notation::Text => json!(text),
        Notation::Integer | Notation::IntegerOrText => {
            text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number))
        }
        Notation::Boolean => json!(text == "true"),
        Notation::Array => {
            json!(text.split(',').filter(|item| !item.is_empty()).collect::<Vec<_>>())
        }
    }
}

fn json_origin(origin: &Origin) -> serde_json::Value {
    match origin {
        Origin::Default => json!({ "source": "default" }),
        Origin::File { path, line } => {
            json!({ "source": "file", "path": path.display().to_string(), "line": line })
        }
        Origin::Environment(name) => json!({ "source": "environment", "name": name }),
        Origin::Flag(flag) => json!({ "source": "flag", "name": flag }),
    }
}

fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads had enough, such as `head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: cannot write to stdout: {error}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// Stands for a secret that is set.
const NOT_SHOWN: &str = "(not shown)";

/// A longer value, such as a list of origins, pushes its own origin to the right and no other.
const TEXT_WIDTH_MAX: usize = 24;
