//! `mainstay client`: one connection, commands out, replies in.

mod conversation;
pub(crate) mod dial;
mod editor;
mod event;
mod output;
mod source;
pub(crate) mod target;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::num::NonZeroU64;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::process::ExitCode;
use std::time::Duration;

use mainstay_client::{Client, ConnectError};

use crate::settings::kind::{self, Kind};
use crate::{EXIT_FAILED, EXIT_USAGE, stdin, stop};
use conversation::{Conversation, Outcome};
use dial::DialArguments;
use event::Event;
use output::Output;
use source::Source;

/// Connect to a server and exchange commands with it
///
/// One connection carries everything. Commands go out one after the other without waiting for
/// replies; each reply is printed as it comes, with the command it answers and the time it took.
/// Events of channels and other messages are printed too. Results go to stdout, everything about
/// the connection to stderr.
///
/// Where the commands come from: the COMMAND given here, every two seconds; else stdin, one a line,
/// if something is piped into it; else "Eject the hot dog 1." and so on, every two seconds. With
/// --interactive they are typed.
///
/// A lost connection is made again, after a random and growing wait. A command that was sent and
/// not answered when the connection was lost is reported as of unknown outcome: it may have run. It
/// is not sent again.
///
/// The exit code is 0 when everything is done (or after Ctrl-C), 1 if no connection could be made,
/// the server said not to come back, or a command from stdin or of a counted run got no reply, 2 if
/// the command line is wrong, and 130 after a second Ctrl-C.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mainstay client                                      talk to localhost:8080 every 2 s
  mainstay client --count 3 --every 500ms 'Count {\u{1b}[0mn}'  three commands, then a clean close
  printf 'one\\ntwo\\n' | mainstay client --json         commands from a pipe, JSON lines out
  mainstay client --channel news --interactive         type commands, see events come in")]
pub(crate) struct Arguments {
    // In a help text, clap takes the placeholder itself for a line break; the invisible code in the
    // middle of it keeps the two apart.
    #[arg(help = "The command to send; {\u{1b}[0mn} in it becomes 1, 2, 3 …")]
    #[arg(value_name = "COMMAND", conflicts_with = "interactive")]
    command: Option<String>,

    #[arg(help = "The payload of each command (someOtherThing), with {\u{1b}[0mn} likewise")]
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    payload: String,

    #[command(flatten)]
    dial: DialArguments,

    /// Listen to this channel; can be given more than once
    #[arg(long = "channel", value_name = "NAME")]
    channels: Vec<String>,

    /// The time between two commands [default: 2s; none for commands from stdin]
    #[arg(long, value_name = "DURATION", value_parser = read_interval)]
    #[arg(conflicts_with = "interactive")]
    every: Option<Duration>,

    /// Stop after this many commands, when their replies are in
    #[arg(long, value_name = "N")]
    count: Option<NonZeroU64>,

    /// Type commands in a line editor, with a history
    #[arg(long, short, conflicts_with = "json")]
    interactive: bool,

    /// Print one JSON object a line for everything that happens
    #[arg(long)]
    json: bool,
}

/// Runs the client.
pub(crate) fn run(arguments: Arguments) -> ExitCode {
    let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    if arguments.interactive && !is_terminal {
        return fail(EXIT_USAGE, "--interactive needs a terminal");
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(EXIT_FAILED, &error.to_string()),
    };
    let code = runtime.block_on(converse(arguments));
    // The thread that reads stdin cannot be interrupted; the process's end does it.
    runtime.shutdown_background();
    code
}

async fn converse(arguments: Arguments) -> ExitCode {
    let url = arguments.dial.url(&arguments.channels);
    let mut stop = match stop::listen() {
        Ok(stop) => stop,
        Err(error) => return fail(EXIT_FAILED, &error.to_string()),
    };
    let mut output = match arguments.json {
        true => Output::json(),
        false => Output::human(),
    };
    let tls = match arguments.dial.tls() {
        Ok(tls) => tls,
        Err(problem) => return fail(EXIT_USAGE, &problem),
    };
    let mut builder = Client::builder(&url).origin(&target::origin(&url)).tls(tls);
    for (name, value) in &arguments.dial.headers {
        builder = builder.header(name, value);
    }
    let client = tokio::select! {
        _ = stop.asked() => return ExitCode::SUCCESS,
        connected = builder.connect() => match connected {
            Ok(client) => client,
            Err(error) => return refuse(&mut output, &url, &error),
        },
    };
    let source = match source(&arguments, &mut output) {
        Ok(source) => source,
        Err(error) => return fail(EXIT_FAILED, &error.to_string()),
    };
    let outcome = Conversation::new(client, source, output, url).run(stop).await;
    match outcome {
        Outcome::Done => ExitCode::SUCCESS,
        Outcome::Failed => ExitCode::from(EXIT_FAILED),
    }
}

