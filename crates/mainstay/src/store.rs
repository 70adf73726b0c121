//! `mainstay store`: a look at the log of a server that does not run, and a copy of it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use mainstay_log::{Check, DiskLog, DiskOptions, Stats};
use serde_json::{Value, json};

use crate::EXIT_FAILED;

/// Check, measure or copy the data of a server that is not running
///
/// A server keeps its data directory to itself: stop it first. The exit code is 0 if all is well and
/// 1 if the data are damaged or could not be read.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Read everything and compare it with its checksums and with what it says of itself
    Check(Of),
    /// Count channels, events, sessions, replies and keys
    Stats(Of),
    /// Copy everything into a new directory
    ///
    /// The copy can be checked and measured as it is. A server that is started on it begins new
    /// epochs: clients that know the original are told of a gap, and never get an event that they did
    /// not miss.
    Backup {
        #[command(flatten)]
        of: Of,
        /// The new directory; it must not exist
        #[arg(value_name = "TO")]
        to: PathBuf,
    },
}

#[derive(clap::Args)]
struct Of {
    /// The server's data directory
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// Print one JSON object, for machines
    #[arg(long)]
    json: bool,
}

/// Prints what was found to stdout, and why nothing was found to stderr.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let done = match &arguments.command {
        Command::Check(of) => check(of),
        Command::Stats(of) => stats(of),
        Command::Backup { of, to } => backup(of, to),
    };
    match done {
        Ok(code) => code,
        Err(message) => {
            let _ = writeln!(io::stderr(), "error: {message}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn check(of: &Of) -> Result<ExitCode, String> {
    let Check { event_count, record_count, problems, problems_omitted } =
        open(&of.directory)?.check().map_err(|error| error.to_string())?;
    let is_sound = problems.is_empty();
    if of.json {
        print_json(&json!({
            "ok": is_sound,
            "event_count": event_count,
            "record_count": record_count,
            "problems": problems,
            "problems_omitted": problems_omitted,
        }))?;
    } else {
        let mut text = String::new();
        for problem in &problems {
            // A name out of a damaged file may hold anything.
            text += &format!("damaged: {}\n", crate::logging::escape::visible(problem));
        }
        if problems_omitted > 0 {
            text += &format!("damaged: {problems_omitted} more\n");
        }
        let verdict = if is_sound { "all sound" } else { "damage found" };
        text += &format!("{event_count} events and {record_count} records read: {verdict}\n");
        print(&text)?;
    }
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

fn stats(of: &Of) -> Result<ExitCode, String> {
    let stats = open(&of.directory)?.stats().map_err(|error| error.to_string())?;
    if of.json {
        print_json(&stats_json(&stats))?
    } else {
        print(&stats_text(&stats))?
    }
    Ok(ExitCode::SUCCESS)
}

fn backup(of: &Of, to: &Path) -> Result<ExitCode, String> {
    let mut log = open(&of.directory)?;
    log.backup(to).map_err(|error| error.to_string())?;
    let stats = log.stats().map_err(|error| error.to_string())?;
    if of.json {
        print_json(&json!({ "to": to.to_string_lossy(), "copied": stats_json(&stats) }))?;
    } else {
        print(&format!("{} events copied to {}\n", stats.event_count, to.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn open(directory: &Path) -> Result<DiskLog, String> {
    // Nothing is created and no copy comes to life, so no fresh number is used.
    let options = DiskOptions::new(0);
    DiskLog::inspect(directory, options).map_err(|error| error.to_string())
}

fn stats_json(stats: &Stats) -> Value {
    json!({
        "log_id": format!("{:016x}", stats.log_id),
        "commit_count": stats.commit_count,
        "channel_count": stats.channel_count,
        "event_count": stats.event_count,
        "event_bytes": stats.event_bytes,
        "session_count": stats.session_count,
        "reply_count": stats.reply_count,
        "key_count": stats.key_count,
        "file_bytes": stats.file_bytes,
    })
}

fn stats_text(stats: &Stats) -> String {
    let mut text = format!("log         {:016x}\n", stats.log_id);
    for (name, value) in [
        ("commits", stats.commit_count),
        ("channels", stats.channel_count),
        ("events", stats.event_count),
        ("event bytes", stats.event_bytes),
        ("sessions", stats.session_count),
        ("replies", stats.reply_count),
        ("keys", stats.key_count),
        ("file bytes", stats.file_bytes),
    ] {
        text += &format!("{name:11} {value}\n");
    }
    text
}

fn print_json(value: &Value) -> Result<(), String> {
    print(&format!("{value:#}\n"))
}

fn print(text: &str) -> Result<(), String> {
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever reads had enough, such as `head`.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("cannot write to stdout: {error}"))
        }
        _ => Ok(()),
    }
}
