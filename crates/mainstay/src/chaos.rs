//! `mainstay chaos`: a TCP proxy that is a bad network.

mod notation;
mod output;
mod script;

use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{fs, future};

use mainstay_chaos::{Chaos, Config, Cut, Faults, Probability, Refuse, Stall};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use self::notation::Directed;
use self::output::Output;
use self::script::Command;
use crate::settings::kind::{self, Kind};
use crate::stdin;
use crate::stop::{self, Stop};
use crate::{EXIT_FAILED, EXIT_USAGE};

/// Be a bad network between a client and a server
///
/// Passes TCP connections on to another address, and does to them what the flags say. It knows
/// nothing of what is said on them, so a cut can fall on any byte. All flags can be combined; what
/// comes first happens.
///
/// While it runs, it takes commands from stdin, one a line: `cut all [rst|fin|half-open [for
/// TIME]]`, `stall all for TIME`, `refuse for TIME`, `refuse all`, `refuse nobody`, `clear` or
/// `pass` (no more faults), `faults` (those of the flags again) and `stats`. With `at TIME` before
/// it, a command waits until so long after the start. In the background of a terminal, give it
/// </dev/null to read.
///
/// The same seed and the same order of connections give the same cuts at the same bytes. What is
/// drawn for each chunk (--delay, --cut-rate) depends on how the bytes came in chunks, too.
///
/// The exit code is 0 after a signal, 1 if it cannot listen, 2 if the command line or the script is
/// wrong, and 130 after a second signal.
#[derive(clap::Args)]
#[command(
    next_line_help = true,
    after_help = "\
Examples:
  mainstay chaos --listen localhost:9000 --to localhost:8080 --cut-every 1KiB..64KiB
  mainstay chaos --listen localhost:9000 --to localhost:8080 --delay 5ms..50ms --script bad-day.txt
A script, such as bad-day.txt:
  at 2s cut all rst
  at 3s refuse for 1s
  at 5s stall all for 2s
  at 8s clear"
)]
pub(crate) struct Arguments {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", value_parser = kind::Address::read)]
    listen: String,

    /// Where connections lead
    #[arg(long, value_name = "HOST:PORT", value_parser = kind::Address::read)]
    to: String,

    /// What all random decisions come from [default: a random one, which is printed]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Hold each chunk back for so long, such as 20ms or 5ms..50ms; the order stays
    #[arg(long, value_name = "TIME[..TIME]", value_parser = notation::read_durations)]
    delay: Option<RangeInclusive<Duration>>,

    /// Pass nothing for a while after so many bytes in one direction, once in each connection
    #[arg(long, value_name = "BYTES", value_parser = notation::read_bytes)]
    stall_after: Option<u64>,

    /// How long nothing passes then [default: 2s]
    #[arg(long, value_name = "TIME", requires = "stall_after")]
    #[arg(value_parser = notation::read_duration)]
    stall_for: Option<Duration>,

    /// Cut after exactly so many bytes; up: or down: before it counts one direction only
    #[arg(long, value_name = "[WAY:]BYTES", value_parser = notation::read_offset)]
    cut_at: Vec<Directed<u64>>,

    /// Cut after a number of bytes drawn from this range for each connection
    #[arg(long, value_name = "[WAY:]MIN..MAX", value_parser = notation::read_offsets)]
    cut_every: Vec<Directed<RangeInclusive<u64>>>,

    /// Cut within a chunk with this probability, drawn for each
    #[arg(long, value_name = "P", value_parser = notation::read_probability)]
    cut_rate: Option<Probability>,

    /// How to cut
    #[arg(long, value_name = "HOW", value_enum, default_value_t = CutWith::Rst)]
    cut_with: CutWith,

    /// How long half-open connections are left before both sides are reset
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = notation::read_duration)]
    half_open_for: Duration,

    /// Read so few bytes a second from the server, so that its send buffer fills
    #[arg(long, value_name = "BYTES", value_parser = notation::read_rate)]
    slow_drain: Option<u64>,

    /// Say an HTTP head again on a second connection with this probability
    #[arg(long, value_name = "P", value_parser = notation::read_probability)]
    duplicate_connect: Option<Probability>,

    /// How long that second connection stays
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = notation::read_duration)]
    duplicate_for: Duration,

    /// Reset a connection as soon as it is accepted, with this probability
    #[arg(long, value_name = "P", value_parser = notation::read_probability)]
    refuse: Option<Probability>,

    /// Reset every connection for so long after the start
    #[arg(long, value_name = "TIME", value_parser = notation::read_duration)]
    refuse_for: Option<Duration>,

    /// Commands with their times; - is stdin, read to its end before the start
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,

    /// Print one JSON object a line for everything that happens
    #[arg(long)]
    json: bool,
}

/// How a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum CutWith {
    /// Both sides get a reset
    Rst,
    /// Both sides get an orderly end
    Fin,
    /// Both sides hear nothing more
    HalfOpen,
}

/// Runs the proxy until a signal.
pub(crate) fn run(arguments: Arguments) -> ExitCode {
    let script = match arguments.script.as_deref().map(read_script).transpose() {
        Ok(script) => script.unwrap_or_default(),
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    match run_script(&arguments, script) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(EXIT_FAILED, &error),
    }
}