fn source(arguments: &Arguments, output: &mut Output) -> io::Result<Source> {
    let count_max = arguments.count.map(NonZeroU64::get);
    let payload = arguments.payload.clone();
    if arguments.interactive {
        let (lines, printer) = editor::start()?;
        output.print_through(printer);
        return Ok(Source::typed(lines, payload, count_max));
    }
    match &arguments.command {
        None if stdin_is_given() => {
            let lines = stdin::read_full_lines()?;
            Ok(Source::piped(lines, payload, count_max, arguments.every))
        }
        command => {
            let template = command.as_deref().unwrap_or(COMMAND_DEFAULT).to_owned();
            let every = arguments.every.unwrap_or(EVERY_DEFAULT);
            Ok(Source::template(template, payload, count_max, every))
        }
    }
}

/// Whether somebody has put something behind stdin: a pipe or a file. A terminal is nothing to read
/// commands from unasked, and /dev/null is what services and background jobs get.
fn stdin_is_given() -> bool {
    let stdin = io::stdin().as_fd().try_clone_to_owned().map(File::from);
    match stdin.and_then(|stdin| stdin.metadata()) {
        Ok(metadata) => !metadata.file_type().is_char_device(),
        // Closed.
        Err(_) => false,
    }
}

/// Reports that there is no first connection.
fn refuse(output: &mut Output, url: &str, error: &ConnectError) -> ExitCode {
    // Whoever started the client may have closed its output; the code still tells.
    let _ = output.print(&Event::Refused { url, error: error.to_string() });
    match error {
        ConnectError::Url(_) | ConnectError::Options(_) => ExitCode::from(EXIT_USAGE),
        _ => ExitCode::from(EXIT_FAILED),
    }
}

fn fail(code: u8, message: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "mainstay client: {message}");
    ExitCode::from(code)
}

fn read_interval(text: &str) -> Result<Duration, String> {
    let interval = kind::Duration::read(text)?;
    match interval.is_zero() {
        true => Err("must be longer than nothing".to_owned()),
        false => Ok(interval),
    }
}

/// What the program that this one follows sent.
const COMMAND_DEFAULT: &str = "Eject the hot dog {n}.";
const EVERY_DEFAULT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(words: &[&str]) -> Result<Arguments, String> {
        let words = ["client"].iter().chain(words);
        match CommandLine::try_parse_from(words) {
            Ok(line) => Ok(line.arguments),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_defaults_need_no_words() {
        let arguments = parse(&[]).unwrap();
        assert_eq!(arguments.dial.url(&[]), "ws://localhost:8080/server");
        assert_eq!((arguments.command, arguments.every, arguments.count), (None, None, None));
    }

    #[test]
    fn help_shows_the_placeholder() {
        use clap::CommandFactory;
        let help = CommandLine::command().render_long_help().to_string();
        assert!(help.contains("{n} in it becomes 1, 2, 3"), "{help}");
        assert!(help.contains("'Count {n}'"), "{help}");
    }

    #[test]
    fn words_are_read() {
        let words =
            ["Count {n}", "--every", "500ms", "--count", "3", "--channel", "a", "--channel", "b"];
        let arguments = parse(&words).unwrap();
        assert_eq!(arguments.command.as_deref(), Some("Count {n}"));
        assert_eq!(arguments.every, Some(Duration::from_millis(500)));
        assert_eq!(arguments.count.map(NonZeroU64::get), Some(3));
        assert_eq!(arguments.channels, ["a", "b"]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let cases: &[&[&str]] = &[
            &["--every", "0s"],
            &["--every", "5"],
            &["--count", "0"],
            &["--path", "server"],
            &["--interactive", "--json"],
            &["--interactive", "--every", "1s"],
            &["--interactive", "Count {n}"],
            &["one", "two"],
        ];
        for words in cases {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }
}
