//! Load in the session dialect: `bench fanout`, `publish`, `resume` and `sessions`.
//!
//! One thread plays all clients. It keeps the protocol and checks what it gets, order and holes
//! included, with as little work as that takes, so that the figures are the server's.

mod fanout;
mod fleet;
mod herd;
mod idle;
mod line;
mod publish;
mod report;
mod resume;
mod server;

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use clap::{Args, ValueEnum, value_parser};
use mainstay_wire::ChannelName;
use mainstay_wire::session::{Encoding, Payload};

use self::fleet::{Fleet, FleetError};
use self::publish::Rate;
use self::report::SessionReport;
use self::server::{Spawned, speaking};
use super::process::{Memory, Process};
use super::tally::Tally;
use super::target::{Reach, Target};
use super::{BenchError, Outcome, find_process, print_report, raise_open_files, read_duration};
use crate::stop;

#[derive(Args)]
pub(super) struct FanoutArguments {
    #[command(flatten)]
    session: SessionArguments,
    /// Sessions that listen
    #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = value_parser!(u32).range(1..=SESSIONS_MAX))]
    subscribers: u32,
    /// Channels that the subscribers share, and that events go to in turn
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = value_parser!(u32).range(1..=CHANNELS_MAX))]
    channels: u32,
    /// Events published at once; the next ones follow when everybody has these
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = value_parser!(u32).range(1..=DEPTH_MAX))]
    burst: u32,
    /// Events in all
    #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = value_parser!(u32).range(1..=EVENTS_MAX))]
    events: u32,
    /// Bytes of each event's payload
    #[arg(long, value_name = "COUNT", default_value_t = 128, value_parser = value_parser!(u32).range(2..=PAYLOAD_MAX))]
    payload: u32,
}

#[derive(Args)]
pub(super) struct PublishArguments {
    #[command(flatten)]
    session: SessionArguments,
    /// Publishes a second, or max: as fast as they are acknowledged
    #[arg(long, value_name = "RATE", default_value = "max", value_parser = read_rate)]
    rate: Rate,
    /// Sessions that publish
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = value_parser!(u32).range(1..=SESSIONS_MAX))]
    connections: u32,
    /// Publishes without an outcome on each connection
    #[arg(long, value_name = "COUNT", default_value_t = 16, value_parser = value_parser!(u32).range(1..=DEPTH_MAX))]
    depth: u32,
    /// Channels to which the sessions publish in turn
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = value_parser!(u32).range(1..=CHANNELS_MAX))]
    channels: u32,
    /// Bytes of each event's payload
    #[arg(long, value_name = "COUNT", default_value_t = 256, value_parser = value_parser!(u32).range(2..=PAYLOAD_MAX))]
    payload: u32,
    /// How long to measure, 10m at most
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = read_duration)]
    duration: Duration,
    /// How long to run before measuring
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = read_duration)]
    warmup: Duration,
}

#[derive(Args)]
pub(super) struct ResumeArguments {
    #[command(flatten)]
    session: SessionArguments,
    /// Sessions that come back, one after the other
    #[arg(long, value_name = "COUNT", default_value_t = 200, value_parser = value_parser!(u32).range(1..=SESSIONS_MAX))]
    sessions: u32,
    /// Events that each of them has missed
    #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = value_parser!(u32).range(1..=MISSED_MAX))]
    missed: u32,
    /// Bytes of each event's payload
    #[arg(long, value_name = "COUNT", default_value_t = 128, value_parser = value_parser!(u32).range(2..=PAYLOAD_MAX))]
    payload: u32,
    /// Instead: sessions that all come back at once after the server was killed and started again;
    /// needs --spawn, and a --data-dir among the server's arguments
    #[arg(long, value_name = "COUNT", conflicts_with_all = ["sessions", "missed", "payload"], requires = "spawn", value_parser = value_parser!(u32).range(1..=SESSIONS_MAX))]
    herd: Option<u32>,
    /// Channels that each session of the herd listens to
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = value_parser!(u32).range(0..=SUBSCRIPTIONS_MAX))]
    subscriptions: u32,
}

#[derive(Args)]
pub(super) struct SessionsArguments {
    #[command(flatten)]
    session: SessionArguments,
    /// Sessions at a time
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, value_parser = value_parser!(u32).range(1..=SESSIONS_MAX))]
    sessions: u32,
    /// Channels that each of them listens to
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = value_parser!(u32).range(0..=SUBSCRIPTIONS_MAX))]
    subscriptions: u32,
    /// Channels in all
    #[arg(long, value_name = "COUNT", default_value_t = CHANNEL_COUNT, value_parser = value_parser!(u32).range(64..=CHANNELS_MAX))]
    channels: u32,
}

