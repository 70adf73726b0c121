//! `mainstay bench`: puts load on any WebSocket server and measures it; in `session`, on one of ours.
//!
//! ```text
//! target ─▶ crew of workers ─▶ links: opening, then batches of traffic ─▶ tallies ─▶ report
//! ```
//!
//! Each worker is one thread with one poll and no waiting inside; what it sends is encoded before
//! the run, and replies are compared in the buffer they were read into. So one thread of load keeps
//! a server of one thread busy and has time to spare.
//!
//! A closed loop sends when the last batch is answered, and measures what a server can do. An open
//! loop (`--rate`) sends when it is time, and measures how long users of a server wait.

mod crew;
mod idle;
mod link;
mod load;
mod opening;
mod process;
mod report;
mod round;
mod schedule;
mod session;
mod tally;
mod target;
mod traffic;
mod worker;

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum, value_parser};
use indicatif::ProgressBar;
use mainstay_wire::frame::Opcode;
use serde_json::Value;

use self::crew::Spread;
use self::idle::Idle;
use self::load::Load;
use self::process::Process;
use self::schedule::Rate;
use self::tally::Tally;
use self::target::{Reach, Target};
use self::traffic::Traffic;
use crate::settings::kind::{self, Kind};
use crate::stop;

/// Put load on any WebSocket server and measure it, or on sessions of a Mainstay server
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Messages that the server sends back as they are
    Echo(EchoArguments),
    /// Requests of the command dialect and their replies
    Commands(CommandsArguments),
    /// Memory of connections that do nothing
    Idle(IdleArguments),
    /// Events that many sessions listen to
    Fanout(session::FanoutArguments),
    /// Events that sessions publish, and their acknowledgements
    Publish(session::PublishArguments),
    /// Sessions that come back to what they have missed
    Resume(session::ResumeArguments),
    /// Memory of sessions that do nothing
    Sessions(session::SessionsArguments),
}

#[derive(Args)]
struct EchoArguments {
    #[command(flatten)]
    load: LoadArguments,
    /// Bytes of each message
    #[arg(long, value_name = "COUNT", default_value_t = 64, value_parser = value_parser!(u32).range(1..=MESSAGE_BYTES_MAX))]
    bytes: u32,
    /// Type of the messages
    #[arg(long, value_name = "TYPE", value_enum, default_value_t = MessageType::Binary)]
    message_type: MessageType,
}

#[derive(Args)]
struct CommandsArguments {
    #[command(flatten)]
    load: LoadArguments,
    /// The command's name
    #[arg(long, value_name = "TEXT", default_value = COMMAND)]
    command: String,
    /// The command's payload
    #[arg(long, value_name = "TEXT", default_value = SOME_OTHER_THING)]
    some_other_thing: String,
}

#[derive(Args)]
struct LoadArguments {
    #[command(flatten)]
    target: TargetArguments,
    /// Connections at a time
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = value_parser!(u32).range(1..=CONNECTIONS_MAX))]
    connections: u32,
    /// Requests sent at once on each connection; the next ones follow when all are answered
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = value_parser!(u32).range(1..=DEPTH_MAX))]
    depth: u32,
    /// Messages a second of all connections together, sent when their time has come, whether or not
    /// earlier ones are answered; latency counts from that time
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u32).range(1..=RATE_MAX))]
    rate: Option<u32>,
    /// How long to measure, 10m at most
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = read_duration)]
    duration: Duration,
    /// How long to run before measuring
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = read_duration)]
    warmup: Duration,
    /// Process of the server, whose CPU time is to be measured
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
}

#[derive(Args)]
struct IdleArguments {
    #[command(flatten)]
    target: TargetArguments,
    /// Connections at a time
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, value_parser = value_parser!(u32).range(1..=CONNECTIONS_MAX))]
    connections: u32,
    /// Process of the server, whose memory is to be measured
    #[arg(long, value_name = "PID")]
    pid: u32,
    /// The one message sent on each connection
    #[arg(long, value_name = "KIND", value_enum, default_value_t = IdleMessage::Command)]
    message: IdleMessage,
}