fn run_script(arguments: &Arguments, script: Vec<script::Line>) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    // Before the first line: whoever has read it may send a signal.
    let stop = stop::listen().map_err(text)?;
    // Two sockets for each connection; where it cannot be raised, the limit that is there may do.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(text)?;
    let seed = match arguments.seed {
        Some(seed) => seed,
        // Short enough to be typed again.
        None => u64::from(getrandom::u32().map_err(|error| error.to_string())?),
    };
    let output = if arguments.json { Output::Json } else { Output::Human };
    let lines = match &arguments.script {
        Some(path) if is_stdin(path) => None,
        _ => Some(stdin::read_full_lines().map_err(text)?),
    };
    let began_at = Instant::now();
    let chaos = Chaos::start_observed(arguments.config(seed), move |event| output.event(event))
        .map_err(|error| error.to_string())?;
    let mut steering = Steering { arguments, chaos, output, began_at, due: Vec::new() };
    for line in script {
        steering.take(line);
    }
    runtime.block_on(steering.run(lines, stop));
    // The thread that reads stdin cannot be interrupted; the process's end does it.
    runtime.shutdown_background();
    Ok(())
}

/// A proxy, and what is to be done to it.
struct Steering<'a> {
    arguments: &'a Arguments,
    chaos: Chaos,
    output: Output,
    began_at: Instant,
    /// Commands with the time they wait for, the last one first.
    due: Vec<(Duration, script::Line)>,
}

impl Steering<'_> {
    async fn run(mut self, mut lines: Option<mpsc::Receiver<stdin::Line>>, mut stop: Stop) {
        loop {
            let next_at = self.due.last().and_then(|(at, _)| self.began_at.checked_add(*at));
            tokio::select! {
                _ = stop.asked() => break,
                () = wait_until(next_at) => {
                    if let Some((_, line)) = self.due.pop() {
                        self.carry_out(&line);
                    }
                }
                line = next_line(&mut lines) => match script::read_line(&line) {
                    Ok(line) => line.into_iter().for_each(|line| self.take(line)),
                    Err(error) => self.output.bad_command(&error),
                },
            }
        }
        self.output.stats(&self.chaos.stats());
    }

    /// At once, or when it is due.
    fn take(&mut self, line: script::Line) {
        let Some(at) = line.at else { return self.carry_out(&line) };
        // Behind those of the same time, which is before them here.
        let index = self.due.partition_point(|(other, _)| *other > at);
        self.due.insert(index, (at, line));
    }

    fn carry_out(&self, line: &script::Line) {
        match &line.command {
            Command::Cut { with, half_open_for } => {
                let with = with.unwrap_or(self.arguments.cut_with);
                let half_open_for = half_open_for.unwrap_or(self.arguments.half_open_for);
                self.chaos.cut_all(with.lasting(half_open_for));
            }
            Command::Stall(lasting) => self.chaos.stall_all(*lasting),
            Command::Refuse(refuse) => self.chaos.refuse(*refuse),
            Command::Clear => self.chaos.clear(),
            Command::Faults => self.chaos.set_faults(self.arguments.faults()),
            Command::Stats => self.output.stats(&self.chaos.stats()),
        }
        // Only now: whoever reads it may count on it.
        self.output.command(&line.text);
    }
}

impl Arguments {
    fn config(&self, seed: u64) -> Config {
        let mut config = Config::to(&self.to);
        config.listen.clone_from(&self.listen);
        config.seed = seed;
        config.faults = self.faults();
        config.refuse = self.refuse_for.map_or(Refuse::Nobody, Refuse::EverybodyFor);
        config
    }

    fn faults(&self) -> Faults {
        let lasting = self.stall_for.unwrap_or(STALL_DEFAULT);
        Faults {
            delay: self.delay.clone(),
            stall: self.stall_after.map(|after_bytes| Stall { after_bytes, lasting }),
            cut_at: Directed::each_way(&self.cut_at),
            cut_every: Directed::each_way(&self.cut_every),
            cut_rate: self.cut_rate.unwrap_or_default(),
            cut_with: self.cut_with.lasting(self.half_open_for),
            slow_drain: self.slow_drain,
            refuse_rate: self.refuse.unwrap_or_default(),
            duplicate_rate: self.duplicate_connect.unwrap_or_default(),
            duplicate_for: self.duplicate_for,
        }
    }
}

impl CutWith {
    fn lasting(self, half_open_for: Duration) -> Cut {
        match self {
            CutWith::Rst => Cut::Rst,
            CutWith::Fin => Cut::Fin,
            CutWith::HalfOpen => Cut::HalfOpen(half_open_for),
        }
    }
}

fn read_script(path: &Path) -> Result<Vec<script::Line>, String> {
    let text = match is_stdin(path) {
        true => io::read_to_string(io::stdin()),
        false => fs::read_to_string(path),
    };
    let text = text.map_err(|error| format!("the script {}: {error}", path.display()))?;
    script::read(&text).map_err(|error| format!("the script {}, {error}", path.display()))
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => future::pending().await,
    }
}

/// The next line of stdin, while there are any.
async fn next_line(lines: &mut Option<mpsc::Receiver<stdin::Line>>) -> String {
    if let Some(receiver) = lines
        && let Some(Ok(line)) = receiver.recv().await
    {
        return line;
    }
    // The end of stdin, or an error, is the end of commands and not of the proxy.
    *lines = None;
    future::pending().await
}

fn fail(code: u8, message: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "mainstay chaos: {message}");
    ExitCode::from(code)
}

const STALL_DEFAULT: Duration = Duration::from_secs(2);