#[derive(Args)]
struct SessionArguments {
    /// The server, as ws://HOST:PORT/PATH
    #[arg(long, value_name = "URL", default_value = "ws://localhost:8080/server")]
    url: String,
    /// Process of the server, whose CPU time and memory are to be measured
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Start a server for this run, and kill it behind it
    #[arg(long, conflicts_with_all = ["url", "pid"])]
    spawn: bool,
    /// How frames are written
    #[arg(long, value_name = "ENCODING", value_enum, default_value_t = EncodingName::Json)]
    encoding: EncodingName,
    /// Addresses of 127.0.0.0/8 to connect from
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = value_parser!(u32).range(1..=SOURCES_MAX))]
    source_addresses: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Arguments of the server that --spawn starts, such as `-- --shards 1 --data-dir DIR`
    #[arg(last = true, value_name = "SERVER ARGUMENTS", requires = "spawn")]
    server_arguments: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum EncodingName {
    Json,
    Protobuf,
}

pub(super) fn run_fanout(arguments: &FanoutArguments) -> Result<Outcome, BenchError> {
    let fanout = fanout::Fanout {
        subscriber_count: arguments.subscribers as usize,
        channel_count: arguments.channels as usize,
        burst: arguments.burst as usize,
        event_count: arguments.events as usize,
        payload_bytes: arguments.payload as usize,
    };
    run(&arguments.session, arguments.subscribers, |stage| fanout::run(stage, &fanout))
}

pub(super) fn run_publish(arguments: &PublishArguments) -> Result<Outcome, BenchError> {
    if arguments.duration.is_zero() {
        return Err(BenchError::usage("--duration must be more than nothing"));
    }
    let publishing = publish::Publishing {
        connection_count: arguments.connections as usize,
        channel_count: arguments.channels as usize,
        payload_bytes: arguments.payload as usize,
        rate: arguments.rate,
        depth: arguments.depth as usize,
        warm_up: arguments.warmup,
        duration: arguments.duration,
    };
    run(&arguments.session, arguments.connections, |stage| publish::run(stage, &publishing))
}

pub(super) fn run_resume(arguments: &ResumeArguments) -> Result<Outcome, BenchError> {
    if let Some(count) = arguments.herd {
        let is_named = |argument: &OsString| argument.to_string_lossy().starts_with("--data-dir");
        if !arguments.session.server_arguments.iter().any(is_named) {
            let problem = "--herd needs a server that keeps sessions: -- --data-dir DIR";
            return Err(BenchError::usage(problem));
        }
        let herd = herd::Herd {
            session_count: count as usize,
            subscription_count: arguments.subscriptions as usize,
            channel_count: CHANNEL_COUNT as usize,
        };
        return run(&arguments.session, count, |stage| herd::run(stage, &herd));
    }
    let resume = resume::Resume {
        session_count: arguments.sessions as usize,
        missed_count: arguments.missed as usize,
        payload_bytes: arguments.payload as usize,
    };
    run(&arguments.session, arguments.sessions, |stage| resume::run(stage, &resume))
}

pub(super) fn run_sessions(arguments: &SessionsArguments) -> Result<Outcome, BenchError> {
    if !arguments.session.spawn && arguments.session.pid.is_none() {
        return Err(BenchError::usage("the memory of which server? --pid PID or --spawn"));
    }
    let idle = idle::Idle {
        session_count: arguments.sessions as usize,
        subscription_count: arguments.subscriptions as usize,
        channel_count: arguments.channels as usize,
    };
    run(&arguments.session, arguments.sessions, |stage| idle::run(stage, &idle))
}

fn run(
    arguments: &SessionArguments,
    session_count: u32,
    act: impl FnOnce(&mut Stage) -> Result<SessionReport, FleetError>,
) -> Result<Outcome, BenchError> {
    raise_open_files(session_count)?;
    let encoding = match arguments.encoding {
        EncodingName::Json => Encoding::Json,
        EncodingName::Protobuf => Encoding::Protobuf,
    };
    let interrupted = stop::listen().map_err(BenchError::failed)?.flag();
    let (spawned, target, process) = match arguments.spawn {
        true => {
            let spawned = Spawned::start(&arguments.server_arguments);
            let spawned = spawned.map_err(BenchError::failed)?;
            let target = spawned.target(encoding).map_err(BenchError::failed)?;
            let process = spawned.process().map_err(BenchError::failed)?;
            (Some(spawned), target, Some(process))
        }
        false => {
            let target = Target::find(&arguments.url, None, Reach::Loopback);
            let target = speaking(target.map_err(BenchError::usage)?, encoding);
            (None, target, arguments.pid.map(find_process).transpose()?)
        }
    };
    let fleet = Fleet::new(target, arguments.source_addresses, encoding, interrupted);
    let mut stage = Stage {
        fleet: fleet.map_err(BenchError::failed)?,
        encoding,
        process,
        spawned,
        server_arguments: arguments.server_arguments.clone(),
    };
    let report = match act(&mut stage) {
        Ok(report) => report,
        Err(FleetError::Interrupted) => return Ok(Outcome::Interrupted),
        Err(error) => {
            let wrong = stage.fleet.tally().wrong_examples.join("; ");
            let wrong = if wrong.is_empty() { wrong } else { format!(" ({wrong})") };
            return Err(BenchError::failed(format!("{error}{wrong}")));
        }
    };
    print_report(&report, arguments.json.then(|| report.json()))?;
    Ok(Outcome::of(&report.tally))
}