#[derive(Args)]
struct TargetArguments {
    /// The server, as ws://HOST:PORT/PATH
    #[arg(long, value_name = "URL", default_value = "ws://localhost:8080/server")]
    url: String,
    /// The Origin to state, which some servers insist on
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,
    /// Put load on another machine than this one
    #[arg(long)]
    allow_remote: bool,
    /// Addresses of 127.0.0.0/8 to connect from [default: one for every 100 connections]
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u32).range(1..=SOURCES_MAX))]
    source_addresses: Option<u32>,
    /// Threads of the load
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = value_parser!(u16).range(1..=THREADS_MAX))]
    threads: u16,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MessageType {
    Binary,
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum IdleMessage {
    /// A request of the command dialect
    Command,
    /// 64 bytes that come back
    Echo,
}

/// Runs the load tool. Whatever was amiss makes the exit code 1, so that a script notices.
pub(crate) fn run(arguments: Arguments) -> ExitCode {
    let result = match &arguments.what {
        What::Echo(echo) => run_echo(echo),
        What::Commands(commands) => run_commands(commands),
        What::Idle(idle) => run_idle(idle),
        What::Fanout(fanout) => session::run_fanout(fanout),
        What::Publish(publish) => session::run_publish(publish),
        What::Resume(resume) => session::run_resume(resume),
        What::Sessions(sessions) => session::run_sessions(sessions),
    };
    let error = match result {
        Ok(Outcome::Flawless) => return ExitCode::SUCCESS,
        Ok(Outcome::Flawed) => return ExitCode::from(crate::EXIT_FAILED),
        Ok(Outcome::Interrupted) => return ExitCode::from(crate::EXIT_INTERRUPTED as u8),
        Err(error) => error,
    };
    // Without standard error there is nobody to tell; the exit code still does.
    let _ = writeln!(io::stderr(), "mainstay bench: {}", error.problem);
    ExitCode::from(error.exit_code)
}

fn run_echo(echo: &EchoArguments) -> Result<Outcome, BenchError> {
    if u64::from(echo.load.depth) * u64::from(echo.bytes) > BATCH_BYTES_MAX {
        let problem = format!("--depth times --bytes is over {BATCH_BYTES_MAX} bytes");
        return Err(BenchError::usage(problem));
    }
    let opcode = match echo.message_type {
        MessageType::Binary => Opcode::Binary,
        MessageType::Text => Opcode::Text,
    };
    let (depth, bytes) = (echo.load.depth as usize, echo.bytes as usize);
    run_load("echo", &echo.load, || Traffic::echo(opcode, bytes, depth))
}

fn run_commands(commands: &CommandsArguments) -> Result<Outcome, BenchError> {
    let (command, payload) = (&commands.command, &commands.some_other_thing);
    let depth = commands.load.depth as usize;
    run_load("commands", &commands.load, || Traffic::commands(command, payload, depth))
}

fn run_load(
    what: &'static str,
    arguments: &LoadArguments,
    traffic: impl Fn() -> Traffic,
) -> Result<Outcome, BenchError> {
    if arguments.duration.is_zero() {
        return Err(BenchError::usage("--duration must be more than nothing"));
    }
    let (target, spread) = prepare(&arguments.target, arguments.connections)?;
    let spread = Spread { rate: arguments.rate.map(Rate), ..spread };
    let load = Load {
        what,
        target: &target,
        spread,
        warm_up: arguments.warmup,
        duration: arguments.duration,
        depth: arguments.depth as usize,
        server: arguments.pid.map(find_process).transpose()?,
        bar: progress_bar(),
        interrupted: stop::listen().map_err(BenchError::failed)?.flag(),
    };
    let report = load::run(&load, traffic).map_err(BenchError::failed)?;
    print_report(&report, arguments.target.json.then(|| report.json()))?;
    Ok(match report.is_interrupted {
        true => Outcome::Interrupted,
        false => Outcome::of(&report.tally),
    })
}

fn run_idle(arguments: &IdleArguments) -> Result<Outcome, BenchError> {
    let (target, spread) = prepare(&arguments.target, arguments.connections)?;
    let idle = Idle {
        target: &target,
        spread,
        server: find_process(arguments.pid)?,
        bar: progress_bar(),
        interrupted: stop::listen().map_err(BenchError::failed)?.flag(),
    };
    let traffic = || match arguments.message {
        IdleMessage::Command => Traffic::commands(COMMAND, SOME_OTHER_THING, 1),
        IdleMessage::Echo => Traffic::echo(Opcode::Binary, 64, 1),
    };
    let report = idle::run(&idle, traffic).map_err(BenchError::failed)?;
    print_report(&report, arguments.target.json.then(|| report.json()))?;
    Ok(Outcome::of(&report.tally))
}

/// Whether the figures are those of what was asked for.
enum Outcome {
    Flawless,
    Flawed,
    Interrupted,
}

impl Outcome {
    fn of(tally: &Tally) -> Outcome {
        if tally.is_flawless() { Outcome::Flawless } else { Outcome::Flawed }
    }
}

/// There are no figures.
struct BenchError {
    problem: String,
    exit_code: u8,
}

impl BenchError {
    fn usage(problem: impl fmt::Display) -> BenchError {
        BenchError { problem: problem.to_string(), exit_code: crate::EXIT_USAGE }
    }

    fn failed(problem: impl fmt::Display) -> BenchError {
        BenchError { problem: problem.to_string(), exit_code: crate::EXIT_FAILED }
    }
}

/// Checks what can be checked before anything is opened.
fn prepare(
    arguments: &TargetArguments,
    connection_count: u32,
) -> Result<(Target, Spread), BenchError> {
    let reach = if arguments.allow_remote { Reach::Anywhere } else { Reach::Loopback };
    let target =
        Target::find(&arguments.url, arguments.origin.clone(), reach).map_err(BenchError::usage)?;
    if arguments.source_addresses.is_some_and(|count| count > 1) && !target.spreads() {
        return Err(BenchError::usage("--source-addresses needs a server on 127.0.0.0/8"));
    }
    let source_count = arguments
        .source_addresses
        .unwrap_or_else(|| connection_count.div_ceil(CONNECTIONS_PER_SOURCE).min(SOURCE_COUNT_MAX));
    raise_open_files(connection_count)?;
    let spread = Spread {
        connection_count: connection_count as usize,
        thread_count: usize::from(arguments.threads),
        source_count,
        rate: None,
    };
    Ok((target, spread))
}

/// Sees to it that so many connections can be open.
fn raise_open_files(connection_count: u32) -> Result<(), BenchError> {
    let needed = u64::from(connection_count) + FILES_BESIDE;
    // Where it cannot be raised, the limit that is there may still do.
    let file_count_max = rlimit::increase_nofile_limit(needed).unwrap_or(needed);
    if file_count_max < needed {
        return Err(BenchError::failed(format!(
            "{connection_count} connections need {needed} open files and the hard limit is \
             {file_count_max}; raise it (`ulimit -Hn`) or take fewer --connections"
        )));
    }
    Ok(())
}

fn find_process(pid: u32) -> Result<Process, BenchError> {
    Process::find(pid)
        .map_err(|error| BenchError::failed(format!("process {pid} cannot be looked at: {error}")))
}

/// On a terminal only, and beside the figures: they go to standard output.
fn progress_bar() -> ProgressBar {
    match io::stderr().is_terminal() {
        true => ProgressBar::new_spinner(),
        false => ProgressBar::hidden(),
    }
}

/// Prints for people, or JSON where there is some.
fn print_report(report: &impl fmt::Display, json: Option<Value>) -> Result<(), BenchError> {
    let mut out = io::stdout().lock();
    let written = match json {
        Some(json) => writeln!(out, "{json}"),
        None => write!(out, "{report}"),
    };
    written.and_then(|()| out.flush()).map_err(BenchError::failed)
}

fn read_duration(text: &str) -> Result<Duration, String> {
    match kind::Duration::read(text) {
        Ok(duration) if duration > DURATION_MAX => Err("is longer than 10m".to_owned()),
        other => other,
    }
}

/// The message that the dialect is usually explained by.
const COMMAND: &str = "Pause downloader";
const SOME_OTHER_THING: &str = "urgent";

/// A load that is forgotten ends by itself.
const DURATION_MAX: Duration = Duration::from_secs(600);
/// What one machine's ports and files allow for; the limit of open files decides.
const CONNECTIONS_MAX: i64 = 1_000_000;
/// A batch larger than this measures memory rather than a server.
const BATCH_BYTES_MAX: u64 = 64 << 20;
const MESSAGE_BYTES_MAX: i64 = 16 << 20;
const DEPTH_MAX: i64 = 4096;
/// Beyond what one thread of load can send.
const RATE_MAX: i64 = 10_000_000;
/// More threads than most machines have cores.
const THREADS_MAX: i64 = 256;
/// One for each address of 127.1.0.0/16.
const SOURCES_MAX: i64 = 65_000;
const SOURCE_COUNT_MAX: u32 = 65_000;
/// Below what servers usually allow one address.
const CONNECTIONS_PER_SOURCE: u32 = 100;
/// Standard streams, polls, signals, `/proc`, and the first few connections of `idle`.
const FILES_BESIDE: u64 = 64;

#[cfg(test)]
mod tests;