/// The sessions, and the server that they are on.
struct Stage {
    fleet: Fleet,
    encoding: Encoding,
    process: Option<Process>,
    spawned: Option<Spawned>,
    server_arguments: Vec<OsString>,
}

/// CPU time of a server's process.
#[derive(Clone, Copy, Debug)]
struct ServerCpu {
    total: Duration,
    /// Of the one thread that owns what all sessions share.
    keeper: Duration,
}

impl ServerCpu {
    fn read(process: &Process) -> io::Result<ServerCpu> {
        let (total, keeper) = (process.cpu_time()?, process.thread_cpu_time(KEEPER_THREAD)?);
        Ok(ServerCpu { total, keeper })
    }

    fn since(self, before: ServerCpu) -> ServerCpu {
        ServerCpu {
            total: self.total.saturating_sub(before.total),
            keeper: self.keeper.saturating_sub(before.keeper),
        }
    }
}

impl Stage {
    fn process(&self) -> Result<&Process, FleetError> {
        let unknown = || FleetError::Server("its process is not known".to_owned());
        self.process.as_ref().ok_or_else(unknown)
    }

    /// What the server has used so far, where its process is known.
    fn cpu_time(&self) -> Result<Option<ServerCpu>, FleetError> {
        Ok(self.process.as_ref().map(ServerCpu::read).transpose()?)
    }

    fn cpu_since(&self, before: Option<ServerCpu>) -> Result<Option<ServerCpu>, FleetError> {
        let after = self.cpu_time()?;
        Ok(after.zip(before).map(|(after, before)| after.since(before)))
    }

    /// The server's memory, once it has come to rest. Its pings are answered meanwhile.
    fn quiet_memory(&mut self) -> Result<Memory, FleetError> {
        let process = self.process()?.clone();
        super::idle::wait_until_quiet(&process, |time| self.fleet.turn_for(time))?;
        Ok(process.memory()?)
    }

    /// Kills the server and starts it again.
    fn restart(&mut self) -> Result<(), FleetError> {
        if let Some(spawned) = self.spawned.take() {
            spawned.kill()?;
        }
        let spawned = Spawned::start(&self.server_arguments)?;
        self.fleet.redirect(spawned.target(self.encoding)?);
        self.process = Some(spawned.process()?);
        self.spawned = Some(spawned);
        Ok(())
    }

    fn take_tally(&mut self) -> Tally {
        std::mem::replace(self.fleet.tally(), Tally::new())
    }
}

#[expect(clippy::expect_used, reason = "the name is made of letters and digits")]
fn channel(index: usize) -> ChannelName {
    ChannelName::parse(&format!("bench:{index}")).expect("a valid name")
}

/// The channels of one of many sessions: each channel has about as many listeners.
fn channels_of(
    index: usize,
    subscription_count: usize,
    channel_count: usize,
) -> impl Iterator<Item = ChannelName> {
    let first = index * subscription_count;
    (first..first + subscription_count).map(move |at| channel(at % channel_count))
}

/// A JSON string that takes so many bytes.
fn payload(bytes: usize) -> Payload {
    Payload::text(&"x".repeat(bytes.saturating_sub(2)))
}

fn read_rate(text: &str) -> Result<Rate, String> {
    if text == "max" {
        return Ok(Rate::Max);
    }
    match text.parse() {
        Ok(rate @ 1..=RATE_MAX) => Ok(Rate::PerSecond(rate)),
        _ => Err(format!("a rate is max, or 1 to {RATE_MAX} a second")),
    }
}

/// How long one step may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// As many as one process usually has files for.
const SESSIONS_MAX: i64 = 19_000;
/// Half of what a session may have without an outcome.
const DEPTH_MAX: i64 = 128;
const EVENTS_MAX: i64 = 10_000_000;
const PAYLOAD_MAX: i64 = 32 * 1024;
const CHANNELS_MAX: i64 = 100_000;
/// As many as a server keeps of a channel.
const MISSED_MAX: i64 = 10_000;
/// No more than there are channels to hear.
const SUBSCRIPTIONS_MAX: i64 = 64;
const CHANNEL_COUNT: u32 = 100;
/// What the server calls it; 15 characters, which is as many as Linux keeps.
const KEEPER_THREAD: &str = "mainstay-keeper";
const SOURCES_MAX: i64 = 65_000;
const RATE_MAX: u32 = 1_000_000;
